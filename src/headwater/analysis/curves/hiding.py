"""Intervals of what is predicted, from what hiding the ends of curves shows.

The law is fitted to the first part of every curve of the table and asked for later points that the
curve has. How far such a hidden prediction is off, over the scale that the law itself states, is a
score; the interval of a new prediction is its scale times the quantile of the scores of like
predictions (split conformal prediction with normalised scores: Papadopoulos et al. 2002).

Like predictions are of curves as many doublings past their knee, asked as far beyond their last
point. A curve counts once, however often its end was hidden (Dunn et al. 2022). Where a table has
few like predictions, the place of those that are missing is taken by what the public few-shot
curves show (`KNOWN`): a table of two curves has an interval, too.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.curves.curve import Curve
from headwater.analysis.curves.law import LEAST_POINTS, Law, fit
from headwater.analysis.curves.noise import common_noise, mean_noise, measured_noise, together

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headwater.analysis.curves.curve import Floats
    from headwater.analysis.curves.law import Noise

RATIOS = np.array([1.25, 1.5, 1.75, 2, 2.5, 3, 4, 5, 6, 8, 10, 12, 16, 24, 32])
"""How far beyond the last point that is shown the hidden ones are asked for."""
PLACES = 10
"""Ends that are hidden of each curve, at most."""
DRIFT = 0.15
"""Of the fall that a law foretells: so much of it is doubted, however well the points lie on the
law [ours, from the public few-shot curves].
"""
_LESS_AFAR = 0.2
"""The spread of the laws that fit grows faster with the ratio than the errors of predictions do: a
scale is divided by the ratio to this power [ours, from the same curves].
"""
_FARTHEST_SEEN = 10.0
"""Beyond this ratio nothing was seen, and no scale is made smaller."""
KNOWN = ((0.0, 7.0), (0.5, 5.0), (1.0, 3.2), (2.0, 2.2))
"""(doublings past the knee, the 95 % quantile of scores), from the public few-shot curves [ours,
docs/log.md]; in between along lines, beyond the last as there.
"""
_KNOWN_CURVES = 30.0
"""So many curves the known scores stand for [ours]."""
_ENOUGH = 150.0
"""Where a table has so many like curves, the known ones count for nothing [ours]."""
_LIKE_PAST, _LIKE_RATIO = 2.0, np.log(2.5)
"""Predictions this far apart are not alike, in doublings past the knee and in log of the ratio
[ours]: wide enough for the shortened curves of a table whose points are a factor 2 apart.
"""
_FAR_PAST = 5.0
"""Curves that are farther past their knee than this are all alike."""
_TAIL_DOF = 6.0
"""Scores that are known have the tails of Student's t with so many degrees of freedom [ours]."""


@dataclass(frozen=True)
class Hidden:
    """Hidden predictions, arrays of one length."""

    curve: NDArray[np.int64]
    doublings: Floats
    """From the knee to the last point that was shown."""
    log_ratio: Floats
    """Of the n asked for to the last one that was shown."""
    score: Floats
    """How far off, over the stated scale; not below 0."""

    def without(self, curve: int) -> Hidden:
        """Those of the other curves."""
        kept = self.curve != curve
        return Hidden(
            self.curve[kept], self.doublings[kept], self.log_ratio[kept], self.score[kept]
        )


@dataclass(frozen=True)
class Fitter:
    """How the curves of one table are fitted: alike."""

    least: float | None
    """The least error there can be."""
    common: Noise | None
    """What their noise has in common."""
    of_groups: Mapping[str, Noise]
    """The same of groups that have enough curves of their own."""
    others: Noise | None = None
    """For a curve that shows no noise of its own, where too few do to have one in common: the mean
    of those that do.
    """

    def fit(self, curve: Curve) -> Law:
        first = fit(curve, least=self.least)
        common = self.of_groups.get(curve.group, self.common)
        own, measured = first.noise, measured_noise(curve.upto_end(first.first))
        # seeds say nothing of how far a law lies from its curve, so they only raise the noise
        if measured is not None and (measured.variance > own.variance or not own.dof):
            own = together(own, measured)
        if common is None and not own.dof:
            common = self.others
        return fit(curve, least=self.least, noise=together(own, common))


def fitter_of(curves: Sequence[Curve], least: float | None) -> Fitter:
    """How curves are fitted together. `least` is the least error there can be."""
    every: list[Noise] = []
    of_groups: dict[str, list[Noise]] = {}
    for curve in curves:
        every.append(fit(curve, least=least).noise)
        if curve.group:
            of_groups.setdefault(curve.group, []).append(every[-1])
    known = {name: common_noise(noises) for name, noises in of_groups.items()}
    enough = {name: noise for name, noise in known.items() if noise is not None}
    return Fitter(least, common_noise(every), enough, mean_noise(every))


def outlook(law: Law, n: Floats) -> tuple[Floats, Floats]:
    """(errors at n as a law foretells them, the scale of how far off they may be)."""
    from scipy.special import stdtrit

    mean, sd = law.at(n)
    dof = np.clip(law.noise.dof, 1.0, 200.0)
    tails = float(stdtrit(dof, 0.025) / -1.96)
    fall = law.floor + law.fall - mean
    scale = np.sqrt((sd**2 + law.noise.variance) * tails**2 + (DRIFT * fall) ** 2)
    return mean, scale / np.clip(n / law.reference, 1.0, _FARTHEST_SEEN) ** _LESS_AFAR


def hidden(curves: Sequence[Curve], fitter: Fitter) -> Hidden:
    """All hidden predictions of some curves."""
    found: list[tuple[int, float, Floats, Floats]] = []
    for number, curve in enumerate(curves):
        for count in _places(curve):
            shown = curve.upto(count)
            asked = _asked(curve, count)
            law = fitter.fit(shown)
            mean, scale = outlook(law, curve.n[asked])
            score = np.abs(curve.error[asked] - mean) / scale
            found.append((number, law.doublings, np.log(curve.n[asked] / shown.n[-1]), score))
    if not found:
        empty = np.empty(0)
        return Hidden(np.empty(0, np.int64), empty, empty, empty)
    lengths = [len(ratio) for _, _, ratio, _ in found]
    return Hidden(
        np.repeat([number for number, *_ in found], lengths),
        np.repeat([past for _, past, _, _ in found], lengths),
        np.concatenate([ratio for _, _, ratio, _ in found]),
        np.concatenate([score for *_, score in found]),
    )


def factor(known: Hidden, law: Law, log_ratio: float, level: float = 0.95) -> float:
    """By how much the scale of a law is multiplied for an interval that holds with probability
    `level`, at a log of the ratio of n to the last one.
    """
    apart = np.minimum(known.doublings, _FAR_PAST) - min(law.doublings, _FAR_PAST)
    like = np.maximum(0.0, 1 - (apart / _LIKE_PAST) ** 2)
    like = like * np.maximum(0.0, 1 - ((known.log_ratio - log_ratio) / _LIKE_RATIO) ** 2)
    at = like > 0
    curve, like, score = known.curve[at], like[at], known.score[at]
    total = np.bincount(curve, like)
    most = np.zeros(len(total))
    np.maximum.at(most, curve, like)
    weight = like / total[curve] * most[curve]
    curves = float(most.sum())
    prior = _KNOWN_CURVES * max(0.0, 1 - curves / _ENOUGH)
    usual = _usual_scores() * usual_factor(law.past)
    scores = np.concatenate([usual, score])
    weights = np.concatenate([np.full(len(usual), prior / len(usual)), weight])
    order = np.argsort(scores)
    reached = np.cumsum(weights[order]) / (weights.sum() + 0.5)
    return float(scores[order[min(int(np.searchsorted(reached, level)), len(order) - 1)]])


def usual_factor(past: float) -> float:
    """The 95 % quantile of the scores that are known of public curves, `past` doublings after the
    knee.
    """
    places, quantiles = np.array(KNOWN).T
    return float(np.interp(past, places, quantiles))


def _usual_scores() -> Floats:
    """Twenty scores with the tails of Student's t, whose 95 % quantile is 1."""
    from scipy.special import stdtrit

    steps = (np.arange(20) + 0.5) / 20
    scores = np.asarray(stdtrit(_TAIL_DOF, (1 + steps) / 2), dtype=np.float64)
    return scores / float(stdtrit(_TAIL_DOF, 0.975))


def _places(curve: Curve) -> list[int]:
    """How many points of a curve are shown, each time its end is hidden."""
    if len(curve.n) <= LEAST_POINTS:
        return []
    doubled = int(np.searchsorted(curve.n, 2 * curve.n[0]))
    first = min(max(doubled, LEAST_POINTS), len(curve.n) - 1)
    ends = np.geomspace(curve.n[first], curve.n[-1] / RATIOS[0], PLACES)
    counts = np.searchsorted(curve.n, ends * (1 + 1e-4))
    return sorted({int(c) for c in counts if LEAST_POINTS <= c < len(curve.n)})


def _asked(curve: Curve, count: int) -> NDArray[np.int64]:
    """The points after the first `count` that are nearest to each ratio."""
    later = np.log(curve.n[count:] / curve.n[count - 1])
    most = 1.1 * curve.n[-1] / curve.n[count - 1]
    wanted = np.log(RATIOS[most >= RATIOS])
    if not len(wanted):
        return np.array([count])
    nearest = np.abs(later[None, :] - wanted[:, None]).argmin(axis=1)
    return count + np.unique(nearest)
