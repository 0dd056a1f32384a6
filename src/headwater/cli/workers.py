"""`headwater worker`: one more process, on any machine, for what a store lacks."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater.cli.ending import Terminated
from headwater.cli.options import (
    DataOption,
    DeviceOption,
    JsonOption,
    QuietOption,
    print_json,
)
from headwater.cli.studies import study_path

if TYPE_CHECKING:
    from headwater.engines.schedule import Event
    from headwater.store import Store
    from headwater.store.studies import UnderWay


def worker(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="A store that others see too.")],
    study: Annotated[
        list[str] | None,
        typer.Option(
            "--study",
            help="A study file, instead of those that are under way in the store; may be repeated.",
        ),
    ] = None,
    engine_id: Annotated[
        str | None,
        typer.Option("--engine-id", metavar="N", help="What this worker is called in its leases."),
    ] = None,
    workers: Annotated[
        int, typer.Option("--workers", min=1, help="Processes of this worker, one unit each.")
    ] = 1,
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

    opened = Store(store)
    opened.worker_name = engine_id
    did = {"arms": 0, "cells": 0, "failed": 0}
    stopped = False
    try:
        with _also_by_usr1():
            _work(opened, study, data_root, device, workers, did, quiet=quiet or as_json)
    except Terminated:
        stopped = True
    facts = {**did, "stopped": stopped, "store": str(store)}
    if as_json:
        print_json(facts)
        return
    end = "stopped; what it had is kept and free for others" if stopped else "nothing is left"
    failed = f", {did['failed']} units failed" if did["failed"] else ""
    typer.echo(
        f"{did['arms']} arms trained, {did['cells']} cells measured by this worker{failed}; {end}"
    )
    if did["failed"]:
        raise typer.Exit(1)


def _work(
    opened: Store,
    studies: list[str] | None,
    data_root: Path | None,
    device: str,
    workers: int,
    did: dict[str, int],
    *,
    quiet: bool,
) -> None:
    """One study after another, each once, until no other is there."""
    from headwater.engines import engine
    from headwater.engines.schedule import NOBODY, pending
    from headwater.plan import EVERYTHING, Plan
    from headwater.show.study import say_faults, watched
    from headwater.store import studies as room
    from headwater.study import Study

    tried = set[str]()

    def asked() -> Iterator[tuple[str, Study, UnderWay | None]]:
        if studies is not None:
            for each in studies:
                yield each, Study.load(study_path(each)), None
            return
        for found in room.under_way(opened.root):
            yield found.path.name, Study.model_validate(found.words), found

    def heard(shown: Callable[[Event], None]) -> Callable[[Event], None]:
        def hear(event: Event) -> None:
            if event.worker != NOBODY:
                did["arms"] += event.kind == "finished" and event.unit.task is None
                did["cells"] += event.kind == "cell"
                did["failed"] += event.kind == "failed"
            shown(event)

        return hear

    while fresh := [each for each in asked() if each[0] not in tried]:
        for name, words, found in fresh:
            tried.add(name)
            root = data_root or (found.data_root if found is not None else None)
            plan = Plan.make(words, data_root=root, cache=opened.cache, looking=EVERYTHING)
            todo = pending(plan, opened)
            if todo.cells and not quiet:
                say_faults(plan.faults)
            with watched(todo, quiet=quiet) as shown:
                engine.run(plan, opened, device=device, workers=workers, watch=heard(shown))
            if found is not None and not pending(plan, opened).cells:
                room.ended(found.path)


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
