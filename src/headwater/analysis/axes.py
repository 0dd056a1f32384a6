"""Which source, which labels, which method, and what pre-training is worth: a sentence each, with
all the rest held equal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.configurations import Configuration
from headwater.analysis.winners import Winner, leader
from headwater.analysis.words import interval, listed, points

if TYPE_CHECKING:
    from headwater.analysis.decision import Decision
    from headwater.analysis.evidence import Line

_LEVEL = 1 - 0.05 / 4
"""Four sentences share the error."""
_WORDS = {
    "images_seen": "images seen",
    "unique_images": "numbers of images",
    "batch": "batches",
    "lr": "learning rates",
    "recipe": "recipes",
    "backbone": "backbones",
    "image_size": "image sizes",
}
"""What may differ between arms that are compared, in words."""


def axis_sentences(line: Line, decision: Decision, best: Configuration) -> list[str]:
    """What can be said of each axis by itself; nothing of an axis on which nothing differs."""
    sentences = (_source(line), _labels(line), _method(line, decision), _scratch(line, best))
    return [sentence for sentence in sentences if sentence is not None]


def _source(line: Line) -> str | None:
    trials = [
        _Trial(arm, value=arm.source, held_equal=arm.context)
        for arm in line.arms
        if arm.source is not None
    ]
    return _of_axis(line, "Which source", trials, "method and labels")


def _labels(line: Line) -> str | None:
    trials = [
        _Trial(arm, value=arm.labels, held_equal=f"{arm.series} {arm.source}")
        for arm in line.arms
        if arm.labels is not None and arm.method == "supervised"
    ]
    return _of_axis(line, "Which labels", trials, "the source")


def _method(line: Line, decision: Decision) -> str | None:
    """Each method stands with its best configuration. These were chosen, so it is the shortlist
    that tells: no arm of another method could be the best.
    """
    by_name = {arm.name: place for place, arm in enumerate(line.arms)}
    places: dict[str, int] = {}
    for name in decision.means:
        arm = line.arms[by_name[name]]
        if arm.method != "scratch":
            places.setdefault(arm.method, by_name[name])
    if len(places) < 2:
        return None
    scores = line.means()[:, list(places.values())]
    won = leader(scores, list(places), step=line.step(), level=_LEVEL)
    near = {line.arms[by_name[name]].method for name in decision.shortlist}
    held = "each with its best source and labels"
    return _sentence("Which method", won, held, may_tell=len(near) == 1)


def _scratch(line: Line, best: Configuration) -> str | None:
    places = [
        place
        for place, arm in enumerate(line.arms)
        if arm.method == "scratch"
        and arm.backbone == best.backbone
        and arm.image_size == best.image_size
    ]
    if not places or best.method == "scratch":
        return None
    scores = line.means()[:, [line.arms.index(best), places[0]]]
    won = leader(scores, [best.id, "scratch"], step=line.step())
    if won is None or won.next_id is None:
        return None
    turn = 1 if won.best_id == best.id else -1
    ends = [None if end is None else turn * end for end in (won.gap.low, won.gap.high)]
    low, high = ends if turn > 0 else ends[::-1]
    sure = interval(low, high, won.gap.num_seeds)
    return f"What it is worth: {points(turn * (won.gap.mean or 0))} over no pre-training ({sure})."


@dataclass(frozen=True)
class _Trial:
    """A configuration as one value of an axis, tried with all else held equal."""

    arm: Configuration
    value: str
    held_equal: str
    """What else the configuration is: trials with an equal one can be compared."""


def _of_axis(line: Line, question: str, trials: list[_Trial], held: str) -> str | None:
    matched = _matched(trials)
    if len(matched) < 2:
        return None
    means = line.means()
    places = {arm.id: place for place, arm in enumerate(line.arms)}
    columns = []
    for arms in matched.values():
        of_value = [places[arm.id] for arm in arms]
        columns.append(means[:, of_value].mean(axis=1))
    won = leader(np.stack(columns, axis=1), list(matched), step=line.step(), level=_LEVEL)
    return _sentence(question, won, f"with {held} held equal{_differing(matched)}")


def _matched(trials: list[_Trial]) -> dict[str, list[Configuration]]:
    """Value -> its configurations, where every value was tried with the same else; nothing where
    there is no such else.
    """
    tried: dict[str, set[str]] = {}
    for trial in trials:
        tried.setdefault(trial.value, set()).add(trial.held_equal)
    shared = set.intersection(*tried.values()) if tried else set()
    matched: dict[str, list[Configuration]] = {value: [] for value in tried} if shared else {}
    for trial in sorted(trials, key=lambda trial: trial.held_equal):
        if trial.held_equal in shared:
            matched[trial.value].append(trial.arm)
    return matched


def _differing(matched: dict[str, list[Configuration]]) -> str:
    """What is not equal although names do not say it: ', but images seen differ'."""
    differing = []
    for column, words in _WORDS.items():
        values = {_values(arms, column) for arms in matched.values()}
        if len(values) > 1:
            differing.append(words)
    return f", but {listed(differing)} differ" if differing else ""


def _values(arms: list[Configuration], column: str) -> tuple[str, ...]:
    return tuple(sorted(str(arm.fields.get(column)) for arm in arms))


def _sentence(question: str, won: Winner | None, held: str, may_tell: bool = True) -> str | None:
    """What an axis says of itself; the ids of `won` are the values of the axis."""
    if won is None or won.next_id is None:
        return None
    sure = interval(won.gap.low, won.gap.high, won.gap.num_seeds)
    told = won.decided and may_tell
    doubt = "" if told or won.gap.num_seeds <= 1 else ": cannot be told"
    if doubt and not may_tell and won.gap.excludes_zero:
        doubt += ", as each is the best of several"
    lead = f"{won.best_id}, {points(won.gap.mean)} ahead of {won.next_id} {held} ({sure})"
    return f"{question}: {lead}{doubt}."
