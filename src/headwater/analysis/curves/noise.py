"""How far points lie from their law, and what the curves of a table say of it together.

A curve of seven points leaves four degrees of freedom: its own spread is a poor guess, and an
interval that stands on it is wide or lucky. So the variances of all curves are drawn together by
empirical Bayes: log-variances are normal around a common one, each is known with its degrees of
freedom, and the prior is worth `prior.dof` of them (Smyth 2004; Phipson et al. 2016 for curves far
from the others, which keep more of their own). The common one is the median, which a few curves
that are far from the rest do not move.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np

from headwater.analysis.curves.curve import Curve
from headwater.analysis.curves.law import Noise

FEWEST_CURVES = 3
"""Fewer say nothing about how variances differ."""
_GIVEN = 5.0
"""Degrees of freedom of a standard error that somebody gives: seldom of more seeds [ours]."""
_MOST_DOF = 100.0
"""A prior is worth no more: no table shows that all variances are equal."""


def common_noise(found: Iterable[Noise]) -> Noise | None:
    """What curves have in common: a variance, and how many degrees of freedom it is worth to a
    curve that is like the others. None for fewer than `FEWEST_CURVES` that have any.
    """
    from scipy.optimize import brentq
    from scipy.special import chdtri, polygamma

    known = [noise for noise in found if noise.dof >= 1]
    if len(known) < FEWEST_CURVES:
        return None
    dofs = np.array([noise.dof for noise in known])
    logs = np.log([noise.variance for noise in known]) - np.log(chdtri(dofs, 0.5) / dofs)
    beyond = float(np.var(logs, ddof=1) - polygamma(1, dofs / 2).mean())
    if beyond <= polygamma(1, _MOST_DOF / 2):
        return Noise(float(np.exp(np.median(logs))), _MOST_DOF)
    dof = 2 * brentq(lambda x: float(polygamma(1, x)) - beyond, 1e-3, _MOST_DOF)
    return Noise(float(np.exp(np.median(logs))), max(1.0, min(dof, _MOST_DOF)))


def mean_noise(found: Iterable[Noise]) -> Noise | None:
    """The mean variance by degrees of freedom; None where no curve shows any."""
    known = [noise for noise in found if noise.dof >= 1]
    if not known:
        return None
    dof = sum(noise.dof for noise in known)
    return Noise(sum(noise.dof * noise.variance for noise in known) / dof, dof)


def measured_noise(curve: Curve) -> Noise | None:
    """The noise that the standard errors of a curve's points tell, given or over seeds; None where
    they are not known. A standard error that was given is worth `_GIVEN` degrees of freedom.
    """
    known = np.isfinite(curve.se)
    if not known.any():
        return None
    spare = np.where(curve.repeats[known] > 1, curve.repeats[known] - 1, _GIVEN)
    variance = float((spare * curve.se[known] ** 2).sum() / spare.sum())
    return None if variance <= 0 else Noise(variance, float(spare.sum()))


def together(own: Noise, common: Noise | None) -> Noise:
    """A curve's own noise and what it has in common with others, weighed by degrees of freedom."""
    if common is None:
        return own
    dof = own.dof + common.dof
    variance = (own.dof * own.variance + common.dof * common.variance) / dof
    return Noise(variance, dof)
