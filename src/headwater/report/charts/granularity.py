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
from headwater.report.charts.theme import DASHES, JOIN, SCHEMA, Spec
from headwater.report.palette import GREY

if TYPE_CHECKING:
    import pandas as pd

_SHAPES = {
    "all": "circle",
    "hard": "triangle-up",
    "easy": "triangle-down",
    "unleaked": "square",
}
"""Of the test images."""


def panels(evidence: Evidence) -> Iterator[Panel]:
    """One a protocol, shot count and task that has views of different numbers of classes."""
    curves = granularity_curves(evidence.table, metric=evidence.metric, against=())
    if not len(curves):
        return
    scratch = _scratch_levels(evidence.summary)
    dashes = _series_dashes(curves, evidence.dashes)
    for setting, views in split(curves, ["protocol", "shots", "task"]):
        ordered = views.sort_values(["subset", "series", "num_labels"])
        values = [_record(row) for row in ordered.to_dict("records")]
        if len({value["classes"] for value in values}) < 2:
            continue
        protocol, shots, task = map(str, setting)
        levels = scratch.get((protocol, shots, task), [])
        spec = _spec(values, evidence.colours, dashes, levels)
        yield Panel("granularity", task, protocol, shots, title=task, spec=spec)


def _series_dashes(curves: pd.DataFrame, dashes: dict[str, list[int]]) -> dict[str, list[int]]:
    """Series -> dash: its source's, unless another series of that source has it."""
    first = curves.drop_duplicates("series")
    chosen: dict[str, list[int]] = {}
    for series, source in zip(first["series"], first["source"], strict=True):
        own = dashes.get(str(source), DASHES[0])
        free = [dash for dash in DASHES if dash not in chosen.values()]
        chosen[str(series)] = own if own not in chosen.values() else next(iter(free), own)
    return chosen


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


def _spec(
    values: list[Spec],
    colours: dict[str, str],
    dashes: dict[str, list[int]],
    scratch: list[float],
) -> Spec:
    levels: list[Spec] = [{"mean": level, "low": None, "high": None} for level in scratch]
    x: Spec = {
        "field": "classes",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 15},
        "axis": {"title": "classes (log scale)", "tickCount": 5, "format": "~s"},
    }
    y = axis(values + levels, "right, %")
    layers = _layers(values, y, _scale("arm", values, colours), dashes)
    for layer in layers:
        layer["encoding"] = {"x": x} | layer["encoding"]
    if levels:
        layers.insert(0, _scratch_rule(levels, y))
    return {"$schema": SCHEMA, "data": {"values": values}, "height": 230, "layer": layers}


def _scale(field: str, values: list[Spec], looks: dict[str, Any], title: str | None = None) -> Spec:
    """A channel that tells the words of a field apart; without a legend where there is one word."""
    drawn = {value[field] for value in values}
    used = {word: look for word, look in looks.items() if word in drawn}
    scale = {"domain": list(used), "range": list(used.values())}
    channel: Spec = {"field": field, "type": "nominal", "title": title, "scale": scale}
    return channel | ({"legend": None} if len(used) < 2 else {})


def _dash(values: list[Spec], dashes: dict[str, list[int]]) -> Spec:
    """The legend tells of series that have a line, which one view alone does not make."""
    on_curve: dict[str, set[float]] = {}
    for value in values:
        if value["curve"]:
            on_curve.setdefault(value["series"], set()).add(value["classes"])
    lines = [series for series in dashes if len(on_curve.get(series, ())) > 1]
    channel = _scale("series", values, dashes)
    legend = {"values": lines, "columns": 1, "labelLimit": 320} if len(lines) > 1 else None
    return channel | {"legend": legend}


def _layers(values: list[Spec], y: Spec, colour: Spec, dashes: dict[str, list[int]]) -> list[Spec]:
    """Intervals, lines, dots on the lines, and crosses where there are views beside them. Colours
    are those of the labels, dashes those of the sources, shapes those of the test images.
    """
    tooltip = arm_tip(values, ("classes", "classes"), ("subset", "test images"))
    mean = y | {"field": "mean"}
    on_the_curve = [{"filter": "datum.curve"}]
    dash = _dash(values, dashes)
    shape = _scale("subset", values, _SHAPES, "test images")
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.45},
            "encoding": {"y": y | {"field": "low"}, "y2": {"field": "high"}, "color": colour},
        },
        {
            "transform": on_the_curve,
            "mark": {"type": "line", "style": JOIN},
            "encoding": {
                "y": mean,
                "strokeDash": dash,
                "detail": [{"field": "series"}, {"field": "subset"}],
            },
        },
        {
            "transform": on_the_curve,
            "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "strokeWidth": 1.6},
            "encoding": {
                "y": mean,
                "tooltip": tooltip,
                "color": colour,
                "stroke": colour,
                "shape": shape,
                "fillOpacity": FILL,
            },
        },
    ]
    # An empty layer would have no extent, and Vega would warn of it.
    if not all(value["curve"] for value in values):
        cross = {"type": "point", "shape": "cross", "filled": True, "size": 70, "opacity": 0.9}
        layers.append(
            {
                "transform": [{"filter": "!datum.curve"}],
                "mark": cross,
                "encoding": {"y": mean, "tooltip": tooltip, "color": colour},
            }
        )
    return layers


def _scratch_rule(levels: list[Spec], y: Spec) -> Spec:
    mark = {"type": "rule", "strokeDash": [2, 3], "color": GREY, "strokeWidth": 1.5}
    tooltip = {"value": f"no pre-training: {levels[0]['mean']:.1f} %"}
    return {
        "data": {"values": levels},
        "mark": mark,
        "encoding": {"y": y | {"field": "mean"}, "tooltip": tooltip},
    }
