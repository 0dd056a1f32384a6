"""The command line: selects and shows; it does not configure. Every command is a thin face on what Python offers too.

Heavy imports (torch, pandas) wait until a command needs them, so that help is there at once.
"""

from __future__ import annotations

import json
import os
import re
import sys
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from typer.core import TyperGroup

from headwater.errors import InputError

if TYPE_CHECKING:
    from headwater.plan import Plan
    from headwater.store import Store

app = typer.Typer(
    name="headwater",
    pretty_exceptions_enable=False,
    add_completion=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _device(value: str) -> str:
    """Checked in form at once, also where nothing is left to compute; whether the machine has it is asked when it is needed."""
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", value):
        raise InputError(f"--device {value!r} is none of auto, cpu, cuda, mps (or cuda:N)")
    return value


def shipped_studies() -> dict[str, Path]:
    """The studies inside the package, by name."""
    return {path.stem: path for path in sorted((Path(__file__).parent / "studies").glob("*.yaml"))}


_SHIPPED = ", ".join(shipped_studies())
StudyArgument = Annotated[str, typer.Argument(metavar="STUDY", help=f"A study file (YAML), or the name of a study that is shipped ({_SHIPPED}).")]
StoreOption = Annotated[Path, typer.Option("--store", help="Folder of results.")]
DataOption = Annotated[Path | None, typer.Option("--data-root", envvar="HEADWATER_DATA", help="Folder under which a study's folders are found.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
DeviceOption = Annotated[str, typer.Option("--device", callback=_device, help="auto, cpu, cuda or mps.")]
CompileOption = Annotated[bool, typer.Option("--compile", help="Train through torch.compile; on a CPU it needs a C++ compiler, and seldom pays.")]
WorkersOption = Annotated[int | None, typer.Option("--workers", min=1, max=256, help="Worker processes; one per core when left out, one on a GPU.")]
DEFAULT_STORE = Path("headwater-store")


labels_app = typer.Typer(name="labels", help="What the images are called: label views, described before anything is trained.", no_args_is_help=True)
app.add_typer(labels_app)


class _ShowsByDefault(TyperGroup):
    """A group whose command `show` is meant where the first word is no command of it: `headwater tasks`, `headwater tasks dtd`. Options may stand before
    the command: `headwater tasks --data-root D split ...`."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        options = [option for command in self.commands.values() for option in command.params]
        flags = {"-h", "--help", *(word for option in options if getattr(option, "is_flag", False) for word in option.opts)}
        at = 0
        while at < len(args) and args[at].startswith("-") and args[at] != "--":
            attached = "=" in args[at] or (not args[at].startswith("--") and len(args[at]) > 2)
            at += 1 if args[at] in flags or attached else 2
        if at < len(args) and args[at] in self.commands:
            args = [args[at], *args[:at], *args[at + 1 :]]
        elif not (len(args) == 1 and args[0] in ("-h", "--help")):
            args = ["show", *args]
        return super().parse_args(ctx, args)


tasks_app = typer.Typer(name="tasks", cls=_ShowsByDefault, help="Downstream tasks: published sets and folders, what is on disk, and fixed splits.")
app.add_typer(tasks_app)


def _study_path(name: str) -> Path:
    path = Path(name)
    return shipped_studies().get(name, path) if not path.exists() else path


@app.callback(invoke_without_command=True)
def _headwater(context: typer.Context) -> None:
    """Tells a team what to pre-train on: which source, which label granularity, which method."""
    if context.invoked_subcommand is None:
        typer.echo(context.get_help())


def _load(study: str, store: Path, data_root: Path | None, *, create: bool = False) -> tuple[Plan, Store | None]:
    """The plan of a study, and the store where there is one (made where `create`)."""
    from headwater.plan import Plan
    from headwater.store import Store
    from headwater.study import Study

    words = Study.load(_study_path(study))
    _check_root(data_root)
    opened = Store(store, create=create) if create or store.exists() else None
    plan = Plan.make(words, data_root=data_root, cache=opened.cache if opened else None)
    return plan, opened


def _check_root(data_root: Path | None) -> None:
    if data_root is not None and not data_root.is_dir():
        raise InputError(f"--data-root {data_root}: there is no such folder (HEADWATER_DATA sets it too)")


def _print_json(value: Any) -> None:
    typer.echo(json.dumps(value, indent=1, ensure_ascii=False))


@app.command()
def init(path: Annotated[Path, typer.Argument(help="File to write.")] = Path("study.yaml"), as_json: JsonOption = False) -> None:
    """Write a study file to start from: the demo's."""
    if path.exists():
        raise InputError(f"{path}: exists already; name another file")
    from headwater import files

    try:
        files.write_atomic(path, shipped_studies()["demo"].read_bytes())
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None
    _print_json({"wrote": str(path)}) if as_json else typer.echo(f"wrote {path}; edit it, then: headwater plan {path}")


@app.command()
def plan(
    study: StudyArgument,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """List arms and cells, what is shared and done, and what the rest will cost. Runs nothing."""
    resolved, opened = _load(study, store, data_root)
    from headwater.engines.local import default_workers
    from headwater.show.study import check_backbone, plan_facts, print_plan

    check_backbone(resolved)
    facts = plan_facts(resolved, opened, device=device, workers=workers or default_workers(device))
    _print_json(facts) if as_json else print_plan(facts)


@app.command()
def run(
    study: Annotated[
        str, typer.Argument(metavar="[STUDY]", help=f"A study file (YAML), or the name of a study that is shipped ({_SHIPPED}).")
    ] = "demo",
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    device: DeviceOption = "auto",
    workers: WorkersOption = None,
    compiled: CompileOption = False,
    redo: Annotated[list[str] | None, typer.Option("--redo", metavar="ID", help="Forget this arm or cell first (6 characters of its id will do).")] = None,
    report_path: Annotated[Path | None, typer.Option("--report", help="Where to write the report; in the store when left out.")] = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress display.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Compute what the store lacks of a study, then write the report and print the verdict. Can be stopped and started again at any time."""
    resolved, opened = _load(study, store, data_root, create=True)
    assert opened is not None
    from headwater.engines import local
    from headwater.show.study import check_backbone, forget, run_facts, say_verdict, watched

    if redo:
        forget(resolved, opened, redo)
    todo = local.pending(resolved, opened)
    if todo.cells:
        check_backbone(resolved)
    with watched(todo, quiet=quiet or as_json) as watch:
        local.run(resolved, opened, data_root=data_root, device=device, workers=workers, compiled=compiled, watch=watch)
    facts = run_facts(resolved, opened, todo, report_path)
    _print_json(facts) if as_json else say_verdict(resolved, opened, facts)
    if facts["failed"]:
        raise typer.Exit(1)


@app.command()
def status(study: StudyArgument, store: StoreOption = DEFAULT_STORE, data_root: DataOption = None, as_json: JsonOption = False) -> None:
    """How far a study is: arms and cells done, failed, diverged and to do."""
    resolved, opened = _load(study, store, data_root)
    from headwater.show.study import print_status, status_facts

    facts = status_facts(resolved, opened)
    _print_json(facts) if as_json else print_status(facts)


@app.command()
def curves(
    study: StudyArgument,
    out: Annotated[Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write a chart as well: .svg, .png, .pdf or .html.")] = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """How the arms learn, while they are trained and after: loss, learning rate and online accuracy against images seen."""
    if out is not None:
        from headwater.report import check_label_chart

        check_label_chart(out)
    resolved, opened = _load(study, store, data_root)
    if opened is None:
        raise InputError(f"{store}: there is no store here; `headwater run {study}` makes one")
    from headwater.show.curves import curves_facts, print_curves

    facts = curves_facts(resolved, opened)
    if out is not None:
        from headwater.report import save_curves

        facts["chart"] = str(save_curves(facts, out))
    _print_json(facts) if as_json else print_curves(facts)


@app.command()
def rows(
    study: Annotated[
        str | None, typer.Argument(metavar="[STUDY]", help="Only this study's rows, under its names; all rows of the store when left out.")
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="A .csv, .parquet or .jsonl file; CSV on stdout when left out.")] = None,
    as_json: JsonOption = False,
) -> None:
    """The table of results, one row per (cell, metric, subset); docs/rows.md describes its columns."""
    from headwater.rows import read_rows, write_rows
    from headwater.store import Store

    if study is None:
        table = read_rows(Store(store).root)
    else:
        resolved, opened = _load(study, store, data_root)
        if opened is None:
            raise InputError(f"{store}: there is no store here; `headwater run {study}` makes one")
        table = resolved.rows(opened)
    if out is not None:
        write_rows(table, out)
        typer.echo(f"wrote {len(table)} rows to {out}", err=True)
    elif as_json:
        typer.echo(table.to_json(orient="records", indent=1, force_ascii=False))
    else:
        table.to_csv(sys.stdout, index=False)


@app.command()
def report(
    study: Annotated[str, typer.Argument(metavar="STUDY", help="A study, or a table of rows (.csv, .parquet, .jsonl) that `headwater rows` wrote.")],
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    out: Annotated[Path | None, typer.Option("--out", "-o", help="The HTML file to write.")] = None,
    figures: Annotated[Path | None, typer.Option("--figures", help="A folder for the charts as SVG and PNG.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Write the report of a study from its rows: no GPU, data or checkpoint is needed for a table of rows."""
    from headwater.show.study import report_facts, table_report

    if Path(study).suffix in (".csv", ".parquet", ".jsonl"):
        facts = table_report(Path(study), out, figures)
    else:
        resolved, opened = _load(study, store, data_root)
        if opened is None:
            raise InputError(f"{store}: there is no store here; `headwater run {study}` makes one")
        facts = report_facts(resolved, opened, out, figures)
    _print_json(facts) if as_json else typer.echo(facts["report"])


@labels_app.command("describe")
def describe_labels(
    study: Annotated[
        str, typer.Argument(metavar="STUDY|FOLDER", help=f"A study file (YAML), the name of a study that is shipped ({_SHIPPED}), or a folder of images.")
    ],
    views: Annotated[
        str | None, typer.Option("--views", metavar="A,B,...", help="Label views, separated by commas; the study's, or a folder's levels and instance.")
    ] = None,
    plot: Annotated[Path | None, typer.Option("--plot", metavar="FILE", help="Write a chart as well: .svg, .png, .pdf or .html.")] = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Classes, images per class, and how each label view lies to the tasks: what to expect of it before a GPU is spent. Decodes no image."""
    _check_root(data_root)
    from headwater.show.labels import folder_facts, print_labels, study_facts

    chosen = None if views is None else views.split(",")
    if plot is not None:
        from headwater.report import check_label_chart

        check_label_chart(plot)
    folder = _folder_of(study, data_root)
    if folder is not None:
        facts = folder_facts(folder, chosen)
    else:
        from headwater.plan import Plan
        from headwater.store import Store
        from headwater.study import Study

        words = Study.load(_study_path(study))
        opened = Store(store) if store.exists() else None
        known = opened is not None and opened.labels.is_dir()  # clusters that were made: which ones, only a whole plan can tell
        plan = (Plan.make if known else Plan.opened)(words, data_root=data_root, cache=opened.cache if opened else None)
        facts = study_facts(plan, chosen, opened)
    if plot is not None:
        from headwater.report import save_label_chart

        facts["plot"] = str(save_label_chart(facts, plot))
    _print_json(facts) if as_json else print_labels(facts, study)


@labels_app.command("levels")
def label_levels(
    classes: Annotated[
        str | None, typer.Option("--classes", metavar="LIST|FILE", help="imagenet21k, imagenet1k, imagenet21k-p, ..., or a file with a synset a line.")
    ] = None,
    study: Annotated[str | None, typer.Option("--study", metavar="STUDY|FOLDER", help="A study whose source is meant, or a folder of images.")] = None,
    source: Annotated[str | None, typer.Option("--source", help="The study's source, where it has several.")] = None,
    hierarchy: Annotated[
        str | None, typer.Option("--hierarchy", metavar="NAME|FILE", help="For --classes: wordnet (when left out) or a file; alone: of its own leaves.")
    ] = None,
    by: Annotated[str, typer.Option("--by", help="level (from the classes up), depth (from the root down), or rank.")] = "level",
    levels: Annotated[str | None, typer.Option("--levels", metavar="0-10", help="Which levels or depths: 0-10, or 0,2,4; all when left out.")] = None,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many classes each level of a hierarchy makes, and how many classes have several labels there. Needs no image and no download."""
    if (classes is None and hierarchy is None) == (study is None):
        raise InputError("labels levels: name either --study, or --classes (a list or a file of synsets), --hierarchy, or both of these")
    if by not in ("level", "depth", "rank"):
        raise InputError(f"--by {by!r} is none of level, depth, rank")
    if by == "rank" and levels is not None:
        raise InputError("--levels are numbers; --by rank shows all ranks")
    from headwater.show import levels as shown

    asked = None if levels is None else shown.parse_levels(levels)
    how: Any = by
    if study is None:
        facts = shown.list_facts(classes, hierarchy or "wordnet", how, asked)
    elif (folder := _folder_of(study or "", data_root)) is not None:
        facts = shown.folder_facts(folder, how, asked)
    else:
        from headwater.plan import Plan
        from headwater.study import Study

        _check_root(data_root)
        facts = shown.source_facts(Plan.opened(Study.load(_study_path(study or "")), data_root=data_root), source, how, asked)
    _print_json(facts) if as_json else shown.print_levels(facts)


@tasks_app.command("show")
def show_tasks(
    name: Annotated[
        str | None, typer.Argument(metavar="[NAME|FOLDER]", help="A published set, or a folder of images; the list of all when left out.")
    ] = None,
    verify: Annotated[bool, typer.Option("--verify", help="Load what is on disk, and check it against the published sizes.")] = False,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """All tasks and whether they are on disk, or one in detail: classes, splits, groups, the layout expected. `show` can be left out."""
    _check_root(data_root)
    from headwater.show import tasks as shown

    if name is None:
        facts = shown.list_facts(data_root, verify=verify)
        _print_json(facts) if as_json else shown.print_list(facts)
    else:
        facts = shown.task_facts(name, data_root)
        _print_json(facts) if as_json else shown.print_task(facts)


@tasks_app.command("split")
def split_task(
    name: Annotated[str, typer.Argument(metavar="FOLDER|NAME", help="A folder of images, here or under the data root, or a published set.")],
    out: Annotated[Path, typer.Option("--out", "-o", metavar="FILE", help="The index file to write: a CSV with the columns path and split.")],
    test: Annotated[float, typer.Option("--test", help="Share of each class that is test.")] = 0.2,
    val: Annotated[float, typer.Option("--val", help="Share of each class that is val.")] = 0.0,
    seed: Annotated[int, typer.Option("--seed", help="The same seed gives the same file anywhere.")] = 0,
    group: Annotated[str | None, typer.Option("--group", metavar="COLUMN", help="A column whose values never lie in two splits.")] = None,
    labels: Annotated[str | None, typer.Option("--labels", metavar="VIEW", help="Stratify by this label view; level:0 when left out.")] = None,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Draw a fixed split by key, stratified by class, and write it as an index file for `split_file` of a study's data."""
    _check_root(data_root)
    from headwater.show import tasks as shown

    facts = shown.write_split(name, out, data_root=data_root, test=test, val=val, seed=seed, group=group, labels=labels)
    _print_json(facts) if as_json else shown.print_split(facts)


@tasks_app.command("leaks")
def task_leaks(
    study: StudyArgument,
    sheets: Annotated[Path | None, typer.Option("--sheets", metavar="DIR", help="Draw the pairs that were found, a PNG for each source and task.")] = None,
    arm: Annotated[str | None, typer.Option("--arm", metavar="ID", help="Ask this trained arm's features as well (6 characters of its id will do).")] = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    device: DeviceOption = "auto",
    as_json: JsonOption = False,
) -> None:
    """Test images of a study's tasks that its sources show too: equal files, equal pixels, and copies that were compressed, resized, mirrored or cropped."""
    resolved, opened = _load(study, store, data_root, create=True)
    assert opened is not None
    from headwater.show import leaks as shown

    facts = shown.leaks_facts(resolved, opened, sheets=sheets, arm=arm, device=device, quiet=as_json)
    _print_json(facts) if as_json else shown.print_leaks(facts)


def _folder_of(name: str, data_root: Path | None) -> Path | None:
    """The folder of images that is meant, here or under the data root; None where a study is."""
    from headwater.show.folders import named_folder

    path = Path(name)
    if not path.is_dir() and (path.exists() or name in shipped_studies() or path.suffix in (".yaml", ".yml")):
        return None
    return named_folder(name, data_root, f"no study file, no shipped study ({_SHIPPED})")


@app.command()
def doctor(device: DeviceOption = "auto", as_json: JsonOption = False) -> None:
    """What this machine offers: device, precision, cores, versions, data root."""
    from headwater import device as device_room
    from headwater.engines.local import default_workers

    compute = device_room.resolve(device)
    root = os.environ.get("HEADWATER_DATA")
    facts = {
        "device": compute.fingerprint,
        "workers": default_workers(device),
        "versions": json.loads(device_room.versions()),
        "python": sys.version.split()[0],
        "data_root": root,
        "data_root_found": bool(root and Path(root).is_dir()),
        "shipped_studies": sorted(shipped_studies()),
    }
    if as_json:
        _print_json(facts)
    else:
        for name, value in facts.items():
            typer.echo(f"{name:16} {json.dumps(value, sort_keys=True) if isinstance(value, dict | list) else value}")


def _guarded(run_app: Callable[..., object]) -> int:
    """Exit codes: 0 done, 1 some cells failed, 2 bad input (one line), 130 stopped by Ctrl-C."""
    try:
        code = run_app(standalone_mode=False, prog_name="headwater")
    except InputError as error:
        return _refused(error)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # `headwater rows | head`
        return 0
    except OSError as error:  # a full disk, a folder without permission: no input of ours, but a line says more than a traceback
        return _refused(f"{error.filename}: {error.strerror}" if error.filename else error)
    except Exception as error:
        usage = getattr(error, "format_message", None)  # typer's usage errors; their class has moved between its versions
        if usage is None:
            raise
        command = getattr(getattr(error, "ctx", None), "command_path", "headwater")
        return _refused(f"{usage()} See `{command} --help`.")
    if code == 130:  # what typer makes of Ctrl-C
        print("headwater: stopped; run the same command again to go on", file=sys.stderr)
    return code if isinstance(code, int) else 0


def _refused(error: object) -> int:
    print(f"headwater: {' '.join(str(error).split())}", file=sys.stderr)
    return 2


def main() -> None:
    """Entry point of the `headwater` command."""
    sys.exit(_guarded(app))


if __name__ == "__main__":
    main()
