"""What is to be computed and in which order: units of work, what waits for what, what fails with
what.

Nothing here computes, starts a process or writes a file; engines do.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from headwater.plan import Plan, PlannedArm, PlannedCell
from headwater.store import Store

NOBODY = -1
"""The worker of an event that happened to a unit that no worker had."""
_SIDE = 100
"""Pixels of an image's side: only ratios count."""
REASON_LIMIT = 500
"""Characters of a failure's reason that a row keeps."""


@dataclass(frozen=True, eq=False)
class Unit:
    """One arm to train (task None), or the cells of one arm on one task."""

    arm: PlannedArm
    task: str | None = None
    cells: tuple[PlannedCell, ...] = ()

    @property
    def title(self) -> str:
        what = f"{self.arm.words.title} · seed {self.arm.words.seed}"
        return f"train {what}" if self.task is None else f"{self.task} ← {what}"

    def message(self) -> dict[str, Any]:
        """The unit in plain values, for another process."""
        return {"arm": self.arm.id, "task": self.task, "cells": [cell.id for cell in self.cells]}


@dataclass(frozen=True)
class Event:
    """What a watcher of a run hears. `kind` is started, progress, cell, finished, failed, retried
    (it failed for a reason that may pass) or died; the first one, `expected`, comes before anything
    has begun, of the first unit and nobody. What another run on this store did is heard as that of
    nobody, without its start.

    Every event's fields have `left_s`, seconds until all is done, and where a worker has its unit
    `unit_left_s`: forecasts (headwater.engines.forecast); not where the forecast failed.
    """

    kind: str
    worker: int
    unit: Unit
    fields: dict[str, Any]


@dataclass(frozen=True)
class Failure:
    """A unit that failed, the cells that fail with it, and why."""

    unit: Unit
    cells: tuple[PlannedCell, ...]
    reason: str


@dataclass(frozen=True)
class Pending:
    """What a store lacks of a plan."""

    arms: list[PlannedArm]
    cells: list[PlannedCell]

    @cached_property
    def of_arm(self) -> dict[str, dict[str, list[PlannedCell]]]:
        """By arm's id and task, the cells: worked out once for all schedules of this."""
        found: dict[str, dict[str, list[PlannedCell]]] = {}
        for cell in self.cells:
            found.setdefault(cell.arm.id, {}).setdefault(cell.words.task, []).append(cell)
        return found


def pending(plan: Plan, store: Store | None) -> Pending:
    """Cells that are not finished, and the arms that they need and the store lacks; each once, in
    the plan's order, but that arms whose features others are labelled by come before these.
    """
    if store:
        store.refresh()
    finished = store.finished_cells() if store else set()
    cells = {cell.id: cell for cell in plan.cells if cell.id not in finished}
    measured = {cell.arm.id for cell in cells.values()}
    arms: dict[str, PlannedArm] = {}
    for arm in plan.arms:
        if arm.id in measured and not (store and store.has_arm(arm.id)):
            for needed in reversed([arm, *_needed_by(arm, store)]):
                arms.setdefault(needed.id, needed)
    return Pending(list(arms.values()), list(cells.values()))


def _needed_by(arm: PlannedArm, store: Store | None) -> Iterator[PlannedArm]:
    """The arms that must be trained before this one, the nearest first: whose features its labels
    are made from, where these are not there yet.
    """
    while arm.needs is not None:
        if store and (is_labelled(arm, store) or store.has_arm(arm.needs.id)):
            return
        arm = arm.needs
        yield arm


def is_labelled(arm: PlannedArm, store: Store) -> bool:
    """Whether the store has the clusters that an arm is labelled by."""
    return arm.clusters is not None and store.has_labels(arm.clusters.id)


def _work_of(arm: PlannedArm) -> float:
    """What an arm's training costs beside that of others with the same encoder: pixels that it
    sees.
    """
    if arm.recipe is None:
        return 0.0
    crops = arm.method.crops(arm.recipe, _SIDE)
    return arm.images_seen * sum(crop.count * (crop.image_size or _SIDE) ** 2 for crop in crops)


class Schedule:
    """Units that can be begun (`ready`), and those that wait for others.

    An arm is trained before its cells are measured, and before the arms whose labels are made from
    its features. Of others the longest come first, so that none of them is left alone at the end;
    equal ones in the plan's order.
    """

    def __init__(self, todo: Pending) -> None:
        self.ready: deque[Unit] = deque()
        self._cells = todo.of_arm
        self._waiting: dict[str, list[Unit]] = {}
        training = {arm.id for arm in todo.arms}
        for arm_id in self._cells:
            if arm_id not in training:
                self.ready.extend(self._measuring(arm_id))
        needed = {arm.needs.id for arm in todo.arms if arm.needs is not None}
        for arm in sorted(todo.arms, key=lambda arm: (arm.id not in needed, -_work_of(arm))):
            if arm.needs is not None and arm.needs.id in training:
                self._waiting.setdefault(arm.needs.id, []).append(Unit(arm))
            else:
                self.ready.append(Unit(arm))

    def leave(self, unit: Unit) -> bool:
        """Takes a unit, known by its arm and task, out of those that are ready; whether it was
        there.
        """
        for place, waiting in enumerate(self.ready):
            if (waiting.arm.id, waiting.task) == (unit.arm.id, unit.task):
                del self.ready[place]
                return True
        return False

    def copy(self) -> Schedule:
        """One that can be played through without this one changing."""
        played = Schedule(Pending([], []))
        played.ready, played._waiting = self.ready.copy(), self._waiting.copy()
        played._cells = self._cells
        return played

    def finished(self, unit: Unit) -> None:
        """What waited for a unit can be begun: the cells of an arm first."""
        if unit.task is None:
            self.ready.extend(self._waiting.pop(unit.arm.id, []))
            self.ready.extendleft(reversed(self._measuring(unit.arm.id)))

    def failed(self, unit: Unit, reason: str) -> list[Failure]:
        """The unit's failure, then those of the arms that waited for it, at whatever remove."""
        if unit.task is not None:
            return [Failure(unit, unit.cells, reason)]
        failures = [Failure(unit, self.cells_of(unit.arm.id), reason)]
        for waiting in self._waiting.pop(unit.arm.id, []):
            needed = unit.title.removeprefix("train ")
            why = f"its labels need {needed}, which failed: {reason}"
            failures.extend(self.failed(waiting, why[:REASON_LIMIT]))
        return failures

    def _measuring(self, arm_id: str) -> list[Unit]:
        by_task = self._cells.get(arm_id, {})
        return [Unit(cells[0].arm, task, tuple(cells)) for task, cells in by_task.items()]

    def cells_of(self, arm_id: str) -> tuple[PlannedCell, ...]:
        """All cells of an arm that are to be measured."""
        cells: list[PlannedCell] = []
        for of_task in self._cells.get(arm_id, {}).values():
            cells.extend(of_task)
        return tuple(cells)
