"""Which cells have no number, and why."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headwater.analysis.questions import Finding, Question
from headwater.analysis.words import count, listed

if TYPE_CHECKING:
    import pandas as pd

_NAME = "failures"
_MEANINGS = {"failed": "will be retried by the next run", "diverged": "is final"}


def _findings(table: pd.DataFrame) -> Iterator[Finding]:
    for status, meaning in _MEANINGS.items():
        bad = table[table["status"] == status]
        if len(bad):
            answer = (
                f"{count(bad['cell'].nunique(), 'cell')} {status} ({listed(_reasons(bad))}); this "
                f"{meaning}, and enters no average."
            )
            yield _finding(f"How many cells {status}?", answer, bad)
    lost = table[(table["status"] == "done") & ~table["usable"]]
    if len(lost):
        cells = count(lost["cell"].nunique(), "cell")
        answer = f"{cells} done without a number; left out of every average."
        yield _finding("How many cells have no number?", answer, lost)


def _finding(question: str, answer: str, bad: pd.DataFrame) -> Finding:
    cells = tuple(sorted(set(bad["cell"])))
    return Finding(
        kind=_NAME, question=question, answer=answer, estimate=float(len(cells)), cells=cells
    )


def _reasons(bad: pd.DataFrame) -> list[str]:
    return sorted({str(reason) for reason in bad["reason"].dropna()}) or ["no reason given"]


def _next_steps(table: pd.DataFrame) -> Iterator[str]:
    failed = table[table["status"] == "failed"]
    if len(failed):
        cells = count(failed["cell"].nunique(), "cell")
        yield f"Run again: {cells} failed ({listed(_reasons(failed), most=2)})."


ENTRY = Question(
    name=_NAME,
    version=1,
    order=10,
    title="Failures",
    findings=_findings,
    next_steps=_next_steps,
)
