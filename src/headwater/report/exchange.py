"""What images of one source are worth in images of another, as a chart: both curves, and the rate
at each size.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from headwater.report.chart_file import check_chart, save_chart
from headwater.report.charts.theme import REFERENCE, Spec, on_white
from headwater.report.palette import BLUE, VERMILLION

_WIDTH, _HEIGHT, _LINE = 420, 260, 150
_UNITS = {"images": "images", "seen": "images seen", "shots": "images per class"}


def save_exchange(facts: dict[str, Any], path: Path) -> Path:
    """Write the chart of some facts (`ExchangeRate.to_dict`) and return its path.

    Raises InputError for a format that is not drawn, and where it cannot be written.
    """
    check_chart(path)
    return save_chart(exchange_chart(facts), path)


def exchange_chart(facts: dict[str, Any]) -> Spec:
    """The Vega-Lite specification: errors of both arms over their sizes, with the law that was
    fitted; what one image of b is worth in images of a at each size of b; how the laws were fitted.
    """
    unit = _UNITS[facts["by"]]
    rates = _rates(facts)
    told = [
        f"A: {facts['a']}",
        f"B: {facts['b']}",
        facts["where"],
        *facts["sentences"],
        *map(_fit_words, facts["drawn"]),
    ]
    panels = [_curves(facts, unit)]
    if rates:
        panels.append(_rate_panel(rates, unit))
    return on_white(
        {
            "title": {
                "text": f"What {facts['b']} is worth in {facts['a']}",
                "subtitle": [line for text in told for line in wrap(text, _LINE)],
                "fontSize": 16,
                "offset": 14,
                "anchor": "start",
            },
            "vconcat": [{"hconcat": panels, "spacing": 30}],
        }
    )


def _fit_words(curve: dict[str, Any]) -> str:
    """How a curve was fitted, in a line."""
    fit = curve["fit"]
    low, high = fit["bounds"]["a"]
    held = fit["held_out_error"]
    said = (
        f"{curve['name']}: {fit['form']} with E = {fit['floor']:.1f}, B = {fit['fall']:.1f} at the "
        f"last size, a = {fit['exponent']:.2f} (bounds {low:g} to {high:g}; {fit['prior']}); "
        f"{fit['optimiser']}; {fit['points']} points of equal weight, the first "
        f"{fit['points_left_out']} left out; noise {fit['noise']:.2f}"
    )
    return said + ("" if held is None else f"; the last size, hidden, is missed by {held:.1f}")


def _curves(facts: dict[str, Any], unit: str) -> Spec:
    names = [curve["name"] for curve in facts["drawn"]]
    colour = {
        "field": "arm",
        "type": "nominal",
        "scale": {"domain": names, "range": [BLUE, VERMILLION]},
        "legend": {"title": None, "orient": "bottom", "columns": 1, "labelLimit": 400},
    }
    x = {
        "field": "n",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False},
        "axis": {"title": unit, "format": "~s", "tickCount": 4, "labelBound": True},
    }
    y: Spec = {"type": "quantitative", "scale": {"zero": False}, "axis": {"title": "error, %"}}
    line = [one | {"arm": curve["name"]} for curve in facts["drawn"] for one in curve["line"]]
    points = [one | {"arm": curve["name"]} for curve in facts["drawn"] for one in curve["points"]]
    ends = {"y": y | {"field": "low"}, "y2": {"field": "high"}}
    tip = [
        {"field": "n", "title": unit, "format": ",.0f"},
        *(
            {"field": field, "title": title, "format": ".1f"}
            for field, title in (("error", "error, %"), ("low", "from"), ("high", "to"))
        ),
    ]
    return {
        "title": {"text": "Error by size", "fontSize": 12},
        "description": "Errors of both arms over their sizes, with the law that was fitted",
        "width": _WIDTH,
        "height": _HEIGHT,
        "layer": [
            {
                "data": {"values": line},
                "mark": {"type": "area", "opacity": 0.15},
                "encoding": {"x": x, "color": colour} | ends,
            },
            {
                "data": {"values": line},
                "mark": {"type": "line", "strokeWidth": 1.8},
                "encoding": {"x": x, "color": colour, "y": y | {"field": "error"}},
            },
            {
                "data": {"values": points},
                "mark": {"type": "rule", "strokeWidth": 1.6},
                "encoding": {"x": x, "color": colour} | ends,
            },
            {
                "data": {"values": points},
                "mark": {"type": "point", "filled": True, "size": 45, "opacity": 1},
                "encoding": {"x": x, "color": colour, "y": y | {"field": "error"}, "tooltip": tip},
            },
        ],
    }


def _rates(facts: dict[str, Any]) -> list[dict[str, Any]]:
    """The rates that have a point or an end; what is open on a side is drawn to the edge."""
    told = [one for one in facts["rates"] if one["low"] is not None or one["high"] is not None]
    numbers = [
        one[name] for one in told for name in ("rate", "low", "high") if one[name] is not None
    ]
    if not numbers:
        return []
    least, most = min([*numbers, 1.0]) / 1.5, max([*numbers, 1.0]) * 1.5
    return [
        {
            "n": one["n"],
            "rate": one["rate"],
            "low": one["low"] if one["low"] is not None else least,
            "high": one["high"] if one["high"] is not None else most,
            "ends": "both ends" if None not in (one["low"], one["high"]) else "open on a side",
        }
        for one in told
    ]


def _rate_panel(rates: Sequence[dict[str, Any]], unit: str) -> Spec:
    x = {
        "field": "n",
        "type": "quantitative",
        "scale": {"type": "log", "nice": False, "padding": 20},
        "axis": {
            "title": f"{unit} of B",
            "format": "~s",
            "values": sorted({one["n"] for one in rates}),
            "labelOverlap": True,
        },
    }
    ends = [one[name] for one in rates for name in ("low", "high")]
    y: Spec = {
        "type": "quantitative",
        "scale": {
            "type": "log",
            "domain": [min([*ends, 1.0]), max([*ends, 1.0])],
            "nice": False,
        },
        "axis": {"title": f"{unit} of A", "tickCount": 6},
    }
    dash = {
        "condition": {"test": "datum.ends === 'both ends'", "value": [1, 0]},
        "value": [4, 3],
    }
    tip = [
        {"field": "n", "title": unit, "format": ",.0f"},
        *({"field": field, "format": ".3g"} for field in ("rate", "low", "high")),
        {"field": "ends", "title": "interval"},
    ]
    return {
        "title": {"text": "What one image of B is worth in A", "fontSize": 12},
        "description": "The rate at each size; a dashed interval is open on a side",
        "width": _WIDTH,
        "height": _HEIGHT,
        "layer": [
            {
                "mark": {"type": "rule", "style": REFERENCE, "aria": False},
                "encoding": {"y": {"datum": 1, "type": "quantitative"}},
            },
            {
                "data": {"values": list(rates)},
                "mark": {"type": "rule", "strokeWidth": 2, "color": BLUE},
                "encoding": {
                    "x": x,
                    "y": y | {"field": "low"},
                    "y2": {"field": "high"},
                    "strokeDash": dash,
                },
            },
            {
                "data": {"values": [one for one in rates if one["rate"] is not None] or [rates[0]]},
                "mark": {"type": "point", "filled": True, "size": 55, "opacity": 1, "color": BLUE},
                "encoding": {"x": x, "y": y | {"field": "rate"}, "tooltip": tip},
            },
        ],
    }
