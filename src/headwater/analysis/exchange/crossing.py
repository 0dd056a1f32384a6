"""Does the order of two arms flip between what was run and what will be?"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headwater.analysis.curves.hiding import Hidden
from headwater.analysis.exchange.side import Side

FLIPS, KEEPS, OPEN = "flips", "keeps", "open"
SURE = 0.95
"""A flip, or none, is told from this probability on [ours]."""


@dataclass(frozen=True)
class Crossing:
    """Two arms at a size that was not run. Errors are in the table's unit."""

    n: float
    """The target."""
    now: float
    """The error of the first minus that of the second at the largest size that both have."""
    gap: float
    """The same at the target, foretold."""
    low: float
    high: float
    """The 95 % interval of that gap."""
    flips: float
    """The probability that the order there is another one than now."""
    answer: str
    """FLIPS, KEEPS or OPEN."""
    at: float | None
    """Where the two curves are foretold to meet, between the largest size and the target; None
    where they do not.
    """
    next: float
    """The size that would tell most: twice the largest, or the target where that is nearer."""


def crossing(first: Side, second: Side, known: Hidden, n: float) -> Crossing:
    """What becomes of the order of two arms at n images of each."""
    from scipy.special import stdtr, stdtrit

    last = min(first.seeds.n[-1], second.seeds.n[-1])
    now, now_square, now_dof = _gap(first, second, known, last)
    gap, square, dof = _gap(first, second, known, n)
    half = -float(stdtrit(dof, 0.025)) * float(np.sqrt(square))
    # Both ends are uncertain: who is ahead now is as well, and the two hardly hang together.
    ahead_now = float(stdtr(now_dof, now / np.sqrt(now_square)))
    ahead_then = float(stdtr(dof, gap / np.sqrt(square)))
    flips = ahead_now * (1 - ahead_then) + (1 - ahead_now) * ahead_then
    answer = FLIPS if flips >= SURE else KEEPS if flips <= 1 - SURE else OPEN
    sizes = np.geomspace(last, n, 200)
    gaps = first.errors(sizes) - second.errors(sizes)
    change = np.flatnonzero(np.sign(gaps[:-1]) * np.sign(gaps[1:]) < 0)
    at = float(sizes[change[0]]) if len(change) else None
    next_size = float(min(n, 2 * max(first.seeds.n[-1], second.seeds.n[-1])))
    return Crossing(n, now, gap, gap - half, gap + half, flips, answer, at, next_size)


def _gap(first: Side, second: Side, known: Hidden, n: float) -> tuple[float, float, float]:
    """(error of the first minus that of the second, its variance, its degrees of freedom)."""
    one = np.array([n])
    squares = [
        float(side.squares(side.shares(one))[0] + side.doubt(one, known)[0])
        for side in (first, second)
    ]
    square = max(sum(squares), 1e-12)
    dofs = sum(each**2 / side.dof for each, side in zip(squares, (first, second), strict=True))
    return float(first.errors(one)[0] - second.errors(one)[0]), square, square**2 / max(dofs, 1e-24)
