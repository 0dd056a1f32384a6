"""Units of a schedule that other processes, of this machine or of others, may take as well."""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import replace

from headwater.engines.schedule import NOBODY, Event, Schedule, Unit
from headwater.plan import PlannedCell
from headwater.store import Leases, Store

LOOK_EVERY_S = 1.0
"""Seconds after which what others have is looked at again [ours]."""


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
        self, schedule: Schedule, store: Store, leases: Leases, watch: Callable[[Event], None]
    ) -> None:
        self._schedule, self._store, self._leases, self._watch = schedule, store, leases, watch
        self._began = store.failures()
        self._elsewhere: deque[Unit] = deque()
        self._looked = time.monotonic()

    def waits(self) -> bool:
        """Whether others have units that are not done."""
        return bool(self._elsewhere)

    def take(self) -> Unit | None:
        """The next unit, which is ours until `give_back`; None where nothing is ready, or others
        have all that is.
        """
        ready = self._schedule.ready
        if self._elsewhere and time.monotonic() - self._looked > LOOK_EVERY_S:
            ready.extend(self._elsewhere)
            self._elsewhere.clear()
            self._looked = time.monotonic()
        while ready:
            left = self._left(ready.popleft())
            if left is None:
                continue
            if not self._leases.claim(lease_of(left)):
                self._elsewhere.append(left)
                continue
            unit = self._left(left)  # of what was done between the look and the lease
            if unit is not None:
                return unit
            self.give_back(left)
        return None

    def give_back(self, unit: Unit) -> None:
        """To be called when a unit is done, has failed, or is given up."""
        self._leases.release(lease_of(unit))

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
