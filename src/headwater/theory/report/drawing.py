"""What the figures of simulated networks share: titles, axes over k, and panels of errors.

Figures are Vega-Lite specifications as plain dicts. Errors are drawn in percent; bars are Student's
95 % intervals over seeds. Where the table has several settings of the constants, the one that
headwater.theory.analysis.shown chooses is drawn, and named in the title.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

from headwater.analysis.words import missing
from headwater.theory.analysis.settings import READ_OUTS, setting_words

if TYPE_CHECKING:
    import pandas as pd

Spec = dict[str, Any]
Point = dict[str, Any]
"""One value of a chart: its fields by name."""
_MARGIN = 1.25
ERROR_TIP = {"field": "error", "title": "told wrongly, %", "format": ".2f"}
SURE_TIPS = ({"field": "spread", "title": "95 %"}, {"field": "seeds", "title": "seeds"})


class Look(NamedTuple):
    """How a series is drawn."""

    colour: str
    shape: str


def title(text: str, shown: str, setting: Mapping[str, Any]) -> Spec:
    """A figure's title: what it is, what is drawn, and at which constants."""
    words = setting_words(dict(setting))
    return {
        "text": text,
        "subtitle": [shown, *([f"at {words}"] if words else [])],
        "fontSize": 14,
        "offset": 10,
    }


def first_read_out(read_outs: pd.Series[Any]) -> str:
    """The first of `READ_OUTS` that is there, or the first of all."""
    there = set(read_outs)
    return str(next(word for word in (*READ_OUTS, *read_outs) if word in there))


def nominal(field: str, words: Sequence[str], values: Sequence[Any]) -> Spec:
    """An encoding that gives each word of a field its own colour, shape or dash."""
    scale = {"domain": list(words), "range": list(values)}
    return {"field": field, "type": "nominal", "title": None, "scale": scale}


def error_point(row: Mapping[Any, Any]) -> Point:
    """A line of `errors` or `curve` as a point: percent, interval, seeds."""
    point: Point = {}
    for name in ("error", "low", "high"):
        point[name] = None if missing(row[name]) else round(100 * float(row[name]), 3)
    return point | {
        "spread": _spread(row),
        "seeds": int(row["num_seeds"]),
        "samples": row["samples"],
    }


def _spread(row: Mapping[Any, Any]) -> str:
    if row["num_seeds"] < 2:
        return "one seed: no interval"
    if not row["agree"]:
        return f"{100 * row['low']:.2f} to {100 * row['high']:.2f} %"
    if missing(row["within_low"]):
        return "every seed the same"
    low, high = 100 * row["within_low"], 100 * row["within_high"]
    return f"every seed the same; test samples leave {low:.2g} to {high:.3g} %"


def k_axis(ks: Sequence[float]) -> Spec:
    """The axis of k, in logs, with ticks at measured values alone."""
    scale = {
        "type": "log",
        "base": 2,
        "domain": [min(ks) / _MARGIN, max(ks) * _MARGIN],
        "nice": False,
    }
    axis = {
        "title": "subclasses of each superclass, k (log scale)",
        "values": _spaced(sorted(set(ks))),
        "format": "~s",
        "grid": False,
    }
    return {"field": "x", "type": "quantitative", "scale": scale, "axis": axis}


def _spaced(values: Sequence[float]) -> list[float]:
    """Ticks at least a factor 1.5 apart, so that their words do not meet."""
    kept: list[float] = []
    for value in values:
        if not kept or value >= 1.5 * kept[-1]:
            kept.append(value)
    return kept


def error_panels(
    points: Sequence[Point], x: Spec, looks: Mapping[str, Look], tips: Sequence[Spec]
) -> list[Spec]:
    """Errors of hard test samples and beside them those of easy ones, each where there are any."""
    panels = []
    for samples in ("hard", "easy"):
        own = [point for point in points if point["samples"] == samples]
        if own:
            panels.append({"title": f"{samples} test samples"} | _error_panel(own, x, looks, tips))
    return panels


def _error_panel(
    points: Sequence[Point], x: Spec, looks: Mapping[str, Look], tips: Sequence[Spec]
) -> Spec:
    """Interval, line and points of each series.

    Nothing is cut, as errors and their intervals lie in the frame.
    """
    y: Spec = {
        "type": "quantitative",
        "scale": {"domain": [0, 100], "nice": False},
        "axis": {"title": "told wrongly, %", "tickCount": 5},
    }
    words = list(looks)
    shared: Spec = {
        "x": x,
        "color": nominal("series", words, [look.colour for look in looks.values()]),
    }
    shape = nominal("series", words, [look.shape for look in looks.values()])
    mean = y | {"field": "error"}
    interval = {
        "transform": [{"filter": "datum.low !== null"}],
        "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.5},
        "encoding": shared | {"y": y | {"field": "low"}, "y2": {"field": "high"}},
    }
    line = {"mark": {"type": "line", "strokeWidth": 1.8}, "encoding": shared | {"y": mean}}
    marks = {
        "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1},
        "encoding": shared | {"y": mean, "shape": shape, "tooltip": list(tips)},
    }
    return {
        "data": {"values": list(points)},
        "width": 340,
        "height": 230,
        "layer": [interval, line, marks],
    }
