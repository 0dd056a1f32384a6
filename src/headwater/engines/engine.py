"""An engine computes what a store lacks of a plan. Which one does changes no number."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable
from dataclasses import dataclass
from hashlib import blake2b
from typing import TYPE_CHECKING, Protocol

from headwater.engines.cores import default_workers
from headwater.engines.progress import followed
from headwater.engines.schedule import Event, Pending, is_labelled, pending
from headwater.plan import Plan
from headwater.registry import ENGINES
from headwater.store import Store, studies

if TYPE_CHECKING:
    from headwater.work.session import Session

DEFAULT = "local"


class Computes(Protocol):
    """Computes what is to do in a session, with `workers` processes where it has any.

    A unit that fails becomes rows of status failed. `watch` hears of every event.
    """

    def __call__(
        self,
        session: Session,
        todo: Pending,
        *,
        workers: int | None,
        watch: Callable[[Event], None],
    ) -> None: ...


@dataclass(frozen=True)
class Engine:
    """An entry of the socket of engines (headwater.registry)."""

    name: str
    title: str
    """What it is, in a few words, for help texts."""
    run: Computes
    order: float
    version: int = 1
    """Enters no identity: engines change no number."""
    alone: bool = False
    """Whether it works off one unit after another, whatever the number of workers."""


def run(
    plan: Plan,
    store: Store,
    *,
    engine: str = DEFAULT,
    device: str = "auto",
    workers: int | None = None,
    checkpoint_every_s: float = 20.0,
    compiled: bool = False,
    declared: bool = False,
    watch: Callable[[Event], None] = lambda event: None,
) -> None:
    """Compute what the store lacks of a plan, together with all other runs and workers.

    Failures become rows of status failed; see `Store.failed_cells`. Rows that are damaged are
    measured again, and told. Raises InputError for bad
    input.

    An arm in training writes a checkpoint every `checkpoint_every_s` seconds; how often does not
    change its weights. `compiled`: through torch.compile. `declared`: workers that are told of no
    study (`headwater worker`) join, or go on where this run ends before all is done.
    """
    chosen: Engine = ENGINES.named(engine, where="engine")
    store.sweep()
    store.set_aside_damaged(cell.id for cell in plan.cells)
    todo = pending(plan, store)
    if not todo.cells:
        return
    _check_arms(todo, store)
    from headwater import device as device_room
    from headwater.work.session import Session

    compute = device_room.resolve(device, plan.study.precision)
    compute = dataclasses.replace(compute, compiled=compiled)
    session = Session(plan, store, compute, checkpoint_every_s)
    count = 1 if chosen.alone else workers or default_workers(compute.device.type)
    count = min(count, len(todo.cells))
    words = plan.resolved.asked.words()
    said = studies.put(store.root, plan.study.study, words, plan.data_root) if declared else None
    try:
        with followed(plan, store, todo, compute, count, watch) as heard:
            _prepare(session)
            chosen.run(session, todo, workers=workers, watch=heard)
        if said is not None and not pending(plan, store).cells:
            studies.ended(said)
    finally:
        store.give_back()


def _check_arms(todo: Pending, store: Store) -> None:
    """Raises InputError for a damaged arm that is needed: better heard of now than after hours."""
    needed = {cell.arm.id for cell in todo.cells}
    for arm in todo.arms:
        if arm.needs is not None and not is_labelled(arm, store):
            needed.add(arm.needs.id)
    for arm_id in needed - {arm.id for arm in todo.arms}:
        store.read_arm(arm_id)


def _prepare(session: Session) -> None:
    """What is wrong is said, and images are decoded, before any unit begins."""
    from headwater import models, work
    from headwater.methods import check_encoder

    plan, store = session.plan, session.store
    work.check_environment(store)
    study = plan.study
    with study.located():  # says what is wrong before anything is decoded
        encoder = models.build_encoder(
            study.backbone, study.image_size, seed=0, patch_size=study.patch_size
        )
        recipes = {arm.words.method: arm.recipe for arm in (*plan.supports, *plan.arms)}
        check_encoder(encoder, study.image_size, recipes)
    read = [arm.source for arm in plan.arms] + [task.source for task in plan.tasks.values()]
    for data, source in plan.sources.items():
        # a source of scratch arms alone is named, but never read
        if any(source is one for one in read):
            with store.leases.alone(f"pixels-{blake2b(data.encode(), digest_size=8).hexdigest()}"):
                session.pixels(data)
