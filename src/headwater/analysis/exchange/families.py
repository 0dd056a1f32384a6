"""Arms that differ in how many images they were given alone: a curve each."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from headwater.analysis.configurations import CONFIGURATION, Configuration
from headwater.analysis.evidence import Line
from headwater.analysis.exchange.seeds import Seeds
from headwater.analysis.words import listed, missing
from headwater.errors import InputError

if TYPE_CHECKING:
    from headwater.analysis.curves.curve import Floats

By = Literal["images", "seen", "shots"]
"""What a curve is drawn over: distinct images in pre-training, images that passed through it (those
that come again count again), or labelled images per class of the task.
"""
_SAME = 0.02
"""Numbers of epochs this near each other are one budget: a size is drawn by whole images."""


def counted_by(word: str) -> By:
    """The word of `By`. Raises InputError for another one."""
    if word == "images":
        return "images"
    if word == "seen":
        return "seen"
    if word == "shots":
        return "shots"
    raise InputError(f"exchange: images, seen or shots are counted, not {word!r}")


@dataclass(frozen=True)
class Family:
    """An arm at several sizes; over shots, one arm."""

    name: str
    source: str | None
    arms: tuple[Configuration, ...]
    n: tuple[float, ...]
    """How many images each arm was given; over shots nothing, as its cells say it."""
    budget: str = ""
    """What tells its budget from that of other curves of the same arm, such as '12 epochs'; empty
    where there is one.
    """

    def measured(self, line: Line, weights: Mapping[str, float] | None = None) -> Family | None:
        """With the arms alone that have a score of some seed in all settings of a line; None where
        none has.
        """
        places = {arm.id: place for place, arm in enumerate(line.arms)}
        known = np.asarray(np.isfinite(line.means(weights)).any(axis=0), dtype=np.bool_)
        kept = [
            (arm, n)
            for arm, n in zip(self.arms, self.n, strict=True)
            if arm.id in places and known[places[arm.id]]
        ]
        if not kept:
            return None
        return replace(self, arms=tuple(arm for arm, _ in kept), n=tuple(n for _, n in kept))

    def seeds(self, line: Line, weights: Mapping[str, float] | None = None) -> Seeds:
        """Its errors in percent, the mean over the settings of a line that has its arms."""
        places = {arm.id: place for place, arm in enumerate(line.arms)}
        if not self.n:
            return self._by_shots(line, weights, places[self.arms[0].id])
        scores = line.means(weights)
        errors: dict[tuple[float, int], float] = {}
        for arm, n in self._once():
            if arm.id in places:
                of_arm = 100 * (1 - scores[:, places[arm.id]])
                pairs = zip(line.seeds, of_arm, strict=True)
                errors |= {(n, seed): float(error) for seed, error in pairs if np.isfinite(error)}
        return Seeds.of(self.name, errors)

    def _once(self) -> list[tuple[Configuration, float]]:
        """(arm, images) of the first arm of each number of images (`repeated` tells of others)."""
        first: dict[float, Configuration] = {}
        for arm, n in zip(self.arms, self.n, strict=True):
            first.setdefault(n, arm)
        return [(arm, n) for n, arm in first.items()]

    def _by_shots(self, line: Line, weights: Mapping[str, float] | None, place: int) -> Seeds:
        errors: dict[tuple[float, int], float] = {}
        for shots in line.shots:
            at = [number for number, each in enumerate(line.settings) if each.shots == shots]
            some = replace(
                line,
                settings=tuple(line.settings[number] for number in at),
                scores=line.scores[at],
                steps=line.steps[at],
                chance=line.chance[at],
            )
            pairs = zip(line.seeds, 100 * (1 - some.means(weights)[:, place]), strict=True)
            errors |= {
                (float(shots), seed): float(error) for seed, error in pairs if np.isfinite(error)
            }
        return Seeds.of(self.name, errors)


def families(arms: Sequence[Configuration], by: By = "images") -> list[Family]:
    """The curves of some arms, in their order: arms that were trained, alike in all but their size
    (and, over images, in a budget that is one number of images seen or one of epochs). Over shots
    every arm is one, no pre-training too.
    """
    if by == "shots":
        return [Family(arm.name, arm.source, (arm,), ()) for arm in arms]
    alike: dict[tuple[str, ...], list[Configuration]] = {}
    for arm in arms:
        if arm.method != "scratch" and np.isfinite(_number_of(arm, by)):
            alike.setdefault(_key(arm), []).append(arm)
    parts = [part for of_key in alike.values() for part in _budgets(of_key, by)]
    return _named([_family(apart, of_part, by) for apart, of_part in parts])


def _key(arm: Configuration) -> tuple[str, ...]:
    kept = (column for column in CONFIGURATION if column not in ("size", "images_seen"))
    return tuple(str(arm.fields.get(column)) for column in kept)


def _number_of(arm: Configuration, by: By) -> float:
    value: Any = arm.fields.get("unique_images" if by == "images" else "images_seen")
    return float("nan") if missing(value) else float(value)


def _budgets(arms: list[Configuration], by: By) -> list[tuple[str, list[Configuration]]]:
    """Arms of one key, apart where they have several budgets at one size (or, over images seen,
    several sizes at one budget), with what tells them apart.
    """
    numbers = np.array([_number_of(arm, by) for arm in arms])
    if len(set(numbers.tolist())) == len(arms):
        return [("", arms)]
    other: By = "seen" if by == "images" else "images"
    others = np.array([_number_of(arm, other) for arm in arms])
    unit: str = other
    values = others
    if by == "images":
        near = _brought_together(others / numbers)
        if len(set(near.tolist())) < len(set(others[np.isfinite(others)].tolist())):
            unit, values = "epochs", near
    groups: dict[float, list[Configuration]] = {}
    for value, arm in zip(values, arms, strict=True):
        groups.setdefault(float(value), []).append(arm)
    if len(groups) == 1:  # sizes of which equally many pictures are different
        return [("", arms)]
    return [(f", {_amount(value)} {unit}", groups[value]) for value in sorted(groups)]


def _brought_together(values: Floats) -> Floats:
    """Values of which those that differ by next to nothing are one: the median of each such group,
    none of which is wider than that.
    """
    found = values.copy()
    left = np.sort(values[np.isfinite(values)])
    while len(left):
        group = left[left <= left[0] * (1 + _SAME)]
        found[(values >= group[0]) & (values <= group[-1])] = np.median(group)
        left = left[len(group) :]
    return found


def _amount(value: float) -> str:
    return f"{value:,.0f}" if value >= 10 else f"{value:.2g}"


def _family(apart: str, arms: list[Configuration], by: By) -> Family:
    first = arms[0]
    labels = "" if first.labels is None else f" {first.labels}"
    source = "" if first.source is None else f" · {first.source}"
    n = tuple(_number_of(arm, by) for arm in arms)
    name = f"{first.method}{labels}{apart}{source}"
    return Family(name, first.source, tuple(arms), n, apart.removeprefix(", "))


def _named(found: list[Family]) -> list[Family]:
    """Equal names are told apart by the backbone; what is still equal (it differs in the recipe)
    by a number.
    """
    names = [one.name for one in found]
    several = len({one.arms[0].backbone for one in found}) > 1
    told = [
        replace(one, name=f"{one.name}, {one.arms[0].backbone}")
        if several and names.count(one.name) > 1
        else one
        for one in found
    ]
    seen: dict[str, int] = {}
    unique = []
    for one in told:
        seen[one.name] = seen.get(one.name, 0) + 1
        number = seen[one.name]
        unique.append(one if number == 1 else replace(one, name=f"{one.name} ({number})"))
    return unique


_WORDS = {
    "backbone": "backbone",
    "image_size": "image size",
    "batch": "batch",
    "optimiser": "optimiser",
    "lr": "learning rate",
    "weight_decay": "weight decay",
}
"""Columns in which two curves of one method should be alike, as they are called."""


def differences(a: Family, b: Family, by: By) -> list[str]:
    """What two curves differ in besides their source and labels, in words: settings, and how long
    their arms were trained, where neither all images seen nor all epochs are the same.
    """
    said = []
    for column, word in _WORDS.items():
        if a.arms[0].method != b.arms[0].method and column not in ("backbone", "image_size"):
            continue  # each method has a recipe of its own
        values = [_values(one, column) for one in (a, b)]
        if values[0] != values[1] and all(values):
            both = " and ".join(listed(sorted(value)) for value in values)
            said.append(f"the two differ in their {word} too ({both})")
    if by == "images":
        said += _budget_words(a, b)
    return said


def repeated(sides: Sequence[Family]) -> list[str]:
    """Numbers of images at which a curve has several arms, of which the first alone enters: sizes
    that were asked for and of which so many pictures are different.
    """
    said = []
    for one in dict.fromkeys(sides):
        for n in sorted({n for n in one.n if one.n.count(n) > 1}):
            of = [arm for arm, each in zip(one.arms, one.n, strict=True) if each == n]
            sizes = listed([str(arm.fields.get("size")) for arm in of])
            said.append(
                f"{one.name} has {len(of)} arms of {n:,.0f} images (sizes {sizes}), and the first "
                "alone is counted"
            )
    return said


def _values(one: Family, column: str) -> set[str]:
    values: list[Any] = [arm.fields.get(column) for arm in one.arms]
    return {str(value) for value in values if not missing(value)}


def _budget_words(a: Family, b: Family) -> list[str]:
    """Nothing where the same was held equal in all arms of both."""
    seen = [_seen(one) for one in (a, b)]
    both = np.concatenate(seen)
    epochs = both / np.concatenate([a.n, b.n]) if a.n and b.n else both
    if not np.isfinite(both).all() or min(_spread(both), _spread(epochs)) <= 1 + _SAME:
        return []
    words = [
        f"{one.name}: {of.min():,.0f} to {of.max():,.0f}"
        for one, of in zip((a, b), seen, strict=True)
    ]
    return [
        "neither the images seen nor the epochs of the two are held equal, so that the rate is of "
        f"training too (images seen of {' and of '.join(words)})"
    ]


def _seen(one: Family) -> Floats:
    return np.array([_number_of(arm, "seen") for arm in one.arms])


def _spread(values: Floats) -> float:
    return float(values.max() / values.min()) if values.min() > 0 else np.inf


def budgets_of(found: list[Family], a: str, b: str) -> dict[str, tuple[str, str]]:
    """Budget -> the names of two curves, of all budgets under which both were run; empty where
    either is one curve alone. `a` and `b` are sources, or names without the budget.
    """
    sides = []
    for asked in (a, b):
        of = [one for one in found if one.budget and asked in (one.source, _without_budget(one))]
        by_budget = {one.budget: one.name for one in of}
        if len(by_budget) < 2 or len(by_budget) < len(of):
            return {}
        sides.append(by_budget)
    return {
        budget: (name, sides[1][budget]) for budget, name in sides[0].items() if budget in sides[1]
    }


def _without_budget(one: Family) -> str:
    return one.name.replace(f", {one.budget}", "", 1)


def named(found: list[Family], asked: str) -> Family:
    """The family of a name or, where there is one, of a source. Raises InputError for none and for
    several, with the names that there are.
    """
    exact = [one for one in found if one.name == asked]
    of_source = [one for one in found if one.source == asked]
    chosen = exact or of_source
    if len(chosen) == 1:
        return chosen[0]
    said = ", ".join(one.name for one in (chosen or found)) or "none"
    if chosen:
        raise InputError(f"{asked}: several curves are of this source: {said}; name one of them")
    raise InputError(f"{asked}: is no curve of these rows; there are {said}")
