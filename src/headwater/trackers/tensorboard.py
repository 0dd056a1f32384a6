"""TensorBoard: a folder of event files, one subfolder an arm; steps are optimiser steps."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from headwater.trackers.tracker import Tracker


class TensorBoardTracker(Tracker):
    def __init__(self, study: str, where: str) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self._writer_of = SummaryWriter
        self._folder = Path(where) / study
        self._writers: dict[str, Any] = {}
        self._steps: dict[str, int] = {}

    def _writer(self, arm: str) -> Any:
        if arm not in self._writers:
            folder = re.sub(r"[^\w.=+-]+", "_", arm)
            self._writers[arm] = self._writer_of(str(self._folder / folder))
        return self._writers[arm]

    def numbers(self, arm: str, step: int, values: Mapping[str, float]) -> None:
        self._steps[arm] = step
        for name, value in values.items():
            self._writer(arm).add_scalar(f"training/{name}", value, step)

    def score(self, arm: str, name: str, value: float) -> None:
        self._writer(arm).add_scalar(name, value, self._steps.get(arm, 0))
        self._writer(arm).flush()

    def close(self) -> None:
        for writer in self._writers.values():
            writer.close()
