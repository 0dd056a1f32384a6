"""`headwater push` and `headwater pull`: finished work goes from one store to another."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Any

import typer

from headwater.cli.options import DataOption, JsonOption, QuietOption, load, print_json
from headwater.errors import InputError

_STORE = "A folder, or an address (s3://bucket/folder, gs://, az://)."
StudyOption = Annotated[
    str | None, typer.Option("--study", help="Only what this study needs; all when left out.")
]
RowsOption = Annotated[
    bool, typer.Option("--rows-only", help="Rows and answers alone, and no encoder.")
]


def push(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Whose work goes.")],
    to: Annotated[Path, typer.Argument(metavar="TO", help=f"{_STORE} Made where it is missing.")],
    study: StudyOption = None,
    rows_only: RowsOption = False,
    data_root: DataOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring to another store what it lacks of this one: arms, rows, answers, labels made from
    features.

    Can be stopped and started again: what is there is passed over. Nothing damaged is passed on;
    ends with 1 where something is.
    """
    _move(store, to, study, data_root, rows_only=rows_only, quiet=quiet, as_json=as_json)


def pull(
    store: Annotated[Path, typer.Argument(metavar="STORE", help="Made where it is missing.")],
    source: Annotated[Path, typer.Argument(metavar="FROM", help=f"{_STORE}")],
    study: StudyOption = None,
    rows_only: RowsOption = False,
    data_root: DataOption = None,
    quiet: QuietOption = False,
    as_json: JsonOption = False,
) -> None:
    """Bring from another store what this one lacks: `headwater push` the other way round."""
    _move(source, store, study, data_root, rows_only=rows_only, quiet=quiet, as_json=as_json)


def _move(
    source: Path,
    target: Path,
    study: str | None,
    data_root: Path | None,
    *,
    rows_only: bool,
    quiet: bool,
    as_json: bool,
) -> None:
    from headwater.show.moving import moving, print_moved
    from headwater.store import Store
    from headwater.store.moving import copy

    opened = Store(source)
    wanted = {} if study is None else _wanted(study, source, data_root)
    other = Store(target, create=True)
    if opened.address == other.address:
        raise InputError(f"{opened.address}: is the same store as {other.address}")
    told = moving(quiet=quiet or as_json)
    moved = copy(opened, other, encoders=not rows_only, told=told, **wanted)
    facts: dict[str, Any] = {**vars(moved), "from": opened.address, "to": other.address}
    print_json(facts) if as_json else print_moved(moved)
    if moved.damaged:
        raise typer.Exit(1)


def _wanted(study: str, source: Path, data_root: Path | None) -> dict[str, Collection[str]]:
    plan, _ = load(study, source, data_root)
    return {
        "arms": {arm.id for arm in plan.every_arm},
        "cells": {cell.id for cell in plan.cells},
        "labels": {arm.clusters.id for arm in plan.every_arm if arm.clusters is not None},
    }
