"""How every chart looks."""

from __future__ import annotations

from typing import Any

Spec = dict[str, Any]
"""A Vega-Lite specification, or a part of one."""
SCHEMA = "https://vega.github.io/schema/vega-lite/v6.json"
DASHES = ([1, 0], [6, 3], [2, 2], [8, 2, 2, 2])
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
