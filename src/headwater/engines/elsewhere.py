"""Workers that an engine starts elsewhere, in a batch system or a cluster: each is a `headwater
worker` on the same store. The run that asked for them follows the store until all is done.

What is computed comes back through the store alone, so a run may end, or be killed, and another
one goes on with what its workers did.
"""

from __future__ import annotations

import math
import re
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from headwater.engines.claims import lease_of
from headwater.engines.schedule import NOBODY, Event, Pending, Schedule, Unit
from headwater.errors import InputError
from headwater.plan import Plan
from headwater.store import Store
from headwater.store.leases import LAPSE_S

LOOK_EVERY_S = 1.0
"""Seconds between two looks at the store, or more where a look takes long [ours]."""
_SHARE = 0.05
"""Of the time, what looking may take [ours]."""
_LEASES_EVERY_S = 10.0
MOST_BARREN = 3
"""So often in a row workers are started anew that end without anything done [ours]."""
IDLE_S = 60.0
"""A worker that found nothing to take for so long leaves, as others have all that is left [ours]:
what it holds is paid for.
"""


@dataclass(frozen=True)
class Asked:
    """What a run asks of an engine."""

    plan: Plan
    store: Store
    todo: Pending
    study: Path | None
    """The file in the store that says that the study is under way (headwater.store.studies);
    always there for an engine that computes elsewhere.
    """
    workers: int | None
    """None: as many as the engine takes for right."""
    device: str
    """As the user said it: this machine may have no GPU where the workers have."""
    checkpoint_every_s: float
    compiled: bool
    where: str | None
    """What stands after the colon of `--engine NAME:WHERE`."""
    options: Mapping[str, str]
    """`--engine-option NAME=VALUE`, of the names that the engine has."""
    idle_s: float = math.inf
    """What others have is left to them after so long with nothing to take."""
    ranks: int = 1
    """Processes of one machine that train an arm together, a GPU each."""

    def worker(self, engine_id: str) -> tuple[str, ...]:
        """The words of a worker's command, after `python -P -m headwater`."""
        assert self.study is not None
        words = ["worker", self.store.address, "--study", self.study.name]
        if self.plan.data_root is not None:
            words += ["--data-root", str(Path(self.plan.data_root).resolve())]
        words += ["--device", self.device, "--engine-id", engine_id, "--idle", f"{IDLE_S:g}"]
        words += ["--checkpoint-every", f"{self.checkpoint_every_s:g}", "--quiet"]
        if self.ranks > 1:
            words += ["--ranks", str(self.ranks)]
        return (*words, "--compile") if self.compiled else tuple(words)


class Placed(Protocol):
    """Workers of one run, elsewhere."""

    def alive(self) -> int:
        """How many run, or wait for their turn. Asked about once a second."""
        ...

    def start(self, count: int) -> None:
        """So many more. Raises InputError where they are refused."""
        ...

    def last_words(self) -> str:
        """What those that ended said last, or where it is written."""
        ...

    def close(self, *, stop: bool) -> None:
        """Lets go of them. `stop`: asks them to stop first, with what was done kept."""
        ...


def follow(asked: Asked, placed: Placed, count: int, watch: Callable[[Event], None]) -> None:
    """Start workers, `count` at most, and tell `watch` of what they did until nothing is left;
    those that are lost are replaced while there is work for them.

    Raises InputError where they end again and again with nothing done.
    """
    followed = Followed(asked.plan, asked.store, asked.todo, watch)
    stop, barren, looked, trained = True, 0, -_LEASES_EVERY_S, 0
    try:
        while followed.left:
            alive = placed.alive()  # first, so that what they did before they ended is seen
            began = time.monotonic()
            if followed.look():
                barren = 0
            took = time.monotonic() - began
            if followed.left and (not alive or began - looked >= _LEASES_EVERY_S):
                looked = began
                missing = min(count - alive, len(list(followed.free())))
                if missing > 0:
                    if not alive:
                        before, trained = trained, followed.trained()
                        barren = 1 if trained > before else barren + 1
                    if barren > MOST_BARREN:
                        raise InputError(
                            f"workers ended {MOST_BARREN} times with nothing done, and "
                            f"{followed.left} cells are left: {placed.last_words()}"
                        )
                    placed.start(missing)
            if followed.left:
                time.sleep(max(LOOK_EVERY_S, took / _SHARE))
        stop = False
    finally:
        placed.close(stop=stop)


class Followed:
    """What is left of a plan, as the store says."""

    def __init__(
        self, plan: Plan, store: Store, todo: Pending, watch: Callable[[Event], None]
    ) -> None:
        self._store, self._watch = store, watch
        self._schedule = Schedule(todo)
        self._began = store.failures()
        self._open: dict[Unit, set[str]] = {}
        """The cells of units that can be begun, or are under way, that are not settled."""
        self._settled = set[str]()
        self._all = {cell.id for cell in todo.cells}
        self._arms = todo.arms
        self._take_up()

    @property
    def left(self) -> int:
        """Cells that are neither done nor failed."""
        return len(self._all) - len(self._settled)

    def free(self) -> Iterator[Unit]:
        """Units that can be begun and that nobody has."""
        for unit in self._open:
            held = self._store.leases.held(lease_of(unit))
            if held is None or held.lapsed(LAPSE_S):
                yield unit

    def trained(self) -> int:
        """Steps that checkpoints of arms in training have, and those of arms that are done: what
        workers did that were ended before anything was settled.
        """
        steps = 0
        for arm in self._arms:
            if self._store.has_arm(arm.id):
                steps += arm.steps
                continue
            newest = re.search(r"step-(\d+)", self._store.progress_of(arm.id))
            steps += 0 if newest is None else int(newest[1])
        return steps

    def look(self) -> bool:
        """Tells of what was settled since the last look; whether anything was."""
        done, before = self._store.finished_cells() & self._all, self.left
        failed = {
            cell
            for cell, state in self._store.failures().items()
            if cell in self._all and cell not in done and state != self._began.get(cell)
        }
        looked = set[Unit]()
        while self._open.keys() - looked:  # what an arm frees may be done as well
            looked |= self._open.keys()
            for unit in list(self._open):
                self._look_at(unit, done, failed)
            self._take_up()
        return self.left < before

    def _look_at(self, unit: Unit, done: set[str], failed: set[str]) -> None:
        if unit.task is None:
            if self._store.has_arm(unit.arm.id):
                del self._open[unit]
                self._schedule.finished(unit)
                self._watch(Event("finished", NOBODY, unit, {}))
            elif self._open[unit] <= failed:
                self._fail(unit, failed)
            return
        for cell in sorted(self._open[unit] & done):
            self._open[unit].discard(cell)
            self._settled.add(cell)
            self._watch(Event("cell", NOBODY, unit, {"cell": cell}))
        if not self._open[unit]:
            del self._open[unit]
            self._watch(Event("finished", NOBODY, unit, {}))
        elif self._open[unit] <= failed:
            self._fail(unit, failed)

    def _fail(self, unit: Unit, failed: set[str]) -> None:
        reason = self._store.reason_of_failure(min(self._open.pop(unit)))
        for failure in self._schedule.failed(unit, reason):
            self._settled |= {cell.id for cell in failure.cells}
            self._watch(Event("failed", NOBODY, failure.unit, {"reason": failure.reason}))

    def _take_up(self) -> None:
        while self._schedule.ready:
            unit = self._schedule.ready.popleft()
            cells = unit.cells or self._schedule.cells_of(unit.arm.id)
            self._open[unit] = {cell.id for cell in cells}
