"""The best few of many, kept while scores arrive in blocks."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


class Nearest:
    """For each of `num` images the `k` others with the highest scores of at least `least`; of equal scores the lower rows.

    Scores come in blocks, in any order; which blocks, and in which order, does not change what is kept.
    """

    def __init__(self, num: int, k: int, *, least: float) -> None:
        self._num, self._k, self._least = num, k, least
        self._floor = np.full(num, least)
        self._image = np.zeros(0, dtype=np.int64)
        self._row = np.zeros(0, dtype=np.int64)
        self._score = np.zeros(0, dtype=np.float64)

    def add(self, scores: NDArray[np.floating] | NDArray[np.int8], image: int, row: int, allowed: NDArray[np.bool_] | None = None) -> None:
        """`scores` [n, m]: of images `image` ... `image` + n - 1 with rows `row` ... `row` + m - 1, of which only `allowed` ones count."""
        chosen = scores >= self._floor[image : image + len(scores), None]
        if allowed is not None:
            chosen &= allowed
        i, j = np.nonzero(chosen)
        if not len(i):
            return
        images = np.concatenate([self._image, i + image])
        rows = np.concatenate([self._row, j + row])
        values = np.concatenate([self._score, scores[i, j].astype(np.float64)])
        order = np.lexsort((rows, -values, images))
        images, rows, values = images[order], rows[order], values[order]
        rank = np.arange(len(images)) - np.searchsorted(images, images)
        kept = rank < self._k
        self._image, self._row, self._score = images[kept], rows[kept], values[kept]
        last = rank == self._k - 1
        self._floor[images[last]] = values[last]

    def pairs(self) -> tuple[NDArray[np.int64], NDArray[np.int64], NDArray[np.float64]]:
        """(image, row, score), each [num_pairs], by image and falling score."""
        return self._image, self._row, self._score

    def table(self) -> tuple[NDArray[np.int64], NDArray[np.float64]]:
        """(rows, scores), each [num, k], where every image has k of them."""
        return self._row.reshape(self._num, self._k), self._score.reshape(self._num, self._k)
