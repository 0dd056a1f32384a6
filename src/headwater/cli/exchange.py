"""headwater exchange: how many images of one source are worth one of another."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from headwater.cli.options import (
    DEFAULT_STORE,
    DataOption,
    JsonOption,
    StoreOption,
    load,
    print_json,
)
from headwater.errors import InputError

if TYPE_CHECKING:
    import pandas as pd


def exchange(
    rows: Annotated[
        str | None,
        typer.Argument(
            metavar="ROWS|STUDY",
            help="A table of rows (.csv, .parquet, .jsonl), a store, or a study that ran.",
        ),
    ] = None,
    a: Annotated[
        str | None,
        typer.Argument(metavar="A", help="What is paid with: a source, or an arm without size."),
    ] = None,
    b: Annotated[
        str | None, typer.Argument(metavar="B", help="What is bought: one image of it.")
    ] = None,
    at: Annotated[
        str | None,
        typer.Option("--at", metavar="N,N", help="Sizes of B; those that were run, if left out."),
    ] = None,
    by: Annotated[
        str,
        typer.Option(
            "--by",
            metavar="images|seen",
            help="What is counted: distinct images, or images seen in pre-training.",
        ),
    ] = "images",
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="Compare under this protocol.")
    ] = None,
    shots: Annotated[
        list[str] | None,
        typer.Option("--shots", help="Images per class, or full; several are averaged."),
    ] = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="Only this task; several are averaged. All, if left out."),
    ] = None,
    price: Annotated[
        list[str] | None,
        typer.Option(
            "--price",
            metavar="WHAT=NUMBER",
            help="What one image, label or caption costs, as of `headwater decide`; the answer is "
            "in money as well.",
        ),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            "--target", help="Ask whether the order of A and B flips at so many images of each."
        ),
    ] = None,
    reach: Annotated[
        float,
        typer.Option(
            "--reach",
            min=1,
            help="Rates that need more than so many times what A was run with are refused.",
        ),
    ] = 4.0,
    curves: Annotated[
        Path | None,
        typer.Option(
            "--curves",
            metavar="TABLE",
            help="In place of rows: any table of curves (.csv, .tsv, .parquet) with the columns "
            "curve, n and score; maybe group and score_se.",
        ),
    ] = None,
    predict: Annotated[
        str | None,
        typer.Option("--predict", metavar="N,N", help="With --curves: n at which to predict."),
    ] = None,
    better: Annotated[
        str | None,
        typer.Option(
            "--better",
            metavar="higher|lower",
            help="With --curves: which scores are the better ones; what most curves do, if left "
            "out.",
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many images of A are worth one of B, or what curves are at sizes that were not run, with
    intervals (docs/exchange.md). Trains nothing.
    """
    if curves is not None:
        _of_curves(curves, predict, better, rows, as_json)
        return
    if predict is not None or better is not None:
        raise InputError("--predict and --better are of a table of curves; name it with --curves")
    if rows is None:
        raise InputError(
            "name rows or a study and two sources (headwater exchange STUDY A B), or a table of "
            "curves (--curves TABLE --predict N,N)"
        )
    from headwater.analysis import prepare
    from headwater.cli.decide import prices_of
    from headwater.facts.exchange import curve_names, rate_facts
    from headwater.show.exchange import print_names, print_rate

    table = _rows(rows, store, data_root)
    if a is None or b is None:
        names = curve_names(table, by=by)
        print_json(names) if as_json else print_names(names, rows)
        return
    sizes = None if at is None else _numbers(at, "--at")
    facts = rate_facts(
        table,
        a,
        b,
        at=sizes,
        by=by,
        protocol=protocol,
        shots=_shots(shots),
        tasks=task,
        target=target,
        prices=None if not price else prices_of(price, None, prepare(table)),
        reach=reach,
    )
    print_json(facts) if as_json else print_rate(facts)


def _of_curves(
    curves: Path, predict: str | None, better: str | None, rows: str | None, as_json: bool
) -> None:
    from headwater.facts.exchange import curve_facts
    from headwater.show.exchange import print_curves

    if rows is not None:
        raise InputError("give rows and two sources, or a table with --curves, not both")
    if predict is None:
        raise InputError("--curves: say with --predict at which n")
    facts = curve_facts(curves, _numbers(predict, "--predict"), better=better)
    print_json(facts["predictions"]) if as_json else print_curves(facts)


def _rows(name: str, store: Path, data_root: Path | None) -> pd.DataFrame:
    from headwater.facts.decisions import is_table, read_table

    if is_table(Path(name)):
        return read_table(Path(name))
    plan, opened = load(name, store, data_root)
    if opened is None:
        raise InputError(f"{store}: there is no store yet; run it first: headwater run {name}")
    return plan.rows(opened)


def _shots(words: list[str] | None) -> list[int] | None:
    from headwater.cli.decide import shots_of

    return None if not words else [shots_of(word) for word in words]


def _numbers(text: str, option: str) -> list[float]:
    """'1000,2e4' -> [1000, 20000]."""
    found = []
    for part in text.split(","):
        try:
            found.append(float(part))
        except ValueError:
            raise InputError(f"{option}: {part!r} is no number; write 1000,20000") from None
    return found
