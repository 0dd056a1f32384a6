"""metadata.jsonl, metadata.csv and metadata.parquet, as Hugging Face's image folders have them: a
row for each image, with its `file_name` (relative to the table), its class (`label` and the like)
and texts.

One table in the root, or one in each folder of a split. Splits come from the folders, as without
them.
"""

from __future__ import annotations

import posixpath
import unicodedata
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa

from headwater import digests
from headwater.errors import InputError
from headwater.sources.formats import counted
from headwater.sources.tables.captions import read_objects, texts_of
from headwater.sources.tables.columns import class_column
from headwater.sources.tables.csv_file import read_csv, read_header
from headwater.sources.tables.labels import classes_of, split_column
from headwater.sources.tables.listing import Listing, Objects, Texts

_NAME = "file_name"


@dataclass(frozen=True)
class _Row:
    """A row of one of the tables."""

    path: Path
    line: int
    position: int
    """Of its image, in the listing."""
    values: dict[str, Any]

    @property
    def where(self) -> str:
        return f"{self.path}, line {self.line}"


def with_metadata(
    listing: Listing, root: Path, tables: Sequence[str], layout: str | None
) -> Listing:
    """`listing` with what the tables (paths relative to `root`) say: classes, splits and texts.

    The listing itself where none of them has a column file_name. Classes that the folders give as
    well, and otherwise, are an error unless `layout` chooses. Raises InputError, with file and
    line, for rows that cannot be used.
    """
    rows: list[_Row] = []
    notes: list[str] = []
    used: dict[str, str] = {}
    for table in tables:
        folder = table.rpartition("/")[0]
        reason = _not_read(root / table)
        if reason:
            notes.append(f"{table} is not read: {reason}")
            continue
        if folder in used:
            raise InputError(
                f"{root}: {used[folder]!r} and {table!r} describe the same images; keep one of them"
            )
        used[folder] = table
        rows += _matched(listing, root / table, folder)
    if not rows:
        if layout == "metadata":
            raise InputError(
                f"{root}: layout is metadata, and there is no metadata.jsonl or metadata.csv with "
                f"{_NAME} in it; leave the key out"
            )
        return replace(listing, notes=tuple(notes)) if notes else listing
    return _described(listing, rows, root, layout, notes)


def _described(
    listing: Listing, rows: list[_Row], root: Path, layout: str | None, notes: list[str]
) -> Listing:
    table, count = listing.table, len(listing.table)
    fields = list(dict.fromkeys(name for row in rows for name in row.values))
    label = class_column(fields, f"{rows[0].path}")
    levels, splits = table.levels, dict(table.splits)
    spelled: dict[str, str] = {}
    if label is not None and layout in (None, "metadata"):
        named = _classes(rows, label, count, spelled)
        if levels and layout is None and not _same(named, levels):
            first = rows[0]
            raise InputError(
                f"{first.where}: the images have classes by {label!r} here and other ones by their "
                f"folders ({levels[0][first.position]!r}); set `layout: metadata` on this data "
                "entry (--layout) to take these, or `layout: "
                "split/class` (class/split, class) to take the folders'"
            )
        if not levels or layout == "metadata":
            levels = (named,)
            notes.append(f"classes are the field {label!r} of {rows[0].path.name}")
    elif layout == "metadata":
        raise InputError(
            f"{rows[0].path}: layout is metadata, and no field is called label; name the field of "
            "the classes 'label'"
        )
    for name in fields:
        if name.casefold() == "split":
            splits["split"] = _splits(rows, name, table.splits["split"])
    texts: dict[str, Objects] = {}
    for name in fields:
        made = None if name.casefold() == "split" else _texts(rows, name, count)
        if made is not None:
            texts[name] = made
        elif name not in (label, "split"):
            notes.append(
                f"the field {name!r} of {rows[0].path.name} holds no texts and is not read"
            )
    unlisted = count - len({row.position for row in rows})
    if unlisted:
        notes.append(
            f"{counted(unlisted, 'image')} without a row in the metadata: no text or class from "
            "there"
        )
    groups = {name: _groups(texts[name]) for name in texts}
    return replace(
        listing,
        table=replace(
            table,
            levels=levels,
            splits=splits,
            texts=Texts({name: partial(_given, made) for name, made in texts.items()}),
            groups={**table.groups, **groups},
        ),
        notes=tuple(notes),
    )


def _not_read(path: Path) -> str | None:
    """Why a table is none of Hugging Face's, None where it is one."""
    if path.suffix == ".parquet":
        return None if _NAME in _parquet(path, names_only=True)[0] else f"it has no column {_NAME}"
    if path.suffix == ".csv":
        return None if _NAME in read_header(path) else f"it has no column {_NAME}"
    with path.open("rb") as file:
        first = next((line for line in file if line.strip()), b"")
    return None if _NAME.encode() in first else f"its first line has no {_NAME}"


def _parquet(path: Path, *, names_only: bool = False) -> tuple[list[str], list[tuple[int, Any]]]:
    """The columns of a Parquet file, and (number, values) of its rows, counted from 1. Raises
    InputError for a file that cannot be read, or promises more than it can hold.
    """
    import pyarrow.parquet as pq

    try:
        header = list(pq.read_schema(path).names)
        if names_only:
            return header, []
        digests.check_parquet(path, 1)
        columns = [column.to_pylist() for column in pq.read_table(path, partitioning=None).columns]
    except Exception as error:  # pyarrow has kinds of its own for damaged files
        raise InputError(f"{path}: cannot be read ({digests.reason(error)})") from None
    return header, list(enumerate(zip(*columns, strict=True), start=1))


def _matched(listing: Listing, path: Path, folder: str) -> list[_Row]:
    """The rows of a table, each with the position of its image."""
    if path.suffix == ".csv":
        file = read_csv(path)
        columns = [file.column(name).to_pylist() for name in file.header]
        lines = file.lines()
        records = [
            (line, dict(zip(file.header, values, strict=True)))
            for line, values in zip(lines, zip(*columns, strict=True), strict=True)
        ]
    elif path.suffix == ".parquet":
        header, rows_of = _parquet(path)
        records = [(line, dict(zip(header, row, strict=True))) for line, row in rows_of]
        for line, record in records:
            if not isinstance(record[_NAME], str):
                raise InputError(f"{path}, row {line}: {_NAME} is empty; name the image")
    else:
        records = list(read_objects(path, _NAME))
    names = [
        unicodedata.normalize("NFC", posixpath.normpath(posixpath.join(folder, record[_NAME])))
        for _, record in records
    ]
    positions = pd.Index(listing.table.ids).get_indexer(pd.Index(names, dtype=object))
    rows: list[_Row] = []
    seen: dict[int, int] = {}
    for (line, record), position in zip(records, positions.tolist(), strict=True):
        if position < 0:
            raise InputError(
                f"{path}, line {line}: there is no image {record[_NAME]!r} beside this file; "
                "remove the line or add the image"
            )
        if position in seen:
            raise InputError(
                f"{path}, line {line}: the image {record[_NAME]!r} is listed twice (first in line "
                f"{seen[position]}); keep one of them"
            )
        seen[position] = line
        values = {name: value for name, value in record.items() if name != _NAME and name}
        rows.append(_Row(path, line, position, values))
    return rows


def _classes(rows: list[_Row], label: str, count: int, spelled: dict[str, str]) -> Objects:
    """Class by position, '' where a row has none."""
    values: list[str] = []
    for row in rows:
        value = row.values.get(label)
        if isinstance(value, bool) or not isinstance(value, str | int | None):
            raise InputError(
                f"{row.where}: {label!r} is {str(value)[:60]!r}, which is no class; write one name "
                "or number"
            )
        values.append("" if value is None else str(value))
    names = np.full(count, "", dtype=object)
    made = classes_of(pa.array(values, pa.large_string()), lambda at: rows[at].where, spelled)
    names[[row.position for row in rows]] = made
    return names


def _splits(rows: list[_Row], name: str, folders: Objects) -> Objects:
    values = [str(row.values.get(name) or "") for row in rows]
    made = split_column(pa.array(values, pa.large_string()), name, lambda at: rows[at].where)
    out = folders.copy()
    out[[row.position for row in rows]] = made
    return out


def _texts(rows: list[_Row], name: str, count: int) -> Objects | None:
    """A text field by position; None where no row has a text under the name."""
    found = False
    out = np.fromiter(([] for _ in range(count)), dtype=object, count=count)
    for row in rows:
        texts = texts_of(row.values.get(name), name, row.path, row.line)
        if texts is not None:
            found = True
            out[row.position] = texts
    return out if found else None


def _given(made: Objects) -> Objects:
    return made


def _groups(texts: Objects) -> Objects:
    return np.array([found[0].strip() if found else "" for found in texts], dtype=object)


def _same(named: Objects, levels: tuple[Objects, ...]) -> bool:
    """Whether classes divide the images as the finest or another level of the folders does."""
    for level in levels:
        pairs = set(zip(named.tolist(), level.tolist(), strict=True))
        if len(pairs) == len(set(named.tolist())) == len(set(level.tolist())):
            return True
    return False
