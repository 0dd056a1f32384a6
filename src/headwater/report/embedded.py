"""What a page holds of its rows: all of them where they are few, else a part that is named."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from headwater.rows import NAMES

if TYPE_CHECKING:
    import pandas as pd

MOST_ROWS = 30_000
"""Rows of a page: about 1 MB. A browser searches them at once."""
_ORDER = ["task", "protocol", "shots", "order", "seed", "draw", "metric", "subset"]


def embedded(table: pd.DataFrame) -> pd.DataFrame:
    """The rows of a prepared table that its page holds, setting by setting.

    Where there are more than `MOST_ROWS`, the rows without a number come first, as they are what a
    reader looks for; then cells by their ids, which are hashes: a fair sample of the settings.
    """
    chosen = table
    if len(table) > MOST_ROWS:
        usable = table["usable"].to_numpy()
        places = [*(~usable).nonzero()[0], *usable.nonzero()[0][:MOST_ROWS]]
        chosen = table.iloc[places[:MOST_ROWS]]
    return chosen.sort_values(_ORDER, na_position="last", ignore_index=True)


def packed_rows(rows: pd.DataFrame) -> dict[str, Any]:
    """Rows of a prepared table by column."""
    return packed(len(rows), {name: _plain(rows[name]) for name in (*NAMES, "name")})


def packed_records(records: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Records that have the same fields, by column."""
    fields = records[0] if records else {}
    return packed(len(records), {name: _column(records, name) for name in fields})


def _column(records: Sequence[Mapping[str, Any]], name: str) -> list[Any]:
    return [record[name] for record in records]


def packed(count: int, columns: Mapping[str, list[Any]]) -> dict[str, Any]:
    """Columns as a page reads them: a constant once, text as codes into its distinct values,
    numbers as they are.
    """
    return {"count": count, "columns": [_packed(*column) for column in columns.items()]}


def _packed(name: str, values: list[Any]) -> dict[str, Any]:
    distinct = list(dict.fromkeys(values))
    if len(distinct) <= 1:
        return {"name": name, "constant": distinct[0] if distinct else None}
    if any(isinstance(value, str) for value in distinct):
        codes = {value: code for code, value in enumerate(distinct)}
        return {"name": name, "distinct": distinct, "codes": [codes[value] for value in values]}
    return {"name": name, "values": values}


def _plain(column: pd.Series[Any]) -> list[Any]:
    """A column as JSON can hold it."""
    known = column.notna().tolist()
    return [value if has else None for value, has in zip(column.tolist(), known, strict=True)]


def places(ids: Iterable[str], cells: Mapping[str, int]) -> str:
    """Cells as their places in the page's list, runs of them by their ends ("0-41 57"): a pooled
    finding rests on hundreds, and their ids would be most of the file. Those that the page does not
    hold are left out.
    """
    runs: list[list[int]] = []
    for place in sorted(cells[cell] for cell in ids if cell in cells):
        if runs and place == runs[-1][-1] + 1:
            runs[-1][1:] = [place]
        else:
            runs.append([place])
    return " ".join("-".join(map(str, run)) for run in runs)
