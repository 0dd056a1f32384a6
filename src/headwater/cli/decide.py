"""`headwater decide`: from rows to a decision."""

from __future__ import annotations

import difflib
import math
from dataclasses import replace
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

    from headwater.analysis import Aim, Prices
    from headwater.store import Store


def decide(
    rows: Annotated[
        str,
        typer.Argument(
            metavar="ROWS|STUDY",
            help="A table of rows (.csv, .parquet, .jsonl), a store, or a study that ran.",
        ),
    ],
    protocol: Annotated[
        str | None, typer.Option("--protocol", help="Decide by this protocol.")
    ] = None,
    shots: Annotated[
        list[str] | None,
        typer.Option("--shots", help="Images per class, or full; several are averaged."),
    ] = None,
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
    price: Annotated[
        list[str] | None,
        typer.Option(
            "--price",
            metavar="WHAT=NUMBER",
            help="What one image, label, caption or gpu_hour costs, in a unit of money that you "
            "choose: label=0.05, gpu_hour=2; label:VIEW=0.02 for labels of one view. Left out: "
            "free; without any, costs are hours.",
        ),
    ] = None,
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

    table, aim, kept = _asked(rows, store, data_root)
    table = prepare(table, only=NEEDED)
    aim = replace(
        aim,
        protocol=protocol or aim.protocol,
        shots=tuple(shots_of(word) for word in shots) if shots else aim.shots,
        weights={**aim.weights, **dict(_weight(word) for word in weight or ())},
        tolerance=aim.tolerance if tolerance is None else tolerance / 100,
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


def _asked(
    name: str, store: Path, data_root: Path | None
) -> tuple[pd.DataFrame, Aim, Store | None]:
    """(rows, what they are to decide, where their answers are)."""
    from headwater.analysis import Aim
    from headwater.facts.decisions import aim_of, is_table, read_table
    from headwater.steps import looks_error_of
    from headwater.store import Store

    if is_table(Path(name)):
        if not Path(name).is_dir():
            return read_table(Path(name)), Aim(), None
        kept = Store(Path(name))
        return read_table(Path(name)), Aim(error=looks_error_of(kept)), kept
    plan, opened = load(name, store, data_root)
    if opened is None:
        raise InputError(
            f"{store}: there is no store yet; run the study first: headwater run {name}"
        )
    return plan.rows(opened), aim_of(plan.study, opened), opened


def shots_of(word: str) -> int:
    """A word of `--shots` as a number; -1 for all images."""
    if word in ("full", "all"):
        return -1
    if not word.isdigit() or int(word) < 1:
        raise InputError(f"--shots: {word!r} is neither a number of images from 1 nor full")
    return int(word)


def _weight(word: str) -> tuple[str, float]:
    task, _, number = word.rpartition("=")
    try:
        weight = float(number)
    except ValueError:
        weight = 0.0
    if not task or not 0 < weight < float("inf"):
        raise InputError(f"--weight: {word!r} is not TASK=NUMBER with a number above 0")
    return task, weight


def prices_of(words: list[str], of_study: Prices | None, table: pd.DataFrame) -> Prices:
    """The study's prices, with those of the command line in their place. One price for all views
    stays that of the views that the command line does not name.
    """
    from headwater.analysis import Prices
    from headwater.analysis.configurations import configurations
    from headwater.analysis.prices import KINDS, MOST, paid_views

    given = {} if of_study is None else of_study.to_dict()
    views: dict[str, float] = {}
    said: set[str] = set()
    for word in words:
        what, _, number = word.rpartition("=")
        kind, _, view = what.partition(":")
        if kind not in KINDS or (":" in what and (kind != "label" or not view)):
            near = difflib.get_close_matches(kind, KINDS, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else ""
            raise InputError(
                f"--price: {word!r} is not WHAT=NUMBER, where WHAT is {', '.join(KINDS)} or "
                f"label:VIEW{hint}"
            )
        try:
            price = float(number)
        except ValueError:
            price = math.nan
        if not 0 <= price <= MOST:
            raise InputError(f"--price: {word!r} has no number from 0 to 1e15")
        if what in said:
            raise InputError(f"--price: {what} is given twice")
        said.add(what)
        if view:
            views[view] = price
        else:
            given[kind] = price
    if views and "label" in said:
        raise InputError("--price: give label=NUMBER, or label:VIEW=NUMBER for each view, not both")
    if views:
        before = given.get("label", 0.0)
        if not isinstance(before, dict):
            paid = paid_views(configurations(table).values()) if before else set()
            before = dict.fromkeys(sorted(paid), before)
        given["label"] = {**before, **views}
    return Prices(**given)
