"""The charts as Vega-Lite specifications: pure functions from analysis tables to dicts, drawn by a
browser (page.py) or by vl-convert (figures.py).

They are written as plain dicts: Vega-Lite is their language, and a layer over it would only be a
second one to know. Shares are drawn in percent. A hollow mark decides nothing (label re-use). An
interval that leaves the frame is cut at its edge.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.analysis.compare import summarise
from headwater.analysis.configurations import main_metric, prepare
from headwater.analysis.gap import POOLED, source_gap
from headwater.analysis.granularity import granularity_curves
from headwater.analysis.words import missing, shots_word
from headwater.report.palette import GREY, SERIES, arm_colours, arm_word

if TYPE_CHECKING:
    import pandas as pd

Spec = dict[str, Any]
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
_FILL = {"condition": {"test": "datum.decides", "value": 1}, "value": 0}
_SUBSETS = ("all", "hard", "easy", "unleaked")
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])


@dataclass(frozen=True)
class Panel:
    """One small chart: what it shows, the setting that it belongs to (None = it spans that axis),
    and its specification without a width.
    """

    kind: str
    """accuracy, granularity, gap or shots."""
    task: str
    protocol: str
    shots: str | None
    title: str
    spec: Spec


def panels(rows: pd.DataFrame) -> list[Panel]:
    """All charts of a table of rows, in the order of kind, protocol, shots, task; only the main
    metric. Empty where nothing has a value.
    """
    table = prepare(rows)
    metric = main_metric(table)
    summary = summarise(table)
    summary = summary[(summary["metric"] == metric) & summary["mean"].notna()]
    colours = arm_colours(summary)
    whole = summary[summary["subset"] == "all"]
    curves = granularity_curves(table)
    curves = curves[curves["metric"] == metric]
    return [
        *_accuracy_panels(whole, colours),
        *_granularity_panels(curves, whole),
        *_gap_panels(source_gap(table), whole, colours),
        *_shots_panels(whole, colours),
    ]


def _split(frame: pd.DataFrame, columns: list[str]) -> Iterator[tuple[Any, pd.DataFrame]]:
    """Groups in the order of their keys, with shots as words ('1', '5', 'all')."""
    worded = frame.assign(shots=[shots_word(s) for s in frame["shots"]])
    groups = [(key, part) for key, part in worded.groupby(columns, sort=False)]
    yield from sorted(
        groups,
        key=lambda item: [(w == "all", int(w) if w.isdigit() else 0, w) for w in map(str, item[0])],
    )


def _percent(value: Any) -> float | None:
    return None if missing(value) else round(100 * float(value), 3)


def _record(row: dict[Any, Any], **more: Any) -> dict[str, Any]:
    half = None if missing(row["low"]) else 50 * (float(row["high"]) - float(row["low"]))
    source = "" if missing(row.get("source")) else str(row.get("source"))
    return {
        "name": row["name"],
        "short": str(row["name"]).removeprefix("supervised "),
        "arm": arm_word(row["method"], row["labels"]),
        "source": source,
        "mean": _percent(row["mean"]),
        "low": _percent(row["low"]),
        "high": _percent(row["high"]),
        "spread": "one seed: no interval" if half is None else f"\u00b1 {half:.1f} points",
        "seeds": int(row["num_seeds"]),
        "cells": int(row["num_cells"]),
        "decides": bool(row["decides"]),
        "note": "" if row["decides"] else "labels re-used: decides nothing",
    } | more


def _domain(
    values: list[dict[str, Any]], *, floor: float | None = 0.0, ceiling: float | None = 100.0
) -> list[float]:
    """The range of the means and their intervals, but no interval may widen it by more than the
    means' own range (2 seeds give huge ones).
    """
    means = [v["mean"] for v in values if v["mean"] is not None]
    span = max(max(means) - min(means), 4.0)
    low = max(
        min([*means, *(v["low"] for v in values if v["low"] is not None)]), min(means) - span / 2
    )
    high = min(
        max([*means, *(v["high"] for v in values if v["high"] is not None)]), max(means) + span / 2
    )
    pad = (high - low) * 0.05
    return [
        low - pad if floor is None else max(floor, low - pad),
        high + pad if ceiling is None else min(ceiling, high + pad),
    ]


def _tip(*fields: tuple[str, str]) -> list[dict[str, str]]:
    return [
        {"field": field, "title": title}
        | ({"format": ".1f"} if field in ("mean", "low", "high") else {})
        for field, title in fields
    ]


def _arm_tip(values: list[dict[str, Any]], *more: tuple[str, str]) -> list[dict[str, str]]:
    """What hovering over an arm tells; the note only where some arm has one."""
    fields = (
        *more,
        ("name", "arm"),
        ("mean", "right, %"),
        ("spread", "95 %"),
        ("seeds", "seeds"),
        ("cells", "cells"),
    )
    return _tip(*fields, *([("note", "note")] if any(v["note"] for v in values) else []))


def _accuracy_panels(summary: pd.DataFrame, colours: dict[str, str]) -> Iterator[Panel]:
    for (protocol, shots, task), part in _split(summary, ["protocol", "shots", "task"]):
        values = [_record(row) for row in part.sort_values("order").to_dict("records")]
        x = {
            "type": "quantitative",
            "scale": {"domain": _domain(values), "nice": False},
            "axis": {"title": "right, %", "tickCount": 5},
        }
        names = list(dict.fromkeys(v["short"] for v in values))
        y = {
            "field": "short",
            "type": "nominal",
            "sort": names,
            "axis": {
                "title": None,
                "labelLimit": 190,
                "ticks": False,
                "domain": False,
                "grid": True,
            },
        }
        colour = {
            "field": "arm",
            "type": "nominal",
            "scale": {"domain": list(colours), "range": list(colours.values())},
            "legend": None,
        }
        spec = {
            "$schema": SCHEMA,
            "data": {"values": values},
            "height": 21 * len(names) + 4,
            "encoding": {"y": y, "color": colour},
            "layer": [
                {
                    "mark": {"type": "rule", "strokeWidth": 2.5, "opacity": 0.55, "clip": True},
                    "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}, "tooltip": _arm_tip(values)},
                },
                {
                    "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "strokeWidth": 1.6},
                    "encoding": {
                        "x": x | {"field": "mean"}, "tooltip": _arm_tip(values), "fillOpacity": _FILL,
                        "stroke": colour,
                    },
                },
            ],
        }  # fmt: skip
        yield Panel("accuracy", str(task), str(protocol), str(shots), str(task), spec)


def _granularity_panels(curves: pd.DataFrame, whole: pd.DataFrame) -> Iterator[Panel]:
    if not len(curves):
        return
    scratch = whole[whole["method"] == "scratch"].assign(
        shots=lambda f: [shots_word(s) for s in f["shots"]]
    )
    series = list(dict.fromkeys(curves["series"]))
    colours = dict(zip(series, SERIES * (len(series) // len(SERIES) + 1), strict=False))
    for (protocol, shots, task), part in _split(curves, ["protocol", "shots", "task"]):
        values = [
            _record(
                row,
                classes=float(row["num_labels"]),
                view=row["labels"],
                series=row["series"],
                subset=row["subset"],
                curve=bool(row["on_curve"]),
            )
            for row in part.sort_values(["subset", "series", "num_labels"]).to_dict("records")
        ]
        if len({v["classes"] for v in values}) < 2:
            continue
        subsets = [s for s in _SUBSETS if any(v["subset"] == s for v in values)]
        here = scratch[
            (scratch["protocol"] == protocol)
            & (scratch["shots"] == shots)
            & (scratch["task"] == task)
        ]
        level = [_percent(m) for m in here["mean"]]
        yield Panel(
            "granularity",
            str(task),
            str(protocol),
            str(shots),
            str(task),
            _granularity_spec(values, subsets, colours, level),
        )


def _granularity_spec(
    values: list[dict[str, Any]],
    subsets: list[str],
    colours: dict[str, str],
    scratch: list[float | None],
) -> Spec:
    known = [{"mean": s, "low": None, "high": None} for s in scratch if s is not None]
    y = {
        "type": "quantitative",
        "scale": {"domain": _domain(values + known), "nice": False},
        "axis": {"title": "right, %", "tickCount": 5},
    }
    x: Spec = {
        "field": "classes",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 15},
    }
    x["axis"] = {"title": "classes (log scale)", "tickCount": 5, "format": "~s"}
    used = {s: c for s, c in colours.items() if any(v["series"] == s for v in values)}
    one = len(used) == 1
    colour: Spec = {
        "field": "series",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(used), "range": list(used.values())},
    }
    dash: Spec = {
        "field": "subset",
        "type": "nominal",
        "title": "test images",
        "scale": {"domain": subsets, "range": list(_DASHES[: len(subsets)])},
    }
    colour |= {"legend": None} if one else {}
    dash |= {"legend": None} if len(subsets) == 1 else {}
    tip = _arm_tip(values, ("classes", "classes"), ("subset", "test images"))
    on, off = {"filter": "datum.curve"}, {"filter": "!datum.curve"}
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.45, "clip": True},
            "encoding": {"y": y | {"field": "low"}, "y2": {"field": "high"}},
        },
        {
            "transform": [on],
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": {"y": y | {"field": "mean"}, "strokeDash": dash},
        },
        {
            "transform": [on],
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "strokeWidth": 1.6},
            "encoding": {
                "y": y | {"field": "mean"},
                "tooltip": tip,
                "stroke": colour,
                "fillOpacity": _FILL,
            },
        },
    ]
    if not all(
        v["curve"] for v in values
    ):  # an empty layer would have no extent, and Vega would warn of it
        crosses = {"type": "point", "shape": "cross", "filled": True, "size": 70, "opacity": 0.9}
        layers.append(
            {
                "transform": [off],
                "mark": crosses,
                "encoding": {"y": y | {"field": "mean"}, "tooltip": tip},
            }
        )
    if known:
        rule = {
            "type": "rule",
            "strokeDash": [2, 3],
            "color": GREY,
            "strokeWidth": 1.5,
            "clip": True,
        }
        words = {"value": f"no pre-training: {known[0]['mean']:.1f} %"}
        layers.insert(
            0,
            {
                "data": {"values": known},
                "mark": rule,
                "encoding": {"y": y | {"field": "mean"}, "tooltip": words},
            },
        )
    for layer in layers[1 if known else 0 :]:
        layer["encoding"] = {"x": x, "color": colour} | layer["encoding"]
    return {"$schema": SCHEMA, "data": {"values": values}, "height": 230, "layer": layers}


def _gap_panels(
    gaps: pd.DataFrame, whole: pd.DataFrame, colours: dict[str, str]
) -> Iterator[Panel]:
    arms = {r["context"]: arm_word(r["method"], r["labels"]) for r in whole.to_dict("records")}
    methods: dict[str, str] = {}
    for record in whole.sort_values("order").to_dict("records"):
        methods.setdefault(str(record["method"]), arms[record["context"]])
    contexts = list(dict.fromkeys([*whole.sort_values("order")["context"], *gaps["context"]]))
    first = gaps.assign(rank=(gaps["task"] != POOLED).astype(int))
    for (_, protocol, task), part in _split(first, ["rank", "protocol", "task"]):
        values = []
        for row in part.to_dict("records"):
            short = str(row["context"]).removeprefix("supervised ")
            arm = arms.get(row["context"]) or methods.get(
                re.split(r"[ ,]", str(row["context"]))[0], short
            )
            spread = (
                "one seed: no interval"
                if missing(row["low"])
                else f"{100 * row['low']:.1f} to {100 * row['high']:.1f}"
            )
            values.append(
                {
                    "arm": arm,
                    "short": short,
                    "shots": row["shots"],
                    "mean": _percent(row["gap"]),
                    "low": _percent(row["low"]),
                }
                | {
                    "high": _percent(row["high"]),
                    "spread": spread,
                    "pair": f"{row['best']} over {row['worst']}",
                    "seeds": int(row["num_seeds"]),
                }
            )
        values = [v for v in values if v["mean"] is not None]
        if values:
            order = [
                c.removeprefix("supervised ")
                for c in contexts
                if any(v["short"] == c.removeprefix("supervised ") for v in values)
            ]
            yield Panel(
                "gap", str(task), str(protocol), None, str(task), _gap_spec(values, order, colours)
            )


def _gap_spec(values: list[dict[str, Any]], order: list[str], colours: dict[str, str]) -> Spec:
    domain = _domain(values, floor=None, ceiling=None)
    title = "best \u2212 worst source, points"
    y = {
        "type": "quantitative",
        "scale": {"domain": domain, "nice": False},
        "axis": {"title": title, "tickCount": 5},
    }
    arms = {v["short"]: v["arm"] for v in values}
    colour = {
        "field": "short",
        "type": "nominal",
        "title": None,
        "scale": {"domain": order, "range": [colours.get(arms[s], GREY) for s in order]},
    }
    x = _shots_axis(values) | {"scale": {"paddingInner": 0.25, "paddingOuter": 0.1}}
    tip = _tip(
        ("short", "method, labels"),
        ("pair", "sources"),
        ("mean", "gap, points"),
        ("spread", "95 %"),
        ("seeds", "seeds"),
    )
    shared = {"x": x, "xOffset": {"field": "short", "sort": order}, "color": colour, "tooltip": tip}
    return {
        "$schema": SCHEMA,
        "data": {"values": values},
        "height": 220,
        "layer": [
            {
                "data": {"values": [{"zero": 0}]},
                "mark": {"type": "rule", "color": GREY, "clip": True},
                "encoding": {"y": y | {"field": "zero"}},
            },
            {
                "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.55, "clip": True},
                "encoding": shared | {"y": y | {"field": "low"}, "y2": {"field": "high"}},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1},
                "encoding": shared | {"y": y | {"field": "mean"}},
            },
        ],
    }


def _shots_axis(values: list[dict[str, Any]]) -> Spec:
    found = sorted(
        {str(v["shots"]) for v in values}, key=lambda s: (s == "all", int(s) if s.isdigit() else 0)
    )
    return {
        "field": "shots",
        "type": "ordinal",
        "sort": found,
        "axis": {"title": "training images per class", "labelAngle": 0, "grid": False},
    }


def _shots_panels(summary: pd.DataFrame, colours: dict[str, str]) -> Iterator[Panel]:
    for (protocol, task), part in _split(summary, ["protocol", "task"]):
        if part["shots"].nunique() < 2:
            continue
        values = [
            _record(row, shots=row["shots"]) for row in part.sort_values("order").to_dict("records")
        ]
        y = {
            "type": "quantitative",
            "scale": {"domain": _domain(values), "nice": False},
            "axis": {"title": "right, %", "tickCount": 5},
        }
        used = {a: c for a, c in colours.items() if any(v["arm"] == a for v in values)}
        colour = {
            "field": "arm",
            "type": "nominal",
            "title": None,
            "scale": {"domain": list(used), "range": list(used.values())},
        }
        sources = list(dict.fromkeys(v["source"] for v in values if v["source"]))
        scale = {
            "domain": [*sources, ""],
            "range": [*(_DASHES[i % len(_DASHES)] for i in range(len(sources))), [1, 0]],
        }
        legend: dict[str, Any] = (
            {"legend": None} if len(sources) < 2 else {"legend": {"values": sources}}
        )
        dash = {"field": "source", "type": "nominal", "title": None, "scale": scale} | legend
        shared = {"x": _shots_axis(values), "color": colour, "detail": {"field": "name"}}
        spec = {
            "$schema": SCHEMA,
            "data": {"values": values},
            "height": 260,
            "layer": [
                {
                    "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.35, "clip": True},
                    "encoding": shared | {"y": y | {"field": "low"}, "y2": {"field": "high"}},
                },
                {
                    "mark": {"type": "line", "strokeWidth": 1.8, "opacity": 0.85},
                    "encoding": shared | {"y": y | {"field": "mean"}, "strokeDash": dash},
                },
                {
                    "mark": {
                        "type": "point",
                        "filled": True,
                        "size": 42,
                        "opacity": 1,
                        "strokeWidth": 1.4,
                    },
                    "encoding": shared
                    | {
                        "y": y | {"field": "mean"},
                        "tooltip": _arm_tip(values),
                        "fillOpacity": _FILL,
                        "stroke": colour,
                    },
                },
            ],
        }
        yield Panel("shots", str(task), str(protocol), None, str(task), spec)


def theme(*, dark: bool) -> Spec:
    """Vega configuration: calm axes, system fonts, colours that suit a light or a dark page."""
    ink, faint, grid = (
        ("#E6E8EB", "#A3ABB5", "#2B323A") if dark else ("#1F2933", "#5B6672", "#E7EAEE")
    )
    font = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"
    return {
        "background": None, "font": font, "view": {"stroke": None},
        "axis": {
            "labelColor": faint, "titleColor": faint, "titleFontWeight": "normal", "gridColor": grid, "domainColor": grid, "tickColor": grid,
            "labelFontSize": 11, "titleFontSize": 11, "titlePadding": 8,
        },
        "axisY": {"labelColor": ink},
        "legend": {
            "labelColor": ink, "titleColor": faint, "orient": "bottom", "columns": 3, "labelFontSize": 11, "titleFontSize": 11, "titleFontWeight": "normal",
            "symbolStrokeWidth": 2, "symbolOpacity": 1, "labelLimit": 160, "rowPadding": 3, "offset": 8,
            "layout": {"bottom": {"direction": "vertical", "anchor": "start", "margin": 6}},
        },
        "title": {"color": ink, "anchor": "start", "fontSize": 13, "fontWeight": 600, "subtitleColor": faint},
    }  # fmt: skip
