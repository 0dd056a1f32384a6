"""What `headwater plan` shows of a study whose data is not there, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.markup import escape
from rich.table import Table

from headwater import plain
from headwater.analysis.words import count
from headwater.show.console import console, name_of
from headwater.show.study import tasks_table

_console = console(soft_wrap=True, highlight=False)


def print_outline(facts: Mapping[str, Any]) -> None:
    """The outline as tables, seeds folded together."""
    question = f": {escape(plain.line(facts['question']))}" if facts["question"] else ""
    _console.print(f"[bold]{name_of(facts['study'])}[/bold]{question}")
    first = "an outline from published numbers: no image was opened"
    if facts["missing"]:
        first += ", and nothing runs before the data is there"
    _console.print(first, markup=False)
    _console.print(_data_table(facts["data"]))
    _console.print(_arms_table(facts["arms"]))
    _console.print(tasks_table(facts["tasks"]))
    if facts["supports"]:
        number = count(len(facts["supports"]), "arm")
        _console.print(f"beside these {number} for features that labels are made from")
    for line in (_work(facts), _disk(facts["cost"])):
        _console.print(plain.line(line), markup=False)
    for line in _origins(facts["data"]):
        _console.print(plain.line(line), markup=False)
    for note in facts["notes"]:
        _console.print(plain.line(f"note: {note}"), markup=False)
    if facts["missing"]:
        _console.print("not there:", markup=False)
    for each in facts["missing"]:
        advice = f": {each['advice']}" if each["advice"] else ""
        line = f"{each['data']}: {each['title']} at {each['path']!r}{advice}"
        _console.print(f"  {plain.line(line)}", markup=False)


def _data_table(data: list[dict[str, Any]]) -> Table:
    table = Table("data", box=None, header_style="bold")
    table.columns[0].no_wrap = True
    for heading in ("images", "GB", "in the paper"):
        table.add_column(heading, justify="right", no_wrap=True)
    table.add_column("there")
    table.add_column("where the number of images is from")
    for row in data:
        images = sum(row["images"].values())
        used = ", ".join(dict.fromkeys(f"{value:,}" for value in row["used_by"].values()))
        table.add_row(
            name_of(row["data"]),
            f"{images:,}",
            "-" if row["whole_gb"] is None else f"{row['whole_gb']:,.0f}",
            used or "-",
            "yes" if row["there"] else "no",
            name_of(row["images_from"]),
        )
    return table


def _origins(data: list[dict[str, Any]]) -> Iterator[str]:
    """Where numbers of classes and sizes of images are from."""
    for row in data:
        sources = "; ".join(dict.fromkeys(level["source"] for level in row["levels"]))
        if sources:
            yield f"classes of {row['data']}: {sources}"
        if row["gb_from"]:
            yield f"GB of {row['data']}: {row['gb_from']}"


def _arms_table(arms: list[dict[str, Any]]) -> Table:
    table = Table("arm", box=None, header_style="bold")
    table.columns[0].no_wrap = True
    for heading in ("images", "classes", "images seen", "steps", "seeds", "cells", "GPU-hours"):
        table.add_column(heading, justify="right")
    same: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for arm in arms:
        key = tuple(str(arm.get(word)) for word in ("method", "source", "labels", "size", "budget"))
        same.setdefault((*key, str(arm.get("lr_factor"))), []).append(arm)
    for seeds in same.values():
        first = seeds[0]
        numbers = (first["images"], first["classes"], first["images_seen"], first["steps"])
        table.add_row(
            name_of(_title(first)),
            *(f"{number:,}" if number else "-" for number in numbers),
            f"{len(seeds)}",
            f"{sum(arm['cells'] for arm in seeds):,}",
            _hours(sum(arm["gpu_hours"] for arm in seeds)),
        )
    return table


def _title(arm: Mapping[str, Any]) -> str:
    """How a person calls an arm, without its seed."""
    size = arm.get("size")
    words = [arm["method"], arm.get("source"), arm.get("labels")]
    words += [None if size in (None, "all") else f"{size:,} images"]
    for unit, value in (arm.get("budget") or {}).items():
        words.append(f"{value:,.15g} {unit.replace('_', ' ')}")
    factor = arm.get("lr_factor")
    words += [None if factor is None else f"{factor:g} x lr"]
    return " · ".join(str(word) for word in words if word)


def _hours(hours: float) -> str:
    """Hours, with two digits where they are few."""
    if hours and hours < 0.01:
        return "< 0.01"
    return "-" if not hours else f"{hours:,.0f}" if hours >= 10 else f"{hours:.2g}"


def _work(facts: Mapping[str, Any]) -> str:
    cost, gpu = facts["cost"], facts["gpu"]
    flops = cost["pretrain_flops"] + cost["finetune_flops"] + cost["feature_flops"]
    fits = cost["fit_core_hours"]
    cores = f", and {_hours(fits)} core-hours of fits" if fits >= 0.1 else ""
    return (
        f"{len(facts['arms'])} arms, {facts['cells']:,} cells: {cost['pretrain_images']:,} images "
        f"of pre-training, {cost['finetune_images']:,} of fine-tuning, {flops:.2e} FLOPs: "
        f"{_hours(cost['gpu_hours'])} hours of one {gpu['title']} at "
        f"{gpu['utilisation']:g} of its {gpu['tflops']:,g} TFLOP/s "
        f"({_hours(cost['pretrain_gpu_hours'])} of them pre-training){cores}"
    )


def _disk(cost: Mapping[str, Any]) -> str:
    encoded = cost["encoded_gb"]
    known = "sizes of images are not known" if encoded is None else f"{encoded:,.0f} GB encoded"
    return (
        f"disk: {known} (sources, at the largest size of each), {cost['cache_gb']:,.0f} GB more if "
        f"their decoded pixels are kept, {cost['tasks_cache_gb']:,.0f} GB for tasks' pixels, "
        f"{cost['kept_gb']:,.1f} GB of weights, features and rows"
    )
