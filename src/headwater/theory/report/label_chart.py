"""Errors against the number of labels: is it a U?"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from headwater.report.palette import BLUE, GREEN, GREY, ORANGE, PURPLE
from headwater.theory.analysis import curve, curve_shape
from headwater.theory.analysis.label_curves import MAIN, TOO_FEW
from headwater.theory.analysis.settings import at_setting
from headwater.theory.analysis.shown import shown_curve
from headwater.theory.report.drawing import (
    ERROR_TIP,
    SURE_TIPS,
    Look,
    Point,
    Spec,
    error_panels,
    error_point,
    title,
)

if TYPE_CHECKING:
    import pandas as pd

_LOOKS = {
    MAIN: Look(BLUE, "circle"),
    "random": Look(ORANGE, "square"),
    "random within coarse": Look(PURPLE, "diamond"),
    "shuffle": Look(GREEN, "triangle-up"),
}


def label_figure(table: pd.DataFrame) -> Spec | None:
    """Error against the number of labels, hard and easy test samples side by side.

    Labels that ignore the subclasses are series of their own. None where the table has fewer than
    three kinds of labels.
    """
    shapes = curve_shape(table)
    setting, chosen = shown_curve(shapes[shapes["shape"] != TOO_FEW], table)
    if not len(chosen):
        return None
    read_out = chosen["read_out"].iloc[0]
    means = curve(table)
    means = means[(means["read_out"] == read_out) & means["error"].notna()]
    points = _points(at_setting(means, setting))
    there = {point["series"] for point in points}
    looks = {word: look for word, look in _LOOKS.items() if word in there}
    x = _labels_axis([point["x"] for point in points])
    tips = [
        {"field": "labels", "title": "labels"},
        {"field": "x", "title": "number"},
        ERROR_TIP,
        *SURE_TIPS,
    ]
    panels = error_panels(points, x, looks, tips)
    for panel in panels:
        _, line, _ = panel["layer"]
        line["encoding"]["order"] = {"field": "x"}
        panel["layer"].insert(0, _subclasses_rule(2 * int(setting["subclasses"]), x))
    heading = title(
        "Error against the number of labels in training",
        f"read-out {read_out}; dashed: the number of subclasses",
        setting,
    )
    return {"title": heading, "hconcat": panels, "spacing": 40}


def _points(means: pd.DataFrame) -> list[Point]:
    points = []
    for row in means.to_dict("records"):
        place = {
            "series": row["series"],
            "labels": row["labels"],
            "k": row["num_labels"],
            "x": row["num_labels"],
            "aligned": bool(row["aligned"]),
        }
        points.append(error_point(row) | place)
    return points


def _labels_axis(numbers: Sequence[float]) -> Spec:
    scale = {
        "type": "log",
        "base": 10,
        "domain": [min(numbers) / 1.5, max(numbers) * 1.5],
        "nice": False,
    }
    axis = {
        "title": "number of labels (log scale)",
        "tickCount": 6,
        "format": "~s",
        "grid": False,
    }
    return {"field": "x", "type": "quantitative", "scale": scale, "axis": axis}


def _subclasses_rule(subclasses: int, x: Spec) -> Spec:
    """A dashed line at the number of subclasses of all superclasses together."""
    return {
        "data": {"values": [{"x": subclasses}]},
        "mark": {"type": "rule", "strokeDash": [3, 3], "color": GREY},
        "encoding": {"x": x, "tooltip": {"value": f"{subclasses} subclasses in all"}},
    }
