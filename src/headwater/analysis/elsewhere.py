"""Does a verdict hold elsewhere: with more images, and at other learning rates?"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

from headwater.analysis.curves.hiding import fitter_of, hidden
from headwater.analysis.curves.prediction import FARTHEST
from headwater.analysis.decision import Aim, Decision
from headwater.analysis.evidence import Evidence, Line, evidence_of
from headwater.analysis.exchange.crossing import Crossing, crossing
from headwater.analysis.exchange.families import Family, families
from headwater.analysis.exchange.rates import Exchange
from headwater.analysis.lines import headline_of
from headwater.analysis.rates import at_factor
from headwater.analysis.words import listed

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis.configurations import Configuration

FEWEST = 3
"""Sizes of a curve that is followed without being asked to [ours]."""
_CURVES = 30
"""So many curves at most say how far a law is off beyond its points [ours]."""
_RIVALS = 3
"""Curves that the leader's is compared with: those that come nearest to it now [ours]."""


def with_more_images(line: Line, decision: Decision, aim: Aim) -> list[str]:
    """Whether the leader's curve is still ahead at the target: the aim's, or FARTHEST times the
    most images that it was run with. Nothing where no target is asked for and arms were run at
    fewer than FEWEST sizes.
    """
    if decision.best is None:
        return []
    measured = [one.measured(line, aim.weights) for one in families(line.arms)]
    every = [one for one in measured if one is not None]
    own = next((one for one in every if _has(one, decision.best)), None)
    wanted = 2 if aim.target is not None else FEWEST
    if own is None or len(own.arms) < wanted:
        return _one_size(decision.best, own, aim)
    rivals = _rivals(every, own, decision, wanted)
    last = max(own.n)
    target = FARTHEST * last if aim.target is None else aim.target
    if target <= last:
        return [
            f"At {target:,.0f} images: {own.name} was run with {last:,.0f}, so that is no question "
            "of what comes."
        ]
    if not rivals:
        return (
            []
            if aim.target is None
            else [
                f"At {target:,.0f} images: no other arm was run at several sizes, so whether "
                f"{own.name} still leads there cannot be told; give `sizes` to the other sources, "
                "too."
            ]
        )
    others = [one for one in every if one is not own and one not in rivals and len(one.arms) > 1]
    curves = [one.seeds(line, aim.weights) for one in [own, *rivals, *others][:_CURVES]]
    fitter = fitter_of([one.curve for one in curves], 0.0)
    known = hidden([one.curve for one in curves], fitter)
    found = []
    for rival in rivals:
        both = own.seeds(line, aim.weights), rival.seeds(line, aim.weights)
        two = Exchange.of(*both, fitter, known)
        found.append((rival, crossing(two.a, two.b, known, target)))
    return _order_words(own, found, target, last)


def at_other_rates(
    table: pd.DataFrame,
    found: Evidence,
    best: Configuration,
    aim: Aim,
    leader_of: Callable[[pd.DataFrame], str | None],
) -> list[str]:
    """Whether the same arm leads at each learning rate, where they are an axis. `leader_of` is who
    leads in a table.
    """
    if found.rates is None:
        return []
    tried = listed([f"{factor:g}" for factor in found.rates.factors])
    said = f"Learning rate: of {tried} times each method's own, chosen on validation for every arm."
    others, unknown = [], []
    for factor in found.rates.factors:
        rows = at_factor(table, factor)
        line = headline_of(evidence_of(rows), aim)
        leader = None if line is None else leader_of(rows)
        arm = next((each for each in line.arms if each.name == leader), None) if line else None
        if arm is None:
            unknown.append(f"{factor:g}")
        elif not _same_but_rate(arm, best):
            others.append(f"at {factor:g} times {arm.name}")
    if unknown:
        said += f" At {listed(unknown)} times nothing can be compared."
    if not others:
        survived = "the others" if unknown else "each"
        return [f"{said} The verdict survives {survived}: the same arm leads."]
    return [f"{said} It hangs on the rate: {listed(others)} leads."]


def _has(family: Family, name: str) -> bool:
    return any(arm.name == name for arm in family.arms)


def _one_size(best: str, own: Family | None, aim: Aim) -> list[str]:
    if aim.target is None:
        return []
    if own is None:
        return [
            f"At {aim.target:,.0f} images: {best} leads and is given none, and what arms that are "
            "given more would do there is not asked."
        ]
    return [
        f"At {aim.target:,.0f} images: {best} was run at one size, so whether it still leads there "
        "cannot be told; add `sizes` to the study."
    ]


def _rivals(every: Sequence[Family], own: Family, decision: Decision, wanted: int) -> list[Family]:
    """The curves that come nearest to the leader's, by the best of their arms."""
    near = []
    for one in every:
        means = [decision.means[arm.name] for arm in one.arms if arm.name in decision.means]
        if one is not own and means and len(one.arms) >= wanted:
            near.append((max(means), one))
    near.sort(key=lambda pair: -pair[0])
    return [one for _, one in near[:_RIVALS]]


def _order_words(
    own: Family, found: Sequence[tuple[Family, Crossing]], target: float, last: float
) -> list[str]:
    """What is foretold of the order of a curve and its rivals, errors in points."""
    behind = [rival.name for rival, one in found if one.high < 0]
    ahead = [
        f"{rival.name} is foretold to be ahead by {one.gap:.1f} points ({one.low:.1f} to "
        f"{one.high:.1f})"
        for rival, one in found
        if one.low > 0
    ]
    unknown = [(rival, one) for rival, one in found if one.low <= 0 <= one.high]
    parts = [f"it is foretold to stay ahead of {listed(behind)}"] if behind else []
    parts += ahead
    if unknown:
        each = [
            f"{rival.name} (it by {-one.gap:+.1f} points, {-one.high:.1f} to {-one.low:.1f})"
            for rival, one in unknown
        ]
        size = max(one.next for _, one in unknown)
        parts.append(
            f"who is ahead is open with {listed(each)}, and arms at {size:,.0f} images would tell "
            "most"
        )
    times = f"{target / last:.3g} times the most that {own.name} was run with"
    return [f"At {target:,.0f} images of each, {times}: {'; '.join(parts)}."]


def _same_but_rate(one: Configuration, other: Configuration) -> bool:
    kept = ("method", "source", "size", "labels", "images_seen", "backbone", "image_size")
    return all(str(one.fields[name]) == str(other.fields[name]) for name in kept)
