"""The linear probe: logistic regression at every l2, the best on validation is taken, with no
refit.

Never sees a test image: what is chosen here is scored elsewhere, once.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.transfer import Choice
from headwater.transfer.linear import Features, Labels, LinearHead, Span, cross_entropy
from headwater.transfer.logistic import fit_paths
from headwater.transfer.metrics import accuracy


@dataclass(frozen=True)
class Fit:
    """What one cell is fitted on and chosen by. Features float32 [n, d], labels int64 [n]."""

    train: Features
    train_labels: Labels
    val: Features
    val_labels: Labels


@dataclass(frozen=True)
class Probed:
    """The head that validation chose, its l2, and its validation accuracy in [0, 1]: optimistic,
    since it was maximised.
    """

    head: LinearHead
    l2: float
    val_value: float


def probes(fits: Sequence[Fit], num_classes: int, l2s: Sequence[float]) -> list[Probed]:
    """The probes of several cells, fitted together; each is the one that it would be alone, to the
    bit. Raises NotFinite.
    """
    spans = [Span.of(fit.train) for fit in fits]
    alike: dict[tuple[int, int, int], list[int]] = {}
    for i, (span, fit) in enumerate(zip(spans, fits, strict=True)):
        shape = len(fit.train), len(span.variances), len(np.unique(fit.train_labels))
        alike.setdefault(shape, []).append(i)
    probed: dict[int, Probed] = {}
    for group in alike.values():
        of_group = _alike([fits[i] for i in group], [spans[i] for i in group], num_classes, l2s)
        probed.update(zip(group, of_group, strict=True))
    return [probed[i] for i in range(len(fits))]


@dataclass(frozen=True)
class _Candidate:
    """The best fit of one problem so far; weight float32 [r, classes], bias float32 [classes]."""

    score: tuple[float, float]
    l2: float
    weight: NDArray[np.float32]
    bias: NDArray[np.float32]


def _alike(
    fits: Sequence[Fit], spans: Sequence[Span], num_classes: int, l2s: Sequence[float]
) -> list[Probed]:
    """The probes of problems of one shape."""
    val = [span.of_others(fit.val) for span, fit in zip(spans, fits, strict=True)]
    best: dict[int, _Candidate] = {}
    for solutions in fit_paths(spans, [fit.train_labels for fit in fits], num_classes, l2s):
        for i, fit in enumerate(fits):
            weight, bias, held = solutions.weight[i], solutions.bias[i], best.get(i)
            logits = val[i] @ weight + bias
            if held and accuracy(logits.argmax(axis=1), fit.val_labels) < held.score[0]:
                continue
            scored = score(logits, fit.val_labels)
            if held is None or scored > held.score:  # of equal ones the stronger l2 came first
                best[i] = _Candidate(scored, solutions.l2, weight, bias)
    probed = []
    for i, span in enumerate(spans):
        chosen = best[i]
        head = span.head(chosen.weight, chosen.bias)
        probed.append(Probed(head, chosen.l2, chosen.score[0]))
    return probed


def choices(probed: Sequence[Probed], test: Features, *, probabilities: bool) -> list[Choice]:
    """What fitted heads predict for the test features, float32 [n_test, d]; `probabilities`: the
    softmax of their logits is meant as such. Raises NotFinite.
    """
    return [
        Choice.of_logits(
            {"l2": probe.l2}, probe.val_value, probe.head.logits(test), probabilities=probabilities
        )
        for probe in probed
    ]


def score(logits: NDArray[np.floating], labels: Labels) -> tuple[float, float]:
    """What validation prefers: accuracy, then the lower cross-entropy, to the 1e-5 nats to which a
    fit can be told from another.
    """
    return accuracy(logits.argmax(axis=1), labels), -round(cross_entropy(logits, labels), 5)


def fit_path(
    train: Features, labels: Labels, num_classes: int, l2s: Iterable[float]
) -> dict[float, LinearHead]:
    """The probe at every l2. Raises NotFinite."""
    span = Span.of(train)
    return {
        solutions.l2: span.head(solutions.weight[0], solutions.bias[0])
        for solutions in fit_paths([span], [labels], num_classes, tuple(l2s))
    }


def probe(
    train: Features,
    train_labels: Labels,
    val: Features,
    val_labels: Labels,
    num_classes: int,
    l2s: Sequence[float],
) -> Probed:
    """Fit on train at every l2, choose on val. Raises NotFinite."""
    return probes([Fit(train, train_labels, val, val_labels)], num_classes, l2s)[0]
