"""`headwater worker`: one more process, on any machine, for what a store lacks."""

from __future__ import annotations

import math
import os
import signal
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.ending import Terminated
from headwater.cli.options import (
    CompileOption,
    DataOption,
    DeviceOption,
    JsonOption,
    QuietOption,
    print_json,
)
from headwater.cli.studies import study_path
from headwater.cli.tied import tie
from headwater.errors import InputError

if TYPE_CHECKING:
    from headwater.engines.schedule import Event
    from headwater.plan import Plan
    from headwater.store import Store
    from headwater.store.studies import UnderWay
    from headwater.study import Study

_LOOK_S = 1.0
_STEP_S = 60.0
"""So long a worker waits for the next step of a study that is run by steps [ours]."""


def worker(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store that others see too.")],
    study: Annotated[
        list[str] | None,
        typer.Option(
            "--study",
            help="A study file, or the name of one that is under way in the store, instead of all "
            "that are; may be repeated.",
        ),
    ] = None,
    engine_id: Annotated[
        str | None,
        typer.Option("--engine-id", metavar="N", help="What this worker is called in its leases."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes of this worker, one unit each.")
    ] = 1,
    idle: Annotated[
        float | None,
        typer.Option(
            "--idle",
            min=0.0,
            metavar="SECONDS",
            help="Leave after so long with nothing to take, where others have all that is left; "
            "stay when left out, in case one of them is lost.",
        ),
    ] = None,
    ranks: Annotated[
        int,
        typer.Option(
            "--ranks",
            min=1,
            help="Processes that train an arm together, a GPU each where there are any; rows say "
            "how many they were.",
        ),
    ] = 1,
    tied: Annotated[
        bool,
        typer.Option("--tied", help="Stop when stdin ends: whoever started this worker is gone."),
    ] = False,
    checkpoint_every: Annotated[
        float, typer.Option("--checkpoint-every", min=0.0, metavar="SECONDS", help="Of training.")
    ] = 20.0,
    compiled: CompileOption = False,
    device: DeviceOption = "auto",
    data_root: DataOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute what a store lacks of the studies under way in it, together with all other workers
    and runs, until nothing is left.

    Stopped by SIGTERM or SIGUSR1 (Slurm's --signal), it writes checkpoints, gives back what it has
    and ends with 0; another worker goes on.
    """
    from headwater.store import Store

    if tied:
        tie()
    opened = Store(store)
    opened.worker_name = engine_id
    how = {
        "device": device,
        "workers": workers,
        "checkpoint_every_s": checkpoint_every,
        "compiled": compiled,
        "ranks": ranks,
        "idle_s": math.inf if idle is None else idle,
    }
    work = _Work(opened, study, data_root, how, quiet=quiet or as_json)
    stopped = False
    try:
        with _also_by_usr1():
            work.go()
    except Terminated:
        stopped = True
    did = work.did
    facts = {**did, "left": work.left, "stopped": stopped, "store": opened.address}
    if as_json:
        print_json(facts)
        raise typer.Exit(1 if did["failed"] or did["refused"] else 0)
    end = "others have what is left" if work.left else "nothing is left"
    end = "stopped; what it had is kept and free for others" if stopped else end
    failed = f", {did['failed']} units failed" if did["failed"] else ""
    typer.echo(
        f"{did['arms']} arms trained, {did['cells']} cells measured by this worker{failed}; {end}"
    )
    if did["failed"] or did["refused"]:
        raise typer.Exit(1)


def top(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store.")],
    every: Annotated[
        float, typer.Option("--every", min=0.5, metavar="SECONDS", help="Between two looks.")
    ] = 2.0,
    once: Annotated[
        bool, typer.Option("--once", help="Look once, as where stdout is no terminal.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Who computes what in a store, now: all runs and workers, on all machines, and what was tried
    again.

    Ctrl-C ends it. It reads no study and no data.
    """
    from headwater.facts.top import top_facts
    from headwater.show.top import print_top, watch_top
    from headwater.store import Store

    opened = Store(store)
    if as_json:
        print_json(top_facts(opened))
    elif once or not sys.stdout.isatty():
        print_top(top_facts(opened))
    else:
        with suppress(KeyboardInterrupt):
            watch_top(lambda: top_facts(opened), every)


@dataclass(frozen=True)
class _Asked:
    """A study that this worker works on."""

    name: str
    words: Study
    found: UnderWay | None

    @property
    def state(self) -> tuple[str, int]:
        """What changes where more of it is wanted, of a study that is run by steps."""
        arms = None if self.found is None else self.found.arms
        return self.name, -1 if arms is None else len(arms)


class _Work:
    """One study after another, each once, until no other is there."""

    def __init__(
        self,
        store: Store,
        studies: list[str] | None,
        data_root: Path | None,
        how: dict[str, Any],
        *,
        quiet: bool,
    ) -> None:
        self._store, self._studies, self._data_root = store, studies, data_root
        self._how, self._quiet = how, quiet
        self.did = {"arms": 0, "cells": 0, "failed": 0, "refused": 0}
        """`refused`: studies that cannot be done here."""
        self.left = 0
        """Cells that others had when this worker turned to the next study, or left."""
        self._plans: dict[str, Plan] = {}
        self._unknown = set[str]()

    def go(self) -> None:
        tried = set[tuple[str, int]]()
        idle_since = time.monotonic()
        while True:
            asked = list(self._asked())
            fresh = [each for each in asked if each.state not in tried]
            for each in fresh:
                tried.add(each.state)
                self._try(each)
                idle_since = time.monotonic()
            by_steps = any(each.found is not None and each.found.arms is not None for each in asked)
            idle_s = min(self._how["idle_s"], _STEP_S)
            if not fresh and (not by_steps or time.monotonic() - idle_since > idle_s):
                return
            if not fresh:
                time.sleep(_LOOK_S)

    def _try(self, asked: _Asked) -> None:
        """A study that cannot be done here (its data is elsewhere, say) keeps no other one from
        being done, unless it was asked for.
        """
        from headwater import digests

        try:
            self._run(asked)
        except InputError as error:
            if self._studies is not None:
                raise
            self.did["refused"] += 1
            digests.tell(f"{asked.name}: cannot be done here, and is passed over: {error}")

    def _asked(self) -> Iterator[_Asked]:
        from headwater import digests
        from headwater.store import studies as room
        from headwater.study import Study

        under_way = list(room.under_way(self._store))
        if self._studies is None:
            for found in under_way:
                if found.path.name in self._unknown:
                    continue
                try:
                    words = Study.model_validate(found.words)
                except ValueError as error:  # of another version, say
                    self._unknown.add(found.path.name)
                    self.did["refused"] += 1
                    reason = str(error).splitlines()[0]
                    digests.tell(f"{found.path}: is no study that is known here ({reason})")
                else:
                    yield _Asked(found.path.name, words, found)
            return
        by_name = {found.path.name: found for found in under_way}
        for name in self._studies:
            if name in by_name:
                found = by_name[name]
                yield _Asked(name, Study.model_validate(found.words), found)
            elif not room.is_name(name):  # else it was under way, and all of it is done
                yield _Asked(name, Study.load(study_path(name)), None)

    def _run(self, asked: _Asked) -> None:
        from headwater.engines import engine
        from headwater.engines.schedule import pending
        from headwater.show.study import say_faults, watched
        from headwater.store import studies as room

        found, plan = asked.found, self._plan(asked)
        if found is not None and found.arms is not None:
            plan = plan.of_arms(found.arms)
        todo = pending(plan, self._store)
        if todo.cells and not self._quiet:
            say_faults(plan.faults)
        with watched(todo, quiet=self._quiet) as shown:
            engine.run(plan, self._store, watch=self._heard(shown), **self._how)
        left = pending(plan, self._store).cells
        whole = self._plan(asked)
        if found is not None and not (left or pending(whole, self._store).cells):
            room.ended(self._store, found.path)
        self.left = len(left) - len(self._store.failed_cells() & {cell.id for cell in left})

    def _plan(self, asked: _Asked) -> Plan:
        from headwater.plan import EVERYTHING, Plan

        if asked.name not in self._plans:
            root = self._data_root or (asked.found.data_root if asked.found is not None else None)
            self._plans[asked.name] = Plan.make(
                asked.words, data_root=root, cache=self._store.cache, looking=EVERYTHING
            )
        return self._plans[asked.name]

    def _heard(self, shown: Callable[[Event], None]) -> Callable[[Event], None]:
        from headwater.engines.schedule import NOBODY

        def hear(event: Event) -> None:
            if event.worker != NOBODY:
                self.did["arms"] += event.kind == "finished" and event.unit.task is None
                self.did["cells"] += event.kind == "cell"
                self.did["failed"] += event.kind == "failed"
            shown(event)

        return hear


@contextmanager
def _also_by_usr1() -> Iterator[None]:
    """Within it SIGUSR1 stops as SIGTERM does."""
    number = getattr(signal, "SIGUSR1", None)
    if number is None:
        yield
        return

    def stop(*_: Any) -> None:
        os.kill(os.getpid(), signal.SIGTERM)

    before = signal.signal(number, stop)
    try:
        yield
    finally:
        signal.signal(number, before)
