"""MLflow: an experiment a study, a run an arm; WHERE is a folder, which gets a data base, or the
address of a server (`mlflow ui --backend-store-uri sqlite:///FOLDER/mlflow.db` shows a folder's).
"""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from pathlib import Path

from headwater.trackers.tracker import Tracker

_NOT_IN_NAMES = re.compile(r"[^\w\-. /]")


class MlflowTracker(Tracker):
    def __init__(self, study: str, where: str) -> None:
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")
        from mlflow.tracking import MlflowClient

        address = where
        if "://" not in where:
            Path(where).mkdir(parents=True, exist_ok=True)
            address = f"sqlite:///{Path(where).resolve()}/mlflow.db"
        self._client = MlflowClient(tracking_uri=address)
        name = f"headwater {study}"
        known = self._client.get_experiment_by_name(name)
        self._experiment = known.experiment_id if known else self._client.create_experiment(name)
        self._runs: dict[str, str] = {}

    def _run(self, arm: str) -> str:
        if arm not in self._runs:
            run = self._client.create_run(self._experiment, run_name=arm)
            self._runs[arm] = run.info.run_id
        return self._runs[arm]

    def numbers(self, arm: str, step: int, values: Mapping[str, float]) -> None:
        for name, value in values.items():
            self._client.log_metric(self._run(arm), f"training/{name}", value, step=step)

    def score(self, arm: str, name: str, value: float) -> None:
        self._client.log_metric(self._run(arm), _NOT_IN_NAMES.sub("_", name), value)

    def close(self) -> None:
        for run in self._runs.values():
            self._client.set_terminated(run)
