"""What the rows say, one plain sentence at a time; `decide.verdict` says what to do about it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.analysis.compare import best
from headwater.analysis.configurations import main_metric, prepare
from headwater.analysis.gap import POOLED, gap_trend
from headwater.analysis.granularity import hard_gains, peaks
from headwater.analysis.words import (
    count,
    interval,
    listed,
    missing,
    percent,
    points,
    setting_word,
    shots_word,
)

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Finding:
    """One question that the rows answer, or cannot answer."""

    kind: str
    """best, granularity, hard, gap, label_reuse or failures."""
    question: str
    answer: str
    """One plain sentence."""
    estimate: float | None
    """What the answer rests on, mostly a difference of shares in [-1, 1]; None where there is
    none.
    """
    low: float | None
    high: float | None
    num_seeds: int
    num_comparisons: int
    """Comparisons that were made to answer this question; its interval is corrected for them."""
    cells: tuple[str, ...]
    """Ids of the cells that it rests on."""


def findings(rows: pd.DataFrame) -> list[Finding]:
    """Everything that the rows say: failures and label re-use first, then best, granularity, hard
    samples and source gap.

    Raises InputError where a required column of the schema is missing.
    """
    table = prepare(rows)
    return [
        *_failures(table),
        *_reuse(table),
        *_best(table),
        *_granularity(table),
        *_hard(table),
        *_gap(table),
    ]


def _number(value: Any) -> float | None:
    return None if missing(value) else float(value)


def _failures(table: pd.DataFrame) -> Iterator[Finding]:
    for status, meaning in (
        ("failed", "will be retried by the next run"),
        ("diverged", "is final"),
    ):
        bad = table[table["status"] == status]
        cells = tuple(sorted(set(bad["cell"])))
        if cells:
            reasons = listed(
                sorted({str(r) for r in bad["reason"].dropna()}) or ["no reason given"]
            )
            answer = (
                f"{count(len(cells), 'cell')} {status} ({reasons}); this {meaning}, and enters no "
                "average."
            )
            yield Finding(
                "failures",
                f"How many cells {status}?",
                answer,
                float(len(cells)),
                None,
                None,
                0,
                0,
                cells,
            )
    lost = table[(table["status"] == "done") & ~table["usable"]]
    if len(lost):
        cells = tuple(sorted(set(lost["cell"])))
        answer = f"{count(len(cells), 'cell')} done without a number; left out of every average."
        yield Finding(
            "failures",
            "How many cells have no number?",
            answer,
            float(len(cells)),
            None,
            None,
            0,
            0,
            cells,
        )


def _reuse(table: pd.DataFrame) -> Iterator[Finding]:
    marked = table[table["usable"] & ~table["decides"]]
    if len(marked):
        cells = tuple(sorted(set(marked["cell"])))
        answer = (
            f"{count(len(cells), 'cell')} on {listed(sorted(set(marked['task'])))} score a frozen "
            "encoder on labels that it was trained on, on the same "
            "images; they are shown and decide nothing."
        )
        yield Finding(
            "label_reuse",
            "Which cells re-use labels?",
            answer,
            float(len(cells)),
            None,
            None,
            0,
            0,
            cells,
        )


def _best(table: pd.DataFrame) -> Iterator[Finding]:
    for row in best(table).to_dict("records"):
        where = setting_word(row["task"], row["protocol"], row["shots"])
        if row["next"] is None or missing(row["next"]) or row["next"] == "":
            answer = (
                f"{row['best']} attains {percent(row['mean'])}; there is nothing to compare it "
                "with."
            )
        elif row["tied"]:
            answer = f"{row['best']} and {listed(row['tied'])} tie at {percent(row['mean'])}."
        else:
            sure = interval(row["low"], row["high"], row["num_seeds"], row["num_comparisons"])
            told = (
                "this beats every other"
                if row["decided"]
                else f"not told apart from {listed(row['not_separated'], most=3)}"
            )
            answer = (
                f"{row['best']} attains {percent(row['mean'])}, {points(row['gap'])} above "
                f"{row['next']} ({sure}): {told}."
            )
        numbers = (
            _number(row["gap"]),
            _number(row["low"]),
            _number(row["high"]),
            int(row["num_seeds"]),
            int(row["num_comparisons"]),
        )
        yield Finding("best", f"What is best for {where}?", answer, *numbers, row["cells"])


def _granularity(table: pd.DataFrame) -> Iterator[Finding]:
    shown = peaks(table)
    for row in shown[shown["metric"] == main_metric(table)].to_dict("records"):
        where = setting_word(row["task"], row["protocol"], row["shots"]) + (
            "" if row["subset"] == "all" else f", {row['subset']} images"
        )
        peak = (
            f"{row['peak']} ({row['peak_classes']:.0f} classes) is highest at "
            f"{percent(row['mean'])}"
        )
        needed = (
            ""
            if missing(row["seeds_needed"]) or row["seeds_needed"] == 0
            else f"; about {count(row['seeds_needed'], 'more seed')} could tell"
        )
        meaning = {
            "U": f"above the coarsest by {points(row['coarse'])} and the finest by "
            f"{points(row['fine'])}: the U is supported",
            "finest": f"above the coarsest by {points(row['coarse'])}: finer is better as far as "
            "was tried",
            "coarsest": f"above the finest by {points(row['fine'])}: coarser is better as far as "
            "was tried",
            "cannot tell": "but not told apart from both ends of the curve, so the shape cannot "
            f"be told{needed}",
            "too few views": "but a curve needs three label views",
        }[row["shape"]]
        ends = [side for side in ("coarse", "fine") if not missing(row[side])]
        weakest = min(ends, key=lambda side: float(row[side])) if ends else "coarse"
        reused = "" if row["decides"] else " Labels are re-used here: this decides nothing."
        yield Finding(
            "granularity",
            f"How fine should labels be ({row['series']}; {where})?",
            f"{peak}, {meaning}.{reused}",
            *(
                _number(row[weakest]),
                _number(row[f"{weakest}_low"]),
                _number(row[f"{weakest}_high"]),
                int(row["num_seeds"]),
                int(row["num_comparisons"]),
            ),
            row["cells"],
        )


def _hard(table: pd.DataFrame) -> Iterator[Finding]:
    for row in hard_gains(table).to_dict("records"):
        sure = interval(row["low"], row["high"], row["num_seeds"])
        told = (
            "cannot be told"
            if missing(row["low"]) or row["low"] <= 0 <= row["high"]
            else "yes"
            if row["extra"] > 0
            else "no, less"
        )
        gains = (
            f"{row['fine']} gains {points(row['hard'])} over {row['coarse']} on hard images and "
            f"{points(row['easy'])} on easy ones"
        )
        reused = "" if row["decides"] else " Labels are re-used here: this decides nothing."
        question = (
            f"Do fine labels help hard images more ({row['series']}; "
            f"{setting_word(row['task'], row['protocol'], row['shots'])})?"
        )
        numbers = (
            _number(row["extra"]),
            _number(row["low"]),
            _number(row["high"]),
            int(row["num_seeds"]),
        )
        yield Finding(
            "hard",
            question,
            f"{gains}; difference {points(row['extra'])} ({sure}): {told}.{reused}",
            *numbers,
            1,
            row["cells"],
        )


def _gap(table: pd.DataFrame) -> Iterator[Finding]:
    trends = gap_trend(table)
    pooled = set(
        trends.loc[trends["task"] == POOLED, ["context", "protocol"]].itertuples(
            index=False, name=None
        )
    )
    for row in trends.to_dict("records"):
        if row["task"] != POOLED and (row["context"], row["protocol"]) in pooled:
            continue
        sure = interval(row["low"], row["high"], row["num_seeds"], row["num_comparisons"])
        answer = (
            f"From {shots_word(row['fewest'])} to {shots_word(row['most'])} images per class the "
            "gap between the best and the worst source falls by "
            f"{points(row['change'])} ({sure}): "
            f"{'it ' + row['answer'] if row['answer'] != 'cannot tell' else 'cannot tell'}."
        )
        question = (
            f"Does the choice of source matter less with more images ({row['context']}, "
            f"{row['protocol']}, {row['task']})?"
        )
        numbers = (
            _number(row["change"]),
            _number(row["low"]),
            _number(row["high"]),
            int(row["num_seeds"]),
            int(row["num_comparisons"]),
        )
        yield Finding("gap", question, answer, *numbers, row["cells"])
