"""Running by steps: which arms need another seed, and when to stop.

After every step the rows are looked at. Looking so often needs a stricter rule than a decision at
the end: the p of each look is small, so that all looks together are wrong in 5 % (`certainty`).
The next seed goes to the leader, to the arm that most probably is better, and to others with a
chance (after top-two sampling: Russo, Operations Research 68, 2020; here without its draws, so that
the same rows lead to the same step).
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass, replace

from headwater.analysis.certainty import LOOKS_P
from headwater.analysis.deciding import decide
from headwater.analysis.decision import Aim, Decision
from headwater.analysis.evidence import Evidence

_CHANCE = 0.1
"""An arm with a larger chance to be the best gets another seed [ours]."""
_SMALL = 0.2
"""Of the tolerance: a smaller expected regret is worth no more seeds [ours]."""
_FEWEST_SEEDS = 4
"""Of the leader: with fewer, a small expected regret may be luck [ours, by replays]."""
FIRST_SEEDS = 2
"""Seeds that every arm gets before the first look [ours]."""


@dataclass(frozen=True)
class Look:
    """What a look at the rows leads to."""

    decision: Decision
    stop: str | None
    """Why nothing more is to be run; None while something is."""
    arms: tuple[str, ...]
    """Names of the arms that should get another seed."""
    reason: str
    """Why these, in a sentence."""


def error_of_a_look(until: float) -> float:
    """The largest p of one look, so that all looks together are right with probability `until`."""
    return LOOKS_P * (1 - until) / 0.05


def look(found: Evidence, aim: Aim, *, until: float = 0.95) -> Look:
    """Looks at what was measured so far; `until` is the probability with which the answer of all
    looks should be right, in (0.5, 1).
    """
    error = error_of_a_look(until)
    decision = decide(found, replace(aim, error=error), lines=False)
    if decision.best is None:
        return Look(decision, "nothing can be concluded from these rows", (), "")
    if decision.p is None or decision.regret_bound is None:
        return Look(decision, None, tuple(decision.means), "every arm needs seeds before a look")
    if decision.sure:
        return Look(decision, f"decided: p is {decision.p:.4f}", (), "")
    if decision.decided:
        worst = f"{100 * decision.regret_bound:.1f} points"
        return Look(decision, f"within tolerance: whatever is better is so by {worst}", (), "")
    expected = decision.expected_regret[decision.best]
    if expected <= _SMALL * aim.tolerance and decision.num_seeds >= _FEWEST_SEEDS:
        if (unclear := _unclear(decision, aim)) is not None:
            why = f"the first seeds of {unclear} are too far apart to say what it may be"
            return Look(decision, None, (unclear,), why)
        words = f"{100 * expected:.2f} points"
        return Look(decision, f"within tolerance: it costs {words} on average", (), "")
    chances = {name: decision.p_best[name] for name in decision.means}
    rivals = sorted((name for name in chances if name != decision.best), key=lambda n: -chances[n])
    near = [name for name in rivals[1:] if chances[name] >= _CHANCE]
    arms = (decision.best, rivals[0], *near)
    said = ", ".join(f"{name} {chances[name]:.2f}" for name in arms)
    return Look(decision, None, arms, f"chances to be the best: {said}")


def following(seen: Look, able: Collection[str], *, budgeted: bool) -> tuple[str, ...]:
    """The arms that get another seed after a look, of those that are `able` to: the ones that it
    asks for. Where these have used up their seeds and there is a budget, what is left of it goes to
    the likeliest of all that could still be the best, two at a time.
    """
    asked = tuple(name for name in seen.arms if name in able)
    if asked or not budgeted:
        return asked
    chances = seen.decision.p_best
    doubted = [name for name in seen.decision.shortlist if name in able]
    return tuple(sorted(doubted, key=lambda name: -chances[name])[:2])


def _unclear(decision: Decision, aim: Aim) -> str | None:
    """The arm of which only the first seeds were run, where it alone makes the bound of regret
    large; None where there is none.
    """
    most = {name: -low for name, (_, low, _) in decision.behind.items()}
    worst = max(most, key=lambda name: most[name])
    others = max((cost for name, cost in most.items() if name != worst), default=0.0)
    first = decision.stopped_early.get(worst, decision.num_seeds) == FIRST_SEEDS
    return worst if first and most[worst] > max(others, 0.0) + aim.tolerance else None
