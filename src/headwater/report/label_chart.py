"""One chart of label views before anything is trained: how many classes of what size, and how far
each is nested in a task's classes.

It is drawn from the facts of `headwater labels describe` (plain values), as an image by vl-convert
or as one offline HTML file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.report.chart_file import check_chart, save_chart
from headwater.report.charts import SCHEMA, theme
from headwater.report.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION

Spec = dict[str, Any]
MARKS = {
    "too coarse": (ORANGE, "square"),
    "matches": (BLUE, "circle"),
    "finer": (GREEN, "diamond"),
    "too fine": (PURPLE, "triangle-up"),
    "not aligned": (VERMILLION, "cross"),
    "no task": (GREY, "circle"),
}
"""Colour and shape of each direction: either one tells them apart."""
_WIDTH = 580
"""With its axis the whole stays below 700 px."""
_NAME_WIDTH = 88
"""Room for the names of views beside a small panel; longer ones are cut there and whole in the
tooltip.
"""
_APART = 1.12
"""Views of as many classes are drawn this factor apart."""


def save_label_chart(facts: dict[str, Any], path: Path) -> Path:
    """Write the chart of some facts and return its path.

    Raises InputError for a format that is not drawn, and where it cannot be written.
    """
    check_chart(path)
    return save_chart(label_chart(facts), path)


def label_chart(facts: dict[str, Any]) -> Spec:
    """The Vega-Lite specification: for each source its views by classes and images per class, and
    below how far they are nested in each task.

    Raises InputError where no view is known.
    """
    sources = [
        source
        for source in facts["sources"]
        if any(view["note"] is None for view in source["views"])
    ]
    if not sources:
        raise InputError("there is no view to draw: all wait for features that are to be trained")
    told = {
        a["expected"] for source in sources for view in source["views"] for a in view["against"]
    }
    colour, shape = _scales(
        [
            d
            for d in MARKS
            if d in told or (d == "no task" and not all(source["targets"] for source in sources))
        ]
    )
    parts = [part for source in sources for part in _source_parts(source, colour, shape)]
    return {
        "$schema": SCHEMA,
        "title": {
            "text": f"Label views of {facts['study'] or sources[0]['source']}",
            "subtitle": "what to expect of each, from Hong et al. 2023: a prior, not a measurement",
            "fontSize": 16, "offset": 14,
        },
        "vconcat": parts,
        "spacing": 30,
        "padding": 16,
        "config": theme(dark=False) | {"background": "white", "font": "Helvetica, Arial, sans-serif"},
    }  # fmt: skip


def _source_parts(source: dict[str, Any], colour: Spec, shape: Spec) -> list[Spec]:
    known = [view for view in source["views"] if view["note"] is None]
    first = source["targets"][0]["target"] if source["targets"] else None
    parts = [_sizes(source["source"], known, first, colour, shape)]
    panels = [
        _nesting(target, at, known, colour, shape) for at, target in enumerate(source["targets"])
    ]
    if panels:
        parts.append({"concat": panels, "columns": 2, "spacing": 30})
    return parts


def _scales(used: list[str]) -> tuple[Spec, Spec]:
    """(colour, shape) by direction, the same ones in every panel, so that one legend serves all."""
    shared = {
        "field": "expected",
        "type": "nominal",
        "title": None,
        "legend": {"title": None, "orient": "top", "columns": 6, "symbolSize": 80},
    }
    colour = shared | {"scale": {"domain": used, "range": [MARKS[d][0] for d in used]}}
    return colour, shared | {"scale": {"domain": used, "range": [MARKS[d][1] for d in used]}}


def _size_values(views: list[dict[str, Any]], first: str | None) -> list[dict[str, Any]]:
    """One record a view, ascending in classes.

    `x` is where it is drawn: views of (nearly) as many classes stand side by side.
    """
    values: list[dict[str, Any]] = []
    for view in sorted(views, key=lambda v: v["classes"]):
        told = (
            view["against"][0]
            if first is not None
            else {"expected": "no task", "reason": "there is no task to hold it against"}
        )
        x = (
            max(float(view["classes"]), values[-1]["x"] * _APART)
            if values
            else float(view["classes"])
        )
        place = "right" if x > view["classes"] else "below" if len(values) % 2 else "above"
        own = {
            k: view[k] for k in ("view", "classes", "smallest", "median", "largest", "singletons")
        }
        values.append(
            own | {"expected": told["expected"], "reason": told["reason"], "x": x, "place": place}
        )
    return values


def _sizes(
    title: str, views: list[dict[str, Any]], first: str | None, colour: Spec, shape: Spec
) -> Spec:
    """Classes against images per class: the median, and a rule from the smallest class to the
    largest.
    """
    values = _size_values(views, first)
    tip = [
        {"field": "view", "title": "view"}, {"field": "classes", "title": "classes", "format": ",d"},
        {"field": "median", "title": "images per class, median", "format": ",.0f"}, {"field": "smallest", "title": "fewest", "format": ",d"},
        {"field": "largest", "title": "most", "format": ",d"}, {"field": "singletons", "title": "classes of "
        "one image", "format": ",d"},
        {"field": "expected", "title": "expected"}, {"field": "reason", "title": "why"},
    ]  # fmt: skip
    log: Spec = {"type": "quantitative", "scale": {"type": "log", "nice": False, "padding": 26}}
    axis = {"values": [10**power for power in range(10)], "format": "~s", "gridOpacity": 0.9}
    x = log | {"field": "x", "axis": axis | {"title": "classes (log scale)"}}
    y = log | {"axis": axis | {"title": "images per class (log scale): median, fewest to most"}}
    point = {"type": "point", "filled": True, "size": 110, "opacity": 1}
    layers: list[Spec] = [
        {
            "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.4},
            "encoding": {
                "y": y | {"field": "smallest"},
                "y2": {"field": "largest"},
                "color": colour,
            },
        },
        {
            "mark": point,
            "encoding": {
                "y": y | {"field": "median"},
                "color": colour,
                "shape": shape,
                "tooltip": tip,
            },
        },
    ]
    for place, field, offset in (
        ("above", "largest", {"dy": -7, "baseline": "bottom"}),
        ("below", "smallest", {"dy": 9, "baseline": "top"}),
        ("right", "median", {"dx": 11, "baseline": "middle", "align": "left"}),
    ):
        if any(v["place"] == place for v in values):
            words = {"type": "text", "fontSize": 12, "align": "center"} | offset
            chosen = [{"filter": f"datum.place == '{place}'"}]
            layers.append(
                {
                    "transform": chosen,
                    "mark": words,
                    "encoding": {"y": y | {"field": field}, "text": {"field": "view"}},
                }
            )
    for layer in layers:
        layer["encoding"] = {"x": x} | layer["encoding"]
    named = title if first is None else f"{title}: what to expect for {first}"
    return {
        "data": {"values": values},
        "title": named,
        "width": _WIDTH,
        "height": 280,
        "layer": layers,
    }


def _nesting(
    target: dict[str, Any], at: int, views: list[dict[str, Any]], colour: Spec, shape: Spec
) -> Spec:
    """A line a view from what chance would nest (hollow) to what is nested (its mark)."""
    values = [
        {
            "view": view["view"],
            **{
                k: view["against"][at][k]
                for k in ("nesting", "nesting_by_chance", "nmi", "expected", "reason")
            },
        }
        for view in views
    ]
    names = {
        "title": None,
        "ticks": False,
        "domain": False,
        "labelLimit": _NAME_WIDTH,
        "minExtent": _NAME_WIDTH,
        "maxExtent": _NAME_WIDTH,
    }
    y = {"field": "view", "type": "nominal", "sort": [v["view"] for v in values], "axis": names}
    axis = {
        "title": "images nested in its classes (hollow: by chance)",
        "format": "%",
        "values": [0, 0.25, 0.5, 0.75, 1],
    }
    x = {"type": "quantitative", "scale": {"domain": [0, 1]}, "axis": axis}
    chance = x | {"field": "nesting_by_chance"}
    tip = [
        {"field": "view", "title": "view"}, {"field": "nesting", "title": "nested", "format": ".1%"},
        {"field": "nesting_by_chance", "title": "by chance", "format": ".1%"}, {"field": "nmi", "title": "NMI", "format": ".2f"},
        {"field": "expected", "title": "expected"}, {"field": "reason", "title": "why"},
    ]  # fmt: skip
    return {
        "data": {"values": values},
        "title": f"{target['target']}: {target['classes']:,} classes",
        "width": 196,
        "height": 24 * len(values),
        "encoding": {"y": y, "color": colour, "tooltip": tip},
        "layer": [
            {
                "mark": {"type": "rule", "strokeWidth": 2, "opacity": 0.4},
                "encoding": {"x": chance, "x2": {"field": "nesting"}},
            },
            {
                "mark": {"type": "point", "size": 50, "shape": "circle", "strokeWidth": 1.5},
                "encoding": {"x": chance},
            },
            {
                "mark": {"type": "point", "filled": True, "size": 90, "opacity": 1},
                "encoding": {"x": x | {"field": "nesting"}, "shape": shape},
            },
        ],
    }
