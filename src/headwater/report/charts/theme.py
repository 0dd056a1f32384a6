"""How every chart looks."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
DASHES = (
    *([1, 0], [6, 3], [2, 2], [8, 2, 2, 2]),
    *([12, 3], [4, 4], [12, 2, 2, 2, 2, 2], [3, 6]),
)
REFERENCE = "reference"
"""The style of a line that marks a place on an axis: zero, the majority class. It has the ink of
axes, so that no arm's colour is spent on it.
"""
JOIN = "join"
"""The style of a line that joins arms of several colours."""
_FONT = "system-ui, -apple-system, 'Segoe UI', Roboto, 'Helvetica Neue', Arial, sans-serif"


def theme(*, dark: bool) -> Spec:
    """Vega configuration: calm axes, system fonts, colours that suit a light or a dark page."""
    if dark:
        ink, faint, grid = "#E6E8EB", "#A3ABB5", "#2B323A"
    else:
        ink, faint, grid = "#1F2933", "#5B6672", "#E7EAEE"
    return {
        "background": None,
        "font": _FONT,
        "view": {"stroke": None},
        "style": {
            REFERENCE: {"color": faint, "strokeWidth": 1.25},
            f"{REFERENCE}-text": {"color": faint, "fontSize": 11},
            JOIN: {"color": faint, "strokeWidth": 1.5, "opacity": 0.7},
        },
        "text": {"color": ink},
        "axis": {
            "labelColor": faint,
            "titleColor": faint,
            "titleFontWeight": "normal",
            "gridColor": grid,
            "domainColor": grid,
            "tickColor": grid,
            "labelFontSize": 11,
            "titleFontSize": 11,
            "titlePadding": 8,
        },
        "axisY": {"labelColor": ink},
        "legend": {
            "labelColor": ink,
            "titleColor": faint,
            "orient": "bottom",
            "columns": 3,
            "labelFontSize": 11,
            "titleFontSize": 11,
            "titleFontWeight": "normal",
            "symbolStrokeWidth": 2,
            "symbolOpacity": 1,
            "symbolBaseFillColor": faint,
            "symbolBaseStrokeColor": faint,
            "labelLimit": 160,
            "rowPadding": 3,
            "offset": 8,
            "layout": {"bottom": {"direction": "vertical", "anchor": "start", "margin": 6}},
        },
        "title": {
            "color": ink,
            "anchor": "start",
            "fontSize": 13,
            "fontWeight": 600,
            "subtitleColor": faint,
        },
    }


def on_white(spec: Spec) -> Spec:
    """A whole figure on a white ground, as it is written to a file."""
    font = "Helvetica, Arial, sans-serif"
    config = theme(dark=False) | {"background": "white", "font": font}
    return {"$schema": SCHEMA} | spec | {"padding": 16, "config": config}
