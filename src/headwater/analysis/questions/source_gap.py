"""Whether the choice of source matters less with more images."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from headwater.analysis.gap import POOLED, gap_trend
from headwater.analysis.questions import Chart, Finding, Question
from headwater.analysis.words import interval, missing, number, points, shots_word

if TYPE_CHECKING:
    import pandas as pd

_NAME = "gap"


def _findings(table: pd.DataFrame) -> Iterator[Finding]:
    """One a context and protocol: of all tasks together where there are several."""
    trends = gap_trend(table).to_dict("records")
    pooled = {(row["context"], row["protocol"]) for row in trends if row["task"] == POOLED}
    for row in trends:
        if row["task"] != POOLED and (row["context"], row["protocol"]) in pooled:
            continue
        where = f"{row['context']}, {row['protocol']}, {row['task']}"
        yield Finding(
            kind=_NAME,
            question=f"Does the choice of source matter less with more images ({where})?",
            answer=_answer(row),
            estimate=number(row["change"]),
            low=number(row["low"]),
            high=number(row["high"]),
            num_seeds=int(row["num_seeds"]),
            num_comparisons=int(row["num_comparisons"]),
            cells=row["cells"],
        )


def _answer(row: dict[Any, Any]) -> str:
    sure = interval(row["low"], row["high"], row["num_seeds"])
    answer = row["answer"] if row["answer"] == "cannot tell" else f"it {row['answer']}"
    pair = "two sources" if missing(row["best"]) else f"{row['best']} and {row['worst']}"
    return (
        f"From {shots_word(row['fewest'])} to {shots_word(row['most'])} images per class the gap "
        f"between {pair} (the best and the worst source over both) falls by "
        f"{points(row['change'])} ({sure}): {answer}."
    )


ENTRY = Question(
    name=_NAME,
    version=1,
    order=60,
    title="Sources against shots",
    findings=_findings,
    charts=(
        Chart(
            kind="gap",
            title="How much the choice of source matters",
            caption="Accuracy with the best source minus accuracy with the worst, method and "
            "labels held equal. Intervals are corrected for the choice of the pair.",
            panels="headwater.report.charts.gap:panels",
        ),
        Chart(
            kind="shots",
            title="Accuracy against training images per class",
            caption="Every arm against the number of training images per class. Dashes tell "
            "sources apart.",
            panels="headwater.report.charts.shots:panels",
        ),
    ),
)
