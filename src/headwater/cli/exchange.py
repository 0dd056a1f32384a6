"""headwater exchange: how many images of one source are worth one of another."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater import plain
from headwater.analysis.words import listed
from headwater.cli.asking import (
    PriceOption,
    ProtocolOption,
    RowsArgument,
    ShotsOption,
    asked_of,
    prices_of,
    shots_of,
)
from headwater.cli.options import DEFAULT_STORE, DataOption, JsonOption, StoreOption, print_json
from headwater.errors import InputError


def exchange(
    rows: Annotated[str | None, RowsArgument] = None,
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
            metavar="images|seen|shots",
            help="What is counted: distinct images, images seen in pre-training, or labelled "
            "images per class of the task.",
        ),
    ] = "images",
    protocol: ProtocolOption = None,
    shots: ShotsOption = None,
    task: Annotated[
        list[str] | None,
        typer.Option("--task", help="Only this task; several are averaged. All, if left out."),
    ] = None,
    price: PriceOption = None,
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
    out: Annotated[
        Path | None,
        typer.Option(
            "--out",
            "-o",
            metavar="FILE",
            help="Draw both curves and the rates: .html (offline), .svg, .png or .pdf.",
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """How many images of A are worth one of B, or what curves are at sizes that were not run, with
    intervals (docs/exchange.md). Trains nothing.
    """
    of_rows = {
        "rows": rows,
        "--at": at,
        "--protocol": protocol,
        "--shots": shots,
        "--task": task,
        "--price": price,
        "--target": target,
        "--out": out,
    }
    if curves is not None:
        if ignored := [name for name, given in of_rows.items() if given]:
            raise InputError(f"--curves: {listed(ignored)} would be of rows; leave that out")
        _of_curves(curves, predict, better, as_json)
        return
    if predict is not None or better is not None:
        raise InputError("--predict and --better are of a table of curves; name it with --curves")
    if rows is None:
        raise InputError(
            "name rows or a study and two sources (headwater exchange STUDY A B), or a table of "
            "curves (--curves TABLE --predict N,N)"
        )
    from headwater.analysis import prepare
    from headwater.analysis.exchange import curves_of_rows, exchange_rate, over_budgets
    from headwater.report import check_chart
    from headwater.show.exchange import print_budgets, print_names, print_rate

    if out is not None:
        check_chart(out)
    table, aim, _ = asked_of(rows, store, data_root)
    if a is None:
        found = curves_of_rows(table, by=by)
        names = [{"name": one.name, "source": one.source, "sizes": sorted(one.n)} for one in found]
        print_json(names) if as_json else print_names(names, rows)
        return
    if b is None:
        raise InputError(f"name what one image of is bought, too: headwater exchange {rows} {a} B")
    aim = replace(
        aim,
        protocol=protocol or aim.protocol,
        shots=tuple(shots_of(word) for word in shots) if shots else aim.shots,
        prices=prices_of(price, aim.prices, prepare(table)) if price else aim.prices,
    )
    sizes = None if at is None else _numbers(at, "--at")
    more: dict[str, Any] = {"at": sizes, "by": by, "tasks": task, "target": target, "reach": reach}
    several = over_budgets(table, a, b, aim, **more)
    if several is not None:
        if out is not None:
            raise InputError(
                f"--out: {a} and {b} were run with several budgets; name one curve of each "
                f"(headwater exchange {rows} lists them)"
            )
        told = several.to_dict()
        print_json(told) if as_json else print_budgets(told)
        return
    answer = exchange_rate(table, a, b, aim, **more)
    facts = answer.to_dict()
    if out is not None:
        from headwater.report import save_exchange

        facts["chart"] = str(save_exchange(facts, out))
    print_json(facts) if as_json else print_rate(facts)


def _of_curves(curves: Path, predict: str | None, better: str | None, as_json: bool) -> None:
    from headwater.facts.exchange import curve_facts
    from headwater.show.exchange import print_curves

    if predict is None:
        raise InputError("--curves: say with --predict at which n")
    facts = curve_facts(curves, _numbers(predict, "--predict"), better=better)
    if not as_json:
        print_curves(facts)
        return
    print_json(facts["predictions"])
    for line in facts["told"]:
        typer.echo(plain.line(f"note: {line}"), err=True)


def _numbers(text: str, option: str) -> list[float]:
    """'1000,2e4' -> [1000, 20000]."""
    found = []
    for part in text.split(","):
        try:
            found.append(float(part))
        except ValueError:
            raise InputError(f"{option}: {part!r} is no number; write 1000,20000") from None
    return found
