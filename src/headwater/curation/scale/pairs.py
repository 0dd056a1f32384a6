"""What a search of a large set finds: pairs, of which the best few of each row are listed, and the
groups that they connect.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import coo_matrix
from scipy.sparse.csgraph import connected_components

Rows = NDArray[np.int64]

PER_ROW = 16
"""Pairs that are listed of each row, the best ones; the others are counted [ours]."""
_PENDING = 1 << 21
"""Pairs that are held before they are sorted out: 42 MB."""


@dataclass(frozen=True, eq=False)
class Pairs:
    """Near pairs of a row with another, by row, falling score and other.

    Within one set `row` is the later of the two, `other` the earlier, and of equal rows the first
    stands for all: each later one has a pair with it, and the first alone is compared with others.
    Between sets `row` is of the test sets and `other` of the source.
    """

    num: int
    """Rows of the set, or of the test sets together."""
    row: Rows
    """int64 [num_pairs]"""
    other: Rows
    """int64 [num_pairs]"""
    score: NDArray[np.float32]
    """float32 [num_pairs]: the cosine; of hashes, minus the number of bits that differ."""
    num_found: int
    """How many pairs were found, listed or not."""
    first: Rows | None = None
    """int64 [num], within one set: the first row of each row's group; pairs that are not listed
    connect too. A chain of near pairs is one group, so its ends can be unlike.
    """

    def __len__(self) -> int:
        return len(self.row)

    @property
    def num_left_out(self) -> int:
        """Pairs that were found and are not listed."""
        return self.num_found - len(self)

    @property
    def flagged(self) -> NDArray[np.bool_]:
        """bool [num]: rows with a pair; within one set those that are not the first of a group."""
        if self.first is not None:
            return np.asarray(self.first != np.arange(self.num), dtype=bool)
        flags = np.zeros(self.num, dtype=bool)
        flags[self.row] = True
        return flags

    def groups(self) -> list[Rows]:
        """The groups of two rows or more within one set, by their first row; rows ascending."""
        assert self.first is not None, "groups are of one set"
        order = np.argsort(self.first, kind="stable")
        starts = np.flatnonzero(np.diff(self.first[order], prepend=-1))
        parts = np.split(order, starts[1:])
        return [part for part in parts if len(part) > 1]

    def kept(self, order: NDArray[np.int64] | None = None) -> NDArray[np.bool_]:
        """bool [num]: one row of every group: the first, or that of the lowest number in `order`
        int64 [num] (keyed hashes, say; of equal ones the first).
        """
        assert self.first is not None, "what to keep is asked of one set"
        rank = np.arange(self.num) if order is None else np.asarray(order)
        by_group = np.lexsort((np.arange(self.num), rank, self.first))
        begins = np.diff(self.first[by_group], prepend=-1) != 0
        kept = np.zeros(self.num, dtype=bool)
        kept[by_group[begins]] = True
        return kept

    def between(self, start: int, end: int) -> Pairs:
        """Those of rows `start` to `end` - 1, counted from `start`: one test set of several. What
        was found and not listed is not counted in it.
        """
        which = slice(*np.searchsorted(self.row, (start, end)))
        chosen = self.row[which] - start
        return Pairs(end - start, chosen, self.other[which], self.score[which], len(chosen))


class Collector:
    """Takes pairs in blocks, in any order and from any thread; which block a pair comes in changes
    nothing. Each pair should come once.
    """

    def __init__(self, num: int, *, per_row: int = PER_ROW, grouped: bool = False) -> None:
        self._num, self._per_row = num, per_row
        self._found = 0
        self._pending: list[tuple[Rows, Rows, NDArray[np.float32]]] = []
        self._held = 0
        none = np.zeros(0, dtype=np.int64)
        self._listed = (none, none, none.astype(np.float32))
        self._first = np.arange(num, dtype=np.int64) if grouped else None
        self._lock = threading.Lock()

    def add(self, row: Rows, other: Rows, score: NDArray[np.float32]) -> None:
        if not len(row):
            return
        with self._lock:
            self._pending.append((row, other, score))
            self._held += len(row)
            self._found += len(row)
            if self._held >= _PENDING:
                self._sort_out()

    def pairs(self) -> Pairs:
        with self._lock:
            self._sort_out()
            return Pairs(self._num, *self._listed, self._found, self._first)

    def _sort_out(self) -> None:
        if not self._pending:
            return
        if self._first is not None:
            self._connect(
                np.concatenate([row for row, _, _ in self._pending]),
                np.concatenate([other for _, other, _ in self._pending]),
            )
        listed = [self._listed, *self._pending]
        row = np.concatenate([part[0] for part in listed])
        other = np.concatenate([part[1] for part in listed])
        score = np.concatenate([part[2] for part in listed])
        order = np.lexsort((other, -score, row))
        rank = np.arange(len(order)) - np.searchsorted(row[order], row[order])
        order = order[rank < self._per_row]
        self._listed = (row[order], other[order], score[order])
        self._pending, self._held = [], 0

    def _connect(self, row: Rows, other: Rows) -> None:
        assert self._first is not None
        a, b = self._first[row], self._first[other]
        apart = a != b
        names, ends = np.unique(np.stack([a[apart], b[apart]]), return_inverse=True)
        ends = ends.reshape(2, -1)
        graph = coo_matrix((np.ones(ends.shape[1], bool), tuple(ends)), (len(names),) * 2)
        _, group = connected_components(graph, directed=False)
        lowest = np.full(len(names), self._num, dtype=np.int64)
        np.minimum.at(lowest, group, names)
        firsts = np.arange(self._num)
        firsts[names] = lowest[group]
        self._first = firsts[self._first]


def distinct(digests: NDArray[np.generic], rows: Rows, collector: Collector, score: float) -> Rows:
    """int64, ascending: of `rows` (ascending), whose digests these are, the first of each distinct
    digest; the later ones of each are given to the collector as pairs with it.
    """
    _, first, which = np.unique(digests, return_index=True, return_inverse=True)
    stands_for = first[which].astype(np.int64)
    later = np.flatnonzero(stands_for != np.arange(len(digests)))
    scores = np.full(len(later), score, dtype=np.float32)
    collector.add(rows[later], rows[stands_for[later]], scores)
    firsts: Rows = rows[np.sort(first)]
    return firsts
