"""Showing: rows and what they say as one offline HTML file, figures, and text for a terminal.

No torch in here, and no network.

    rows -> analysis -> charts/              specifications
                        -> page.py           one HTML file: arms.py, card.py, opening.py
                        -> figures.py        SVG, PNG, PDF, with no browser
                     -> provenance.py        what was held equal, what to beware of
                     -> text.py              the terminal, the README
    facts of label views -> label_chart.py   before anything is trained
    facts of training -> curves.py           while it is trained and after
    answers by sample -> hardness.py         gains on easy and on hard samples
    what images are worth -> exchange.py     both curves, and the rate at each size
    copies of test images -> leaks_page.py   which, and the pairs to look at
    a chart           -> chart_page.py       a page of its own; shell.py and web/ are of every page

Names are imported when they are first used.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.report.chart_file import check_chart
    from headwater.report.curves import curves_chart, save_curves
    from headwater.report.exchange import exchange_chart, save_exchange
    from headwater.report.figures import figure, save_figures
    from headwater.report.hardness import hardness_chart, hardness_settings, save_hardness
    from headwater.report.label_chart import label_chart, save_label_chart
    from headwater.report.leaks_page import check_leaks_page, save_leaks
    from headwater.report.page import write_report
    from headwater.report.text import markdown_table, verdict_lines

__all__ = [
    "check_chart",
    "check_leaks_page",
    "curves_chart",
    "exchange_chart",
    "figure",
    "hardness_chart",
    "hardness_settings",
    "label_chart",
    "markdown_table",
    "save_curves",
    "save_exchange",
    "save_figures",
    "save_hardness",
    "save_label_chart",
    "save_leaks",
    "verdict_lines",
    "write_report",
]

_HOMES = {
    "chart_file": ("check_chart",),
    "curves": ("curves_chart", "save_curves"),
    "exchange": ("exchange_chart", "save_exchange"),
    "figures": ("figure", "save_figures"),
    "hardness": ("hardness_chart", "hardness_settings", "save_hardness"),
    "label_chart": ("label_chart", "save_label_chart"),
    "leaks_page": ("check_leaks_page", "save_leaks"),
    "page": ("write_report",),
    "text": ("markdown_table", "verdict_lines"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"headwater.report.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
