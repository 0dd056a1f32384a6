"""The images of a source's and a task's splits."""

from __future__ import annotations

from collections.abc import Collection

import numpy as np

from headwater.errors import InputError, blamed_on
from headwater.sources import Positions, Source, natural_splits
from headwater.sources.positions import ascending
from headwater.study import Study
from headwater.tasks import SPLITS


def of_source(study: Study, source: Source, name: str) -> Positions:
    """All images of a source's splits, ascending, each once.

    Raises InputError for a split that is none or holds no image.
    """
    use = study.sources[name]
    of_each: list[Positions] = []
    for i, split in enumerate(use.splits):
        with blamed_on("sources", name, "splits", i):
            natural = _natural(split, name)
            with blamed_on("sources", name, "split_column"):
                positions = source.split(use.split_column, natural)
            if not len(positions):
                raise InputError(
                    f"sources.{name}: {source.name} has 0 images in {split}; pre-training needs at "
                    "least 2"
                )
            of_each.append(positions)
    return ascending(np.concatenate(of_each))


def parts_first(study: Study, names: Collection[str]) -> list[str]:
    """These entries of the study's `data` and what they are made of, in the study's order, but for
    what is made of others, which comes after these.
    """
    order: dict[str, None] = {}

    def add(name: str) -> None:
        for part in study.data[name].parts().values():
            add(part)
        order.setdefault(name)

    for name in study.data:
        if name in names:
            add(name)
    return list(order)


def of_task(study: Study, source: Source, name: str) -> Positions:
    """All images of a task's three splits, ascending. Raises InputError for a column that is not
    there.
    """
    column = study.tasks[name].split_column
    return ascending(np.concatenate([source.split(column, split) for split in SPLITS]))


def _natural(split: str, name: str) -> str:
    """A split's usual name. Raises InputError where it is none."""
    try:
        natural = str(natural_splits([split], name)[0])
    except InputError:
        natural = ""
    if not natural:
        raise InputError(f"sources.{name}: the split {split!r} is none of train, val, test")
    return natural
