"""Learning curves of a study's arms: loss, online kNN accuracy and learning rate against images
seen, one line an arm, its seeds together.

They are drawn from the facts of `headwater curves` (plain values), as an image by vl-convert or as
one offline HTML file.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.analysis.kinds import LabelsOf
from headwater.analysis.order import Place, place_of
from headwater.errors import InputError
from headwater.report.chart_file import check_chart, save_chart
from headwater.report.charts.theme import DASHES, Spec, on_white
from headwater.report.palette import arm_colours, arm_word

Curve = tuple[NDArray[np.float64], NDArray[np.float64]]
"""(images seen, ascending; a quantity there)."""
QUANTITIES = {
    "loss": "training loss",
    "knn": "right by nearest neighbours, %",
    "lr": "learning rate",
}
"""What is drawn, where any arm has it; a panel each."""
MOST_POINTS = 200
"""Points of a line: more cannot be told apart in a panel of this width, and would only make the
file large.
"""
_WIDTH, _HEIGHT = 300, 230


def save_curves(facts: dict[str, Any], path: Path) -> Path:
    """Write the chart of some facts and return its path.

    Raises InputError for a format that is not drawn, where no arm has a curve, and where it cannot
    be written.
    """
    suffix = check_chart(path)
    return save_chart(curves_chart(facts, hover=suffix == "html"), path)


def curves_chart(facts: dict[str, Any], *, hover: bool = False) -> Spec:
    """The Vega-Lite specification: a panel a quantity that any arm has.

    `hover` adds points that tell their numbers under the pointer.

    Raises InputError where no arm has a curve.
    """
    series = _series(facts["arms"])
    drawn = {quantity: _lines(series, quantity) for quantity in QUANTITIES}
    drawn = {quantity: lines for quantity, lines in drawn.items() if lines}
    if not drawn:
        raise InputError(f"no arm of {facts['study']} has a curve yet; `headwater run` trains them")
    titles = {line.series.title for lines in drawn.values() for line in lines}
    colour, dash = _scales([each for each in series if each.title in titles])
    shared = {"x": _images_axis(drawn), "color": colour}
    panels = [
        _panel(quantity, lines, shared, dash, hover=hover) for quantity, lines in drawn.items()
    ]
    subtitle = ["mean over the seeds that got that far, band from the lowest to the highest"]
    if len({each.colour for each in series}) > 1:
        subtitle.append("losses of different methods or labels cannot be compared")
    return on_white(
        {
            "title": {
                "text": f"Learning curves of {facts['study']}",
                "subtitle": subtitle,
                "fontSize": 16,
                "offset": 14,
            },
            "concat": panels,
            "columns": 3,
            "spacing": 30,
        }
    )


@dataclass(frozen=True)
class _Series:
    """Arms that differ in the seed alone."""

    title: str
    arms: list[dict[str, Any]]
    colour: str
    """What the colour stands for: a word of `palette.arm_word`."""
    where: str
    """Source and size, told by the dashes."""


@dataclass(frozen=True)
class _Line:
    """One quantity of a series."""

    series: _Series
    records: list[dict[str, Any]]
    """images, mean, low, high and seeds at each place; never empty."""


def _series(arms: list[dict[str, Any]]) -> list[_Series]:
    """In the order of the report: method, then coarse to fine, then source and size."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for arm in arms:
        groups.setdefault(arm["title"], []).append(arm)
    ordered = sorted(groups.values(), key=_place)
    return [_one_series(members) for members in ordered]


def _place(members: list[dict[str, Any]]) -> Place:
    arm = members[0]
    of_labels = LabelsOf(arm["label_kind"], arm["label_level"], arm["classes"])
    return place_of(arm | {"backbone": None, "recipe": None}, of_labels)


def _one_series(members: list[dict[str, Any]]) -> _Series:
    first = members[0]
    size = None if first["size"] in (None, "all") else f"{first['size']} images"
    return _Series(
        title=first["title"],
        arms=members,
        colour=arm_word(first["method"], first["labels"]),
        where=", ".join(str(word) for word in (first["source"], size) if word),
    )


def _scales(series: list[_Series]) -> tuple[Spec, Spec]:
    """(colour by method and labels, dash by source and size), the same in every panel, so that one
    legend serves all.
    """
    import pandas as pd

    first = [each.arms[0] for each in series]
    table = pd.DataFrame(
        {
            "order": range(len(series)),
            "method": [arm["method"] for arm in first],
            "labels": [arm["labels"] for arm in first],
            "label_kind": [arm["label_kind"] for arm in first],
        }
    )
    colours = arm_colours(table)
    colour: Spec = {
        "field": "colour",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(colours), "range": list(colours.values())},
    }
    places = list(dict.fromkeys(each.where for each in series))
    dashes = [DASHES[number % len(DASHES)] for number in range(len(places))]
    dash: Spec = {
        "field": "where",
        "type": "nominal",
        "title": None,
        "scale": {"domain": places, "range": dashes},
    }
    return colour, dash | ({"legend": None} if len(places) < 2 else {})


def _images_axis(drawn: dict[str, list[_Line]]) -> Spec:
    """Images seen, the same axis in every panel."""
    every = [line for lines in drawn.values() for line in lines]
    last = max(line.records[-1]["images"] for line in every)
    return {
        "field": "images",
        "type": "quantitative",
        "scale": {"domain": [0, last], "nice": False},
        "axis": {
            "title": "images seen",
            "format": "~s",
            "tickCount": 5,
            "labelExpr": "datum.value ? datum.label : '0'",  # not 0k
        },
    }


def _lines(series: list[_Series], quantity: str) -> list[_Line]:
    """One a series that has the quantity."""
    lines = [_Line(each, _records(each.arms, quantity)) for each in series]
    return [line for line in lines if line.records]


def _records(arms: list[dict[str, Any]], quantity: str) -> list[dict[str, Any]]:
    """The line of some seeds: images (ascending), mean, low, high, seeds at each place."""
    curves = [_thinned(_curve(arm["points"], quantity)) for arm in arms]
    curves = [curve for curve in curves if len(curve[0])]
    if not curves:
        return []
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    grid = grid[np.unique(np.linspace(0, len(grid) - 1, MOST_POINTS).round().astype(int))]
    values = np.stack([np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in curves])
    scale = 100.0 if quantity == "knn" else 1.0
    records = []
    for images, of_seeds in zip(grid, values.T, strict=True):
        known = scale * of_seeds[~np.isnan(of_seeds)]
        records.append(
            {
                "images": float(images),
                "mean": _rounded(known.mean()),
                "low": _rounded(known.min()),
                "high": _rounded(known.max()),
                "seeds": len(known),
            }
        )
    return records


def _rounded(value: float) -> float:
    return float(f"{value:.5g}")


def _curve(points: list[dict[str, Any]], quantity: str) -> Curve:
    known = [(point["images"], point[quantity]) for point in points if quantity in point]
    x, y = np.array(known, dtype=np.float64).reshape(-1, 2).T
    return x, y


def _thinned(curve: Curve) -> Curve:
    """Means of as many neighbouring points as leave no more than MOST_POINTS: what is logged at
    every step would be a band of noise.
    """
    x, y = curve
    if len(x) <= MOST_POINTS:
        return curve
    starts = np.linspace(0, len(x), MOST_POINTS + 1).astype(int)[:-1]
    counts = np.diff(np.append(starts, len(x)))
    return np.add.reduceat(x, starts) / counts, np.add.reduceat(y, starts) / counts


def _panel(quantity: str, lines: list[_Line], shared: Spec, dash: Spec, *, hover: bool) -> Spec:
    values = []
    for line in lines:
        arm = {
            "name": line.series.title,
            "colour": line.series.colour,
            "where": line.series.where,
        }
        values += [arm | record for record in line.records]
    y = _quantity_axis(quantity, values)
    encoding: Spec = shared | {"detail": {"field": "name"}, "y": y | {"field": "mean"}}
    layers: list[Spec] = [
        {
            "mark": {"type": "line", "strokeWidth": 1.8, "clip": True},
            "encoding": encoding | {"strokeDash": dash},
        }
    ]
    # An empty layer would have no extent, and Vega would warn of it.
    if any(value["low"] < value["high"] for value in values):
        band = {"y": y | {"field": "low"}, "y2": {"field": "high"}}
        layers.insert(
            0,
            {
                "transform": [{"filter": "datum.seeds > 1"}],
                "mark": {"type": "area", "opacity": 0.18},
                "encoding": encoding | band,
            },
        )
    # A line of one point is nothing.
    alone = sorted(line.series.title for line in lines if len(line.records) == 1)
    if alone:
        layers.append(
            {
                "transform": [{"filter": {"field": "name", "oneOf": alone}}],
                "mark": {"type": "point", "filled": True, "size": 40},
                "encoding": encoding,
            }
        )
    if hover:
        layers.append(
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0},
                "encoding": encoding | {"tooltip": _tip(quantity)},
            }
        )
    return {
        "title": QUANTITIES[quantity],
        "data": {"values": values},
        "width": _WIDTH,
        "height": _HEIGHT,
        "layer": layers,
    }


def _quantity_axis(quantity: str, values: list[dict[str, Any]]) -> Spec:
    # A label at the very top would push the panel's title up.
    top = 1.06 * max(value["high"] for value in values)
    from_zero = quantity == "lr" and top > 0
    axis = {"title": None, "tickCount": 5} | ({"format": "~g"} if quantity == "lr" else {})
    return {
        "type": "quantitative",
        "scale": {"domain": [0, top], "nice": False} if from_zero else {"zero": False},
        "axis": axis,
    }


def _tip(quantity: str) -> list[Spec]:
    number = ".4~g"
    return [
        {"field": "name", "title": "arm"},
        {"field": "images", "title": "images seen", "format": ",.0f"},
        {"field": "mean", "title": QUANTITIES[quantity], "format": number},
        {"field": "low", "title": "lowest seed", "format": number},
        {"field": "high", "title": "highest seed", "format": number},
        {"field": "seeds", "title": "seeds"},
    ]
