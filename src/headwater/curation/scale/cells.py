"""Features sorted into cells of like ones: k-means on a keyed sample, in whole numbers, so that the
cells are the same at any number of threads.
"""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater import keys
from headwater.curation.scale.whole import Rows, whole

ALONE = 8192
"""Of so few features all pairs are looked at: one cell [ours]."""
MOST_CELLS = 16_384
_SAMPLE = 32
"""Features of the sample for each cell, as many as faiss asks for at least [ours]."""
_TURNS = 5
"""Of k-means: the cells need to be of like features, not the best ones [ours]."""
_HALF = 0.5
"""Products are whole numbers: between two of them."""


def faiss() -> Any:
    with warnings.catch_warnings():
        # Its generated bindings and its use of numpy's internals warn at import.
        warnings.simplefilter("ignore", DeprecationWarning)
        import faiss as module
    return module


@contextmanager
def one_thread() -> Iterator[None]:
    """faiss on one thread inside the block, where threads of Python share out the cells."""
    module = faiss()
    threads = module.omp_get_max_threads()
    module.omp_set_num_threads(1)
    try:
        yield
    finally:
        module.omp_set_num_threads(threads)


def num_cells(num: int, probes: int, alone: int = ALONE) -> int:
    """Cells at which looking for the cells of `num` features costs what looking in them does; one
    for `alone` features or fewer.
    """
    if num <= alone:
        return 1
    return int(min(MOST_CELLS, 2 ** round(np.log2(np.sqrt(num * probes)))))


class Cells:
    """Centres in whole numbers, float32 [num_cells, dim]."""

    def __init__(self, centres: NDArray[np.float32]) -> None:
        self.centres = centres
        self._index = _flat(centres)

    def __len__(self) -> int:
        return len(self.centres)

    def nearest(self, features: NDArray[np.float32], probes: int) -> NDArray[np.int32]:
        """int32 [num, probes']: the cells whose centres are nearest, nearest first."""
        _, found = self._index.search(features, min(probes, len(self)))
        return np.asarray(found, dtype=np.int32)


def cells_of(features: NDArray[np.int16], num: int, seed: int) -> Cells:
    """`num` cells of features in whole numbers, or fewer: as many as the keyed sample has different
    features.
    """
    size = min(len(features), num * _SAMPLE)
    draw = keys.generator(seed, "curation/cells")
    rows = draw.choice(len(features), size=size, replace=False, shuffle=True)
    sample = features[np.sort(rows)].astype(np.float32)
    begin = np.sort(draw.permutation(size)[:num])
    cells = Cells(np.unique(sample[begin], axis=0))
    if len(cells) == 1:
        return cells
    for _ in range(_TURNS):
        cells = Cells(_means(sample, cells.nearest(sample, 1)[:, 0], cells.centres))
    return cells


def _means(
    sample: NDArray[np.float32], cell: NDArray[np.int32], before: NDArray[np.float32]
) -> NDArray[np.float32]:
    """The direction of each cell's sum; a cell that is empty stays."""
    order = np.argsort(cell, kind="stable")
    there, starts = np.unique(cell[order], return_index=True)
    sums = np.add.reduceat(sample[order].astype(np.float64), starts, axis=0)
    centres = before.copy()
    centres[there] = whole(sums)
    return centres


def above(
    asked: NDArray[np.float32], known: NDArray[np.float32], least: float
) -> tuple[Rows, Rows, NDArray[np.float32]]:
    """(row of `asked`, row of `known`, product) of all pairs whose product is `least` or more,
    in whole numbers.
    """
    limits, products, found = _flat(known).range_search(asked, float(np.ceil(least)) - _HALF)
    limits = np.asarray(limits).astype(np.int64)
    counts = limits[1:] - limits[:-1]
    return np.repeat(np.arange(len(asked)), counts), found.astype(np.int64), products


def _flat(known: NDArray[np.float32]) -> Any:
    index = faiss().IndexFlatIP(known.shape[1])
    index.add(np.ascontiguousarray(known))
    return index


def by_cell(cells: NDArray[np.int32], num: int) -> tuple[Rows, Rows]:
    """(rows by cell and row, where each cell starts [num + 1])."""
    order = np.argsort(cells, kind="stable")
    return order, np.searchsorted(cells[order], np.arange(num + 1)).astype(np.int64)
