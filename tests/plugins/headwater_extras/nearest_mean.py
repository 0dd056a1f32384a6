"""A protocol of another package: test images get the class whose mean feature is nearest."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.transfer import Choice
from headwater.transfer.protocols import Bench, OnImages, TransferProtocol

if TYPE_CHECKING:
    from headwater.tasks import Draw


class NearestMean(OnImages):
    """Frozen encoder, the class whose mean feature is nearest."""


class NearestMeanProtocol(TransferProtocol[NearestMean]):
    name = "nearest-mean"
    version = 1
    order = 90
    title = "nearest class mean"
    fits = "the mean feature of each class"
    chooses = "nothing"
    costs = "features once"
    words = NearestMean

    def measure(self, bench: Bench, draws: Sequence[Draw], words: NearestMean) -> list[Choice]:
        return [self._choice(bench, bench.fit(draw)) for draw in draws]

    def _choice(self, bench: Bench, fit: Any) -> Choice:
        classes = range(bench.num_classes)
        means = np.stack([fit.train[fit.train_labels == c].mean(axis=0) for c in classes])
        nearness = bench.test_features() @ means.T - (means**2).sum(axis=1) / 2
        return Choice.of_logits({}, None, nearness, probabilities=False)


ENTRY = NearestMeanProtocol()
