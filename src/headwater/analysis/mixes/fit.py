"""The score as a function of the weights of a mix.

It is a polynomial of the weights (Scheffe 1958, "Experiments with mixtures"): a value for each
part, and, where that predicts mixes that were left out better, a term for each pair of parts or
the root of each weight.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from scipy.special import fdtri

from headwater.analysis.mixes.runs import Floats, Mixes

LINEAR, QUADRATIC, ROOTS = "linear", "quadratic", "root"
STEP = 0.05
"""Weights are proposed in steps of this [ours]."""
_LATTICE = 5
"""Up to so many parts all mixes of the grid are looked at; beyond, MANY that are drawn."""
MANY = 20_000
_DRAWS = 2000


def terms(weights: Floats, form: str) -> Floats:
    """float64 [mixes, terms]: the weights, and for the quadratic form the product of each pair, for
    the form of roots the root of each (what more of a part brings then falls).
    """
    if form == LINEAR:
        return weights
    if form == ROOTS:
        return np.column_stack([weights, np.sqrt(weights)])
    pairs = [weights[:, i] * weights[:, j] for i, j in combinations(range(weights.shape[1]), 2)]
    return np.column_stack([weights, *pairs])


@dataclass(frozen=True, eq=False)
class Fit:
    """The score as a polynomial of the weights."""

    form: str
    coefficients: Floats
    covariance: Floats
    df: int
    held_out: float
    """Root mean square error of each mix when it is left out of the fit, points."""
    plain: float
    """The same of the mean of the others: what knowing no weights gives."""

    @classmethod
    def of(cls, mixes: Mixes, form: str) -> Fit | None:
        """None where there are too few mixes for the form."""
        x, y = terms(mixes.weights, form), mixes.means
        num, p = x.shape
        if num < p + 1 or np.linalg.matrix_rank(x) < p:
            return None
        inverse = np.linalg.inv(x.T @ x)
        coefficients = inverse @ x.T @ y
        rest = y - x @ coefficients
        hat = np.einsum("ij,jk,ik->i", x, inverse, x)
        if np.any(hat > 1 - 1e-9):
            return None
        variance, df = _variance(mixes, float(rest @ rest), num - p)
        without = (y.sum() - y) / (num - 1)
        return cls(
            form,
            np.asarray(coefficients, dtype=np.float64),
            np.asarray(variance * inverse, dtype=np.float64),
            df,
            float(np.sqrt(np.mean((rest / (1 - hat)) ** 2))),
            float(np.sqrt(np.mean((y - without) ** 2))),
        )

    def at(self, weights: Floats) -> Floats:
        """float64 [mixes]: percent."""
        return np.asarray(terms(weights, self.form) @ self.coefficients, dtype=np.float64)

    def draws(self, num: int) -> Floats:
        """float64 [num, terms]: coefficients that the scores allow, multivariate t."""
        rng = np.random.default_rng(0)
        normal = rng.multivariate_normal(
            np.zeros(len(self.coefficients)), self.covariance, size=num, method="eigh"
        )
        scale = np.sqrt(self.df / rng.chisquare(self.df, size=num))
        return np.asarray(self.coefficients + normal * scale[:, None], dtype=np.float64)


def _variance(mixes: Mixes, rest: float, df: int) -> tuple[float, int]:
    """(variance of a mean about the fit, degrees of freedom): what the fit leaves and what seeds
    differ by, pooled; what the fit leaves alone where that is more, as the score is then no such
    polynomial.
    """
    noise, of_noise = mixes.noise
    alone = rest / df
    if not of_noise:
        return alone, df
    seeds = float(np.mean(np.isfinite(mixes.scores).sum(axis=0)))
    pooled = (rest + of_noise * noise / seeds) / (df + of_noise)
    return (
        (alone, df)
        if alone > pooled * float(fdtri(df, of_noise, 0.9))
        else (max(pooled, 1e-12), df + of_noise)
    )


def scores_of(fits: Sequence[Fit], weights: Floats, num: int) -> Floats:
    """float64 [draws, mixes]: scores that `num` mixes allow, of both forms: each as often as its
    error on what was left out says, e^(-num log error), as weights of an information criterion are.
    """
    logs = np.array([-num * np.log(max(fit.held_out, 1e-9)) for fit in fits])
    shares = np.exp(logs - logs.max())
    counts = np.round(_DRAWS * shares / shares.sum()).astype(int)
    drawn = [
        fit.draws(number) @ terms(weights, fit.form).T
        for fit, number in zip(fits, counts.tolist(), strict=True)
        if number
    ]
    return np.concatenate(drawn)


def candidates(parts: int) -> Floats:
    """float64 [mixes, parts]: weights in steps of STEP, all of them for few parts."""
    steps = round(1 / STEP)
    if parts <= _LATTICE:
        bars = combinations(range(steps + parts - 1), parts - 1)
        edges = np.array([(-1, *each, steps + parts - 1) for each in bars])
        return np.asarray((np.diff(edges, axis=1) - 1) / steps, dtype=np.float64)
    rng = np.random.default_rng(0)
    drawn = rng.dirichlet(np.full(parts, 0.5), size=MANY)
    return np.concatenate([np.eye(parts), drawn])
