"""A study against its data: which arms and cells there are, by content, and what only data can tell
to be wrong.

An arm's id hashes its resolved recipe, the images it is trained on (ids and bytes) and their
targets; a cell's id hashes the arm's id, the task's images, labels and splits, and the protocol.
Names are not in ids: two studies that mean the same arm share it.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater import fragments
from headwater.labels.captions import captions_name
from headwater.plan.arms import ArmPlanner
from headwater.plan.cells import CellPlanner, CellWords, check_shots
from headwater.plan.copies import notes_on_copies, own_copies_of
from headwater.plan.named import named
from headwater.plan.notes import (
    notes_on_losses,
    notes_on_sources,
    notes_on_supports,
    notes_on_the_probe,
)
from headwater.plan.overlaps import (
    check_overlaps,
    looks_for_copies,
    looks_within,
    tasks_of,
)
from headwater.plan.planned import PlannedArm, PlannedCell
from headwater.plan.resolved import Resolved, resolve_study, task_fingerprint
from headwater.plan.texts import notes_on_captions, notes_on_prompts
from headwater.plan.unreadable import refuse, told_faults
from headwater.sources import Source
from headwater.sources.looking import Looking
from headwater.store import Store
from headwater.study import Study, canonical
from headwater.tasks import Task

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, eq=False)
class Plan:
    """A resolved study. `Plan.make` reads tables, looks at images and hashes their bytes."""

    resolved: Resolved
    arms: tuple[PlannedArm, ...] = ()
    """The arms that are measured, in the study's order."""
    cells: tuple[PlannedCell, ...] = ()
    notes: tuple[str, ...] = ()
    """Things a person should know before the run: small leaks, a validation split cut from images
    that are trained on, batches larger than a source.
    """
    task_fingerprints: Mapping[str, str] = field(default_factory=dict)
    searched: frozenset[tuple[str, str]] = frozenset()
    """(source, task): where copies of test images are looked for, changed or not."""
    own_copies: Mapping[str, int] = field(default_factory=dict)
    """Task -> how many of its test images are copies of its own train or val images, byte for
    byte.
    """
    progress: Callable[[Plan], Mapping[str, str]] | None = None
    """What a notebook shows of a plan that knows its store: what is done, what the rest costs."""

    def __repr__(self) -> str:
        arms, cells = len(self.arms), len(self.cells)
        return f"Plan(study {self.study.study!r}: {arms} arms, {cells} cells)"

    def _repr_html_(self) -> str:
        held: dict[str, object] = {
            "arms": f"{len(self.arms):,}",
            "cells": f"{len({cell.id for cell in self.cells}):,}",
        }
        held |= {} if self.progress is None else self.progress(self)
        told = fragments.sentences([*self.faults, *(f"note: {note}" for note in self.notes)])
        parts = [fragments.facts(held), told]
        return fragments.box("Plan", self.study.study, parts, lead=self.study.question or "")

    @classmethod
    def make(
        cls,
        study: Study,
        *,
        data_root: Path | None = None,
        cache: Path | None = None,
        looking: Looking | None = None,
    ) -> Plan:
        """Resolve a study.

        `data_root` is where folders are looked for, `cache` where byte hashes and verdicts on
        images are remembered, `looking` how closely images are looked at: none that is not known
        is opened when it is left out, `A_FEW` opens up to a few thousand, `EVERYTHING` all.

        A source or a task that is broken (images that cannot be read, a split without an image)
        leaves the others to be planned; `faults` says why. Raises InputError, with the file and
        the line of what is wrong where the study came from a file, for words that are wrong and
        where faults leave nothing to compute.
        """
        with study.located():
            return _planned(resolve_study(study, data_root, cache, looking or Looking()))

    @classmethod
    def opened(
        cls, study: Study, *, data_root: Path | None = None, cache: Path | None = None
    ) -> Plan:
        """The study's sources and tasks without arms and cells: no byte of an image is hashed, no
        label view of a source is made.

        Raises InputError as `make` does, for what the tables alone can tell.
        """
        with study.located():
            return cls(resolve_study(study, data_root, cache))

    def of_arms(self, wanted: Collection[str]) -> Plan:
        """The part of it that measures arms of these ids."""
        arms = tuple(arm for arm in self.arms if arm.id in wanted)
        cells = tuple(cell for cell in self.cells if cell.arm.id in wanted)
        return replace(self, arms=arms, cells=cells)

    @property
    def study(self) -> Study:
        return self.resolved.study

    @property
    def data_root(self) -> Path | None:
        return self.resolved.data_root

    @property
    def faults(self) -> list[str]:
        """Why nothing is computed with some sources and tasks, a sentence each."""
        return told_faults(self.resolved.faults)

    @property
    def sources(self) -> Mapping[str, Source]:
        return self.resolved.sources

    @property
    def tasks(self) -> Mapping[str, Task]:
        return self.resolved.tasks

    @cached_property
    def supports(self) -> tuple[PlannedArm, ...]:
        """Arms that the study does not measure, but whose features some of its arms are labelled
        by; each once.
        """
        return _supports(self.arms)

    @cached_property
    def every_arm(self) -> tuple[PlannedArm, ...]:
        """The arms of the study and those that these need, each once, the needed first."""
        return tuple({arm.id: arm for arm in (*self.supports, *self.arms)}.values())

    @cached_property
    def cells_of(self) -> Mapping[str, list[PlannedCell]]:
        """By arm's id, its cells."""
        found: dict[str, list[PlannedCell]] = {}
        for cell in self.cells:
            found.setdefault(cell.arm.id, []).append(cell)
        return found

    def task_fingerprint(self, name: str) -> str:
        """Digest of a task's images, labels and splits."""
        return self.task_fingerprints[name]

    def looks_for_copies(self, source: str | None, task: str) -> bool:
        """Whether test images of a task are looked for among the images of a source, changed or
        not.
        """
        return (source, task) in self.searched

    def looks_within(self, task: str) -> bool:
        """Whether test images of a task are looked for among its own train and val images, changed
        or not.
        """
        return looks_within(self.resolved, self.tasks[task])

    def left_out(self, cell: PlannedCell) -> dict[str, Any]:
        """What a row says of the images that were left out of a cell's source and task."""
        seen = self.resolved.seen
        kinds = {
            "source": seen.source_kinds.get(cell.arm.words.source or "", {}),
            "task": seen.task_kinds.get(cell.words.task, {}),
        }
        reasons = {name: dict(counts) for name, counts in kinds.items() if counts}
        return {
            "source_left_out": sum(kinds["source"].values()) or None,
            "task_left_out": sum(kinds["task"].values()) or None,
            "left_out_reasons": canonical(reasons) if reasons else None,
        }

    def rows(self, store: Store, *, only: Collection[str] | None = None) -> pd.DataFrame:
        """The rows of this study's cells, finished and failed, under this study's names (an arm may
        be shared with another study's); the columns `only` and a few more, or all.
        """
        rows = store.rows_of((cell.id for cell in self.cells), only)
        return named(rows, self.cells, self.names)

    def names(self, cell: PlannedCell) -> dict[str, Any]:
        """What this study calls a cell: the fields of a row that are words, not content."""
        arm, labels = cell.arm, None
        if arm.view is not None:
            labels = arm.view.name
        elif arm.words.labels is not None:
            labels = captions_name(arm.words.labels)
        return {
            "study": self.study.study,
            "source": arm.words.source,
            "size": None if arm.words.size is None else str(arm.words.size),
            "curation": self.study.curation_of(arm.words),
            "labels": labels,
            "label_kind": arm.label_kind,
            "label_level": arm.label_level,
            "lr_factor": arm.words.lr_factor,
            "task": cell.words.task,
            "task_labels": self.tasks[cell.words.task].view,
        }


def _planned(resolved: Resolved) -> Plan:
    study = resolved.study
    cell_words = CellWords(study)
    check_shots(resolved, cell_words)
    planner = ArmPlanner(resolved)
    arms = tuple(planner.planned(words) for words in study.arms())
    notes = (
        *notes_on_sources(resolved),
        *resolved.seen.notes,
        *notes_on_losses(resolved, arms),
        *notes_on_the_probe(resolved),
        *notes_on_supports(_supports(arms)),
        *notes_on_captions(arms),
        *notes_on_prompts(resolved, arms),
        *check_overlaps(resolved, arms),
        *notes_on_copies(resolved, arms),
    )
    fingerprints = {name: task_fingerprint(task) for name, task in resolved.tasks.items()}
    searched = _searched(resolved, arms)
    copies = own_copies_of(resolved)
    copied = frozenset(name for name, number in copies.items() if number)
    cell_planner = CellPlanner(resolved, cell_words, fingerprints, searched, copied)
    cells: list[PlannedCell] = []
    for arm in arms:
        cells += cell_planner.planned(arm)
    if resolved.faults and not cells:
        raise refuse(resolved.faults)
    return Plan(resolved, arms, tuple(cells), notes, fingerprints, searched, copies)


def _searched(resolved: Resolved, arms: Sequence[PlannedArm]) -> frozenset[tuple[str, str]]:
    """(source, task): where copies of test images are looked for."""
    searched = set()
    one_arm_each = {arm.words.source: arm for arm in arms if arm.source is not None}
    for source, arm in one_arm_each.items():
        assert source is not None
        for task in tasks_of(resolved, arm):
            if looks_for_copies(resolved, source, task):
                searched.add((source, task.name))
    return frozenset(searched)


def _supports(arms: Sequence[PlannedArm]) -> tuple[PlannedArm, ...]:
    measured = {arm.id for arm in arms}
    needed: dict[str, PlannedArm] = {}
    for arm in arms:
        above = arm.needs
        while above is not None and above.id not in needed:
            needed[above.id] = above
            above = above.needs
    return tuple(arm for arm in reversed(needed.values()) if arm.id not in measured)
