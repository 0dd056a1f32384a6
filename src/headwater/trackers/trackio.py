"""trackio: a local board. One run of trackio a run of the study; arms are told apart by the names
of their numbers.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from headwater.trackers.tracker import Tracker


class TrackioTracker(Tracker):
    def __init__(self, study: str, where: str) -> None:
        os.environ.setdefault("TRACKIO_DIR", where)  # read when the package is imported
        import trackio

        self._trackio = trackio
        trackio.init(project=f"headwater-{study}", embed=False)

    def numbers(self, arm: str, step: int, values: Mapping[str, float]) -> None:
        self._trackio.log({f"{arm}/{name}": value for name, value in values.items()}, step=step)

    def score(self, arm: str, name: str, value: float) -> None:
        self._trackio.log({f"{arm}/{name}": value})

    def close(self) -> None:
        self._trackio.finish()
