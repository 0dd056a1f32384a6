"""What is known of each image of a source: its own columns, or those of a table beside it."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pandas as pd
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Table
from headwater.sources.tables import read_labels

Objects = NDArray[np.object_]


def columns_of(table: Table, path: Path | None, where: str) -> dict[str, Objects]:
    """The columns of a source by name, each a str for every image, '' where there is none: those of
    the file `path` (CSV or Parquet, with a column `path`), and the source's own.

    Raises InputError for a file that cannot be read, or that does not list every image; it may list
    others.
    """
    own = {name: np.asarray(values, dtype=object) for name, values in table.groups.items()}
    return own if path is None else {**own, **_of_file(table, path, where)}


def column(columns: Mapping[str, Objects], name: str, where: str) -> Objects:
    """One of the columns. Raises InputError, with the nearest name, where there is none such."""
    if name in columns:
        return columns[name]
    near = difflib.get_close_matches(name, columns, n=1)
    known = f"it has {', '.join(sorted(columns))}" if columns else "it has none"
    raise InputError(
        f"{where}: there is no column {name!r}; {known}"
        + (f"; did you mean {near[0]!r}?" if near else "; `table: FILE` names a file with columns")
    )


def numbers(values: Objects, name: str, ids: Objects, where: str) -> NDArray[np.float64]:
    """float64: the numbers of a column, NaN where it says nothing.

    Raises InputError for the first text that is no finite number.
    """
    said = np.array([str(value).strip() for value in values], dtype=object)
    empty = said == ""
    found = pd.to_numeric(pd.Series(np.where(empty, "nan", said)), errors="coerce").to_numpy(
        dtype=np.float64
    )
    wrong = np.flatnonzero(~np.isfinite(found) & ~empty)
    if len(wrong):
        raise InputError(
            f"{where}: column {name!r} is {said[wrong[0]]!r} for the image {ids[wrong[0]]!r}, "
            f"which is no number ({len(wrong):,} such images)"
        )
    return found


def _of_file(table: Table, path: Path, where: str) -> dict[str, Objects]:
    if path.suffix == ".parquet":
        ids, columns = _parquet(path)
    else:
        listing = read_labels(path)
        ids = listing.table.ids
        columns = {name: np.asarray(v, dtype=object) for name, v in listing.table.groups.items()}
    at = pd.Index(ids).get_indexer(pd.Index(table.ids))
    missing = np.flatnonzero(at < 0)
    if len(missing):
        raise InputError(
            f"{where}: {path} does not list {len(missing):,} of the {len(table):,} images, the "
            f"first is {table.ids[missing[0]]!r}"
        )
    return {name: values[at] for name, values in columns.items()}


def _parquet(path: Path) -> tuple[Objects, dict[str, Objects]]:
    try:
        frame = pq.ParquetFile(path).read().to_pandas()
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error})") from None
    if "path" not in frame:
        raise InputError(f"{path}: there is no column 'path', which says the image of each row")
    ids = frame.pop("path").astype(str)
    again = np.flatnonzero(ids.duplicated())
    if len(again):
        raise InputError(f"{path}, row {again[0] + 1}: {ids[again[0]]!r} is listed twice")
    columns = {}
    for name in frame:
        values = frame[name].astype(object).where(frame[name].notna(), "")
        columns[str(name)] = np.array([str(value) for value in values], dtype=object)
    return ids.to_numpy(dtype=object), columns
