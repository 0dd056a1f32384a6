"""Analyses: what is asked of a table of rows, one file each.

A file declares one `Question`: what it finds, how the report heads it, and which charts belong to
it. `headwater.analysis.findings`, the report and the verdict ask every question that is declared
here or by another package. Nothing in here may need torch, an image or a model.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One question that the rows answer, or cannot answer."""

    kind: str
    """Name of the analysis that asks: `best`, `granularity`, ..."""
    question: str
    answer: str
    """One plain sentence."""
    estimate: float | None
    """What the answer rests on, mostly a difference of shares in [-1, 1]; None where there is
    none.
    """
    low: float | None = None
    high: float | None = None
    num_seeds: int = 0
    num_comparisons: int = 0
    """Comparisons that were made to answer this question; its interval is corrected for them."""
    cells: tuple[str, ...]
    """Ids of the cells that it rests on."""


@dataclass(frozen=True, kw_only=True)
class Chart:
    """A kind of chart that belongs to a question."""

    kind: str
    """Its name: in `report.figure`, and in the names of files."""
    title: str
    caption: str
    """How to read it, in one or two sentences."""
    panels: str
    """The function that makes its panels, as `module:function`: it takes a
    `headwater.report.charts.Evidence` and gives `headwater.report.charts.Panel`s. It is imported
    when a report is drawn, as concluding needs no charts.
    """
    own_scales: tuple[str, ...] = ()
    """Channels (in Vega-Lite's words) of which each panel has a scale and a legend of its own."""


def _nothing(table: pd.DataFrame) -> Iterable[Any]:
    return ()


@dataclass(frozen=True, kw_only=True)
class Question:
    """One analysis, as it declares itself.

    Its functions take a table that `headwater.analysis.prepare` has prepared.
    """

    name: str
    version: int
    """Raised by hand when the same rows would give another finding."""
    order: float
    title: str
    """The heading of its findings in the report."""
    findings: Callable[[pd.DataFrame], Iterable[Finding]]
    """Nothing where the rows say nothing of it. Each has the `kind` of this name."""
    charts: tuple[Chart, ...] = ()
    grounds: Callable[[pd.DataFrame], Iterable[str]] = _nothing
    """Sentences that the verdict adds to its grounds."""
    next_steps: Callable[[pd.DataFrame], Iterable[str]] = _nothing
    """What to do before anything else, in sentences: the verdict begins its next steps with
    them.
    """
