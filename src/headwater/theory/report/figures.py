"""Figures of simulated networks, each with the sentence that it supports, as one page or image."""

from __future__ import annotations

import textwrap
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from headwater.errors import InputError
from headwater.report.chart_file import check_chart, save_chart
from headwater.report.charts import SCHEMA, theme
from headwater.theory.analysis import findings
from headwater.theory.report.course_chart import course_figure
from headwater.theory.report.dependence_chart import dependence_figure
from headwater.theory.report.drawing import Spec
from headwater.theory.report.error_charts import error_figure, phase_figure
from headwater.theory.report.label_chart import label_figure
from headwater.theory.report.ratio_chart import ratio_figure

if TYPE_CHECKING:
    import pandas as pd


class Figure(NamedTuple):
    """What draws a figure, and the answers of `findings` that stand under it."""

    draw: Callable[[pd.DataFrame], Spec | None]
    answers: tuple[str, ...]


FIGURES = {
    "errors": Figure(error_figure, ("errors", "transition")),
    "ratio": Figure(ratio_figure, ("ratio",)),
    "gradual": Figure(course_figure, ("gradual",)),
    "phase": Figure(phase_figure, ("phase",)),
    "curve": Figure(label_figure, ("curve",)),
    "dependence": Figure(dependence_figure, ("dependence",)),
}
TITLE = "What simulated networks learn from coarse and fine labels"
_CAPTION_LETTERS = 140
_CAPTION_WIDTH = 800
_SPACING = 16


def theory_figures(table: pd.DataFrame, *, found: dict[str, Any] | None = None) -> dict[str, Spec]:
    """The Vega-Lite specification of every figure that the table holds, by name.

    In the order of `FIGURES`; each stands by itself, its sentences under it. `found` is what
    `findings(table)` gave, where it is known already. Raises InputError where the table lacks a
    column.
    """
    answers = (found or findings(table))["answers"]
    specs = {}
    for name, figure in FIGURES.items():
        spec = figure.draw(table)
        if spec is not None:
            answered = [answers[answer] for answer in figure.answers if answers[answer]["answered"]]
            caption = " ".join(answer["sentence"] for answer in answered)
            specs[name] = _whole(_captioned(spec, caption))
    return specs


def save_theory(table: pd.DataFrame, out: Path) -> list[Path]:
    """Write all figures of a table into one file and return what was written.

    The ending says what: .html (one offline page, numbers under the pointer), .svg, .png or .pdf.
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
    heading = {"text": TITLE, "fontSize": 18, "offset": 20}
    spec = _whole({"title": heading, "vconcat": rows, "spacing": _SPACING, "resolve": _APART})
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
