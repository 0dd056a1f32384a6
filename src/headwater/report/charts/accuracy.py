"""Accuracy of each arm: a dot and its interval, one line an arm."""

from __future__ import annotations

from collections.abc import Iterator

from headwater.report.charts.panel import FILL, Evidence, Panel, arm_tip, axis, record, split
from headwater.report.charts.theme import SCHEMA, Spec


def panels(evidence: Evidence) -> Iterator[Panel]:
    """One a protocol, shot count and task."""
    for (protocol, shots, task), arms in split(evidence.summary, ["protocol", "shots", "task"]):
        values = [record(row) for row in arms.sort_values("order").to_dict("records")]
        yield Panel(
            kind="accuracy",
            task=str(task),
            protocol=str(protocol),
            shots=str(shots),
            title=str(task),
            spec=_spec(values, evidence.colours),
        )


def _spec(values: list[Spec], colours: dict[str, str]) -> Spec:
    x = axis(values, "right, %")
    names = list(dict.fromkeys(value["short"] for value in values))
    y: Spec = {
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
    colour: Spec = {
        "field": "arm",
        "type": "nominal",
        "scale": {"domain": list(colours), "range": list(colours.values())},
        "legend": None,
    }
    tooltip = arm_tip(values)
    interval: Spec = {
        "mark": {"type": "rule", "strokeWidth": 2.5, "opacity": 0.55, "clip": True},
        "encoding": {"x": x | {"field": "low"}, "x2": {"field": "high"}, "tooltip": tooltip},
    }
    mean: Spec = {
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "strokeWidth": 1.6},
        "encoding": {
            "x": x | {"field": "mean"},
            "tooltip": tooltip,
            "fillOpacity": FILL,
            "stroke": colour,
        },
    }
    return {
        "$schema": SCHEMA,
        "data": {"values": values},
        "height": 21 * len(names) + 4,
        "encoding": {"y": y, "color": colour},
        "layer": [interval, mean],
    }
