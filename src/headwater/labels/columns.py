"""Levels of a class hierarchy: spelled out in a table's columns, or by a hierarchy that the table's
classes are nodes of.
"""

from __future__ import annotations

import weakref
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.labels.kinds import Request
from headwater.labels.targets import Targets
from headwater.sources import Positions, Table


def hierarchy_targets(request: Request) -> Targets:
    """The labels under a level, depth or rank of the hierarchy that the table names, whose nodes
    its finest classes are. An image can have several labels.

    Raises InputError for what the hierarchy cannot give.
    """
    from headwater.labels.hierarchies import open_hierarchy

    view, table, where = request.view, request.table, request.where
    assert table.hierarchy is not None
    codes, names = _column(table, request.positions, 0, where)
    hierarchy = open_hierarchy(table.hierarchy, where=where)
    level = f"{view.kind}:{view.rank or view.number}"
    targets = hierarchy.targets(codes.astype(np.int32), names, level, where=where)
    return replace(targets, view=view.name)


def column_targets(request: Request, level: int) -> Targets:
    """The labels that a column of the table spells out, level 0 the finest. Raises InputError as
    `level_targets` does.
    """
    codes, names = level_targets(request.table, request.positions, level, request.where)
    return Targets(codes, names, request.view.name)


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
    import pandas as pd

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
    import pandas as pd

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
