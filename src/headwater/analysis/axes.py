"""Which source, which labels, which method, and what pre-training is worth: a sentence each, with
all the rest held equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from headwater.analysis.compare import Winner, difference, per_seed, winner
from headwater.analysis.configurations import Configuration
from headwater.analysis.ground import Ground
from headwater.analysis.words import interval, points

if TYPE_CHECKING:
    import pandas as pd


def axis_sentences(ground: Ground, won: Winner) -> list[str]:
    """What can be said of each axis by itself; nothing of an axis on which nothing differs."""
    sentences = (_source(ground), _labels(ground), _method(ground, won), _scratch(ground, won))
    return [sentence for sentence in sentences if sentence is not None]


def _source(ground: Ground) -> str | None:
    trials = [
        _Trial(each.id, value=each.source, held_equal=each.context)
        for each in ground.ranked
        if each.source is not None
    ]
    won = _best_value(_matched(trials), ground.scores)
    return _sentence("Which source", won, "with method and labels held equal")


def _labels(ground: Ground) -> str | None:
    trials = [
        _Trial(each.id, value=each.labels, held_equal=f"{each.series} {each.source}")
        for each in ground.ranked
        if each.labels is not None and each.method == "supervised"
    ]
    won = _best_value(_matched(trials), ground.scores)
    return _sentence("Which labels", won, "with the source held equal")


def _method(ground: Ground, won: Winner) -> str | None:
    """Each method stands with its best configuration; the correction is for all configurations that
    these were chosen from.
    """
    means = per_seed(ground.scores).mean()
    best: dict[str, str] = {}
    for each in sorted(ground.ranked, key=lambda each: -float(means[each.id])):
        if each.method != "scratch":
            best.setdefault(each.method, each.id)
    if len(best) < 2:
        return None
    scores = ground.scores[list(best.values())].set_axis(list(best), axis=1)
    top = winner(scores, comparisons=won.num_comparisons)
    return _sentence("Which method", top, "each with its best source and labels")


def _scratch(ground: Ground, won: Winner) -> str | None:
    best = next(each for each in ground.ranked if each.id == won.best_id)
    scratch = [each for each in ground.ranked if _is_scratch_of(each, best)]
    if not scratch or best in scratch:
        return None
    gap = difference(ground.scores, best.id, scratch[0].id, comparisons=won.num_comparisons)
    sure = interval(gap.low, gap.high, gap.num_seeds, won.num_comparisons)
    return f"What it is worth: {points(gap.mean)} over no pre-training ({sure})."


def _is_scratch_of(each: Configuration, trained: Configuration) -> bool:
    alike = each.backbone == trained.backbone and each.image_size == trained.image_size
    return alike and each.method == "scratch"


@dataclass(frozen=True)
class _Trial:
    """A configuration as one value of an axis, tried with all else held equal."""

    id: str
    value: str
    held_equal: str
    """What else the configuration is: trials with an equal one can be compared."""


def _matched(trials: list[_Trial]) -> dict[str, list[str]]:
    """Value -> ids of its configurations, where every value was tried with the same else; nothing
    where there is no such else.
    """
    tried: dict[str, set[str]] = {}
    for trial in trials:
        tried.setdefault(trial.value, set()).add(trial.held_equal)
    shared = set.intersection(*tried.values()) if tried else set()
    matched: dict[str, list[str]] = {value: [] for value in tried} if shared else {}
    for trial in sorted(trials, key=lambda trial: trial.held_equal):
        if trial.held_equal in shared:
            matched[trial.value].append(trial.id)
    return matched


def _best_value(columns: dict[str, list[str]], scores: pd.DataFrame) -> Winner | None:
    """The winner among the values of an axis, each the mean over its columns of `scores`; None
    below two values.
    """
    import pandas as pd

    if len(columns) < 2:
        return None
    means = {value: scores[ids].mean(axis=1, skipna=False) for value, ids in columns.items()}
    return winner(pd.DataFrame(means, index=scores.index), order=list(columns))


def _sentence(question: str, won: Winner | None, held_equal: str) -> str | None:
    """What an axis says of itself; the ids of `won` are the values of the axis."""
    if won is None or won.next_id is None:
        return None
    sure = interval(won.gap.low, won.gap.high, won.gap.num_seeds, won.num_comparisons)
    doubt = "" if won.decided or won.gap.num_seeds <= 1 else ": cannot be told"
    lead = f"{won.best_id}, {points(won.gap.mean)} ahead of {won.next_id} {held_equal} ({sure})"
    return f"{question}: {lead}{doubt}."
