"""Accuracy against the number of classes in pre-training."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from headwater.analysis.granularity import granularity_curves
from headwater.analysis.words import shots_word
from headwater.report.charts.panel import (
    FILL,
    Evidence,
    Panel,
    arm_tip,
    axis,
    in_percent,
    record,
    split,
)
from headwater.report.charts.theme import DASHES, SCHEMA, Spec
from headwater.report.palette import GREY, SERIES

if TYPE_CHECKING:
    import pandas as pd

_SUBSETS = ("all", "hard", "easy", "unleaked")


def panels(evidence: Evidence) -> Iterator[Panel]:
    """One a protocol, shot count and task that has views of different numbers of classes."""
    curves = granularity_curves(evidence.table, metric=evidence.metric, against=())
    if not len(curves):
        return
    scratch = _scratch_levels(evidence.summary)
    series = list(dict.fromkeys(curves["series"]))
    colours = {name: SERIES[place % len(SERIES)] for place, name in enumerate(series)}
    for setting, views in split(curves, ["protocol", "shots", "task"]):
        ordered = views.sort_values(["subset", "series", "num_labels"])
        values = [_record(row) for row in ordered.to_dict("records")]
        if len({value["classes"] for value in values}) < 2:
            continue
        protocol, shots, task = map(str, setting)
        spec = _spec(values, colours, scratch.get((protocol, shots, task), []))
        yield Panel("granularity", task, protocol, shots, title=task, spec=spec)


def _scratch_levels(summary: pd.DataFrame) -> dict[tuple[str, str, str], list[float]]:
    """(protocol, shots, task) -> what arms without pre-training attain there, in percent."""
    levels: dict[tuple[str, str, str], list[float]] = {}
    for row in summary[summary["method"] == "scratch"].to_dict("records"):
        setting = str(row["protocol"]), shots_word(row["shots"]), str(row["task"])
        level = in_percent(row["mean"])
        if level is not None:
            levels.setdefault(setting, []).append(level)
    return levels


def _record(row: dict[Any, Any]) -> dict[str, Any]:
    return record(
        row,
        classes=float(row["num_labels"]),
        view=row["labels"],
        series=row["series"],
        subset=row["subset"],
        curve=bool(row["on_curve"]),
    )


def _spec(values: list[Spec], colours: dict[str, str], scratch: list[float]) -> Spec:
    levels: list[Spec] = [{"mean": level, "low": None, "high": None} for level in scratch]
    x: Spec = {
        "field": "classes",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 15},
        "axis": {"title": "classes (log scale)", "tickCount": 5, "format": "~s"},
    }
    y = axis(values + levels, "right, %")
    colour = _colour(values, colours)
    layers = _layers(values, y, colour, _dash(values))
    for layer in layers:
        layer["encoding"] = {"x": x, "color": colour} | layer["encoding"]
    if levels:
        layers.insert(0, _scratch_rule(levels, y))
    return {"$schema": SCHEMA, "data": {"values": values}, "height": 230, "layer": layers}


def _colour(values: list[Spec], colours: dict[str, str]) -> Spec:
    drawn = {value["series"] for value in values}
    used = {series: colour for series, colour in colours.items() if series in drawn}
    scale = {"domain": list(used), "range": list(used.values())}
    return _legend({"field": "series", "type": "nominal", "title": None, "scale": scale})


def _dash(values: list[Spec]) -> Spec:
    drawn = {value["subset"] for value in values}
    subsets = [subset for subset in _SUBSETS if subset in drawn]
    scale = {"domain": subsets, "range": list(DASHES[: len(subsets)])}
    return _legend({"field": "subset", "type": "nominal", "title": "test images", "scale": scale})


def _legend(channel: Spec) -> Spec:
    """A channel without a legend where it has one value."""
    return channel | ({"legend": None} if len(channel["scale"]["domain"]) == 1 else {})


def _layers(values: list[Spec], y: Spec, colour: Spec, dash: Spec) -> list[Spec]:
    """Intervals, lines, dots on the lines, and crosses where there are views beside them."""
    tooltip = arm_tip(values, ("classes", "classes"), ("subset", "test images"))
    mean = y | {"field": "mean"}
    on_the_curve = [{"filter": "datum.curve"}]
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.45, "clip": True},
            "encoding": {"y": y | {"field": "low"}, "y2": {"field": "high"}},
        },
        {
            "transform": on_the_curve,
            "mark": {"type": "line", "strokeWidth": 2},
            "encoding": {"y": mean, "strokeDash": dash},
        },
        {
            "transform": on_the_curve,
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 1, "strokeWidth": 1.6},
            "encoding": {"y": mean, "tooltip": tooltip, "stroke": colour, "fillOpacity": FILL},
        },
    ]
    # An empty layer would have no extent, and Vega would warn of it.
    if not all(value["curve"] for value in values):
        cross = {"type": "point", "shape": "cross", "filled": True, "size": 70, "opacity": 0.9}
        layers.append(
            {
                "transform": [{"filter": "!datum.curve"}],
                "mark": cross,
                "encoding": {"y": mean, "tooltip": tooltip},
            }
        )
    return layers


def _scratch_rule(levels: list[Spec], y: Spec) -> Spec:
    mark = {"type": "rule", "strokeDash": [2, 3], "color": GREY, "strokeWidth": 1.5, "clip": True}
    tooltip = {"value": f"no pre-training: {levels[0]['mean']:.1f} %"}
    return {
        "data": {"values": levels},
        "mark": mark,
        "encoding": {"y": y | {"field": "mean"}, "tooltip": tooltip},
    }
