"""How much the choice of source matters: best minus worst source against shots."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from headwater.analysis.gap import POOLED, source_gap
from headwater.analysis.words import missing
from headwater.report.charts.panel import (
    Evidence,
    Panel,
    axis,
    in_percent,
    short,
    shots_axis,
    split,
    tip,
)
from headwater.report.charts.theme import REFERENCE, SCHEMA, Spec
from headwater.report.palette import GREY, arm_word

_SHAPES = ("circle", "square", "diamond", "triangle-up", "triangle-down", "cross")
"""For those that share a colour, as their labels do."""
_LEGEND: Spec = {"columns": 1, "labelLimit": 300}


def panels(evidence: Evidence) -> Iterator[Panel]:
    """One a protocol and task; first those of all tasks together."""
    gaps = source_gap(evidence.table)
    gaps = gaps.assign(rank=(gaps["task"] != POOLED).astype(int))
    arms = _arms(evidence)
    contexts = [*arms.by_context, *gaps["context"]]
    names = list(dict.fromkeys(short(str(context)) for context in contexts))
    for (_, protocol, task), rows in split(gaps, ["rank", "protocol", "task"]):
        records = [_record(row, arms) for row in rows.to_dict("records")]
        values = [value for value in records if value["mean"] is not None]
        if values:
            drawn = {value["short"] for value in values}
            order = [name for name in names if name in drawn]
            spec = _spec(values, order, evidence.colours)
            yield Panel("gap", str(task), str(protocol), None, title=str(task), spec=spec)


@dataclass(frozen=True)
class _Arms:
    """Which arm's colour stands for a context."""

    by_context: dict[str, str]
    """Context -> word of `arm_word`, in the order of the arms."""
    by_method: dict[str, str]
    """For contexts in which each source has labels of its own: the method's first arm."""

    def of(self, context: str) -> str:
        method = re.split(r"[ ,]", context)[0]
        return self.by_context.get(context) or self.by_method.get(method, short(context))


def _arms(evidence: Evidence) -> _Arms:
    by_context: dict[str, str] = {}
    by_method: dict[str, str] = {}
    for row in evidence.summary.sort_values("order").to_dict("records"):
        word = arm_word(row["method"], row["labels"])
        by_context.setdefault(str(row["context"]), word)
        by_method.setdefault(str(row["method"]), word)
    return _Arms(by_context, by_method)


def _record(row: dict[Any, Any], arms: _Arms) -> dict[str, Any]:
    spread = (
        "one seed: no interval"
        if missing(row["low"])
        else f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
    )
    return {
        "arm": arms.of(str(row["context"])),
        "short": short(str(row["context"])),
        "shots": row["shots"],
        "mean": in_percent(row["gap"]),
        "low": in_percent(row["low"]),
        "high": in_percent(row["high"]),
        "spread": spread,
        "pair": f"{row['best']} over {row['worst']}",
        "seeds": int(row["num_seeds"]),
    }


def _spec(values: list[Spec], order: list[str], colours: dict[str, str]) -> Spec:
    """`order` is that of the contexts' short names."""
    y = axis(values, "best \u2212 worst source, points", zero=True)
    arms = {value["short"]: value["arm"] for value in values}
    shown_in = [colours.get(arms[name], GREY) for name in order]
    before = [shown_in[:place].count(colour) for place, colour in enumerate(shown_in)]
    looks = [_SHAPES[number % len(_SHAPES)] for number in before]
    shared: Spec = {
        "x": shots_axis(values) | {"scale": {"paddingInner": 0.25, "paddingOuter": 0.1}},
        "xOffset": {"field": "short", "sort": order},
        "color": {
            "field": "short",
            "type": "nominal",
            "title": None,
            "scale": {"domain": order, "range": shown_in},
            "legend": _LEGEND,
        },
        "tooltip": tip(
            ("short", "method, labels"),
            ("pair", "sources"),
            ("mean", "gap, points"),
            ("spread", "95 %"),
            ("seeds", "seeds"),
        ),
    }
    shape: Spec = {
        "field": "short",
        "type": "nominal",
        "title": None,
        "scale": {"domain": order, "range": looks},
        "legend": _LEGEND,
    }
    zero: Spec = {
        "data": {"values": [{"zero": 0}]},
        "mark": {"type": "rule", "style": REFERENCE},
        "encoding": {"y": y | {"field": "zero"}},
    }
    interval: Spec = {
        "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.55},
        "encoding": shared | {"y": y | {"field": "low"}, "y2": {"field": "high"}},
    }
    gap: Spec = {
        "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
        "encoding": shared | {"y": y | {"field": "mean"}, "shape": shape},
    }
    return {
        "$schema": SCHEMA,
        "data": {"values": values},
        "height": 220,
        "layer": [zero, interval, gap],
    }
