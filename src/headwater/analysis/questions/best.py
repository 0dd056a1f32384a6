"""What is best for each task, protocol and shot count."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from headwater.analysis.questions import Chart, Finding, Question
from headwater.analysis.winners import best
from headwater.analysis.words import (
    interval,
    listed,
    missing,
    number,
    percent,
    points,
    setting_word,
)

if TYPE_CHECKING:
    import pandas as pd

_NAME = "best"


def _findings(table: pd.DataFrame) -> Iterator[Finding]:
    for row in best(table).to_dict("records"):
        where = setting_word(row["task"], row["protocol"], row["shots"])
        yield Finding(
            kind=_NAME,
            question=f"What is best for {where}?",
            answer=_answer(row),
            estimate=number(row["gap"]),
            low=number(row["low"]),
            high=number(row["high"]),
            num_seeds=int(row["num_seeds"]),
            num_comparisons=int(row["num_comparisons"]),
            cells=row["cells"],
        )


def _answer(row: dict[Any, Any]) -> str:
    top, mean = row["best"], percent(row["mean"])
    if missing(row["next"]):
        return f"{top} attains {mean}; there is nothing to compare it with."
    if row["tied"]:
        return f"{top} and {listed(row['tied'])} tie at {mean}."
    sure = interval(row["low"], row["high"], row["num_seeds"])
    told_apart = (
        "this beats every other"
        if row["decided"]
        else f"not told apart from {listed(row['not_separated'], most=3)}"
    )
    lead = f"{points(row['gap'])} above {row['next']} ({sure})"
    return f"{top} attains {mean}, {lead}: {told_apart}."


ENTRY = Question(
    name=_NAME,
    version=1,
    order=30,
    title="Best per task",
    findings=_findings,
    charts=(
        Chart(
            kind="accuracy",
            title="Accuracy of each arm",
            caption="A dot is the mean over seeds, the bar its 95 % interval. Hollow: labels "
            "re-used, or every test image a copy of the task's own; decides nothing.",
            panels="headwater.report.charts.accuracy:panels",
        ),
    ),
)
