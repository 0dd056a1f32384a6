"""An engine of another package: in this process, and the last unit that is ready comes first."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from headwater.engines.cores import limited, threads_of
from headwater.engines.engine import Engine
from headwater.engines.schedule import Event, Pending, Schedule

if TYPE_CHECKING:
    from headwater.work.session import Session


def run(
    session: Session, todo: Pending, *, workers: int | None, watch: Callable[[Event], None]
) -> None:
    """Compute what is to do; a unit that fails ends the run."""
    from headwater import device
    from headwater.engines.unit import compute_unit

    schedule = Schedule(todo)
    device.be_deterministic()
    with limited(threads_of(session.compute, 1)):
        while schedule.ready:
            unit = schedule.ready.pop()

            def say(kind: str, **fields: Any) -> None:
                watch(Event(kind, 0, unit, fields))  # noqa: B023 (called while it is this unit's)

            say("started")
            compute_unit(session, unit, say)
            schedule.finished(unit)
            say("finished")
    (session.store.root / "logs").mkdir(exist_ok=True)
    (session.store.root / "logs" / "backwards.txt").write_text("every unit, the last one first\n")


ENTRY = Engine("backwards", title="this process, the last unit first", run=run, order=90)
