"""The verdict: which source, which labels, which method, how sure, and what to run next."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headwater.analysis.axes import axis_sentences
from headwater.analysis.compare import Winner, per_seed, winner
from headwater.analysis.configurations import (
    Configuration,
    configuration_names,
    configurations,
    prepare,
)
from headwater.analysis.ground import Ground, ground_of, task_protocols
from headwater.analysis.intervals import NO_INTERVAL, Interval
from headwater.analysis.kept import kept
from headwater.analysis.next_steps import next_steps
from headwater.analysis.words import count, interval, listed, percent, points, shots_words
from headwater.registry import ANALYSES

if TYPE_CHECKING:
    import pandas as pd

NOTHING, ALONE, ONE_SEED, OPEN, SURE = (
    "nothing to conclude",
    "nothing to compare",
    "one seed, no interval",
    "not told apart",
    "told apart",
)

ADVICE_ON_REUSE = "Fine-tune on the same tasks, or add a task with other labels."


@dataclass(frozen=True)
class Verdict:
    """What to pre-train on, as far as the rows can say.

    Words are None where they do not apply (no labels for simclr, no data).
    """

    answer: str
    """One sentence: what to pre-train on."""
    confidence: str
    """One of NOTHING, ALONE, ONE_SEED, OPEN, SURE."""
    sentences: tuple[str, ...]
    """The grounds: how sure, which source, labels and method with the rest held equal, what
    pre-training is worth.
    """
    next_steps: tuple[str, ...]
    configuration: str | None = None
    source: str | None = None
    labels: str | None = None
    method: str | None = None
    mean: float | None = None
    """Mean share of right answers over the tasks and shot counts that were used."""
    gap: Interval = NO_INTERVAL
    """Best minus next, paired by seed, corrected for `num_comparisons`."""
    num_comparisons: int = 0
    protocol: str | None = None
    tasks: tuple[str, ...] = ()
    equals: tuple[str, ...] = ()
    """Configurations that could not be told from the best."""
    cells: tuple[str, ...] = ()


@kept
def verdict(rows: pd.DataFrame) -> Verdict:
    """The advice that the rows support.

    Never raises for want of data; InputError where a required column of the schema is missing.

    One protocol is used: the one in which most tasks can be compared, fine-tuning where two are
    equal. Accuracy is averaged with equal weight over its tasks and shot counts, per seed. A task
    in which any frozen probe re-uses labels is set aside for that protocol, for all arms, so that
    all are judged on the same tasks; a configuration that lacks a task altogether is left out and
    named.
    """
    table = prepare(rows)
    ground = ground_of(table)
    won = None if ground is None else winner(ground.scores, order=configurations(table))
    if ground is None or won is None:
        return _without_ground(table)
    names = configuration_names(table)
    best = configurations(table)[won.best_id]
    return Verdict(
        answer=_answer(best, won, names),
        confidence=_confidence(won),
        sentences=(
            _measured(ground, won),
            _how_sure(won, names),
            *axis_sentences(ground, won),
            *_asides(ground),
            *(sentence for question in ANALYSES for sentence in question.grounds(table)),
        ),
        next_steps=(*_first_steps(table), *next_steps(ground, won)),
        configuration=best.name,
        source=best.source,
        labels=best.labels,
        method=best.method,
        mean=won.mean,
        gap=won.gap,
        num_comparisons=won.num_comparisons,
        protocol=ground.protocol,
        tasks=tuple(ground.tasks),
        equals=tuple(names[rival] for rival in won.not_separated),
        cells=ground.cells,
    )


def _confidence(won: Winner) -> str:
    if won.next_id is None:
        return ALONE
    if won.decided:
        return SURE
    return ONE_SEED if won.gap.num_seeds <= 1 else OPEN


def _answer(best: Configuration, won: Winner, names: dict[str, str]) -> str:
    what = (
        "No pre-training came out ahead: train from scratch"
        if best.method == "scratch"
        else f"Pre-train {_spelled(best)}"
    )
    if won.next_id is None:
        return f"{what}: it is all that was measured, so nothing recommends it over something else."
    if won.decided:
        return f"{what}."
    if won.tied:
        tied = listed([names[rival] for rival in won.tied])
        return f"{what}, or equally well {tied}: they tie."
    return f"{what}, for now: {count(len(won.not_separated), 'other')} cannot be told from it yet."


def _spelled(best: Configuration) -> str:
    source = "" if best.source is None else f" on {best.source}"
    if best.labels is None or best.method != "supervised":
        return f"with {best.context}{source}"
    classes = "" if best.num_labels is None else f" ({best.num_labels:.0f} classes)"
    method, _, labels = best.context.partition(" ")
    return f"{method}{source} with labels {labels}{classes}"


def _measured(ground: Ground, won: Winner) -> str:
    num_seeds = int(per_seed(ground.scores)[won.best_id].notna().sum())
    tasks = f"{count(len(ground.tasks), 'task')} ({listed(ground.tasks)})"
    return (
        f"It answers {percent(won.mean)} right on average over {tasks}, {ground.protocol}, "
        f"{shots_words(ground.shots)}, {count(num_seeds, 'seed')}."
    )


def _how_sure(won: Winner, names: dict[str, str]) -> str:
    if won.next_id is None:
        return "How sure: there is one configuration, and nothing to compare it with."
    sure = interval(won.gap.low, won.gap.high, won.gap.num_seeds, won.num_comparisons)
    lead = f"How sure: it is {points(won.gap.mean)} ahead of {names[won.next_id]} ({sure})"
    if won.decided:
        return f"{lead}, and ahead of each of the {won.num_comparisons} others by more than chance."
    if won.gap.num_seeds <= 1:
        return f"{lead}. Another seed may change the order."
    return f"{lead}; not told apart from {listed([names[rival] for rival in won.not_separated])}."


def _asides(ground: Ground) -> list[str]:
    sentences = []
    if ground.reused:
        sentences.append(
            f"Set aside: {listed(ground.reused)} under {ground.protocol}, because frozen encoders "
            "met labels there that they were trained on."
        )
    if ground.left_out:
        sentences.append(f"Not ranked for want of results: {listed(ground.left_out)}.")
    others = sorted(set(ground.table["protocol"]) - {ground.protocol})
    if others:
        sentences.append(
            f"Rows under {listed(others)} were not used for this verdict; they are shown by "
            "themselves."
        )
    return sentences


def _first_steps(table: pd.DataFrame) -> tuple[str, ...]:
    """What the analyses want done before anything else."""
    return tuple(step for question in ANALYSES for step in question.next_steps(table))


def _without_ground(table: pd.DataFrame) -> Verdict:
    """Why nothing can be concluded."""
    trouble = _first_steps(table)
    if not len(table):
        return Verdict(
            "Nothing has been measured yet.",
            NOTHING,
            ("The table has no rows.",),
            ("Run the study.",),
        )
    if not table["usable"].any():
        return Verdict(
            "Nothing can be concluded: no cell has a number.",
            NOTHING,
            (f"Cells: {_lost(table)}.",),
            trouble or ("Mend what diverged, and run again.",),
        )
    if (why := _reuse_everywhere(table)) is not None:
        return Verdict(
            "Nothing can be concluded from these rows.",
            NOTHING,
            (why,),
            (ADVICE_ON_REUSE, *trouble),
        )
    why = (
        "No configuration has a number in every task and shot count, on the whole test set, so "
        "there is nothing fair to rank."
    )
    return Verdict(
        "Nothing can be concluded yet.", NOTHING, (why,), trouble or ("Finish the study.",)
    )


def _lost(table: pd.DataFrame) -> str:
    """'2 failed and 1 diverged'."""
    lost = []
    for status in ("failed", "diverged"):
        if num_cells := table.loc[table["status"] == status, "cell"].nunique():
            lost.append(f"{num_cells} {status}")
    return listed(lost) if lost else "none is done"


def _reuse_everywhere(table: pd.DataFrame) -> str | None:
    """How re-used labels leave nothing to decide by; None where they leave something."""
    if not table["decides"].any():
        return (
            "Every number scores a frozen encoder on labels that it was trained on, on the same "
            "images; that favours these labels and decides nothing."
        )
    reused = task_protocols(table[table["usable"] & ~table["decides"]])
    if task_protocols(table[table["decides"]]) <= reused:
        return (
            "In every task some frozen encoder meets labels that it was trained on, so the arms "
            "cannot be compared fairly."
        )
    return None
