"""A protocol of another package that measures nothing and takes a given time: what is left of a
run's time is the engine's own.
"""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from pydantic import Field

from headwater.transfer import Choice
from headwater.transfer.protocols import Bench, OnImages, TransferProtocol

if TYPE_CHECKING:
    from headwater.tasks import Draw


class Rest(OnImages):
    """Every test image gets the first class, after so many seconds."""

    seconds: float = Field(0.0, ge=0.0)


class RestProtocol(TransferProtocol[Rest]):
    name = "rest"
    version = 1
    order = 91
    title = "a rest"
    fits = "nothing"
    chooses = "nothing"
    costs = "the seconds that it is told"
    words = Rest

    def measure(self, bench: Bench, draws: Sequence[Draw], words: Rest) -> list[Choice]:
        return [self._rested(bench, words.seconds) for _ in draws]

    def _rested(self, bench: Bench, seconds: float) -> Choice:
        time.sleep(seconds)
        logits = np.zeros((len(bench.task.test), bench.num_classes))
        logits[:, 0] = 1.0
        return Choice.of_logits({}, None, logits, probabilities=False)


ENTRY = RestProtocol()
