"""Other rules by which a leader is called the best: what benchmarks/decide.py compares with."""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy import integrate, optimize, special, stats

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Told:
    """What a rule says of tables: [tables] each."""

    sure: NDArray[np.bool_]
    best: NDArray[np.int64]


def own_leads(scores: Floats) -> tuple[NDArray[np.int64], Floats, Floats, NDArray[np.bool_]]:
    """(leader [T], leads [T, k], standard errors of the paired leads [T, k], others [T, k])."""
    means = scores.mean(axis=1)
    best = means.argmax(axis=1)
    leader = np.take_along_axis(scores, best[:, None, None], axis=2)
    differences = leader - scores
    others = np.arange(scores.shape[2]) != best[:, None]
    errors = differences.std(axis=1, ddof=1) / scores.shape[1] ** 0.5
    return best, differences.mean(axis=1), errors, others


def _own_p(scores: Floats) -> tuple[NDArray[np.int64], Floats]:
    """(leader, [T, k - 1] two-sided p of its paired t-tests, ascending)."""
    best, leads, errors, others = own_leads(scores)
    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(leads > 0, leads / errors, 0.0)
    p = 2 * special.stdtr(scores.shape[1] - 1, -t)
    return best, np.sort(p[others].reshape(len(scores), -1), axis=1)


def today(scores: Floats) -> Told:
    """Own t-intervals, each corrected for all comparisons (what was here before)."""
    best, p = _own_p(scores)
    return Told(p[:, -1] * p.shape[1] <= 0.05, best)


def holm(scores: Floats) -> Told:
    best, p = _own_p(scores)
    return Told((p * np.arange(p.shape[1], 0, -1) <= 0.05).all(axis=1), best)


def gutmann_maymin(scores: Floats) -> Told:
    """The leader beats every other arm at the plain level of its own paired t-test."""
    best, p = _own_p(scores)
    return Told(p[:, -1] <= 0.05, best)


@functools.cache
def dunnett(comparisons: int, df: float) -> float:
    """One-sided quantile of Dunnett's t at 95 %: the largest of so many correlated t."""

    def covered(d: float) -> float:
        def given(scale: float) -> float:
            nodes, weights = np.polynomial.hermite_e.hermegauss(64)
            inner = special.ndtr(nodes + 2**0.5 * d * scale) ** comparisons
            return float((weights * inner).sum() / (2 * np.pi) ** 0.5)

        density = stats.chi(df, scale=df**-0.5).pdf
        low, high = stats.chi(df, scale=df**-0.5).ppf([1e-9, 1 - 1e-9])
        return float(integrate.quad(lambda s: given(s) * density(s), low, high)[0])

    return float(optimize.brentq(lambda d: covered(d) - 0.95, 0.1, 60.0))


def hsu(scores: Floats) -> Told:
    """Multiple comparisons with the best, with one variance for all arms."""
    _, seeds, arms = scores.shape
    means = scores.mean(axis=1)
    noise = scores - means[:, None, :]
    residuals = noise - noise.mean(axis=2, keepdims=True)
    df = (seeds - 1) * (arms - 1)
    error = np.sqrt((residuals**2).sum(axis=(1, 2)) / df * 2 / seeds)
    top = np.sort(means, axis=1)
    return Told(top[:, -1] - top[:, -2] > dunnett(arms - 1, df) * error, means.argmax(axis=1))


def shrunk(scores: Floats) -> Told:
    """Gutmann and Maymin with variances of differences drawn to one another (limma)."""
    best, leads, errors, others = own_leads(scores)
    df = scores.shape[1] - 1.0
    count = len(scores)
    variances = (errors[others] ** 2).reshape(count, -1)
    logs = np.log(np.maximum(variances, 1e-300))
    centred = logs - special.digamma(df / 2) + np.log(df / 2)
    middle = centred.mean(axis=1, keepdims=True)
    extra = centred.var(axis=1, ddof=1, keepdims=True) - special.polygamma(1, df / 2)
    prior = np.where(extra > 0, 2 * _inverse_trigamma(np.maximum(extra, 1e-6)), 1e6)
    typical = np.exp(middle + special.digamma(prior / 2) - np.log(prior / 2))
    drawn_in = (prior * typical + df * variances) / (prior + df)
    t = leads[others].reshape(count, -1) / np.sqrt(drawn_in)
    p = 2 * special.stdtr(prior + df, -np.maximum(t, 0.0))
    return Told(p.max(axis=1) <= 0.05, best)


def _inverse_trigamma(values: Floats) -> Floats:
    x = 0.5 + 1 / values
    for _ in range(40):
        y = special.polygamma(1, x)
        x = x + y * (1 - y / values) / special.polygamma(2, x)
    return np.asarray(x, dtype=np.float64)
