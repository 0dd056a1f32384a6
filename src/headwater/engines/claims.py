"""Units of a schedule that other processes, of this machine or of others, may take as well."""

from __future__ import annotations

import hashlib
import math
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from headwater.engines.schedule import NOBODY, Event, Failure, Schedule, Unit
from headwater.plan import PlannedCell
from headwater.store import Leases, Store

LOOK_EVERY_S = 1.0
"""Seconds after which what others have is looked at again [ours]."""
TRIES, WAIT_S = 4, 2.0
"""A unit whose failure may pass is tried so often, so long after the first failure, and four times
as long after each other one [ours].
"""
MOST_LOST = 4
"""So many workers that had a unit are lost without anything done of it before it has failed [ours].
"""


def lease_of(unit: Unit) -> str:
    """The name of a unit's lease: that of its arm, and of the task on which it is measured."""
    if unit.task is None:
        return unit.arm.id
    return f"{unit.arm.id}-{hashlib.blake2b(unit.task.encode(), digest_size=8).hexdigest()}"


class Claims:
    """Takes units of a schedule by their leases.

    What others finish meanwhile is finished here too, and what they fail has failed: `watch` hears
    of both as events of nobody.
    """

    def __init__(
        self,
        schedule: Schedule,
        store: Store,
        leases: Leases,
        watch: Callable[[Event], None],
        fail: Callable[[Failure], None],
        idle_s: float = math.inf,
    ) -> None:
        """`fail` keeps in the store that units failed. After `idle_s` seconds with nothing to take,
        what others have is left to them.
        """
        self._schedule, self._store, self._leases, self._watch = schedule, store, leases, watch
        self._began = store.failures()
        self._elsewhere: deque[Unit] = deque()
        self._looked = self._had = time.monotonic()
        self._idle_s, self._fail = idle_s, fail
        self._later: list[tuple[float, Unit]] = []
        """Units that are taken up again, and when."""
        self._tries: dict[str, int] = {}

    def waits(self) -> bool:
        """Whether units that are not done will be there later: those that wait for another try, and
        those that others have, where there was something to take not long ago.
        """
        now = time.monotonic()
        return bool(self._later) or (bool(self._elsewhere) and now - self._had < self._idle_s)

    def take(self) -> Unit | None:
        """The next unit, which is ours until `give_back`; None where nothing is ready, or others
        have all that is.
        """
        ready, now = self._schedule.ready, time.monotonic()
        if self._elsewhere and now - self._looked > LOOK_EVERY_S:
            ready.extend(self._elsewhere)
            self._elsewhere.clear()
            self._looked = now
        for waiting in [each for each in self._later if each[0] <= now]:
            self._later.remove(waiting)
            ready.appendleft(waiting[1])
        while ready:
            left = self._left(ready.popleft())
            if left is None:
                continue
            if not self._leases.claim(lease_of(left), self._mark(left)):
                self._elsewhere.append(left)
                continue
            unit = self._left(left)  # of what was done between the look and the lease
            if unit is not None and not self._is_poison(unit):
                self._had = math.inf
                return self._carefully(unit)
            self.give_back(left)
        return None

    def give_back(self, unit: Unit) -> None:
        """To be called when a unit is done, has failed, or is given up."""
        self._had = time.monotonic()
        self._leases.release(lease_of(unit))

    def later(self, unit: Unit, reason: str) -> bool:
        """Takes a unit up again after a while, whose failure may pass; whether it was tried less
        than `TRIES` times. The reason is kept in the store.
        """
        tries = self._tries[lease_of(unit)] = self._tries.get(lease_of(unit), 0) + 1
        if tries >= TRIES:
            return False
        wait = WAIT_S * 4 ** (tries - 1)
        self._store.note_try(lease_of(unit), unit.title, reason)
        self._later.append((time.monotonic() + wait, unit))
        self.give_back(unit)
        return True

    def parted(self, unit: Unit, reason: str) -> bool:
        """Takes up the cells of a unit one by one, as one of them may be what kills its worker;
        whether there are several.
        """
        left = [cell for cell in unit.cells if not self._store.has_cell(cell.id)]
        if len(left) < 2:
            return False
        self._store.note_try(lease_of(unit), unit.title, reason)
        self._schedule.ready.extendleft(replace(unit, cells=(cell,)) for cell in reversed(left))
        return True

    def _mark(self, unit: Unit) -> str:
        """How far a unit is: where it has got further, those who were lost did something."""
        if unit.task is None:
            return self._store.progress_of(unit.arm.id)
        return str(len(unit.cells))

    def _is_poison(self, unit: Unit) -> bool:
        """Whether a unit was lost so often that it is failed in place of being taken."""
        lost = self._leases.lost(lease_of(unit))
        if lost < MOST_LOST:
            return False
        reason = (
            f"{lost} workers that had it were lost, one after another, and nothing of it was done; "
            f"see the logs in {self._store.root / 'logs'}"
        )
        for failure in self._schedule.failed(unit, reason):
            self._fail(failure)
            self._watch(Event("failed", NOBODY, failure.unit, {"reason": failure.reason}))
        return True

    def _carefully(self, unit: Unit) -> Unit:
        """Of a unit that was lost more than once the next cell alone; the others come after it."""
        if self._leases.lost(lease_of(unit)) < 2 or len(unit.cells) < 2:
            return unit
        turn = self._leases.lost(lease_of(unit)) % len(unit.cells)
        cells = (*unit.cells[turn:], *unit.cells[:turn])
        self._schedule.ready.extendleft(replace(unit, cells=(cell,)) for cell in cells[:0:-1])
        return replace(unit, cells=cells[:1])

    def _left(self, unit: Unit) -> Unit | None:
        """What is left of a unit, and None of one that others have done, or failed at."""
        if unit.task is None:
            left: Sequence[PlannedCell] = self._schedule.cells_of(unit.arm.id)
            is_done = self._store.has_arm(unit.arm.id)
        else:
            left = [cell for cell in unit.cells if not self._store.has_cell(cell.id)]
            is_done = not left
            missing = {cell.id for cell in left}
            for cell in unit.cells:
                if cell.id not in missing:
                    self._watch(Event("cell", NOBODY, unit, {"cell": cell.id}))
        if is_done:
            self._schedule.finished(unit)
            self._watch(Event("finished", NOBODY, unit, {}))
            return None
        reason = self._failed_since(left)
        if reason is not None:
            for failure in self._schedule.failed(unit, reason):
                self._watch(Event("failed", NOBODY, failure.unit, {"reason": failure.reason}))
            return None
        whole = unit.task is None or len(left) == len(unit.cells)
        return unit if whole else replace(unit, cells=tuple(left))

    def _failed_since(self, cells: Sequence[PlannedCell]) -> str | None:
        """Why cells failed that another process tried since this one began; None unless all of
        them did.
        """
        reason = None
        for cell in cells:
            state = self._store.failure(cell.id)
            if state is None or state == self._began.get(cell.id):
                return None
            reason = reason or self._store.reason_of_failure(cell.id)
        return reason
