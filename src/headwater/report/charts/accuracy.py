"""Accuracy of each arm: a dot and its interval, one line an arm, the best on top."""

from __future__ import annotations

from collections.abc import Iterator

from headwater.report.charts.panel import (
    FILL,
    Evidence,
    Panel,
    arm_tip,
    axis,
    domain,
    record,
    split,
)
from headwater.report.charts.theme import REFERENCE, SCHEMA, Spec

_ROW = 21
"""Height of an arm's line."""


def panels(evidence: Evidence) -> Iterator[Panel]:
    """One a protocol, shot count and task."""
    for (protocol, shots, task), arms in split(evidence.summary, ["protocol", "shots", "task"]):
        ordered = arms.sort_values(["mean", "order"], ascending=[False, True])
        values = [record(row) for row in ordered.to_dict("records")]
        yield Panel(
            kind="accuracy",
            task=str(task),
            protocol=str(protocol),
            shots=str(shots),
            title=str(task),
            spec=_spec(values, evidence.colours, evidence.majority.get(str(task))),
        )


def _spec(values: list[Spec], colours: dict[str, str], majority: float | None) -> Spec:
    near = majority is not None and _is_near(majority, values)
    x = axis(values, "right, %", also=[majority] if near and majority is not None else [])
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
    drawn = {value["arm"] for value in values}
    used = {arm: colour for arm, colour in colours.items() if arm in drawn}
    colour: Spec = {
        "field": "arm",
        "type": "nominal",
        "scale": {"domain": list(used), "range": list(used.values())},
        "legend": None,
    }
    tooltip = arm_tip(values)
    shared: Spec = {"y": y, "color": colour, "tooltip": tooltip}
    interval: Spec = {
        "mark": {"type": "rule", "strokeWidth": 2.5, "opacity": 0.55},
        "encoding": shared | {"x": x | {"field": "low"}, "x2": {"field": "high"}},
    }
    mean: Spec = {
        "mark": {"type": "point", "filled": True, "size": 70, "opacity": 1, "strokeWidth": 1.6},
        "encoding": shared | {"x": x | {"field": "mean"}, "fillOpacity": FILL, "stroke": colour},
    }
    layers = [interval, mean]
    if majority is not None:
        layers = [*_majority_line(majority, x, near=near), *layers]
    return {
        "$schema": SCHEMA,
        "data": {"values": values},
        "height": _ROW * len(names) + 4,
        "layer": layers,
        "usermeta": {"names": len(names)},
    }


def _is_near(majority: float, values: list[Spec]) -> bool:
    """Whether an axis that holds it leaves the arms at least half of its length: else differences
    between them could not be read.
    """
    low, high = domain(values)
    return low - (high - low) <= majority <= high + (high - low)


def _majority_line(majority: float, x: Spec, *, near: bool) -> list[Spec]:
    """A dotted line with its name, or an arrow at the edge beyond which it lies."""
    low, high = x["scale"]["domain"]
    below = majority < low
    words = f"majority class {majority:.1f} %"
    place = majority if near else low if below else high
    right = (near and place > (low + high) / 2) or (not near and not below)
    text = words if near else f"\u25c2 {words}" if below else f"{words} \u25b8"
    encoding: Spec = {
        "x": x | {"field": "mean"},
        "tooltip": {"value": f"always giving the most frequent class: {majority:.1f} %"},
    }
    name: Spec = {
        "data": {"values": [{"mean": place}]},
        "mark": {
            "type": "text",
            "style": f"{REFERENCE}-text",
            "text": text,
            "align": "right" if right else "left",
            "dx": -4 if right else 4,
            "baseline": "bottom",
            "y": -3,
        },
        "encoding": encoding,
    }
    line: Spec = {
        "data": {"values": [{"mean": place}]},
        "mark": {"type": "rule", "style": REFERENCE, "strokeDash": [2, 3]},
        "encoding": encoding,
    }
    return [line, name] if near else [name]
