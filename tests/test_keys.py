"""Keyed randomness: the same draw for the same key, uniform, and independent across whatever enters
the key.
"""

from __future__ import annotations

import hashlib
import itertools

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headwater import keys

MASK = (1 << 64) - 1
IDS = [f"class {i % 7}/image {i:05d}.jpg" for i in range(20_000)]
HASHES = keys.sample_hashes(IDS)


def splitmix_finaliser(z: int) -> int:
    """SplitMix64's output function in unbounded integers, straight from Steele, Lea and Flood
    2014.
    """
    z = ((z ^ (z >> 30)) * 0xBF58476D1CE4E5B9) & MASK
    z = ((z ^ (z >> 27)) * 0x94D049BB133111EB) & MASK
    return z ^ (z >> 31)


def reference_uniform(key: int, sample_hash: int, counter: int) -> float:
    lane = splitmix_finaliser((sample_hash ^ key) & MASK)
    return (splitmix_finaliser((lane + counter * 0x9E3779B97F4A7C15) & MASK) >> 40) / 2**24


def test_the_mixer_is_splitmix64():
    """The first outputs of java.util.SplittableRandom's generator for seed 1234567, as published
    test vectors give them.
    """
    golden = 0x9E3779B97F4A7C15
    published = [
        6457827717110365317,
        3203168211198807973,
        9817491932198370423,
        4593380528125082431,
        16408922859458223821,
    ]
    assert [splitmix_finaliser((1234567 + i * golden) & MASK) for i in range(1, 6)] == published
    states = np.array([(1234567 + i * golden) & MASK for i in range(1, 6)], dtype=np.uint64).view(
        np.int64
    )
    assert keys._mix(states).view(np.uint64).tolist() == published


@given(
    st.integers(-(2**63), 2**63 - 1),
    st.lists(st.integers(-(2**63), 2**63 - 1), max_size=5),
    st.integers(0, 4),
)
def test_uniforms_equal_a_reference_in_unbounded_integers_in_numpy_and_in_torch(key, hashes, n):
    lanes = np.array(hashes, dtype=np.int64)
    places = itertools.product(hashes, range(1, n + 1))
    expected = np.array([reference_uniform(key, h, c) for h, c in places]).reshape(len(hashes), n)
    ours, torchs = keys.uniform(key, lanes, n), keys.uniform(key, torch.from_numpy(lanes), n)
    assert ours.dtype == np.float32
    assert torchs.dtype == torch.float32
    assert np.array_equal(ours, expected)
    assert np.array_equal(torchs.numpy(), expected)


def test_numpy_and_torch_bits_are_equal():
    key = keys.key(3, "augment", 5, 1)
    assert np.array_equal(
        keys.bits(key, HASHES, 8), keys.bits(key, torch.from_numpy(HASHES), 8).numpy()
    )


def test_draws_keep_their_values_across_releases():
    """Golden values: if these change, every result in every store changes its meaning."""
    assert keys.key(0, "order", 0) == -7954727844311968154
    blake = [
        hashlib.blake2b(i.encode("utf-8"), digest_size=8).digest() for i in ("a/1.jpg", "b/é.png")
    ]
    assert keys.sample_hashes(["a/1.jpg", "b/é.png"]).tolist() == [
        int.from_bytes(b, "little", signed=True) for b in blake
    ]
    hashes = keys.sample_hashes([str(i) for i in range(8)])
    assert keys.permutation(keys.key(0, "order", 0), hashes).tolist() == [6, 4, 5, 1, 3, 7, 2, 0]
    draws = keys.uniform(keys.key(1, "augment", 2, 0), hashes[:2], 3)
    assert (draws * 2**24).astype(int).tolist() == [
        [4246330, 7966923, 12097127],
        [14244256, 16618841, 14534266],
    ]
    assert keys.generator(7, "world", "design").integers(0, 1000, 4).tolist() == [
        989,
        755,
        557,
        628,
    ]


def test_keys_do_not_depend_on_the_integer_type_but_on_everything_else():
    assert keys.key(np.int64(3), "order", np.int32(1)) == keys.key(3, "order", 1)
    distinct = [
        (0, "order"),
        (0, "order", 0),
        (0, "order", "0"),
        (0, "order", 1),
        (1, "order", 0),
        (0, "augment", 0),
        (0, "order", 0, 0),
    ]
    distinct += [(10, "a", 1), (1, "a", 10), (1, "a", "01"), (1, "a", 0, 1), (-1, "order")]
    assert len({keys.key(*parts) for parts in distinct}) == len(distinct)
    with pytest.raises(TypeError):
        keys.key(0.5, "order")  # a seed that is no integer would be a key of its own


def test_uniforms_are_uniform():
    u = keys.uniform(keys.key(0, "augment", 0, 0), HASHES, 10).astype(np.float64)
    assert u.min() >= 0
    assert u.max() < 1
    for column in u.T:
        assert stats.kstest(column, "uniform").pvalue > 1e-4
    counts = np.bincount((u * 256).astype(int).ravel(), minlength=256)
    assert stats.chisquare(counts).pvalue > 1e-4
    low_bits = np.bincount((u * 2**24).astype(int).ravel() % 256, minlength=256)
    assert stats.chisquare(low_bits).pvalue > 1e-4


def test_uniforms_are_uncorrelated_across_counters_keys_and_neighbouring_ids():
    n = len(HASHES)
    near = keys.sample_hashes([str(i) for i in range(n)])
    by_counter = keys.uniform(keys.key(0, "augment", 0, 0), HASHES, 6)
    by_epoch = np.stack(
        [keys.uniform(keys.key(0, "augment", epoch, 0), HASHES, 1)[:, 0] for epoch in range(6)],
        axis=1,
    )
    by_seed = np.stack(
        [keys.uniform(keys.key(seed, "augment", 0, 0), HASHES, 1)[:, 0] for seed in range(6)],
        axis=1,
    )
    lagged = keys.uniform(keys.key(0, "augment", 0, 0), near, 1)[:, 0]
    by_neighbour = np.stack([np.roll(lagged, lag) for lag in range(6)], axis=1)
    raw = np.arange(
        n, dtype=np.int64
    )  # hashes that are themselves counters, the hardest case for a mixer
    by_raw = np.stack([np.roll(keys.uniform(1, raw, 1)[:, 0], lag) for lag in range(6)], axis=1)
    for draws in (by_counter, by_epoch, by_seed, by_neighbour, by_raw):
        off_diagonal = np.corrcoef(draws.T)[np.triu_indices(6, 1)]
        assert np.abs(off_diagonal).max() < 4.5 / np.sqrt(n)
        pairs = np.bincount(
            (draws[:, 0] * 16).astype(int) * 16 + (draws[:, 1] * 16).astype(int), minlength=256
        )
        assert stats.chisquare(pairs).pvalue > 1e-4


def test_flipping_any_bit_of_the_hash_changes_half_of_the_bits_drawn():
    base = keys.bits(9, HASHES[:500], 1).view(np.uint64)
    for bit in range(64):
        flipped = HASHES[:500] ^ np.int64(keys._signed(1 << bit))
        changed = np.bitwise_count(base ^ keys.bits(9, flipped, 1).view(np.uint64)).mean()
        assert 31 < changed < 33


@given(st.lists(st.integers(0, 999), max_size=20))
def test_a_draw_depends_on_the_sample_and_not_on_its_company(chosen):
    whole = keys.uniform(77, HASHES[:1000], 3)
    assert np.array_equal(keys.uniform(77, HASHES[chosen], 3), whole[chosen])


def test_fewer_draws_are_the_first_of_more():
    assert np.array_equal(keys.uniform(5, HASHES[:50], 3), keys.uniform(5, HASHES[:50], 24)[:, :3])


@given(st.integers(0, 300), st.integers(0, 2**31))
def test_a_permutation_has_every_position_once(n, seed):
    order = keys.permutation(keys.key(seed, "order", 0), HASHES[:n])
    assert sorted(order.tolist()) == list(range(n))


def test_permutations_differ_by_epoch_and_keep_the_relative_order_of_a_subset():
    orders = [keys.permutation(keys.key(0, "order", epoch), HASHES[:1000]) for epoch in range(3)]
    for a, b in ((0, 1), (1, 2), (0, 2)):
        assert (
            orders[a] == orders[b]
        ).sum() < 10  # one fixed point is expected of independent orders
        assert abs(stats.spearmanr(orders[a], orders[b]).statistic) < 0.15
    subset = keys.permutation(keys.key(0, "order", 0), HASHES[:500])
    assert np.array_equal(orders[0][orders[0] < 500], subset)


def test_every_sample_is_equally_likely_in_every_place():
    first = [
        int(np.flatnonzero(keys.permutation(keys.key(seed, "order", 0), HASHES[:8]) == 0)[0])
        for seed in range(4000)
    ]
    assert stats.chisquare(np.bincount(first, minlength=8)).pvalue > 1e-4


def test_no_samples_give_no_draws():
    none = keys.sample_hashes([])
    assert none.dtype == np.int64
    assert none.shape == (0,)
    assert keys.uniform(1, none, 3).shape == (0, 3)
    assert keys.uniform(1, torch.from_numpy(none), 3).shape == (0, 3)
    assert keys.permutation(1, none).shape == (0,)
    assert keys.uniform(1, HASHES[:4], 0).shape == (4, 0)


def test_torch_can_write_to_sample_hashes():
    torch.from_numpy(keys.sample_hashes(["a"]))[0] = (
        0  # read-only memory would warn, and warnings are errors here
    )


def test_generators_are_functions_of_their_key():
    draws = [
        keys.generator(*parts).random(4).tolist()
        for parts in ((0, "a"), (0, "a"), (1, "a"), (0, "b"), (0, "a", 1))
    ]
    assert draws[0] == draws[1]
    assert len({tuple(d) for d in draws}) == 4
