"""The most similar images by the features of some encoder: a hint of what a source and a test set
share, and candidates for `near_duplicates`.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.curation.nearest import Nearest
from headwater.errors import InputError

_SCALE = float(1 << 23)
"""Unit features in whole numbers: float64 holds their products exactly, whatever the order of
summing; a cosine is right to about 1e-7.
"""
_AT_ONCE = 1 << 22
"""Similarities held at a time: 32 MiB."""


def embedding_neighbours(
    source: NDArray[np.floating], test: NDArray[np.floating], k: int = 5
) -> tuple[NDArray[np.int64], NDArray[np.float32]]:
    """(rows int64 [num_test, k'], cosines float32 [num_test, k']): the k' = min(k, num_source)
    source images nearest to each test image, nearest first.

    `source` [num_source, dim] and `test` [num_test, dim] are features of one encoder. Exact,
    searched in blocks; of equal cosines the earlier row is first; the same answer at any number of
    threads. A feature of zeros has cosine 0 to all. Raises InputError where widths differ, a value
    is no finite number, or k < 1.
    """
    if k < 1:
        raise InputError(f"embedding_neighbours: k should be 1 or more, not {k}")
    for name, features in (("source", source), ("test", test)):
        if features.ndim != 2:
            raise InputError(
                f"embedding_neighbours: the {name}'s features should be [num_images, dim], not "
                f"{list(features.shape)}"
            )
        if not np.isfinite(features).all():
            raise InputError(
                f"embedding_neighbours: the {name}'s features hold values that are no finite number"
            )
    if source.shape[1] != test.shape[1]:
        raise InputError(
            f"embedding_neighbours: the source's features are {source.shape[1]} wide and the "
            f"test's {test.shape[1]}; use one encoder for both"
        )
    k = min(k, len(source))
    nearest = Nearest(len(test), k, least=-np.inf)
    asked = _unit(test)
    step = max(1, min(len(source), _AT_ONCE // max(1, min(len(test), 4096))))
    for start in range(0, len(source), step):
        known = _unit(source[start : start + step])
        for at in range(0, len(test), 4096):
            nearest.add((asked[at : at + 4096] @ known.T).numpy() / _SCALE**2, at, start)
    rows, scores = nearest.table()
    return rows, scores.astype(np.float32)


def _unit(features: NDArray[np.floating]) -> torch.Tensor:
    values = np.asarray(features, dtype=np.float64)
    largest = np.abs(values).max(axis=1, keepdims=True, initial=0)
    values = values / np.where(
        largest > 0, largest, 1
    )  # so that squares neither overflow nor vanish
    lengths = np.sqrt((values**2).sum(axis=1, keepdims=True))
    return torch.from_numpy(np.rint(values / np.where(lengths > 0, lengths, 1) * _SCALE))
