"""Accuracy against the number of training images per class."""

from __future__ import annotations

from collections.abc import Iterator

from headwater.report.charts.panel import (
    FILL,
    Evidence,
    Panel,
    arm_tip,
    axis,
    record,
    shots_axis,
    split,
)
from headwater.report.charts.theme import DASHES, SCHEMA, Spec


def panels(evidence: Evidence) -> Iterator[Panel]:
    """One a protocol and task with two or more shot counts."""
    for (protocol, task), arms in split(evidence.summary, ["protocol", "task"]):
        if arms["shots"].nunique() < 2:
            continue
        ordered = arms.sort_values("order").to_dict("records")
        values = [record(row, shots=row["shots"]) for row in ordered]
        yield Panel(
            kind="shots",
            task=str(task),
            protocol=str(protocol),
            shots=None,
            title=str(task),
            spec=_spec(values, evidence),
        )


def _spec(values: list[Spec], evidence: Evidence) -> Spec:
    y = axis(values, "right, %")
    mean = y | {"field": "mean"}
    colour = _colour(values, evidence.colours)
    shared: Spec = {"x": shots_axis(values), "color": colour, "detail": {"field": "name"}}
    intervals: Spec = {
        "mark": {"type": "rule", "strokeWidth": 1.5, "opacity": 0.35},
        "encoding": shared | {"y": y | {"field": "low"}, "y2": {"field": "high"}},
    }
    lines: Spec = {
        "mark": {"type": "line", "strokeWidth": 1.8, "opacity": 0.85},
        "encoding": shared | {"y": mean, "strokeDash": _dash(values, evidence.dashes)},
    }
    dots: Spec = {
        "mark": {"type": "point", "filled": True, "size": 42, "opacity": 1, "strokeWidth": 1.4},
        "encoding": shared
        | {"y": mean, "tooltip": arm_tip(values), "fillOpacity": FILL, "stroke": colour},
    }
    return {
        "$schema": SCHEMA,
        "data": {"values": values},
        "height": 260,
        "layer": [intervals, lines, dots],
    }


def _colour(values: list[Spec], colours: dict[str, str]) -> Spec:
    drawn = {value["arm"] for value in values}
    used = {arm: colour for arm, colour in colours.items() if arm in drawn}
    return {
        "field": "arm",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(used), "range": list(used.values())},
    }


def _dash(values: list[Spec], dashes: dict[str, list[int]]) -> Spec:
    """Sources have a dash each; arms without a source have a line without dashes."""
    drawn = {value["source"] for value in values}
    used = {source: dash for source, dash in dashes.items() if source in drawn}
    return {
        "field": "source",
        "type": "nominal",
        "title": None,
        "scale": {"domain": [*used, ""], "range": [*used.values(), DASHES[0]]},
        "legend": None if len(used) < 2 else {"values": list(used)},
    }
