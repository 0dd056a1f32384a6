"""What trackers are told: the points of the training curves, from the same files that `headwater
curves` reads, and the rows of cells as they are finished.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

from headwater import plain
from headwater.digests import tell
from headwater.engines.schedule import Event
from headwater.facts.curves import arm_points
from headwater.plan import Plan, PlannedArm
from headwater.store import Store
from headwater.trackers.tracker import Guarded, opened

_LOOK_EVERY_S = 5.0
"""How often the curve of an arm in training is read [ours]."""

Watch = Callable[[Event], None]


@contextmanager
def tracked(words: Sequence[str], plan: Plan, store: Store) -> Iterator[Watch]:
    """A watcher that tells the trackers of `words` (NAME[:WHERE] each) of a run.

    Raises InputError for a tracker that is not there, before anything runs.
    """
    trackers: list[Guarded] = []
    try:
        for word in words:
            trackers.append(opened(word, plan.study.study, store.root))
        yield Feed(store, trackers).heard if trackers else lambda event: None
    finally:
        for tracker in trackers:
            tracker.close()


class Feed:
    """Tells trackers what is new after each event."""

    def __init__(self, store: Store, trackers: Sequence[Guarded]) -> None:
        self._store, self._trackers = store, trackers
        self._told: dict[str, float] = {}
        """By arm's id, the images at its last point that was told."""
        self._looked: dict[str, float] = {}
        self._failed: set[str] = set()
        """Titles of units of which it was told that something could not be read."""

    def heard(self, event: Event) -> None:
        """Reads what the store has of it. What cannot be read is told of once for each unit."""
        try:
            if event.kind == "cell":
                self._rows(event.unit.arm, event.fields["cell"])
            elif event.unit.task is None and event.kind in ("progress", "finished"):
                self._curve(event.unit.arm, last=event.kind == "finished")
        except Exception as error:
            title = event.unit.title
            if title not in self._failed:
                self._failed.add(title)
                tell(f"trackers: not told of {title} ({plain.line(error, 200)})")

    def _curve(self, arm: PlannedArm, *, last: bool) -> None:
        now = time.monotonic()
        if arm.recipe is None:
            return
        if not last and now - self._looked.get(arm.id, -_LOOK_EVERY_S) < _LOOK_EVERY_S:
            return
        self._looked[arm.id] = now
        for point in arm_points(arm, self._store):
            if point["images"] <= self._told.get(arm.id, -1.0):
                continue
            self._told[arm.id] = point["images"]
            values = {name: value for name, value in point.items() if name != "step"}
            for tracker in self._trackers:
                tracker.numbers(arm_name(arm), int(point.get("step", 0)), values)

    def _rows(self, arm: PlannedArm, cell: str) -> None:
        for row in self._store.read_cell(cell):
            if row["status"] != "done":
                continue
            for tracker in self._trackers:
                tracker.score(arm_name(arm), score_name(row), row["value"])


def arm_name(arm: PlannedArm) -> str:
    """supervised · photos · level:0 · seed 0"""
    return f"{arm.words.title} · seed {arm.words.seed}"


def score_name(row: dict[str, Any]) -> str:
    """task/protocol/5 shots/draw 1/top1, or task/protocol/top1 for all images; with the subset
    where it is not all.
    """
    parts = [row["task"], row["protocol"]]
    if row.get("shots") is not None:
        parts.append(f"{row['shots']} shots")
    if row.get("draw"):
        parts.append(f"draw {row['draw']}")
    metric = row["metric"] if row["subset"] == "all" else f"{row['metric']} on {row['subset']}"
    return "/".join([*map(str, parts), metric])
