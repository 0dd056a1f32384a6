"""The inline engine: every unit in this process, one after another. For tests, notebooks and
debuggers.

A unit has as many threads as a worker process has where their number is left open, so its bits are
those of the local engine.
"""

from __future__ import annotations

import os
import time
import traceback
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from headwater.engines.claims import LOOK_EVERY_S, Claims
from headwater.engines.cores import limited, threads_of
from headwater.engines.engine import Engine
from headwater.engines.schedule import NOBODY, Event, Failure, Pending, Schedule, Unit
from headwater.errors import InputError, may_pass

if TYPE_CHECKING:
    from headwater.work.session import Session

_HERE = 0
"""This process is the only worker."""


def run(
    session: Session, todo: Pending, *, workers: int | None, watch: Callable[[Event], None]
) -> None:
    """Compute what is to do; `workers` means nothing here. Units that fail become rows."""
    from headwater import device, work

    schedule = Schedule(todo)

    def keep(failure: Failure) -> None:
        work.write_failure(session, failure.cells, failure.reason)

    store = session.store
    claims = Claims(schedule, store, store.leases, watch, keep, session.idle_s)
    with device.deterministic(), limited(threads_of(session.compute, 1)):
        while schedule.ready or claims.waits():
            unit = claims.take()
            if unit is not None:
                _compute(session, schedule, claims, unit, watch)
                claims.give_back(unit)
            elif claims.waits():
                time.sleep(LOOK_EVERY_S)


def _compute(
    session: Session,
    schedule: Schedule,
    claims: Claims,
    unit: Unit,
    watch: Callable[[Event], None],
) -> None:
    from headwater import work
    from headwater.engines.unit import compute_unit, reason_of

    def say(kind: str, **fields: Any) -> None:
        watch(Event(kind, _HERE, unit, fields))

    say("started")
    try:
        compute_unit(session, unit, say)
    except Exception as error:
        if not isinstance(error, InputError):
            _log(session, unit)
        if may_pass(error) and claims.later(unit, reason_of(error)):
            say("retried", reason=reason_of(error))
            return
        for failure in schedule.failed(unit, reason_of(error)):
            work.write_failure(session, failure.cells, failure.reason)
            worker = _HERE if failure.unit is unit else NOBODY
            watch(Event("failed", worker, failure.unit, {"reason": failure.reason}))
    else:
        schedule.finished(unit)
        say("finished")


def _log(session: Session, unit: Unit) -> None:
    """Keep the traceback of what is being handled, as a worker's log does. A disk that takes no
    log may take the rows that say why the unit failed.
    """
    logs, text = session.store.root / "logs", f"{unit.title}\n{traceback.format_exc()}\n"
    with suppress(OSError):
        logs.mkdir(parents=True, exist_ok=True)
        with (logs / f"inline-{os.getpid()}.log").open("a") as log:
            log.write(text)


ENTRY = Engine("inline", title="this process alone, for debuggers", run=run, order=1, alone=True)
