"""Groups: images that belong together (a camera, a patient, a sequence) and may not lie in two
splits.
"""

from __future__ import annotations

import difflib

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headwater import keys
from headwater.errors import InputError
from headwater.sources import Positions, Source
from headwater.sources.splitting import grouped_parts

_APART = (("train", "test"), ("val", "test"))
"""Splits that no group may share [ours]: what was trained or chosen on would be measured.

Given train and val may share one.
"""


def group_codes(source: Source, column: str, positions: Positions, where: str) -> NDArray[np.int64]:
    """int64 [len(source.table)]: the number of each sample's group at `positions`, -1 elsewhere.

    An image without a value is a group of its own.

    Raises InputError for a column that the source lacks.
    """
    columns = source.table.groups
    if column not in columns:
        near = difflib.get_close_matches(column, list(columns), n=1)
        advice = f"it has {', '.join(sorted(columns)) or 'none'}"
        if near:
            advice = f"did you mean {near[0]!r}?"
        raise InputError(f"{where}: {source.name} has no group column {column!r}; {advice}")
    groups = np.full(len(source.table), -1, dtype=np.int64)
    values = columns[column][positions]
    codes, names = pd.factorize(values)
    groups[positions] = codes
    alone = positions[values == ""]
    groups[alone] = len(names) + np.arange(len(alone))
    return groups


def check_apart(
    source: Source, column: str, groups: NDArray[np.int64], splits: dict[str, Positions], where: str
) -> None:
    """Raises InputError, with their number and one of them, for groups that lie in train and test,
    or in val and test.
    """
    for fitted, measured in _APART:
        both = np.intersect1d(groups[splits[fitted]], groups[splits[measured]])
        if len(both):
            name = source.table.groups[column][np.flatnonzero(groups == both[0])[0]]
            images = int(np.isin(groups[splits[measured]], both).sum())
            raise InputError(
                f"{where}: {len(both)} groups of {column!r} are in {fitted} and in {measured} "
                f"({images} {measured} images; one is {name!r}); name splits that keep them apart "
                "(`headwater tasks split --group` makes some), or leave `group` out"
            )


def carve_groups(
    labels: NDArray[np.int64],
    groups: NDArray[np.int64],
    source: Source,
    column: str,
    train: Positions,
    share: float,
) -> tuple[Positions, Positions]:
    """(train, val): whole groups worth about `share` of the images of each class, by key; the same
    cut for every arm, seed and study.
    """
    parts = part_groups(
        labels[train],
        groups[train],
        source,
        column,
        train,
        keys.key(0, "val carved from train by group"),
        (share,),
    )
    return train[parts == 0], train[parts == 1]


def part_groups(
    codes: NDArray[np.int64],
    groups: NDArray[np.int64],
    source: Source,
    column: str,
    positions: Positions,
    key: int,
    shares: tuple[float, ...],
) -> NDArray[np.int64]:
    """int64 [len(positions)]: `grouped_parts` of images with classes `codes` and groups `groups`.

    A group is keyed by its name, or by the id of its only image where it has none, so that neither
    the order of the rows nor other groups matter to its key.
    """
    numbers, first, number_of = np.unique(groups, return_index=True, return_inverse=True)
    pairs = zip(
        source.table.groups[column][positions[first]],
        source.table.ids[positions[first]],
        strict=True,
    )
    names = [str(name) or f"\x1f{sample}" for name, sample in pairs]
    order = np.argsort(np.array(names, dtype=object), kind="stable")
    rank = np.empty(len(numbers), dtype=np.int64)
    rank[order] = np.arange(len(numbers))
    hashes = keys.sample_hashes([names[i] for i in order.tolist()])
    return grouped_parts(codes, rank[number_of], hashes, key, shares)
