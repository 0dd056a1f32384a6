"""What a table says twice: a number of one cell is one number."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

from headwater import plain
from headwater.errors import InputError
from headwater.rows.schema import VOLATILE

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

NUMBER = ("cell", "metric", "subset")
"""What a number is of, and what tables are sorted by."""


def without_repeats(
    table: pd.DataFrame, where: str, place_of: Callable[[Any], str]
) -> pd.DataFrame:
    """A sorted table with each row once: rows that agree in all but what may differ between two
    runs, and the failure of a cell that has been measured since, are left out; `attrs["repeats"]`
    says how many.

    Rows of one cell under two names (an arm that two studies share) are two rows. Raises InputError
    for a number that is there with two values, and says both with their places (`place_of` an
    index).
    """
    same = _as_before(table, NUMBER)
    if not same.any():
        return table
    touched = same | np.append(same[1:], False)
    for _, group in table[touched].groupby(list(NUMBER), sort=False):
        _check_one_value(group, where, place_of)
    settled = set(table.loc[table["status"] != "failed", "cell"])
    failed = ((table["status"] == "failed") & table["cell"].isin(settled)).to_numpy()
    fixed = [name for name in table if name not in VOLATILE]
    again = np.zeros(len(table), dtype=bool)
    again[touched] = table.loc[touched, fixed].duplicated().to_numpy()
    kept = table[~(failed | again)].reset_index(drop=True)
    left_out = len(table) - len(kept)
    if left_out:
        kept.attrs["repeats"] = table.attrs.get("repeats", 0) + left_out
    return kept


def _as_before(table: pd.DataFrame, names: tuple[str, ...]) -> Any:
    """bool [rows]: whether a row is of the same as the one before it."""
    same = np.ones(max(0, len(table) - 1), dtype=bool)
    for name in names:
        values = table[name].to_numpy(dtype=object)
        same &= values[1:] == values[:-1]
    return np.insert(same, 0, False) if len(table) else same


def _check_one_value(group: pd.DataFrame, where: str, place_of: Callable[[Any], str]) -> None:
    ended = group[group["status"] != "failed"]
    first = ended.iloc[0] if len(ended) else None
    for place, row in ended.iterrows():
        assert first is not None
        if _outcome(row) != _outcome(first):
            raise InputError(
                f"{where}: the cell {plain.name(row['cell'])} has two values of "
                f"{plain.name(row['metric'])} ({plain.name(row['subset'])}): {_outcome(first)} in "
                f"{place_of(ended.index[0])} and {_outcome(row)} in {place_of(place)}; one cell is "
                "one measurement: remove the one that is wrong"
            )


def _outcome(row: Any) -> str:
    return repr(float(row["value"])) if row["status"] == "done" else str(row["status"])
