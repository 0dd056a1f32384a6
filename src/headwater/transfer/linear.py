"""What the linear probes share: standardised features in their span, and heads.

A probe is fitted to features that are standardised with the mean and deviation of the cell's own
training images [ours]: without it the strength of l2 would mean something else for every encoder.
They are then turned to their principal axes and reduced to their span, which changes neither logits
nor ||W||: r <= min(n - 1, d) columns, whatever the width of the encoder.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headwater.transfer import NotFinite

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
_CONSTANT = 1e-6
"""A feature whose deviation is below this share of its largest value is constant: float32 rounds at
1.2e-7.
"""
_SPANNED = 1e-12
"""Share of the largest variance below which a principal axis is outside the span of the
features.
"""
_ROWS = 4096
"""Rows that are standardised at a time, in float64: 64 MiB at 2,048 features."""
_CACHED = 2**17
"""Features that are standardised at a time where they are rounded afterwards: 1 MiB in float64."""


@dataclass(frozen=True)
class LinearHead:
    """logits = (features - mean) / deviation @ weight + bias. float64; weight [d, classes].

    The deviation of a constant feature is infinite, so that it says nothing whatever its value.
    """

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def logits(self, features: Features) -> NDArray[np.float32]:
        """float32 [n, classes]; features may lie in a file. Raises NotFinite."""
        weight, bias = self.weight.astype(np.float32), self.bias.astype(np.float32)
        out = np.empty((len(features), len(bias)), dtype=np.float32)
        for rows, z in _rounded(features, self.mean, self.deviation):
            np.matmul(z, weight, out=out[rows])
        out += bias
        return out

    def folded(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(weight [classes, d], bias [classes]) on raw features: the head that an LP-FT run starts
        from.
        """
        weight = self.weight / self.deviation[:, None]
        return weight.T.astype(np.float32), (self.bias - self.mean @ weight).astype(np.float32)


def bytes_of_fit(num_images: int, num_features: int, num_classes: int) -> int:
    """Memory that one draw takes where several are fitted together: features, span and logits."""
    rank = min(num_features, num_images)
    return 4 * num_images * (3 * num_features + 6 * rank + 7 * num_classes)


def check_finite(features: Features) -> None:
    """Raises NotFinite where a feature is no finite number."""
    finite = 0
    for start in range(0, len(features), _ROWS):
        finite += int(np.isfinite(features[start : start + _ROWS]).all(axis=1).sum())
    if finite < len(features):
        raise NotFinite(
            f"the encoder's features of {len(features) - finite} of {len(features)} images are not "
            "finite numbers"
        )


def standardised(
    features: Features, mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> Iterator[tuple[slice, NDArray[np.float64]]]:
    """(rows, float64 [some, d]) of features, a part at a time. Raises NotFinite."""
    check_finite(features)
    for start in range(0, len(features), _ROWS):
        rows = slice(start, min(start + _ROWS, len(features)))
        yield rows, (features[rows] - mean) / deviation


def _rounded(
    features: Features, mean: NDArray[np.float64], deviation: NDArray[np.float64]
) -> Iterator[tuple[slice, Features]]:
    """As `standardised`, rounded to float32, in parts that stay in the processor's cache; each part
    is overwritten by the next.
    """
    check_finite(features)
    n, d = features.shape
    at_once = max(1, _CACHED // max(1, d))
    wide, narrow = np.empty((at_once, d)), np.empty((at_once, d), dtype=np.float32)
    for start in range(0, n, at_once):
        rows = slice(start, min(start + at_once, n))
        count = rows.stop - start
        np.subtract(features[rows], mean, out=wide[:count])
        np.divide(wide[:count], deviation, out=narrow[:count], casting="same_kind")
        yield rows, narrow[:count]


@dataclass(frozen=True, eq=False)
class Span:
    """Training features in their principal axes: z = standardised @ axes, whose columns are
    uncorrelated with mean 0 and these variances.
    """

    train: Features
    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    axes: NDArray[np.float64]
    """float64 [d, r], orthonormal columns."""
    variances: NDArray[np.float64]
    """float64 [r], ascending, above 0."""
    coordinates: NDArray[np.float64] | None = None
    """float64 [n, r]: the training features in these axes, where finding the axes gave them too."""

    @classmethod
    def of(cls, train: Features) -> Span:
        """The span of some features, float32 [n, d], which may lie in a file. Raises NotFinite."""
        check_finite(train)
        n, d = train.shape
        mean, deviation = _moments(train)
        if n <= d:
            whole = (train - mean) / deviation
            variances, left = np.linalg.eigh(whole @ whole.T / n)
            kept = _spanned(variances)
            singular = np.sqrt(n * variances[kept])
            return cls(
                train,
                mean,
                deviation,
                whole.T @ left[:, kept] / singular,
                variances[kept],
                left[:, kept] * singular,
            )
        gram = np.zeros((d, d))
        for _, z in standardised(train, mean, deviation):
            gram += z.T @ z
        variances, axes = np.linalg.eigh(gram / n)
        kept = _spanned(variances)
        return cls(train, mean, deviation, axes[:, kept], variances[kept])

    @cached_property
    def z(self) -> NDArray[np.float32]:
        """float32 [n, r]: the training features in these axes."""
        if self.coordinates is None:
            return self.of_others(self.train)
        return self.coordinates.astype(np.float32)

    def class_means(self, labels: Labels, num_classes: int) -> NDArray[np.float64]:
        """float64 [r, classes]: Z'(Y - mean Y) / n, where Y is one-hot: each class's mean in these
        axes times its share. Z itself is not needed for it.
        """
        sums = np.zeros((num_classes, len(self.mean)))
        for rows, z in standardised(self.train, self.mean, self.deviation):
            order = np.argsort(labels[rows], kind="stable")
            in_order = labels[rows][order]
            starts = np.flatnonzero(np.r_[True, np.diff(in_order) > 0])
            sums[in_order[starts]] += np.add.reduceat(z[order], starts, axis=0)
        share = np.bincount(labels, minlength=num_classes) / len(labels)
        centred = sums - share[:, None] * sums.sum(axis=0)
        means: NDArray[np.float64] = self.axes.T @ centred.T / len(labels)
        return means

    def of_others(self, features: Features) -> NDArray[np.float32]:
        """float32 [m, r]: other features in these axes; what lies outside the span no head can see.

        Raises NotFinite.
        """
        out = np.empty((len(features), len(self.variances)), dtype=np.float32)
        axes = self.axes.astype(np.float32)
        for rows, z in _rounded(features, self.mean, self.deviation):
            np.matmul(z, axes, out=out[rows])
        return out

    def head(self, weight: NDArray[np.floating], bias: NDArray[np.floating]) -> LinearHead:
        """The head with these weights [r, classes] and biases [classes] in the axes, for features
        as they are.
        """
        return LinearHead(
            self.mean,
            self.deviation,
            self.axes @ weight.astype(np.float64),
            bias.astype(np.float64),
        )


def _spanned(variances: NDArray[np.float64]) -> NDArray[np.bool_]:
    kept: NDArray[np.bool_] = variances > _SPANNED * max(variances[-1], np.finfo(np.float64).tiny)
    return kept


def _moments(features: Features) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """(mean, deviation) of each feature, the deviation of a constant one infinite.

    Two passes: squares of large means would drown small deviations.
    """
    n, d = features.shape
    chunks = [features[start : start + _ROWS] for start in range(0, n, _ROWS)]
    total, square = np.zeros(d), np.zeros(d)
    for chunk in chunks:
        total = total + chunk.sum(axis=0, dtype=np.float64)
    mean = total / n
    for chunk in chunks:
        square = square + np.square(chunk - mean).sum(axis=0)
    largest = np.max([np.abs(chunk).max(axis=0) for chunk in chunks], axis=0)
    deviation: NDArray[np.float64] = np.sqrt(square / n)
    deviation[deviation <= _CONSTANT * largest] = np.inf
    return mean, deviation


def cross_entropy(logits: NDArray[np.floating], labels: Labels) -> float:
    """Mean cross-entropy in nats."""
    shifted = logits.astype(np.float64) - logits.max(axis=1, keepdims=True)
    return float(
        (np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]).mean()
    )
