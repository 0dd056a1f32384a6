"""Copies of test images in a source that is too large for all pairs: the likely pairs come from
hashes and from windows sorted into cells, and are then aligned as in `near_duplicates`.

What near_duplicates multiplies for all pairs, windows of one image with the whole other, is here
looked up: the windows of every test image and the whole test images lie in cells, and whole source
images and their windows are looked up in those that are nearest to them.
"""

from __future__ import annotations

import threading
from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.curation.hashing import perceptual_hashes, pixel_hashes
from headwater.curation.leakage import NEAR_BITS, PER_SOURCE, Likely, aligned_pairs, checked_pairs
from headwater.curation.looks import Looks, looks_of
from headwater.curation.matches import Matches
from headwater.curation.scale.embeddings import Between
from headwater.curation.scale.hashes import Hashes, near_hash_tests
from headwater.curation.scale.pairs import Collector, Pairs, Rows
from headwater.curation.threads import in_threads
from headwater.curation.windows import Coefficients, coefficients, windows
from headwater.sources.pixels import Images

LIKELY = 0.7
"""Pairs whose coarse coefficients are at least this alike (windows.alike) are aligned. Of planted
copies 1 % are less alike, nearly all of them of flat images, and of unrelated pairs 0.1 % are more
(benchmarks/near_duplicates.md). near_duplicates asks 0.5, and keeps the likeliest.
"""
PROBES = 8
"""Cells that a source image, and each of its windows, is looked up in [ours]."""
_BLOCK = 2048
"""Images of the source that are looked up at a time."""
_ALONE = 512
"""Test images, or windows, that are all looked at: each source image is looked up 72 times."""
_MADE = 256
_LENGTH = 2048.0
_HELD = 1 << 22

Progress = Callable[[int], object]


def near_duplicates_at_scale(
    source: Images | Looks,
    test: Images | Looks,
    *,
    suggested: NDArray[np.int64] | None = None,
    candidates: int = 8,
    progress: Progress | None = None,
) -> Matches:
    """Pairs of a test image and a source image that show the same picture, as near_duplicates:
    what that finds, but for a few pairs that are not found as likely ones.

    The source is read once in blocks, and in part again when likely pairs are aligned; `progress`
    is called with the number of its images that are done. Memory: 8 kB a test image, 24 bytes a
    source image, one block, and the likely pairs. The same answer at any number of threads.
    """
    known, asked = looks_of(source), looks_of(test)
    pairs = checked_pairs(suggested, len(asked), len(known))
    if not len(known) or not len(asked):
        return aligned_pairs(known, asked, [])
    with torch.no_grad():
        search = _Search(asked, candidates)
        for start in range(0, len(known), _BLOCK):
            rows = np.arange(start, min(start + _BLOCK, len(known)), dtype=np.int64)
            search.look(known, rows)
            if progress is not None:
                progress(int(rows[-1]) + 1)
        likely = [*search.likely(), Likely("embedding", None, pairs[:, 0], pairs[:, 1])]
        return aligned_pairs(known, asked, likely)


def _known_of(looks: Looks, rows: Rows) -> tuple[NDArray[np.uint64], Coefficients, Coefficients]:
    """(pixel hash, hash and hash of the mirror image uint64 [3, num]; whole; windows)."""
    parts = [rows[at : at + _MADE] for at in range(0, len(rows), _MADE)]

    def made(some: Rows) -> tuple[NDArray[np.uint64], Coefficients, Coefficients]:
        small = looks.squares(some)
        codes = np.stack([pixel_hashes(looks.images, some), *perceptual_hashes(small)])
        return codes, coefficients(small, whole_only=True), coefficients(small)

    found = list(in_threads(made, parts))
    return (
        np.concatenate([codes for codes, _, _ in found], axis=1),
        _joined([wholes for _, wholes, _ in found]),
        _joined([banks for _, _, banks in found]),
    )


def _joined(parts: list[Coefficients]) -> Coefficients:
    return Coefficients(
        torch.cat([part.even for part in parts]), torch.cat([part.odd for part in parts])
    )


def _features(made: Coefficients, *, of_test: bool, mirrored: bool = False) -> NDArray[np.float32]:
    """float32 [num_images * num_windows, dim]: of length 1, so that their cosine is windows.alike
    one way round. What a quiet image lacks of that length is put where the other side has nothing.
    """
    odd = -made.odd if mirrored else made.odd
    values = torch.cat([made.even, odd], dim=2).flatten(0, 1) / _LENGTH
    lacking = (1 - values.square().sum(dim=1)).clamp(min=0).sqrt()
    rest = torch.zeros((len(values), 2))
    rest[:, 0 if of_test else 1] = lacking
    features: NDArray[np.float32] = torch.cat([values, rest], dim=1).numpy()
    return features


class _Best:
    """Pairs of a block of the source, each once, with the most of what it is alike by."""

    def __init__(self, per_asked: int, per_test: int) -> None:
        self._per_asked, self._per_test = per_asked, per_test
        none = np.zeros(0, dtype=np.int64)
        self._pending: list[tuple[Rows, Rows, NDArray[np.float32]]] = []
        self._best = (none, none, none.astype(np.float32))
        self._held, self._lock = 0, threading.Lock()

    def take(self, asked: Rows, tests: Rows, score: NDArray[np.float32]) -> None:
        """Rows are of features: windows by image."""
        with self._lock:
            self._pending.append((asked // self._per_asked, tests // self._per_test, score))
            self._held += len(asked)
            if self._held >= _HELD:
                self._sort_out()

    def pairs(self) -> tuple[Rows, Rows, NDArray[np.float32]]:
        """(source row in the block, test row, score), by source and test row."""
        with self._lock:
            self._sort_out()
        return self._best

    def _sort_out(self) -> None:
        parts = [self._best, *self._pending]
        asked, tests = (np.concatenate([part[0] for part in parts]), _second(parts))
        score = np.concatenate([part[2] for part in parts])
        order = np.lexsort((-score, tests, asked))
        asked, tests, score = asked[order], tests[order], score[order]
        new = np.ones(len(asked), dtype=bool)
        new[1:] = (np.diff(asked) != 0) | (np.diff(tests) != 0)
        self._best = (asked[new], tests[new], score[new])
        self._pending, self._held = [], 0


def _second(parts: list[tuple[Rows, Rows, NDArray[np.float32]]]) -> Rows:
    return np.concatenate([part[1] for part in parts])


class _Search:
    """The likely pairs of a test set and the blocks of a source."""

    def __init__(self, test: Looks, candidates: int) -> None:
        every = np.arange(len(test), dtype=np.int64)
        self._codes, wholes, banks = _known_of(test, every)
        self._windows = len(windows()) ** 2
        self._of_windows = _between(_features(banks, of_test=True))
        self._of_wholes = _between(_features(wholes, of_test=True))
        self._candidates = candidates
        self._best = [Collector(len(test), per_row=candidates) for _ in range(2)]
        self._of_source: list[Likely] = []
        self._source_codes: list[NDArray[np.uint64]] = []

    def look(self, source: Looks, rows: Rows) -> None:
        codes, wholes, banks = _known_of(source, rows)
        self._source_codes.append(codes)
        ways = (
            (False, self._of_windows, wholes, (1, self._windows)),
            (True, self._of_wholes, banks, (self._windows, 1)),
        )
        for of_source, index, made, per in ways:
            best = _Best(*per)
            for mirrored in (False, True):
                index.look(_features(made, of_test=False, mirrored=mirrored), best.take)
            asked, tests, score = best.pairs()
            self._best[of_source].add(tests, asked + rows[0], score)
            order = np.lexsort((tests, -score, asked))
            rank = np.arange(len(order)) - np.searchsorted(asked[order], asked[order])
            chosen = order[rank < PER_SOURCE]
            likely = Likely("crop", of_source, tests[chosen], asked[chosen] + rows[0])
            self._of_source.append(likely)

    def likely(self) -> list[Likely]:
        found = list(self._of_source)
        for of_source, best in zip((False, True), self._best, strict=True):
            pairs = best.pairs()
            found.append(Likely("crop", of_source, pairs.row, pairs.other))
        pixels, *hashed = np.concatenate(self._source_codes, axis=1)
        source, test = Hashes(*hashed), Hashes(*self._codes[1:])
        near = near_hash_tests(source, {"test": test}, radius=NEAR_BITS, per_row=self._candidates)[
            "test"
        ]
        found.append(Likely("hash", False, near.row, near.other))
        equal = _equal(self._codes[0], pixels, self._candidates)
        found.append(Likely("pixels", False, equal.row, equal.other))
        return found


def _between(features: NDArray[np.float32]) -> Between:
    return Between([features], LIKELY, PROBES, 0, _ALONE)


def _equal(test: NDArray[np.uint64], source: NDArray[np.uint64], most: int) -> Pairs:
    """Pairs of equal hashes, of each test image those of the first source rows."""
    order = np.argsort(source, kind="stable")
    starts, ends = (np.searchsorted(source[order], test, side=side) for side in ("left", "right"))
    collector = Collector(len(test), per_row=most)
    for at in range(most):
        rows = np.flatnonzero(starts + at < ends)
        collector.add(rows, order[starts[rows] + at], np.ones(len(rows), dtype=np.float32))
    return collector.pairs()


def confirmed(source: Images | Looks, test: Images | Looks, pairs: Pairs) -> Matches:
    """Those of some pairs (of the same images as `source` and `test`, or as one set given as both)
    that agree once aligned, windows of either tried.
    """
    found = [Likely("hash", None, pairs.row, pairs.other)]
    with torch.no_grad():
        return aligned_pairs(looks_of(source), looks_of(test), found)


def connected(matches: Matches) -> Pairs:
    """The groups that pairs within one set connect (Matches.test_row later than source_row)."""
    collector = Collector(matches.num_test, grouped=True)
    collector.add(matches.test_row, matches.source_row, matches.similarity)
    return collector.pairs()
