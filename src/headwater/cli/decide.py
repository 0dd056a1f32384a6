"""`headwater decide`: from rows to a decision."""

from __future__ import annotations

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

    from headwater.analysis import Aim


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
    store: StoreOption = DEFAULT_STORE,
    data_root: DataOption = None,
    as_json: JsonOption = False,
) -> None:
    """Which arm to pre-train with, how sure that is, what else could be the best, and what next."""
    from headwater.analysis import decide as decided
    from headwater.show.decision import print_decision

    table, aim = _asked(rows, store, data_root)
    aim = replace(
        aim,
        protocol=protocol or aim.protocol,
        shots=tuple(_shots(word) for word in shots) if shots else aim.shots,
        weights={**aim.weights, **dict(_weight(word) for word in weight or ())},
        tolerance=aim.tolerance if tolerance is None else tolerance / 100,
    )
    decision = decided(table, aim)
    print_json(decision.to_dict()) if as_json else print_decision(decision)


def _asked(name: str, store: Path, data_root: Path | None) -> tuple[pd.DataFrame, Aim]:
    from headwater.analysis import Aim
    from headwater.facts.decisions import aim_of, is_table, read_table
    from headwater.steps import looks_error_of
    from headwater.store import Store

    if is_table(Path(name)):
        error = looks_error_of(Store(Path(name))) if Path(name).is_dir() else None
        return read_table(Path(name)), Aim(error=error)
    plan, opened = load(name, store, data_root)
    if opened is None:
        raise InputError(
            f"{store}: there is no store yet; run the study first: headwater run {name}"
        )
    return plan.rows(opened), aim_of(plan.study, opened)


def _shots(word: str) -> int:
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
