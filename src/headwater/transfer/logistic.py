"""Multinomial logistic regression along a path of l2, several problems at once.

The loss is  mean cross-entropy + l2 / 2 * ||W||^2  (bias free), the same as scikit-learn's LogisticRegression at C = 1 / (l2 * n); for two classes
at C = 2 / (l2 * n), since scikit-learn then fits one vector, the difference of our two.

The path runs from strong to weak l2. Each fit starts from the line through the two optima before (in log l2), or from the last one where that is
better, and takes Newton steps whose equations are solved by conjugate gradients. In the principal axes (headwater.transfer.linear) the Hessian's block
of a class is nearly diagonal: mean curvature of the class times variance of the axis, plus l2; that diagonal is the preconditioner.

Problems of a batch (few-shot draws) do not see one another: which others stand beside a problem, or that none does, changes no bit of its solution.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.transfer.linear import Labels, Span

Batch = NDArray[np.float32]
_GAP = 1e-4
"""A fit ends when the loss is this close to the optimum, as a share of it, by the Newton decrement [ours]. The last step has then been taken, which leaves
about a hundredth of that gap."""
_FORCING = 0.1
"""Conjugate gradients end when the residual has shrunk to this share [ours]."""
_MAX_CG, _MAX_NEWTON = 60, 60
_LEAST_CURVATURE = 1e-8
"""Of a class that is told for certain, so that the preconditioner stays finite."""


@dataclass(frozen=True)
class Solutions:
    """Optima at one l2: weight float32 [problems, r, classes] in the axes of each problem's span (0 beyond its own), bias float32 [problems, classes]."""

    l2: float
    weight: Batch
    bias: Batch


def fit_paths(spans: Sequence[Span], labels: Sequence[Labels], num_classes: int, l2s: Sequence[float]) -> Iterator[Solutions]:
    """The optima of several problems at every l2, from strong to weak."""
    problems = _Problems.of(spans, labels, num_classes)
    before: tuple[float, Batch, Batch] | None = None
    weight = np.zeros((len(spans), problems.z.shape[2], num_classes), dtype=np.float32)
    bias = np.zeros((len(spans), num_classes), dtype=np.float32)
    last = 0.0
    for l2 in sorted(l2s, reverse=True):
        start = (weight, bias)
        if before is not None:
            share = np.float32((np.log(last) - np.log(l2)) / (np.log(before[0]) - np.log(last)))
            further = weight + share * (weight - before[1]), bias + share * (bias - before[2])
            better = problems.loss(*further, l2)[0] < problems.loss(weight, bias, l2)[0]
            start = np.where(better[:, None, None], further[0], weight), np.where(better[:, None], further[1], bias)
        if last:
            before = last, weight, bias
        weight, bias = problems.solve(*start, l2)
        last = l2
        yield Solutions(l2, weight, bias)


@dataclass(frozen=True)
class _Problems:
    """Several problems, padded to one shape: images that are none weigh 0, axes that are none have variance 0 and columns of 0."""

    z: Batch
    """[problems, n, r]"""
    variances: Batch
    """[problems, r]"""
    share: Batch
    """[problems, n, 1]: 1 / n of the problem, 0 for padding."""
    one_hot: Batch
    """[problems, n, classes]"""

    @classmethod
    def of(cls, spans: Sequence[Span], labels: Sequence[Labels], num_classes: int) -> _Problems:
        count, n, r = len(spans), max(len(own) for own in labels), max(len(span.variances) for span in spans)
        z, variances = np.zeros((count, n, r), np.float32), np.zeros((count, r), np.float32)
        share, one_hot = np.zeros((count, n, 1), np.float32), np.zeros((count, n, num_classes), np.float32)
        for at, (span, own) in enumerate(zip(spans, labels, strict=True)):
            z[at, : len(own), : len(span.variances)] = span.z
            variances[at, : len(span.variances)] = span.variances
            share[at, : len(own)] = 1 / len(own)
            one_hot[at, np.arange(len(own)), own] = 1
        return cls(z, variances, share, one_hot)

    def some(self, which: NDArray[np.int64]) -> _Problems:
        if len(which) == len(self.z):
            return self
        return _Problems(self.z[which], self.variances[which], self.share[which], self.one_hot[which])

    def loss(self, weight: Batch, bias: Batch, l2: float) -> tuple[NDArray[np.float64], Batch]:
        """(loss, float64 [problems]; probabilities [problems, n, classes])."""
        logits = self.z @ weight + bias[:, None]
        logits -= logits.max(axis=2, keepdims=True)
        wanted = np.einsum("bnc,bnc->bn", logits, self.one_hot)
        probabilities = np.exp(logits, out=logits)
        total = probabilities.sum(axis=2)
        losses = ((np.log(total) - wanted) * self.share[:, :, 0]).sum(axis=1, dtype=np.float64)
        probabilities /= total[:, :, None]
        return losses + 0.5 * l2 * np.square(weight).sum(axis=(1, 2), dtype=np.float64), probabilities

    def solve(self, weight: Batch, bias: Batch, l2: float) -> tuple[Batch, Batch]:
        """The optima at one l2 by Newton steps from a start."""
        weight, bias = weight.copy(), bias.copy()
        active, own = np.arange(len(weight)), self
        loss, p = own.loss(weight, bias, l2)
        for _ in range(_MAX_NEWTON):
            gradient = own.gradient(weight[active], p, l2)
            step, decrement = own.newton_step(p, gradient, loss, l2)
            moved, loss, p, whole = own.line_search((weight[active], bias[active]), step, decrement, loss, p, l2)
            weight[active], bias[active] = moved
            going = ~((decrement <= 2 * _GAP * loss) & whole)
            if not going.any():
                break
            if not going.all():
                active, own, loss, p = active[going], own.some(np.flatnonzero(going)), loss[going], p[going]
        return weight, bias

    def gradient(self, weight: Batch, p: Batch, l2: float) -> tuple[Batch, Batch]:
        residual = (p - self.one_hot) * self.share
        return _transposed(self.z) @ residual + np.float32(l2) * weight, _balanced(residual.sum(axis=1))

    def newton_step(self, p: Batch, gradient: tuple[Batch, Batch], loss: NDArray[np.float64], l2: float) -> tuple[tuple[Batch, Batch], NDArray[np.float64]]:
        """(step, Newton decrement squared, float64 [problems]) by preconditioned conjugate gradients; a problem that is solved well enough waits."""
        curvature = np.maximum((p * (1 - p) * self.share).sum(axis=1), np.float32(_LEAST_CURVATURE))
        scale = self.variances[:, :, None] * curvature[:, None] + np.float32(l2), curvature
        weighted = p * self.share
        step = np.zeros_like(gradient[0]), np.zeros_like(gradient[1])
        residual = -gradient[0], -gradient[1]
        towards = residual[0] / scale[0], _balanced(residual[1] / scale[1])
        direction = towards[0].copy(), towards[1].copy()
        size = _dot(residual, towards)
        enough = _FORCING**2 * size
        going = size > 0
        for _ in range(_MAX_CG):
            bent = self._bent(direction, p, weighted, l2)
            bend = _dot(direction, bent)
            going &= bend > 0
            length = np.where(going, size / np.where(bend > 0, bend, 1), 0).astype(np.float32)
            for at in (0, 1):
                step[at][:] += _along(length, direction[at])
                residual[at][:] -= _along(length, bent[at])
            towards = residual[0] / scale[0], _balanced(residual[1] / scale[1])
            new = _dot(residual, towards)
            going &= new > enough
            if not going.any():
                break
            turn = np.where(going, new / np.where(size > 0, size, 1), 0).astype(np.float32)
            direction = towards[0] + _along(turn, direction[0]), towards[1] + _along(turn, direction[1])
            size = np.where(going, new, size)
        return step, -_dot(gradient, step)

    def _bent(self, direction: tuple[Batch, Batch], p: Batch, weighted: Batch, l2: float) -> tuple[Batch, Batch]:
        """The Hessian times a direction."""
        change = self.z @ direction[0]
        change += direction[1][:, None]
        change -= np.einsum("bnc,bnc->bn", p, change)[:, :, None]
        change *= weighted
        return _transposed(self.z) @ change + np.float32(l2) * direction[0], _balanced(change.sum(axis=1))

    def line_search(
        self, at: tuple[Batch, Batch], step: tuple[Batch, Batch], decrement: NDArray[np.float64], loss: NDArray[np.float64], p: Batch, l2: float
    ) -> tuple[tuple[Batch, Batch], NDArray[np.float64], Batch, NDArray[np.bool_]]:
        """(where it ends, loss there, probabilities there, whether the whole step was taken): halved until the loss falls by a little (Armijo's rule).

        A step that cannot make it fall, because it is as good as there, is not taken. Far from the optimum, where probabilities are 0 or 1 and nothing but
        l2 bends the loss, a step can be 1 / l2 times too long.
        """
        length = np.ones(len(loss))
        least = np.where(decrement > 2 * _GAP * loss, 1e-8, 1e-3)
        while True:
            taken = length.astype(np.float32)
            ends = at[0] + _along(taken, step[0]), at[1] + _along(taken, step[1])
            new, probabilities = self.loss(*ends, l2)
            fallen = (new <= loss - 1e-4 * length * decrement) | (length == 0)
            if fallen.all():
                return ends, new, probabilities, (length == 1) | (length == 0)
            length = np.where(fallen, length, np.where(length < least, 0, length / 2))


def _transposed(z: Batch) -> Batch:
    return z.transpose(0, 2, 1)


def _balanced(bias: Batch) -> Batch:
    """Without its mean over classes, which is 0 but for rounding: a constant on all logits changes nothing, and nothing would bound a step along it."""
    balanced: Batch = bias - bias.mean(axis=1, keepdims=True)
    return balanced


def _along(length: Batch, direction: Batch) -> Batch:
    return length.reshape(-1, *[1] * (direction.ndim - 1)) * direction


def _dot(a: tuple[Batch, Batch], b: tuple[Batch, Batch]) -> NDArray[np.float64]:
    products: NDArray[np.float64] = (a[0] * b[0]).sum(axis=(1, 2), dtype=np.float64) + (a[1] * b[1]).sum(axis=1, dtype=np.float64)
    return products
