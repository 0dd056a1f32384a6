"""Whether fine labels help hard images more than easy ones."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from headwater.analysis.copied import HOLLOW
from headwater.analysis.granularity import hard_gains
from headwater.analysis.questions import Finding, Question
from headwater.analysis.words import interval, missing, number, points, setting_word

if TYPE_CHECKING:
    import pandas as pd

_NAME = "hard"


def _findings(table: pd.DataFrame) -> Iterator[Finding]:
    for row in hard_gains(table).to_dict("records"):
        where = setting_word(row["task"], row["protocol"], row["shots"])
        yield Finding(
            kind=_NAME,
            question=f"Do fine labels help hard images more ({row['series']}; {where})?",
            answer=_answer(row),
            estimate=number(row["extra"]),
            low=number(row["low"]),
            high=number(row["high"]),
            num_seeds=int(row["num_seeds"]),
            num_comparisons=1,
            cells=row["cells"],
        )


def _answer(row: dict[Any, Any]) -> str:
    gains = (
        f"{row['fine']} gains {points(row['hard'])} over {row['coarse']} on hard images and "
        f"{points(row['easy'])} on easy ones"
    )
    sure = interval(row["low"], row["high"], row["num_seeds"])
    reused = "" if row["decides"] else f" {HOLLOW}"
    return f"{gains}; difference {points(row['extra'])} ({sure}): {_more_on_hard(row)}.{reused}"


def _more_on_hard(row: dict[Any, Any]) -> str:
    if missing(row["low"]) or row["low"] <= 0 <= row["high"]:
        return "cannot be told"
    return "yes" if row["extra"] > 0 else "no, less"


ENTRY = Question(name=_NAME, version=1, order=50, title="Hard and easy images", findings=_findings)
