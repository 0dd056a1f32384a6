"""What commands share: their common options, and how a study is opened."""

from __future__ import annotations

import math
import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from headwater import plain
from headwater.cli.studies import (
    SHIPPED,
    complete_study,
    near_names,
    shipped_studies,
    study_path,
)
from headwater.errors import InputError
from headwater.machine import uncollected

if TYPE_CHECKING:
    from headwater.plan import Plan
    from headwater.plan.outline import Outline
    from headwater.store import Store


def device_word(value: str) -> str:
    """Checked in form at once, also where nothing is left to compute; whether the machine has it is
    asked when it is needed.
    """
    if not re.fullmatch(r"auto|cpu|mps|cuda(:\d{1,3})?", value):
        raise InputError(f"--device {value!r} is none of auto, cpu, cuda, mps (or cuda:N)")
    return value


StudyArgument = Annotated[
    str,
    typer.Argument(
        metavar="STUDY",
        autocompletion=complete_study,
        help=f"A study file (YAML), or the name of a study that is shipped ({SHIPPED}).",
    ),
]


def there(context: typer.Context, parameter: typer.CallbackParam, store: Path) -> Path:
    """The store of a command that makes none. Raises InputError where somebody names a folder that
    is not there: what is not there yet is the default store alone.
    """
    from headwater.store import is_there

    source = context.get_parameter_source(str(parameter.name))
    if source is None or source.name in ("DEFAULT", "DEFAULT_MAP") or is_there(store):
        return store
    where = "HEADWATER_STORE" if source.name == "ENVIRONMENT" else "--store"
    folder = store.parent
    if not folder.is_dir():
        raise InputError(f"{where} {store}: there is no such folder, nor {folder}")
    beside = [str(folder / path.name) for path in sorted(folder.iterdir()) if path.is_dir()]
    near = near_names(str(store), [name for name in beside if not Path(name).name.startswith(".")])
    advice = f"; did you mean {near}?" if near else "; `headwater run` makes one"
    raise InputError(f"{where} {store}: there is no such folder, so no store{advice}")


_STORE = "HEADWATER_STORE"
StoreOption = Annotated[
    Path,
    typer.Option("--store", envvar=_STORE, callback=there, help="Folder of results, read."),
]
NewStoreOption = Annotated[
    Path,
    typer.Option("--store", envvar=_STORE, help="Folder of results, made where it is missing."),
]
DataOption = Annotated[
    Path | None,
    typer.Option(
        "--data-root",
        envvar="HEADWATER_DATA",
        help="Folder under which a study's folders are found.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Machine-readable output on stdout.")]
DeviceOption = Annotated[
    str, typer.Option("--device", callback=device_word, help="auto, cpu, cuda or mps.")
]
CompileOption = Annotated[
    bool,
    typer.Option(
        "--compile",
        help="Train through torch.compile; on a CPU it needs a C++ compiler, and seldom pays.",
    ),
]
WorkersOption = Annotated[
    int | None,
    typer.Option(
        "--workers",
        min=1,
        max=256,
        help="Worker processes; one per core when left out, one on a GPU.",
    ),
]
EngineOption = Annotated[
    str,
    typer.Option(
        "--engine",
        metavar="NAME[:WHERE]",
        help="Where the work is done: local (worker processes), inline (all in this process, for "
        "debuggers), slurm (an array of jobs), ray[:ADDRESS] (a cluster). Same results.",
    ),
]
EngineOptionOption = Annotated[
    list[str] | None,
    typer.Option(
        "--engine-option",
        metavar="NAME=VALUE",
        help="A word to the engine (slurm: partition=gpu); may be repeated.",
    ),
]
DetachOption = Annotated[
    bool,
    typer.Option(
        "--detach",
        help="End when the workers of a batch system are submitted; the same command without it "
        "follows them, and writes the report.",
    ),
]
FreshOption = Annotated[
    bool,
    typer.Option(
        "--fresh",
        help="Measure how fast this machine trains now, not what a plan found in the last week.",
    ),
]
VerifyOption = Annotated[
    bool, typer.Option("--verify", help="Open every image first, and name all that cannot be read.")
]
UntilOption = Annotated[
    float | None,
    typer.Option(
        "--until",
        min=0.5,
        max=0.999,
        help="Run by steps, until the answer is right with this probability: seeds go to the arms "
        "that are still in doubt.",
    ),
]
BudgetOption = Annotated[
    str | None,
    typer.Option(
        "--budget",
        metavar="TIME",
        help="With --until: work to be done at most, summed over workers, such as 3h or 90m.",
    ),
]
LayoutOption = Annotated[
    str | None,
    typer.Option(
        "--layout",
        metavar="LAYOUT",
        help="How the folders of FOLDER are read: split/class, class/split, class, flat or "
        "metadata; told from their names when left out.",
    ),
]
LinksOption = Annotated[bool, typer.Option("--follow-links", help="Links may lead out of FOLDER.")]
TrackerOption = Annotated[
    list[str] | None,
    typer.Option(
        "--tracker",
        metavar="NAME[:WHERE]",
        help="Tell training curves and scores to tensorboard, trackio, mlflow or wandb (offline) "
        "as well; in a folder of the store where WHERE is left out. May be given several times.",
    ),
]
QuietOption = Annotated[bool, typer.Option("--quiet", help="No progress display.")]
GpuOption = Annotated[
    str | None,
    typer.Option(
        "--gpu",
        metavar="NAME",
        help="Outline the cost on this GPU (v100, a100, h100, ...) from published numbers; so it "
        "is, on an h100, where data is missing.",
    ),
]
UtilisationOption = Annotated[
    float | None,
    typer.Option("--utilisation", help="Share of its peak that the GPU reaches; 0.35."),
]
DEFAULT_STORE = Path("headwater-store")


def hours_of(budget: str, option: str = "--budget") -> float:
    """'3h' -> 3.0, '90m' -> 1.5. Raises InputError for what is no time above 0."""
    number, unit = budget[:-1], budget[-1:]
    try:
        hours = float(number) / {"h": 1, "m": 60}[unit]
    except (ValueError, KeyError):
        hours = 0.0
    if not 0 < hours < float("inf"):
        raise InputError(f"{option}: {budget!r} is no time; write hours or minutes, as 3h or 90m")
    return hours


def load(
    study: str,
    store: Path,
    data_root: Path | None,
    *,
    create: bool = False,
    verify: bool = False,
    workers: int | None = None,
    quiet: bool = False,
) -> tuple[Plan, Store | None]:
    """The plan of a study, and the store where there is one (made where `create`).

    `verify` opens every image that is not known, in `workers` processes, with a display unless
    `quiet`.
    """
    with uncollected():
        from headwater.plan import A_FEW, EVERYTHING, Plan
        from headwater.plan.resolved import check_store
        from headwater.show.looking import LookDisplay
        from headwater.store import Store, is_there
        from headwater.study import Study

        words = Study.load(study_path(study))
    check_root(data_root)
    check_store(words, store, data_root)
    opened = Store(store, create=create) if create or is_there(store) else None
    with LookDisplay(quiet=quiet) as watch:
        cache = opened.cache if opened else None
        looking = replace(EVERYTHING if verify else A_FEW, workers=workers, watch=watch)
        if create:
            looking = replace(looking, spool=cache)
        plan = Plan.make(words, data_root=data_root, cache=cache, looking=looking)
    return plan, opened


def outlined(study: str, data_root: Path | None, *, asked: bool) -> Outline | None:
    """The outline of a study of which data is missing, or of any where it is `asked` for; None
    where it is planned as ever.
    """
    from headwater.plan.outline import outline
    from headwater.study import Study

    words = Study.load(study_path(study))
    check_root(data_root)
    return outline(words, data_root, asked=asked)


def check_root(data_root: Path | None) -> None:
    if data_root is not None and not data_root.is_dir():
        raise InputError(
            f"--data-root {data_root}: there is no such folder (HEADWATER_DATA sets it too)"
        )


def print_json(value: Any) -> None:
    """Of plain values; a number that JSON does not have (NaN, infinity) is null."""
    typer.echo(plain.json_text(_finite(value), indent=1))


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def folder_of(name: str, data_root: Path | None) -> Path | None:
    """The folder of images that is meant, here or under the data root; None where a study is."""
    from headwater.facts.folders import named_folder

    path = Path(name)
    if not path.is_dir() and (
        path.exists() or name in shipped_studies() or path.suffix in (".yaml", ".yml")
    ):
        return None
    return named_folder(name, data_root, f"no study file, no shipped study ({SHIPPED})")


def options_of(given: Sequence[str] | None) -> dict[str, str]:
    """The words to an engine: {name: value}. Raises InputError for one without a value."""
    options = {}
    for each in given or ():
        name, equals, value = each.partition("=")
        if not (name and equals):
            raise InputError(f"--engine-option: should be NAME=VALUE, not {each!r}")
        options[name] = value
    return options
