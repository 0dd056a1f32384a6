"""What is known of the best mix, and the one to run next.

What small mixes say of the best one is the idea of RegMix (Liu et al. 2024, arXiv 2407.01492),
which regresses a loss on weights; here everything has an interval, and what cannot be told is said.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from headwater.analysis.decision import Aim
from headwater.analysis.mixes.fit import (
    LINEAR,
    QUADRATIC,
    ROOTS,
    STEP,
    Fit,
    candidates,
    scores_of,
)
from headwater.analysis.mixes.runs import Floats, Mixes, mixes_of
from headwater.analysis.words import listed
from headwater.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

LEVEL = 0.95
_ENDS = ((1 - LEVEL) / 2, (1 + LEVEL) / 2)
SMALL = 0.1
"""Percent points: a mix that is expected to gain less is not proposed [ours]."""


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
    measured: tuple[str, str, float, float, float] | None
    """Of the mixes that were run the best one, the best part alone, and by how many points the
    first is above the second over paired seeds, low, high (95 % for all mixes together); None
    where there is no part alone, no mix, or one seed.
    """
    left_out: tuple[str, ...]
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
        if self.left_out:
            said.append(f"Left out, as no seed has a score in every task: {listed(self.left_out)}.")
        if self.measured is not None:
            said.append(_measured_words(*self.measured))
        if not self.told:
            said.append(
                "So the fit foretells nothing of mixes that were not run; more seeds would tell if "
                "they are noise, other mixes if the score is no such function of the weights."
            )
            return said
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


def _measured_words(mix: str, part: str, gain: float, low: float, high: float) -> str:
    """The best mix that was run against the best part alone, by seeds."""
    said = f"Of those that were run, {mix} is {gain:+.1f} points ({low:+.1f} to {high:+.1f}) from"
    return f"{said} {part} alone, for the best of each by their means."


def _counted(mixes: int) -> str:
    return "1 mix" if mixes == 1 else f"{mixes:,} mixes"


def _gain_words(what: str, name: str, gain: float, low: float, high: float) -> str:
    """How far the best mix is above another one."""
    if low == high:
        return f"By the fit it is the best {what}, {name}."
    points = f"{gain:+.1f} points ({low:+.1f} to {high:+.1f})"
    said = f"By the fit it is {points} from the best {what}, {name}"
    return f"{said}." if low > 0 else f"{said}: which is better is open."


def _mix_words(weights: Mapping[str, float]) -> str:
    return " + ".join(f"{100 * w:.0f} % {part}" for part, w in weights.items() if w > 0)


def best_of(mixes: Mixes, where: str = "") -> BestMix:
    """What mixes that were run say of the best one.

    Raises InputError where there are too few: one more than parts, of weights that differ in all
    directions.
    """
    tried = (Fit.of(mixes, LINEAR), Fit.of(mixes, QUADRATIC), Fit.of(mixes, ROOTS))
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
    draws = scores_of(fits, everywhere, len(mixes.names))
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
        measured=_measured(mixes, alone),
        left_out=mixes.left_out,
        propose=words(grid[next_one]) if gains[next_one] >= SMALL else None,
        expected=float(gains[next_one]),
    )


def _measured(mixes: Mixes, alone: Sequence[int]) -> tuple[str, str, float, float, float] | None:
    """What seeds say of the best mix and the best part alone, without a fit."""
    others = [place for place in range(len(mixes.names)) if place not in alone]
    if not alone or not others:
        return None
    mix, part = (
        max(places, key=lambda place: float(mixes.means[place])) for places in (others, alone)
    )
    gaps = mixes.scores[:, mix] - mixes.scores[:, part]
    gaps = gaps[np.isfinite(gaps)]
    variance, df = mixes.noise
    if not df or not len(gaps):
        return None
    share = (1 - LEVEL) / (2 * len(others) * len(alone))
    half = -float(stdtrit(df, share) * np.sqrt(2 * variance / len(gaps)))
    gain = float(gaps.mean())
    return mixes.names[mix], mixes.names[part], gain, gain - half, gain + half


def _run_already(grid: Floats, run: Floats) -> NDArray[np.bool_]:
    """bool [mixes of the grid]: whether one that was run is as near as a step."""
    away = np.abs(grid[:, None] - run[None]).max(axis=2).min(axis=1)
    return np.asarray(away < STEP - 1e-9, dtype=np.bool_)


def best_mix(
    rows: pd.DataFrame,
    aim: Aim | None = None,
    *,
    method: str | None = None,
    size: str | int | None = None,
) -> BestMix:
    """The best mix of the parts of a study's mixes, and the one to run next; `method` and `size`
    where mixes of several were run.

    Raises InputError where there is no mix, where there are several sets of mixes, and as
    `mixes_of` and `best_of` do.
    """
    every = mixes_of(rows, aim)
    found = [
        (one, where)
        for one, where in every
        if method in (None, one.name.split()[0].rstrip(",")) and str(size) in ("None", one.size)
    ]
    if not found and every:
        raise InputError(f"mixes: no mixes of this kind; there are {_sets(every)}")
    if not found:
        raise InputError(
            "mixes: these rows have no mix; add entries of `kind: mix` to the study "
            "(docs/curation.md)"
        )
    if len(found) > 1:
        raise InputError(
            f"mixes: several sets of mixes were run ({_sets(found)}); name the method, or the size"
        )
    return best_of(*found[0])


def _sets(found: Sequence[tuple[Mixes, str]]) -> str:
    return listed([one.name for one, _ in found])
