"""The law: error = E + B n^-a, fitted from where a curve has left chance.

For each exponent a of a grid the best E and B are a linear regression, exact and at once (variable
projection, Golub and Pereyra 1973); no optimiser, no starts. The grid is then weighed: likelihood
times a prior on a. What is predicted is the mean under these weights, so that a curve whose points
cannot tell the exponent says so by its spread and not by the luck of one best fit.

Two things are ours, found on the public few-shot curves of Alabdulmohsin et al. 2022 (docs/log.md):

- A law is convex over log n, and a curve that leaves chance is not: it falls slowly, fast, slowly.
  The fit begins where the fall per doubling is first near its steepest (`knee`), and not earlier
  than a factor of `RANGE` before the last point: what lies far back says less about what comes.
- Points of one training run are alike: many of them are worth about `WORTH` independent ones.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.curves.curve import Curve

if TYPE_CHECKING:
    from headwater.analysis.curves.curve import Floats

EXPONENTS = np.geomspace(0.03, 3.0, 70)
"""The grid over a: its ends are the bounds."""
_LOG_EXPONENTS = np.log(EXPONENTS)
CENTRE, SPREAD = 0.4, 0.5
"""The prior: log a is normal around log 0.4 with this standard deviation [ours]."""
WORTH = 8.0
RANGE = 4.0
LEAST_POINTS = 5
"""So many points are fitted where the curve has them, also if they reach further back."""
KNEE_SHARE = 0.8
"""The knee is the first point whose fall per doubling is so much of the steepest [ours]."""
_SEES_A_KNEE = 9
"""So many points more than three are needed to see that the knee is past [ours, from learning
curves of other learners on photos, docs/log.md].
"""
_GUESSED = 0.25
"""Of the range of a curve that has too few points to show its noise [ours]."""
_NOISE_FLOOR = 1e-6
"""Of the curve's range: points that lie on a law exactly still have a spread."""


@dataclass(frozen=True)
class Noise:
    """The variance of a point around the law, and what it is worth in degrees of freedom."""

    variance: float
    dof: float


@dataclass(frozen=True)
class Law:
    """The laws that fit a curve, one for each exponent of the grid, with their weights."""

    first: int
    """The first point that was fitted; those before are left out."""
    past: float
    """Doublings of n from the knee to the last point, fewer where few points could show a knee."""
    doublings: float
    """The same, however few points there are."""
    points: int
    noise: Noise
    reference: float
    """The n of the last point: laws are E + B (n / reference)^-a."""
    floors: Floats
    """E for each exponent."""
    falls: Floats
    """B for each exponent; E + B is the error at the last point."""
    weights: Floats
    """Of each exponent; they sum to 1."""
    _centres: Floats
    _squares: Floats

    @property
    def floor(self) -> float:
        return float(self.weights @ self.floors)

    @property
    def fall(self) -> float:
        return float(self.weights @ self.falls)

    @property
    def exponent(self) -> float:
        """The mean of log a, as an exponent."""
        return float(np.exp(self.weights @ _LOG_EXPONENTS))

    def at(self, n: Floats) -> tuple[Floats, Floats]:
        """(errors at n, their standard deviations as values of the law, without noise)."""
        x = (np.asarray(n, dtype=np.float64)[None, :] / self.reference) ** -EXPONENTS[:, None]
        each = self.floors[:, None] + self.falls[:, None] * x
        mean = self.weights @ each
        between = self.weights @ (each - mean) ** 2
        known = min(float(self.points), WORTH)
        spare = (x - self._centres[:, None]) ** 2 / self._squares[:, None] * self.points / known
        within = self.weights @ (1 / known + spare) * self.noise.variance
        return mean, np.sqrt(between + within)


def knee(curve: Curve) -> int:
    """The point at which a curve has left chance: the first whose fall per doubling of n is
    `KNEE_SHARE` of the steepest or more. Falls are slopes of lines fitted around each point, over a
    factor of 2 both ways, or two neighbours. 0 where there are too few points to see one.
    """
    if len(curve.n) <= LEAST_POINTS:
        return 0
    at = np.log(curve.n)
    width = max(np.log(2.0), 2.1 * (at[-1] - at[0]) / (len(at) - 1))
    near = np.maximum(0.0, 1.0 - ((at[:, None] - at[None, :]) / width) ** 2)
    total = near.sum(axis=1)
    middle, height = near @ at / total, near @ curve.error / total
    square = near @ (at * at) - total * middle**2
    product = near @ (at * curve.error) - total * middle * height
    falls = np.where(square > 1e-9, -product / np.maximum(square, 1e-9), -np.inf)
    steepest = falls.max()
    return int(np.argmax(falls >= KNEE_SHARE * steepest)) if steepest > 0 else 0


def seen_past(curve: Curve, start: int) -> float:
    """Doublings from a knee to the last point, as far as it is known that there is none later: with
    few points a knee cannot be seen, and they count for less.
    """
    seen = min(1.0, max(0.0, (len(curve.n) - 3) / _SEES_A_KNEE))
    return float(np.log2(curve.n[-1] / curve.n[start])) * seen


def first_fitted(curve: Curve, start: int) -> int:
    """The first point of the fit: the knee or `RANGE` before the end, whichever is later, but so
    that `LEAST_POINTS` are left.
    """
    back = int(np.searchsorted(curve.n, curve.n[-1] / RANGE * (1 - 1e-9)))
    return max(0, min(max(start, back), len(curve.n) - LEAST_POINTS))


@dataclass(frozen=True)
class Lines:
    """Least squares of errors on n^-a, for each exponent a of the grid; arrays [exponents]."""

    x: Floats
    """[exponents, points]: (n / the last n)^-a."""
    floors: Floats
    falls: Floats
    """Not below 0."""
    centres: Floats
    """Weighted means of x."""
    squares: Floats
    """Weighted squares of x around them."""
    error: Floats
    weight: Floats

    @classmethod
    def of(cls, n: Floats, error: Floats, weight: Floats | None = None) -> Lines:
        """`weight` is of each point; they count alike when it is left out."""
        weight = np.ones(len(n)) if weight is None else weight
        x = (n / n[-1])[None, :] ** -EXPONENTS[:, None]
        total = weight.sum()
        centres, mean = x @ weight / total, float(error @ weight / total)
        apart = x - centres[:, None]
        squares = np.maximum(apart**2 @ weight, 1e-12)
        falls = np.maximum(apart @ (weight * (error - mean)) / squares, 0.0)
        return cls(x, mean - falls * centres, falls, centres, squares, error, weight)

    def not_below(self, least: float) -> Lines:
        """The best of those that end at `least` or above."""
        below = self.floors < least
        through = self.x @ (self.weight * (self.error - least)) / (self.x**2 @ self.weight)
        falls = np.where(below, np.maximum(through, 0.0), self.falls)
        return replace(self, falls=falls, floors=np.where(below, least, self.floors))

    @property
    def left(self) -> Floats:
        """[exponents]: weighted squares of what they leave over."""
        off = self.error - self.floors[:, None] - self.falls[:, None] * self.x
        return np.asarray(off**2 @ self.weight)


def fit(curve: Curve, *, least: float | None, noise: Noise | None = None) -> Law:
    """The laws of a curve. `least` is the least error there can be, None where there is no bound.
    `noise` is what is known of it from elsewhere; left out, it is what this curve's points leave
    over. A curve of one point is a law that does not fall.
    """
    start = knee(curve)
    first = first_fitted(curve, start)
    n, error = curve.n[first:], curve.error[first:]
    points = len(n)
    lines = Lines.of(n, error)
    if least is not None:
        lines = lines.not_below(least)
    left = lines.left
    found = noise or own_noise(curve, float(left.min()), points)
    share = min(points, WORTH) / points
    logs = -0.5 * share * left / found.variance
    logs = logs - 0.5 * ((_LOG_EXPONENTS - np.log(CENTRE)) / SPREAD) ** 2
    weights = np.exp(logs - logs.max())
    return Law(
        first=first,
        past=seen_past(curve, start),
        doublings=float(np.log2(curve.n[-1] / curve.n[start])),
        points=points,
        noise=found,
        reference=float(n[-1]),
        floors=lines.floors,
        falls=lines.falls,
        weights=weights / weights.sum(),
        _centres=lines.centres,
        _squares=lines.squares,
    )


def own_noise(curve: Curve, left: float, points: int) -> Noise:
    """The noise by what the best law leaves over, on all degrees of freedom but three. A law goes
    through three points whatever their noise is: of so few it is guessed from how far apart they
    lie, and worth no degree of freedom.
    """
    dof = max(points - 3, 0)
    extent = float(curve.error.max() - curve.error.min())
    extent = extent or float(np.abs(curve.error).max()) or 1.0
    if not dof:
        return Noise((_GUESSED * extent) ** 2, 0.0)
    return Noise(max(left / dof, (_NOISE_FLOOR * extent) ** 2), float(dof))
