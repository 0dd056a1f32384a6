"""Measuring transfer: frozen features with a linear probe, and fine-tuning of the whole network.

Code here that selects (l2, learning rate, stopping point) is handed training and validation images only; the test set is scored once, with
what was selected.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


class NotFinite(Exception):
    """The encoder gives features that are no finite numbers: it has diverged, and nothing can be measured with it. Final, as Diverged is."""


@dataclass(frozen=True)
class Choice:
    """What validation chose, and what it then predicts for the test set."""

    chosen: dict[str, Any]
    val_value: float
    """Accuracy on validation of the choice, in [0, 1]; optimistic, since it was maximised."""
    predictions: NDArray[np.int64]
    """Predicted class of every test sample, [n_test]."""


def accuracy(predictions: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Share of samples that are right (top-1)."""
    return float((predictions == labels).mean())


def mean_per_class_accuracy(predictions: NDArray[np.int64], labels: NDArray[np.int64]) -> float:
    """Mean over the classes that occur in `labels` of the share of their samples that are right."""
    total = np.bincount(labels)
    right = np.bincount(labels, weights=predictions == labels, minlength=len(total))
    return float((right[total > 0] / total[total > 0]).mean())
