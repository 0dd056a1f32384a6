"""W&B, offline: nothing leaves this machine until somebody says `wandb sync` (or sets WANDB_MODE).
One run of W&B a run of the study; every arm has numbers of its own, over its own steps.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

from headwater.trackers.tracker import Tracker


class WandbTracker(Tracker):
    def __init__(self, study: str, where: str) -> None:
        os.environ.setdefault("WANDB_SILENT", "true")
        import wandb

        Path(where).mkdir(parents=True, exist_ok=True)
        mode = os.environ.get("WANDB_MODE", "offline")
        self._run = wandb.init(project=f"headwater-{study}", dir=where, mode=mode)
        self._arms: set[str] = set()

    def numbers(self, arm: str, step: int, values: Mapping[str, float]) -> None:
        if arm not in self._arms:
            self._arms.add(arm)
            self._run.define_metric(f"{arm}/*", step_metric=f"{arm}/step")
        own = {f"{arm}/{name}": value for name, value in values.items()}
        self._run.log({**own, f"{arm}/step": step})

    def score(self, arm: str, name: str, value: float) -> None:
        self._run.summary[f"{arm}/{name}"] = value

    def close(self) -> None:
        self._run.finish()
