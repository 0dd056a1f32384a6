"""Label noise: as much as was asked for, to the classes that were asked for, and the same images at
every rate above.
"""

from __future__ import annotations

from collections import Counter

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import binom, chisquare

from headwater.errors import InputError
from headwater.keys import sample_hashes
from headwater.labels.noise import (
    Weighted,
    confusion,
    matrix_transition,
    read_matrix,
    realised,
    sibling_transition,
    swap_captions,
    symmetric,
)

HASHES = sample_hashes([f"{at:06d}.png" for at in range(60_000)])
CODES = np.arange(60_000) % 6
RATES = st.floats(0, 1)


def toys(size, classes):
    return np.arange(size) % classes, HASHES[:size]


def test_symmetric_noise_hits_its_share_and_draws_the_others_uniformly():
    noisy = symmetric(CODES, 6, 0.3, HASHES, 1)
    hit = noisy != CODES
    assert 0.001 < binom.cdf(hit.sum(), 60_000, 0.3) < 0.999
    pairs = np.bincount(6 * CODES[hit] + noisy[hit], minlength=36)
    assert chisquare(pairs.reshape(6, 6)[~np.eye(6, dtype=bool)]).pvalue > 0.001, (
        "30 cells: from each class to each other one"
    )
    assert pairs.reshape(6, 6).trace() == 0


def test_every_image_is_hit_at_rate_one():
    assert realised(CODES, symmetric(CODES, 6, 1.0, HASHES, 0)) == 1.0
    assert np.array_equal(symmetric(CODES % 2, 2, 1.0, HASHES, 0), 1 - CODES % 2)


@given(st.integers(2, 30), st.integers(0, 200), st.integers(0, 2**40))
def test_rate_zero_is_the_identity_and_a_copy(classes, size, seed):
    codes, hashes = toys(size, classes)
    for found in (
        symmetric(codes, classes, 0.0, hashes, seed),
        confusion(codes, matrix_transition(np.ones((classes, classes))), 0, hashes, seed),
    ):
        assert np.array_equal(found, codes)
        assert found is not codes
    lists = [[str(at)] for at in range(size)]
    assert swap_captions(lists, 0.0, hashes, seed) == (lists, 0.0)


@given(RATES, RATES, st.integers(2, 9), st.integers(0, 2**40))
def test_an_image_that_is_hit_keeps_its_wrong_class_at_every_higher_rate(one, other, classes, seed):
    codes, hashes = toys(300, classes)
    weights = np.random.default_rng(0).random((classes, classes))
    for transition in (
        sibling_transition(np.zeros(classes, dtype=np.int64)),
        matrix_transition(weights),
    ):
        low, high = (
            confusion(codes, transition, rate, hashes, seed) for rate in sorted([one, other])
        )
        hit = low != codes
        assert np.array_equal(low[hit], high[hit])
        assert realised(codes, low) <= realised(codes, high)


@given(RATES, st.integers(0, 1000), st.integers(0, 1000))
def test_noise_owes_nothing_to_the_order_of_images_or_to_the_others(rate, seed, shuffle):
    codes, hashes = toys(200, 7)
    order = np.random.default_rng(shuffle).permutation(200)[:120]
    assert np.array_equal(
        symmetric(codes, 7, rate, hashes, seed)[order],
        symmetric(codes[order], 7, rate, hashes[order], seed),
    )


def test_the_seed_decides_which_images_are_hit():
    one, other = (symmetric(CODES, 6, 0.5, HASHES, seed) != CODES for seed in (0, 1))
    assert abs(np.mean(one & other) - 0.25) < 0.008
    assert abs(np.mean(one[1:] & one[:-1]) - 0.25) < 0.008


def test_large_sets_are_drawn_in_pieces_without_a_seam(monkeypatch):
    whole = symmetric(CODES, 6, 0.4, HASHES, 0)
    monkeypatch.setattr("headwater.labels.noise._CHUNK", 997)
    assert np.array_equal(symmetric(CODES, 6, 0.4, HASHES, 0), whole)


def test_confusion_draws_from_rows_without_their_diagonal():
    weights = np.array([[9.0, 1, 0, 3], [0, 5, 0, 0], [2, 2, 2, 4], [1e308, 1e308, 1e308, 0]])
    codes = np.arange(60_000) % 4
    noisy = confusion(codes, matrix_transition(weights), 0.5, HASHES, 0)
    pairs = np.bincount(4 * codes + noisy, minlength=16).reshape(4, 4)
    assert pairs[1].tolist() == [0, 15_000, 0, 0], "a row that is zero off the diagonal stays"
    for row, shares in ((0, [1, 3]), (2, [2, 2, 4]), (3, [1, 1, 1])):
        hit = np.delete(pairs[row], row)
        assert 0.001 < binom.cdf(hit.sum(), 15_000, 0.5) < 0.999
        assert chisquare(hit[hit > 0], hit.sum() * np.array(shares) / sum(shares)).pvalue > 0.001
    assert pairs[0, 2] == 0


def test_confusion_with_equal_weights_is_symmetric_noise_in_law():
    noisy = confusion(CODES, matrix_transition(np.ones((6, 6))), 0.3, HASHES, 1)
    same = symmetric(CODES, 6, 0.3, HASHES, 1)
    assert np.array_equal(noisy != CODES, same != CODES)
    assert np.mean(noisy == same) > 0.9999, "both read the same draw from left to right"


def test_siblings_share_the_parent_and_are_drawn_uniformly():
    parents = np.array([7, 3, 7, -1, 3, 7, 9, -1])
    codes = np.arange(60_000) % 8
    noisy = confusion(codes, sibling_transition(parents), 0.6, HASHES, 0)
    hit = noisy != codes
    assert np.array_equal(parents[noisy], parents[codes])
    assert not hit[np.isin(codes, [3, 6, 7])].any(), (
        "only children and classes without a parent stay"
    )
    for code, siblings in ((0, [2, 5]), (1, [4]), (2, [0, 5]), (4, [1]), (5, [0, 2])):
        counts = np.bincount(noisy[hit & (codes == code)], minlength=8)
        assert 0.001 < binom.cdf(counts.sum(), 7_500, 0.6) < 0.999
        assert counts[siblings].sum() == counts.sum()
        assert chisquare(counts[siblings]).pvalue > 0.001 or len(siblings) == 1


def test_siblings_of_tens_of_thousands_of_classes_take_no_matrix():
    for parents in (np.zeros(21_843, dtype=np.int64), np.arange(21_843) // 4):
        transition = sibling_transition(parents)
        assert sum(field.nbytes for field in vars(transition).values()) <= 4 * 8 * 21_843
        codes = np.arange(60_000) % 21_843
        noisy = confusion(codes, transition, 1.0, HASHES, 0)
        assert np.array_equal(parents[noisy], parents[codes])
        assert np.array_equal(noisy == codes, (np.bincount(parents)[parents] == 1)[codes])


@pytest.mark.parametrize("rate", [-0.1, 1.01, float("nan"), float("inf")])
def test_rates_are_shares(rate):
    codes, hashes = toys(10, 2)
    for call in (
        lambda: symmetric(codes, 2, rate, hashes, 0),
        lambda: confusion(codes, matrix_transition(np.ones((2, 2))), rate, hashes, 0),
        lambda: swap_captions([["a"]] * 10, rate, hashes, 0),
    ):
        with pytest.raises(InputError, match="a noise rate is a share from 0 to 1, and this is"):
            call()


def test_a_single_class_cannot_be_mistaken():
    codes, hashes = toys(5, 1)
    with pytest.raises(InputError, match="at least two classes"):
        symmetric(codes, 1, 0.1, hashes, 0)
    assert symmetric(codes, 1, 0, hashes, 0).tolist() == [0] * 5


@given(
    st.lists(st.lists(st.sampled_from("abcdef"), min_size=1, max_size=2), max_size=60),
    RATES,
    st.integers(0, 2**40),
    st.randoms(use_true_random=False),
)
def test_swapped_captions_stay_together_and_keep_their_frequencies(lists, rate, seed, random):
    hashes = HASHES[: len(lists)]
    out, share = swap_captions(lists, rate, hashes, seed)
    assert Counter(map(tuple, out)) == Counter(map(tuple, lists))
    assert share == (np.mean([a != b for a, b in zip(lists, out, strict=True)]) if lists else 0)
    order = list(range(len(lists)))
    random.shuffle(order)
    assert swap_captions([lists[at] for at in order], rate, hashes[order], seed)[0] == [
        out[at] for at in order
    ]


def test_distinct_captions_are_swapped_at_the_rate_in_one_ring():
    lists = [[str(at)] for at in range(20_000)]
    out, share = swap_captions(lists, 0.25, HASHES[:20_000], 0)
    assert 0.001 < binom.cdf(round(share * 20_000), 20_000, 0.25) < 0.999
    giver = {at: int(texts[0]) for at, texts in enumerate(out) if texts != lists[at]}
    start = at = next(iter(giver))
    steps = 0
    while not steps or at != start:
        at, steps = giver[at], steps + 1
    assert steps == len(giver), "one ring through all who were hit"
    assert swap_captions(lists, 1.0, HASHES[:20_000], 0)[1] == 1.0
    assert swap_captions([["same"]] * 50, 1.0, HASHES[:50], 0)[1] == 0.0


def test_realised_is_the_share_that_changed():
    assert realised(np.array([0, 1, 2, 3]), np.array([0, 1, 3, 2])) == 0.5
    assert realised(np.array([], dtype=np.int64), np.array([], dtype=np.int64)) == 0.0


NAMES = ["ant", "bee", "cat"]


def test_a_matrix_is_read_whatever_the_order_of_its_names(tmp_path):
    plain, mixed = tmp_path / "plain.csv", tmp_path / "mixed.csv"
    plain.write_text("true,ant,bee,cat\nant,90,6,4\nbee,0,1,0\ncat,0.5,0,0\n")
    mixed.write_bytes(
        "\ufefftrue \\ wrong,cat, bee "
        ",ant\r\n\r\ncat,0,0,5e-1\r\nant,4,6,90\r\nbee,0,1,0\r\n".encode()
    )
    expected = matrix_transition(np.array([[90, 6, 4], [0, 1, 0], [0.5, 0, 0]]))
    for path in (plain, mixed):
        found = read_matrix(path, NAMES, "set")
        assert isinstance(found, Weighted)
        assert all(
            np.array_equal(getattr(found, field), getattr(expected, field))
            for field in ("starts", "classes", "ends")
        )
    assert expected.ends.tolist() == pytest.approx([0.6, 1.0, 3.0], rel=1e-12)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (None, "there is no such file"),
        ("", "is empty"),
        (",ant,bee,cat\nant,0,1,1\nbee,1,0,1\n", "1 of 3 classes have no row, the first is 'cat'"),
        (
            ",ant,bee\nant,0,1\nbee,1,0\ncat,1,0\n",
            "1 of 3 classes have no column, the first is 'cat'",
        ),
        (
            ",ant,bee,cats\nant,0,1,1\nbee,1,0,1\ncat,1,1,0\n",
            "column: there is no class 'cats'; did you mean 'cat'?",
        ),
        (
            ",ant,bee,cat\nant,0,1,1\nbe,1,0,1\ncat,1,1,0\n",
            "row: there is no class 'be'; did you mean 'bee'?",
        ),
        (",ant,bee,cat\nant,0,1,1\nbee,1,0,1\nbee,1,0,1\ncat,1,1,0\n", "'bee' has two rows"),
        (",ant,bee,cat,ant\nant,0,1,1,0\nbee,1,0,1,0\ncat,1,1,0,0\n", "'ant' has two columns"),
        (
            ",ant,bee,cat\nant,0,1,-1\nbee,1,0,1\ncat,1,1,0\n",
            "'ant' to 'cat' is -1.0; it should be a number from 0 up",
        ),
        (",ant,bee,cat\nant,0,1,1\nbee,nan,0,1\ncat,1,1,0\n", "'bee' to 'ant' is nan"),
        (",ant,bee,cat\nant,0,1,1\nbee,1,0,inf\ncat,1,1,0\n", "'bee' to 'cat' is inf"),
        (
            ",ant,bee,cat\nant,0,x,1\nbee,1,0,1\ncat,1,1,0\n",
            "the row of 'ant': could not convert string to float: 'x'",
        ),
        (
            ",ant,bee,cat\nant,0,1,1\nbee,1,0\ncat,1,1,0\n",
            "the row of 'bee' has 2 numbers for 3 columns",
        ),
        (
            ",ant,bee,cat\nant,0,1,1,9\nbee,1,0,1\ncat,1,1,0\n",
            "the row of 'ant' has 4 numbers for 3 columns",
        ),
        ('"', "cannot be read"),
        ("\udcff", "cannot be read: 'utf-8' codec"),
    ],
)
def test_a_matrix_that_is_none_is_refused_in_one_line(tmp_path, text, message):
    path = tmp_path / "m.csv"
    if text is not None:
        path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(InputError) as error:
        read_matrix(path, NAMES, "set")
    assert message in str(error.value)
    assert str(error.value).startswith(f"set: {path}")
    assert "\n" not in str(error.value)
