"""Concluding: from rows to what they say. pandas, scipy and numpy only; no model, image or GPU is
needed, and none is imported.

    rows -> prepare -> summarise, best, paired_difference      (compare.py: who is ahead, by how much, how sure)
                    -> granularity_curves, peaks, hard_gains   (granularity.py: how fine should labels be)
                    -> source_gap, gap_trend                   (gap.py: does the source matter, and until how many images)
                    -> findings -> verdict                     (answers.py, decide.py: in plain sentences)
    answers, sample by sample -> hardness_gains, hardness_bins (samples.py, hardness.py: do fine labels help on hard samples, on any task)

Names are imported when they are first used, as pandas takes a second to load.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from headwater.analysis.answers import Finding, findings
    from headwater.analysis.compare import Difference, best, paired_difference, summarise
    from headwater.analysis.configurations import prepare
    from headwater.analysis.decide import Verdict, verdict
    from headwater.analysis.gap import gap_trend, source_gap
    from headwater.analysis.granularity import granularity_curves, hard_gains, peaks
    from headwater.analysis.hardness import hardness_bins, hardness_gains
    from headwater.analysis.intervals import Interval, seeds_needed, t_interval
    from headwater.analysis.samples import read_answers, write_answers

__all__ = [
    "Difference", "Finding", "Interval", "Verdict", "best", "findings", "gap_trend", "granularity_curves", "hard_gains", "hardness_bins", "hardness_gains",
    "paired_difference", "peaks", "prepare", "read_answers", "seeds_needed", "source_gap", "summarise", "t_interval", "verdict", "write_answers",
]  # fmt: skip

_HOMES = {
    "answers": ("Finding", "findings"),
    "compare": ("Difference", "best", "paired_difference", "summarise"),
    "configurations": ("prepare",),
    "decide": ("Verdict", "verdict"),
    "gap": ("gap_trend", "source_gap"),
    "granularity": ("granularity_curves", "hard_gains", "peaks"),
    "hardness": ("hardness_bins", "hardness_gains"),
    "intervals": ("Interval", "seeds_needed", "t_interval"),
    "samples": ("read_answers", "write_answers"),
}


def __getattr__(name: str) -> Any:
    for module, names in _HOMES.items():
        if name in names:
            return getattr(importlib.import_module(f"headwater.analysis.{module}"), name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
