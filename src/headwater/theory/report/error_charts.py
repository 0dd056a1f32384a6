"""Errors over k: lines for coarse and fine labels, and the plane of k and strong noise."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from headwater.analysis.words import missing
from headwater.report.palette import BLUE, GREEN, SKY, VERMILLION
from headwater.theory.analysis import errors, phase
from headwater.theory.analysis.settings import READ_OUTS, at_setting, finished
from headwater.theory.analysis.shown import shown_errors, shown_phase
from headwater.theory.report.drawing import (
    ERROR_TIP,
    SURE_TIPS,
    Look,
    Point,
    Spec,
    error_panels,
    error_point,
    first_read_out,
    k_axis,
    title,
)

if TYPE_CHECKING:
    import pandas as pd

_APART = 1.09
"""Factor between values of one k, which would hide each other; the pointer tells the true k."""
_COARSE = "coarse labels"
_FINE_LOOKS = (Look(BLUE, "square"), Look(SKY, "diamond"), Look(GREEN, "triangle-up"))
_LOOKS = {_COARSE: Look(VERMILLION, "circle")}
for _read_out, _look in zip(READ_OUTS, _FINE_LOOKS, strict=True):
    _LOOKS[f"fine labels, {_read_out}"] = _look


def error_figure(table: pd.DataFrame) -> Spec | None:
    """Hard and easy error against k for coarse and fine labels.

    Networks on fine labels have a series for each read-out. None where the table has not both kinds
    of labels at two k.
    """
    setting, chosen = shown_errors(table)
    if not len(chosen) or chosen["subclasses"].nunique() < 2:
        return None
    means = errors(_measured_at(table, setting))
    one_read_out = means["read_out"] == first_read_out(means["read_out"])
    means = means[(means["labels"] == "fine") | one_read_out]
    points = _series_points(means.to_dict("records"))
    there = {point["series"] for point in points}
    looks = {word: look for word, look in _LOOKS.items() if word in there}
    _set_apart(points, list(looks))
    tips = [
        {"field": "series", "title": "labels"},
        {"field": "k", "title": "k"},
        ERROR_TIP,
        *SURE_TIPS,
    ]
    return {
        "title": title(
            "Errors against the number of subclasses",
            "share of test samples whose superclass is told wrongly",
            setting,
        ),
        "hconcat": error_panels(points, k_axis([point["k"] for point in points]), looks, tips),
        "spacing": 40,
    }


def _measured_at(table: pd.DataFrame, setting: dict[str, Any]) -> pd.DataFrame:
    """Networks on coarse or fine labels at a setting, also at a k that one of them alone has."""
    ends = finished(table)
    coarse_or_fine = ends["labels"].isin(["coarse", "fine"]) & ends["hard_error"].notna()
    return at_setting(ends[coarse_or_fine], setting)


def _series_points(rows: Sequence[dict[Any, Any]]) -> list[Point]:
    points = []
    for row in rows:
        if not missing(row["error"]):
            coarse = row["labels"] == "coarse"
            series = _COARSE if coarse else f"fine labels, {row['read_out']}"
            points.append(error_point(row) | {"series": series, "k": row["subclasses"]})
    return points


def _set_apart(points: Sequence[Point], series: list[str]) -> None:
    """Give each point its place on the axis: its k, a little aside of the other series'."""
    middle = (len(series) - 1) / 2
    for point in points:
        point["x"] = point["k"] * _APART ** (series.index(point["series"]) - middle)


def phase_figure(table: pd.DataFrame) -> Spec | None:
    """Heat maps of hard error over k and sigma_star, a panel each for coarse and fine labels.

    None where the table has no plane of both.
    """
    planes = phase(table)
    setting, chosen = shown_phase(planes, table)
    chosen = chosen[chosen["error"].notna()]
    if not len(chosen):
        return None
    panels = []
    for labels in ("coarse", "fine"):
        points = []
        for row in chosen[chosen["labels"] == labels].to_dict("records"):
            place = {"k": int(row["subclasses"]), "sigma_star": float(row["sigma_star"])}
            points.append(error_point(row) | place)
        if points:
            panels.append({"title": f"{labels} labels"} | _phase_panel(points))
    subtitle = (
        "hard test samples told wrongly, %, over k and the strong noise σ* on one of their patches"
    )
    heading = title("Errors on hard samples, by number of subclasses and noise", subtitle, setting)
    return {"title": heading, "hconcat": panels, "spacing": 40}


def _phase_panel(points: list[Point]) -> Spec:
    x = {
        "field": "k",
        "type": "ordinal",
        "axis": {"title": "subclasses of each superclass, k", "labelAngle": 0, "grid": False},
    }
    y = {
        "field": "sigma_star",
        "type": "ordinal",
        "sort": "descending",
        "axis": {"title": "strong noise σ*", "grid": False},
    }
    tips = [
        {"field": "k", "title": "k"},
        {"field": "sigma_star", "title": "σ*"},
        ERROR_TIP,
        *SURE_TIPS,
    ]
    legend = {
        "title": "told wrongly, %",
        "orient": "right",
        "gradientLength": 140,
        "direction": "vertical",
    }
    colour = {
        "field": "error",
        "type": "quantitative",
        "scale": {"domain": [0, 100], "scheme": "cividis"},
        "legend": legend,
    }
    ink = {"condition": {"test": "datum.error > 60", "value": "#1F2933"}, "value": "#FFFFFF"}
    number = {"field": "error", "type": "quantitative", "format": ".0f"}
    return {
        "data": {"values": points},
        "width": {"step": 46},
        "height": {"step": 32},
        "encoding": {"x": x, "y": y},
        "layer": [
            {"mark": "rect", "encoding": {"color": colour, "tooltip": tips}},
            {"mark": {"type": "text", "fontSize": 11}, "encoding": {"text": number, "color": ink}},
        ],
    }
