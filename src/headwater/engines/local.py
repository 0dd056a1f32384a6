"""The local engine: one single-thread worker process per core (or one worker on a GPU), arms in
parallel.

Two threads of torch beside a busy neighbour ran at 84 images/s where one ran at 5,191
(docs/log.md), so parallelism is across arms.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from headwater.engines.pool import Pool
from headwater.plan import Plan, PlannedArm, PlannedCell
from headwater.store import Store

NOBODY = -1
"""The worker of an event that happened to a unit that no worker had."""
COMMAND = (sys.executable, "-m", "headwater.engines.worker")
"""What a worker process is started as."""


@dataclass
class Unit:
    """One arm to train (task None), or the cells of one arm on one task."""

    arm: PlannedArm
    task: str | None = None
    cells: list[PlannedCell] = field(default_factory=list)
    deaths: int = 0

    @property
    def title(self) -> str:
        what = f"{self.arm.words.title} · seed {self.arm.words.seed}"
        return f"train {what}" if self.task is None else f"{self.task} ← {what}"

    def message(self) -> dict[str, Any]:
        return {"arm": self.arm.id, "task": self.task, "cells": [cell.id for cell in self.cells]}


@dataclass(frozen=True)
class Event:
    """What a watcher of a run hears. `kind` is started, progress, cell, finished, failed or
    died.
    """

    kind: str
    worker: int
    unit: Unit
    fields: dict[str, Any]


@dataclass
class Pending:
    """What a store lacks of a plan."""

    arms: list[PlannedArm]
    cells: list[PlannedCell]


def pending(plan: Plan, store: Store | None) -> Pending:
    """Cells that are not finished, and the arms that they need and the store lacks; each once, in
    the plan's order, but that arms whose features others are labelled by come before these.
    """
    finished = store.finished_cells() if store else set()
    cells = list({c.id: c for c in plan.cells if c.id not in finished}.values())
    needed = {c.arm.id for c in cells}
    arms: dict[str, PlannedArm] = {}
    for arm in plan.arms:
        if arm.id in needed and not (store and store.has_arm(arm.id)):
            arms |= {
                one.id: one
                for one in reversed([arm, *_needed_by(arm, store)])
                if one.id not in arms
            }
    return Pending(list(arms.values()), cells)


def _needed_by(arm: PlannedArm, store: Store | None) -> list[PlannedArm]:
    """The arms that must be trained before this one, the nearest first: whose features its labels
    are made from, where these are not there yet.
    """
    found = []
    while arm.needs is not None and not (
        store and (_labelled(arm, store) or store.has_arm(arm.needs.id))
    ):
        arm = arm.needs
        found.append(arm)
    return found


def _labelled(arm: PlannedArm, store: Store) -> bool:
    """Whether the store has the clusters that an arm is labelled by."""
    return arm.clusters is not None and (store.labels / arm.clusters.id).is_dir()


def default_workers(device: str) -> int:
    """One worker per core that this process may use; one on a GPU."""
    if device in ("cuda", "mps") or device.startswith("cuda:"):
        return 1
    if device == "auto":
        import torch

        if torch.cuda.is_available() or torch.backends.mps.is_available():
            return 1
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def run(
    plan: Plan,
    store: Store,
    *,
    data_root: Path | None,
    device: str = "auto",
    workers: int | None = None,
    checkpoint_every_s: float = 20.0,
    compiled: bool = False,
    watch: Callable[[Event], None] = lambda event: None,
) -> None:
    """Compute what the store lacks of a plan.

    Failures become rows of status failed; see `Store.failed_cells`. Raises InputError for bad
    input.

    An arm in training writes a checkpoint every `checkpoint_every_s` seconds; how often does not
    change its weights. `compiled`: through torch.compile.
    """
    store.sweep()
    todo = pending(plan, store)
    if not todo.cells:
        return
    wanted = {cell.arm.id for cell in todo.cells} | {
        arm.needs.id for arm in todo.arms if arm.needs and not _labelled(arm, store)
    }
    for arm_id in wanted - {arm.id for arm in todo.arms}:
        store.read_arm(
            arm_id
        )  # a damaged one is bad input, and is better heard of now than after hours
    from headwater import device as device_room
    from headwater import models, work

    on_cpu = device_room.resolve(device, plan.study.precision).device.type == "cpu"
    work.check_environment(store)
    study = plan.study
    models.build_encoder(
        study.backbone, study.image_size, seed=0, patch_size=study.patch_size
    )  # says what is wrong before anything is decoded
    read = [arm.source for arm in plan.arms] + [task.source for task in plan.tasks.values()]
    for data, source in plan.sources.items():
        if any(
            source is one for one in read
        ):  # a source of scratch arms alone is named, but never read
            work.pixels(plan, data, store)
    count = min(workers or default_workers(device), len(todo.cells))
    setting = {
        "study": plan.study.words(),
        "store": str(store.root.resolve()),
        "data_root": str(data_root) if data_root else None,
        "device": device,
        "checkpoint_every_s": checkpoint_every_s,
        "compiled": compiled,
        "threads": 1
        if on_cpu
        else max(
            1, (os.cpu_count() or 1) // count
        ),  # on the CPU always: another number gives other bits
    }
    _Run(plan, store, todo, setting, watch).go(count)


class _Run(Pool[Unit]):
    def __init__(
        self,
        plan: Plan,
        store: Store,
        todo: Pending,
        setting: dict[str, Any],
        watch: Callable[[Event], None],
    ) -> None:
        super().__init__(COMMAND, setting, store.root / "logs", ())
        self._plan, self._store, self._watch = plan, store, watch
        self._cells: dict[str, dict[str, list[PlannedCell]]] = {}
        for cell in todo.cells:
            self._cells.setdefault(cell.arm.id, {}).setdefault(cell.words.task, []).append(cell)
        training = {arm.id for arm in todo.arms}
        self.ready.extend(
            unit
            for arm_id in self._cells
            if arm_id not in training
            for unit in self._measuring(arm_id)
        )
        first = {arm.needs.id for arm in todo.arms if arm.needs is not None}
        self.ready.extend(
            Unit(arm)
            for arm in sorted(todo.arms, key=lambda arm: arm.id not in first)
            if not self._waits(arm, training)
        )
        self._waiting: dict[str, list[Unit]] = {}
        for arm in todo.arms:
            if self._waits(arm, training):
                self._waiting.setdefault(arm.needs.id, []).append(Unit(arm))  # type: ignore[union-attr]

    def _measuring(self, arm_id: str) -> list[Unit]:
        return [
            Unit(cells[0].arm, task, cells) for task, cells in self._cells.get(arm_id, {}).items()
        ]

    @staticmethod
    def _waits(arm: PlannedArm, training: set[str]) -> bool:
        return arm.needs is not None and arm.needs.id in training

    def told(self, kind: str, number: int, unit: Unit, fields: dict[str, Any]) -> None:
        if kind == "finished" and unit.task is None:
            self.ready.extend(self._waiting.pop(unit.arm.id, []))
            self.ready.extendleft(reversed(self._measuring(unit.arm.id)))
        self._watch(Event(kind, number, unit, fields))

    def failed(self, unit: Unit, reason: str) -> None:
        """Note that cells failed; where an arm failed, that is all of its cells."""
        finished = self._store.finished_cells()
        from headwater.work import failed_rows

        cells = unit.cells or [
            cell for cells in self._cells.get(unit.arm.id, {}).values() for cell in cells
        ]
        for cell in cells:
            if cell.id not in finished:
                self._store.write_rows(cell.id, failed_rows(self._plan, cell, self._store, reason))
        if unit.task is None:
            for waiting in self._waiting.pop(unit.arm.id, []):
                why = (
                    f"its labels need {unit.title.removeprefix('train ')}, which failed: {reason}"[
                        :500
                    ]
                )
                self.failed(waiting, why)
                self._watch(Event("failed", NOBODY, waiting, {"reason": why}))
