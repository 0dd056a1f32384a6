"""Whether a row, or a table of rows, fits the schema."""

from __future__ import annotations

import math
import reprlib
from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater import plain
from headwater.errors import InputError
from headwater.rows.repeats import NUMBER, without_repeats
from headwater.rows.schema import COLUMNS, NAMES, PANDAS_TYPES, STATUSES, UNBOUNDED, Column, Kind
from headwater.rows.words import check_headings, check_table_words, check_words

if TYPE_CHECKING:
    import pandas as pd

_PYTHON: dict[Kind, tuple[type, ...]] = {
    "str": (str,),
    "int": (int,),
    "float": (float, int),
    "bool": (bool,),
}
_TRUTH = {
    "true": True,
    "false": False,
    "1": True,
    "0": False,
    "1.0": True,
    "0.0": False,
    "": None,
    "none": None,
    "nan": None,
    "<na>": None,
}
"""Truth values as tables write them; None where there is none."""


_SCALARS = (type(None), bool, int, float)
_SOUND: dict[str, set[tuple[type, Any]]] = {
    column.name: set() for column in COLUMNS if column.name != "value"
}
"""By column, what was found to fit it; whether a value does goes by its metric."""
_MOST_SOUND = 4096


# one row
def check_row(row: Mapping[str, Any], where: str = "row") -> dict[str, Any]:
    """The row with every column of the schema present (null where it was missing), or an InputError
    that names the field.
    """
    unknown = set(row) - set(NAMES)
    if unknown:
        raise InputError(
            f"{where}: {sorted(unknown)[0]!r} is not a field of the row schema (docs/rows.md)"
        )
    for column in COLUMNS:
        value = row.get(column.name)
        kind = type(value)
        if column.kind == "str" and kind is str:
            continue
        sound = _SOUND.get(column.name)
        if sound is None or kind not in _SCALARS:
            _check_field(column, row, where)
        elif (kind, value) not in sound:
            _check_field(column, row, where)
            if len(sound) < _MOST_SOUND:
                sound.add((kind, value))
    if row["status"] not in STATUSES:
        raise InputError(f"{where}: status {row['status']!r} is none of {', '.join(STATUSES)}")
    if (row.get("value") is None) == (row["status"] == "done"):
        raise InputError(f"{where}: a row has a value if and only if its status is done")
    check_words(row, where)
    return {name: row.get(name) for name in NAMES}


def _check_field(column: Column, row: Mapping[str, Any], where: str) -> None:
    value = row.get(column.name)
    if value is None:
        if column.required:
            raise InputError(f"{where}: the field {column.name!r} is required and missing")
        return
    # In Python True is an int, too.
    is_stray_bool = isinstance(value, bool) and column.kind != "bool"
    if is_stray_bool or not isinstance(value, _PYTHON[column.kind]):
        raise InputError(
            f"{where}: the field {column.name!r} should be {column.kind}, not {reprlib.repr(value)}"
        )
    if column.kind in ("int", "float"):
        wrong = _wrong_number(value, _bounds(column, row["metric"]))
        if wrong:
            raise InputError(
                f"{where}: the field {column.name!r} {wrong}, not {reprlib.repr(value)}"
            )


def _bounds(column: Column, metric: Any) -> Column:
    """The column, without bounds for the value of a metric that has none."""
    if column.name == "value" and _is_unbounded(metric):
        return replace(column, least=None, most=None)
    return column


def _is_unbounded(metric: Any) -> bool:
    return str(metric).startswith(UNBOUNDED)


def _wrong_number(value: Any, column: Column) -> str | None:
    """What a number of this column should be and `value` (a number, not null) is not; None where
    all is well.
    """
    try:
        number = float(value)
    except OverflowError:  # an integer of hundreds of digits
        number = math.inf
    if not math.isfinite(number):
        return "should be a finite number"
    if column.kind == "int" and not -(2.0**63) <= number < 2.0**63:
        return "should be a whole number of 64 bits"
    if column.most is not None and not (column.least or 0) <= number <= column.most:
        return f"should be in [{column.least}, {column.most}]"
    if column.least is not None and number < column.least:
        return f"should be {column.least} or more"
    return None


# a table of rows
def conform(
    frame: pd.DataFrame, where: str, *, only: Collection[str] | None = None
) -> pd.DataFrame:
    """`frame` with the schema's columns and types; extra columns are dropped, absent optional ones
    are null, and so is a NaN. `only` leaves out all other columns but the required ones.

    Raises InputError that names the column, and the row (counted from 1, and by its cell) where one
    is to blame.
    """
    import pandas as pd

    check_headings(list(frame.columns), where)
    absent = [c.name for c in COLUMNS if c.required and c.name not in frame]
    if absent:
        raise InputError(
            f"{where}: the columns {', '.join(absent)} are missing (docs/rows.md lists the schema)"
        )
    frame = frame.reset_index(drop=True)
    wanted = [c for c in COLUMNS if only is None or c.required or c.name in only]
    columns = {column.name: _conformed(column, frame, where) for column in wanted}
    table = pd.DataFrame(columns, copy=False)
    strange = ~table["status"].isin(STATUSES)
    if strange.any():
        word = reprlib.repr(str(table["status"][strange].iloc[0]))
        raise InputError(
            f"{where}: status {word} in {_row(frame, strange)} is none of {', '.join(STATUSES)}"
        )
    odd = (table["status"] == "done") != table["value"].notna()
    if odd.any():
        raise InputError(
            f"{where}: a row has a value if and only if its status is done; {_row(frame, odd)} "
            "breaks this"
        )
    lacking = frozenset(c.name for c in wanted if c.name not in frame)
    check_table_words(table, where, lambda mask: _row(frame, mask), lacking)
    place = sorted_places(table)
    ordered = table if place is None else table.take(place)
    ordered = without_repeats(
        ordered,
        where,
        lambda index: f"row {index + 1}",
    )
    ordered = ordered.reset_index(drop=True)
    if frame.attrs.get("repeats"):
        ordered.attrs["repeats"] = frame.attrs["repeats"] + ordered.attrs.get("repeats", 0)
    return ordered


def sorted_rows(table: pd.DataFrame) -> pd.DataFrame:
    """The rows by cell, metric and subset, so that equal rows make equal tables; a table that is in
    this order comes back as it is.
    """
    place = sorted_places(table)
    return table if place is None else table.take(place).reset_index(drop=True)


def sorted_places(table: pd.DataFrame) -> Any:
    """The places of the rows in that order; None where they are in it."""
    after: Any = True
    for name in reversed(NUMBER):
        texts = table[name].to_numpy(dtype=object)
        before, behind = texts[:-1], texts[1:]
        after = (behind > before) | ((behind == before) & after)
    if np.all(after):
        return None
    numbered = table[list(NUMBER)].reset_index(drop=True)
    return numbered.sort_values(list(NUMBER)).index.to_numpy()


def _conformed(column: Column, frame: pd.DataFrame, where: str) -> Any:
    """One column in its type; nulls where the frame lacks it."""
    import pandas as pd

    kind: Any = PANDAS_TYPES[column.kind]
    if column.name not in frame:
        return pd.array([None] * len(frame), dtype=kind)
    given: Any = frame[column.name]
    if not column.required and given.dtype == kind and given.isna().all():
        return given
    try:
        values = _typed(_values(column, frame, where), kind)
    except InputError:
        raise
    except (ValueError, TypeError, OverflowError) as error:
        raise InputError(
            f"{where}: the column {column.name!r} should be {column.kind} ({_one_line(error)})"
        ) from None
    if column.required and values.isna().any():
        row = _row(frame, values.isna())
        raise InputError(f"{where}: the column {column.name!r} has an empty field in {row}")
    return values


def _typed(values: Any, kind: Any) -> Any:
    """A column in a pandas type; texts so that equal ones are one object."""
    import pandas as pd

    is_text = isinstance(values.dtype, (pd.StringDtype, pd.CategoricalDtype))
    if kind != PANDAS_TYPES["str"] or values.dtype == kind:
        return values.astype(kind)
    if values.isna().all():
        distinct, codes = pd.array([""], dtype=kind), np.full(len(values), -1)
    elif is_text:
        categories = values.astype("category").cat
        distinct, codes = pd.array(categories.categories, dtype=kind), categories.codes
    else:
        return values.astype(kind)
    shared = distinct.take(codes, allow_fill=True)
    return pd.Series(shared, index=values.index, name=values.name)


def _values(column: Column, frame: pd.DataFrame, where: str) -> Any:
    """A column of the frame, as numbers where it should be numbers, checked.

    Raises InputError for a number that is not allowed, ValueError for what is no number.
    """
    import pandas as pd

    values: Any = frame[column.name]
    if column.kind == "bool" and not pd.api.types.is_bool_dtype(values):
        truth = [_bool(value) for value in values]
        return pd.Series(truth, dtype="boolean", index=frame.index)
    if column.kind in ("int", "float"):
        if not pd.api.types.is_numeric_dtype(values):
            values = _numbers(values)
        if column.name == "value":
            metrics = [metric for metric in frame["metric"].unique() if _is_unbounded(metric)]
            free = frame["metric"].isin(metrics)
            _check_numbers(values.where(free), _bounds(column, UNBOUNDED), frame, where)
            _check_numbers(values.where(~free), column, frame, where)
        else:
            _check_numbers(values, column, frame, where)
    exact = pd.api.types.is_integer_dtype(values)
    if column.kind == "int" and not exact and (values.dropna() % 1 != 0).any():
        raise ValueError("not whole numbers")
    return values


def _numbers(values: Any) -> Any:
    """Text or objects as numbers; left as they are where one is an integer beyond any float, which
    `_check_numbers` then names.
    """
    import pandas as pd

    try:
        return pd.to_numeric(values)
    except OverflowError:
        return values


def _check_numbers(values: Any, column: Column, frame: pd.DataFrame, where: str) -> None:
    """Raises InputError for the first number that the column does not allow. It is asked before the
    numbers get their type, as that would wrap the ones that are too large.
    """
    import pandas as pd

    # What is allowed is a range, so that the least and the greatest number speak for all.
    known = values.dropna()
    if len(known) and pd.api.types.is_numeric_dtype(known):
        known = pd.Series([known.min(), known.max()])
    if not any(_wrong_number(value, column) for value in pd.unique(known)):
        return
    wrong = pd.Series(
        [
            known and _wrong_number(value, column) is not None
            for value, known in zip(values, values.notna(), strict=True)
        ]
    )
    value = values[wrong].iloc[0]
    shown = reprlib.repr(value.item() if hasattr(value, "item") else value)
    raise InputError(
        f"{where}: the column {column.name!r} {_wrong_number(value, column)}, not {shown} as in "
        f"{_row(frame, wrong)}"
    )


def _row(frame: pd.DataFrame, mask: Any) -> str:
    """The first row of the mask in words: 'row 3 (cell 1f00)'."""
    place = int(mask.to_numpy(dtype=bool, na_value=False).argmax())
    return f"row {place + 1} (cell {_one_line(frame['cell'].iloc[place])})"


def _one_line(text: Any) -> str:
    """Text of any origin on one line of at most 200 characters."""
    return plain.line(text, 200)


def _bool(value: Any) -> bool | None:
    """A truth value as tables write it.

    Raises ValueError for anything else.
    """
    text = str(value).strip().lower()
    if text not in _TRUTH:
        raise ValueError(f"{value!r} is neither true nor false")
    return _TRUTH[text]
