"""`headwater decide`: from rows to a decision."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Annotated

import typer

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


def decide(
    rows: Annotated[str, RowsArgument],
    protocol: ProtocolOption = None,
    shots: ShotsOption = None,
    weight: Annotated[
        list[str] | None,
        typer.Option(
            "--weight", metavar="TASK=NUMBER", help="How much a task counts; 1 if left out."
        ),
    ] = None,
    tolerance: Annotated[
        float | None,
        typer.Option("--tolerance", min=0, max=100, help="Points that do not matter; 0.5."),
    ] = None,
    target: Annotated[
        float | None,
        typer.Option(
            "--target",
            min=1,
            max=1e13,
            help="Images of each source in the end: is the order the same there? Four times what "
            "was run, if left out.",
        ),
    ] = None,
    price: PriceOption = None,
    variance: Annotated[
        bool,
        typer.Option("--variance", help="Show what the uncertainty is made of, as tables."),
    ] = False,
    answers: Annotated[
        Path | None,
        typer.Option(
            "--answers",
            metavar="STORE",
            help="The store that a table's rows come from: its answers, image by image, tell how "
            "it is on other test images. Of a study or a store they are at hand.",
        ),
    ] = None,
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which arm to pre-train with, how sure that is, what else could be the best, and what next."""
    from headwater.analysis import decide as decided
    from headwater.analysis import prepare, variance_budget
    from headwater.analysis.evidence import NEEDED
    from headwater.analysis.kept import keeping
    from headwater.show.decision import print_decision
    from headwater.store import Store

    table, aim, kept = asked_of(rows, store, data_root)
    table = prepare(table, only=NEEDED)
    aim = replace(
        aim,
        protocol=protocol or aim.protocol,
        shots=tuple(shots_of(word) for word in shots) if shots else aim.shots,
        weights={**aim.weights, **dict(_weight(word) for word in weight or ())},
        tolerance=aim.tolerance if tolerance is None else tolerance / 100,
        target=aim.target if target is None else target,
        prices=prices_of(price, aim.prices, table) if price else aim.prices,
    )
    if answers is not None:
        kept = Store(answers)
    with keeping(table):
        decision = decided(table, aim, answers=None if kept is None else kept.read_answers)
        budget = variance_budget(table, aim, decision=decision)
    if as_json:
        parts = None if budget is None else budget.to_dict()
        print_json({**decision.to_dict(), "variance": parts})
    else:
        print_decision(decision, budget, tables=variance)


def _weight(word: str) -> tuple[str, float]:
    task, _, number = word.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = 0.0
    if not task or not 0 < weight < float("inf"):
        raise InputError(f"--weight: {word!r} is not TASK=NUMBER with a number above 0")
    return task, weight
