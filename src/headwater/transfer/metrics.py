"""What is said of predictions: accuracy, its mean over classes, calibration, and where the mistakes
go.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from headwater.transfer import Choice

Labels = NDArray[np.int64]
BINS = 15
"""Bins of the calibration error (Guo et al. 2017)."""


def accuracy(predictions: Labels, labels: Labels) -> float:
    """Share of samples that are right (top-1)."""
    return float((predictions == labels).mean())


def mean_per_class_accuracy(predictions: Labels, labels: Labels) -> float:
    """Mean over the classes that occur in `labels` of the share of their samples that are right."""
    total = np.bincount(labels)
    right = np.bincount(labels, weights=predictions == labels, minlength=len(total))
    return float((right[total > 0] / total[total > 0]).mean())


def calibration_error(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = BINS
) -> float:
    """Expected calibration error (Guo et al. 2017), in [0, 1]: |accuracy - mean confidence| of each
    of `bins` equal bins of confidence in (0, 1], weighted by the samples in it.
    """
    bin_of = np.clip(np.ceil(confidence * bins).astype(np.int64) - 1, 0, bins - 1)
    gap = np.bincount(bin_of, weights=right - confidence, minlength=bins)
    return float(np.abs(gap).sum() / len(confidence))


def superclass_errors(
    predictions: Labels, labels: Labels, superclasses: Labels
) -> tuple[float, float]:
    """(within, across): shares of the samples that are taken for another class of their own
    superclass, and for a class of another one.

    `superclasses` int64 [classes]. With the accuracy they sum to 1.
    """
    same = superclasses[predictions] == superclasses[labels]
    return float((same & (predictions != labels)).mean()), float((~same).mean())


def metrics(
    choice: Choice, labels: Labels, which: NDArray[np.bool_], superclasses: Labels | None
) -> Iterator[tuple[str, float]]:
    """(name, value) of every metric that can be told of some of the test samples: `which`, bool
    [n_test], some of them true.
    """
    predictions, labels = choice.predictions[which], labels[which]
    yield "top1", accuracy(predictions, labels)
    yield "mean_per_class", mean_per_class_accuracy(predictions, labels)
    if choice.confidence is not None:
        yield "ece", calibration_error(choice.confidence[which], predictions == labels)
    if superclasses is not None:
        within, across = superclass_errors(predictions, labels, superclasses)
        yield "error_within", within
        yield "error_across", across
