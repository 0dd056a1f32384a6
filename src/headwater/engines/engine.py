"""An engine computes what a store lacks of a plan. Which one does changes no number."""

from __future__ import annotations

import dataclasses
import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import TYPE_CHECKING, Any, Protocol

from headwater.engines.cores import default_workers
from headwater.engines.elsewhere import Asked, Placed, follow
from headwater.engines.progress import followed
from headwater.engines.schedule import Event, Pending, is_labelled, pending
from headwater.errors import InputError
from headwater.machine import uncollected
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


class Places(Protocol):
    """Makes ready to start workers elsewhere; none is started yet.

    Raises InputError where the batch system or the cluster is not there, or an option is wrong.
    """

    def __call__(self, asked: Asked) -> Placed: ...


@dataclass(frozen=True)
class Engine:
    """An entry of the socket of engines (headwater.registry): it has `run`, or `place`."""

    name: str
    title: str
    """What it is, in a few words, for help texts."""
    order: float
    run: Computes | None = None
    """Computes from this process on."""
    place: Places | None = None
    """Starts workers elsewhere (headwater.engines.elsewhere)."""
    count: Callable[[Asked], int] | None = None
    """How many workers it takes for right where the user does not say, of an engine with `place`;
    as many as there are arms, 8 at most, where left out.
    """
    where: str | None = None
    """What may stand after a colon (`ray:ADDRESS`); None where nothing may."""
    options: Mapping[str, str] = field(default_factory=dict)
    """Names of options, and what each means (`--engine-option NAME=VALUE`)."""
    queue: Callable[[Store], list[dict[str, Any]]] | None = None
    """What its workers of a store are now, for `headwater status`: a dict each, of `worker`,
    `state` and what else the engine says. Fast, and empty where there is nothing.
    """
    detaches: bool = True
    """Whether its workers outlive the run that started them, of an engine with `place`."""
    version: int = 1
    """Enters no identity: engines change no number."""
    alone: bool = False
    """Whether it works off one unit after another, whatever the number of workers."""


_MOST_WORKERS = 8
"""Elsewhere, where nobody says how many [ours]."""


def named(said: str, options: Mapping[str, str] | None = None) -> tuple[Engine, str | None]:
    """The engine that `NAME` or `NAME:WHERE` means, and where; for options that it does not have,
    an unknown name, or a place that means nothing to it, InputError.
    """
    name, colon, where = said.partition(":")
    chosen: Engine = ENGINES.named(name, where="--engine")
    if colon and chosen.where is None:
        raise InputError(f"--engine: {name} takes nothing after a colon, not {where!r}")
    for option in options or {}:
        if option not in chosen.options:
            has = ", ".join(chosen.options) or "none"
            raise InputError(f"--engine-option: {name} has no option {option!r}; it has {has}")
    return chosen, where or None


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
    by_steps: bool = False,
    options: Mapping[str, str] | None = None,
    detach: bool = False,
    idle_s: float = math.inf,
    ranks: int = 1,
    watch: Callable[[Event], None] = lambda event: None,
) -> None:
    """Compute what the store lacks of a plan, together with all other runs and workers.

    Failures become rows of status failed; see `Store.failed_cells`. Rows that are damaged are
    measured again, and told. Raises InputError for bad
    input.

    An arm in training writes a checkpoint every `checkpoint_every_s` seconds; how often does not
    change its weights. `compiled`: through torch.compile. `declared`: workers that are told of no
    study (`headwater worker`) join, or go on where this run ends before all is done. `by_steps`:
    the plan is a part, and more may come (headwater.steps). `options` are the engine's own;
    `detach` ends when workers are started, of an engine that computes elsewhere. After `idle_s`
    seconds with nothing to take, what others have is left to them. `ranks` processes train an arm
    together, a GPU each: arms that differ from those of one process (headwater.engines.ranks).
    """
    chosen, where = named(engine, options)
    if detach and chosen.place is None:
        raise InputError(f"--detach: {chosen.name} computes in this process and its children")
    if detach and not chosen.detaches:
        raise InputError(f"--detach: workers of {chosen.name} end with the run that started them")
    store.sweep()
    store.set_aside_damaged(cell.id for cell in plan.cells)
    todo = pending(plan, store)
    if not todo.cells:
        store.sweep_leases()
        return
    _check_arms(todo, store)
    away = chosen.place is not None
    words = plan.resolved.asked.words()
    said = None
    if declared or away:
        arms = {arm.id for arm in plan.arms} if by_steps else None
        said = studies.put(store, plan.study.study, words, plan.data_root, arms)
    asked = Asked(
        plan=plan,
        store=store,
        todo=todo,
        study=said,
        workers=workers,
        device=device,
        checkpoint_every_s=checkpoint_every_s,
        compiled=compiled,
        where=where,
        options=options or {},
        idle_s=idle_s,
        ranks=ranks,
    )
    try:
        _elsewhere(chosen, asked, watch, detach=detach) if away else _here(chosen, asked, watch)
        if not detach and not pending(plan, store).cells:
            store.sweep_leases()
            if said is not None and not by_steps:
                ended(plan, store)
    finally:
        store.give_back()


def ended(plan: Plan, store: Store) -> None:
    """Takes a study off those that are under way, where all of it is done: run as a whole or by
    steps.
    """
    if not pending(plan, store).cells:
        words = plan.resolved.asked.words()
        for by_steps in (False, True):
            path = studies.path_of(store, plan.study.study, words, plan.data_root, by_steps)
            if path.exists():
                studies.ended(store, path)


def _here(chosen: Engine, asked: Asked, watch: Callable[[Event], None]) -> None:
    with uncollected():
        from headwater import device as device_room
        from headwater import work
        from headwater.work.session import Session

    assert chosen.run is not None
    plan, store, todo = asked.plan, asked.store, asked.todo
    work.check_environment(store)
    compute = device_room.resolve(asked.device, plan.study.precision)
    compute = dataclasses.replace(compute, compiled=asked.compiled)
    session = Session(
        plan, store, compute, asked.checkpoint_every_s, ranks=asked.ranks, idle_s=asked.idle_s
    )
    count = 1 if chosen.alone else asked.workers or default_workers(compute.device.type)
    count = min(count, len(todo.cells))
    with followed(plan, store, todo, compute, count, watch) as heard:
        if not is_tried(plan, store, todo):
            with uncollected():
                _check_study(plan)
        _prepare(session)
        chosen.run(session, todo, workers=asked.workers, watch=heard)


def _elsewhere(
    chosen: Engine, asked: Asked, watch: Callable[[Event], None], *, detach: bool
) -> None:
    from headwater import device as device_room

    assert chosen.place is not None
    if not is_tried(asked.plan, asked.store, asked.todo):
        _check_study(asked.plan)
    count = asked.workers or (chosen.count or _count)(asked)
    count = max(1, min(count, len(asked.todo.cells)))
    placed = chosen.place(asked)
    if detach:
        missing = count - placed.alive()  # some may be there from a run before
        if missing > 0:
            placed.start(missing)
        placed.close(stop=False)
        return
    compute = device_room.resolve("auto", asked.plan.study.precision)  # for the forecast alone
    with followed(asked.plan, asked.store, asked.todo, compute, count, watch) as heard:
        follow(asked, placed, count, heard)


def _count(asked: Asked) -> int:
    return min(_MOST_WORKERS, max(len(asked.todo.arms), len({c.arm.id for c in asked.todo.cells})))


def _check_arms(todo: Pending, store: Store) -> None:
    """Raises InputError for a damaged arm that is needed: better heard of now than after hours."""
    needed = {cell.arm.id for cell in todo.cells}
    for arm in todo.arms:
        if arm.needs is not None and not is_labelled(arm, store):
            needed.add(arm.needs.id)
    for arm_id in needed - {arm.id for arm in todo.arms}:
        store.read_arm(arm_id)


def is_tried(plan: Plan, store: Store, todo: Pending) -> bool:
    """Whether the store has arms of the study by each method that is still to be trained: then its
    encoder is known to be one, and timm, which takes seconds to load, is not asked.
    """
    there = store.all_arms()
    known = {arm.words.method for arm in plan.every_arm if arm.id in there}
    return bool(known) and {arm.words.method for arm in todo.arms} <= known


def _check_study(plan: Plan) -> None:
    """What is wrong is said before anything is decoded."""
    from headwater import models
    from headwater.methods import check_encoder

    study = plan.study
    with study.located():
        encoder = models.build_encoder(
            study.backbone, study.image_size, seed=0, patch_size=study.patch_size
        )
        recipes = {arm.words.method: arm.recipe for arm in (*plan.supports, *plan.arms)}
        check_encoder(encoder, study.image_size, recipes)


def _prepare(session: Session) -> None:
    """Images are decoded before any unit begins."""
    plan, store = session.plan, session.store
    read = [arm.source for arm in plan.arms] + [task.source for task in plan.tasks.values()]
    for data, source in plan.sources.items():
        # a source of scratch arms alone is named, but never read
        if any(source is one for one in read):
            with store.local_leases.alone(
                f"pixels-{blake2b(data.encode(), digest_size=8).hexdigest()}"
            ):
                session.pixels(data)
