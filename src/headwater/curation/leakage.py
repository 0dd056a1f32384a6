"""Near-duplicates between a source and a test set, or within one set: all pairs looked at coarsely,
the likely ones aligned and compared.
"""

from __future__ import annotations

import itertools
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.curation.aligning import Aligned, align
from headwater.curation.hashing import hash_distances
from headwater.curation.looks import Look, Looks, looks_of
from headwater.curation.matches import KINDS, Matches
from headwater.curation.nearest import Nearest
from headwater.curation.threads import in_threads
from headwater.curation.windows import Coefficients, alike
from headwater.errors import InputError
from headwater.sources.pixels import Images

LIKELY = 0.5
"""Pairs whose coarse coefficients are at least this alike (windows.alike) are aligned: copies with
some contrast have 0.6 and more. Ours.
"""
NEAR_BITS = 8
"""Perceptual hashes that differ by no more are of one kind `hash`, once the pair has been aligned;
unrelated photos differ by 32 +- 4. Ours.
"""
PER_SOURCE = 2
"""Of each source image so many of the likeliest test images are aligned besides, of each
TEST_BLOCK: where a test set is full of look-alikes, a copy is the likeliest of its source image
long before it is among the likeliest of its test image. Ours.
"""
TEST_BLOCK = 8192
"""Test images whose windows are held at a time (115 MB, twice that while they are made); a source
is read once for each block of them.
"""
_ALIGNED_AT_ONCE = 1024
_ASKED, _WINDOWED = 512, 64
"""Test images that are compared with a block of the source at a time, and images whose windows are
multiplied at a time.
"""

Progress = Callable[[int], object]


@dataclass(frozen=True, eq=False)
class Likely:
    """Pairs that may be copies, for one reason."""

    kind: str
    of_source: bool | None
    """Whether windows of the source image are to be tried (True), of the test image (False), or of
    both (None).
    """
    tests: NDArray[np.int64]
    """int64 [num_pairs]: test rows."""
    sources: NDArray[np.int64]
    """int64 [num_pairs]: source rows."""


def near_duplicates(
    source: Images | Looks,
    test: Images | Looks,
    *,
    suggested: NDArray[np.int64] | None = None,
    candidates: int = 8,
    block: int = 512,
    progress: Progress | None = None,
) -> Matches:
    """Pairs of a test image and a source image that show the same picture: equal, or after
    compression, resizing, mirroring or a crop of either that keeps 80 % of each side or more, or
    several of these.

    `source`, `test`: decoded images (headwater.sources.pixels), of one image size or of two; as
    Looks where they are searched more than once.
    `suggested` int64 [n, 2], (test row, source row), are pairs to look at besides, such as an
    encoder's nearest neighbours (embedding_neighbours). Of each test image the `candidates`
    likeliest pairs of each kind are looked at, of each source image the PER_SOURCE likeliest: a
    test image with more copies than that is flagged, if not all are listed. The source is read in
    blocks of `block` images and `progress` is called with the number that are done; memory does not
    grow with either set (TEST_BLOCK), but for hashes and candidates. The same answer at any number
    of threads, block size and order of blocks. Raises InputError where a number or a suggested row
    makes no sense.

    Measured (`python benchmarks/leakage.py --image-size 32 --seeds 1 2`, 5,600 copies of each seed,
    by set in docs/leakage.md): 99.1 % of the planted copies found, 95.8 % or more of each of eight
    sets; 3 of 37 million pairs of different sets flagged, 3 of 4,452 test images. Not found:
    heavier crops, turned images, overlays, copies of flat images. Pairs of one set that are flagged
    are mostly true near-duplicates.
    """
    known = looks_of(source), looks_of(test)
    return _matches(*known, suggested, candidates, block, progress, same=False)


def within(
    images: Images, *, candidates: int = 8, block: int = 512, progress: Progress | None = None
) -> Matches:
    """Near-duplicates inside one set, each pair once: `test_row` < `source_row`, both rows of
    `images`. As near_duplicates.
    """
    known = looks_of(images)
    return _matches(known, known, None, candidates, block, progress, same=True)


def _matches(
    source: Looks,
    test: Looks,
    suggested: NDArray[np.int64] | None,
    candidates: int,
    block: int,
    progress: Progress | None,
    *,
    same: bool,
) -> Matches:
    if candidates < 1 or block < 1:
        raise InputError(
            f"near_duplicates: candidates and block should be 1 or more, not {candidates} and "
            f"{block}"
        )
    pairs = checked_pairs(suggested, len(test), len(source))
    found: list[Likely] = []
    if len(test) and len(source):
        with torch.no_grad():
            for start in range(0, len(test), TEST_BLOCK):
                found += _candidates(
                    source,
                    test,
                    start,
                    min(start + TEST_BLOCK, len(test)),
                    candidates,
                    block,
                    progress,
                    same,
                )
    if len(pairs):
        found.append(Likely("embedding", None, pairs[:, 0], pairs[:, 1]))
    return aligned_pairs(source, test, found)


def checked_pairs(
    pairs: NDArray[np.int64] | None, num_test: int, num_source: int
) -> NDArray[np.int64]:
    """int64 [n, 2]: suggested pairs. Raises InputError for what are none."""
    if pairs is None:
        return np.zeros((0, 2), dtype=np.int64)
    pairs = np.asarray(pairs)
    if pairs.ndim != 2 or pairs.shape[1] != 2 or pairs.dtype.kind not in "iu":
        raise InputError(
            "near_duplicates: suggested pairs should be whole numbers [n, 2], test row and source "
            f"row, not {pairs.dtype} {list(pairs.shape)}"
        )
    if len(pairs) and (
        (pairs < 0).any() or pairs[:, 0].max() >= num_test or pairs[:, 1].max() >= num_source
    ):
        raise InputError(
            f"near_duplicates: a suggested pair names a row that is not there ({num_test} test "
            f"images, {num_source} source images)"
        )
    return pairs.astype(np.int64)


@dataclass(frozen=True, eq=False)
class _Best:
    """The likeliest pairs so far of a block of the test set, by what they are likely by."""

    of_test: Nearest
    of_source: Nearest
    by_hash: Nearest
    by_pixels: Nearest
    lock: threading.Lock = field(default_factory=threading.Lock)
    """Blocks of the source are looked at side by side; which is first changes nothing."""

    def of_block(
        self,
        asked: Look,
        source: Looks,
        start: int,
        at: int,
        stop: int,
        block: int,
        same: bool,
    ) -> list[Likely]:
        """Takes in rows `at` to `stop` - 1 of the source; the likeliest pairs of each of them."""
        known = source.at(at, stop, block)
        num = len(asked.pixels)
        own_of_test, own_of_source = (
            Nearest(stop - at, PER_SOURCE, least=LIKELY),
            Nearest(stop - at, PER_SOURCE, least=LIKELY),
        )
        for first in range(0, num, _ASKED):
            some = slice(first, min(first + _ASKED, num))
            later = (
                np.arange(at, stop)[None, :]
                > np.arange(start + some.start, start + some.stop)[:, None]
                if same
                else None
            )
            of_windows = (
                (_windowed(asked.banks[some], known.wholes), self.of_test, own_of_test),
                (_windowed(known.banks, asked.wholes[some]).T, self.of_source, own_of_source),
            )
            hashes = -hash_distances(asked.hashes[some], asked.mirrored[some], known.hashes).astype(
                np.int8
            )
            pixels = (asked.pixels[some, None] == known.pixels[None, :]).astype(np.int8)
            for likeness, _, of_known in of_windows:
                of_known.add(likeness.T, 0, first, None if later is None else later.T)
            with self.lock:
                for likeness, of_image, _ in of_windows:
                    of_image.add(likeness, first, at, later)
                self.by_hash.add(hashes, first, at, later)
                self.by_pixels.add(pixels, first, at, later)
        pairs = []
        for ways, nearest in ((False, own_of_test), (True, own_of_source)):
            others, rows, _ = nearest.pairs()
            pairs.append(Likely("crop", ways, rows + start, others + at))
        return pairs


def _candidates(
    source: Looks,
    test: Looks,
    start: int,
    end: int,
    most: int,
    block: int,
    progress: Progress | None,
    same: bool,
) -> list[Likely]:
    """Pairs that may be copies, for one block of the test set."""
    asked = test.at(start, end, block)
    num = end - start
    of_test, of_source = Nearest(num, most, least=LIKELY), Nearest(num, most, least=LIKELY)
    kept: list[Likely] = []
    by_hash, by_pixels = Nearest(num, most, least=-NEAR_BITS), Nearest(num, most, least=1)
    best = _Best(of_test, of_source, by_hash, by_pixels)
    done = itertools.count(1)

    def look(at: int) -> list[Likely]:
        stop = min(at + block, len(source))
        found = best.of_block(asked, source, start, at, stop, block, same)
        if progress is not None:
            progress(min(next(done) * block, len(source)))
        return found

    for found in in_threads(look, range(0, len(source), block)):
        kept += found
    for kind, ways, nearest in (
        ("pixels", False, by_pixels),
        ("hash", False, by_hash),
        ("crop", False, of_test),
        ("crop", True, of_source),
    ):
        rows, others, _ = nearest.pairs()
        kept.append(Likely(kind, ways, rows + start, others))
    return kept


def _windowed(banks: Coefficients, wholes: Coefficients) -> NDArray[np.float32]:
    """float32 [num_banks, num_wholes]: `alike`, of a few banks at a time."""
    parts = [alike(banks[at : at + _WINDOWED], wholes) for at in range(0, len(banks), _WINDOWED)]
    made: NDArray[np.float32] = torch.cat(parts).numpy()
    return made


@dataclass(frozen=True, eq=False)
class _Distinct:
    """Pairs that may be copies, every one once."""

    tests: NDArray[np.int64]
    """int64 [num_pairs]: test rows."""
    sources: NDArray[np.int64]
    """int64 [num_pairs]: source rows."""
    rank: NDArray[np.int64]
    """int64 [num_pairs]: the plainest of the pair's kinds, as a place in KINDS."""
    tried: tuple[NDArray[np.bool_], NDArray[np.bool_]]
    """bool [num_pairs] each: whether windows of the test image, and of the source image, are to be
    tried.
    """


def _distinct(candidates: list[Likely]) -> _Distinct:
    none = np.zeros(0, dtype=np.int64)
    tests = np.concatenate([none, *(pairs.tests for pairs in candidates)])
    sources = np.concatenate([none, *(pairs.sources for pairs in candidates)])
    sizes = [len(pairs.tests) for pairs in candidates]
    ranks = np.array([KINDS.index(pairs.kind) for pairs in candidates], dtype=np.int64)
    (tests, sources), where = np.unique(np.stack([tests, sources]), axis=1, return_inverse=True)
    plainest = np.full(len(tests), len(KINDS), dtype=np.int64)
    np.minimum.at(plainest, where, np.repeat(ranks, sizes))

    def wanted(other: bool) -> NDArray[np.bool_]:
        """Pairs that some candidate gives for more than windows of the other side."""
        chosen = np.array([pairs.of_source is not other for pairs in candidates], dtype=bool)
        counts = np.bincount(where[np.repeat(chosen, sizes)], minlength=len(tests))
        some: NDArray[np.bool_] = counts > 0
        return some

    return _Distinct(tests, sources, plainest, (wanted(True), wanted(False)))


def aligned_pairs(source: Looks, test: Looks, candidates: list[Likely]) -> Matches:
    """Every pair once, of its plainest kind, aligned; those that are copies, or equal."""
    pairs = _distinct(candidates)
    tests, sources = pairs.tests, pairs.sources
    equal = pairs.rank == KINDS.index("pixels")
    copies = equal.copy()
    similarity = np.where(copies, 1.0, -1.0)
    flipped, of_source = np.zeros(len(tests), dtype=bool), np.zeros(len(tests), dtype=bool)
    window = np.tile(np.array([0, 0, 1, 1], dtype=np.float32), (len(tests), 1))
    sides = ((test, tests), (source, sources))
    for source_first, wanted in zip((False, True), pairs.tried, strict=True):
        (big, big_rows), (small, small_rows) = sides[::-1] if source_first else sides
        unsure = np.flatnonzero(wanted & ~equal)
        unsure = unsure[np.lexsort((small_rows[unsure], big_rows[unsure]))]
        chunks = [
            unsure[first : first + _ALIGNED_AT_ONCE]
            for first in range(0, len(unsure), _ALIGNED_AT_ONCE)
        ]
        looked = in_threads(_side(big, big_rows, small, small_rows), chunks)
        for which, aligned in zip(chunks, looked, strict=True):
            closer = aligned.similarity > torch.from_numpy(similarity[which])
            better = (aligned.copies & closer).numpy()
            which = which[better]
            copies[which], of_source[which] = True, source_first
            similarity[which] = aligned.similarity.numpy()[better]
            flipped[which] = aligned.flipped.numpy()[better]
            window[which] = aligned.window.numpy()[better]
    order = np.lexsort((sources, -similarity, tests))
    order = order[copies[order]]
    return Matches(
        num_test=len(test),
        num_source=len(source),
        test_row=tests[order],
        source_row=sources[order],
        kind=np.array(KINDS)[pairs.rank[order]],
        similarity=similarity[order].astype(np.float32),
        flipped=flipped[order],
        window=window[order],
        window_of_source=of_source[order],
    )


def _side(
    big: Looks, big_rows: NDArray[np.int64], small: Looks, small_rows: NDArray[np.int64]
) -> Callable[[NDArray[np.int64]], Aligned]:
    return lambda which: _align_some(big, big_rows[which], small, small_rows[which])


def _align_some(
    big: Looks, big_rows: NDArray[np.int64], small: Looks, small_rows: NDArray[np.int64]
) -> Aligned:
    """`align` of some pairs of rows (int64 [num_pairs] each); an image of several is read once."""
    big_distinct, big_places = np.unique(big_rows, return_inverse=True)
    small_distinct, small_places = np.unique(small_rows, return_inverse=True)
    return align(
        big.squares(big_distinct),
        small.squares(small_distinct),
        torch.from_numpy(np.stack([big_places, small_places], axis=1)),
        banks=big.banks(big_distinct),
        wholes=small.wholes(small_distinct),
    )
