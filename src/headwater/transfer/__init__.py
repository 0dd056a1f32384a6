"""Measuring transfer: frozen features with linear probes, neighbours or class names, and
fine-tuning of the whole network.

Code here that selects (l2, neighbours, learning rate, stopping point) is handed training and
validation images only; the test set is scored once, with what was selected.

    protocols/     what a study can ask for: a file for each protocol, with its words
    features.py    features of a frozen encoder, once for an encoder and a task, in a file
    linear.py      standardised features in their span; heads
    probe.py       logistic regression along a path of l2, chosen on validation
    logistic.py    the fits of that path, several draws at once
    ridge.py       all l2 from one factorisation
    neighbours.py  weighted nearest neighbours
    zeroshot.py    whether class names and labels are in one order
    finetune.py    the whole network, from a head of zeros or a given one
    metrics.py     accuracy, its mean over classes, calibration, errors within and across
                   superclasses
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


class TransferDiverged(Exception):
    """A cell has no number and will never have one: its row says why, and no run tries it again."""


class NotFinite(TransferDiverged):
    """The encoder gives features that are no finite numbers: it has diverged, and nothing can be
    measured with it.
    """


@dataclass(frozen=True)
class Choice:
    """What validation chose, and what it then predicts for the test set."""

    chosen: dict[str, Any]
    val_value: float | None
    """Accuracy on validation of the choice, in [0, 1]; optimistic where it was maximised; None
    where there was nothing to choose and it was not asked.
    """
    predictions: NDArray[np.int64]
    """Predicted class of every test sample, [n_test]."""
    confidence: NDArray[np.float64] | None = None
    """Probability that is given to the predicted class, in [0, 1], [n_test]; None where scores are
    no probabilities.
    """

    @classmethod
    def of_logits(
        cls,
        chosen: dict[str, Any],
        val_value: float | None,
        logits: NDArray[np.floating],
        *,
        probabilities: bool = True,
    ) -> Choice:
        """From logits [n_test, classes]; of equal ones the lowest class is predicted.

        `probabilities`: their softmax is meant as such.

        Raises NotFinite for logits that are no finite numbers, which would pass for class 0.
        """
        if not np.isfinite(logits).all():
            raise NotFinite("the scores of some test images are no finite numbers")
        predictions = logits.argmax(axis=1).astype(np.int64)
        if not probabilities:
            return cls(chosen, val_value, predictions)
        top = logits.max(axis=1, keepdims=True)
        return cls(
            chosen,
            val_value,
            predictions,
            1 / np.exp((logits - top).astype(np.float64)).sum(axis=1),
        )
