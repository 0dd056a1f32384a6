"""Mixes of the same parts that were run alike, from rows."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headwater.analysis.configurations import CONFIGURATION, Configuration, prepare
from headwater.analysis.decision import Aim
from headwater.analysis.evidence import Line, evidence_of
from headwater.analysis.lines import check_aim, headline_of
from headwater.analysis.words import listed, missing, shots_words
from headwater.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

Floats = NDArray[np.float64]
_ALIKE = 1.1
"""Numbers of images this near each other (a ratio) are one [ours]."""


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
    """float64 [seeds, mixes]: percent; NaN where a mix has no score of a seed. Every seed and every
    mix has one.
    """
    size: str = "all"
    """How many images each was given, as the study says it."""
    left_out: tuple[str, ...] = ()
    """Arms of which no seed has a score in every task."""

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


def mixes_of(rows: pd.DataFrame, aim: Aim | None = None) -> list[tuple[Mixes, str]]:
    """The sets of mixes in rows, each of the same parts and the same arm but for its source, with
    the setting; parts that were run alone are mixes as well.

    Raises InputError as `decide` does, for weights that are none, and for mixes that were given
    different numbers of images.
    """
    table = prepare(rows)
    found, aim = evidence_of(table), aim or Aim()
    check_aim(aim, found)
    line = headline_of(found, aim)
    if line is None:
        return []
    said = table.drop_duplicates("configuration").set_index("configuration")["curation"]
    recipes = {arm.id: _recipe_of(said.get(arm.id), arm.name) for arm in line.arms}
    alike: dict[tuple[str, ...], list[int]] = {}
    for place, arm in enumerate(line.arms):
        if arm.source is not None:
            alike.setdefault(_key(arm), []).append(place)
    where = f"{line.protocol}, {shots_words(line.shots)}, {listed(list(line.tasks))}"
    made = []
    for places in alike.values():
        mixed = {
            place: recipe
            for place in places
            if (recipe := recipes[line.arms[place].id]) is not None
        }
        alone = {
            source: part
            for one in mixed.values()
            for part, of in one.alone.items()
            for source in of
        }
        whole = {
            place: _Recipe({alone[str(line.arms[place].source)]: 1.0}, {})
            for place in places
            if place not in mixed and line.arms[place].source in alone
        }
        if mixed:
            made.append((_mixes(line, {**whole, **mixed}, aim), where))
    return made


@dataclass(frozen=True)
class _Recipe:
    """What an arm's source is mixed of."""

    weights: dict[str, float]
    """Part that is no mix -> its share."""
    alone: dict[str, list[str]]
    """The same part -> the sources that it is by itself."""


def _recipe_of(said: Any, name: str) -> _Recipe | None:
    """From the words on its rows; None for what is no mix. Raises InputError for weights that are
    none.
    """
    try:
        words = json.loads(said) if isinstance(said, str) else None
    except ValueError:
        return None
    if not isinstance(words, dict) or not isinstance(words.get("of"), dict):
        return None
    weights = _shares(words, name)
    told = words.get("alone")
    alone = told if isinstance(told, dict) else {part: [part] for part in weights}
    return _Recipe(weights, {str(part): list(map(str, of or ())) for part, of in alone.items()})


def _shares(words: Mapping[str, Any], name: str) -> dict[str, float]:
    """The shares of the parts that are no mixes; they sum to 1."""
    of, made_of = words["of"], words.get("made_of") or {}
    bad = [weight for weight in of.values() if not _is_weight(weight)]
    if bad or not of:
        raise InputError(f"{name}: a weight of its mix is {bad[0] if bad else 'missing'!r}")
    total = sum(map(float, of.values()))
    found: dict[str, float] = {}
    for part, weight in of.items():
        inner = made_of.get(part)
        mixed = isinstance(inner, dict) and isinstance(inner.get("of"), dict)
        parts = _shares(inner or {}, name) if mixed else {str(part): 1.0}
        for leaf, share in parts.items():
            found[leaf] = found.get(leaf, 0.0) + share * float(weight) / total
    return found


def _is_weight(value: Any) -> bool:
    number = isinstance(value, int | float) and not isinstance(value, bool)
    return number and bool(np.isfinite(value)) and value > 0


def _key(arm: Configuration) -> tuple[str, ...]:
    return tuple(str(arm.fields.get(column)) for column in CONFIGURATION if column != "source")


def _mixes(line: Line, recipes: Mapping[int, _Recipe], aim: Aim) -> Mixes:
    arms = [line.arms[place] for place in recipes]
    _check_images(arms)
    scores = 100 * line.means(aim.weights)[:, list(recipes)]
    seeds = np.isfinite(scores).any(axis=1)
    there = [bool(known.any()) for known in np.isfinite(scores).T]
    if not any(there):
        raise InputError(f"mixes: no seed of {arms[0].name} has a score in every task")
    kept = [recipe for recipe, known in zip(recipes.values(), there, strict=True) if known]
    parts = sorted({part for recipe in kept for part in recipe.weights})
    shares = [recipe.weights.get(part, 0.0) for recipe in kept for part in parts]
    first = arms[0]
    size = None if first.fields.get("size") in (None, "all") else str(first.fields["size"])
    return Mixes(
        name=f"{first.method}"
        + ("" if first.labels is None else f" {first.labels}")
        + ("" if size is None else f", {size} images"),
        parts=tuple(parts),
        names=tuple(str(arm.source) for arm, known in zip(arms, there, strict=True) if known),
        weights=np.array(shares).reshape(len(kept), len(parts)),
        scores=scores[seeds][:, there],
        size=size or "all",
        left_out=tuple(arm.name for arm, known in zip(arms, there, strict=True) if not known),
    )


def _check_images(arms: Sequence[Configuration]) -> None:
    """Raises InputError for mixes of which one was given many more images than another."""
    images: list[Any] = [arm.fields.get("unique_images") for arm in arms]
    known = [float(number) for number in images if not missing(number)]
    if known and max(known) > _ALIKE * min(known):
        raise InputError(
            f"mixes: they were given {min(known):,.0f} to {max(known):,.0f} images, so what "
            "weights do and what more images do cannot be told apart; give the study one of `sizes`"
        )
