"""How sure it is that the arm with the highest mean is the best: a rule for tables of seeds x arms.

The rule is ours [ours]; it is built from known parts. The leader is called the best when it beats
every other arm at the plain level, with no further correction (Gutmann and Maymin, Annals of
Statistics 15, 1987: if another arm is truly the best, the leader must in particular have beaten
that one). What is gained over each pair's own t-test is the variance, which all arms tell together:

- Test 1 takes the mean variance of the arms near the leader, each arm's own by Grubbs (JASA 43,
  1948), which a two-way table (arm + seed) gives without repeated runs.
- Test 2 guards against an arm that is noisier than the rest. Each arm has its own variance, drawn
  to the typical one (Smyth, SAGMB 3, 2004), the less the noisier it looks; Welch's test follows.

An arm is told from the leader when both tests say so. `benchmarks/decide.py` measures how often the
rule is wrong: where all arms are equal, where two tie and the rest is far below, with noise of
unequal size, heavy tails, shared seeds and scores in steps.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.chances import chances_of
from headwater.analysis.leads import (
    LEVEL,
    ImageError,
    errors_of,
    hardest,
    regret_bounds,
    widest,
    with_images,
)

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

_PRICE = 1.25
"""What test 1 pays for taking the arms near the leader to be alike [ours, by simulation]."""
_NOTHING = 1e-300
"""In place of a variance of 0, so that the sum of many of its inverses is a number."""
_NO_SQUARE = 1e-150
"""A variance whose square is no number above 0."""
_NEAR = 2.5
"""How far from the leader arms still speak for its variance, in standard errors of a
difference [ours].
"""
_TYPICAL = 20.0
"""Degrees of freedom that the typical variance counts for in test 2 [ours]."""
_LEAST = 0.02
"""Of the mean variance: no arm is taken to be steadier than this."""
_REGRET = 0.55
"""Power of the number of other arms that the error of the regret's bound is shared by: the loss is
to one arm, the truly best, but the leader was chosen among all [ours, by simulation].
"""
_KEPT = 0.2
"""Least share of an arm's own variance that its residuals are taken to hold."""
LOOKS_P = 0.0078
"""The p of each look where a study is looked at after every added seed, 2 to 15 of them, so that
all looks together are wrong in 5 % [ours, by simulation].
"""


@dataclass(frozen=True)
class Certainty:
    """What the rule says of tables of scores; T tables of k arms, in the unit of the scores."""

    means: Floats
    """[T, k], over seeds."""
    best: NDArray[np.int64]
    """[T]: the arm with the highest mean, the first of several."""
    p: Floats
    """[T, k]: how easily chance would give the leader its lead over each arm; 1 for itself."""
    shortlist: NDArray[np.bool_]
    """[T, k]: arms that could be the best, at `level` for all of them together."""
    regret_bound: Floats
    """[T]: what choosing the leader costs at most, against the truly best arm, at `level`."""
    se: Floats
    """[T, k]: standard error of the leader's lead over each arm; 0 for itself."""
    df: Floats
    """[T, k]: degrees of freedom of that error."""
    variances: Floats
    """[T, k]: of one seed of each arm, as the guard sees them."""
    variance_df: Floats
    """[T, k]"""
    num_seeds: NDArray[np.int64]
    """[T, k]: seeds of each arm that enter."""
    pooled: Floats
    """[T, 1]: variance of one seed, the mean over arms."""
    pooled_df: Floats
    """[T, 1]"""
    images: ImageError | None = None
    """Where it speaks of new test images too: part of p, bounds, shortlist, se and p_best."""

    def halves(self, a: int, b: int, error: float) -> Floats:
        """[T]: half the width of an interval at 1 - `error` for arm a minus arm b: the wider one of
        what their own variances and what the mean variance say; infinite for an arm of one seed.
        """
        from scipy.special import stdtrit

        counts, own = self.num_seeds[:, [a, b]], self.variances[:, [a, b]]
        errors = own / counts
        both = errors.sum(axis=1)
        spread = (1 / counts).sum(axis=1)
        price = _PRICE if self.means.shape[1] > 2 else 1.0
        with np.errstate(divide="ignore", invalid="ignore"):
            df = both**2 / (errors**2 / self.variance_df[:, [a, b]]).sum(axis=1)
        pooled_df = self.pooled_df[:, 0]
        df = np.where(both > 0, np.minimum(df, pooled_df), pooled_df)
        halves = np.maximum(
            -stdtrit(df, error / 2) * np.sqrt(both),
            -stdtrit(pooled_df, error / 2 / price) * np.sqrt(spread * self.pooled[:, 0]),
        )
        if self.images is not None:
            quantile = -stdtrit(df, error / 2)
            part = self.images.variance[:, a, b], self.images.df[:, a, b]
            wider, joint = with_images((halves / quantile) ** 2, df, *part)
            halves = np.maximum(halves, -stdtrit(joint, error / 2) * np.sqrt(wider))
        return np.asarray(np.where(counts.min(axis=1) > 1, halves, np.inf), dtype=np.float64)

    def sure(self, level: float = LEVEL) -> NDArray[np.bool_]:
        """[T]: whether the leader is the best at this level; never with a single arm."""
        if self.p.shape[1] < 2:
            return np.zeros(len(self.p), dtype=bool)
        others = np.arange(self.p.shape[1]) != self.best[:, None]
        worst = np.where(others, self.p, 0.0).max(axis=1)
        return np.asarray(worst <= 1 - level, dtype=np.bool_)

    def p_best(self) -> tuple[Floats, Floats]:
        """([T, k] how probable it is that each arm is the best, [T, k] expected regret of each).

        Each arm's true mean is taken to be Student's t around its mean (a flat prior). Half the
        weight is on the guard's variances and half on one variance for all [ours, by simulation:
        the first alone says too little where arms are alike, the second too much where they are
        not]. The regret is the larger of what the two say. Integrals over a grid, so that the same
        scores give the same numbers.
        """
        posteriors = [self._with_own_images(*each) for each in self.posteriors()]
        chances, regrets = np.empty_like(self.means), np.empty_like(self.means)
        for table, means in enumerate(self.means):
            halves = [
                chances_of(means, np.sqrt(variances[table]), df[table])
                for variances, df in posteriors
            ]
            chances[table] = np.mean([chance for chance, _ in halves], axis=0)
            regrets[table] = np.max([regret for _, regret in halves], axis=0)
        return chances, regrets

    def posteriors(self) -> list[tuple[Floats, Floats]]:
        """([T, k] variance of one seed of each arm, [T, k] df), as each of the two posteriors of
        `p_best` has them: the guard's, and one variance for all arms.
        """
        shape = self.means.shape
        of_all = np.broadcast_to(self.pooled, shape), np.broadcast_to(self.pooled_df, shape)
        return [(self.variances, self.variance_df), of_all]

    def _with_own_images(self, variance: Floats, df: Floats) -> tuple[Floats, Floats]:
        """([T, k] variance of each arm's mean, [T, k] df) from that of one seed."""
        variances = variance / self.num_seeds
        if self.images is None:
            return variances, df
        return with_images(variances, df, self.images.own(), self.images.df.min(axis=2))


def certainty_of(
    scores: Floats, *, step: float = 0.0, level: float = LEVEL, images: ImageError | None = None
) -> Certainty:
    """Asks the rule of scores float64 [T, S, k]: T tables of S seeds and k arms (2 or more of
    each). NaN is a seed that an arm lacks; means are then those of a two-way fit (arm + seed), so
    that a lucky seed favours nobody. `step` is the smallest difference that the test images can
    show (1 / their number): no variance is taken to be less than that of rounding to it. With
    `images` it speaks of other test images of the same kind as well, else of these test images.

    Raises ValueError for fewer seeds or arms, and for an arm that shares no seed with the others.
    """
    scores = np.asarray(scores, dtype=np.float64)
    _, num_seeds, num_arms = scores.shape
    if num_seeds < 2 or num_arms < 2:
        raise ValueError(f"needs 2 seeds and 2 arms, not {num_seeds} and {num_arms}")
    design = _Complete(scores) if not np.isnan(scores).any() else _Incomplete(scores)
    return (_of_two if num_arms == 2 else _of_many)(design, step**2 / 12, level, images)


def joined(there: NDArray[np.bool_]) -> list[int]:
    """The most arms that seeds join, each to some other: only these can be compared, since seeds
    differ too. `there` is bool [seeds, arms].
    """
    left, largest = set(range(there.shape[1])), list[int]()
    while left:
        group, edge = set[int](), {min(left)}
        while edge:
            group |= edge
            seeds = there[:, sorted(edge)].any(axis=1)
            edge = set(np.flatnonzero(there[seeds].any(axis=0)).tolist()) - group
        left -= group
        if len(group) > len(largest):
            largest = sorted(group)
    return largest


class _Complete:
    """Tables in which every arm has every seed."""

    def __init__(self, scores: Floats) -> None:
        num_tables, num_seeds, num_arms = scores.shape
        self.means = scores.mean(axis=1)
        self.noise = scores - self.means[:, None, :]
        """[T, S, k]: scores without the arms' means; seed effects are still in it."""
        self.counts = np.full((num_tables, num_arms), num_seeds, dtype=np.int64)
        self.df = np.full((num_tables, 1), (num_seeds - 1.0) * (num_arms - 1))

    def residuals(self, weights: Floats) -> Floats:
        """[T, S, k]: noise without seed effects, means weighted by `weights` [T, k]."""
        seeds: Floats = (self.noise * weights[:, None, :]).sum(axis=2, keepdims=True)
        return np.asarray(self.noise - seeds, dtype=np.float64)

    def solved(self, squares: Floats, weights: Floats) -> Floats:
        """[T, k]: variances v of which residuals' mean squares expect v (1 - 2 w) + sum w^2 v. With
        equal weights these are Grubbs's.
        """
        kept = np.maximum(1 - 2 * weights, _KEPT)
        shared = (weights**2 * squares / kept).sum(axis=1, keepdims=True)
        shared /= 1 + (weights**2 / kept).sum(axis=1, keepdims=True)
        return np.asarray((squares - shared) / kept, dtype=np.float64)

    def spread(self, best: NDArray[np.int64]) -> Floats:
        """[T, k]: variance of each difference from the leader, for noise of variance 1."""
        return np.asarray(2.0 / self.counts, dtype=np.float64)


class _Incomplete:
    """Tables in which some arms lack some seeds."""

    def __init__(self, scores: Floats) -> None:
        num_arms = scores.shape[2]
        there = ~np.isnan(scores)
        there &= there.sum(axis=2, keepdims=True) > 1  # a seed of one arm compares nothing
        self.there = there
        self.counts = there.sum(axis=1)
        if (self.counts == 0).any():
            raise ValueError("an arm shares no seed with the others")
        in_seed = np.maximum(there.sum(axis=2), 1)
        present = there.astype(np.float64)
        shared = np.einsum("tsi,tsj->tij", present, present / in_seed[:, :, None])
        normal = np.eye(num_arms) * self.counts[:, None, :] - shared
        self._inverse = np.linalg.pinv(normal, hermitian=True)
        known = np.where(there, scores, 0.0)
        seeds = known.sum(axis=2) / in_seed
        right = known.sum(axis=1) - np.einsum("tsi,ts->ti", present, seeds)
        effects = np.einsum("tij,tj->ti", self._inverse, right)
        level = (known.sum(axis=(1, 2)) - (present * effects[:, None, :]).sum(axis=(1, 2))) / (
            present.sum(axis=(1, 2))
        )
        self.means = effects + level[:, None]
        self.noise = np.where(there, scores - self.means[:, None, :], 0.0)
        used = there.any(axis=2).sum(axis=1)
        df = present.sum(axis=(1, 2)) - num_arms - used + 1
        self.df = np.maximum(df, 1.0)[:, None]

    def _weights(self, weights: Floats) -> Floats:
        """[T, S, k]: weights within each seed, of the arms that have it."""
        there: Floats = self.there * weights[:, None, :]
        total: Floats = there.sum(axis=2, keepdims=True)
        return there / np.maximum(total, np.finfo(np.float64).tiny)

    def residuals(self, weights: Floats) -> Floats:
        seeds = (self._weights(weights) * self.noise).sum(axis=2, keepdims=True)
        return np.where(self.there, self.noise - seeds, 0.0)

    def solved(self, squares: Floats, weights: Floats) -> Floats:
        within = self._weights(weights)
        kept = 1 - 2 * within.sum(axis=1) / self.counts
        present = self.there / self.counts[:, None, :]
        system = np.einsum("tsi,tsj->tij", present, within**2)
        system += np.eye(squares.shape[1]) * np.maximum(kept, _KEPT)[:, None, :]
        return np.asarray(np.linalg.solve(system, squares[:, :, None])[:, :, 0], dtype=np.float64)

    def spread(self, best: NDArray[np.int64]) -> Floats:
        own = np.einsum("tii->ti", self._inverse)
        rows = np.take_along_axis(self._inverse, best[:, None, None], axis=1)[:, 0, :]
        spread: Floats = np.take_along_axis(own, best[:, None], axis=1) + own - 2 * rows
        return np.maximum(spread, 0.0)


_Design = _Complete | _Incomplete


def _of_two(
    design: _Design, least: float, level: float, images: ImageError | None = None
) -> Certainty:
    """The paired t-test, over the seeds that both have."""
    means = design.means
    best = means.argmax(axis=1)
    is_best = np.arange(2) == best[:, None]
    leads = means.max(axis=1, keepdims=True) - means
    df = design.counts - 1.0
    halves = design.residuals(np.full_like(means, 0.5))[:, :, 0]
    squares = 4 * (halves**2).sum(axis=1, keepdims=True)
    variance = np.maximum(squares / np.maximum(df, 1.0), 2 * least)
    known = df > 0
    seed_df = np.maximum(df, 1.0)
    errors = errors_of(variance / design.counts, seed_df, best, images)
    se, df = widest(errors)
    se = np.where(is_best, 0.0, se)
    p = np.where(is_best | ~known, 1.0, hardest(leads, errors))
    return Certainty(
        means=means,
        best=best,
        p=p,
        shortlist=is_best | (p / 2 > 1 - level),
        regret_bound=regret_bounds(leads, errors, is_best, 1 - level, known),
        se=se,
        df=df,
        # half of the difference's variance each, so that chances are those of the paired difference
        variances=variance / 2,
        variance_df=seed_df,
        num_seeds=design.counts,
        pooled=variance / 2,
        pooled_df=seed_df[:, :1],
        images=images,
    )


def _of_many(
    design: _Design, least: float, level: float, images: ImageError | None = None
) -> Certainty:
    means, counts, df = design.means, design.counts, design.df
    num_arms = means.shape[1]
    own_df = np.maximum(counts - 1.0, 1.0)
    several = counts > 1
    best = means.argmax(axis=1)
    is_best = np.arange(num_arms) == best[:, None]
    leads = means.max(axis=1, keepdims=True) - means
    spread = design.spread(best)

    equal = np.full_like(means, 1 / num_arms)
    squares = (design.residuals(equal) ** 2).sum(axis=(1, 2))
    pooled = np.maximum(squares[:, None] / df, least)
    plain = np.maximum(_variances(design, equal), least)
    own = plain
    for _ in range(3):
        weights = 1 / np.maximum(4 * pooled + own_df * own, _NOTHING)
        own = np.maximum(_variances(design, weights / weights.sum(axis=1, keepdims=True)), least)

    with np.errstate(divide="ignore", invalid="ignore"):
        far = leads / (_NEAR * np.sqrt(spread * pooled))
    near = np.where(several, np.exp(-(np.where(leads > 0, far, 0.0) ** 2) / 2), 0.0)
    total = np.maximum(near.sum(axis=1, keepdims=True), np.finfo(np.float64).tiny)
    near_variance = (near * plain).sum(axis=1, keepdims=True) / total
    near_df = total**2 / np.maximum((near**2 / own_df).sum(axis=1, keepdims=True), 1e-300)
    p_near = hardest(
        leads, errors_of(spread * near_variance, np.minimum(near_df, df), best, images)
    )

    guarded, guarded_df = _guarded(np.where(several, own, pooled), own_df, df)
    errors = guarded / counts
    at_best = np.take_along_axis(errors, best[:, None], axis=1)
    at_best_df = np.take_along_axis(guarded_df, best[:, None], axis=1)
    both = at_best + errors
    with np.errstate(divide="ignore", invalid="ignore"):
        welch = both**2 / (at_best**2 / at_best_df + errors**2 / guarded_df)
    welch = np.where(both > _NO_SQUARE, np.minimum(welch, df), df)
    num_best = np.take_along_axis(counts, best[:, None], axis=1)
    # what the fit of seed effects costs beyond the arms' own seeds; 1 in complete tables
    fit = spread / (1 / num_best + 1 / counts)
    of_leads = errors_of(both * fit, welch, best, images)
    se, welch = widest(of_leads)
    se = np.where(is_best, 0.0, se)
    p_guard = hardest(leads, of_leads)

    known = several & (num_best > 1)
    share = (1 - level) / (num_arms - 1)
    stays = (p_near / 2 > share) | (p_guard / 2 > share) | ~known
    p = np.minimum(1.0, np.maximum(_PRICE * p_near, p_guard))
    return Certainty(
        means=means,
        best=best,
        p=np.where(is_best | ~known, 1.0, p),
        shortlist=is_best | stays,
        regret_bound=regret_bounds(
            leads, of_leads, is_best, (1 - level) / (num_arms - 1) ** _REGRET, known
        ),
        se=se,
        df=welch,
        variances=guarded,
        variance_df=guarded_df,
        num_seeds=counts,
        pooled=pooled,
        pooled_df=df,
        images=images,
    )


def _variances(design: _Design, weights: Floats) -> Floats:
    """[T, k]: each arm's variance in a table of arm + seed, whose seed effects are means that
    `weights` [T, k] weigh.
    """
    squares = (design.residuals(weights) ** 2).sum(axis=1) / np.maximum(design.counts - 1.0, 1.0)
    least = _LEAST * squares.sum(axis=1, keepdims=True) / (squares.shape[1] - 1)
    return np.asarray(np.maximum(design.solved(squares, weights), least), dtype=np.float64)


def _guarded(own: Floats, seed_df: Floats, df: Floats) -> tuple[Floats, Floats]:
    """Each arm's variance drawn to the typical one, the less the noisier it looks, and its degrees
    of freedom.
    """
    from scipy.special import chdtrc, digamma

    positive = np.maximum(own, np.finfo(np.float64).tiny)
    logs = np.log(positive)
    low, high = np.quantile(logs, [0.1, 0.9], axis=1, keepdims=True)
    offsets = np.log(seed_df / 2) - digamma(seed_df / 2)
    typical = np.exp((np.clip(logs, low, high) + offsets).mean(axis=1, keepdims=True))
    tail = chdtrc(seed_df, seed_df * positive / typical)
    drawn = _TYPICAL * np.minimum(1.0, 2 * tail)
    variances = (drawn * typical + seed_df * own) / (drawn + seed_df)
    return variances, np.minimum(drawn + seed_df, df)
