"""The Python face of running a study; the command line is a thin layer on the same functions."""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater import notebook
from headwater.engines.engine import DEFAULT, named
from headwater.engines.engine import run as run_plan
from headwater.engines.schedule import Event, pending
from headwater.errors import InputError
from headwater.plan import A_FEW, EVERYTHING, Looking, Plan
from headwater.plan.resolved import check_store
from headwater.store import Store, is_there, store_path
from headwater.study import Study
from headwater.trackers import tracked

if TYPE_CHECKING:
    import pandas as pd

    from headwater.proposal import Proposal
    from headwater.report.inline import Figure


def make_plan(
    study: Study | str | Path,
    *,
    store: str | Path | None = None,
    data_root: str | Path | None = None,
    verify: bool = False,
) -> Plan:
    """A study resolved against its data: arms, cells, ids.

    Trains nothing, and decodes at most a few thousand images to see whether they can be read;
    `verify` opens all that are not known. Raises InputError for a wrong study or wrong data; what
    is broken beside sound data is in `Plan.faults`.

    `data_root` is HEADWATER_DATA's folder when left out, `store` HEADWATER_STORE's, or else
    headwater-store in the current folder; so it is everywhere in this module. Byte hashes are
    remembered in `store` where it exists.
    """
    from headwater.facts.study import progress_facts

    words, place = study if isinstance(study, Study) else Study.load(study), store_path(store)
    plan = Plan.make(
        words,
        data_root=_root(data_root),
        cache=place / "cache" if place.exists() else None,
        looking=EVERYTHING if verify else A_FEW,
    )
    return replace(plan, progress=partial(progress_facts, store=place))


def run(
    study: Study | str | Path,
    *,
    store: str | Path | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
    engine: str = DEFAULT,
    engine_options: Mapping[str, str] | None = None,
    workers: int | None = None,
    checkpoint_every_s: float = 20.0,
    compiled: bool = False,
    until: float | None = None,
    budget_hours: float | None = None,
    trackers: Sequence[str] = (),
    watch: Callable[[Event], None] | None = None,
) -> pd.DataFrame:
    """Compute what the store lacks of a study and return its rows (docs/rows.md).

    Cells that failed are rows of status failed. All images are opened before anything is trained;
    a source or a task that is broken is warned of, and the others are computed.

    `engine` is local (worker processes, `workers` of them), inline (this process alone, so that a
    debugger sees everything), slurm or ray[:ADDRESS] (docs/cluster.md), with `engine_options` of
    its own; all give the same bits. An arm in training writes a checkpoint every
    `checkpoint_every_s` seconds, from which a run that was killed goes on; the interval does not
    change the weights. `compiled` trains through torch.compile: other kernels, so other bits, which
    rows say. `until` runs by steps, until the answer is right with this probability: seeds go to
    the arms that are still in doubt, for at most `budget_hours` of one worker's work
    (headwater.steps). `trackers` (tensorboard, trackio, mlflow, wandb, or NAME:WHERE) are told of
    curves and scores (headwater.trackers). Worker processes need no main guard in the calling
    script. `watch` hears each event (headwater.engines.schedule.Event); left out, a notebook shows
    how far the run is.

    Raises InputError for a wrong study, wrong data, an unknown engine or a device that is not
    there.
    """
    named(engine, engine_options)  # before a store is made
    words = study if isinstance(study, Study) else Study.load(study)
    check_store(words, store_path(store), _root(data_root))
    opened = Store(store_path(store), create=True)
    looking = Looking(most=None, workers=workers, spool=opened.cache)
    plan = Plan.make(words, data_root=_root(data_root), cache=opened.cache, looking=looking)
    for fault in plan.faults:
        warnings.warn(fault, stacklevel=2)

    def compute(part: Plan) -> None:
        with _watching(watch, part, opened) as heard:

            def both(event: Event) -> None:
                told(event)
                heard(event)

            run_plan(
                part,
                opened,
                engine=engine,
                device=device,
                workers=workers,
                checkpoint_every_s=checkpoint_every_s,
                compiled=compiled,
                declared=True,
                by_steps=until is not None,
                options=engine_options,
                watch=both,
            )

    with tracked(trackers, plan, opened) as told:
        if until is None:
            compute(plan)
        else:
            from headwater.facts.decisions import aim_of
            from headwater.steps import run_until

            aim = aim_of(words)
            run_until(plan, opened, aim, until=until, budget_hours=budget_hours, run=compute)
    return plan.rows(opened)


def plan_facts(
    study: Study | str | Path,
    *,
    store: str | Path | None = None,
    data_root: str | Path | None = None,
    device: str = "auto",
    workers: int | None = None,
    fresh: bool = False,
    verify: bool = False,
) -> dict[str, Any]:
    """What `headwater plan --json` says: arms, cells, what is done, and the cost of the rest.

    The machine's rate of training is measured once a week; `fresh` measures it now. `verify` opens
    every image that is not known.
    Raises InputError for a wrong study, wrong data or a backbone that cannot be.
    """
    from headwater.facts import study as facts

    plan = make_plan(study, store=store, data_root=data_root, verify=verify)
    return facts.plan_facts(plan, _opened(store), device=device, workers=workers, fresh=fresh)


def propose(
    sources: str | Path | Sequence[str | Path],
    tasks: str | Path | Sequence[str | Path],
    *,
    hours: float = 0.5,
    store: str | Path | None = None,
    folder: str | Path | None = None,
    image_size: int = 32,
    device: str = "auto",
    workers: int | None = None,
) -> Proposal:
    """A study of folders, as `headwater init` makes it: which of `sources` to pre-train on, and
    how, for `tasks`.

    Images are opened, all or 50,000 of a folder. `hours` is what the study may take on this
    machine, `folder` where its file will lie (the current one when left out): folders below it are
    written relative to it. What was seen is remembered in `store` where it exists.
    `Proposal.write("study.yaml")` writes the study and its index files. Raises InputError for a
    folder that cannot serve.
    """
    from headwater.proposal import propose as proposed

    def paths(given: str | Path | Sequence[str | Path]) -> list[Path]:
        return [Path(given)] if isinstance(given, str | Path) else [Path(each) for each in given]

    words = [*map(str, paths(sources)), *(f"--task {each}" for each in paths(tasks))]
    return proposed(
        paths(sources),
        paths(tasks),
        hours=hours,
        made_by=f"hw.propose, {' '.join(words)}",
        folder=None if folder is None else Path(folder),
        cache=store_path(store) / "cache" if store_path(store).exists() else None,
        image_size=image_size,
        device=device,
        workers=workers,
    )


def status_facts(
    study: Study | str | Path,
    *,
    store: str | Path | None = None,
    data_root: str | Path | None = None,
    decide: bool = False,
) -> dict[str, Any]:
    """What `headwater status --json` says: cells done, failed and to do, arms in training, and what
    is decided so far, with `decide` however long that takes.
    """
    from headwater.facts import status as facts

    plan = make_plan(study, store=store, data_root=data_root)
    return facts.status_facts(plan, _opened(store), decide=decide)


def labels_facts(
    study: Study | str | Path,
    *,
    views: Sequence[str] | None = None,
    store: str | Path | None = None,
    data_root: str | Path | None = None,
) -> dict[str, Any]:
    """What `headwater labels --json` says of a study: the classes of its sources under its label
    views (or under `views`), and how each view lies to the tasks' classes. Decodes no image, unless
    `on_bad_images: skip` asks which can be read.
    """
    from headwater.facts import labels as facts

    words = study if isinstance(study, Study) else Study.load(study)
    opened = _opened(store)
    if opened is not None and opened.labels.is_dir():
        # which clusters were made, only a whole plan can tell
        plan = Plan.make(words, data_root=_root(data_root), cache=opened.cache)
    else:
        plan = Plan.opened(words, data_root=_root(data_root))
    return facts.study_facts(plan, views, opened)


def tasks_facts(
    name: str | None = None,
    *,
    data_root: str | Path | None = None,
    verify: bool = False,
    layout: str | None = None,
    follow_links: bool = False,
) -> dict[str, Any]:
    """What `headwater tasks --json` says: all published sets and the folders under the data root,
    or one of them in detail. `verify` reads what is there, every image of one. `layout` and
    `follow_links` say how a folder is read, as the keys of a study's `data:` entry.
    """
    from headwater.facts import tasks as facts

    root = _root(data_root)
    if name is None:
        return facts.list_facts(root, verify=verify)
    return facts.task_facts(
        name,
        root,
        layout=layout,
        follow_links=follow_links,
        verify=verify,
        looking=EVERYTHING if verify else A_FEW,
    )


def figure(
    name: str,
    of: pd.DataFrame | Study | Plan | Mapping[str, Any] | str | Path,
    *,
    protocol: str | None = None,
    shots: int | str | None = None,
    tasks: Sequence[str] | None = None,
    store: str | Path | None = None,
    data_root: str | Path | None = None,
) -> Figure:
    """One chart, which shows itself in a notebook; `.spec` is plain Vega-Lite, `.save` writes it.

    Of rows (a DataFrame, or a .csv, .parquet or .jsonl file, or a store): `accuracy`,
    `granularity`, `gap`, `shots`, and what analyses of other packages add. `protocol` is
    fine-tuning (or the first one) when left out, `shots` the largest count (`"all"` is the full
    split), `tasks` every task. Of a study (words, a file, a plan): `labels`, the classes of its
    label views, and `curves`, how its arms have learned, from `store`; both also take what
    `labels_facts` or `headwater curves --json` say.

    Raises InputError for an unknown name, and where there is no such chart to draw.
    """
    from headwater.facts import figures

    figures.check_name(name)
    if name not in figures.OF_STUDIES:
        return figures.of_rows(name, of, protocol=protocol, shots=shots, tasks=tasks)
    if isinstance(of, Mapping):
        return figures.of_facts(name, dict(of))
    if not isinstance(of, Study | Plan | str | Path):
        raise InputError(f"figure: {name!r} is drawn from a study, not from a {type(of).__name__}")
    if name == "labels":
        words = of.study if isinstance(of, Plan) else of
        return figures.of_facts(name, labels_facts(words, store=store, data_root=data_root))
    from headwater.facts.curves import curves_facts

    plan = of if isinstance(of, Plan) else make_plan(of, store=store, data_root=data_root)
    return figures.of_facts(name, curves_facts(plan, Store(store_path(store))))


def _watching(
    watch: Callable[[Event], None] | None, part: Plan, store: Store
) -> AbstractContextManager[Callable[[Event], None]]:
    if watch is not None:
        return nullcontext(watch)
    if notebook.inside():
        return notebook.watched(pending(part, store))
    return nullcontext(lambda event: None)


def _opened(store: str | Path | None) -> Store | None:
    return Store(store_path(store)) if is_there(store_path(store)) else None


def _root(data_root: str | Path | None) -> Path | None:
    given = data_root if data_root is not None else os.environ.get("HEADWATER_DATA")
    return Path(given) if given else None
