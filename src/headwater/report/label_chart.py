"""One chart of label views before anything is trained: how many classes of what size, and how far
each is nested in a task's classes.

It is drawn from the facts of `headwater labels describe` (plain values), as an image by vl-convert
or as one offline HTML file.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.report.chart_file import check_chart, save_chart
from headwater.report.charts.theme import Spec, on_white
from headwater.report.palette import BLUE, GREEN, GREY, ORANGE, PURPLE, VERMILLION

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
_ROOM = 1.9
"""An axis ends this factor before and after what it holds, where the names of views stand."""
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
    sources = [_Source.of(source) for source in facts["sources"]]
    sources = [source for source in sources if source.views]
    if not sources:
        raise InputError("there is no view to draw: all wait for features that are to be trained")
    colour, shape = _scales(_directions(sources))
    charts = [chart for source in sources for chart in _source_charts(source, colour, shape)]
    return on_white(
        {
            "title": {
                "text": f"Label views of {facts['study'] or sources[0].name}",
                "subtitle": "what to expect of each, from Hong et al. 2023: a prior, not a "
                "measurement",
                "fontSize": 16,
                "offset": 14,
            },
            "vconcat": charts,
            "spacing": 30,
        }
    )


@dataclass(frozen=True)
class _Source:
    """The facts of one source."""

    name: str
    views: list[dict[str, Any]]
    """Views that are known. `against` holds how each is nested, one entry a target."""
    targets: list[dict[str, Any]]

    @classmethod
    def of(cls, facts: dict[str, Any]) -> _Source:
        views = [view for view in facts["views"] if view["note"] is None]
        return cls(facts["source"], views, facts["targets"])

    @property
    def first_target(self) -> str | None:
        """What the views are coloured for."""
        return self.targets[0]["target"] if self.targets else None


def _directions(sources: list[_Source]) -> list[str]:
    """The keys of `MARKS` that are drawn."""
    drawn = set()
    for source in sources:
        if not source.targets:
            drawn.add("no task")
        for view in source.views:
            drawn.update(nested["expected"] for nested in view["against"])
    return [direction for direction in MARKS if direction in drawn]


def _source_charts(source: _Source, colour: Spec, shape: Spec) -> list[Spec]:
    charts = [_sizes(source, colour, shape)]
    panels = [
        _nesting(target, _nesting_values(source, number), colour, shape)
        for number, target in enumerate(source.targets)
    ]
    if panels:
        charts.append({"concat": panels, "columns": 2, "spacing": 30})
    return charts


def _scales(directions: list[str]) -> tuple[Spec, Spec]:
    """(colour, shape) by direction, the same ones in every panel, so that one legend serves all."""
    marks = [MARKS[direction] for direction in directions]
    shared = {
        "field": "expected",
        "type": "nominal",
        "title": None,
        "legend": {"title": None, "orient": "top", "columns": 6, "symbolSize": 80},
    }
    colours = {"domain": directions, "range": [colour for colour, _ in marks]}
    shapes = {"domain": directions, "range": [shape for _, shape in marks]}
    return shared | {"scale": colours}, shared | {"scale": shapes}


def _size_values(source: _Source) -> list[dict[str, Any]]:
    """One record a view, ascending in classes.

    `x` is where it is drawn: views of (nearly) as many classes stand side by side.
    """
    no_task = {"expected": "no task", "reason": "there is no task to hold it against"}
    values: list[dict[str, Any]] = []
    for view in sorted(source.views, key=lambda view: view["classes"]):
        nested = view["against"][0] if source.targets else no_task
        x = float(view["classes"])
        if values:
            x = max(x, values[-1]["x"] * _APART)
        place = "right" if x > view["classes"] else "below" if len(values) % 2 else "above"
        values.append(
            {
                **_fields(view, "view", "classes", "smallest", "median", "largest", "singletons"),
                **_fields(nested, "expected", "reason"),
                "x": x,
                "place": place,
                "align": "left" if place == "right" else "center",
            }
        )
    if len(values) > 1:  # names at the ends of the axis stay within it
        values[0]["align"] = "left"
        values[-1] |= {"align": "right", "place": _at_the_end(values)}
    return values


def _at_the_end(values: list[dict[str, Any]]) -> str:
    """Where the last name stands: not to the right, where the chart ends."""
    if values[-1]["place"] != "right":
        return str(values[-1]["place"])
    return "below" if values[-2]["place"] == "above" else "above"


def _fields(facts: dict[str, Any], *names: str) -> dict[str, Any]:
    return {name: facts[name] for name in names}


def _sizes(source: _Source, colour: Spec, shape: Spec) -> Spec:
    """Classes against images per class: the median, and a rule from the smallest class to the
    largest.
    """
    values = _size_values(source)
    x = _log_axis([value["x"] for value in values], "classes (log scale)") | {"field": "x"}
    ends = [value[name] for value in values for name in ("smallest", "median", "largest")]
    y = _log_axis(ends, "images per class (log scale): median, fewest to most")
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
            "mark": {"type": "point", "filled": True, "size": 110, "opacity": 1},
            "encoding": {
                "y": y | {"field": "median"},
                "color": colour,
                "shape": shape,
                "tooltip": _SIZES_TIP,
            },
        },
        *_view_names(values, y),
    ]
    for layer in layers:
        layer["encoding"] = {"x": x} | layer["encoding"]
    target = source.first_target
    return {
        "data": {"values": values},
        "description": f"Classes and images per class of {source.name}",
        "title": source.name if target is None else f"{source.name}: what to expect for {target}",
        "width": _WIDTH,
        "height": 280,
        "layer": layers,
    }


def _log_axis(numbers: list[float], title: str) -> Spec:
    """An axis that holds all numbers, with room around a single one, and ticks at 1, 2 and 5 times
    powers of ten; where these would be many, at powers of ten alone.
    """
    known = [max(1.0, float(number)) for number in numbers]
    low, high = min(known) / _ROOM, max(known) * _ROOM
    steps = [1, 2, 5] if high / low < 1000 else [1]
    ticks = [step * 10**power for power in range(10) for step in steps]
    return {
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "domain": [low, high]},
        "axis": {
            "title": title,
            "values": [tick for tick in ticks if low <= tick <= high],
            "format": "~s",
            "gridOpacity": 0.9,
        },
    }


_SIZES_TIP: list[Spec] = [
    {"field": "view", "title": "view"},
    {"field": "classes", "title": "classes", "format": ",d"},
    {"field": "median", "title": "images per class, median", "format": ",.0f"},
    {"field": "smallest", "title": "fewest", "format": ",d"},
    {"field": "largest", "title": "most", "format": ",d"},
    {"field": "singletons", "title": "classes of one image", "format": ",d"},
    {"field": "expected", "title": "expected"},
    {"field": "reason", "title": "why"},
]
_NAME_PLACES: dict[str, tuple[str, Spec]] = {
    "above": ("largest", {"dy": -7, "baseline": "bottom"}),
    "below": ("smallest", {"dy": 9, "baseline": "top"}),
    "right": ("median", {"dx": 11, "baseline": "middle"}),
}
"""Place of a name -> the field that it stands beside, and how."""


def _view_names(values: list[dict[str, Any]], y: Spec) -> Iterator[Spec]:
    """Layers with the names of the views, one a place and alignment that is used."""
    used = {(value["place"], value["align"]) for value in values}
    for place, align in sorted(used):
        field, offset = _NAME_PLACES[place]
        mark = {"type": "text", "fontSize": 12, "limit": 190} | offset | {"align": align}
        yield {
            "transform": [{"filter": f"datum.place == '{place}' && datum.align == '{align}'"}],
            "mark": mark,
            "encoding": {"y": y | {"field": field}, "text": {"field": "view"}},
        }


def _nesting_values(source: _Source, target: int) -> list[dict[str, Any]]:
    """How each view is nested in the classes of a target, by its number."""
    names = ("nesting", "nesting_by_chance", "nmi", "expected", "reason")
    return [
        {"view": view["view"], **_fields(view["against"][target], *names)} for view in source.views
    ]


def _nesting(
    target: dict[str, Any], values: list[dict[str, Any]], colour: Spec, shape: Spec
) -> Spec:
    """A line a view from what chance would nest (hollow) to what is nested (its mark)."""
    names = {
        "title": None,
        "ticks": False,
        "domain": False,
        "labelLimit": _NAME_WIDTH,
        "minExtent": _NAME_WIDTH,
        "maxExtent": _NAME_WIDTH,
    }
    views = [value["view"] for value in values]
    y = {"field": "view", "type": "nominal", "sort": views, "axis": names}
    axis = {
        "title": "images nested in its classes (hollow: by chance)",
        "format": "%",
        "values": [0, 0.25, 0.5, 0.75, 1],
    }
    x = {"type": "quantitative", "scale": {"domain": [0, 1]}, "axis": axis}
    chance = x | {"field": "nesting_by_chance"}
    return {
        "data": {"values": values},
        "title": f"{target['target']}: {target['classes']:,} classes",
        "width": 196,
        "height": 24 * len(values),
        "encoding": {"y": y, "color": colour, "tooltip": _NESTING_TIP},
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


_NESTING_TIP: list[Spec] = [
    {"field": "view", "title": "view"},
    {"field": "nesting", "title": "nested", "format": ".1%"},
    {"field": "nesting_by_chance", "title": "by chance", "format": ".1%"},
    {"field": "nmi", "title": "NMI", "format": ".2f"},
    {"field": "expected", "title": "expected"},
    {"field": "reason", "title": "why"},
]
