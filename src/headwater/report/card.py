"""The decision card: what a manager reads in a minute."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from headwater.analysis.decision import Decision
from headwater.analysis.power import Step
from headwater.analysis.prices import cheaper_words
from headwater.analysis.variance import VarianceBudget
from headwater.analysis.words import count, hours_word, listed, money_word, saved_word
from headwater.report.palette import GREY

MOST_BARS = 10
"""Arms in the picture."""


@dataclass(frozen=True)
class Tile:
    """A number with what it means."""

    label: str
    number: str
    note: str = ""


@dataclass(frozen=True)
class Bar:
    """An arm in the picture: how far it is behind the leader; lengths in percent of the width."""

    name: str
    dot: float
    low: float
    high: float
    text: str
    may_be_best: bool
    colour: str
    """As in every chart."""


@dataclass(frozen=True)
class Tick:
    """A place on the picture's axis, in percent of the width, and its words."""

    place: float
    text: str


@dataclass(frozen=True)
class Picture:
    """Arms by how far they are behind the leader, on one axis that holds every interval and 0."""

    bars: tuple[Bar, ...]
    ticks: tuple[Tick, ...]
    zero: float
    """Where the leader is."""


def tiles(decision: Decision) -> list[Tile]:
    """How probable the answer is, what it can cost to be wrong, what is as good, what next costs;
    nothing where there is no interval.
    """
    if decision.regret_bound is None or decision.best is None:
        return []
    expected = 100 * decision.expected_regret[decision.best]
    others = len(decision.shortlist) - 1
    shown = [
        Tile(
            "Probability of being the best",
            f"{100 * decision.p_best[decision.best]:.0f} %",
            "no other could be" if others == 0 else f"{count(others, 'other')} could be",
        ),
        Tile(
            "If it is not, it costs at most",
            f"{100 * decision.regret_bound:.1f} points",
            f"95 %; {expected:.1f} on average",
        ),
        Tile(
            f"As good within {100 * decision.tolerance:g} points",
            str(len(decision.as_good)),
            listed(decision.as_good, most=2) if decision.as_good else "no other arm surely is",
        ),
    ]
    if decision.new_images is not None:
        new = decision.new_images
        shown.append(
            Tile(
                "On other test images",
                f"{100 * new.p_best[decision.best]:.0f} %",
                f"to be the best; costs at most {100 * new.regret_bound:.1f} points",
            )
        )
    own = decision.costs.get(decision.best)
    if own is not None:
        note = cheaper_words(decision, most=2) or "none as good is cheaper"
        shown.append(Tile("Its price", money_word(own), note))
    if decision.next and decision.next[0].kind in _RUNS:
        step = decision.next[0]
        hours = "not known" if step.hours is None else hours_word(step.hours[0])
        shown.append(Tile("What next costs", hours, _next_words(step)))
    return shown


_RUNS = {"seeds": "more seeds", "draws": "more draws", "tasks": "one more task", "size": "a size"}


def _next_words(step: Step) -> str:
    """'more seeds, on one worker (price 12.00); saves 0.13 points'."""
    words = f"{_RUNS.get(step.kind, step.kind)}, on one worker"
    words += "" if step.money is None else f" (price {money_word(step.money[0])})"
    return words if step.value is None else f"{words}; saves {saved_word(step.value)} points"


def picture(decision: Decision, colours: Mapping[str, str]) -> Picture | None:
    """The leader and the arms nearest to it, from far behind (left) to the best (right); None where
    there are not two. `colours` are those of the arms by name.
    """
    near = [name for name in decision.means if name in decision.behind][:MOST_BARS]
    if len(near) < 2:
        return None
    ends = [decision.behind[name] for name in near]
    left = max(max(high, lead) for lead, _, high in ends)
    right = max(0.0, -min(low for _, low, _ in ends))
    width = max(left + right, 1e-9)

    def place(behind: float) -> float:
        return round(100 * (left - behind) / width, 2)

    drawn = tuple(
        Bar(
            name=name,
            dot=place(lead),
            low=place(high),
            high=place(low),
            text="leads" if name == decision.best else f"{100 * lead:.1f} behind",
            may_be_best=name in decision.shortlist,
            colour=colours.get(name, GREY),
        )
        for name, (lead, low, high) in zip(near, ends, strict=True)
    )
    ticks = tuple(Tick(place(behind), _points_word(behind)) for behind in _steps(left, right))
    return Picture(drawn, ticks, zero=place(0.0))


def _steps(left: float, right: float) -> list[float]:
    """Round distances behind the leader, at most six, 0 among them; negative ones are ahead."""
    span = left + right
    if span <= 1e-9:
        return [0.0]
    power = 10.0 ** math.floor(math.log10(span))
    sizes = [power * size for size in (0.1, 0.2, 0.5, 1.0, 2.0)]
    step = next(size for size in sizes if span / size <= 5)
    first, last = math.ceil(-right / step - 1e-9), math.floor(left / step + 1e-9)
    return [number * step for number in range(first, last + 1)]


def _points_word(behind: float) -> str:
    """In points as on an axis that ends at the leader: behind is negative."""
    text = f"{abs(100 * behind):.3g}"
    if text == "0":
        return text
    return f"\u2212{text}" if behind > 0 else f"+{text}"


@dataclass(frozen=True)
class Part:
    """A part of the variance of the lead in the picture; the width is in percent."""

    name: str
    width: float
    text: str


def parts(budget: VarianceBudget | None) -> list[Part]:
    """What the uncertainty of the lead is made of, as far as it can be told."""
    if budget is None:
        return []
    return [
        Part(
            each.name,
            round(100 * each.share, 2),
            f"{each.most}{100 * each.share:.0f} %",
        )
        for each in budget.components
        if each.share is not None
    ]
