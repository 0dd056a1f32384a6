"""Levels of a class hierarchy: spelled out in a table's columns, or by a hierarchy that the table's
classes are nodes of.
"""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.labels.targets import Targets
from headwater.labels.views import View
from headwater.sources import Positions, Table


def class_targets(table: Table, positions: Positions, view: View, where: str) -> Targets:
    """The labels of images at `positions` under level:k, depth:d or rank:NAME.

    Where the source names a hierarchy, its finest classes are nodes of it and all three are asked
    of it; an image can then have several labels. Otherwise level:k is a column of the table, and
    depth:d is the column d below the root (which is above the coarsest one), or the finest one
    where there are fewer. Raises InputError for what the table cannot give.
    """
    if table.hierarchy is not None:
        from headwater.labels.hierarchies import open_hierarchy

        codes, names = _column(table, positions, 0, where)
        asked = view.kind + ":" + (view.rank or str(view.number))
        found = open_hierarchy(table.hierarchy, where=where).targets(
            codes.astype(np.int32), names, asked, where=where
        )
        return replace(found, view=view.name)
    if view.kind == "rank":
        raise InputError(
            f"{where}: {view.name} needs a hierarchy with named ranks; give the data set a "
            "`hierarchy`, or use level:k"
        )
    level = view.number if view.kind == "level" else max(0, len(table.levels) - view.number)
    if view.kind == "depth" and level == len(table.levels):
        raise InputError(
            f"{where}: depth:0 is the root, one class for all; depth:1 is the coarsest level"
        )
    return Targets(*level_targets(table, positions, level, where), view.name)


def level_targets(
    table: Table, positions: Positions, level: int, where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(indices int64 [num_images], class names sorted): level 0 is the finest.

    Raises InputError for a level beyond the top, images without a class at that level, and a class
    of the table under two parents: the levels would not coarsen one another. Such classes are told
    apart by writing the parent into the name (`fruit/apple`, `juice/apple`).
    """
    if level >= len(table.levels):
        have = (
            f"level:0 to level:{len(table.levels) - 1}"
            if table.levels
            else "no levels, so it can only be used without labels (simclr) or with instance"
        )
        raise InputError(f"{where}: there is no level:{level}; this source has {have}")
    if table not in _CHECKED:
        check_parents(table, where)
        _CHECKED.add(table)
    return _column(table, positions, level, where)


_CHECKED: weakref.WeakSet[Table] = weakref.WeakSet()
"""Tables in which no class is under two parents: looking takes seconds at ten million rows."""


def _column(
    table: Table, positions: Positions, level: int, where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    if not table.levels:
        raise InputError(
            f"{where}: there are no class names, so a hierarchy says nothing of its images"
        )
    values = table.levels[level][positions]
    missing = np.flatnonzero(values == "")
    if len(missing):
        first = table.ids[positions[missing[0]]]
        raise InputError(
            f"{where}: {len(missing)} of {len(values)} images have no class at level:{level}, the "
            f"first is {first!r}; name it, or filter them"
        )
    codes, names = pd.factorize(values, sort=True)
    return codes.astype(np.int64), tuple(names)


def check_parents(table: Table, where: str) -> None:
    """Raises InputError where a class of any level has two parents on the level above.

    Images without a class on either are passed over.
    """
    for level, (fine, coarse) in enumerate(zip(table.levels, table.levels[1:], strict=False)):
        pairs = pd.DataFrame({"fine": fine, "coarse": coarse}).drop_duplicates()
        pairs = pairs[(pairs["fine"] != "") & (pairs["coarse"] != "")]
        twice = pairs[pairs["fine"].duplicated(keep=False)].sort_values(["fine", "coarse"])
        if len(twice):
            child = twice["fine"].iloc[0]
            one, other = twice["coarse"][twice["fine"] == child].iloc[:2]
            raise InputError(
                f"{where}: the class {child!r} of level:{level} is under {one!r} and under "
                f"{other!r}; "
                f"if these are two classes, write {f'{one}/{child}'!r} and {f'{other}/{child}'!r}"
            )
