"""The best mix of sources, from a few that were run: a fit of the score over the weights.

The score is a polynomial of the weights (Scheffé 1958, "Experiments with mixtures"): a value for
each part, and, where that predicts mixes that were left out better, a term for each pair of parts.
What small mixes say of the best one is the idea of RegMix (Liu et al. 2024, arXiv 2407.01492),
which regresses a loss on weights; here everything has an interval, and what cannot be told is said.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from itertools import combinations
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import fdtri

from headwater.analysis.configurations import CONFIGURATION, Configuration, prepare
from headwater.analysis.decision import Aim
from headwater.analysis.evidence import Line, evidence_of
from headwater.analysis.lines import check_aim, headline_of
from headwater.analysis.words import listed, shots_words
from headwater.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
LEVEL = 0.95
STEP = 0.05
"""Weights are proposed in steps of this [ours]."""
SMALL = 0.1
"""Percent points: a mix that is expected to gain less is not proposed [ours]."""
_LATTICE = 5
"""Up to so many parts all mixes of the grid are looked at; beyond, MANY that are drawn."""
MANY = 20_000
_DRAWS = 2000
_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
LINEAR, QUADRATIC = "linear", "quadratic"


@dataclass(frozen=True, eq=False)
class Mixes:
    """Mixes of the same parts that were run alike, and what they scored."""

    name: str
    """The arm without its source."""
    parts: tuple[str, ...]
    names: tuple[str, ...]
    """Of each mix, as the study calls its source."""
    weights: Floats
    """float64 [mixes, parts]: shares of the parts; each row sums to 1."""
    scores: Floats
    """float64 [seeds, mixes]: percent; NaN where a mix has no score of a seed."""

    @cached_property
    def means(self) -> Floats:
        """float64 [mixes]: over seeds; what seeds do to all mixes is taken out first, so that a mix
        that lacks a seed is compared fairly.
        """
        known = np.isfinite(self.scores)
        filled = np.where(known, self.scores, 0.0)
        of_mix = filled.sum(axis=0) / known.sum(axis=0)
        for _ in range(100):  # two-way means with holes, by turns
            of_seed = np.where(known, self.scores - of_mix, 0.0).sum(axis=1) / known.sum(axis=1)
            of_seed -= of_seed.mean()
            of_mix = np.where(known, self.scores - of_seed[:, None], 0.0).sum(axis=0)
            of_mix /= known.sum(axis=0)
        return np.asarray(of_mix, dtype=np.float64)

    @cached_property
    def noise(self) -> tuple[float, int]:
        """(variance of a score about mix and seed, degrees of freedom); (nan, 0) of one seed."""
        known = np.isfinite(self.scores)
        df = int(known.sum()) - self.scores.shape[1] - self.scores.shape[0] + 1
        if df < 1:
            return float("nan"), 0
        rest = self.scores - self.means
        rest = rest - np.nanmean(rest, axis=1, keepdims=True)
        return float(np.nansum(rest**2) / df), df


def terms(weights: Floats, form: str) -> Floats:
    """float64 [mixes, terms]: the weights, and for the quadratic form the product of each pair."""
    if form == LINEAR:
        return weights
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


@dataclass(frozen=True)
class BestMix:
    """What is known of the best mix of some parts."""

    name: str
    where: str
    parts: tuple[str, ...]
    mixes: tuple[dict[str, Any], ...]
    """Each mix that was run: name, weights, mean and fitted, percent."""
    num_seeds: int
    form: str
    """linear or quadratic, by which predicts mixes that were left out better."""
    held_out: float
    plain: float
    best: dict[str, float]
    """Weights of the best mix by the fit, in steps of STEP."""
    predicted: float
    """Its score, percent."""
    ranges: dict[str, tuple[float, float]]
    """Of each part, the least and the most weight in mixes that are not told to be below `best`."""
    over_run: tuple[str, float, float, float]
    """The best mix that was run, and by how many points the best one is above it, low, high."""
    over_alone: tuple[str, float, float, float] | None
    """The best part alone that was run, and the same; None where none was run alone."""
    propose: dict[str, float] | None
    """The mix to run next; None where none is expected to gain SMALL."""
    expected: float
    """Points that it is expected to gain over the best that was run."""

    @property
    def told(self) -> bool:
        """Whether weights say anything of the score: they predict a mix that was left out better
        than the mean of the others does.
        """
        return self.held_out < self.plain

    @property
    def sentences(self) -> list[str]:
        """The answer in words."""
        said = [
            f"{_counted(len(self.mixes))} of {listed(list(self.parts))}. A {self.form} fit of the "
            f"weights predicts a mix that was left out to {self.held_out:.2f} points, the mean of "
            f"the others to {self.plain:.2f}."
        ]
        if not self.told:
            return [*said, _NOTHING_TOLD]
        ranges = ", ".join(
            f"{part} {100 * low:.0f} to {100 * high:.0f} %"
            for part, (low, high) in self.ranges.items()
        )
        said.append(
            f"Best by the fit: {_mix_words(self.best)}, at {self.predicted:.1f} %. It may be: "
            f"{ranges}."
        )
        for what, found in (("mix that was run", self.over_run), ("part alone", self.over_alone)):
            if found is not None:
                said.append(_gain_words(what, *found))
        if self.propose is None:
            said.append(f"No other mix is expected to gain {SMALL:g} points: nothing to run.")
        else:
            said.append(
                f"Run next: {_mix_words(self.propose)}. It is expected to gain "
                f"{self.expected:.1f} points over {self.over_run[0]}."
            )
        return said

    def to_dict(self) -> dict[str, Any]:
        """Plain values."""
        return {**asdict(self), "told": self.told, "sentences": self.sentences}


_NOTHING_TOLD = (
    "So weights say nothing of the score here, and which mix is best cannot be told. More seeds, "
    "or mixes that differ more, would tell."
)


def _counted(mixes: int) -> str:
    return "1 mix" if mixes == 1 else f"{mixes:,} mixes"


def _gain_words(what: str, name: str, gain: float, low: float, high: float) -> str:
    """How far the best mix is above another one."""
    if low == high:
        return f"It is the best {what}, {name}."
    said = f"It is {gain:+.1f} points ({low:+.1f} to {high:+.1f}) from the best {what}, {name}"
    return f"{said}." if low > 0 else f"{said}: which is better is open."


def _mix_words(weights: Mapping[str, float]) -> str:
    return " + ".join(f"{100 * w:.0f} % {part}" for part, w in weights.items() if w > 0)


def best_of(mixes: Mixes, where: str = "") -> BestMix:
    """What mixes that were run say of the best one.

    Raises InputError where there are too few: one more than parts, of weights that differ in all
    directions.
    """
    tried = Fit.of(mixes, LINEAR), Fit.of(mixes, QUADRATIC)
    fits = [fit for fit in tried if fit is not None]
    if not fits:
        raise InputError(
            f"mixes: {_counted(len(mixes.names))} of {len(mixes.parts)} parts are too few; run "
            f"{len(mixes.parts) + 1} at least, whose weights differ in every part"
        )
    fit = min(fits, key=lambda one: one.held_out)
    grid = candidates(len(mixes.parts))
    best = int(np.argmax(fit.at(grid)))
    fitted = fit.at(mixes.weights)
    first = int(np.argmax(fitted))
    alone = [at for at, w in enumerate(mixes.weights) if w.max() > 1 - 1e-9]
    top = max(alone, key=lambda number: float(fitted[number]), default=None)
    everywhere = np.concatenate([grid, mixes.weights])
    draws = _scores(fits, everywhere, len(mixes.names))
    on_grid, on_run = draws[:, : len(grid)], draws[:, len(grid) :]
    behind = np.quantile(on_grid - on_grid[:, [best]], _ENDS[1], axis=0)
    possible = grid[behind >= 0]
    low, high = possible.min(axis=0), possible.max(axis=0)
    gains = np.maximum(on_grid - on_run[:, [first]], 0.0).mean(axis=0)
    gains[_run_already(grid, mixes.weights)] = 0.0
    next_one = int(np.argmax(gains))

    def over(number: int) -> tuple[str, float, float, float]:
        gap = float(fit.at(grid[[best]])[0] - fitted[number])
        ends = np.quantile(on_grid[:, best] - on_run[:, number], _ENDS)
        return mixes.names[number], gap, min(gap, float(ends[0])), max(gap, float(ends[1]))

    def words(weights: Floats) -> dict[str, float]:
        return {part: round(float(w), 4) for part, w in zip(mixes.parts, weights, strict=True)}

    return BestMix(
        name=mixes.name,
        where=where,
        parts=mixes.parts,
        mixes=tuple(
            {"name": name, "weights": words(w), "mean": float(mean), "fitted": float(of_fit)}
            for name, w, mean, of_fit in zip(
                mixes.names, mixes.weights, mixes.means, fitted, strict=True
            )
        ),
        num_seeds=int(np.isfinite(mixes.scores).sum(axis=0).min()),
        form=fit.form,
        held_out=fit.held_out,
        plain=fit.plain,
        best=words(grid[best]),
        predicted=float(fit.at(grid[[best]])[0]),
        ranges={
            part: (float(a), float(b)) for part, a, b in zip(mixes.parts, low, high, strict=True)
        },
        over_run=over(first),
        over_alone=None if top is None else over(top),
        propose=words(grid[next_one]) if gains[next_one] >= SMALL else None,
        expected=float(gains[next_one]),
    )


def _scores(fits: Sequence[Fit], weights: Floats, num: int) -> Floats:
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


def _run_already(grid: Floats, run: Floats) -> NDArray[np.bool_]:
    """bool [mixes of the grid]: whether one that was run is as near as a step."""
    away = np.abs(grid[:, None] - run[None]).max(axis=2).min(axis=1)
    return np.asarray(away < STEP - 1e-9, dtype=np.bool_)


def mixes_of(rows: pd.DataFrame, aim: Aim | None = None) -> list[tuple[Mixes, str]]:
    """The sets of mixes in rows, each of the same parts and the same arm but for its source, with
    the setting; parts that were run alone are mixes as well.

    Raises InputError as `decide` does.
    """
    table = prepare(rows)
    found, aim = evidence_of(table), aim or Aim()
    check_aim(aim, found)
    line = headline_of(found, aim)
    if line is None:
        return []
    said = table.drop_duplicates("configuration").set_index("configuration")["curation"]
    weights = {arm.id: _weights(said.get(arm.id)) for arm in line.arms}
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, arm in enumerate(line.arms):
        if arm.source is not None:
            alike.setdefault(_key(arm), []).append(place)
    made = []
    for places in alike.values():
        mixed = [place for place in places if weights[line.arms[place].id] is not None]
        named = {part for place in mixed for part in weights[line.arms[place].id] or {}}
        whole = [place for place in places if line.arms[place].source in named]
        if mixed:
            made.append(_mixes(line, sorted(named), [*whole, *mixed], weights, aim))
    return [
        (one, f"{line.protocol}, {shots_words(line.shots)}, {listed(list(line.tasks))}")
        for one in made
    ]


def best_mix(rows: pd.DataFrame, aim: Aim | None = None, *, method: str | None = None) -> BestMix:
    """The best mix of the parts of a study's mixes, and the one to run next; `method` where mixes
    of several were run.

    Raises InputError where there is no mix, where there are several sets of mixes, and as
    `best_of` does.
    """
    found = [(one, where) for one, where in mixes_of(rows, aim)]
    if method is not None:
        found = [(one, where) for one, where in found if one.name.split()[0] == method]
    if not found:
        raise InputError(
            "mixes: these rows have no mix"
            + (f" of {method}" if method else "")
            + "; add entries of `kind: mix` to the study (docs/curation.md)"
        )
    if len(found) > 1:
        names = listed([one.name for one, _ in found])
        raise InputError(f"mixes: several sets of mixes were run ({names}); name the method")
    return best_of(*found[0])


def _weights(said: Any) -> dict[str, float] | None:
    """The shares of a mix, from the words on its rows; None for what is no mix."""
    try:
        of = json.loads(said)["of"] if isinstance(said, str) else None
    except (ValueError, KeyError, TypeError):
        return None
    if not isinstance(of, dict) or not of:
        return None
    total = sum(float(weight) for weight in of.values())
    return {str(part): float(weight) / total for part, weight in of.items()}


def _key(arm: Configuration) -> tuple[str, ...]:
    return tuple(str(arm.fields.get(column)) for column in CONFIGURATION if column != "source")


def _mixes(
    line: Line,
    parts: Sequence[str],
    places: Sequence[int],
    weights: Mapping[str, Mapping[str, float] | None],
    aim: Aim,
) -> Mixes:
    arms = [line.arms[place] for place in places]
    of = [weights[arm.id] or {str(arm.source): 1.0} for arm in arms]
    shares = [each.get(part, 0.0) for each in of for part in parts]
    first = arms[0]
    labels = "" if first.labels is None else f" {first.labels}"
    return Mixes(
        name=f"{first.method}{labels}",
        parts=tuple(parts),
        names=tuple(str(arm.source) for arm in arms),
        weights=np.array(shares).reshape(len(of), len(parts)),
        scores=100 * line.means(aim.weights)[:, list(places)],
    )
