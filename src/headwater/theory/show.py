"""What `headwater theory` shows: a study of simulated networks, its cost, how it gets on, and its
table.
"""

from __future__ import annotations

import contextlib
import difflib
import math
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml
from pydantic import ValidationError
from rich.console import Console
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)
from rich.table import Table

from headwater.errors import InputError
from headwater.theory.analysis.settings import CONSTANTS, constant_word, same, setting_words
from headwater.theory.study import Sweep, TheoryStudy

if TYPE_CHECKING:
    import pandas as pd

    from headwater.store import Store
    from headwater.theory.engine import Event

CHECK = {"d": 512, "width": 32, "batch": 256, "lr": 0.5}
"""The constants of hong2023.md's numerical check [C] where the defaults of a sweep are smaller."""
_FLOPS_PER_S = 4e10
"""Of a core, for guesses of time alone [ours]; half of what a matrix product attained where this
was written.
"""
_PLAIN_EVERY_S = 10.0
_MOST_LINES = 100
"""Of a table in a terminal."""
_console = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 160)


def sweep_of(values: Mapping[str, str], seeds: str | None, *, full_size: bool) -> TheoryStudy:
    """A study of one sweep from options: {axis: `1,32`}.

    Raises InputError that names the option and the nearest axis.
    """
    words: dict[str, Any] = dict(CHECK) if full_size else {}
    for name, text in values.items():
        axis = name.replace("-", "_")
        if axis not in Sweep.model_fields:
            near = difflib.get_close_matches(axis, list(Sweep.model_fields), n=1)
            hint = (
                f"did you mean {near[0]!r}?" if near else f"it has {', '.join(Sweep.model_fields)}"
            )
            raise InputError(f"--set {name}: a sweep has no such axis; {hint}")
        parts = [_value(part.strip()) for part in text.split(",")]
        words[axis] = (
            parts
            if len(parts) > 1 or axis not in ("tune_steps", "test_samples", "looks", "precision")
            else parts[0]
        )
    study: dict[str, Any] = {"study": "theory", "theory": {"sweep": words}}
    if seeds is not None:
        given = [_value(part.strip()) for part in seeds.split(",")]
        study["seeds"] = given if len(given) > 1 else given[0]
    try:
        return TheoryStudy.model_validate(study)
    except ValidationError as error:
        first = error.errors(include_url=False)[0]
        where = next(
            (
                str(part)
                for part in reversed(first["loc"])
                if isinstance(part, str) and (part in Sweep.model_fields or part == "seeds")
            ),
            "",
        )
        option = f"--{where}" if where in ("subclasses", "labels", "seeds") else f"--set {where}"
        raise InputError(
            f"{option}: {first['msg'].removeprefix('Value error, ')}, not {first['input']!r}"
        ) from None


def _value(text: str) -> Any:
    """A number where the text is one."""
    try:
        value = yaml.safe_load(text)
    except yaml.YAMLError:
        return text
    if isinstance(value, str):
        with contextlib.suppress(ValueError):
            return float(value)
    return value if isinstance(value, int | float) and not isinstance(value, bool) else text


def plan_facts(study: TheoryStudy, store: Store | None, workers: int) -> dict[str, Any]:
    """Networks and cells, what is kept, and a guess of the time."""
    from headwater.theory.work import networks, unfinished

    wanted = networks(study)
    left = unfinished(wanted, store)
    flops = sum(one.work for one in left)
    sweeps = [
        {
            "sweep": name,
            "networks": sum(name in one.sweeps for one in wanted),
            "new": sum(name in one.sweeps for one in left),
            **{
                axis: list(value) if isinstance(value, tuple) else value
                for axis, value in sweep.words().items()
                if axis in sweep.model_fields_set
            },
        }
        for name, sweep in study.theory.items()
    ]
    return {
        "study": study.study,
        "question": study.question,
        "seeds": list(study.seeds),
        "sweeps": sweeps,
        "networks": {"total": len(wanted), "kept": len(wanted) - len(left), "new": len(left)},
        "cells": {
            "total": sum(len(one.readings) for one in wanted),
            "new": sum(len(one.readings) for one in left),
        },
        "flops": flops,
        "minutes": flops / _FLOPS_PER_S / workers / 60,
        "workers": workers,
        "gib": max((one.bytes_needed for one in left), default=0) * workers / 2**30,
    }


def print_plan(facts: dict[str, Any]) -> None:
    """The plan in text."""
    _console.print(
        facts["study"] + (f": {facts['question']}" if facts["question"] else ""),
        markup=False,
        style="bold",
    )
    table = Table("sweep", box=None, header_style="bold")
    for heading in ("networks", "to train"):
        table.add_column(heading, justify="right")
    table.add_column("axes")
    for sweep in facts["sweeps"]:
        axes = "; ".join(
            f"{axis} {', '.join(map(str, value)) if isinstance(value, list) else value}"
            for axis, value in sweep.items()
            if axis not in ("sweep", "networks", "new")
        )
        table.add_row(
            sweep["sweep"], f"{sweep['networks']:,}", f"{sweep['new']:,}", axes or "defaults"
        )
    _console.print(table)
    count = facts["networks"]
    _console.print(
        f"{count['total']:,} networks ({count['new']:,} to train, {count['kept']:,} kept), "
        f"{facts['cells']['new']:,} cells to measure; about "
        f"{max(facts['minutes'], 0.1):.1f} minutes and {max(facts['gib'], 0.1):.1f} GiB with "
        f"{facts['workers']} workers",
        markup=False,
    )


@contextlib.contextmanager
def watched(networks: int, *, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """Progress on stderr: a bar in a terminal, a plain line now and then elsewhere."""
    console = Console(stderr=True)
    if quiet or not networks:
        yield lambda event: None
        return
    if console.is_terminal:
        left = (
            TimeElapsedColumn(),
            TextColumn("left"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[last]}"),
        )
        with Progress(
            TextColumn("networks"), BarColumn(), MofNCompleteColumn(), *left, console=console
        ) as progress:
            bar = progress.add_task("networks", total=networks, last="")

            def shown(event: Event) -> None:
                if event.network is not None:
                    progress.update(bar, advance=1, last=event.network.title)
                elif event.kind in ("failed", "died"):
                    console.print(_trouble(event), markup=False)

            yield shown
        return
    done, began, said = 0, time.monotonic(), time.monotonic()

    def told(event: Event) -> None:
        nonlocal done, said
        if event.network is not None:
            done += 1
            if time.monotonic() - said > _PLAIN_EVERY_S or done == networks:
                said = time.monotonic()
                console.print(
                    f"{done} of {networks} networks, {said - began:.0f} s; last "
                    f"{event.network.title}",
                    markup=False,
                )
        elif event.kind in ("failed", "died"):
            console.print(_trouble(event), markup=False)

    yield told


def _trouble(event: Event) -> str:
    names = ", ".join(one.title for one in event.unit.networks[:3])
    return (
        f"failed: {names}: {event.reason}"
        if event.kind == "failed"
        else f"a worker process died with {names}"
    )


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as plain values; what is missing is None."""
    plain = table.astype(object).where(table.notna(), None)
    return [{str(name): value for name, value in row.items()} for row in plain.to_dict("records")]


def print_table(table: pd.DataFrame) -> None:
    """Mean errors over seeds, a line for each setting; of the constants what is not the usual,
    which stands below.
    """
    final = table[table["final"].astype(bool) & (table["status"] == "done")]
    ended = (
        table[table["final"].astype(bool)]
        .drop_duplicates(["arm", "status"])["status"]
        .value_counts()
    )
    for status, why in (
        ("diverged", "their loss was no longer finite"),
        ("failed", "--json says why; the next run tries them again"),
    ):
        if ended.get(status, 0):
            _console.print(f"{ended[status]} networks {status} ({why}) and are in no mean below")
    if not len(final):
        _console.print("no network has been measured")
        return
    varied = [
        name
        for name in ("read_out", *CONSTANTS)
        if name in final and final[name].astype(object).map(str).nunique() > 1
    ]
    usual = {name: final[name].mode(dropna=False).iloc[0] for name in varied}
    final = final.assign(other=[_unusual(row, usual) for row in final[varied].to_dict("records")])
    shown = Table(
        "k", "labels", *(["else"] if varied else []), box=None, header_style="bold", pad_edge=False
    )
    for heading in ("seeds", "easy error", "hard error", "least to most", "fine / common", "steps"):
        shown.add_column(heading, justify="right", no_wrap=True)
    groups = list(
        final.groupby(["other", "subclasses", "num_labels", "labels"], sort=True, dropna=False)
    )
    for (more, k, _, labels), part in groups[:_MOST_LINES]:
        hard = part["hard_error"].astype(float)
        shown.add_row(
            str(k),
            str(labels),
            *([str(more)] if varied else []),
            str(part["seed"].nunique()),
            f"{part['easy_error'].astype(float).mean():.3f}",
            f"{hard.mean():.3f}",
            f"{hard.min():.3f} to {hard.max():.3f}",
            _ratio(part),
            f"{part['steps'].astype(float).mean():.0f}" + ("" if part["converged"].all() else "+"),
        )
    _console.print(shown)
    if varied:
        _console.print(f"where nothing else is said: {setting_words(usual)}", markup=False)
    if not final["converged"].all():
        _console.print("+ some networks had not reached the loss at which training ends")
    if len(groups) > _MOST_LINES:
        _console.print(f"{len(groups) - _MOST_LINES:,} more lines: --json, or --out rows.csv")


def _unusual(row: dict[Any, Any], usual: dict[str, Any]) -> str:
    """What of a line's constants is not the usual; a width that follows from the number of neurons
    is not said.
    """
    follows = "width" if row.get("neurons", math.nan) == row.get("neurons", math.nan) else None
    return ", ".join(
        constant_word(name, row[name])
        for name in usual
        if name != follows and not same(row[name], usual[name])
    )


def _ratio(part: pd.DataFrame) -> str:
    """Mean response of aligned neurons to fine features over that to the common one."""
    if "fine_aligned_mean" not in part or part["fine_aligned_mean"].isna().all():
        return "-"
    ratio = part["fine_aligned_mean"].astype(float) / part["common_aligned_mean"].astype(float)
    return f"{ratio.mean():.3g}"


def print_findings(facts: dict[str, Any]) -> None:
    """What the table says, a sentence an answer."""
    said = [answer["sentence"] for answer in facts["answers"].values() if answer["answered"]]
    for sentence in said:
        _console.print(f"- {sentence}", markup=False)


def table_of(name: str, path: Path) -> pd.DataFrame:
    """The networks of a table of rows (.csv, .parquet, .jsonl).

    Raises InputError where there are none.
    """
    from headwater.rows import read_rows
    from headwater.theory.analysis.table import networks_table

    table = networks_table(read_rows(path))
    if not len(table):
        raise InputError(
            f"{name}: there is no row of a simulated network; `headwater theory run --out "
            "rows.csv` writes some"
        )
    return table


def study_table(study: TheoryStudy, store: Path) -> tuple[pd.DataFrame, int]:
    """(the networks of a study that a store has, number of those that it lacks).

    Raises InputError where it has none.
    """
    from headwater.store import Store
    from headwater.theory.analysis.table import networks_table
    from headwater.theory.work import network_rows, networks, unfinished

    if not store.exists():
        raise InputError(
            f"{store}: there is no store here; `headwater theory run` with the same study or "
            "options makes one"
        )
    opened = Store(store)
    table = networks_table(network_rows(study, opened))
    if not len(table):
        raise InputError(
            f"{store}: no network of {study.study} is there yet; `headwater theory run` with the "
            "same study or options trains them"
        )
    return table, len(unfinished(networks(study), opened))
