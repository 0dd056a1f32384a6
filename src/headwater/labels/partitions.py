"""Classes that owe nothing to names: one per image, or drawn at random. (Clusters and shuffled classes belong here as well.)"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.keys import key, permutation, sample_hashes
from headwater.sources import Positions, Table


def instance_targets(table: Table, positions: Positions) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(indices int64 [num_images], class names): every image is a class of its own, called by its id."""
    return np.arange(len(positions), dtype=np.int64), tuple(table.ids[positions].tolist())


def random_targets(table: Table, positions: Positions, num_classes: int, seed: int, where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(indices int64 [num_images], class names): classes whose sizes differ by at most one, drawn at random.

    The images are put in an order keyed by (seed, their ids) and dealt out like cards, so that the partition is a function of the seed and
    the set of images, in whatever order they come. The number of classes does not enter the key: where K divides L, random:K coarsens
    random:L of the same seed, as a level coarsens a finer one, so that a sweep over K varies granularity and nothing else.

    Raises InputError for more classes than images.
    """
    if num_classes > len(positions):
        raise InputError(f"{where}: random:{num_classes} asks for more classes than there are images ({len(positions)})")
    order = permutation(key(seed, "labels/random"), sample_hashes(table.ids[positions].tolist()))
    indices = np.empty(len(positions), dtype=np.int64)
    indices[order] = np.arange(len(positions), dtype=np.int64) % num_classes
    width = len(str(num_classes - 1))
    return indices, tuple(f"random {at:0{width}d}" for at in range(num_classes))
