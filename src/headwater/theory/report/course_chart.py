"""The course of training: responses of neurons to features, and errors, against steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from headwater.analysis.words import missing
from headwater.report.palette import BLUE, GREEN, PURPLE, VERMILLION
from headwater.theory.analysis import gradual
from headwater.theory.analysis.settings import at_setting
from headwater.theory.analysis.shown import constants_before, shown_course, typical, usual
from headwater.theory.report.drawing import Point, Spec, first_read_out, nominal, title

if TYPE_CHECKING:
    import pandas as pd


class Stroke(NamedTuple):
    """How the course of a quantity is called and drawn."""

    word: str
    colour: str
    dash: list[int]


_WHOLE, _DASHED = [1, 0], [4, 3]
_RESPONSES = {
    "common_aligned_mean": Stroke("common, own class", VERMILLION, _WHOLE),
    "fine_aligned_mean": Stroke("fine, own class", BLUE, _WHOLE),
    "common_other_mean": Stroke("common, other classes", VERMILLION, _DASHED),
    "fine_other_mean": Stroke("fine, other classes", BLUE, _DASHED),
}
_ERRORS = {
    "hard_error": Stroke("hard samples", PURPLE, _WHOLE),
    "easy_error": Stroke("easy samples", GREEN, _DASHED),
}
_ONE, _PERCENT = 1, 100
_LEGEND = {"symbolType": "stroke", "symbolSize": 300}


def course_figure(table: pd.DataFrame) -> Spec | None:
    """Responses to features, and below them errors, against training steps.

    A column for each kind of labels. None where no network was looked at during training.
    """
    looks = gradual(table)
    courses = looks[looks["read_out"].isna()]
    if not len(courses):
        return None
    setting, responses = shown_course(courses, table)
    tests, tested = _errors_at(looks, setting, table)
    kinds = sorted(responses["labels"].unique(), key=lambda word: (word != "coarse", word))
    rows = [_response_row(responses, kinds)]
    if len(tests):
        rows.append(_error_row(tests, kinds))
    heading = title(
        "Which features are learned, and when",
        "mean response of neurons, band: 95 % interval over seeds",
        setting | tested,
    )
    return {"title": heading, "vconcat": rows}


def _errors_at(
    looks: pd.DataFrame, setting: dict[str, Any], table: pd.DataFrame
) -> tuple[pd.DataFrame, dict[str, Any]]:
    """Courses of errors of the networks at a setting, by one read-out in one test.

    Beside them what of the test had to be chosen.
    """
    known = {}
    for name, value in setting.items():
        if not missing(value) or name == "train_samples":
            known[name] = value
    of_errors = looks["read_out"].notna() & looks["quantity"].isin(list(_ERRORS))
    tests = at_setting(looks[of_errors], known)
    if len(tests):
        tests = tests[tests["read_out"] == first_read_out(tests["read_out"])]
    others = [name for name in constants_before(looks, "read_out", start=2) if name not in known]
    tested, chosen = usual(tests, others, most="labels", wanted=typical(table, others))
    return chosen, tested


def _response_row(courses: pd.DataFrame, kinds: Sequence[str]) -> Spec:
    courses = courses[courses["quantity"].isin(list(_RESPONSES))]
    low = float(courses[["mean", "low"]].min().min())
    high = float(courses[["mean", "high"]].max().max())
    y = _y_axis("response <w, v>", [low, high])
    panels = []
    for labels in kinds:
        points = _points(courses[courses["labels"] == labels], _RESPONSES, _ONE)
        if points:
            panels.append({"title": f"{labels} labels"} | _panel(points, _RESPONSES, y))
    return {"hconcat": panels, "spacing": 40}


def _error_row(courses: pd.DataFrame, kinds: Sequence[str]) -> Spec:
    y = _y_axis("told wrongly, %", [0.0, 100.0])
    panels = []
    for labels in kinds:
        points = _points(courses[courses["labels"] == labels], _ERRORS, _PERCENT)
        if points:
            panels.append({"title": f"{labels} labels: errors"} | _panel(points, _ERRORS, y))
    return {"hconcat": panels, "spacing": 40}


def _points(courses: pd.DataFrame, strokes: Mapping[str, Stroke], factor: int) -> list[Point]:
    points = []
    for row in courses.to_dict("records"):
        point: Point = {
            "series": strokes[row["quantity"]].word,
            "steps": row["steps"],
            "seeds": row["num_seeds"],
            "stopped": row["num_stopped"],
        }
        for name in ("mean", "low", "high"):
            point[name] = None if missing(row[name]) else factor * round(float(row[name]), 6)
        points.append(point)
    return points


def _y_axis(text: str, domain: list[float]) -> Spec:
    return {
        "type": "quantitative",
        "scale": {"domain": domain},
        "axis": {"title": text, "tickCount": 5},
    }


def _panel(points: list[Point], strokes: Mapping[str, Stroke], y: Spec) -> Spec:
    there = {point["series"] for point in points}
    present = [stroke for stroke in strokes.values() if stroke.word in there]
    words = [stroke.word for stroke in present]
    legend = {"legend": _LEGEND}
    colour = nominal("series", words, [stroke.colour for stroke in present]) | legend
    dash = nominal("series", words, [stroke.dash for stroke in present]) | legend
    shared: Spec = {"x": _steps_axis(points), "color": colour}
    mean = y | {"field": "mean"}
    layers: list[Spec] = []
    if any(point["low"] is not None and point["low"] < point["high"] for point in points):
        layers.append(_band(shared, y))  # an empty one has no extent, and Vega would warn of it
    layers.append(
        {
            "mark": {"type": "line", "strokeWidth": 2, "clip": True},
            "encoding": shared | {"y": mean, "strokeDash": dash},
        }
    )
    layers.append(
        {
            "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0},
            "encoding": shared | {"y": mean, "tooltip": _tips(y["axis"]["title"])},
        }
    )
    return {"data": {"values": points}, "width": 340, "height": 190, "layer": layers}


def _steps_axis(points: Sequence[Point]) -> Spec:
    last = max(point["steps"] for point in points)
    powers = [10**power for power in range(1, 8)]
    ticks = [0, *(power for power in powers if power <= last)]
    axis = {"title": "training steps (log scale)", "values": ticks, "format": ",d", "grid": False}
    return {
        "field": "steps",
        "type": "quantitative",
        "scale": {"type": "symlog", "constant": 3},
        "axis": axis,
    }


def _band(shared: Spec, y: Spec) -> Spec:
    """The interval of a mean over seeds."""
    return {
        "transform": [{"filter": "datum.low !== null"}],
        "mark": {"type": "area", "opacity": 0.18, "clip": True},
        "encoding": shared | {"y": y | {"field": "low"}, "y2": {"field": "high"}},
    }


def _tips(text: str) -> list[Spec]:
    return [
        {"field": "series", "title": "of"},
        {"field": "steps", "title": "step"},
        {"field": "mean", "title": text, "format": ".4~g"},
        {"field": "seeds", "title": "seeds"},
        {"field": "stopped", "title": "whose training had ended"},
    ]
