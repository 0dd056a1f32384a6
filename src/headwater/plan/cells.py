"""Cells: what each measures, and its id."""

from __future__ import annotations

from dataclasses import dataclass

from headwater import recipes
from headwater.errors import blamed_on
from headwater.plan.overlaps import looks_within, looks_within_unasked
from headwater.plan.planned import PlannedArm, PlannedCell
from headwater.plan.resolved import Resolved
from headwater.registry import PROTOCOLS
from headwater.sources.pixels import RECIPE as PIXELS
from headwater.study import Cell, identity


@dataclass(frozen=True)
class CellPlanner:
    """Plans the cells of a study."""

    resolved: Resolved
    task_fingerprints: dict[str, str]
    searched: frozenset[tuple[str, str]]
    """(source, task): where copies of test images are looked for."""
    copied: frozenset[str]
    """Tasks with test images whose bytes are among their own train or val images."""

    def planned(self, arm: PlannedArm, words: Cell) -> PlannedCell:
        """A cell of an arm. Its id is the digest of all that its number depends on."""
        study, task = self.resolved.study, self.resolved.tasks[words.task]
        protocol, said = PROTOCOLS[words.protocol], study.protocols.asked(words.protocol)
        rooms = protocol.rooms_of(said)
        if (arm.words.source, words.task) in self.searched:
            rooms = (*rooms, "leaks")
        versions = recipes.versions_of(rooms, pixels=PIXELS) | protocol.versions_of(said)
        meaning = {
            "arm": arm.id,
            "task": self.task_fingerprints[words.task],
            "cap": study.tasks[words.task].cap or None,
            "protocol": protocol.meaning(said, study.protocols, task),
            "shots": words.shots,
            "draw": words.draw,
            "precision": study.precision,
            "rooms": versions,
        }
        if words.task in self.copied:
            meaning["own_copies"] = 1  # scores without them, too
        within = looks_within(self.resolved, task)
        if within != looks_within_unasked(task):
            meaning["changed_copies_inside"] = within
        return PlannedCell(identity(meaning), words, arm)


def check_shots(resolved: Resolved) -> None:
    """Raises InputError where a task has fewer images of a class than shots are asked for."""
    study = resolved.study
    one_arm_each = {arm.source: arm for arm in study.arms()}
    cells: dict[Cell, None] = {}
    for arm in one_arm_each.values():
        cells |= dict.fromkeys(study.cells(arm))
    for cell in cells:
        if cell.shots is None:
            continue
        place = study.protocols.asked(cell.protocol).place_of(cell.shots)
        with blamed_on("protocols", cell.protocol, *place):
            resolved.tasks[cell.task].check_shots(cell.shots, cap=study.tasks[cell.task].cap)
