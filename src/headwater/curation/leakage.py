"""Near-duplicates between a source and a test set, or within one set: all pairs looked at coarsely, the likely ones aligned and compared."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.curation.aligning import align
from headwater.curation.hashing import hash_distances, perceptual_hashes, pixel_hashes
from headwater.curation.matches import KINDS, Matches
from headwater.curation.nearest import Nearest
from headwater.curation.squares import squares
from headwater.curation.windows import Coefficients, alike, coefficients
from headwater.errors import InputError
from headwater.sources.pixels import Images

LIKELY = 0.4
"""Pairs whose coarse coefficients are at least this alike (windows.alike) are aligned: copies with some contrast have 0.6 and more. Ours."""
NEAR_BITS = 8
"""Perceptual hashes that differ by no more are of one kind `hash`, once the pair has been aligned; unrelated photos differ by 32 +- 4. Ours."""
TEST_BLOCK = 8192
"""Test images whose windows are held at a time (about 200 MB); a source is read once for each block of them."""
_ALIGNED_AT_ONCE = 1024
_WINDOWED = 64
"""Images whose windows are multiplied at a time."""

Progress = Callable[[int], object]


@dataclass(frozen=True, eq=False)
class _Looked:
    """What is known of some images."""

    pixels: NDArray[np.bytes_]
    hashes: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    wholes: Coefficients
    banks: Coefficients

    @classmethod
    def at(cls, images: Images, start: int, end: int, block: int) -> _Looked:
        parts = []
        for at in range(start, end, block):
            rows = np.arange(at, min(at + block, end), dtype=np.int64)
            small = squares(images, rows)
            parts.append((pixel_hashes(images, rows), *perceptual_hashes(small), coefficients(small, whole_only=True), coefficients(small)))
        pixels, hashes, mirrored, wholes, banks = zip(*parts, strict=True)
        joined = [Coefficients(torch.cat([p.even for p in some]), torch.cat([p.odd for p in some])) for some in (wholes, banks)]
        return cls(np.concatenate(pixels), np.concatenate(hashes), np.concatenate(mirrored), *joined)


def near_duplicates(
    source: Images,
    test: Images,
    *,
    suggested: NDArray[np.int64] | None = None,
    candidates: int = 16,
    block: int = 512,
    progress: Progress | None = None,
) -> Matches:
    """Pairs of a test image and a source image that show the same picture: equal, or after compression, resizing, mirroring or a crop of either that
    keeps 80 % of each side or more, or several of these.

    `source`, `test`: decoded images (headwater.sources.pixels), of one image size or of two. `suggested` int64 [n, 2], (test row, source row), are
    pairs to look at besides, such as an encoder's nearest neighbours (embedding_neighbours). Of each test image the `candidates` likeliest pairs of
    each kind are looked at: of one with more copies than that all are not listed, but it is flagged. The source is read in blocks of `block` images,
    `progress` is called with the number that are done; memory does not grow with either set (TEST_BLOCK), but for the hashes and the candidates.
    The same answer at any number of threads, block size and order of blocks. Raises InputError where a number or a suggested row makes no sense.

    Measured by `python benchmarks/leakage.py` on held-out sets: see docs/leakage.md for recall, false positives and cost.
    """
    return _matches(source, test, suggested, candidates, block, progress, same=False)


def within(images: Images, *, candidates: int = 16, block: int = 512, progress: Progress | None = None) -> Matches:
    """Near-duplicates inside one set, each pair once: `test_row` < `source_row`, both rows of `images`. As near_duplicates."""
    return _matches(images, images, None, candidates, block, progress, same=True)


def _matches(
    source: Images, test: Images, suggested: NDArray[np.int64] | None, candidates: int, block: int, progress: Progress | None, *, same: bool
) -> Matches:
    if candidates < 1 or block < 1:
        raise InputError(f"near_duplicates: candidates and block should be 1 or more, not {candidates} and {block}")
    pairs = _suggested(suggested, len(test), len(source))
    found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]] = []
    if len(test) and len(source):
        with torch.no_grad():
            for start in range(0, len(test), TEST_BLOCK):
                found += _candidates(source, test, start, min(start + TEST_BLOCK, len(test)), candidates, block, progress, same)
    if len(pairs):
        found.append((pairs[:, 0], pairs[:, 1], np.full(len(pairs), "embedding")))
    return _aligned(source, test, found)


def _suggested(pairs: NDArray[np.int64] | None, num_test: int, num_source: int) -> NDArray[np.int64]:
    if pairs is None:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise InputError(f"near_duplicates: suggested pairs should be whole numbers [n, 2], test row and source row, not {pairs.dtype} {list(pairs.shape)}")
    if len(pairs) and ((pairs < 0).any() or pairs[:, 0].max() >= num_test or pairs[:, 1].max() >= num_source):
        raise InputError(f"near_duplicates: a suggested pair names a row that is not there ({num_test} test images, {num_source} source images)")
    return pairs.astype(np.int64)


def _candidates(
    source: Images, test: Images, start: int, end: int, most: int, block: int, progress: Progress | None, same: bool
) -> list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]]:
    """(test rows, source rows, kinds) of pairs that may be copies, for one block of the test set."""
    asked = _Looked.at(test, start, end, block)
    num = end - start
    of_test, of_source = Nearest(num, most, least=LIKELY), Nearest(num, most, least=LIKELY)
    by_hash, by_pixels = Nearest(num, most, least=-NEAR_BITS), Nearest(num, most, least=1)
    for at in range(0, len(source), block):
        stop = min(at + block, len(source))
        known = _Looked.at(source, at, stop, block)
        for first in range(0, num, _WINDOWED):
            some = slice(first, min(first + _WINDOWED, num))
            later = np.arange(at, stop)[None, :] > np.arange(start + some.start, start + some.stop)[:, None] if same else None
            of_test.add(alike(asked.banks[some], known.wholes).numpy(), first, at, later)
            of_source.add(_transposed(known.banks, asked.wholes[some]), first, at, later)
            by_hash.add(-hash_distances(asked.hashes[some], asked.mirrored[some], known.hashes).astype(np.float64), first, at, later)
            by_pixels.add((asked.pixels[some, None] == known.pixels[None, :]).astype(np.float64), first, at, later)
        if progress is not None:
            progress(stop)
    kept = []
    for kind, nearest in (("pixels", by_pixels), ("hash", by_hash), ("crop", of_test), ("crop", of_source)):
        rows, others, _ = nearest.pairs()
        kept.append((rows + start, others, np.full(len(rows), kind)))
    return kept


def _transposed(banks: Coefficients, wholes: Coefficients) -> NDArray[np.float32]:
    parts = [alike(banks[at : at + _WINDOWED], wholes) for at in range(0, len(banks), _WINDOWED)]
    made: NDArray[np.float32] = torch.cat(parts).T.numpy()
    return made


def _aligned(source: Images, test: Images, found: list[tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.str_]]]) -> Matches:
    """Every pair once, of its plainest kind, aligned both ways; those that are copies, or equal."""
    tests = np.concatenate([np.zeros(0, dtype=np.int64), *(f[0] for f in found)])
    sources = np.concatenate([np.zeros(0, dtype=np.int64), *(f[1] for f in found)])
    rank = np.array([KINDS.index(kind) for f in found for kind in f[2].tolist()], dtype=np.int64)
    order = np.lexsort((rank, sources, tests))
    tests, sources, rank = tests[order], sources[order], rank[order]
    new = np.ones(len(tests), dtype=bool)
    new[1:] = (tests[1:] != tests[:-1]) | (sources[1:] != sources[:-1])
    tests, sources, rank = tests[new], sources[new], rank[new]
    similarity, flipped = np.ones(len(tests), dtype=np.float32), np.zeros(len(tests), dtype=bool)
    of_source, window = np.zeros(len(tests), dtype=bool), np.tile(np.array([0, 0, 1, 1], dtype=np.float32), (len(tests), 1))
    copies = rank == KINDS.index("pixels")
    unsure = np.flatnonzero(~copies)
    for at in range(0, len(unsure), _ALIGNED_AT_ONCE):
        which = unsure[at : at + _ALIGNED_AT_ONCE]
        a, b = _each_once(test, tests[which]), _each_once(source, sources[which])
        ways = (align(a, b), align(b, a))
        score = [torch.where(way.copies, way.similarity + 2, way.similarity) for way in ways]  # a copy either way is a copy
        other = score[1] > score[0]
        copies[which] = (ways[0].copies | ways[1].copies).numpy()
        similarity[which] = torch.where(other, ways[1].similarity, ways[0].similarity).float().numpy()
        flipped[which] = torch.where(other, ways[1].flipped, ways[0].flipped).numpy()
        window[which] = torch.where(other[:, None], ways[1].window, ways[0].window).float().numpy()
        of_source[which] = other.numpy()
    order = np.lexsort((sources, -similarity, tests))
    order = order[copies[order]]
    return Matches(
        num_test=len(test),
        num_source=len(source),
        test_row=tests[order],
        source_row=sources[order],
        kind=np.array(KINDS)[rank[order]],
        similarity=similarity[order],
        flipped=flipped[order],
        window=window[order],
        window_of_source=of_source[order],
    )


def _each_once(images: Images, rows: NDArray[np.int64]) -> torch.Tensor:
    """Squares by row, where many rows are the same."""
    each, where = np.unique(rows, return_inverse=True)
    return squares(images, each)[torch.from_numpy(where)]
