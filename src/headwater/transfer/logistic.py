"""Multinomial logistic regression along a path of l2, several problems at once.

The loss is  mean cross-entropy + l2 / 2 * ||W||^2  (bias free). That is scikit-learn's
LogisticRegression at C = 1 / (l2 * n); for two classes at C = 2 / (l2 * n), since scikit-learn then
fits one vector, the difference of our two.

The path runs from strong to weak l2. Each fit starts from the line through the two optima before
(in log l2), or from the last one where that is better, and takes Newton steps whose equations are
solved by conjugate gradients, as far as that still pays. Their preconditioner is the diagonal of
the Hessian in the principal axes (headwater.transfer.linear) of the features and the eigenvectors
of the mean curvature of the classes, diag(p) - pp'.

Problems of a batch (few-shot draws, of one shape) do not see one another: which others stand beside
a problem, or that none does, changes no bit of its solution. Arrays are [problems, classes, images
or axes]; the first axis is the constant 1, whose weights are the biases.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.transfer.linear import Labels, Span

Batch = NDArray[np.float32]
Values = NDArray[np.float64]
"""One number a problem."""
_GAP = 1e-4
"""A fit ends when the loss is this close to the optimum, as a share of it, by the Newton decrement
[ours]. The last step has then been taken, which leaves about a hundredth of that gap.
"""
_SMALL = 0.1
"""Nats.

Of a loss below it, the share of this is meant [ours]: float32 cannot tell more, and no prediction
depends on it.
"""
_FORCING = 0.1
"""Conjugate gradients end when the residual has shrunk to this share [ours],"""
_PAYS = 3e-6
"""or when the later half of the products brought less than this share of the loss [ours, after the
truncation of Nash and Sofer 1990].
"""
_LEAST_CG, _MAX_CG, _MAX_NEWTON = 3, 300, 60
"""At least three products [ours]: where outliers make the mean curvature a poor guide, the first
ones bring little though much is left.
"""
_LEAST_CURVATURE = 1e-8
"""Of a class that is told for certain, so that the preconditioner stays finite."""
_TOGETHER = 256
"""Classes above which the preconditioner takes each class by itself: eigenvectors of their matrix
would cost more than they save.
"""
_TWICE = 2**28
"""Bytes up to which a problem's features are held in both orders in memory, so that each product
reads them in a row, and squared.
"""


@dataclass(frozen=True)
class Solutions:
    """Optima at one l2: weight float32 [problems, r, classes] in the axes of each problem's span,
    bias float32 [problems, classes].
    """

    l2: float
    weight: Batch
    bias: Batch


def fit_paths(
    spans: Sequence[Span], labels: Sequence[Labels], num_classes: int, l2s: Sequence[float]
) -> Iterator[Solutions]:
    """The optima of several problems, all of one shape (images, rank, classes that have images), at
    every l2, from strong to weak.

    A class without training images has weight 0 and, beside biases of 0, the probability of half an
    image: the bias log(classes with images / 2n).
    """
    present, codes = [], []
    for problem_labels in labels:
        classes, numbered = np.unique(problem_labels, return_inverse=True)
        present.append(classes)
        codes.append(numbered.astype(np.int64))
    problems = _Problems.of(spans, codes, len(present[0]))
    weight = np.zeros((len(spans), len(present[0]), problems.z.shape[1]), dtype=np.float32)
    data, p = problems.data_loss(weight)
    past: list[tuple[float, Batch]] = []
    """The last two l2 and their optima."""
    for l2 in sorted(l2s, reverse=True):
        start = weight
        if len(past) == 2:
            (first, before), (last, _) = past
            share = np.float32((np.log(last) - np.log(l2)) / (np.log(first) - np.log(last)))
            further = weight + share * (weight - before)
            data_there, p_there = problems.data_loss(further)
            loss_there = data_there + problems.penalty(further, l2)
            better = loss_there < data + problems.penalty(weight, l2)
            start = np.where(better[:, None, None], further, weight)
            data = np.where(better, data_there, data)
            p = np.where(better[:, None, None], p_there, p)
        weight, data, p = problems.solve(start, data, p, l2)
        past = [*past[-1:], (l2, weight)]
        every = np.zeros((len(spans), num_classes, weight.shape[2]), dtype=np.float32)
        every[:, :, 0] = np.log(len(present[0]) / (2 * len(labels[0])))
        for i, classes in enumerate(present):
            every[i, classes] = weight[i]
        yield Solutions(l2, every[:, :, 1:].transpose(0, 2, 1), every[:, :, 0])


@dataclass(frozen=True)
class _Problems:
    """Several problems of one shape."""

    z: Batch
    """[problems, 1 + r, n]"""
    by_image: Batch
    """[problems, n, 1 + r]: the same."""
    squares: Batch | None
    """[problems, n, 1 + r]: their squares; None for problems that are too large to be held so
    often.
    """
    variances: Batch
    """[problems, 1, 1 + r]"""
    one_hot: Batch
    """[problems, classes, n]"""

    @classmethod
    def of(cls, spans: Sequence[Span], labels: Sequence[Labels], num_classes: int) -> _Problems:
        count, n, r = len(spans), len(labels[0]), 1 + len(spans[0].variances)
        by_image, variances = np.ones((count, n, r), np.float32), np.ones((count, 1, r), np.float32)
        one_hot = np.zeros((count, num_classes, n), np.float32)
        for i, (span, codes) in enumerate(zip(spans, labels, strict=True)):
            by_image[i, :, 1:] = span.z
            variances[i, 0, 1:] = span.variances
            one_hot[i, codes, np.arange(n)] = 1
        z = by_image.transpose(0, 2, 1)
        if by_image[0].nbytes <= _TWICE:
            return cls(np.ascontiguousarray(z), by_image, np.square(by_image), variances, one_hot)
        return cls(z, by_image, None, variances, one_hot)

    def some(self, which: NDArray[np.int64]) -> _Problems:
        if len(which) == len(self.z):
            return self
        by_image = self.by_image[which]
        if self.squares is None:
            return _Problems(
                by_image.transpose(0, 2, 1),
                by_image,
                None,
                self.variances[which],
                self.one_hot[which],
            )
        return _Problems(
            self.z[which], by_image, self.squares[which], self.variances[which], self.one_hot[which]
        )

    def data_loss(self, weight: Batch) -> tuple[Values, Batch]:
        """(mean cross-entropy, [problems]; probabilities [problems, classes, n])."""
        logits = weight @ self.z
        logits -= logits.max(axis=1, keepdims=True)
        right = np.einsum("bcn,bcn->bn", logits, self.one_hot)
        probabilities = np.exp(logits, out=logits)
        total = probabilities.sum(axis=1, keepdims=True)
        losses = (np.log(total[:, 0]) - right).mean(axis=1, dtype=np.float64)
        probabilities /= total
        return losses, probabilities

    def penalty(self, weight: Batch, l2: float) -> Values:
        squares: Values = np.square(weight[:, :, 1:]).sum(axis=(1, 2), dtype=np.float64)
        return 0.5 * l2 * squares

    def solve(
        self, weight: Batch, data: Values, p: Batch, l2: float
    ) -> tuple[Batch, Values, Batch]:
        """(weights, mean cross-entropy, probabilities) at the optima of one l2, by Newton steps
        from a start of which the latter two are given.
        """
        weight, data, p = weight.copy(), data.copy(), p.copy()
        active, problems = np.arange(len(weight)), self
        for _ in range(_MAX_NEWTON):
            here, loss = weight[active], data[active] + self.penalty(weight[active], l2)
            small = _GAP * np.maximum(loss, _SMALL)
            step, decrement = problems.newton_step(here, p[active], loss, l2)
            weight[active], data[active], p[active], length = problems.line_search(
                here, loss, step, decrement, small, l2
            )
            going = (decrement > 2 * small) & (length > 0)
            if not going.any():
                break
            active, problems = active[going], problems.some(np.flatnonzero(going))
        return weight, data, p

    def gradient(self, weight: Batch, p: Batch, l2: float) -> Batch:
        residual: Batch = (p - self.one_hot) / np.float32(p.shape[2])
        slope: Batch = residual @ self.by_image
        slope[:, :, 1:] += np.float32(l2) * weight[:, :, 1:]
        return _balanced(slope)

    def newton_step(self, weight: Batch, p: Batch, loss: Values, l2: float) -> tuple[Batch, Values]:
        """(step, Newton decrement squared [problems]) by preconditioned conjugate gradients; a
        problem that is solved well enough waits, and is laid aside when half of them are.
        """
        problems, active = self, np.arange(len(p))
        least = _PAYS * np.maximum(loss, _SMALL)
        gradient = self.gradient(weight, p, l2)
        steps, step = np.zeros_like(gradient), np.zeros_like(gradient)
        weighted = p / np.float32(p.shape[2])
        nearly = _Nearly.of(self, p, weighted, l2)
        residual = -gradient
        towards = nearly.solve(residual)
        direction = towards
        size = _dot(residual, towards)
        enough = _FORCING**2 * size
        going = size > 0
        gained = [np.zeros(len(p))]
        for products in range(1, _MAX_CG + 1):
            bent = problems.bent(direction, p, weighted, l2)
            bend = _dot(direction, bent)
            going &= bend > 0
            length = np.where(going, size / np.where(bend > 0, bend, 1), 0)
            step += _along(length, direction)
            residual -= _along(length, bent)
            towards = nearly.solve(residual)
            new = _dot(residual, towards)
            gained.append(gained[-1] + 0.5 * length * size)
            if products >= _LEAST_CG:
                going &= (new > enough) & (gained[-1] - gained[products // 2] > least)
            else:
                going &= new > 0
            if not going.any():
                break
            turn = np.where(going, new / np.where(size > 0, size, 1), 0)
            direction = towards + _along(turn, direction)
            size = np.where(going, new, size)
            if 2 * going.sum() <= len(going):
                steps[active] = step
                keep = np.flatnonzero(going)
                active, problems, nearly = active[keep], problems.some(keep), nearly.some(keep)
                p, weighted = p[keep], weighted[keep]
                step, residual, direction = step[keep], residual[keep], direction[keep]
                size, enough, least, going = size[keep], enough[keep], least[keep], going[keep]
                gained = [gain[keep] for gain in gained]
        steps[active] = step
        return steps, -_dot(gradient, steps)

    def bent(self, direction: Batch, p: Batch, weighted: Batch, l2: float) -> Batch:
        """The Hessian times a direction."""
        change: Batch = direction @ self.z
        change -= np.einsum("bcn,bcn->bn", p, change)[:, None]
        change *= weighted
        bent: Batch = change @ self.by_image
        bent[:, :, 1:] += np.float32(l2) * direction[:, :, 1:]
        return bent

    def line_search(
        self, start: Batch, loss: Values, step: Batch, decrement: Values, small: Values, l2: float
    ) -> tuple[Batch, Values, Batch, Values]:
        """(weights where it ends, mean cross-entropy and probabilities there, share of the step
        that was taken): halved until the loss falls by a little (Armijo's rule).

        A step within the gap that does not make it fall, because it is as good as there, is not
        taken. Far from the optimum, where probabilities are 0 or 1 and nothing but l2 bends the
        loss, a step can be 1 / l2 times too long.
        """
        length = np.ones(len(loss))
        least = np.where(decrement > 2 * small, 1e-8, 1.0)
        while True:
            ends = start + _along(length, step)
            data, probabilities = self.data_loss(ends)
            enough = loss - 1e-4 * length * decrement
            fallen = (data + self.penalty(ends, l2) <= enough) | (length == 0)
            if fallen.all():
                return ends, data, probabilities, length
            length = np.where(fallen, length, np.where(length <= least, 0, length / 2))


@dataclass(frozen=True)
class _Nearly:
    """The Hessian, nearly, as a preconditioner: its diagonal, for classes turned to the
    eigenvectors of their mean curvature, where the Hessian is closer to diagonal than for the
    classes themselves. Of outliers, whose curvature is not the mean's, the diagonal knows.
    """

    scale: Batch
    """[problems, classes, 1 + r]"""
    turn: Batch | None
    """[problems, classes, classes]: columns are the eigenvectors of the curvature; None where each
    class stands for itself.
    """

    @classmethod
    def of(cls, problems: _Problems, p: Batch, weighted: Batch, l2: float) -> _Nearly:
        if p.shape[1] > _TOGETHER:
            curvature, turn = weighted * (1 - p), None
        else:
            matrix = -(weighted @ p.transpose(0, 2, 1)).astype(np.float64)
            classes = np.arange(p.shape[1])
            matrix[:, classes, classes] += weighted.sum(axis=2, dtype=np.float64)
            turn = np.linalg.eigh(matrix)[1].astype(np.float32)
            back = turn.transpose(0, 2, 1)
            curvature = np.square(back) @ weighted - (back @ p) * (back @ weighted)
        if problems.squares is not None:
            diagonal = curvature @ problems.squares
        else:  # nearly so: the mean curvature times the variance
            diagonal = curvature.sum(axis=2, keepdims=True) * problems.variances
        scale = np.maximum(diagonal, np.float32(_LEAST_CURVATURE) * problems.variances)
        scale[:, :, 1:] += np.float32(l2)
        return cls(scale, turn)

    def some(self, which: NDArray[np.int64]) -> _Nearly:
        return _Nearly(self.scale[which], None if self.turn is None else self.turn[which])

    def solve(self, right: Batch) -> Batch:
        if self.turn is None:
            return _balanced(right / self.scale)
        turned = self.turn.transpose(0, 2, 1) @ right
        turned /= self.scale
        return _balanced(self.turn @ turned)


def _balanced(weight: Batch) -> Batch:
    """With biases (changed in place) that are 0 on average over classes, as they are but for
    rounding: a constant on all logits changes nothing, and nothing would bound a step along it.
    """
    total = np.add.reduce(weight[:, :, 0], axis=1, keepdims=True)
    weight[:, :, 0] -= total / np.float32(weight.shape[1])
    return weight


def _along(length: Values, direction: Batch) -> Batch:
    return length.astype(np.float32)[:, None, None] * direction


def _dot(a: Batch, b: Batch) -> Values:
    products: Values = (a * b).sum(axis=(1, 2), dtype=np.float64)
    return products
