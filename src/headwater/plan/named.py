"""Rows of a store under the names of a study."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.plan.planned import PlannedCell
from headwater.rows import COLUMNS, PANDAS_TYPES
from headwater.rows.checks import sorted_rows

if TYPE_CHECKING:
    import pandas as pd

_KINDS = {column.name: column.kind for column in COLUMNS}


def named(
    rows: pd.DataFrame,
    cells: Sequence[PlannedCell],
    names_of: Callable[[PlannedCell], Mapping[str, Any]],
) -> pd.DataFrame:
    """Rows of a plan's cells, sorted by cell, with what `names_of` a cell says in these columns.
    Those of a cell that the plan has under two names are there twice.
    """
    import pandas as pd

    ids = rows["cell"].to_numpy(dtype=object)
    new = np.ones(len(ids), dtype=bool)
    new[1:] = ids[1:] != ids[:-1]
    starts = np.append(np.flatnonzero(new), len(ids))
    places = {cell: place for place, cell in enumerate(ids[starts[:-1]])}
    there = sorted((cell for cell in cells if cell.id in places), key=lambda cell: cell.id)
    place = np.array([places[cell.id] for cell in there], dtype=np.int64)
    counts = np.diff(starts)[place]
    first = np.cumsum(counts) - counts
    index = np.arange(counts.sum()) + np.repeat(starts[:-1][place] - first, counts)
    whole = len(there) == len(places)
    table = rows if whole else rows.take(index).reset_index(drop=True)
    codes, names = _names(there, names_of)
    of_row = np.repeat(codes, counts)
    columns: dict[str, Any] = {}
    for name in names[0] if names else ():
        kind: Any = PANDAS_TYPES[_KINDS[name]]
        values = pd.array([each[name] for each in names], dtype=kind)
        columns[name] = values.take(of_row)
    kept: pd.DataFrame = table.assign(
        **{name: column for name, column in columns.items() if name in table}
    )
    return kept if whole else sorted_rows(kept)


def _names(
    cells: list[PlannedCell], names_of: Callable[[PlannedCell], Mapping[str, Any]]
) -> tuple[Any, list[Mapping[str, Any]]]:
    """int64 [cells]: which of the names a cell has; and these. Cells of one arm on one task have
    the same.
    """
    known: dict[tuple[int, str], int] = {}
    names: list[Mapping[str, Any]] = []
    codes = []
    for cell in cells:
        key = (id(cell.arm), cell.words.task)
        if key not in known:
            known[key] = len(names)
            names.append(names_of(cell))
        codes.append(known[key])
    return np.array(codes, dtype=np.int64), names
