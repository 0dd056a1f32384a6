"""Figures of simulated networks: what a table holds, each with the sentence that it supports, as
one image or one offline HTML page.
"""

from __future__ import annotations

import textwrap
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.errors import InputError
from headwater.report.chart_file import check_chart, save_chart
from headwater.report.charts import SCHEMA, theme
from headwater.theory.analysis import findings
from headwater.theory.report import charts as theory_charts

if TYPE_CHECKING:
    import pandas as pd

Spec = dict[str, Any]
FIGURES = {
    "errors": (theory_charts.error_figure, ("errors", "transition")),
    "ratio": (theory_charts.ratio_figure, ("ratio",)),
    "gradual": (theory_charts.course_figure, ("gradual",)),
    "phase": (theory_charts.phase_figure, ("phase",)),
    "curve": (theory_charts.label_figure, ("curve",)),
    "dependence": (theory_charts.dependence_figure, ("dependence",)),
}
"""Name -> (what draws it, the answers of `findings` that stand under it)."""
TITLE = "What simulated networks learn from coarse and fine labels"
_CAPTION_LETTERS = 140
_CAPTION_WIDTH = 800
_SPACING = 16


def theory_figures(table: pd.DataFrame, *, found: dict[str, Any] | None = None) -> dict[str, Spec]:
    """Name -> Vega-Lite specification of every figure that the table holds, in the order of
    `FIGURES`; each stands by itself, its sentences under it.

    `found` is what `findings(table)` gave, where it is known already. Raises InputError where the
    table lacks a column.
    """
    answers = (found or findings(table))["answers"]
    made = {}
    for name, (figure, sentences) in FIGURES.items():
        spec = figure(table)
        if spec is not None:
            caption = " ".join(
                answers[sentence]["sentence"]
                for sentence in sentences
                if answers[sentence]["answered"]
            )
            made[name] = _whole(_captioned(spec, caption))
    return made


def save_theory(table: pd.DataFrame, out: Path) -> list[Path]:
    """Write all figures of a table into one file and return what was written: .html (one offline
    page, numbers under the pointer), .svg, .png or .pdf.

    Raises InputError for another ending, for a table that lacks a column or holds no figure, and
    where the file cannot be written.
    """
    check_chart(out)
    figures = theory_figures(table)
    if not figures:
        raise InputError(
            f"{out}: the table holds nothing to draw; it needs networks on coarse and fine labels "
            "at two k or more, looks, or several label kinds"
        )
    rows = [row for spec in figures.values() for row in _rows(spec)]
    spec = _whole(
        {
            "title": {"text": TITLE, "fontSize": 18, "offset": 20},
            "vconcat": rows,
            "spacing": _SPACING,
            "resolve": _APART,
        }
    )
    return [save_chart(spec, out)]


_APART: Spec = {
    "scale": {"color": "independent", "shape": "independent", "strokeDash": "independent"},
    "legend": {"color": "independent", "shape": "independent", "strokeDash": "independent"},
}


def _whole(spec: Spec) -> Spec:
    return {
        "$schema": SCHEMA,
        **spec,
        "padding": 16,
        "config": theme(dark=False)
        | {"background": "white", "font": "Helvetica, Arial, sans-serif"},
    }


def _captioned(spec: Spec, caption: str) -> Spec:
    """The figure with its sentences below: Vega-Lite has titles, and no captions."""
    lines = textwrap.wrap(caption, _CAPTION_LETTERS)
    text = {
        "type": "text",
        "align": "left",
        "baseline": "top",
        "fontSize": 12,
        "lineHeight": 16,
        "color": "#1F2933",
        "text": lines,
        "x": 0,
        "y": 0,
    }
    below = {
        "data": {"values": [{}]},
        "width": _CAPTION_WIDTH,
        "height": 16 * len(lines),
        "mark": text,
    }
    own = {name: value for name, value in spec.items() if name != "title"}
    return {
        "title": spec["title"],
        "vconcat": [*own.get("vconcat", [own]), below],
        "spacing": _SPACING,
        "resolve": _APART,
    }


def _rows(spec: Spec) -> list[Spec]:
    """A figure as rows of the whole, its title on the first and room after the last: vl-convert
    makes no PDF of figures that are nested more deeply.
    """
    first, *rest, caption = spec["vconcat"]
    return [first | {"title": spec["title"]}, *rest, caption | {"height": caption["height"] + 40}]
