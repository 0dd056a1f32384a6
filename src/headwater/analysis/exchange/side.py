"""One arm with its law, and how its scores vary around it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.curves.hiding import Fitter, Hidden, factor, outlook
from headwater.analysis.curves.law import Law, Lines
from headwater.analysis.exchange.seeds import Seeds

if TYPE_CHECKING:
    from headwater.analysis.curves.curve import Floats

BETWEEN, BETWEEN_OVER_ALL = 0.25, 0.5
"""Of the spread of the laws that fit, between two sizes that were run: a curve bends less there
than they differ; of a rate at a size and of one for all sizes, where what is wrong between two
sizes is wrong alike [ours, by simulation].
"""
_STEEP, _STEEPEST = 1.2, 3.0
"""The prior's standard deviation of the power of n with which the variance of a score goes, and
the largest one [ours].
"""
_FLOOR_SIZES = 4
"""Sizes from which a floor can be told: three parameters go through three points."""
_EXACT = 1e-4
"""Of a curve's range: scores that vary by less are taken to vary so much."""
_NORMAL = 1.96
"""The 97.5 % quantile of a normal distribution."""


@dataclass(frozen=True)
class Side:
    """One arm with its law, and how its scores vary."""

    seeds: Seeds
    law: Law
    spread: Floats
    """[sizes] Standard deviation of one score around the mean of its size."""
    alike: float
    """The correlation of one seed's scores at two sizes, from 0 to 1."""
    dof: float
    """What the variance is worth, in degrees of freedom."""

    @classmethod
    def of(cls, seeds: Seeds, fitter: Fitter, steepness: float = 0.0) -> Side:
        """`steepness`: the variance of a score goes with n to this power."""
        left, spare = seeds.left, seeds.spare
        law = fitter.fit(seeds.curve)
        sizes = len(seeds.n)
        if not spare.sum():
            spread = np.full(sizes, law.noise.variance**0.5)
            return cls(seeds, law, spread, 0.0, max(law.noise.dof, 1.0))
        shape = (seeds.n / np.exp(np.log(seeds.n).mean())) ** (steepness / 2)
        variance = float(np.nansum((left / shape) ** 2) / spare.sum())
        alike = _alike(left / shape, variance)
        dof = float(spare.sum()) / (1 + (sizes - 1) * alike**2)
        return cls(seeds, law, variance**0.5 * shape, alike, max(dof, 1.0))

    @cached_property
    def means(self) -> Floats:
        return np.asarray(np.nanmean(self.seeds.errors, axis=0))

    @cached_property
    def _left(self) -> Floats:
        return self.means - self.law.at(self.seeds.n)[0]

    def shares(self, n: Floats) -> Floats:
        """[points, sizes]: how much of each size's score stands in the error at n."""
        at, knots = np.log(n), np.log(self.seeds.n)
        return np.stack([np.interp(at, knots, row) for row in np.eye(len(knots))], axis=1)

    def errors(self, n: Floats) -> Floats:
        """At n; beyond the largest size what the law leaves over fades within a factor of 2."""
        beyond = np.log2(np.maximum(n / self.seeds.n[-1], 1.0))
        left = self.shares(n) @ self._left * np.maximum(0.0, 1 - beyond)
        return np.asarray(self.law.at(n)[0] + left)

    def squares(self, shares: Floats) -> Floats:
        """The variance of sums of scores, each the mean over its seeds."""
        seeds = np.maximum(np.isfinite(self.seeds.errors).sum(axis=0), 1)
        each = shares * self.spread / np.sqrt(seeds)
        own, common = (each**2).sum(axis=-1), each.sum(axis=-1) ** 2
        return np.asarray(self.alike * common + (1 - self.alike) * own)

    def spreads(self, shares: Floats) -> Floats:
        """Standard deviations of sums of scores of one seed that go up and down together."""
        return np.asarray(shares @ self.spread)

    def floors(self, level: float) -> tuple[Floats, Floats]:
        """(floors, their variances) of the laws, one for each exponent, that the scores do not rule
        out, by least squares with no prior: a small exponent has a floor far below, and where the
        curve bends too little to tell it from a large one, nobody knows the floor. Empty where no
        law fits, where the least exponent does, which is all but a line over log n and has no
        floor (a curve that has not left chance is flat), and for fewer than `_FLOOR_SIZES` sizes.
        """
        from scipy.special import stdtrit

        if len(self.seeds.n) < _FLOOR_SIZES:
            return np.empty(0), np.empty(0)
        seeds = self.seeds.spare + 1
        extent = float(np.ptp(self.means)) or 1.0
        own = np.maximum(self.spread**2 * (1 - self.alike) / seeds, (_EXACT * extent) ** 2)
        lines = Lines.of(self.seeds.n, self.means, 1 / own)
        left = lines.left
        most = float(stdtrit(self.dof, (1 - level) / 2)) ** 2
        kept = left - left.min() <= most
        if kept[0] or left.min() > most * (len(own) - 2):
            return np.empty(0), np.empty(0)
        together = self.alike * float(np.mean(self.spread**2 / seeds))
        variance = 1 / (1 / own).sum() + lines.centres**2 / lines.squares + together
        return lines.floors[kept], variance[kept]

    def _between(self, n: Floats, share_of: float) -> Floats:
        """Of errors between two sizes: the laws' variance, by how far the nearer size is."""
        sizes = self.seeds.n
        if len(sizes) < 2:
            return np.zeros(len(n))
        place = np.clip(np.searchsorted(sizes, n) - 1, 0, len(sizes) - 2)
        at, low, high = np.log(n), np.log(sizes[place]), np.log(sizes[place + 1])
        share = np.clip((at - low) / (high - low), 0.0, 1.0)
        _, sd = self.law.at(n)
        return np.asarray((share_of * 4 * share * (1 - share) * sd) ** 2)

    def doubt(self, n: Floats, known: Hidden, between: float = BETWEEN) -> Floats:
        """The variance of errors that nobody measured: beyond the largest size as hiding the ends
        of curves shows it, between two sizes as the laws that fit differ there, 0 at a size.
        """
        out = self._between(n, between)
        far = n > self.seeds.n[-1] * (1 + 1e-9)
        if far.any():
            _, scale = outlook(self.law, n[far])
            ratios = np.log(n[far] / self.seeds.n[-1])
            wide = np.array([factor(known, self.law, ratio) for ratio in ratios])
            out[far] = (scale * wide / _NORMAL) ** 2
        return out


def steepness_of(sides: Sequence[Seeds]) -> float:
    """The power of n with which the variance of a score goes, the same for all: its posterior mean
    by the squares of what seeds leave over, with a normal prior around 0 [ours]. Below 0 where
    larger sizes vary less.
    """
    grid = np.linspace(-_STEEPEST, _STEEPEST, 61)
    score = -(grid**2) / (2 * _STEEP**2)
    for side in sides:
        squares, spare = np.nansum(side.left**2, axis=0), side.spare
        if not spare.any() or not squares.any():
            continue
        at = np.log(side.n) - (spare * np.log(side.n)).sum() / spare.sum()
        variance = (squares * np.exp(-grid[:, None] * at)).sum(axis=1) / spare.sum()
        score = score - spare.sum() / 2 * np.log(variance)
    weights = np.exp(score - score.max())
    return float((grid * weights).sum() / weights.sum())


def together(a: Side, b: Side) -> float:
    """The correlation of the scores of one seed in two arms (the same few-shot draws, say), not
    below 0: it makes differences surer than their parts.
    """
    pairs = sorted(set(a.seeds.seeds) & set(b.seeds.seeds))
    if len(pairs) < 2:
        return 0.0
    means = []
    for side in (a, b):
        errors = side.seeds.rows_of(pairs)
        there = np.isfinite(errors)
        mean = np.nansum(errors, axis=0) / np.maximum(there.sum(axis=0), 1)
        left = np.where(there, errors - mean, 0.0) / np.maximum(side.spread, 1e-12)
        means.append(left.sum(axis=1) / np.maximum(there.sum(axis=1), 1))
    return float(np.clip((means[0] * means[1]).sum() / (len(pairs) - 1), 0.0, 1.0))


def _alike(left: Floats, variance: float) -> float:
    """The mean correlation of what is left of one seed at two sizes, not below 0."""
    seeds, sizes = left.shape
    if sizes < 2 or seeds < 2 or variance <= 0:
        return 0.0
    filled = np.nan_to_num(left)
    between = (filled.sum(axis=1) ** 2 - (filled**2).sum(axis=1)).sum() / (sizes * (sizes - 1))
    return float(np.clip(between / (seeds - 1) / variance, 0.0, 1.0))
