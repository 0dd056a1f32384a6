"""Levels of a class hierarchy that a table spells out in columns."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Positions, Table


def level_targets(table: Table, positions: Positions, level: int, where: str) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(indices int64 [num_images], class names sorted): level 0 is the finest.

    Raises InputError for a level beyond the top, images without a class at that level, and a class of the table under two parents: the
    levels would not coarsen one another. Such classes are told apart by writing the parent into the name (`fruit/apple`, `juice/apple`).
    """
    if level >= len(table.levels):
        have = f"level:0 to level:{len(table.levels) - 1}" if table.levels else "no levels, so it can only be used without labels (simclr) or with instance"
        raise InputError(f"{where}: there is no level:{level}; this source has {have}")
    check_parents(table, where)
    values = table.levels[level][positions]
    missing = np.flatnonzero(values == "")
    if len(missing):
        first = table.ids[positions[missing[0]]]
        raise InputError(f"{where}: {len(missing)} of {len(values)} images have no class at level:{level}, the first is {first!r}; name it, or filter them")
    codes, names = pd.factorize(values, sort=True)
    return codes.astype(np.int64), tuple(names)


def check_parents(table: Table, where: str) -> None:
    """Raises InputError where a class of any level has two parents on the level above. Images without a class on either are passed over."""
    for level, (fine, coarse) in enumerate(zip(table.levels, table.levels[1:], strict=False)):
        pairs = pd.DataFrame({"fine": fine, "coarse": coarse}).drop_duplicates()
        pairs = pairs[(pairs["fine"] != "") & (pairs["coarse"] != "")]
        twice = pairs[pairs["fine"].duplicated(keep=False)].sort_values(["fine", "coarse"])
        if len(twice):
            child = twice["fine"].iloc[0]
            one, other = twice["coarse"][twice["fine"] == child].iloc[:2]
            raise InputError(
                f"{where}: the class {child!r} of level:{level} is under {one!r} and under {other!r}; "
                f"if these are two classes, write {f'{one}/{child}'!r} and {f'{other}/{child}'!r}"
            )
