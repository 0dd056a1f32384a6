"""Learning curves of a study's arms: loss, online kNN accuracy and learning rate against images
seen, one line an arm, its seeds together.

They are drawn from the facts of `headwater curves` (plain values), as an image by vl-convert or as
one offline HTML file.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.analysis.order import place_of
from headwater.errors import InputError
from headwater.report.chart_file import check_chart, save_chart
from headwater.report.charts import SCHEMA, theme
from headwater.report.palette import arm_colours, arm_word

Spec = dict[str, Any]
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
_DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])


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
    found = {
        quantity: [(one, records) for one in series if (records := _records(one["arms"], quantity))]
        for quantity in QUANTITIES
    }
    found = {quantity: lines for quantity, lines in found.items() if lines}
    if not found:
        raise InputError(f"no arm of {facts['study']} has a curve yet; `headwater run` trains them")
    colour, dash = _scales(
        [one for one in series if any(one is own for lines in found.values() for own, _ in lines)]
    )
    last = max(
        record["images"] for lines in found.values() for _, records in lines for record in records
    )
    x = {"field": "images", "type": "quantitative", "scale": {"domain": [0, last], "nice": False}}
    x["axis"] = {
        "title": "images seen",
        "format": "~s",
        "tickCount": 5,
        "labelExpr": "datum.value ? datum.label : '0'",
    }  # not 0k
    panels = [
        _panel(quantity, lines, {"x": x, "color": colour}, dash, hover=hover)
        for quantity, lines in found.items()
    ]
    subtitle = ["mean over the seeds that got that far, band from the lowest to the highest"]
    subtitle += (
        ["losses of different methods or labels cannot be compared"]
        if len({one["colour"] for one in series}) > 1
        else []
    )
    return {
        "$schema": SCHEMA,
        "title": {
            "text": f"Learning curves of {facts['study']}",
            "subtitle": subtitle,
            "fontSize": 16,
            "offset": 14,
        },
        "concat": panels,
        "columns": 3,
        "spacing": 30,
        "padding": 16,
        "config": theme(dark=False)
        | {"background": "white", "font": "Helvetica, Arial, sans-serif"},
    }


def _series(arms: list[dict[str, Any]]) -> list[dict[str, Any]]:
    """Arms that differ in the seed alone, together, in the order of the report: method, then coarse
    to fine, then source and size.
    """
    groups: dict[str, list[dict[str, Any]]] = {}
    for arm in arms:
        groups.setdefault(arm["title"], []).append(arm)
    unknown = {"backbone": None, "recipe": None}
    ordered = sorted(
        groups.items(), key=lambda item: place_of(item[1][0] | unknown, item[1][0]["classes"])
    )
    made = []
    for title, members in ordered:
        first = members[0]
        size = None if first["size"] in (None, "all") else f"{first['size']} images"
        where = ", ".join(str(part) for part in (first["source"], size) if part)
        made.append(
            {
                "title": title,
                "arms": members,
                "colour": arm_word(first["method"], first["labels"]),
                "where": where,
            }
        )
    return made


def _scales(series: list[dict[str, Any]]) -> tuple[Spec, Spec]:
    """(colour by method and labels, dash by source and size), the same in every panel, so that one
    legend serves all.
    """
    import pandas as pd

    first = [one["arms"][0] for one in series]
    table = pd.DataFrame(
        {
            "order": range(len(series)),
            "method": [arm["method"] for arm in first],
            "labels": [arm["labels"] for arm in first],
        }
    )
    colours = arm_colours(table)
    places = list(dict.fromkeys(one["where"] for one in series))
    colour: Spec = {
        "field": "colour",
        "type": "nominal",
        "title": None,
        "scale": {"domain": list(colours), "range": list(colours.values())},
    }
    scale = {"domain": places, "range": [_DASHES[at % len(_DASHES)] for at in range(len(places))]}
    dash: Spec = {"field": "where", "type": "nominal", "title": None, "scale": scale}
    return colour, dash | ({"legend": None} if len(places) < 2 else {})


def _records(arms: list[dict[str, Any]], quantity: str) -> list[dict[str, Any]]:
    """The line of some seeds: images, mean, low, high, seeds at each place."""
    curves = [curve for arm in arms if len((curve := _thinned(_curve(arm["points"], quantity)))[0])]
    if not curves:
        return []
    grid = np.unique(np.concatenate([x for x, _ in curves]))
    grid = grid[np.unique(np.linspace(0, len(grid) - 1, MOST_POINTS).round().astype(int))]
    values = np.stack([np.interp(grid, x, y, left=np.nan, right=np.nan) for x, y in curves])
    scale = 100.0 if quantity == "knn" else 1.0
    records = []
    for at, x in enumerate(grid):
        there = scale * values[~np.isnan(values[:, at]), at]
        mean, low, high = (
            float(f"{value:.5g}") for value in (there.mean(), there.min(), there.max())
        )
        records.append(
            {"images": float(x), "mean": mean, "low": low, "high": high, "seeds": len(there)}
        )
    return records


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


def _panel(
    quantity: str,
    lines: list[tuple[dict[str, Any], list[dict[str, Any]]]],
    common: Spec,
    dash: Spec,
    *,
    hover: bool,
) -> Spec:
    values = [
        {"name": one["title"], "colour": one["colour"], "where": one["where"], **record}
        for one, records in lines
        for record in records
    ]
    top = 1.06 * max(
        value["high"] for value in values
    )  # a label at the very top would push the panel's title up
    scale: Spec = (
        {"domain": [0, top], "nice": False} if quantity == "lr" and top > 0 else {"zero": False}
    )
    y: Spec = {
        "type": "quantitative",
        "scale": scale,
        "axis": {"title": None, "tickCount": 5} | ({"format": "~g"} if quantity == "lr" else {}),
    }
    shared: Spec = common | {"detail": {"field": "name"}}
    layers: list[Spec] = [
        {
            "mark": {"type": "line", "strokeWidth": 1.8, "clip": True},
            "encoding": shared | {"y": y | {"field": "mean"}, "strokeDash": dash},
        }
    ]
    if any(
        value["low"] < value["high"] for value in values
    ):  # an empty layer would have no extent, and Vega would warn of it
        band = {"y": y | {"field": "low"}, "y2": {"field": "high"}}
        layers.insert(
            0,
            {
                "transform": [{"filter": "datum.seeds > 1"}],
                "mark": {"type": "area", "opacity": 0.18},
                "encoding": shared | band,
            },
        )
    alone = {name for name, count in _counts(values).items() if count == 1}
    if alone:  # a line of one point is nothing
        dots = [{"filter": {"field": "name", "oneOf": sorted(alone)}}]
        layers.append(
            {
                "transform": dots,
                "mark": {"type": "point", "filled": True, "size": 40},
                "encoding": shared | {"y": y | {"field": "mean"}},
            }
        )
    if hover:
        number = ".4~g"
        tip = [
            {"field": "name", "title": "arm"}, {"field": "images", "title": "images "
            "seen", "format": ",.0f"},
            {"field": "mean", "title": QUANTITIES[quantity], "format": number}, {"field": "low", "title": "lowest "
            "seed", "format": number},
            {"field": "high", "title": "highest seed", "format": number}, {"field": "seeds", "title": "seeds"},
        ]  # fmt: skip
        layers.append(
            {
                "mark": {"type": "point", "filled": True, "size": 60, "opacity": 0},
                "encoding": shared | {"y": y | {"field": "mean"}, "tooltip": tip},
            }
        )
    return {
        "title": QUANTITIES[quantity],
        "data": {"values": values},
        "width": _WIDTH,
        "height": _HEIGHT,
        "layer": layers,
    }


def _counts(values: list[dict[str, Any]]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for value in values:
        counts[value["name"]] = counts.get(value["name"], 0) + 1
    return counts
