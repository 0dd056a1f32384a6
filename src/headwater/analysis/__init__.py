"""Concluding: from rows to what they say.

pandas, scipy and numpy only: no model, image or GPU is needed, and none is imported.

    rows -> prepare                    configurations.py, with naming.py and order.py
         -> summarise, ...             compare.py: means and paired differences
         -> evidence -> decide         evidence.py, spent.py, certainty.py, deciding.py, power.py,
                                       prices.py
         -> variance_budget            variance.py, moments.py, halving.py: what the uncertainty of
                                       the lead is made of, what halves it
         -> best                       winners.py: who is ahead in each setting
         -> granularity_curves, ...    granularity.py: how fine labels should be
         -> source_gap, gap_trend      gap.py: does the source matter, and until how many images
         -> findings                   answers.py asks each of questions/, one file each
         -> verdict                    conclude.py, axes.py, next_steps.py: in words
    answers, sample by sample
         -> hardness_gains, ...        samples.py, hardness.py: do fine labels help on hard samples

Names are imported when they are first used, as pandas takes a second to load.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.analysis.answers import findings
    from headwater.analysis.certainty import Certainty, certainty_of
    from headwater.analysis.compare import Difference, paired_difference, summarise
    from headwater.analysis.conclude import Verdict, verdict
    from headwater.analysis.configurations import prepare
    from headwater.analysis.deciding import decide
    from headwater.analysis.decision import Aim, Decision
    from headwater.analysis.evidence import Evidence, evidence_of
    from headwater.analysis.gap import gap_trend, source_gap
    from headwater.analysis.granularity import granularity_curves, hard_gains, peaks
    from headwater.analysis.hardness import hardness_bins, hardness_gains
    from headwater.analysis.intervals import Interval, seeds_needed, t_interval
    from headwater.analysis.prices import Prices
    from headwater.analysis.questions import Chart, Finding, Question
    from headwater.analysis.samples import read_answers, write_answers
    from headwater.analysis.variance import VarianceBudget, variance_budget
    from headwater.analysis.winners import best

__all__ = [
    "Aim",
    "Certainty",
    "Chart",
    "Decision",
    "Difference",
    "Evidence",
    "Finding",
    "Interval",
    "Prices",
    "Question",
    "VarianceBudget",
    "Verdict",
    "best",
    "certainty_of",
    "decide",
    "evidence_of",
    "findings",
    "gap_trend",
    "granularity_curves",
    "hard_gains",
    "hardness_bins",
    "hardness_gains",
    "paired_difference",
    "peaks",
    "prepare",
    "read_answers",
    "seeds_needed",
    "source_gap",
    "summarise",
    "t_interval",
    "variance_budget",
    "verdict",
    "write_answers",
]

_HOMES = {
    "answers": ("findings",),
    "certainty": ("Certainty", "certainty_of"),
    "compare": ("Difference", "paired_difference", "summarise"),
    "configurations": ("prepare",),
    "deciding": ("decide",),
    "decision": ("Aim", "Decision"),
    "evidence": ("Evidence", "evidence_of"),
    "gap": ("gap_trend", "source_gap"),
    "granularity": ("granularity_curves", "hard_gains", "peaks"),
    "hardness": ("hardness_bins", "hardness_gains"),
    "intervals": ("Interval", "seeds_needed", "t_interval"),
    "prices": ("Prices",),
    "questions": ("Chart", "Finding", "Question"),
    "samples": ("read_answers", "write_answers"),
    "conclude": ("Verdict", "verdict"),
    "variance": ("VarianceBudget", "variance_budget"),
    "winners": ("best",),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"headwater.analysis.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
