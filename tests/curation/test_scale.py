"""Near-duplicates of large sets: all pairs, found by brute force, are the answer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from headwater.curation.hashing import hash_distances, perceptual_hashes
from headwater.curation.scale import (
    Hashes,
    Pairs,
    cells,
    embeddings,
    hashes,
    hashes_of,
    near_embeddings,
    near_hash_tests,
    near_hashes,
    near_hashes_mirrored,
    near_tests,
    pairs,
)
from headwater.curation.scale.bands import bands_of
from headwater.curation.scale.whole import blocks_of, margin_of, scale_of, whole
from headwater.curation.squares import squares
from headwater.errors import InputError
from headwater.sources.pixels import MemoryImages

Codes = NDArray[np.uint64]


@pytest.fixture
def _many_cells(monkeypatch: pytest.MonkeyPatch) -> None:
    """Small sets are cut into cells, blocks and lists as large ones are."""
    monkeypatch.setattr(embeddings, "num_cells", lambda num, probes, alone=0: 24)
    monkeypatch.setattr(embeddings, "_ASKED", 37)
    monkeypatch.setattr(embeddings, "_KNOWN", 23)
    monkeypatch.setattr(embeddings, "_SOURCE_BLOCK", 700)
    monkeypatch.setattr(pairs, "_PENDING", 50)
    monkeypatch.setattr(hashes, "_AT_ONCE", 1000)


def clustered(num: int, seed: int = 0, dim: int = 24) -> NDArray[np.float32]:
    """Features in clusters, every twentieth a near copy of the one before."""
    draw = np.random.default_rng(seed)
    centres = draw.standard_normal((num // 50 + 1, dim))
    made = centres[draw.integers(0, len(centres), num)] + 0.5 * draw.standard_normal((num, dim))
    made[19::20] = made[18::20][: len(made[19::20])]
    made[19::20] += 0.2 * draw.standard_normal(made[19::20].shape)
    return made.astype(np.float32)


def cosine(a: NDArray[np.float32], b: NDArray[np.float32]) -> NDArray[np.float64]:
    a, b = (x / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True) for x in (a, b))
    return a @ b.T  # type: ignore[no-any-return]


def listed(found: Pairs) -> set[tuple[int, int]]:
    as_set = set(zip(found.row.tolist(), found.other.tolist(), strict=True))
    assert len(as_set) == len(found), "a pair is listed twice"
    return as_set


def where(near: NDArray[np.bool_]) -> set[tuple[int, int]]:
    return set(zip(*(side.tolist() for side in np.nonzero(near)), strict=True))


def brute_groups(num: int, near: set[tuple[int, int]]) -> list[int]:
    """The first row of each row's group, by walking."""
    beside: list[set[int]] = [set() for _ in range(num)]
    for a, b in near:
        beside[a].add(b)
        beside[b].add(a)
    first = [-1] * num
    for start in range(num):
        todo = [start] if first[start] < 0 else []
        while todo:
            at = todo.pop()
            first[at] = start
            todo += [other for other in beside[at] if first[other] < 0]
    return first


def same(a: Pairs, b: Pairs) -> bool:
    sides = ((a.row, b.row), (a.other, b.other), (a.score, b.score))
    equal = all(np.array_equal(x, y) for x, y in sides)
    if a.first is None or b.first is None:
        grouped = a.first is b.first
    else:
        grouped = np.array_equal(a.first, b.first)
    return equal and grouped and a.num_found == b.num_found


@pytest.mark.usefixtures("_many_cells")
@pytest.mark.parametrize("probes", [1000, 4])
def test_pairs_within_a_set_are_those_of_brute_force(probes: int) -> None:
    features = clustered(1500)
    near = where(np.tril(cosine(features, features) >= 0.85, -1))
    found = near_embeddings(features, threshold=0.85, probes=probes, per_row=1500)
    assert listed(found) <= near
    assert found.num_found == len(found) and len(near) > 100
    if probes == 1000:  # every cell is looked into
        assert listed(found) == near
        assert found.first is not None
        assert found.first.tolist() == brute_groups(1500, near)
    assert len(found) >= 0.99 * len(near)
    exact = cosine(features, features)[found.row, found.other]
    assert np.abs(found.score - exact).max() < 5e-4


@pytest.mark.usefixtures("_many_cells")
def test_pairs_with_test_sets_are_those_of_brute_force() -> None:
    source = clustered(2000, 1)
    tests = {"a": source[::9] + np.float32(0.02), "none": source[:0], "b": clustered(300, 2)}
    everything = near_tests(source, tests, threshold=0.8, probes=1000, per_row=2000)
    assert list(everything) == ["a", "none", "b"]
    for name, test in tests.items():
        near = where(cosine(test, source) >= 0.8)
        assert listed(everything[name]) == near
        assert set(np.flatnonzero(everything[name].flagged)) == {row for row, _ in near}
    usual = near_tests(source, tests, threshold=0.8)
    assert usual["a"].flagged.all() and everything["a"].num == len(source[::9])


@pytest.mark.slow
@pytest.mark.usefixtures("_many_cells")
def test_threads_and_blocks_change_no_bit_of_the_answer() -> None:
    features, test = clustered(1200), clustered(200, 3)

    def some(size: int) -> Iterator[NDArray[np.float32]]:
        for at in range(0, len(features), size):
            yield features[at : at + size]

    once = near_embeddings(features, threshold=0.8)
    between = near_tests(features, {"t": test}, threshold=0.6)["t"]
    assert len(once) and len(between)
    threads = torch.get_num_threads()
    faiss = cells.faiss()
    try:
        for count in (1, 3):
            torch.set_num_threads(count)
            faiss.omp_set_num_threads(count)
            for size in (7, 501):
                assert same(once, near_embeddings(some(size), threshold=0.8))
                again = near_tests(some(size), {"t": test}, threshold=0.6)["t"]
                assert same(between, again)
    finally:
        torch.set_num_threads(threads)
        faiss.omp_set_num_threads(threads)


def test_a_mapped_file_in_half_precision_is_read_as_its_values(tmp_path: Path) -> None:
    features = clustered(500).astype(np.float16)
    np.save(tmp_path / "f.npy", features)
    mapped = np.load(tmp_path / "f.npy", mmap_mode="r", allow_pickle=False)
    found = near_embeddings(mapped, threshold=0.9, per_row=500)
    assert listed(found) == where(np.tril(cosine(features, features) >= 0.9, -1))


def test_the_threshold_is_exact_though_features_are_rounded() -> None:
    draw = np.random.default_rng(0)
    first = draw.standard_normal((400, 8))
    first /= np.linalg.norm(first, axis=1, keepdims=True)
    aside = draw.standard_normal((400, 8))
    aside -= (aside * first).sum(axis=1, keepdims=True) * first
    aside /= np.linalg.norm(aside, axis=1, keepdims=True)
    wanted = 0.9 + np.where(np.arange(400) % 2 == 0, 1e-6, -1e-6)[:, None]
    second = wanted * first + np.sqrt(1 - wanted**2) * aside
    found = near_tests(first, {"t": second}, threshold=0.9, per_row=400)["t"]
    own = found.row == found.other
    assert set(found.row[own].tolist()) == set(range(0, 400, 2))


def test_equal_rows_are_pairs_with_the_first_of_them_alone() -> None:
    features = clustered(100)
    features[[20, 50, 70]] = features[10]
    found = near_embeddings(features, threshold=0.999)
    assert listed(found) >= {(20, 10), (50, 10), (70, 10)}
    assert not {(50, 20), (70, 20), (70, 50)} & listed(found)
    groups = [group.tolist() for group in found.groups()]
    assert [10, 20, 50, 70] in groups
    kept = found.kept()
    assert kept[10] and not kept[[20, 50, 70]].any()
    order = np.arange(100)[::-1].copy()
    assert found.kept(order)[[10, 20, 50, 70]].tolist() == [False, False, False, True]
    assert int(found.kept(order).sum()) == int(kept.sum()) == 100 - int(found.flagged.sum())


def test_of_many_pairs_the_best_are_listed_and_all_connect() -> None:
    features = np.ones((60, 16), dtype=np.float32)
    features += 0.2 * np.random.default_rng(0).standard_normal(features.shape).astype(np.float32)
    found = near_embeddings(features, threshold=0.7, per_row=3)
    assert found.num_found == 60 * 59 // 2
    assert found.num_left_out == found.num_found - len(found) > 0
    assert (np.bincount(found.row) <= 3).all()
    exact = np.tril(cosine(features, features), -1)[59]
    assert set(found.other[found.row == 59]) == set(np.argsort(-exact)[:3])
    assert len(found.groups()) == 1


def test_products_stay_below_what_float32_holds_exactly() -> None:
    for dim in (1, 3, 64, 768, 4096):
        made = whole(np.random.default_rng(0).standard_normal((50, dim)))
        assert (made == np.rint(made)).all()
        assert (made.astype(np.float64) ** 2).sum(axis=1).max() <= 2**24
        corner = whole(np.ones((1, dim)))
        assert (corner.astype(np.float64) ** 2).sum() <= 2**24
        assert margin_of(dim) >= np.sqrt(dim) / scale_of(dim)


def test_features_that_are_none_are_refused() -> None:
    good = np.ones((3, 4), dtype=np.float32)
    for wrong in (good[0], good.astype("U1"), good[:, :0]):
        with pytest.raises(InputError, match="features should be"):
            near_embeddings(wrong)  # type: ignore[arg-type]
    for value in (np.nan, np.inf):
        with pytest.raises(InputError, match="no finite number"):
            near_embeddings(np.full((3, 4), value))
    with pytest.raises(InputError, match="4 wide, others 5"):
        near_tests([good], {"t": np.ones((2, 5))})
    for threshold in (0.0, 1.5, float("nan")):
        with pytest.raises(InputError, match="threshold"):
            near_embeddings(good, threshold=threshold)
    assert len(near_embeddings(good[:0])) == 0
    assert len(near_embeddings(iter([good[:0]]))) == 0
    assert near_tests(good, {}) == {}


def test_features_of_zeros_are_near_nothing() -> None:
    features = clustered(40)
    features[[3, 9, 30]] = 0
    near = near_embeddings(features, threshold=0.01, per_row=40)
    assert not {3, 9, 30} & {*near.row.tolist(), *near.other.tolist()}
    assert not near_embeddings(np.zeros((5, 4))).flagged.any()
    assert not near_tests(np.zeros((5, 4)), {"t": np.zeros((2, 4))})["t"].flagged.any()


def test_blocks_come_in_one_size_whatever_they_came_in() -> None:
    rows = np.arange(100, dtype=np.float32).reshape(50, 2)
    cut = np.split(rows, [3, 3, 20, 41])
    found = list(blocks_of(cut, "rows", size=8))
    assert [(start, len(block)) for start, block in found] == [
        *((at, 8) for at in range(0, 48, 8)),
        (48, 2),
    ]
    assert np.array_equal(np.concatenate([block for _, block in found]), rows)


# hashes
def codes(num: int, bits: int, seed: int = 0) -> Codes:
    """Hashes of which half are others with some bits changed; some equal, some 0."""
    draw = np.random.default_rng(seed)
    made = draw.integers(1, 1 << bits, num, dtype=np.uint64)
    for row in range(num // 2, num):
        changed = draw.choice(bits, draw.integers(0, min(bits, 14)), replace=False)
        made[row] = made[row - num // 2] ^ np.uint64(sum(1 << int(bit) for bit in changed))
    made[::97] = 0
    return made


def bits_apart(a: Codes, b: Codes) -> NDArray[np.uint8]:
    apart = np.bitwise_count(a[:, None] ^ b[None, :])
    apart[(a == 0)[:, None] | (b == 0)[None, :]] = 99
    return apart


@pytest.mark.usefixtures("_many_cells")
@pytest.mark.parametrize(
    ("radius", "bits"), [(0, 63), (1, 64), (5, 63), (8, 63), (11, 64), (0, 24), (3, 24)]
)
def test_near_hashes_are_those_of_brute_force(radius: int, bits: int) -> None:
    made = codes(700, bits)
    near = where(np.tril(bits_apart(made, made) <= radius, -1))
    found = near_hashes(made, radius=radius, bits=bits, per_row=700)
    first = {int(code): row for row, code in reversed(list(enumerate(made.tolist())))}
    stands = [first[int(code)] == row for row, code in enumerate(made.tolist())]
    unequal = {(a, b) for a, b in near if stands[a] and stands[b]}
    equal = {(row, first[int(code)]) for row, code in enumerate(made.tolist()) if code}
    assert listed(found) == unequal | {(a, b) for a, b in equal if a != b}
    assert found.first is not None and found.first.tolist() == brute_groups(700, near)
    apart = np.bitwise_count(made[found.row] ^ made[found.other])
    assert np.array_equal(-found.score, apart)


def test_a_band_is_near_where_hashes_are() -> None:
    draw = np.random.default_rng(0)
    for bits, radius, num in ((63, 8, 10**6), (64, 3, 10**7), (64, 16, 1000), (16, 8, 50)):
        bands = bands_of(bits, radius, num)
        a = draw.integers(0, 1 << bits, 300, dtype=np.uint64)
        flips = [draw.choice(bits, radius, replace=False).tolist() for _ in a]
        b = a.copy()
        for row, flip in enumerate(flips):
            b[row] ^= np.uint64(sum(1 << bit for bit in flip))
        apart = [np.bitwise_count(band.of(a) ^ band.of(b)) <= band.radius for band in bands]
        assert np.any(apart, axis=0).all()
        assert all(len(set(band.masks())) == len(band.masks()) for band in bands)


def test_mirrored_images_are_near_and_come_once() -> None:
    draw = np.random.default_rng(0)
    plain, mirrored = draw.integers(1, 1 << 63, (2, 300), dtype=np.uint64)
    plain[100:200], mirrored[100:200] = mirrored[:100], plain[:100]  # mirror images
    plain[200:250] = plain[:50] ^ np.uint64(0b101)  # copies
    plain[250], mirrored[250] = plain[5], plain[5]  # symmetric: near itself both ways
    made = Hashes(plain, mirrored)
    apart = np.minimum(bits_apart(plain, plain), bits_apart(mirrored, plain))
    apart = np.minimum(apart, apart.T)
    near = where(np.tril(apart <= 8, -1))
    found = near_hashes_mirrored(made, per_row=300)
    assert {(row + 100, row) for row in range(100)} <= listed(found)
    assert {row for pair in near for row in pair} == {row for pair in listed(found) for row in pair}
    assert listed(found) <= near
    assert found.first is not None and found.first.tolist() == brute_groups(300, near)


def test_hashes_of_test_sets_are_those_of_brute_force() -> None:
    source, flipped = np.stack([codes(400, 63), codes(400, 63, 1)])
    some = np.random.default_rng(2).permutation(400)
    tests = {"a": Hashes(source[some], flipped[some]), "b": Hashes(codes(50, 63, 3), source[:50])}
    found = near_hash_tests(Hashes(source, flipped), tests, per_row=400)
    _, first = np.unique(source, return_index=True)
    standing = np.zeros(400, dtype=bool)
    standing[first] = True
    for name, test in tests.items():
        apart = np.minimum(bits_apart(test.plain, source), bits_apart(test.mirrored, source))
        apart[test.plain == 0] = 99
        apart[:, ~standing] = 99
        assert listed(found[name]) == where(apart <= 8)


def test_hashes_of_a_stream_are_those_of_the_images() -> None:
    draw = np.random.default_rng(0)
    images = MemoryImages(draw.integers(0, 255, (1100, 40, 40, 3), dtype=np.uint8))
    told: list[tuple[str, int, int]] = []
    made = hashes_of(images, lambda what, done, of: told.append((what, done, of)))
    plain, mirrored = perceptual_hashes(squares(images, np.arange(1100)))
    assert np.array_equal(made.plain, plain) and np.array_equal(made.mirrored, mirrored)
    assert told[-1] == ("hashing", 1100, 1100)
    assert (hash_distances(plain[:5], mirrored[:5], plain[:5]).diagonal() == 0).all()


def test_hashes_that_make_no_sense_are_refused() -> None:
    with pytest.raises(InputError, match="uint64"):
        near_hashes(np.zeros(3, dtype=np.int64))  # type: ignore[arg-type]
    for radius in (-1, 63):
        with pytest.raises(InputError, match="radius"):
            near_hashes(np.ones(3, dtype=np.uint64), radius=radius)
    with pytest.raises(InputError, match="more than 63 bits"):
        near_hashes(np.full(3, 1 << 63, dtype=np.uint64))
    assert len(near_hashes(np.zeros(3, dtype=np.uint64))) == 0
    assert len(near_hashes(np.zeros(0, dtype=np.uint64))) == 0
