"""The command line: selects and shows; it does not configure.

Every command is a thin face on what Python offers too.

Heavy imports (torch, pandas) wait until a command needs them, so that help is there at once.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater import files, plain, wings
from headwater.cli import first
from headwater.cli.backtest import backtest
from headwater.cli.care import doctor, gc
from headwater.cli.decide import decide
from headwater.cli.ending import guarded as _guarded
from headwater.cli.exchange import exchange
from headwater.cli.hardness import hardness
from headwater.cli.importing import import_
from headwater.cli.labels import labels_app
from headwater.cli.mixes import mixes
from headwater.cli.moving import pull, push
from headwater.cli.options import (
    DEFAULT_STORE,
    BudgetOption,
    CompileOption,
    DataOption,
    DetachOption,
    DeviceOption,
    EngineOption,
    EngineOptionOption,
    FreshOption,
    GpuOption,
    JsonOption,
    NewStoreOption,
    QuietOption,
    StoreOption,
    StudyArgument,
    TrackerOption,
    UntilOption,
    UtilisationOption,
    VerifyOption,
    WorkersOption,
    hours_of,
    load,
    options_of,
    outlined,
    print_json,
)
from headwater.cli.shards import shard
from headwater.cli.sources import sources_app
from headwater.cli.studies import (
    SHIPPED,
    complete_study,
    study_path,
    what_can_run,
)
from headwater.cli.tasks import tasks_app
from headwater.cli.workers import top, worker
from headwater.errors import InputError

if TYPE_CHECKING:
    from headwater.engines.schedule import Event
    from headwater.plan import Plan

app = typer.Typer(
    name="headwater",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(labels_app)
app.add_typer(sources_app)
app.add_typer(tasks_app)
app.command("init")(first.init)
app.command("try")(first.try_)
app.command("backtest")(backtest)
app.command("decide")(decide)
app.command("exchange")(exchange)
app.command("hardness")(hardness)
app.command("import")(import_)
app.command("mixes")(mixes)
app.command("shard")(shard)
app.command("worker")(worker)
app.command("top")(top)
app.command("push")(push)
app.command("pull")(pull)
app.command("doctor")(doctor)
app.command("gc")(gc)
for wing in wings.opened():
    app.add_typer(wing.commands())


def _version(asked: bool) -> None:
    if asked:
        from importlib.metadata import version

        typer.echo(f"headwater {version('headwater')}")
        raise typer.Exit


@app.callback(invoke_without_command=True)
def _headwater(
    context: typer.Context,
    version: Annotated[
        bool,
        typer.Option("--version", is_eager=True, callback=_version, help="Say it, and end."),
    ] = False,
) -> None:
    """Tells a team what to pre-train on: which source, which label granularity, which method."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


@app.command()
def plan(
    study: StudyArgument,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    fresh: FreshOption = False,
    verify: VerifyOption = False,
    gpu: GpuOption = None,
    utilisation: UtilisationOption = None,
    as_json: JsonOption = False,
) -> None:
    """List arms and cells, what is shared and done, and what the rest will cost. Runs nothing.

    Where data is missing of which numbers are published (`headwater sources`, `headwater tasks`),
    the plan is outlined from these.
    """
    from headwater.study.file import wing_of

    owner = wing_of(study_path(study))
    if owner is not None:
        options = wings.Options(store, device=device, workers=workers, as_json=as_json)
        owner.plan(study_path(study), options)
        return
    known = outlined(study, data_root, asked=gpu is not None or utilisation is not None)
    if known is not None:
        from headwater.facts.outline import outline_facts
        from headwater.show.outline import print_outline

        outlines = outline_facts(known, gpu=gpu, utilisation=utilisation)
        print_json(outlines) if as_json else print_outline(outlines)
        return
    resolved, opened = load(study, store, data_root, verify=verify, workers=workers, quiet=as_json)
    from headwater.facts.study import plan_facts
    from headwater.show.study import print_plan

    facts = plan_facts(resolved, opened, device=device, workers=workers, fresh=fresh, place=store)
    print_json(facts) if as_json else print_plan(facts)
    if facts["faults"]:
        raise typer.Exit(1)


@app.command()
def run(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="STUDY",
            autocompletion=complete_study,
            help=f"A study file (YAML), or the name of a study that is shipped ({SHIPPED}).",
        ),
    ] = None,
    store: NewStoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    device: DeviceOption = "auto",
    engine: EngineOption = "local",
    engine_option: EngineOptionOption = None,
    detach: DetachOption = False,
    workers: WorkersOption = None,
    compiled: CompileOption = False,
    until: UntilOption = None,
    budget: BudgetOption = None,
    redo: Annotated[
        list[str] | None,
        typer.Option(
            "--redo",
            metavar="ID",
            help="Forget this arm or cell first (6 characters of its id will do).",
        ),
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option("--out", "-o", help="Where to write the report; in the store when left out."),
    ] = None,
    report_path: Annotated[Path | None, typer.Option("--report", hidden=True)] = None,
    tracker: TrackerOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Compute what the store lacks of a study, then write the report and print the verdict.

    Can be stopped and started again at any time.
    """
    if study is None:
        typer.echo("\n".join(what_can_run()), err=True)
        raise typer.Exit(2)
    from headwater.study.file import wing_of

    out = out or report_path  # what it was called before
    if out is not None:
        files.check_place(out)
    budget_hours = None if budget is None else hours_of(budget)
    if detach and until is not None:
        raise InputError("--detach: a run by steps has to stay, as each step follows from rows")
    if budget is not None and until is None:
        raise InputError("--budget: is for a run by steps; add --until 0.95")
    owner = wing_of(study_path(study))
    if owner is not None:
        if until is not None:
            raise InputError(f"--until: {owner.title} is not run by steps")
        if tracker:
            raise InputError(f"--tracker: {owner.title} has no curves to tell of")
        from headwater.objects import address_of

        if address_of(store) is not None:
            raise InputError(f"--store: {owner.title} is kept in a folder, not at an address")
        if detach or engine_option:
            raise InputError(f"--detach, --engine-option: {owner.title} is computed here")
        options = wings.Options(
            store,
            device=device,
            engine=engine,
            workers=workers,
            compiled=compiled,
            redo=tuple(redo or ()),
            report=out,
            quiet=quiet,
            as_json=as_json,
        )
        owner.run(study_path(study), options)
        return
    from headwater.engines import engine as engines
    from headwater.engines.schedule import pending

    engines.named(engine, options_of(engine_option))
    hushed = quiet or as_json
    resolved, opened = load(
        study, store, data_root, create=True, verify=True, workers=workers, quiet=hushed
    )
    assert opened is not None
    from headwater.facts.decisions import aim_of
    from headwater.facts.reports import run_facts
    from headwater.facts.study import check_backbone
    from headwater.plan.forgetting import forget
    from headwater.show.study import (
        say_detached,
        say_faults,
        say_step,
        say_verdict,
        watched,
    )
    from headwater.steps import run_until
    from headwater.trackers import tracked

    if redo:
        forget(resolved, opened, redo)
    opened.set_aside_damaged(cell.id for cell in resolved.cells)
    todo, checked = pending(resolved, opened), list[bool]()
    if not hushed:
        say_faults(resolved.faults)
    if todo.cells and until is None and not engines.is_tried(resolved, opened, todo):
        check_backbone(resolved)

    def compute(part: Plan) -> None:
        left = pending(part, opened)
        if not left.cells and until is not None:
            return  # a step of before: torch, which takes seconds to load, is not needed
        if until is not None and not checked:
            checked.append(True)
            if not engines.is_tried(resolved, opened, left):
                check_backbone(resolved)
        with watched(left, quiet=hushed) as shown:

            def watch(event: Event) -> None:
                told(event)
                shown(event)

            engines.run(
                part,
                opened,
                engine=engine,
                device=device,
                workers=workers,
                compiled=compiled,
                declared=True,
                by_steps=until is not None,
                options=options_of(engine_option),
                detach=detach,
                watch=watch,
            )

    with tracked(tracker or () if todo.cells else (), resolved, opened) as told:
        if until is None:
            compute(resolved)
        else:
            run_until(
                resolved,
                opened,
                aim_of(resolved.study),
                until=until,
                budget_hours=budget_hours,
                run=compute,
                say=(lambda step: None) if as_json else say_step,
            )
    if detach and todo.cells:
        left = {"cells": len(todo.cells), "arms": len(todo.arms), "store": opened.address}
        print_json(left) if as_json else say_detached(study, left)
        return
    facts = run_facts(resolved, opened, todo, out, by_steps=until is not None)
    print_json(facts) if as_json else say_verdict(facts)
    if facts["failed"] or facts["faults"]:
        raise typer.Exit(1)


@app.command()
def status(
    study: StudyArgument,
    decide: Annotated[
        bool,
        typer.Option(
            "--decide", help="Also decide where there are many cells, however long that takes."
        ),
    ] = False,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """How far a study is: arms and cells done, failed, diverged and to do, and the decision so
    far.
    """
    resolved, opened = load(study, store, data_root)
    from headwater.facts.status import status_facts
    from headwater.show.study import print_status

    facts = status_facts(resolved, opened, decide=decide)
    print_json(facts) if as_json else print_status(facts, study)


@app.command()
def curves(
    study: StudyArgument,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Write a chart as well: .svg, .png, .pdf or .html."
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """How the arms learn, while they are trained and after: loss, learning rate and online accuracy
    against images seen.
    """
    if out is not None:
        from headwater.report import check_chart

        check_chart(out)
    resolved, opened = load(study, store, data_root)
    if opened is None:
        raise InputError(f"{store}: there is no store here; `headwater run {study}` makes one")
    from headwater.facts.curves import curves_facts
    from headwater.show.curves import print_curves

    facts = curves_facts(resolved, opened)
    if out is not None:
        from headwater.report import save_curves

        facts["chart"] = str(save_curves(facts, out))
    print_json(facts) if as_json else print_curves(facts)


@app.command()
def rows(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY]",
            help="Only this study's rows, under its names; all rows of the store when left out.",
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", help="A .csv, .parquet or .jsonl file; CSV on stdout when left out."
        ),
    ] = None,
    raw: Annotated[
        bool,
        typer.Option(
            "--raw",
            help="CSV cells as they are; else those that a spreadsheet would run as formulas begin "
            "with an apostrophe.",
        ),
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """The table of results, one row per (cell, metric, subset); docs/rows.md describes its
    columns.
    """
    from headwater.rows import inert, read_rows, write_rows
    from headwater.store import Store

    if study is None:
        whole = Store(store)
        whole.bring_rows(whole.finished_cells() | whole.failed_cells())
        table = read_rows(whole.root)
    else:
        resolved, opened = load(study, store, data_root)
        if opened is None:
            raise InputError(f"{store}: there is no store here; `headwater run {study}` makes one")
        table = resolved.rows(opened)
    if out is not None:
        write_rows(table, out, raw=raw)
        typer.echo(plain.line(f"wrote {len(table)} rows to {out}"), err=True)
    elif as_json:
        typer.echo(table.to_json(orient="records", indent=1))
    else:
        (table if raw else inert(table)).to_csv(sys.stdout, index=False)


@app.command()
def report(
    study: Annotated[
        str,
        typer.Argument(
            metavar="STUDY",
            help="A study, or a table of rows (.csv, .parquet, .jsonl) that `headwater rows` "
            "wrote.",
        ),
    ],
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The HTML file to write.")] = None,
    figures: Annotated[
        Path | None, typer.Option("--figures", help="A folder for the charts as SVG and PNG.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the report of a study from its rows: no GPU, data or checkpoint is needed for a table
    of rows.
    """
    from headwater.facts.reports import report_facts, table_report

    if Path(study).suffix in (".csv", ".parquet", ".jsonl"):
        facts = table_report(Path(study), out, figures)
    else:
        resolved, opened = load(study, store, data_root)
        if opened is None:
            raise InputError(f"{store}: there is no store here; `headwater run {study}` makes one")
        facts = report_facts(resolved, opened, out, figures)
    print_json(facts) if as_json else typer.echo(plain.line(facts["report"]))


def main() -> None:
    """Entry point of the `headwater` command."""
    sys.exit(_guarded(app))
