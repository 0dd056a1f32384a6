"""labels.csv, and index files of splits."""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Table, natural_splits
from headwater.sources.class_names import alike_notes, class_name, merged_notes
from headwater.sources.formats import is_image
from headwater.sources.split_words import split_word, two_meanings
from headwater.sources.tables.captions import check_text
from headwater.sources.tables.columns import Columns, columns_of
from headwater.sources.tables.csv_file import CsvFile, read_csv, read_header
from headwater.sources.tables.listing import Listing, Objects, Texts, canonical_ids, strings

_FEW = 20
"""Multi-line fields that are looked into; more than these would not all be slips."""


def read_labels(path: Path) -> Listing:
    """The samples of one labels.csv.

    Columns: `path` (needed); `split` and others whose names start with `split`; `level1` (coarsest)
    ... `levelN` (finest); every other column is a text field. What others call these columns is
    read where it can mean one thing only (tables.columns). Where no split column is given,
    everything is train. Names of classes and splits are stripped, freed of invisible marks and
    brought to NFC. UTF-8 with or without a byte-order mark, any line ends, blank lines ignored.
    Whether the files exist is not asked here.

    Raises InputError, with file and line, for a file that is empty, ragged, not UTF-8 or quoted
    wrongly, and for columns and paths that cannot be used.
    """
    file = read_csv(path)
    columns = columns_of(file)
    if file.multiline:
        _check_swallowed(file, columns)
    ids, rows = canonical_ids(file.column(columns.path), file.where)
    splits = {
        _split_name(name): split_column(file.column(name), name, file.where)[rows]
        for name in columns.splits
    }
    if not splits:
        splits = {"split": np.full(len(rows), "train", dtype=object)}
    spelled: dict[str, str] = {}
    levels = tuple(
        classes_of(file.column(name), file.where, spelled)[rows]
        for name in reversed(columns.levels)
    )
    others = columns.others
    for name in others:
        _check_texts(file, name)
    table = Table(
        ids=strings(ids),
        splits=splits,
        levels=levels,
        texts=Texts({name: _text_field(file.column(name), rows) for name in others}),
        groups=Texts({name: _group(file, name, rows) for name in _in_order(file, columns)}),
    )
    return Listing(
        table=table,
        files=strings(file.column(columns.path).take(pa.array(rows))),
        where=lambda position: file.where(int(rows[position])),
        notes=(
            *columns.notes,
            *_notes_on_splits(file, columns),
            *merged_notes(spelled),
            *alike_notes(levels),
        ),
    )


def with_split_file(table: Table, path: Path) -> Table:
    """`table` with the split columns of an index file: a CSV with the columns `path` and `split`
    (and others that begin with `split`).

    Every image of the table is listed there; an empty split leaves it out. Columns that the table
    has already are replaced. Raises InputError for a file that cannot be read, paths that the table
    lacks, and images that the file does not list.
    """
    index = read_labels(path)
    if not any(name.casefold().startswith("split") for name in read_header(path)):
        raise InputError(
            f"{path}, line 1: there is no column split; an index file has the columns path and "
            "split"
        )
    at = pd.Index(index.table.ids).get_indexer(pd.Index(table.ids))
    if len(index.table) > (at >= 0).sum():
        strange = np.setdiff1d(np.arange(len(index.table)), at)
        listed = index.where(int(strange[0]))
        raise InputError(
            f"{listed}: {index.table.ids[strange[0]]!r} ({len(strange)} such rows) is not among "
            "the images; remove the row or name the right file"
        )
    missing = np.flatnonzero(at < 0)
    if len(missing):
        first = table.ids[missing[0]]
        raise InputError(
            f"{path}: {len(missing)} of {len(table)} images are not listed, the first is "
            f"{first!r}; list it, with an empty split to leave it out"
        )
    return replace(
        table,
        splits={
            **table.splits,
            **{name: column[at] for name, column in index.table.splits.items()},
        },
    )


def classes_of(array: Any, where: Callable[[int], str], spelled: dict[str, str]) -> Objects:
    """Class names of a pyarrow array, object [num_rows]; equal names share one str, so that ten
    million rows stay small.

    `spelled` takes up how each name was written. Raises InputError for a control character.
    """
    encoded = array.dictionary_encode()
    indices = encoded.indices.to_numpy()
    names = np.empty(len(encoded.dictionary), dtype=object)
    for at, raw in enumerate(encoded.dictionary.to_pylist()):
        try:
            names[at] = spelled[raw] = class_name(raw, "")
        except InputError:
            class_name(raw, where(int(np.argmax(indices == at))))
            raise
    out: Objects = names[indices]
    return out


def split_column(array: Any, column: str, where: Callable[[int], str]) -> Objects:
    """Split names of a pyarrow array: train, val, test or '' a row.

    Raises InputError for a name that is none of them, and for one that can mean two of them.
    """
    encoded = array.dictionary_encode()
    indices = encoded.indices.to_numpy()
    values = encoded.dictionary.to_pylist()
    names = np.empty(len(values), dtype=object)
    for at, value in enumerate(values):
        try:
            names[at] = natural_splits([value], column)[0]
        except InputError:
            row = int(np.argmax(indices == at))
            raise InputError(
                f"{where(row)}: the {column} {value!r} is none of train, val, test"
            ) from None
    twice = two_meanings(values)
    if twice is not None:
        row = int(np.argmax(indices == values.index(twice[0])))
        raise InputError(
            f"{where(row)}: the {column} {twice[0]!r} stands beside {twice[1]!r}, so it can mean "
            "val or test; write val or test"
        )
    out: Objects = names[indices]
    return out


def _notes_on_splits(file: CsvFile, columns: Columns) -> tuple[str, ...]:
    """Words of splits that do not say by themselves which split they mean."""
    notes = []
    for name in columns.splits:
        for value in pc.unique(file.column(name)).to_pylist():
            word = split_word(value)
            if word is not None and word.either:
                notes.append(f"{file.path.name}: the {name} {value!r} is read as {word.split}")
    return tuple(notes)


def _split_name(name: str) -> str:
    return "split" if name.casefold() == "split" else name


def _in_order(file: CsvFile, columns: Columns) -> list[str]:
    """Columns that can be a group, in the file's order."""
    wanted = {*columns.others, *columns.levels}
    return [name for name in file.header if name in wanted]


def _check_swallowed(file: CsvFile, columns: Columns) -> None:
    """Raises InputError where a quoted field of several lines holds what looks like rows of the
    table: two marks that were never closed can make a field together.
    """
    at = file.header.index(columns.path)
    for name in file.header:
        column = file.columns[file.header.index(name)]
        long = pc.indices_nonzero(pc.match_substring_regex(column, r"[\n\r]")).to_pylist()
        for row in long[:_FEW]:
            lost = [line for line in column[row].as_py().splitlines()[1:] if _is_row(line, at)]
            if lost:
                raise InputError(
                    f"{file.where(row)}: a quoted field of this row holds {len(lost)} line(s) that "
                    f"look like rows of the table, the first is {lost[0][:60]!r}; close the "
                    "quotation mark in its own line"
                )


def _check_texts(file: CsvFile, name: str) -> None:
    """Raises InputError for a control character in a text column, with its line."""
    column = file.column(name)
    unusual = pc.indices_nonzero(pc.match_substring_regex(column, r"[^ -~\t\n]"))
    for row, text in zip(unusual.to_pylist(), column.take(unusual).to_pylist(), strict=True):
        check_text(text, name, file.where(row))


def _is_row(line: str, path_at: int) -> bool:
    cells = line.split(",")
    return len(cells) > path_at + 1 and is_image(cells[path_at].strip(' "'))


def _text_field(array: Any, rows: NDArray[np.int64]) -> Callable[[], Objects]:
    def build() -> Objects:
        return np.fromiter(
            ([text] if text.strip() else [] for text in array.take(pa.array(rows)).to_pylist()),
            dtype=object,
            count=len(rows),
        )

    return build


def _group(file: CsvFile, name: str, rows: NDArray[np.int64]) -> Callable[[], Objects]:
    def build() -> Objects:
        encoded = file.column(name).dictionary_encode()
        names = [
            unicodedata.normalize("NFC", value.strip()) for value in encoded.dictionary.to_pylist()
        ]
        out: Objects = np.array(names, dtype=object)[encoded.indices.to_numpy()][rows]
        return out

    return build
