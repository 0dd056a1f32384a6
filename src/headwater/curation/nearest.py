"""The best few of many, kept while scores arrive in blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Nearest:
    """For each of `num` images the `k` others with the highest scores of at least `least`; of equal
    scores the lower rows.

    Scores come in blocks, in any order; which blocks, and in which order, does not change what is
    kept.
    """

    def __init__(self, num: int, k: int, *, least: float) -> None:
        self._k = k
        self._floor = np.full(num, least)
        self._rows = np.full((num, k), -1, dtype=np.int64)
        self._scores = np.full((num, k), -np.inf)

    def add(
        self,
        scores: NDArray[np.floating] | NDArray[np.int8],
        image: int,
        row: int,
        allowed: NDArray[np.bool_] | None = None,
    ) -> None:
        """`scores` [n, m]: of images `image` ...

        `image` + n - 1 with rows `row` ... `row` + m - 1, of which only `allowed` ones count.
        """
        chosen = scores >= self._floor[image : image + len(scores), None]
        if allowed is not None:
            chosen &= allowed
        i, j = np.nonzero(chosen)
        if not len(i):
            return
        touched = np.unique(i) + image
        known, place = np.nonzero(self._rows[touched] >= 0)
        images = np.concatenate([touched[known], i + image])
        rows = np.concatenate([self._rows[touched[known], place], j + row])
        values = np.concatenate(
            [self._scores[touched[known], place], scores[i, j].astype(np.float64)]
        )
        order = np.lexsort((rows, -values, images))
        images, rows, values = images[order], rows[order], values[order]
        rank = np.arange(len(images)) - np.searchsorted(images, images)
        kept = rank < self._k
        images, rows, values, rank = images[kept], rows[kept], values[kept], rank[kept]
        self._rows[images, rank], self._scores[images, rank] = rows, values
        last = rank == self._k - 1
        self._floor[images[last]] = values[last]

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """(image, row, score), each [num_pairs], by image and falling score."""
        image, place = np.nonzero(self._rows >= 0)
        return image, self._rows[image, place], self._scores[image, place]

    def table(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(rows, scores), each [num, k], where every image has k of them."""
        return self._rows, self._scores
