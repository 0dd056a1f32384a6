"""The charts of a report as Vega-Lite specifications: pure functions from tables to dicts, drawn by
a browser (page.py) or by vl-convert (figures.py).

They are written as plain dicts: Vega-Lite is their language, and a layer over it would only be a
second one to know. Shares are drawn in percent. A hollow mark decides nothing (label re-use). An
interval that leaves the frame is cut at its edge.

Which charts there are is declared by the analyses (headwater.analysis.questions).
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING

from headwater.registry import ANALYSES
from headwater.report.charts.panel import Evidence, Panel, evidence_of
from headwater.report.charts.theme import SCHEMA, Spec, theme

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis.questions import Chart

__all__ = ["SCHEMA", "Evidence", "Panel", "Spec", "charts", "panels", "theme"]


def charts() -> dict[str, Chart]:
    """Every kind of chart by its name, in the order in which reports show them."""
    return {chart.kind: chart for question in ANALYSES for chart in question.charts}


def panels(rows: pd.DataFrame) -> list[Panel]:
    """All charts of a table of rows, in the order of kind, protocol, shots, task; only the main
    metric. Empty where nothing has a value.
    """
    evidence = evidence_of(rows)
    drawn: list[Panel] = []
    for chart in charts().values():
        module, _, function = chart.panels.partition(":")
        drawn += getattr(importlib.import_module(module), function)(evidence)
    return drawn
