"""The interval of a mean over seeds where each seed's value is taken on samples that the other
seeds chose.

Two things move such a mean from one study to the next: what each seed's own models do on the
samples, and which samples the seeds choose. The spread of the values over seeds shows the first.
It misses much of the second, because the choices of different seeds share nearly all of their
models and go astray together. An interval by that spread alone covered 95 % where the choice did
not matter, and 80 to 92 % where it did (benchmarks/footing.md).

The second is measured by leaving seeds out of the choice. D[t, s] is how much the value of seed s
changes when seed t has no say in what is chosen for s, and e[t] is its mean over s. With S seeds

    variance of the mean = var_s(own) / S + c (S - 1)^2 / S max(0, var_t(e) - noise)

    noise = mean_t var_s(D[t, s]) / (S - 1),   c = sqrt(pi / (2 (S - 1)))

The second term is the jackknife's (Efron and Stein 1981), less what the values' own noise adds to
it, times c. A jackknife counts what k seeds decide together k times, and a sample that stands at a
threshold is decided by all of them: for a majority of n votes it counts sqrt(2 n / pi) times too
much (the total influence of the majority; O'Donnell 2014, Analysis of Boolean Functions, section
2.3). Degrees of freedom are Satterthwaite's, S - 1 of the first term and 2 (S - 1) of the second.
Putting these together is [ours], by simulation. Where nothing depends on other seeds, the second
term is 0, and this is Student's interval.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.analysis.intervals import LEVEL, Interval, t_interval

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class CrossFitted:
    """A mean over seeds with its interval, and how easily chance would give it."""

    interval: Interval
    """Its `sd` is that of one seed which alone would give such an interval: root of S times the
    variance of the mean.
    """
    p: float | None
    """Two-sided, of a mean of 0; None below two seeds."""


def crossfitted(own: Floats, lesser: Floats | None = None, *, level: float = LEVEL) -> CrossFitted:
    """The mean of `own` [seeds], NaN for a seed without a value, which is left out.

    `lesser` [seeds t, seeds s] is the value of seed s on what is chosen for it without seed t; its
    diagonal is not read. None where the choice owes nothing to other seeds.
    """
    from scipy.special import stdtr, stdtrit

    known = ~np.isnan(own)
    values = own[known]
    plain = t_interval(values.tolist(), level=level)
    if plain.mean is None or plain.sd is None:
        return CrossFitted(plain, None)
    n = len(values)
    spread = plain.sd**2 / n
    choice = 0.0 if lesser is None else _choice(own, lesser)
    variance = spread + choice
    df = float(n - 1)
    if choice > 0:
        df = variance**2 / (spread**2 / (n - 1) + choice**2 / (2 * (len(own) - 1)))
    error = math.sqrt(variance)
    half = float(-stdtrit(df, (1 - level) / 2)) * error
    if error > 0:
        p = 2 * float(stdtr(df, -abs(plain.mean) / error))
    else:
        p = float(plain.mean == 0)
    mean, sd = plain.mean, math.sqrt(n * variance)
    return CrossFitted(Interval(mean, mean - half, mean + half, sd, n), p)


def _choice(own: Floats, lesser: Floats) -> float:
    """The part of the variance of the mean that the choice of samples has."""
    seeds = len(own)
    changes = own - lesser
    counted = ~np.isnan(changes) & ~np.eye(seeds, dtype=bool)
    others = counted.sum(axis=1)
    if seeds < 3 or (others < 2).any():
        return 0.0
    changes = np.where(counted, changes, 0.0)
    effects = changes.sum(axis=1) / others
    around = np.where(counted, changes - effects[:, None], 0.0)
    noise = (around**2).sum(axis=1) / (others - 1) / others
    part = float(effects.var(ddof=1) - noise.mean())
    overcounted = math.sqrt(2 * (seeds - 1) / math.pi)
    return max(0.0, part) * (seeds - 1) ** 2 / seeds / overcounted
