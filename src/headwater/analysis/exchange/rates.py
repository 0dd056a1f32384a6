"""How many images of A are worth one of B: the rate at which both have the same error.

At a size n of B the rate is the m at which A with m n images has B's error. The interval holds the
rates that the data do not rule out: those at which the difference of the two errors is less than
its own standard error times Student's t (Fieller 1954). Such a set can be unbounded, and says so:
it does not pretend to know a rate that flat curves cannot tell.

Errors between sizes are the law's, with what the law leaves over at the sizes along lines over log
n. Errors beyond the sizes of A are the law's, with the interval that hiding the ends of curves
gives.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.curves.hiding import Fitter, Hidden
from headwater.analysis.curves.prediction import FARTHEST
from headwater.analysis.exchange.seeds import Seeds
from headwater.analysis.exchange.side import BETWEEN_OVER_ALL, Side, steepness_of, together

if TYPE_CHECKING:
    from headwater.analysis.curves.curve import Floats

RATE = "rate"
NEVER = "never"
OUTSIDE = "outside what was measured"
UNKNOWN = "not identifiable"
VARIES = "differs from size to size"
_STEPS = 400
"""Rates that are tried, evenly over their logarithm."""
_SHOWN, _SHOWN_OVER_ALL = 0.7, 0.5
"""Of the covariance that is seen between two arms, so much is counted on, of a rate at a size and
of one for all sizes [ours, by simulation].
"""
_CLEARLY = 0.05
"""Intervals further apart than this share contradict each other."""
_NEAR = 0.02
"""A size this near one that was run is that size."""


@dataclass(frozen=True)
class Rate:
    """An exchange rate at one size of B."""

    n: float
    """Images of B."""
    error: float
    """B's error there, in the table's unit."""
    kind: str
    """RATE, or why there is none: NEVER (A's floor is above this error), OUTSIDE, UNKNOWN; over all
    sizes VARIES, where what is told at a size contradicts one rate for all.
    """
    rate: float | None
    """Images of A worth one of B; None where the curves do not meet."""
    low: float | None
    """The interval's ends; None where it has no end on that side."""
    high: float | None

    @property
    def words(self) -> str:
        """'1.35 (1.1 to 1.7)', '3 or more', or why there is none."""
        if self.kind == NEVER or (self.low is None and self.high is None):
            return self.kind
        if self.low is not None and self.high is not None:
            ends = f"{self.low:.3g} to {self.high:.3g}"
        else:
            ends = f"{self.low:.3g} or more" if self.high is None else f"{self.high:.3g} or less"
        return ends if self.rate is None else f"{self.rate:.3g} ({ends})"


@dataclass(frozen=True)
class Exchange:
    """Two arms on one ground."""

    a: Side
    b: Side
    hidden: Hidden
    shared: float
    """The correlation of two scores of one seed, one of each arm."""
    reach: float = FARTHEST
    """Rates that ask for more than so many times A's largest size are refused."""

    @classmethod
    def of(cls, a: Seeds, b: Seeds, fitter: Fitter, known: Hidden) -> Exchange:
        power = steepness_of((a, b))
        first, second = Side.of(a, fitter, power), Side.of(b, fitter, power)
        return cls(first, second, known, together(first, second))

    def at(self, sizes: Sequence[float], level: float = 0.95) -> list[Rate]:
        return [self._at(float(n), level) for n in sizes]

    def overall(self, level: float = 0.95) -> Rate:
        """One rate for all sizes: at which the two errors are equal on average over the sizes of B
        whose worth in A was measured, weighed by how steep B is there. `n` and `error` are the
        means over the sizes of B.

        Right where the rate is the same at all sizes. Where its interval and that of a size do not
        meet there is none, and it says so (VARIES).
        """
        found = self._on_average(level)
        if any(_apart(found, one) for one in self.at(self.b.seeds.n.tolist(), level)):
            return replace(found, kind=VARIES, rate=None, low=None, high=None)
        return found

    def _on_average(self, level: float) -> Rate:
        sizes = self.b.seeds.n
        slope = -np.gradient(self.b.law.at(sizes)[0], np.log(sizes)) if len(sizes) > 1 else None
        weights = np.ones(len(sizes)) if slope is None else np.maximum(slope, 1e-12)
        least, most = self.a.seeds.n[0], self.a.seeds.n[-1]
        rates = np.geomspace(least / sizes[-1], most / sizes[0], _STEPS)
        partners = rates[:, None] * sizes[None, :]
        near = 1 + 1e-9
        used = (partners >= least / near) & (partners <= most * near)
        weight = used * weights
        weight = weight / np.maximum(weight.sum(axis=1, keepdims=True), 1e-300)
        errors = self.a.errors(partners.ravel()).reshape(partners.shape)
        gap = (weight * (errors - self.b.errors(sizes))).sum(axis=1)
        shares = self.a.shares(partners.ravel()).reshape(*partners.shape, -1)
        # what lies between two sizes is wrong alike at all of them
        doubt = np.sqrt(self.a.doubt(partners.ravel(), self.hidden, between=BETWEEN_OVER_ALL))
        doubt = doubt.reshape(partners.shape)
        a_shares = (weight[:, :, None] * shares).sum(axis=1)
        b_shares = weight @ self.b.shares(sizes)
        a_square = self.a.squares(a_shares) + (weight * doubt).sum(axis=1) ** 2
        b_square = self.b.squares(b_shares)
        common = self._common(a_shares, b_shares)
        asked = used.sum(axis=1) > 0
        mean = float(np.exp(np.log(sizes).mean()))
        error = float(self.b.errors(np.array([mean]))[0])
        return self._solved(
            mean,
            error,
            rates[asked],
            gap[asked],
            a_square[asked],
            b_square[asked],
            _SHOWN_OVER_ALL * common[asked],
            level,
        )

    def _at(self, n: float, level: float) -> Rate:
        one = np.array([n])
        error = float(self.b.errors(one)[0])
        first, last = self.b.seeds.n[0], self.b.seeds.n[-1]
        alone = len(self.b.seeds.n) == 1
        if n < first * (1 - _NEAR) or n > last * (1 + _NEAR if alone else self.reach):
            return Rate(n, error, OUTSIDE, None, None, None)
        b_shares = self.b.shares(one)
        b_square = self.b.squares(b_shares) + self.b.doubt(one, self.hidden)
        most = self.reach * self.a.seeds.n[-1]
        rates = np.geomspace(self.a.seeds.n[0] / n, most / n, _STEPS)
        gap = self.a.errors(rates * n) - error
        a_shares = self.a.shares(rates * n)
        a_square = self.a.squares(a_shares) + self.a.doubt(rates * n, self.hidden)
        common = _SHOWN * self._common(a_shares, b_shares)
        inside = int(np.searchsorted(rates * n, self.a.seeds.n[-1] * (1 + 1e-9))) - 1
        found = self._solved(n, error, rates, gap, a_square, b_square, common, level, inside)
        open_above = found.high is None and found.kind != UNKNOWN
        if open_above and self._never(error, float(b_square[0]), level):
            return replace(found, kind=NEVER, rate=None)
        return found

    def _common(self, a_shares: Floats, b_shares: Floats) -> Floats:
        """The covariance of sums of the mean scores of both."""
        of_a, of_b = self.a.seeds.seeds, self.b.seeds.seeds
        pairs = len(set(of_a) & set(of_b)) / (len(of_a) * len(of_b))
        both = self.a.spreads(a_shares) * self.b.spreads(b_shares)
        return np.asarray(self.shared * both * pairs)

    def _solved(
        self,
        n: float,
        error: float,
        rates: Floats,
        gap: Floats,
        a_square: Floats,
        b_square: Floats,
        common: Floats,
        level: float,
        inside: int = -1,
    ) -> Rate:
        """The rate at which a gap is 0, and those at which it may be, by the variances of its two
        sides and their covariance. The gap is of `rates`, ascending; `inside` is the last that asks
        for no more images of A than were run. If A is surely the better one there, it is so beyond,
        however little is known of its curve: more images do no harm.
        """
        from scipy.special import stdtrit

        square = a_square + b_square
        parts = a_square**2 / self.a.dof + b_square**2 / self.b.dof
        least = min(self.a.dof, self.b.dof)
        dof = np.where(parts > 0, square**2 / np.where(parts > 0, parts, 1.0), least)
        square = np.maximum(square - 2 * common, 0.25 * square)
        wide = -stdtrit(dof, (1 - level) / 2) * np.sqrt(square)
        if inside >= 0 and gap[inside] < -wide[inside]:
            beyond = slice(inside + 1, None)
            gap, wide = gap.copy(), wide.copy()
            gap[beyond], wide[beyond] = gap[inside], wide[inside]
        at = np.log(rates)
        point = _crossing(at, gap)
        rate = None if point is None else float(np.exp(point))
        below, above = gap > wide, gap < -wide
        if below.all() or above.all():
            far = (float(rates[-1]), None) if below.all() else (None, float(rates[0]))
            return Rate(n, error, OUTSIDE, None, *far)
        low = _end(at, gap - wide) if below[0] else None
        high = _end(-at[::-1], -(gap + wide)[::-1]) if above[-1] else None
        low, high = (
            (None if low is None else np.exp(low)),
            (None if high is None else np.exp(-high)),
        )
        if low is None and high is None:
            return Rate(n, error, UNKNOWN, rate, None, None)
        return Rate(n, error, RATE, rate, low, high)

    def _never(self, error: float, b_square: float, level: float) -> bool:
        """Whether A's floor is above an error of B, as sure as `level`, by every law that A's own
        scores do not rule out (`floors`).
        """
        from scipy.special import stdtrit

        floors, squares = self.a.floors(level)
        t = -float(stdtrit(self.a.dof, 1 - level))
        return bool(len(floors) and np.all(floors - error > t * np.sqrt(squares + b_square)))


def _apart(over_all: Rate, one: Rate) -> bool:
    """Whether the intervals of two rates do not meet. A rate that is larger than any number is
    above every other one.
    """
    if over_all.kind != RATE or one.kind == UNKNOWN:
        return False
    if one.kind == NEVER:
        return over_all.high is not None
    far = 1 + _CLEARLY
    below = over_all.high is not None and one.low is not None and over_all.high * far < one.low
    above = over_all.low is not None and one.high is not None and over_all.low > one.high * far
    return below or above


def _end(at: Floats, over: Floats) -> float:
    """Where something that begins above 0 first comes down to it, along lines."""
    first = int(np.argmax(over <= 0))
    share = over[first - 1] / (over[first - 1] - over[first])
    return float(at[first - 1] + share * (at[first] - at[first - 1]))


def _crossing(at: Floats, gap: Floats) -> float | None:
    """Where a falling gap first comes to 0, along lines; None where it does not."""
    if gap[0] == 0:
        return float(at[0])
    below = np.flatnonzero((gap[:-1] > 0) & (gap[1:] <= 0))
    if not len(below):
        return None
    first = int(below[0])
    share = gap[first] / (gap[first] - gap[first + 1])
    return float(at[first] + share * (at[first + 1] - at[first]))
