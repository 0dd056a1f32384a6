"""What the images are called: label views, which are pure functions of a table and a seed and never touch an image.

A view is named by a short text:

    level:k             classes of level k, 0 = finest (columns.py); `class` is another word for level:0
    instance            one class per image (partitions.py)
    random:K            K random classes of equal size (partitions.py); the arm's seed decides which
    random:K@seed=S     the same, with a seed of its own, so that all arms share one partition

The indices of a view are over the images that it is given: classes are those that occur among them, sorted by name. Splits of one task
that must share a class index are given together and cut apart afterwards. A further view is one more entry in `VIEWS`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError, Location, blamed_on
from headwater.labels.captions import caption_lists, choose
from headwater.labels.columns import level_targets
from headwater.labels.partitions import instance_targets, random_targets
from headwater.labels.targets import LabelSets, Targets, targets_of_sets
from headwater.sources import Positions, Table

__all__ = ["VIEWS", "LabelSets", "Targets", "caption_lists", "choose", "distinct_views", "label_view", "nesting", "parse_view", "targets_of_sets"]


@dataclass(frozen=True)
class _Kind:
    """One kind of view: how it is written, and the function from (table, positions, argument, seed, where) to indices and names."""

    form: str
    argument: bool
    """Whether a number follows the colon."""
    seeded: bool
    """Whether `@seed=S` may follow."""
    least: int
    """The smallest number allowed."""
    make: Callable[[Table, Positions, int, int, str], tuple[NDArray[np.int64], tuple[str, ...]]]


VIEWS: dict[str, _Kind] = {
    "level": _Kind("level:k", True, False, 0, lambda table, at, number, _seed, where: level_targets(table, at, number, where)),
    "instance": _Kind("instance", False, False, 0, lambda table, at, _number, _seed, _where: instance_targets(table, at)),
    "random": _Kind("random:K", True, True, 2, lambda table, at, number, seed, where: random_targets(table, at, number, seed, where)),
}
"""Kinds of views by their first word. To come: cluster:K, shuffle:K, `random:K within level:j` and label noise."""


def parse_view(text: str) -> str:
    """The canonical name of a view: no spaces, no leading zeros, level:0 for class. Raises InputError, with all valid forms, otherwise."""
    kind, number, seed = _parsed(text)
    argument = f":{number}" if VIEWS[kind].argument else ""
    return f"{kind}{argument}" + (f"@seed={seed}" if seed is not None else "")


def distinct_views(views: Iterable[str], at: Location) -> None:
    """Raises InputError, blamed on its place in the list at `at`, for what is no view and for one that says the same as an earlier one."""
    seen: dict[str, str] = {}
    for i, text in enumerate(views):
        with blamed_on(*at, i):
            view = parse_view(text)
            if view in seen:
                raise InputError(f"{'.'.join(map(str, at))}: {text!r} is the same view as {seen[view]!r}; list it once")
            seen[view] = text


def label_view(view: str, table: Table, positions: Positions, seed: int, where: str) -> Targets:
    """The classes of the images at `positions` (int64 [num_images]) under a view.

    `seed` is the arm's; it matters for seeded views without a seed of their own. `where` names the source in messages. Raises InputError
    for an unknown view and for a table that cannot give it.
    """
    kind, number, own_seed = _parsed(view)
    indices, names = VIEWS[kind].make(table, positions, number, seed if own_seed is None else own_seed, where)
    return Targets(codes=indices, names=names, view=parse_view(view))


def nesting(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """How far `a` determines `b` (int64 [num_images] each): the share of images whose class of `b` is the most frequent one in their class of `a`.

    1.0 where each class of `a` lies within one class of `b` (b coarsens a, or equals it).
    """
    pairs, counts = np.unique(np.stack([a, b], axis=1), axis=0, return_counts=True)
    most = np.zeros(int(a.max()) + 1, dtype=np.int64)
    np.maximum.at(most, pairs[:, 0], counts)
    return float(most.sum() / len(a))


def _parsed(text: str) -> tuple[str, int, int | None]:
    """(kind, number or 0, seed or None)."""
    plain = re.sub(r"\s*([:@=])\s*", r"\1", text.strip())
    plain = "level:0" if plain == "class" else plain
    match = re.fullmatch(r"([a-z]+)(?::([0-9]{1,9}))?(?:@seed=([0-9]{1,9}))?", plain)
    kind = VIEWS.get(match[1]) if match else None
    if match is None or kind is None or (match[2] is not None) != kind.argument or (match[3] is not None and not kind.seeded):
        forms = ", ".join([*(each.form for each in VIEWS.values()), *(f"{each.form}@seed=S" for each in VIEWS.values() if each.seeded), "class"])
        shown = text if len(text) <= 60 else text[:57] + "..."
        raise InputError(f"{shown!r} is no label view; the views are {forms} (numbers of at most 9 digits)")
    number = int(match[2] or 0)
    if number < kind.least:
        raise InputError(f"{text!r}: the number should be at least {kind.least}")
    return match[1], number, None if match[3] is None else int(match[3])
