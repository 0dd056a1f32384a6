"""Zero-shot classification by class names, and the check that names and labels are in one order.

entezari2023's released code had zero-shot heads at chance on five tasks, because class names and labels were ordered differently: accuracy alone does not
tell that from an encoder that knows nothing. Two things do. Names permuted at random must fall to chance, which the true ones must beat; and where some other
assignment of names to classes fits far better than the true one, the names are out of order.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import linear_sum_assignment

Labels = NDArray[np.int64]
_PERMUTATIONS = 199
"""Random permutations that the true names are compared with: the true one is told from them at the 1 % level where two are as good or better [ours]."""
_LEVEL = 0.01


@dataclass(frozen=True)
class Alignment:
    """How class names and labels go together, on images that nothing was fitted to."""

    accuracy: float
    """With the names as they are, in [0, 1]."""
    permuted: float
    """Mean over random permutations of the names: chance, 1 / classes, up to the luck of the draw."""
    assigned: float
    """With the names assigned to classes as fits best."""
    verdict: Literal["aligned", "at chance", "out of order"]


def alignment(predictions: Labels, labels: Labels, num_classes: int, *, seed: int = 0) -> Alignment:
    """Judge predictions of class names, int64 [n], against labels, int64 [n].

    aligned: the true order beats all but 1 % of random permutations of the names. out of order: it does not, and the best assignment fits better than in
    all but 1 % of the cases where labels are shuffled over images. at chance: neither.
    """
    counts = _confusion(predictions, labels, num_classes)
    rng = np.random.default_rng(seed)
    total = max(1, len(labels))
    accuracy = float(np.trace(counts) / total)
    permuted = [float(counts[np.arange(num_classes), rng.permutation(num_classes)].sum() / total) for _ in range(_PERMUTATIONS)]
    assigned = _best(counts) / total
    if _told(accuracy, permuted):
        verdict: Literal["aligned", "at chance", "out of order"] = "aligned"
    else:
        by_luck = [_best(_confusion(predictions, rng.permutation(labels), num_classes)) / total for _ in range(_PERMUTATIONS)]
        verdict = "out of order" if _told(assigned, by_luck) else "at chance"
    return Alignment(accuracy, float(np.mean(permuted)), assigned, verdict)


def _confusion(predictions: Labels, labels: Labels, num_classes: int) -> NDArray[np.int64]:
    """int64 [classes, classes]: images of each label (second) that were called by each name (first)."""
    return np.bincount(predictions * num_classes + labels, minlength=num_classes**2).reshape(num_classes, num_classes)


def _best(counts: NDArray[np.int64]) -> float:
    names, classes = linear_sum_assignment(counts, maximize=True)
    return float(counts[names, classes].sum())


def _told(value: float, others: list[float]) -> bool:
    """Whether a value is above all but `_LEVEL` of the others (a permutation test: the value counts among them)."""
    return (1 + sum(other >= value for other in others)) / (1 + len(others)) <= _LEVEL
