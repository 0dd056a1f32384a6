"""What the charts of a report have in common: their tables, records, axes and tooltips."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from headwater.analysis.compare import summarise
from headwater.analysis.configurations import main_metric, prepare
from headwater.analysis.words import missing, shots_place, shots_word, shots_words
from headwater.report.charts.theme import DASHES, Spec
from headwater.report.palette import arm_colours, arm_word

if TYPE_CHECKING:
    import pandas as pd

FILL: Spec = {"condition": {"test": "datum.decides", "value": 1}, "value": 0}
"""Hollow where a number decides nothing."""


@dataclass(frozen=True)
class Panel:
    """One small chart: what it shows, the setting that it belongs to (None = it spans that axis),
    and its specification without a width.
    """

    kind: str
    """Of the charts that the analyses declare: accuracy, granularity, gap, shots, ..."""
    task: str
    protocol: str
    shots: str | None
    title: str
    spec: Spec

    @property
    def with_images(self) -> str:
        """', 5 images per class' after a protocol, ', all images'; '' where it spans the shots."""
        if self.shots is None:
            return ""
        return f", {shots_words([None if self.shots == 'all' else self.shots])}"


@dataclass(frozen=True)
class Evidence:
    """What panels are made from."""

    table: pd.DataFrame
    """Prepared rows (headwater.analysis.prepare)."""
    metric: str
    """The main metric: the only one that is drawn."""
    summary: pd.DataFrame
    """Of `summarise`: the means of that metric on whole test sets."""
    colours: dict[str, str]
    """Word of `arm_word` -> colour."""
    dashes: dict[str, list[int]] = field(default_factory=dict)
    """Source -> dash of its lines."""
    majority: dict[str, float] = field(default_factory=dict)
    """Task -> what always giving its most frequent class attains, in percent; where it is known."""


def evidence_of(rows: pd.DataFrame) -> Evidence:
    """Raises InputError where a required column of the schema is missing."""
    table = prepare(rows)
    metric = main_metric(table)
    summary = summarise(table)
    summary = summary[(summary["metric"] == metric) & summary["mean"].notna()]
    whole = summary[summary["subset"] == "all"]
    return Evidence(
        table,
        metric,
        whole,
        arm_colours(summary),
        _dashes(summary["source"].dropna()),
        _majority(table) if metric == "top1" else {},
    )


def _dashes(sources: pd.Series[Any]) -> dict[str, list[int]]:
    words = list(dict.fromkeys(map(str, sources)))
    return {word: DASHES[place % len(DASHES)] for place, word in enumerate(words)}


def _majority(table: pd.DataFrame) -> dict[str, float]:
    whole = table[table["subset"] == "all"]
    shares = whole.groupby("task", observed=True)["task_majority"].max().dropna()
    return {str(task): round(100 * float(share), 3) for task, share in shares.items()}


def split(frame: pd.DataFrame, columns: list[str]) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Groups in the order of their keys, with shots as words ('1', '5', 'all')."""
    in_words = frame.assign(shots=[shots_word(shots) for shots in frame["shots"]])
    groups = list(in_words.groupby(columns, sort=False))
    yield from sorted(groups, key=lambda group: _places(group[0]))


def _places(key: tuple[Any, ...]) -> list[tuple[tuple[bool, int], str]]:
    """Numbers ascend, then words by the alphabet, and 'all' is last."""
    return [(shots_place(str(word)), str(word)) for word in key]


def in_percent(share: Any) -> float | None:
    return None if missing(share) else round(100 * float(share), 3)


def record(row: dict[Any, Any], **more: Any) -> dict[str, Any]:
    """What a mark stands for: the mean of an arm with its interval, and what a tooltip tells.

    The interval is cut to what a share can be, from 0 to 100 %; `spread` tells it whole.
    """
    half = None if missing(row["low"]) else 50 * (float(row["high"]) - float(row["low"]))
    low, high = in_percent(row["low"]), in_percent(row["high"])
    return {
        "name": row["name"],
        "short": short(str(row["name"])),
        "arm": arm_word(row["method"], row["labels"]),
        "source": "" if missing(row.get("source")) else str(row.get("source")),
        "mean": in_percent(row["mean"]),
        "low": None if low is None else max(0.0, low),
        "high": None if high is None else min(100.0, high),
        "spread": "one seed: no interval" if half is None else f"\u00b1 {half:.1f} points",
        "seeds": int(row["num_seeds"]),
        "cells": int(row["num_cells"]),
        "decides": bool(row["decides"]),
        "note": _why_hollow(row),
        **more,
    }


def _why_hollow(row: dict[Any, Any]) -> str:
    if row["decides"]:
        return ""
    if row.get("label_reuse", True):
        return "labels re-used: decides nothing"
    return "every test image is a copy: decides nothing"


def short(name: str) -> str:
    """A name without the usual method."""
    return name.removeprefix("supervised ")


def domain(
    values: list[dict[str, Any]], *, zero: bool = False, also: Iterable[float] = ()
) -> list[float]:
    """The range that holds all means and their intervals, with some room; 0 as well where `zero`
    (differences are shown), and `also` other places on the axis.
    """
    known = [number for name in ("mean", "low", "high") for number in _known(values, name)]
    known += [*also, *([0.0] if zero else [])]
    low, high = min(known), max(known)
    room = 0.04 * max(high - low, 2.0)
    return [_rounded(low - room), _rounded(high + room)]


def _rounded(number: float) -> float:
    return round(number, 3)


def _known(values: list[dict[str, Any]], field: str) -> list[float]:
    return [value[field] for value in values if value[field] is not None]


def axis(
    values: list[dict[str, Any]],
    title: str,
    *,
    zero: bool = False,
    also: Iterable[float] = (),
) -> Spec:
    """The channel of a quantity with its intervals; `zero` and `also` as in `domain`."""
    return {
        "type": "quantitative",
        "scale": {"domain": domain(values, zero=zero, also=also), "nice": False, "zero": False},
        "axis": {"title": title, "tickCount": 5},
    }


def shots_axis(values: list[dict[str, Any]]) -> Spec:
    counts = {str(value["shots"]) for value in values}
    return {
        "field": "shots",
        "type": "ordinal",
        "sort": sorted(counts, key=shots_place),
        "axis": {"title": "training images per class", "labelAngle": 0, "grid": False},
    }


def tip(*fields: tuple[str, str]) -> list[dict[str, str]]:
    """A tooltip of (field, title)."""
    fields_shown = []
    for name, title in fields:
        shown = {"field": name, "title": title}
        if name in ("mean", "low", "high"):
            shown["format"] = ".1f"
        fields_shown.append(shown)
    return fields_shown


def arm_tip(values: list[dict[str, Any]], *more: tuple[str, str]) -> list[dict[str, str]]:
    """What hovering over an arm tells; the note only where some arm has one."""
    fields = [
        *more,
        ("name", "arm"),
        ("mean", "right, %"),
        ("spread", "95 %"),
        ("seeds", "seeds"),
        ("cells", "cells"),
    ]
    if any(value["note"] for value in values):
        fields.append(("note", "note"))
    return tip(*fields)
