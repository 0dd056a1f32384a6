"""The linear probe: multinomial logistic regression on standardised features, l2 chosen on validation.

The loss is  mean cross-entropy + l2 / 2 * ||W||^2  (bias free), the same as scikit-learn's LogisticRegression at C = 1 / (l2 * n); for two classes
at C = 2 / (l2 * n), since scikit-learn then fits one vector, the difference of our two. Features are
standardised with the mean and deviation of the cell's own training images [ours]: without it the strength of l2 would mean something else for
every encoder. The path runs from strong to weak l2, each fit started from the one before.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize

from headwater.transfer import Choice, NotFinite

Features = NDArray[np.float32]
Labels = NDArray[np.int64]
_TOLERANCE = 1e-4
"""Largest component of the gradient, in the scaled coordinates, at which a fit stops."""
_MAX_ITERATIONS = 500
_CONSTANT = 1e-6
"""A feature whose deviation is below this share of its largest value is constant: float32 rounds at 1.2e-7."""
_SPANNED = 1e-12
"""Share of the largest variance below which a principal axis is outside the span of the features."""


@dataclass(frozen=True)
class LinearHead:
    """logits = (features - mean) / deviation @ weight + bias. float64; weight [d, classes]. The deviation of a constant feature is infinite,
    so that it says nothing whatever its value."""

    mean: NDArray[np.float64]
    deviation: NDArray[np.float64]
    weight: NDArray[np.float64]
    bias: NDArray[np.float64]

    def logits(self, features: Features) -> NDArray[np.float64]:
        """float64 [n, classes]. Raises NotFinite."""
        _check_finite(features)
        logits: NDArray[np.float64] = ((features - self.mean) / self.deviation) @ self.weight + self.bias
        return logits

    def folded(self) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(weight [classes, d], bias [classes]) on raw features: the head that an LP-FT run starts from."""
        weight = self.weight / self.deviation[:, None]
        return weight.T.astype(np.float32), (self.bias - self.mean @ weight).astype(np.float32)


def _check_finite(features: Features) -> None:
    finite = int(np.isfinite(features).all(axis=1).sum())
    if finite < len(features):
        raise NotFinite(f"the encoder's features of {len(features) - finite} of {len(features)} images are not finite numbers")


def cross_entropy(logits: NDArray[np.float64], labels: Labels) -> float:
    """Mean cross-entropy in nats."""
    shifted = logits - logits.max(axis=1, keepdims=True)
    return float((np.log(np.exp(shifted).sum(axis=1)) - shifted[np.arange(len(labels)), labels]).mean())


def fit_logistic(
    x: NDArray[np.float64], variances: NDArray[np.float64], labels: Labels, num_classes: int, l2: float, start: NDArray[np.float64] | None = None
) -> NDArray[np.float64]:
    """The optimum [d + 1, classes] (last row: bias) of the loss above by L-BFGS, from `start` or zero.

    `x` float64 [n, d] has uncorrelated columns with these `variances` [d]. The search runs in coordinates v with
    w = v / sqrt(p (1 - p) variance + l2), p = 1 / classes, in which the Hessian at zero is nearly the identity: the same optimum in far fewer steps.
    """
    n, d = x.shape
    curvature = (num_classes - 1) / num_classes**2
    scale = np.append(1 / np.sqrt(curvature * variances + l2), 1 / np.sqrt(curvature))[:, None]
    penalty = np.append(np.full(d, l2), 0.0)[:, None] * scale**2
    scaled = np.hstack([x, np.ones((n, 1))]) * scale[:, 0]
    rows = np.arange(n)

    def loss_and_gradient(flat: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        v = flat.reshape(d + 1, num_classes)
        logits = scaled @ v
        logits -= logits.max(axis=1, keepdims=True)
        exp = np.exp(logits)
        total = exp.sum(axis=1)
        penalised = penalty * v
        loss = float((np.log(total) - logits[rows, labels]).mean()) + 0.5 * float((penalised * v).sum())
        exp /= total[:, None]
        exp[rows, labels] -= 1
        return loss, (scaled.T @ exp / n + penalised).ravel()

    first = np.zeros((d + 1, num_classes)) if start is None else start / scale
    options = {"maxiter": _MAX_ITERATIONS, "gtol": _TOLERANCE, "ftol": 0.0}
    found = minimize(loss_and_gradient, first.ravel(), jac=True, method="L-BFGS-B", options=options)  # type: ignore[call-overload]
    solution: NDArray[np.float64] = found.x.reshape(d + 1, num_classes) * scale
    return solution


def fit_path(train: Features, labels: Labels, num_classes: int, l2s: tuple[float, ...]) -> dict[float, LinearHead]:
    """The probe at every l2, from strong to weak, each started from the last.

    Features are standardised, then turned to their principal axes and reduced to their span, which changes neither logits nor ||W||.
    Raises NotFinite.
    """
    _check_finite(train)
    mean = train.mean(axis=0, dtype=np.float64)
    deviation = train.std(axis=0, dtype=np.float64)
    deviation[deviation <= _CONSTANT * np.abs(train).max(axis=0)] = np.inf
    x = (train - mean) / deviation
    variances, axes = np.linalg.eigh(x.T @ x / len(x))
    spanned = variances > _SPANNED * variances.max()
    variances, axes = variances[spanned], axes[:, spanned]
    x = x @ axes
    heads: dict[float, LinearHead] = {}
    w: NDArray[np.float64] | None = None
    for l2 in sorted(l2s, reverse=True):
        w = fit_logistic(x, variances, labels, num_classes, l2, w)
        heads[l2] = LinearHead(mean, deviation, axes @ w[:-1], w[-1])
    return heads


def select(heads: dict[float, LinearHead], val: Features, labels: Labels) -> tuple[float, float]:
    """(l2, accuracy) of the head with the best validation accuracy; ties go to the lower cross-entropy, then to the stronger l2."""

    def score(l2: float) -> tuple[float, float, float]:
        logits = heads[l2].logits(val)
        return float((logits.argmax(axis=1) == labels).mean()), -cross_entropy(logits, labels), l2

    best = max(heads, key=score)
    return best, score(best)[0]


def probe(
    train: Features, train_labels: Labels, val: Features, val_labels: Labels, num_classes: int, l2s: tuple[float, ...]
) -> tuple[LinearHead, float, float]:
    """Fit on train at every l2, choose on val, no refit. Returns (head, l2, validation accuracy); never sees a test image. Raises NotFinite."""
    heads = fit_path(train, train_labels, num_classes, l2s)
    l2, value = select(heads, val, val_labels)
    return heads[l2], l2, value


def probe_choice(head: LinearHead, l2: float, val_value: float, test: Features) -> Choice:
    """Open the test set, once, with the chosen head."""
    return Choice({"l2": l2}, val_value, head.logits(test).argmax(axis=1).astype(np.int64))
