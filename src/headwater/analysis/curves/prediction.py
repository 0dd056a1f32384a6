"""What a curve is at an n, inside of what was measured and beyond it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.analysis.curves.best_so_far import HIDDEN_NOISE, best_so_far
from headwater.analysis.curves.curve import Curve, Unit
from headwater.analysis.curves.hiding import Fitter, Hidden, factor, fitter_of, hidden, outlook
from headwater.analysis.curves.inside import inside
from headwater.analysis.curves.law import CENTRE, EXPONENTS, LEAST_POINTS, SPREAD
from headwater.analysis.curves.tables import CurveTable
from headwater.analysis.words import count

if TYPE_CHECKING:
    from headwater.analysis.curves.curve import Floats
    from headwater.analysis.curves.law import Law

LAW = "E + B n^-a"
INSIDE = "between points"
FARTHEST = 4.0
"""Times the largest n that was measured: a prediction beyond it is given, and not told [the
issue's and our default].
"""


@dataclass(frozen=True)
class Prediction:
    """A score that was not measured. Scores are in the table's unit."""

    curve: str
    n: float
    prediction: float
    low: float
    high: float
    """The ends of the 95 % interval of a new measurement there."""
    form: str
    """LAW, or INSIDE where n is within what was measured."""
    told: bool
    """False where the curve does not bear it."""
    why: str
    """Why it is not told; '' where it is."""

    def facts(self) -> dict[str, Any]:
        """Plain values."""
        return asdict(self)


@dataclass(frozen=True)
class Predictor:
    """All curves of a table, fitted, and what hiding their ends showed."""

    curves: tuple[Curve, ...]
    unit: Unit
    fitter: Fitter
    laws: tuple[Law, ...]
    hidden: Hidden
    best_so_far: tuple[bool, ...]
    """Curves whose single scores lie further off than can be seen."""

    @classmethod
    def of(cls, table: CurveTable) -> Predictor:
        curves = tuple(table.curves.values())
        fitter = fitter_of(curves, table.unit.least)
        laws = tuple(fitter.fit(curve) for curve in curves)
        smoothed = tuple(bool(each) for each in best_so_far(curves, laws))
        return cls(curves, table.unit, fitter, laws, hidden(curves, fitter), smoothed)

    def at(self, n: Sequence[float], level: float = 0.95) -> list[Prediction]:
        """Each curve at each n, curve by curve."""
        return [one for i in range(len(self.curves)) for one in self.of_one(i, n, level)]

    def of_one(
        self, number: int, n: Sequence[float] | Floats, level: float = 0.95
    ) -> list[Prediction]:
        """One curve, by its place in `curves`, at each n."""
        last = self.curves[number].n[-1]
        return [
            self._beyond(number, float(one), level)
            if one > last
            else self._between(number, float(one), level)
            for one in n
        ]

    def _beyond(self, number: int, n: float, level: float) -> Prediction:
        curve, law = self.curves[number], self.laws[number]
        mean, scale = outlook(law, np.array([n]))
        wide = factor(self.hidden, law, float(np.log(n / curve.n[-1])), level)
        half = self._with_unseen(number, float(wide * scale[0]), level)
        why = self._untold(curve, law, n, float(mean[0]))
        return self._said(curve, n, float(mean[0]), half, LAW, why)

    def _with_unseen(self, number: int, half: float, level: float) -> float:
        """The half of an interval, with the noise that a curve of the best so far does not show."""
        from scipy.special import ndtri

        if not self.best_so_far[number]:
            return half
        unseen = float(ndtri((1 + level) / 2)) * HIDDEN_NOISE
        return float(np.sqrt(half**2 + unseen**2 * self.laws[number].noise.variance))

    def _between(self, number: int, n: float, level: float) -> Prediction:
        curve, law = self.curves[number], self.laws[number]
        if n < curve.n[0]:
            return self._before(number, n, level)
        mean, half = inside(curve, law, n, level)
        half = self._with_unseen(number, half, level)
        few = len(curve.n) < LEAST_POINTS
        return self._said(curve, n, mean, half, INSIDE, _few(curve) if few else "")

    def _before(self, number: int, n: float, level: float) -> Prediction:
        """Before the first point: the law backwards, doubted by all that it rises."""
        curve, law = self.curves[number], self.laws[number]
        mean = float(law.at(np.array([n]))[0][0])
        _, half = inside(curve, law, curve.n[0], level)
        rise = abs(mean - float(curve.error[0]))
        half = self._with_unseen(number, half + 2 * rise, level)
        why = "before the first point that was measured"
        return self._said(curve, n, mean, half, LAW, why)

    def _said(
        self, curve: Curve, n: float, error: float, half: float, form: str, why: str
    ) -> Prediction:
        least = self.unit.least
        ends = np.array([error - half, error + half])
        if least is not None:
            ends = np.maximum(ends, least)
        if self.unit.rising and self.unit.best is not None:
            ends = np.minimum(ends, self.unit.best)
        scores = np.sort(self.unit.score(ends))
        score = float(self.unit.score(np.clip(error, ends.min(), ends.max())[None])[0])
        low, high = float(scores[0]), float(scores[1])
        return Prediction(curve.name, n, score, low, high, form, not why, why)

    def _untold(self, curve: Curve, law: Law, n: float, mean: float) -> str:
        """Why a curve does not bear a prediction; '' where it does."""
        if len(curve.n) < LEAST_POINTS:
            return _few(curve)
        if np.ptp(curve.error) == 0:
            return "it does not move, as a curve that has not left chance does not"
        if law.past < 0.5:
            return "its fall has not begun to slow down, so that no law can be seen"
        if n > 1.01 * FARTHEST * curve.n[-1]:
            return f"more than {FARTHEST:g} times what was measured"
        return self._gate(curve, n, mean)

    def _gate(self, curve: Curve, n: float, mean: float) -> str:
        """Hides the end of the curve, as far from its last point as n is, and predicts that point:
        no more is told than the fall that is foretold, if the error there exceeds it.
        """
        shown = int(np.searchsorted(curve.n, curve.n[-1] ** 2 / n * (1 + 1e-6)))
        shown = min(max(shown, LEAST_POINTS - 1), len(curve.n) - 1)
        off = self.held_out(curve, shown)
        law = self.fitter.fit(curve)
        foretold = law.floor + law.fall - mean
        if abs(off) <= foretold:
            return ""
        return "with its end hidden it is missed by more than it is foretold to fall"

    def held_out(self, curve: Curve, shown: int) -> float:
        """How far the last point lies above the law of its first `shown` points."""
        mean, _ = self.fitter.fit(curve.upto(shown)).at(curve.n[-1:])
        return float(curve.error[-1] - mean[0])


def _few(curve: Curve) -> str:
    return f"{count(len(curve.n), 'point')}, and {LEAST_POINTS} are needed"


def checklist(predictor: Predictor) -> dict[str, dict[str, Any]]:
    """By curve: how it was fitted, as a reader needs it to fit it again (after the checklist of Li
    et al. 2025, arXiv 2502.18969). Errors are in the table's unit; `floor` and `fall` are E and B
    with n over the last n, means over the exponents by their weights.
    """
    found = {}
    for curve, law in zip(predictor.curves, predictor.laws, strict=True):
        off = predictor.held_out(curve, len(curve.n) - 1) if len(curve.n) > LEAST_POINTS else None
        found[curve.name] = fit_facts(curve, law, least=predictor.unit.least, held_out=off)
    return found


def fit_facts(
    curve: Curve, law: Law, *, least: float | None, held_out: float | None
) -> dict[str, Any]:
    """How one curve was fitted; `held_out` is by how much its last point is missed when it is
    hidden.
    """
    return {
        "form": LAW,
        "optimiser": f"none: E and B by least squares at each of {len(EXPONENTS)} exponents",
        "starts": 0,
        "bounds": {
            "a": [float(EXPONENTS[0]), float(EXPONENTS[-1])],
            "E": [least, None],
            "B": [0.0, None],
        },
        "prior": f"log a is normal around log {CENTRE:g} with standard deviation {SPREAD:g}",
        "weights": "equal",
        "points": len(curve.n),
        "points_left_out": law.first,
        "from_n": float(curve.n[law.first]),
        "floor": law.floor,
        "fall": law.fall,
        "exponent": law.exponent,
        "noise": float(np.sqrt(law.noise.variance)),
        "held_out_error": held_out,
    }
