"""Partitions that owe nothing to levels: shares, random parts within groups, shuffled, merged and
chosen classes.
"""

from __future__ import annotations

from fractions import Fraction
from itertools import product

import numpy as np
import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from headwater.errors import InputError
from headwater.keys import sample_hashes
from headwater.labels import nesting
from headwater.labels.partitions import random_targets, random_within, shares, shuffled_classes
from headwater.labels.selection import merged, subset


def quotas(sizes: list[int], total: int) -> list[Fraction]:
    """max(1, scale x size) with the scale at which they add up to the total: found by trying every
    set of groups that could sit at 1.
    """
    for at_one in range(len(sizes)):
        ranked = sorted(sizes)
        scale = Fraction(total - at_one, sum(ranked[at_one:]))
        found = [max(Fraction(1), scale * size) for size in sizes]
        if sum(found) == total:
            return found
    return [Fraction(1)] * len(sizes)


@given(st.lists(st.integers(1, 9), min_size=1, max_size=4), st.data())
def test_shares_are_the_whole_numbers_nearest_to_the_quotas(sizes, data):
    """Against all ways of handing out the parts: none is nearer, in the sum of squares, and the
    earlier group wins a tie.
    """
    total = data.draw(st.integers(len(sizes), sum(sizes)))
    wanted = quotas(sizes, total)
    choices = [range(1, size + 1) for size in sizes]
    every = [way for way in product(*choices) if sum(way) == total]
    best = min(
        every,
        key=lambda way: (
            sum((a - q) ** 2 for a, q in zip(way, wanted, strict=True)),
            [-a for a in way],
        ),
    )
    assert shares(np.array(sizes), total, "set").tolist() == list(best)


@given(st.lists(st.integers(1, 2_000_000), min_size=1, max_size=50), st.floats(0, 1))
def test_shares_add_up_leave_no_group_out_and_stay_within_a_part_of_the_quota(sizes, fraction):
    total = round(len(sizes) + fraction * (sum(sizes) - len(sizes)))
    given_out = shares(np.array(sizes), total, "set")
    assert given_out.dtype == np.int64
    assert given_out.sum() == total
    for own, size, quota in zip(given_out.tolist(), sizes, quotas(sizes, total), strict=True):
        assert 1 <= own <= size
        assert abs(own - quota) < 1


def test_shares_outside_their_range_say_the_range():
    with pytest.raises(
        InputError, match=r"set: 1 parts are fewer than one for each of 2 groups; ask for 2 to 8"
    ):
        shares(np.array([3, 5]), 1, "set")
    with pytest.raises(
        InputError, match=r"set: 9 parts are more than there are images \(8\); ask for 2 to 8"
    ):
        shares(np.array([3, 5]), 9, "set")


@given(st.lists(st.integers(0, 4), min_size=1, max_size=120), st.integers(0, 2**40), st.data())
def test_random_parts_are_balanced_within_their_group_and_numbered_group_after_group(
    drawn, seed, data
):
    groups = np.unique(drawn, return_inverse=True)[1]
    sizes = np.bincount(groups)
    parts = np.array([data.draw(st.integers(1, int(size))) for size in sizes])
    codes = random_within(
        sample_hashes([f"{at}.png" for at in range(len(groups))]), groups, parts, seed
    )
    first = 0
    for group, number in enumerate(parts.tolist()):
        counts = np.bincount(codes[groups == group] - first, minlength=number)
        assert len(counts) == number
        assert counts.max() - counts.min() <= 1
        first += number


@given(seed=st.integers(0, 1000), shuffle=st.integers(0, 1000))
def test_random_parts_depend_on_the_seed_and_their_own_groups_images_alone(seed, shuffle):
    hashes, groups = sample_hashes([f"{at}.png" for at in range(90)]), np.arange(90) % 3
    codes = random_within(hashes, groups, np.array([4, 5, 6]), seed)
    order = np.random.default_rng(shuffle).permutation(90)
    assert np.array_equal(
        random_within(hashes[order], groups[order], np.array([4, 5, 6]), seed), codes[order]
    )
    alone = groups == 1
    assert np.array_equal(
        random_within(hashes[alone], np.zeros(30, dtype=np.int64), np.array([5]), seed),
        codes[alone] - 4,
    )
    assert not np.array_equal(random_within(hashes, groups, np.array([4, 5, 6]), seed + 1), codes)


def test_random_parts_of_one_group_are_the_random_classes_of_all_images():
    ids = np.array([f"{at}.png" for at in range(100)], dtype=object)
    whole = random_targets(sample_hashes(ids.tolist()), 7, 3, "set")[0]
    assert np.array_equal(
        random_within(sample_hashes(ids.tolist()), np.zeros(100, dtype=np.int64), np.array([7]), 3),
        whole,
    )


def test_random_classes_are_those_that_earlier_studies_were_trained_on():
    ids = np.array([f"{at:05d}.png" for at in range(12)], dtype=object)
    indices, names = random_targets(sample_hashes(ids.tolist()), 4, 7, "set")
    assert indices.tolist() == [0, 3, 1, 0, 2, 3, 2, 1, 0, 3, 2, 1]
    assert names == ("random 0", "random 1", "random 2", "random 3")


NAMES = [f"class {at:02d}" for at in range(20)]


@given(st.integers(1, 20), st.integers(0, 2**40), st.randoms(use_true_random=False))
def test_shuffled_classes_are_balanced_and_belong_to_names(parts, seed, random):
    groups = shuffled_classes(20, NAMES, parts, seed, "set")
    counts = np.bincount(groups, minlength=parts)
    assert len(counts) == parts
    assert counts.max() - counts.min() <= 1
    order = list(range(20))
    random.shuffle(order)
    assert (
        shuffled_classes(20, [NAMES[at] for at in order], parts, seed, "set").tolist()
        == groups[order].tolist()
    )


def test_shuffled_classes_coarsen_those_of_a_multiple_and_follow_the_seed():
    fine, coarse, other = (
        shuffled_classes(20, NAMES, parts, seed, "set")
        for parts, seed in ((10, 0), (5, 0), (10, 1))
    )
    assert nesting(fine, coarse) == 1
    assert not np.array_equal(fine, other)
    with pytest.raises(
        InputError, match=r"shuffle:21 asks for more parts than there are classes \(20\)"
    ):
        shuffled_classes(20, NAMES, 21, 0, "set")


PETS = ["cat", "dog", "goldfish", "kitten", "puppy"]


def test_merged_classes_share_an_index_and_names_are_sorted():
    merge = {"feline": ["kitten", "cat"], "dog": ["dog", "puppy"]}
    for rest, indices, names in (
        ("keep", [1, 0, 2, 1, 0], ("dog", "feline", "goldfish")),
        ("drop", [1, 0, -1, 1, 0], ("dog", "feline")),
    ):
        codes, found = merged(PETS, merge, rest, "set")
        assert codes.tolist() == indices
        assert codes.dtype == np.int64
        assert found == names
    with pytest.raises(InputError, match="1 of 5 classes are not listed, the first is 'goldfish'"):
        merged(PETS, merge, "error", "set")
    assert merged(PETS, {**merge, "fish": ["goldfish"]}, "error", "set")[1] == (
        "dog",
        "feline",
        "fish",
    )


@pytest.mark.parametrize(
    ("merge", "message"),
    [
        ({"feline": ["cat", "kiten"]}, "set: there is no class 'kiten'; did you mean 'kitten'?"),
        ({"feline": ["zzzzzz"]}, "there are 5 classes, from 'cat' to 'puppy'"),
        (
            {"feline": ["cat"], "pet": ["cat", "dog"]},
            "the class 'cat' is listed under 'feline' and under 'pet'",
        ),
        ({"feline": ["cat", "cat"]}, "the class 'cat' is listed under 'feline' and under 'feline'"),
        ({"dog": ["cat", "kitten"]}, "'dog' is the name of a class that is not merged"),
        ({"feline": []}, "'feline' lists no class"),
        ({}, "no class is left"),
    ],
)
def test_a_merge_that_cannot_be_is_refused(merge, message):
    with pytest.raises(InputError) as error:
        merged(PETS, merge, "drop", "set")
    assert message in str(error.value)


@given(st.lists(st.sampled_from(PETS), unique=True), st.permutations(PETS))
def test_chosen_classes_keep_their_order_and_the_rest_is_marked(wanted, names):
    assume(wanted)
    codes = subset(names, wanted, "set")
    assert [name for name, code in zip(names, codes, strict=True) if code >= 0] == [
        name for name in names if name in wanted
    ]
    assert sorted(codes[codes >= 0]) == list(range(len(wanted)))


@pytest.mark.parametrize(
    ("wanted", "message"),
    [
        ([], "the list of classes is empty"),
        (["cat", "cat"], "'cat' is listed twice"),
        (["cats"], "'cats'; did you mean 'cat'?"),
    ],
)
def test_a_choice_of_classes_that_cannot_be_is_refused(wanted, message):
    with pytest.raises(InputError) as error:
        subset(PETS, wanted, "set")
    assert message in str(error.value)
