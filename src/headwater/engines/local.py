"""The local engine: one single-thread worker process per core (or one worker on a GPU), arms in
parallel.

Two threads of torch beside a busy neighbour ran at 84 images/s where one ran at 5,191
(docs/log.md), so parallelism is across arms.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headwater.engines.claims import Claims
from headwater.engines.cores import default_workers, devices_of, threads_of
from headwater.engines.engine import Engine
from headwater.engines.pool import Pool
from headwater.engines.schedule import NOBODY, Event, Failure, Pending, Schedule, Unit

if TYPE_CHECKING:
    from headwater.work.session import Session

COMMAND = (sys.executable, "-P", "-m", "headwater.engines.worker")
"""What a worker process is started as."""


def run(
    session: Session, todo: Pending, *, workers: int | None, watch: Callable[[Event], None]
) -> None:
    """Compute what is to do with so many worker processes. Units that fail become rows."""
    plan, compute = session.plan, session.compute
    count = min(workers or default_workers(compute.device.type), len(todo.cells))
    setting = {
        "study": plan.resolved.asked.words(),
        "store": session.store.address,
        "data_root": str(plan.data_root) if plan.data_root else None,
        "devices": devices_of(compute.device, count),
        "checkpoint_every_s": session.checkpoint_every_s,
        "compiled": compute.compiled,
        "ranks": session.ranks,
        "threads": threads_of(compute, count),
    }
    _Workers(session, Schedule(todo), setting, watch).go(count)


class _Workers(Pool[Unit]):
    def __init__(
        self,
        session: Session,
        schedule: Schedule,
        setting: dict[str, Any],
        watch: Callable[[Event], None],
    ) -> None:
        super().__init__(COMMAND, setting, session.store.root / "logs", schedule.ready)
        self._session, self._schedule, self._watch = session, schedule, watch
        self._claims = Claims(
            schedule, session.store, session.store.leases, watch, self._keep, session.idle_s
        )

    def _keep(self, failure: Failure) -> None:
        from headwater import work

        work.write_failure(self._session, failure.cells, failure.reason)

    def take(self) -> Unit | None:
        return self._claims.take()

    def waits(self) -> bool:
        return self._claims.waits()

    def on_event(self, kind: str, number: int, unit: Unit, fields: dict[str, Any]) -> None:
        if kind == "finished":
            self._schedule.finished(unit)
            self._claims.give_back(unit)
        self._watch(Event(kind, number, unit, fields))

    def again(self, unit: Unit, reason: str, *, may_pass: bool) -> bool:
        return self._claims.later(unit, reason) if may_pass else self._claims.parted(unit, reason)

    def failed(self, unit: Unit, reason: str) -> None:
        """Note that cells failed, and the units that waited for this one."""
        for failure in self._schedule.failed(unit, reason):
            self._keep(failure)
            if failure.unit is not unit:
                self._watch(Event("failed", NOBODY, failure.unit, {"reason": failure.reason}))
        self._claims.give_back(unit)


ENTRY = Engine("local", title="worker processes, one per core or GPU", run=run, order=0)
