"""Cells: what each measures, and its id.

What is measured of an arm is the same for many, so it is worked out once: a million cells are a
million ids of 64 bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any

from headwater import recipes
from headwater.errors import blamed_on
from headwater.plan.memo import Memo
from headwater.plan.overlaps import looks_within, looks_within_unasked
from headwater.plan.planned import PlannedArm, PlannedCell
from headwater.plan.resolved import Resolved
from headwater.registry import PROTOCOLS
from headwater.sources.pixels import RECIPE as PIXELS
from headwater.study import Arm, Cell, Study, canonical

_ARM = "the arm's id"
"""Stands for it in the text that is hashed."""


class CellWords:
    """The cells of a study's arms in words; arms of which the same is measured share them."""

    def __init__(self, study: Study) -> None:
        self._study = study
        self._of_kind: Memo[tuple[Cell, ...]] = Memo()
        self._of_measured: Memo[tuple[Cell, ...]] = Memo()

    def of(self, arm: Arm) -> tuple[Cell, ...]:
        """What is measured of an arm: the same object for all arms of which the same is."""
        return self._of_kind.get((arm.method, arm.source), lambda: self._shared(arm))

    def distinct(self, arms: Iterable[Arm]) -> list[Cell]:
        """Every cell of some arms, each once."""
        shared = {id(cells): cells for cells in map(self.of, arms)}
        found: dict[Cell, None] = {}
        for cells in shared.values():
            found |= dict.fromkeys(cells)
        return list(found)

    def _shared(self, arm: Arm) -> tuple[Cell, ...]:
        measured = tuple((protocol, task) for protocol, _, task in self._study.measured(arm))
        return self._of_measured.get(measured, lambda: tuple(self._study.cells(arm)))


@dataclass(frozen=True)
class _Hashed:
    """A cell in words, and the text whose digest is its id, but for the arm's id within it."""

    words: Cell
    before: bytes
    after: bytes


@dataclass(frozen=True)
class CellPlanner:
    """Plans the cells of a study."""

    resolved: Resolved
    words: CellWords
    task_fingerprints: dict[str, str]
    searched: frozenset[tuple[str, str]]
    """(source, task): where copies of test images are looked for."""
    copied: frozenset[str]
    """Tasks with test images whose bytes are among their own train or val images."""
    _hashed: Memo[list[_Hashed]] = field(default_factory=Memo, repr=False)

    def planned(self, arm: PlannedArm) -> list[PlannedCell]:
        """The cells of an arm. The id of each is the digest of all that its number depends on."""
        arm_id, sha256 = arm.id.encode(), hashlib.sha256
        return [
            PlannedCell(sha256(each.before + arm_id + each.after).hexdigest()[:16], each.words, arm)
            for each in self._texts(arm.words)
        ]

    def _texts(self, arm: Arm) -> list[_Hashed]:
        """What is hashed of an arm's cells: the same for arms of which the same is measured and
        the same copies are looked for.
        """
        cells, source = self.words.of(arm), arm.source
        looked = tuple(name for name in self.resolved.tasks if (source, name) in self.searched)
        return self._hashed.get(
            (id(cells), looked), lambda: [self._text(words, looked) for words in cells]
        )

    def _text(self, words: Cell, looked: tuple[str, ...]) -> _Hashed:
        before, _, after = canonical(self._meaning(words, looked)).partition(_ARM)
        return _Hashed(words, before.encode(), after.encode())

    def _meaning(self, words: Cell, looked: tuple[str, ...]) -> dict[str, Any]:
        """All that a cell's number depends on (`study.identity` of this is its id), with a word in
        the arm's place.
        """
        study, task = self.resolved.study, self.resolved.tasks[words.task]
        protocol, said = PROTOCOLS[words.protocol], study.protocols.asked(words.protocol)
        rooms = protocol.rooms_of(said)
        if words.task in looked:
            rooms = (*rooms, "leaks")
        versions = recipes.versions_of(rooms, pixels=PIXELS) | protocol.versions_of(said)
        meaning = {
            "arm": _ARM,
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
        return meaning


def check_shots(resolved: Resolved, words: CellWords) -> None:
    """Raises InputError where a task has fewer images of a class than shots are asked for."""
    study = resolved.study
    one_arm_each = {arm.source: arm for arm in study.arms()}
    for cell in words.distinct(one_arm_each.values()):
        if cell.shots is None:
            continue
        place = study.protocols.asked(cell.protocol).place_of(cell.shots)
        with blamed_on("protocols", cell.protocol, *place):
            resolved.tasks[cell.task].check_shots(cell.shots, cap=study.tasks[cell.task].cap)
