"""Zero-shot classification by class names, and the check that names and labels are in one order.

The released code of Entezari et al. 2023 had zero-shot heads at chance on five tasks, because class
names and labels were ordered differently. Accuracy alone does not tell that from an encoder that
knows nothing. Two things do. Names permuted at random must fall to chance, which the true ones must
beat. And some other assignment of names to classes may fit far better than the true one: then the
names are out of order, or the text tower never learned them while the image features tell the
classes apart.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from itertools import permutations
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Labels = NDArray[np.int64]
_PERMUTATIONS = 199
"""Orders of the names, and shuffles of the labels, that the true ones are compared with [ours]."""
_LEVEL = 0.01
_BEYOND_LUCK = 2.5
"""Standard deviations by which another order must fit better to count: an order that differs in
names that tell nothing fits about as well [ours].
"""
MOST_ASSIGNED = 1000
"""Classes up to which the best assignment is looked for, which takes seconds there and grows as
their cube; above, out of order is not told [ours].
"""


@dataclass(frozen=True)
class Alignment:
    """How class names and labels go together, on images that nothing was fitted to."""

    accuracy: float
    """With the names as they are, in [0, 1]."""
    permuted: float
    """Mean over random permutations of the names: chance, 1 / classes, up to the luck of the
    draw.
    """
    assigned: float | None
    """With the names assigned to classes as fits best; None above `MOST_ASSIGNED` classes."""
    verdict: Literal["aligned", "at chance", "out of order"]


def alignment(predictions: Labels, labels: Labels, num_classes: int, *, seed: int = 0) -> Alignment:
    """Judge predictions of class names, int64 [n], against labels, int64 [n].

    aligned: at most 1 % of the orders of the names fit better than the true one beyond luck, and it
    fits better than in all but 1 % of the cases where labels are shuffled over images. out of
    order: it is not so, and the best assignment fits better than in all but 1 % of those cases. at
    chance: neither.
    """
    counts = _confusion(predictions, labels, num_classes)
    rng = np.random.default_rng(seed)
    right, total = int(np.trace(counts)), max(1, len(labels))
    orders = _orders(num_classes, rng)
    permuted = [int(counts[np.arange(num_classes), order].sum()) for order in orders]
    assigned = _best(counts) if num_classes <= MOST_ASSIGNED else None
    shuffles = [rng.permutation(labels) for _ in range(_PERMUTATIONS)]
    better = [_better(counts, order) for order in orders]
    if np.mean(better) <= _LEVEL and _told(
        right, [int((predictions == other).sum()) for other in shuffles]
    ):
        verdict: Literal["aligned", "at chance", "out of order"] = "aligned"
    elif assigned is None:
        verdict = "at chance"
    else:
        by_luck = [_best(_confusion(predictions, other, num_classes)) for other in shuffles]
        verdict = "out of order" if _told(assigned, by_luck) else "at chance"
    return Alignment(
        right / total,
        float(np.mean(permuted) / total),
        None if assigned is None else assigned / total,
        verdict,
    )


def _orders(num_classes: int, rng: np.random.Generator) -> list[NDArray[np.int64]]:
    """Orders of the names: all of them where they are few, else some at random."""
    if math.factorial(num_classes) <= _PERMUTATIONS:
        return [np.array(order, dtype=np.int64) for order in permutations(range(num_classes))]
    return [rng.permutation(num_classes) for _ in range(_PERMUTATIONS)]


def _confusion(predictions: Labels, labels: Labels, num_classes: int) -> NDArray[np.int64]:
    """int64 [classes, classes]: images of each label (second) that were called by each name
    (first).
    """
    pairs = np.bincount(predictions * num_classes + labels, minlength=num_classes**2)
    return pairs.reshape(num_classes, num_classes)


def _better(counts: NDArray[np.int64], order: NDArray[np.int64]) -> bool:
    """Whether an order of the names fits better than the true one by more than luck, on the images
    that only one of the two has right (as McNemar's test).
    """
    names = np.arange(len(order))
    moved = order != names
    lost, won = int(np.diag(counts)[moved].sum()), int(counts[names, order][moved].sum())
    return won - lost > _BEYOND_LUCK * math.sqrt(won + lost)


def _best(counts: NDArray[np.int64]) -> int:
    names, classes = linear_sum_assignment(counts, maximize=True)
    return int(counts[names, classes].sum())


def _told(value: int, others: list[int]) -> bool:
    """Whether a value is above all but `_LEVEL` of the others (a permutation test: the value counts
    among them).
    """
    return (1 + sum(other >= value for other in others)) / (1 + len(others)) <= _LEVEL
