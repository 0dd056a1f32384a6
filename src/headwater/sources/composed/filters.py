"""Which images a view keeps, and how many it leaves out for which reason."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Table
from headwater.sources.composed.columns import Columns, Objects

Mask = NDArray[np.bool_]


@dataclass(frozen=True)
class Filter:
    """One condition on images."""

    says: str
    """What the images have that it leaves out, for people."""
    keep: Callable[[Mask], Mask]
    """bool [num_samples] of what earlier filters kept -> what is kept after this one."""


@dataclass(frozen=True)
class Left:
    """How many images of those that were still kept a filter left out."""

    says: str
    images: int


def kept(filters: Sequence[Filter], there: Mask) -> tuple[Mask, list[Left]]:
    """What is kept of the images that are `there` after all filters, one after the other, and what
    each left out.
    """
    mask, left = there, []
    for one in filters:
        then = one.keep(mask) & mask
        left.append(Left(one.says, int(mask.sum() - then.sum())))
        mask = then
    return mask, left


def by_values(columns: Columns, name: str, values: Sequence[str], where: str) -> Filter:
    """Images whose column `name` is one of `values`. Raises InputError for a column that is not
    there, and for a value that no image has.
    """
    said = columns.texts(name, where)
    there = set(pd.unique(said).tolist())
    for value in values:
        if value not in there:
            some = ", ".join(map(repr, sorted(there - {""})[:5])) or "no values"
            raise InputError(f"{where}: no image has the {name} {value!r}; they have {some}")
    wanted = np.asarray(pd.Index(said).isin(list(values)), dtype=np.bool_)
    return Filter(f"{name} is not {' or '.join(values)}", lambda mask: wanted)


def by_score(
    columns: Columns,
    name: str,
    splits: Objects,
    where: str,
    *,
    at_least: float | None = None,
    at_most: float | None = None,
    top: float | None = None,
) -> Filter:
    """Images whose number in column `name` is within limits; or the share `top` of the images of
    each split that have the highest, of equal ones those whose ids come first. An image without a
    number is left out. Raises InputError for a column that is not there, and for what is no number.
    """
    score = columns.numbers(name, where)
    if top is None:
        low = -np.inf if at_least is None else at_least
        high = np.inf if at_most is None else at_most
        inside = (score >= low) & (score <= high)
        parts = [
            *([] if at_least is None else [f"below {at_least:g}"]),
            *([] if at_most is None else [f"above {at_most:g}"]),
        ]
        return Filter(f"{name} is {' or '.join(parts)}, or not there", lambda mask: inside)

    def highest(mask: Mask) -> Mask:
        out = np.zeros(len(mask), dtype=bool)
        for split in pd.unique(splits[mask]):
            scored = np.flatnonzero(mask & ~np.isnan(score) & (splits == split))
            wanted = round(top * len(scored))
            out[scored[np.argsort(-score[scored], kind="stable")[:wanted]]] = True
        return out

    return Filter(f"{name} is not among the highest {100 * top:g} %", highest)


def by_words(table: Table, text: str, least: int, most: int, where: str) -> tuple[Filter, Objects]:
    """Images with a text of `least` to `most` words (as white space divides them) in the field
    `text`, and these texts, object [num_samples] of list[str]. Raises InputError for a field that
    is not there.
    """
    if text not in table.texts:
        known = ", ".join(sorted(table.texts)) or "none"
        raise InputError(f"{where}: there is no text field {text!r}; it has {known}")
    fitting = np.empty(len(table), dtype=object)
    for row, texts in enumerate(table.texts[text].tolist()):
        said = [texts] if isinstance(texts, str) else list(texts or ())
        fitting[row] = [one for one in said if least <= len(one.split()) <= most]
    has = np.array([bool(texts) for texts in fitting], dtype=bool)
    return Filter(f"no text in {text} has {least} to {most} words", lambda mask: has), fitting
