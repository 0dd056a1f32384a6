"""What `headwater theory` prints: a study and its cost, the table of its networks, what it says."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rich.table import Table

from headwater.errors import InputError
from headwater.show.console import console
from headwater.theory.analysis.settings import CONSTANTS, constant_word, same, setting_words
from headwater.theory.study import Sweep, TheoryStudy

if TYPE_CHECKING:
    import pandas as pd

    from headwater.store import Store

_FLOPS_PER_S = 4e10
"""Of a core, for guesses of time alone [ours]; half of what a matrix product attained where this
was written.
"""
_MOST_LINES = 100
"""Of a table in a terminal."""
_console = console(soft_wrap=True, highlight=False)


def plan_facts(study: TheoryStudy, store: Store | None, workers: int) -> dict[str, Any]:
    """Networks and cells, what is kept, and a guess of the time."""
    from headwater.theory.work import networks, unfinished

    wanted = networks(study)
    left = unfinished(wanted, store)
    sweeps = []
    for name, sweep in study.theory.items():
        counts = {
            "networks": sum(name in network.sweeps for network in wanted),
            "new": sum(name in network.sweeps for network in left),
        }
        sweeps.append({"sweep": name, **counts, **_axes(sweep)})
    flops = sum(network.work for network in left)
    gib_at_most = max((network.bytes_needed for network in left), default=0) / 2**30
    return {
        "study": study.study,
        "question": study.question,
        "seeds": list(study.seeds),
        "sweeps": sweeps,
        "networks": {"total": len(wanted), "kept": len(wanted) - len(left), "new": len(left)},
        "cells": {
            "total": sum(len(network.readings) for network in wanted),
            "new": sum(len(network.readings) for network in left),
        },
        "flops": flops,
        "minutes": flops / _FLOPS_PER_S / workers / 60,
        "workers": workers,
        "gib": gib_at_most * workers,
    }


def _axes(sweep: Sweep) -> dict[str, Any]:
    """What a sweep sets, as plain values."""
    axes = {}
    for axis, value in sweep.words().items():
        if axis in sweep.model_fields_set:
            axes[axis] = list(value) if isinstance(value, tuple) else value
    return axes


def print_plan(facts: dict[str, Any]) -> None:
    """The plan in text."""
    question = f": {facts['question']}" if facts["question"] else ""
    _console.print(f"{facts['study']}{question}", markup=False, style="bold")
    table = Table("sweep", box=None, header_style="bold")
    for heading in ("networks", "to train"):
        table.add_column(heading, justify="right")
    table.add_column("axes")
    for sweep in facts["sweeps"]:
        axes = [
            _axis_words(axis, value)
            for axis, value in sweep.items()
            if axis not in ("sweep", "networks", "new")
        ]
        counts = (f"{sweep['networks']:,}", f"{sweep['new']:,}")
        table.add_row(sweep["sweep"], *counts, "; ".join(axes) or "defaults")
    _console.print(table)
    networks = facts["networks"]
    _console.print(
        f"{networks['total']:,} networks ({networks['new']:,} to train, {networks['kept']:,} "
        f"kept), {facts['cells']['new']:,} cells to measure; about "
        f"{max(facts['minutes'], 0.1):.1f} minutes and {max(facts['gib'], 0.1):.1f} GiB with "
        f"{facts['workers']} workers",
        markup=False,
    )


def _axis_words(axis: str, value: Any) -> str:
    return f"{axis} {', '.join(map(str, value)) if isinstance(value, list) else value}"


def records(table: pd.DataFrame) -> list[dict[str, Any]]:
    """A table as plain values; what is missing is None."""
    plain = table.astype(object).where(table.notna(), None)
    lines = []
    for row in plain.to_dict("records"):
        lines.append({str(name): value for name, value in row.items()})
    return lines


def print_table(table: pd.DataFrame) -> None:
    """Mean errors over seeds, a line for each setting.

    Of the constants a line has what is not the usual, which stands below.
    """
    ended = table[table["final"].astype(bool)]
    _print_left_out(ended)
    measured = ended[ended["status"] == "done"]
    if not len(measured):
        _console.print("no network has been measured")
        return
    varied = [
        name
        for name in ("read_out", *CONSTANTS)
        if name in measured and measured[name].astype(object).map(str).nunique() > 1
    ]
    usual = {name: measured[name].mode(dropna=False).iloc[0] for name in varied}
    constants = measured[varied].to_dict("records")
    measured = measured.assign(other=[_unusual(row, usual) for row in constants])
    settings = measured.groupby(
        ["other", "subclasses", "num_labels", "labels"], sort=True, dropna=False
    )
    lines = Table(
        "k", "labels", *(["else"] if varied else []), box=None, header_style="bold", pad_edge=False
    )
    for heading in ("seeds", "easy error", "hard error", "least to most", "fine / common", "steps"):
        lines.add_column(heading, justify="right", no_wrap=True)
    for (other, k, _, labels), networks in list(settings)[:_MOST_LINES]:
        others = [str(other)] if varied else []
        lines.add_row(str(k), str(labels), *others, *_errors(networks))
    _console.print(lines)
    if varied:
        _console.print(f"where nothing else is said: {setting_words(usual)}", markup=False)
    if not measured["converged"].all():
        _console.print("+ some networks had not reached the loss at which training ends")
    if len(settings) > _MOST_LINES:
        _console.print(f"{len(settings) - _MOST_LINES:,} more lines: --json, or --out rows.csv")


def _print_left_out(ended: pd.DataFrame) -> None:
    """Networks without errors, which are in no mean."""
    counts = ended.drop_duplicates(["arm", "status"])["status"].value_counts()
    reasons = {
        "diverged": "their loss was no longer finite",
        "failed": "--json says why; the next run tries them again",
    }
    for status, why in reasons.items():
        if counts.get(status, 0):
            _console.print(f"{counts[status]} networks {status} ({why}) and are in no mean below")


def _errors(networks: pd.DataFrame) -> list[str]:
    """The words of a line: seeds, errors, ratio of responses, steps."""
    easy, hard = (networks[f"{samples}_error"].astype(float) for samples in ("easy", "hard"))
    unconverged = "" if networks["converged"].all() else "+"
    return [
        str(networks["seed"].nunique()),
        f"{easy.mean():.3f}",
        f"{hard.mean():.3f}",
        f"{hard.min():.3f} to {hard.max():.3f}",
        _ratio(networks),
        f"{networks['steps'].astype(float).mean():.0f}{unconverged}",
    ]


def _unusual(row: dict[Any, Any], usual: dict[str, Any]) -> str:
    """What of a line's constants is not the usual.

    A width that follows from the number of neurons is not said.
    """
    neurons = row.get("neurons", math.nan)
    follows = "width" if neurons == neurons else None
    words = []
    for name, value in usual.items():
        if name != follows and not same(row[name], value):
            words.append(constant_word(name, row[name]))
    return ", ".join(words)


def _ratio(networks: pd.DataFrame) -> str:
    """Mean response of aligned neurons to fine features over that to the common one."""
    if "fine_aligned_mean" not in networks or networks["fine_aligned_mean"].isna().all():
        return "-"
    fine = networks["fine_aligned_mean"].astype(float)
    return f"{(fine / networks['common_aligned_mean'].astype(float)).mean():.3g}"


def print_findings(facts: dict[str, Any]) -> None:
    """What the table says, a sentence for each answer."""
    for answer in facts["answers"].values():
        if answer["answered"]:
            _console.print(f"- {answer['sentence']}", markup=False)


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
