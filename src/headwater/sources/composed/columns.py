"""What is known of each image of a source: its own columns, or those of a table beside it."""

from __future__ import annotations

import difflib
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Table
from headwater.sources.tables import read_labels

Objects = NDArray[np.object_]


@dataclass(frozen=True, eq=False)
class Columns:
    """Columns of a source by name, each read when it is asked for."""

    ids: Objects
    _read: Mapping[str, Callable[[], Any]]
    """Name -> object [num_samples] of str, or a pyarrow array, in the source's order."""

    def texts(self, name: str, where: str) -> Objects:
        """object [num_samples]: a str for every image, '' where the column says nothing.

        Raises InputError, with the nearest name, for a column that is not there.
        """
        found = self._column(name, where)
        if isinstance(found, np.ndarray):
            return found
        try:
            said = pc.fill_null(pc.cast(found, pa.string()), "")
        except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
            raise InputError(f"{where}: column {name!r} holds no texts ({error})") from None
        return np.asarray(said.to_numpy(zero_copy_only=False), dtype=object)

    def numbers(self, name: str, where: str) -> NDArray[np.float64]:
        """float64 [num_samples]: NaN where the column says nothing.

        Raises InputError as `texts`, and for the first text that is no finite number.
        """
        found = self._column(name, where)
        if not isinstance(found, np.ndarray) and not pa.types.is_string(found.type):
            try:
                values = pc.cast(found, pa.float64()).to_numpy(zero_copy_only=False)
            except (pa.ArrowInvalid, pa.ArrowNotImplementedError) as error:
                raise InputError(f"{where}: column {name!r} holds no numbers ({error})") from None
            return np.where(np.isfinite(values), values, np.nan)
        texts = pd.Series(self.texts(name, where)).str.strip()
        values = pd.to_numeric(texts.where(texts != "", "nan"), errors="coerce").to_numpy(
            dtype=np.float64
        )
        said = (texts != "").to_numpy() & (texts.str.lower() != "nan").to_numpy()
        wrong = np.flatnonzero(~np.isfinite(values) & said)
        if len(wrong):
            raise InputError(
                f"{where}: column {name!r} is {texts[wrong[0]]!r} for the image "
                f"{self.ids[wrong[0]]!r}, which is no number ({len(wrong):,} such images)"
            )
        return values

    def _column(self, name: str, where: str) -> Any:
        if name in self._read:
            return self._read[name]()
        near = difflib.get_close_matches(name, self._read, n=1)
        known = f"it has {', '.join(sorted(self._read))}" if self._read else "it has none"
        hint = f"did you mean {near[0]!r}?" if near else "`table: FILE` names a file with columns"
        raise InputError(f"{where}: there is no column {name!r}; {known}; {hint}")


def columns_of(table: Table, path: Path | None, where: str) -> Columns:
    """The columns of a source: those of the file `path` (CSV or Parquet, with a column `path`), and
    the source's own.

    Raises InputError for a file that cannot be read, or that does not list every image; it may list
    others.
    """
    read: dict[str, Callable[[], Any]] = {
        name: partial(table.groups.__getitem__, name) for name in table.groups
    }
    if path is not None:
        is_parquet = path.suffix.lower() == ".parquet"
        read |= (_of_parquet if is_parquet else _of_csv)(table, path, where)
    return Columns(table.ids, read)


def _of_csv(table: Table, path: Path, where: str) -> dict[str, Callable[[], Any]]:
    listed = read_labels(path).table
    at = _places(listed.ids, table, path, where)

    def column(name: str) -> Objects:
        return np.asarray(listed.groups[name], dtype=object)[at]

    return {name: partial(column, name) for name in listed.groups}


def _of_parquet(table: Table, path: Path, where: str) -> dict[str, Callable[[], Any]]:
    try:
        file = pq.ParquetFile(path)
        names = list(file.schema_arrow.names)
        if "path" not in names:
            raise InputError(f"{path}: there is no column 'path', which says the image of each row")
        if twice := [name for name, number in Counter(names).items() if number > 1]:
            raise InputError(f"{path}: the column {twice[0]!r} is there twice")
        written = file.read(columns=["path"])["path"].to_pandas().astype(str)
        ids = written.str.normalize("NFC").str.removeprefix("./")
    except (OSError, ValueError) as error:
        raise InputError(f"{path}: cannot be read as Parquet ({error})") from None
    again = np.flatnonzero(ids.duplicated())
    if len(again):
        raise InputError(f"{path}, row {again[0] + 1}: {ids[again[0]]!r} is listed twice")
    at = pa.array(_places(ids.to_numpy(dtype=object), table, path, where))

    def column(name: str) -> Any:
        return file.read(columns=[name])[name].combine_chunks().take(at)

    return {name: partial(column, name) for name in names if name != "path"}


def _places(ids: Objects, table: Table, path: Path, where: str) -> NDArray[np.int64]:
    """Where each image of the table is listed."""
    at = pd.Index(ids).get_indexer(pd.Index(table.ids))
    missing = np.flatnonzero(at < 0)
    if len(missing):
        raise InputError(
            f"{where}: {path} does not list {len(missing):,} of the {len(table):,} images, the "
            f"first is {table.ids[missing[0]]!r}"
        )
    return np.asarray(at, dtype=np.int64)
