"""Pairs of features above a cosine: every feature is looked up in the cells nearest to it, and what
lies there is compared, all of it.

A pair is missed where neither of the two lies in a cell that the other is looked up in; what is
reported is right. Memory: about 180 bytes a row with 4 probes, while rows are sorted into cells;
the features that are compared at a time; and the pairs that are listed. The features stay in their
file, and are written to a temporary one besides, 2 bytes a value.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from headwater.curation.scale.cells import ALONE, above, by_cell, cells_of, num_cells, one_thread
from headwater.curation.scale.pairs import PER_ROW, Collector, Pairs, distinct
from headwater.curation.scale.whole import (
    Features,
    Rows,
    blocks_of,
    check,
    cosines,
    in_a_file,
    margin_of,
    scale_of,
    whole,
    whole_in_a_file,
)
from headwater.curation.threads import in_threads
from headwater.errors import InputError

Progress = Callable[[str, int, int], object]
"""Called with what is done, how many rows are, and of how many (0: not known)."""

NEAR = 0.9
"""The cosine of a near pair where none is said. It depends on the encoder: look at pairs [ours]."""
PROBES, TEST_PROBES = 4, 8
"""Cells that a feature is looked up in. Within a set both of a pair are looked up, between sets the
source's alone [ours].
"""
_ASKED, _KNOWN = 2048, 1 << 13
"""Features that are compared at a time, by each thread: 270 MB where all of them are near."""
_SOURCE_BLOCK = 1 << 16


def near_embeddings(
    features: Features | Iterable[Features],
    *,
    threshold: float = NEAR,
    probes: int = PROBES,
    per_row: int = PER_ROW,
    seed: int = 0,
    progress: Progress | None = None,
) -> Pairs:
    """Pairs of one set whose cosine is `threshold` or more, and the groups they connect.

    `features` floating point [num, dim], best a mapped .npy, or blocks of rows (written to a
    temporary file). Of 8,192 rows or fewer all pairs are looked at; else each row is looked up in
    `probes` cells. Of each row the `per_row` nearest earlier ones are listed; all pairs count and
    connect. Scores are right to 0.0005, and whether a pair is one is decided exactly. The
    same at any number of threads and size of blocks. Raises InputError for what are no features
    and for a threshold that is not above 0 and at most 1.
    """
    _check_threshold(threshold, "near_embeddings")
    with in_a_file(features, "near_embeddings") as known:
        collector = Collector(len(known), per_row=per_row, grouped=True)
        if len(known):
            digests, there = _digests(known, progress)
            rows = distinct(digests[there], there, collector, 1.0)
            if len(rows):
                with whole_in_a_file(known, rows) as made:
                    search = _Within(known, rows, made, threshold, collector)
                    search.run(probes, seed, progress)
        return collector.pairs()


def near_tests(
    source: Features | Iterable[Features],
    tests: Mapping[str, Features],
    *,
    threshold: float = NEAR,
    probes: int = TEST_PROBES,
    per_row: int = PER_ROW,
    seed: int = 0,
    progress: Progress | None = None,
) -> dict[str, Pairs]:
    """By test set, the pairs of its images (`row`) and the source's (`other`) whose cosine is
    `threshold` or more. The source is read once, in blocks, for all test sets; these are held in
    memory, 2 bytes a value. As near_embeddings.
    """
    _check_threshold(threshold, "near_tests")
    dim = None
    for name, features in tests.items():
        check(features, f"near_tests, test set {name}", dim)
        dim = features.shape[1]
    if dim is None:
        return {}
    search = Between(list(tests.values()), threshold, probes, seed)
    limits = search.limits
    collector = Collector(limits[-1], per_row=per_row)
    for start, block in blocks_of(source, "near_tests, the source", dim, _SOURCE_BLOCK):
        search.look(block, _into(collector, start))
        if progress is not None:
            progress("looking", start + len(block), 0)
    pairs = collector.pairs()
    return {name: pairs.between(*limits[at : at + 2]) for at, name in enumerate(tests)}


def _into(collector: Collector, start: int) -> Take:
    return lambda asked, tests, scores: collector.add(tests, asked + start, scores)


def _check_threshold(threshold: float, name: str) -> None:
    if not 0 < threshold <= 1:
        raise InputError(f"{name}: the threshold should be above 0 and at most 1, not {threshold}")


def _digests(known: Features, progress: Progress | None) -> tuple[NDArray[np.void], Rows]:
    """(16 bytes [num]: of each row, equal ones of equal rows; the rows that are not all zeros:
    zeros are near nothing).
    """
    digests, there = np.zeros(len(known), dtype="V16"), np.zeros(len(known), dtype=bool)
    for start, block in blocks_of(known, "features"):
        made = b"".join(hashlib.blake2b(row.tobytes(), digest_size=16).digest() for row in block)
        digests[start : start + len(block)] = np.frombuffer(made, dtype="V16")
        there[start : start + len(block)] = block.any(axis=1)
        if progress is not None:
            progress("reading", start + len(block), len(known))
    return digests, np.flatnonzero(there)


def _chosen(
    products: NDArray[np.float32],
    threshold: float,
    dim: int,
    exactly: Callable[[Rows], NDArray[np.float64]],
) -> tuple[Rows, NDArray[np.float32]]:
    """(which pairs are near, their scores); `exactly` gives the cosines of some of them."""
    scores = products / np.float32(scale_of(dim) ** 2)
    near = scores >= threshold + margin_of(dim)
    unsure = np.flatnonzero(~near)
    near[unsure] = exactly(unsure) >= threshold
    return np.flatnonzero(near), np.minimum(scores[near], np.float32(1))


def _least(threshold: float, dim: int) -> float:
    return (threshold - margin_of(dim)) * scale_of(dim) ** 2


class _Within:
    """One set, searched cell by cell. Places are of `rows`, the set's different rows."""

    def __init__(
        self,
        known: Features,
        rows: Rows,
        made: NDArray[np.int16],
        threshold: float,
        collector: Collector,
    ) -> None:
        self._known, self._rows, self._made = known, rows, made
        self._threshold, self._collector = threshold, collector
        self._dim = known.shape[1]

    def run(self, probes: int, seed: int, progress: Progress | None) -> None:
        num = len(self._rows)
        cells = cells_of(self._made, num_cells(num, probes), seed)
        probed = np.zeros((num, min(probes, len(cells))), dtype=np.int32)
        for start, block in blocks_of(self._made, "features"):
            probed[start : start + len(block)] = cells.nearest(block.astype(np.float32), probes)
            if progress is not None:
                progress("sorting", start + len(block), num)
        self._probed = probed
        self._members, self._starts = by_cell(probed[:, 0], len(cells))
        visits, self._visit_starts = by_cell(probed[:, 1:].ravel(), len(cells))
        self._visitors = (visits // max(1, probed.shape[1] - 1)).astype(np.int32)
        done = 0
        for found in in_threads(self._cell, range(len(cells))):
            done += found
            if progress is not None:
                progress("comparing", done, num)

    def _cell(self, cell: int) -> int:
        """How many features lie in a cell, which is searched."""
        members = self._members[self._starts[cell] : self._starts[cell + 1]]
        visitors = self._visitors[self._visit_starts[cell] : self._visit_starts[cell + 1]]
        for at in range(0, len(members), _KNOWN):
            there = members[at : at + _KNOWN]
            known = self._floats(there)
            asked = np.concatenate([members[at:], visitors.astype(np.int64)])
            for first in range(0, len(asked), _ASKED):
                some = asked[first : first + _ASKED]
                own = len(members) - at - first  # so many of `some`, at most, are members
                self._compare(cell, some, own, there, known)
        return len(members)

    def _floats(self, places: Rows) -> NDArray[np.float32]:
        return self._made[places].astype(np.float32)

    def _compare(
        self, cell: int, asked: Rows, own: int, there: Rows, known: NDArray[np.float32]
    ) -> None:
        with one_thread():
            found, place, products = above(
                self._floats(asked), known, _least(self._threshold, self._dim)
            )
        a, b = asked[found], there[place]
        home = self._probed[a, 0]
        # A pair of two members comes twice, and a visitor's pair again in the visitor's own cell
        # where the member visits it.
        again = (self._probed[b] == home[:, None]).any(axis=1) & (home < cell)
        once = np.where(found < own, a > b, ~again)
        a, b, products = a[once], b[once], products[once]
        a, b = self._rows[np.maximum(a, b)], self._rows[np.minimum(a, b)]
        which, scores = _chosen(
            products,
            self._threshold,
            self._dim,
            lambda unsure: _cosines_of(self._known, a[unsure], self._known, b[unsure]),
        )
        self._collector.add(a[which], b[which], scores)


def _cosines_of(
    first: Features, of_first: Rows, second: Features, of_second: Rows
) -> NDArray[np.float64]:
    """float64 [num]: of pairs of rows, a part of them at a time."""
    parts = [np.zeros(0)]
    for at in range(0, len(of_first), _KNOWN):
        some = slice(at, at + _KNOWN)
        parts.append(cosines(first[of_first[some]], second[of_second[some]]))
    return np.concatenate(parts)


Take = Callable[[Rows, Rows, NDArray[np.float32]], None]
"""Takes pairs: rows of the block, rows of the test sets together, scores; from any thread."""


class Between:
    """Test sets, held in whole numbers by cell, in which blocks of a source are looked up."""

    def __init__(
        self,
        tests: Sequence[Features],
        threshold: float,
        probes: int,
        seed: int,
        alone: int = ALONE,
    ) -> None:
        self._tests, self._threshold, self._probes = tests, threshold, probes
        self._dim = tests[0].shape[1]
        self.limits = np.cumsum([0, *(len(test) for test in tests)]).tolist()
        num = self.limits[-1]
        made = np.zeros((num, self._dim), dtype=np.int16)
        for start, test in zip(self.limits, tests, strict=False):
            for at, block in blocks_of(test, "a test set"):
                made[start + at : start + at + len(block)] = whole(block)
        self._cells = cells_of(made, num_cells(num, probes, alone), seed)
        home = np.zeros(num, dtype=np.int32)
        for start, some in blocks_of(made, "test sets"):
            home[start : start + len(some)] = self._cells.nearest(some.astype(np.float32), 1)[:, 0]
        self._rows, self._starts = by_cell(home, len(self._cells))
        self._made = made[self._rows]

    def look(self, block: Features, take: Take) -> None:
        """Gives `take` the near pairs of a block of the source, each once."""
        if not len(self._made):
            return
        made = np.concatenate([whole(some).astype(np.int16) for _, some in blocks_of(block, "")])
        probed = np.concatenate(list(self._probed(made)))
        visits, starts = by_cell(probed.ravel(), len(self._cells))
        visitors = visits // probed.shape[1]

        def cell(at: int) -> None:
            asked = visitors[starts[at] : starts[at + 1]]
            for first in range(0, len(asked), _ASKED):
                self._compare(at, asked[first : first + _ASKED], block, made, take)

        for _ in in_threads(cell, np.flatnonzero(np.diff(starts)).tolist()):
            pass

    def _probed(self, made: NDArray[np.int16]) -> Iterator[NDArray[np.int32]]:
        for at in range(0, len(made), _KNOWN):
            yield self._cells.nearest(made[at : at + _KNOWN].astype(np.float32), self._probes)

    def _compare(
        self, cell: int, asked: Rows, block: Features, made: NDArray[np.int16], take: Take
    ) -> None:
        floats = made[asked].astype(np.float32)
        for at in range(int(self._starts[cell]), int(self._starts[cell + 1]), _KNOWN):
            there = slice(at, min(at + _KNOWN, int(self._starts[cell + 1])))
            known = self._made[there].astype(np.float32)
            with one_thread():
                found, place, products = above(floats, known, _least(self._threshold, self._dim))
            a, b = asked[found], self._rows[there][place]
            exactly = self._exactly(a, b, block)
            which, scores = _chosen(products, self._threshold, self._dim, exactly)
            take(a[which], b[which], scores)

    def _exactly(self, a: Rows, b: Rows, block: Features) -> Callable[[Rows], NDArray[np.float64]]:
        def some(unsure: Rows) -> NDArray[np.float64]:
            values = np.zeros(len(unsure))
            of_test = np.searchsorted(self.limits, b[unsure], side="right") - 1
            for at in np.unique(of_test).tolist():
                which = np.flatnonzero(of_test == at)
                rows = b[unsure[which]] - self.limits[at]
                values[which] = _cosines_of(block, a[unsure[which]], self._tests[at], rows)
            return values

        return some
