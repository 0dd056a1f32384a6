"""Ridge regression of one-hot labels: every l2 from one factorisation, in closed form.

The loss is  mean over images of ||z W + b - onehot||^2 + l2 * ||W||^2  on standardised features
(bias free). That is scikit-learn's Ridge at alpha = n * l2. In the principal axes
(headwater.transfer.linear) the equations are diagonal,

    W(l2) = Z'(Y - mean Y) / n / (variances + l2)

so that another l2 costs one division. At few shots it is some tenths of a point to a few points
below logistic regression (benchmarks/results.md), and many times faster. Its scores are no
probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headwater.transfer.linear import Span
from headwater.transfer.probe import Fit, Probed

_ROWS = 8192
"""Validation images that are scored at a time."""


def ridges(fits: Sequence[Fit], num_classes: int, l2s: Sequence[float]) -> list[Probed]:
    """The ridge heads of several cells, l2 chosen on validation: accuracy, then the lower squared
    error, then the stronger l2. Raises NotFinite.
    """
    return [_ridge(fit, num_classes, sorted(l2s, reverse=True)) for fit in fits]


def _ridge(fit: Fit, num_classes: int, l2s: Sequence[float]) -> Probed:
    span = Span.of(fit.train)
    covariance = span.class_means(fit.train_labels, num_classes)
    bias = np.bincount(fit.train_labels, minlength=num_classes) / len(fit.train_labels)
    val = span.of_others(fit.val)
    right, error = np.zeros(len(l2s)), np.zeros(len(l2s))
    for start in range(0, len(val), _ROWS):
        images, labels = val[start : start + _ROWS], fit.val_labels[start : start + _ROWS]
        rows = np.arange(len(labels))
        for i, l2 in enumerate(l2s):
            scores = images @ (covariance / (span.variances + l2)[:, None]).astype(np.float32)
            scores += bias.astype(np.float32)
            right[i] += int((scores.argmax(axis=1) == labels).sum())
            # of ||scores - onehot||^2, with the constant 1 left out
            squared = float(np.einsum("nc,nc->", scores, scores, dtype=np.float64))
            error[i] += squared - 2 * float(scores[rows, labels].sum(dtype=np.float64))
    best = max(range(len(l2s)), key=lambda i: (right[i], -error[i], l2s[i]))
    weight = covariance / (span.variances + l2s[best])[:, None]
    return Probed(span.head(weight, bias), l2s[best], float(right[best] / len(val)))
