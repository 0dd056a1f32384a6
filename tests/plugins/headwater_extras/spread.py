"""An analysis of another package: how far the best and the worst cell are apart."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headwater.analysis.questions import Finding, Question

if TYPE_CHECKING:
    import pandas as pd


def _findings(table: pd.DataFrame) -> Iterator[Finding]:
    scores = table[table["usable"] & (table["metric"] == "top1") & (table["subset"] == "all")]
    if len(scores):
        spread = float(scores["value"].max() - scores["value"].min())
        yield Finding(
            kind="spread",
            question="How far are the best and the worst cell apart?",
            answer=f"The best and the worst cell are {100 * spread:.1f} points apart.",
            estimate=spread,
            cells=tuple(sorted(set(scores["cell"]))),
        )


ENTRY = Question(
    name="spread", version=1, order=90, title="Spread of the cells", findings=_findings
)
