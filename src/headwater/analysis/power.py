"""What to run next, and what it costs: seeds that would tell, arms that need none, and when no
number of seeds will tell.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.analysis.intervals import SEARCH_LIMIT
from headwater.analysis.words import count, hours_word, listed, money_word

if TYPE_CHECKING:
    from headwater.analysis.certainty import Certainty
    from headwater.analysis.configurations import Configuration
    from headwater.analysis.decision import Decision
    from headwater.analysis.evidence import Evidence

FIRST_LOOKS = 10
"""A table of up to so many seeds is taken for a first look, one of more for a second, with a
stricter rule: looking after every seed is wrong in 14 to 21 % of tables whose arms are equal
[ours, by simulation].
"""
SECOND_ERROR = 0.0125
"""The largest p that a second look calls SURE [ours, by simulation]."""
HOURS_UNKNOWN = " (how long that takes is not known)"
_MAY_ADVISE = 5
"""A first look at up to so many seeds may lead to a second."""


@dataclass(frozen=True)
class Step:
    """Something to do next."""

    kind: str
    """seeds, draws, tasks, size, drop or cheapest."""
    text: str
    """A sentence."""
    arms: tuple[str, ...] = ()
    seeds: tuple[int, int | None] | None = None
    """More seeds, from the lucky to the unlucky case; None where that is beyond what anybody
    runs.
    """
    hours: tuple[float, float | None] | None = None
    """What they cost on one worker."""
    money: tuple[float, float | None] | None = None
    """What these hours cost, where an hour has a price."""
    value: float | None = None
    """By how much it is expected to lower the expected regret, a share (value.py)."""
    value_per_hour: float | None = None
    value_per_money: float | None = None

    def to_dict(self) -> dict[str, Any]:
        return {
            "kind": self.kind,
            "text": self.text,
            "arms": list(self.arms),
            "seeds": None if self.seeds is None else list(self.seeds),
            "hours": None if self.hours is None else list(self.hours),
            "money": None if self.money is None else list(self.money),
            "value": self.value,
            "value_per_hour": self.value_per_hour,
            "value_per_money": self.value_per_money,
        }


def next_steps(
    decision: Decision, arms: Sequence[Configuration], told: Certainty, found: Evidence
) -> tuple[Step, ...]:
    """Steps after a decision, the first one first; none where the leader is told apart."""
    if decision.sure:
        return ()
    if decision.decided:
        why = "whatever is better than the leader is so by less than your tolerance"
        return (_stop(decision, arms, found, why),)
    by_name = {arm.name: arm for arm in arms}
    near = [by_name[name] for name in decision.shortlist]
    steps = [_seeds(decision, arms, told, near, found)]
    out = [by_name[name] for name in decision.means if name not in decision.shortlist]
    if out and steps[0].kind == "seeds":
        steps.append(_drop(out, found))
    return tuple(steps)


def _seeds(
    decision: Decision,
    arms: Sequence[Configuration],
    told: Certainty,
    near: list[Configuration],
    found: Evidence,
) -> Step:
    middle, least, most = _seeds_needed(decision, arms, told)
    names = [arm.name for arm in near]
    if middle is None:
        why = (
            f"{SEARCH_LIMIT} more seeds would not tell the leader from every other arm if its lead "
            f"of {100 * (decision.lead or 0):.1f} points is the truth"
        )
        return _stop(decision, arms, found, why)
    if decision.num_seeds > _MAY_ADVISE:
        why = (
            f"{decision.num_seeds} seeds do not tell it, and looking again after some more would "
            "find a difference by chance too often (`headwater run STUDY --until 0.95` may look "
            "after every seed)"
        )
        return _stop(decision, arms, found, why)
    more = max(middle, FIRST_LOOKS + 1 - decision.num_seeds)
    low = max(least or more, 1)
    high = None if most is None else max(most, more)
    hours = _hours(near, found)
    cost = None if hours is None else (hours * more, None if high is None else hours * high)
    money = _money(cost, decision)
    price = HOURS_UNKNOWN
    if hours is not None:
        price = f", about {hours_word(hours * more)} on one worker"
    price += "" if money is None else f" (price {money_word(money[0])})"
    upper = "many more" if high is None else str(high)
    text = (
        f"Run {count(more, 'more seed')} of {listed(names)}{price}, then decide once more: that "
        f"tells them apart if the lead stays as it is ({low} to {upper} if it does not)."
    )
    return Step("seeds", text, arms=tuple(names), seeds=(more, high), hours=cost, money=money)


def _seeds_needed(
    decision: Decision, arms: Sequence[Configuration], told: Certainty
) -> tuple[int | None, int | None, int | None]:
    """More seeds until the leader beats every other arm: if the leads stay, if each is a standard
    error larger, if each is one smaller. None beyond `intervals.SEARCH_LIMIT`.
    """
    from scipy.special import stdtrit

    best = int(told.best[0])
    others = np.arange(len(arms)) != best
    leads = (told.means[0, best] - told.means[0])[others]
    errors, df = told.se[0, others], told.df[0, others]
    seeds = decision.num_seeds
    totals = np.arange(seeds + 1, seeds + SEARCH_LIMIT + 1)[:, None]
    quantiles = -stdtrit(df * (totals - 1) / max(seeds - 1, 1), SECOND_ERROR / 2)
    bars = quantiles * errors * np.sqrt(seeds / totals)
    answers: list[int | None] = []
    for shift in (0.0, 1.0, -1.0):
        enough = (leads + shift * errors > bars).all(axis=1)
        answers.append(int(enough.argmax()) + 1 if enough.any() else None)
    return answers[0], answers[1], answers[2]


def _stop(decision: Decision, arms: Sequence[Configuration], found: Evidence, why: str) -> Step:
    """No more seeds: the leader, or the cheapest of it and what is surely as good."""
    near = [arm for arm in arms if arm.name in (decision.best, *decision.as_good)]
    names = listed([arm.name for arm in near])
    unknown = [arm for arm in near if not _knows_price(arm, decision, found)]
    if len(near) > 1 and len(unknown) == len(near):
        text = (
            f"No more seeds: {why}. Take {decision.best}, or one of {names} that you know to be "
            "cheaper: they are as good, and what they cost is not known."
        )
        return Step("cheapest", text, arms=(decision.best or "",))
    cheapest = min(near, key=lambda arm: _price(arm, decision, found))
    cost = decision.costs.get(cheapest.name)
    price = "" if cost is None else f" (price {money_word(cost)})"
    which = f"Take the cheapest of {names}, which are as good: "
    text = f"No more seeds: {why}. {which if len(near) > 1 else 'Take '}{cheapest.name}{price}"
    if unknown and len(near) > 1:
        costs = "costs" if len(unknown) == 1 else "cost"
        text += f"; what {listed([arm.name for arm in unknown])} {costs} is not known"
    return Step("cheapest", f"{text}.", arms=(cheapest.name,))


def _knows_price(arm: Configuration, decision: Decision, found: Evidence) -> bool:
    if decision.costs:
        return decision.costs.get(arm.name) is not None
    return found.hours_of(arm) is not None


def _price(
    arm: Configuration, decision: Decision, found: Evidence
) -> tuple[float, bool, float, float]:
    """By its price where there are prices (one that is not known comes last); then no pre-training
    first, then hours, then the number of classes to label.
    """
    hours = found.hours_of(arm)
    cost = decision.costs.get(arm.name) if decision.costs else 0.0
    return (
        math.inf if cost is None else cost,
        arm.method != "scratch",
        math.inf if hours is None else hours,
        arm.num_labels or 0.0,
    )


def _money(
    hours: tuple[float, float | None] | None, decision: Decision
) -> tuple[float, float | None] | None:
    """What hours cost; None where an hour has no price."""
    an_hour = 0.0 if decision.prices is None else decision.prices.gpu_hour
    if hours is None or not an_hour:
        return None
    return hours[0] * an_hour, None if hours[1] is None else hours[1] * an_hour


def _drop(out: list[Configuration], found: Evidence) -> Step:
    hours = _hours(out, found)
    saved = "" if hours is None else f", which saves {hours_word(hours)} a seed"
    names = tuple(arm.name for arm in out)
    are = "it is" if len(names) == 1 else "they are"
    text = f"Leave out {listed(names)}: {are} not the best{saved}."
    return Step("drop", text, arms=names)


def _hours(arms: Sequence[Configuration], found: Evidence) -> float | None:
    """Of one seed of each of these arms; None where rows do not say."""
    hours = [found.hours_of(arm) for arm in arms]
    known = [each for each in hours if each is not None]
    return sum(known) if len(known) == len(hours) and known else None
