"""Responses to fine features over those to common ones, against k, under coarse labels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headwater.analysis.words import missing
from headwater.report.palette import BLUE, GREY, ORANGE, VERMILLION
from headwater.theory.analysis import response_exponent, response_ratio
from headwater.theory.analysis.settings import at_setting
from headwater.theory.analysis.shown import shown_ratio
from headwater.theory.report.drawing import Point, Spec, k_axis, nominal, title

if TYPE_CHECKING:
    import pandas as pd

_LINE_COLOURS = (GREY, VERMILLION, ORANGE)
_LINE_DASHES = ([2, 3], [1, 0], [8, 3])
"""Of 1 / k, and of the fits after it."""


def ratio_figure(table: pd.DataFrame) -> Spec | None:
    """Ratio of fine to common response against k, both in logs, with 1 / k and the fitted line.

    None where no line could be fitted.
    """
    ratios, fits = response_ratio(table), response_exponent(table)
    fits = fits[fits["exponent"].notna()]
    if not len(fits):
        return None
    setting, chosen = shown_ratio(fits, table)
    ratios = at_setting(ratios, setting)
    positive = ratios[ratios["ratio"] > 0]
    points = _points(positive)
    lines = [{"line": "1 / k", "x": point["k"], "mean": 1 / point["k"]} for point in points]
    for fit in chosen.to_dict("records"):
        lines += _fitted(fit)
    left_out = len(ratios) - len(positive)
    note = f"; {left_out} means of 0 or less have no place on a log scale" if left_out else ""
    heading = title(
        "Under coarse labels: fine features against common ones",
        f"response to fine features over that to common ones, own class{note}",
        setting,
    )
    return {"title": heading} | _panel(points, lines)


def _points(ratios: pd.DataFrame) -> list[Point]:
    """The means, and intervals that are cut where the frame ends, as 0 is in no frame of logs."""
    floor = min(ratios["ratio"].min(), 1 / ratios["subclasses"].max()) / 2
    points = []
    for row in ratios.to_dict("records"):
        known = not missing(row["low"])
        points.append(
            {
                "k": int(row["subclasses"]),
                "x": int(row["subclasses"]),
                "mean": row["ratio"],
                "seeds": int(row["num_seeds"]),
                "not positive": int(row["num_not_positive"]),
                "low": max(floor, row["low"]) if known else None,
                "high": row["high"] if known else None,
            }
        )
    return points


def _fitted(fit: dict[Any, Any]) -> list[Point]:
    """Both ends of a fitted line."""
    name = f"fit from k = {fit['from_k']}: {fit['factor']:.2g} / k^{fit['exponent']:.2f}"
    ends = []
    for k in (fit["from_k"], fit["to_k"]):
        ends.append({"line": name, "x": k, "mean": fit["factor"] * k ** -fit["exponent"]})
    return ends


def _panel(points: Sequence[Point], lines: Sequence[Point]) -> Spec:
    x, y = k_axis([point["k"] for point in points]), _ratio_axis()
    mean = y | {"field": "mean"}
    names = list(dict.fromkeys(line["line"] for line in lines))
    legend: Spec = {
        "legend": {"columns": 1, "labelLimit": 260, "symbolType": "stroke", "symbolSize": 300}
    }
    colour = nominal("line", names, _LINE_COLOURS[: len(names)]) | legend
    dash = nominal("line", names, _LINE_DASHES[: len(names)]) | legend
    layers: list[Spec] = [
        {
            "data": {"values": list(lines)},
            "mark": {"type": "line", "strokeWidth": 1.8, "clip": True},
            "encoding": {"x": x, "y": mean, "color": colour, "strokeDash": dash},
        }
    ]
    if any(point["low"] is not None for point in points):
        layers.append(
            {
                "transform": [{"filter": "datum.low !== null"}],
                "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.5, "color": BLUE},
                "encoding": {"x": x, "y": y | {"field": "low"}, "y2": {"field": "high"}},
            }
        )
    layers.append(
        {
            "mark": {"type": "point", "filled": True, "size": 60, "color": BLUE, "opacity": 1},
            "encoding": {"x": x, "y": mean, "tooltip": _tips()},
        }
    )
    return {"data": {"values": list(points)}, "width": 340, "height": 260, "layer": layers}


def _ratio_axis() -> Spec:
    ticks: list[float] = []
    for power in range(-6, 2):
        ticks += [step * 10.0**power for step in (1, 2, 5)]
    axis = {
        "title": "fine / common (log scale)",
        "values": ticks,
        "format": "~g",
        "labelOverlap": True,
    }
    return {"type": "quantitative", "scale": {"type": "log", "nice": False}, "axis": axis}


def _tips() -> list[Spec]:
    return [
        {"field": "k", "title": "k"},
        {"field": "mean", "title": "ratio", "format": ".4~g"},
        {"field": "low", "title": "95 % from", "format": ".4~g"},
        {"field": "high", "title": "to", "format": ".4~g"},
        {"field": "seeds", "title": "seeds"},
        {"field": "not positive", "title": "seeds of 0 or less"},
    ]
