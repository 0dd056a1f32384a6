"""Inside of what was measured: a monotone curve between points, and how far it may be off."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.curves.curve import Curve

if TYPE_CHECKING:
    from headwater.analysis.curves.curve import Floats
    from headwater.analysis.curves.law import Law


def monotone(curve: Curve) -> Floats:
    """The errors, made to fall from point to point: the nearest such errors in least squares,
    weighed by seeds (pool adjacent violators, Ayer et al. 1955).
    """
    from scipy.optimize import isotonic_regression

    weights = curve.repeats.astype(np.float64)
    return np.asarray(
        isotonic_regression(curve.error, weights=weights, increasing=False).x, dtype=np.float64
    )


def between(curve: Curve, n: Floats) -> Floats:
    """Errors at n within the curve's range: monotone cubic pieces over log n (Fritsch and Carlson
    1980). Outside of it the nearest point's.
    """
    from scipy.interpolate import PchipInterpolator

    if len(curve.n) == 1:
        return np.full(len(n), curve.error[0])
    at = np.clip(np.log(n), np.log(curve.n[0]), np.log(curve.n[-1]))
    return np.asarray(PchipInterpolator(np.log(curve.n), monotone(curve))(at), dtype=np.float64)


def inside(curve: Curve, law: Law, n: float, level: float) -> tuple[float, float]:
    """(error at n, half of the interval of a new measurement there)."""
    from scipy.special import stdtrit

    wide = -float(stdtrit(max(1.0, law.noise.dof), (1 - level) / 2))
    half = wide * float(np.sqrt(1.5 * law.noise.variance))
    return float(between(curve, np.array([n]))[0]), half
