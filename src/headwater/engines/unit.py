"""One unit of work, done where this is called."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from headwater import plain, work
from headwater.engines.schedule import REASON_LIMIT, Unit
from headwater.work.session import Session

if TYPE_CHECKING:
    from headwater.pretrain import Progress


def compute_unit(session: Session, unit: Unit, say: Callable[..., None]) -> None:
    """Train an arm, or measure the cells of one arm on one task.

    `say(kind, **fields)` hears of progress and of cells that are finished. Whatever is raised means
    that the unit failed.
    """

    def progress(now: Progress) -> None:
        session.store.check()
        say("progress", **vars(now))

    def cell_finished(cell: str) -> None:
        say("cell", cell=cell)

    if unit.task is None:
        if session.ranks > 1 and unit.arm.recipe is not None:
            from headwater.engines import together

            together.train(session, unit.arm, progress)
        else:
            _wait_for_memory(session, unit)
            work.run_arm(session, unit.arm, progress)
    else:
        work.run_cells(session, unit.arm, unit.task, unit.cells, cell_finished)


def _wait_for_memory(session: Session, unit: Unit) -> None:
    """Where an arm is trained on a GPU that others use too, it begins when there is room."""
    compute = session.compute
    if compute.device.type != "cuda" or session.store.has_arm(unit.arm.id):
        return
    from headwater.cost.memory import training_bytes, wait_for_memory

    needed = training_bytes(session.plan, unit.arm, compute)
    wait_for_memory(compute.device, needed, unit.title, stopped=session.stop.is_set)


def reason_of(error: BaseException) -> str:
    """Why a unit failed, in one line, for a row."""
    return f"{type(error).__name__}: {plain.line(error)[:REASON_LIMIT]}"
