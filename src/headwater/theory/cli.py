"""headwater theory: networks on simulated common and rare features."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater import plain
from headwater.cli.hardness import hardness
from headwater.cli.options import (
    DEFAULT_STORE,
    JsonOption,
    NewStoreOption,
    StoreOption,
    WorkersOption,
    print_json,
)
from headwater.cli.studies import study_path
from headwater.errors import InputError

if TYPE_CHECKING:
    from headwater.theory.study import TheoryStudy

theory_app = typer.Typer(
    name="theory",
    help="See rare features being learned, or not: the model of Hong et al. 2023, simulated "
    "(docs/theory.md).",
    no_args_is_help=True,
)
DEFAULT_STUDY = "theory"

SweepArgument = Annotated[
    str | None,
    typer.Argument(
        metavar="[STUDY]",
        help="A study of the theory (YAML), or `theory`, the default sweep, which is meant where "
        "nothing is said.",
    ),
]
SubclassesOption = Annotated[
    str | None,
    typer.Option("--subclasses", "-k", metavar="1,32", help="k: subclasses of each superclass."),
]
LabelsOption = Annotated[
    str | None,
    typer.Option(
        "--labels",
        metavar="A,B",
        help="coarse, fine, merge:K, random:K, random:K within coarse (or fine), shuffle:K, "
        "instance; else coarse,fine.",
    ),
]
SeedsOption = Annotated[
    str | None,
    typer.Option("--seeds", metavar="N|A,B", help="How many seeds, or which; 3 when left out."),
]
SetOption = Annotated[
    list[str] | None,
    typer.Option(
        "--set",
        metavar="NAME=A,B",
        help="Any other axis of a sweep: d, width, sigma_zeta, sigma_star, hard_share, ... "
        "(docs/theory.md).",
    ),
]
FullOption = Annotated[
    bool,
    typer.Option(
        "--full-size",
        help="The constants of the numerical check: d=512, 32 neurons a head, batches of 256; some "
        "16 times the cost.",
    ),
]


def _study(
    study: str | None,
    subclasses: str | None,
    labels: str | None,
    seeds: str | None,
    others: list[str] | None,
    full_size: bool,
) -> TheoryStudy:
    """The study that is meant: a file, the default one, or a sweep of its own from options."""
    from headwater.theory.study import TheoryStudy
    from headwater.theory.sweep_options import sweep_of

    given = {}
    if subclasses is not None:
        given["subclasses"] = subclasses
    if labels is not None:
        given["labels"] = labels
    for option in others or ():
        name, equals, value = option.partition("=")
        if not equals or not value:
            raise InputError(f"--set {option}: write NAME=VALUE, or NAME=A,B for several")
        axis = name.strip().replace("-", "_")
        if axis == "seeds":
            raise InputError("--set seeds: seeds have an option of their own, --seeds")
        if axis in given:
            raise InputError(f"--set {axis}: is given twice; several values are written NAME=A,B")
        given[axis] = value
    if not (given or seeds is not None or full_size):
        return TheoryStudy.load(study_path(study or DEFAULT_STUDY))
    if study is not None:
        raise InputError(
            f"theory: options describe a sweep of their own; leave {study!r} out, or write them "
            "into a study file"
        )
    return sweep_of(given, seeds, full_size=full_size)


@theory_app.command("run")
def run_theory(
    study: SweepArgument = None,
    subclasses: SubclassesOption = None,
    labels: LabelsOption = None,
    seeds: SeedsOption = None,
    others: SetOption = None,
    full_size: FullOption = False,
    store: NewStoreOption = DEFAULT_STORE,
    out: Annotated[
        Path | None,
        typer.Option(
            "--out", "-o", metavar="FILE", help="Write the rows as well: .csv, .parquet or .jsonl."
        ),
    ] = None,
    workers: WorkersOption = None,
    quiet: Annotated[bool, typer.Option("--quiet", help="No progress display.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Train simulated networks that the store lacks, and show what they have learned.

    Can be stopped and started again at any time.
    """
    run_and_show(
        _study(study, subclasses, labels, seeds, others, full_size),
        store,
        out=out,
        workers=workers,
        quiet=quiet,
        as_json=as_json,
    )


def run_and_show(
    study: TheoryStudy,
    store: Path,
    *,
    out: Path | None,
    workers: int | None,
    quiet: bool,
    as_json: bool,
) -> None:
    """Run a study of the theory and show its table; exit code 1 where a network failed."""
    from headwater.theory.work import network_rows, networks, set_aside_damaged, unfinished

    wanted = networks(study)
    if out is not None and out.suffix not in (".csv", ".parquet", ".jsonl"):
        raise InputError(f"{out}: rows are written as .csv, .parquet or .jsonl")
    from headwater.rows import write_rows
    from headwater.store import Store
    from headwater.theory import engine
    from headwater.theory import show as shown
    from headwater.theory.analysis import findings
    from headwater.theory.analysis.table import networks_table
    from headwater.theory.progress import watched

    opened = Store(store, create=True)
    set_aside_damaged(wanted, opened)
    with watched(len(unfinished(wanted, opened)), quiet=quiet or as_json) as watch:
        engine.run(study, opened, workers=workers, watch=watch)
    rows = network_rows(study, opened)
    if out is not None:
        write_rows(rows, out)
    table = networks_table(rows)
    if as_json:
        print_json(shown.records(table))
    else:
        shown.print_table(table)
        if (table["status"] == "done").any():
            shown.print_findings(findings(table))
    if (rows["status"] == "failed").any():
        raise typer.Exit(1)


@theory_app.command("plan")
def plan_theory(
    study: SweepArgument = None,
    subclasses: SubclassesOption = None,
    labels: LabelsOption = None,
    seeds: SeedsOption = None,
    others: SetOption = None,
    full_size: FullOption = False,
    store: StoreOption = DEFAULT_STORE,
    workers: WorkersOption = None,
    as_json: JsonOption = False,
) -> None:
    """Networks, what is done, and about how long the rest will take. Runs nothing."""
    show_plan(
        _study(study, subclasses, labels, seeds, others, full_size),
        store,
        workers=workers,
        as_json=as_json,
    )


def show_plan(study: TheoryStudy, store: Path, *, workers: int | None, as_json: bool) -> None:
    """Show the networks of a study and what the rest of them will cost."""
    from headwater.engines.cores import default_workers
    from headwater.store import Store
    from headwater.theory import show as shown

    facts = shown.plan_facts(
        study, Store(store) if store.exists() else None, workers or default_workers("cpu")
    )
    print_json(facts) if as_json else shown.print_plan(facts)


@theory_app.command("plot")
def plot_theory(
    study: Annotated[
        str | None,
        typer.Argument(
            metavar="[STUDY|ROWS]",
            help="A study of the theory, or rows that `headwater theory run --out` wrote; the "
            "default sweep.",
        ),
    ] = None,
    subclasses: SubclassesOption = None,
    labels: LabelsOption = None,
    seeds: SeedsOption = None,
    others: SetOption = None,
    full_size: FullOption = False,
    out: Annotated[
        Path,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="The figures: .html (one offline page), .svg, .png or .pdf.",
        ),
    ] = Path("theory.html"),
    store: StoreOption = DEFAULT_STORE,
    as_json: JsonOption = False,
) -> None:
    """Draw what was computed: errors against k, responses over time, the phase diagram, the U; and
    say what it shows. Trains nothing.
    """
    from headwater.report import check_chart

    check_chart(out)
    from headwater.theory import show as shown
    from headwater.theory.analysis import findings
    from headwater.theory.report import save_theory

    lacks = 0
    if study is not None and Path(study).suffix in (".csv", ".parquet", ".jsonl"):
        if subclasses or labels or seeds or others or full_size:
            raise InputError(
                f"theory plot: options describe a sweep of the store; {study} is a table of rows"
            )
        table = shown.table_of(study, Path(study))
    else:
        table, lacks = shown.study_table(
            _study(study, subclasses, labels, seeds, others, full_size), store
        )
    facts = findings(table) | {"lacks": lacks}
    facts["figures"] = [str(path) for path in save_theory(table, out)]
    if as_json:
        print_json(facts)
    else:
        shown.print_findings(facts)
        if lacks:
            typer.echo(
                f"beware: {lacks} networks of this study are not there yet; `headwater theory run` "
                "trains them"
            )
        typer.echo(plain.line(f"figures: {', '.join(facts['figures'])}"))


theory_app.command("hardness")(hardness)  # the same question asked of real photos
