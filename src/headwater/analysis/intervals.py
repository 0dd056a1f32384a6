"""t-intervals over paired seeds, and how many seeds an answer would need.

An interval here speaks of one thing: what another seed (other initial weights, order, few-shot
draws) would do to the number on *this* test set. It says nothing about other test images. It is
mean ± t(n-1) * sd / sqrt(n), Student's interval, which `scipy.stats.ttest_1samp` and, for
differences of pairs, `ttest_rel` also give. With one seed there is no interval, and both ends are
None.

Several comparisons in one family share the error: with m comparisons each interval is made at 1 -
(1 - level) / m (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

LEVEL = 0.95
SEARCH_LIMIT = 200
"""More seeds than this are not recommended to anybody: beyond it the answer is "not
identifiable".
"""


@dataclass(frozen=True)
class Interval:
    """A mean over seeds with the ends of its interval, all in the unit of the values; None where it
    cannot be known.
    """

    mean: float | None
    low: float | None
    high: float | None
    sd: float | None
    """Standard deviation over seeds (n - 1 in the denominator); None below two seeds."""
    num_seeds: int

    @property
    def excludes_zero(self) -> bool:
        return self.low is not None and self.high is not None and (self.low > 0 or self.high < 0)


NO_INTERVAL = Interval(None, None, None, None, 0)


def t_quantile(dof: int, *, level: float = LEVEL, comparisons: int = 1) -> float:
    """Two-sided critical value of Student's t at `level`, Bonferroni-corrected for
    `comparisons`.
    """
    from scipy.special import stdtrit

    tail = (1 - level) / max(1, comparisons) / 2
    return float(-stdtrit(dof, tail))


def t_interval(values: Sequence[float], *, level: float = LEVEL, comparisons: int = 1) -> Interval:
    """The interval of the mean of one value per seed.

    NaN values must be left out by the caller, who knows why they are missing.
    """
    n = len(values)
    if n == 0:
        return NO_INTERVAL
    mean = math.fsum(values) / n
    if n == 1:
        return Interval(mean, None, None, None, 1)
    sd = math.sqrt(math.fsum((v - mean) ** 2 for v in values) / (n - 1))
    half = t_quantile(n - 1, level=level, comparisons=comparisons) * sd / math.sqrt(n)
    return Interval(mean, mean - half, mean + half, sd, n)


def seeds_needed(interval: Interval, *, level: float = LEVEL, comparisons: int = 1) -> int | None:
    """About how many more paired seeds until the interval would exclude 0, if the mean and the
    spread stay as they are.

    0 where it excludes 0 already. None (not identifiable) where the spread is unknown (fewer than
    two seeds), the mean is 0, or more than `SEARCH_LIMIT` seeds would be needed. The figure is a
    guess from few seeds; it is for planning, never for stopping early.
    """
    if interval.mean is None or interval.sd is None:
        return None
    if interval.excludes_zero:
        return 0
    if abs(interval.mean) < 1e-12:
        return None
    for n in range(interval.num_seeds + 1, SEARCH_LIMIT + 1):
        quantile = t_quantile(n - 1, level=level, comparisons=comparisons)
        if quantile * interval.sd / math.sqrt(n) < abs(interval.mean):
            return n - interval.num_seeds
    return None


def most_needed(needs: Iterable[int | None]) -> int | None:
    """The largest of several numbers of seeds, 0 of none; None where one of them is unknown."""
    most = 0
    for needed in needs:
        if needed is None:
            return None
        most = max(most, needed)
    return most
