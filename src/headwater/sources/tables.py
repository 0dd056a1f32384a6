"""labels.csv and captions.jsonl: the two files from which a folder, or any other source, takes
classes, splits and texts.

Both are read whole and checked at once; a mistake is an InputError of one line that names the file
and the line. labels.csv is parsed by pyarrow (measured: 3 million rows of 6 columns in 6 s and 1.7
GB on one core), and Python looks at single rows only to say where a mistake is.
"""

from __future__ import annotations

import csv
import json
import posixpath
import re
import unicodedata
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Table, natural_splits

Objects = NDArray[np.object_]

_BLOCK_BYTES = 1 << 24
"""pyarrow refuses a row that is longer than a block; 16 MiB is longer than any description and
small beside the table.
"""
_REFUSED = (
    (r"^\s*$", "is empty"),
    (r"\\", "has a backslash; write it with forward slashes"),
    (r"^/|^[A-Za-z]:/", "is absolute; write it relative to the folder"),
    (r"(^|/)\.\.(/|$)", "leaves the folder by '..'"),
    (r"\x00", "has a null character"),
)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A table and where its samples came from.

    Arrays have one entry per sample, in the table's order.
    """

    table: Table
    files: Objects
    """Paths relative to the root as they were written (ids are their NFC, tidied form)."""
    where: Callable[[int], str]
    """Says, for messages, where a position was listed: 'PATH, line N', or the folder that was
    walked.
    """


class Texts(Mapping[str, Objects]):
    """Columns by name, object [num_samples], built when first asked for: a column nobody reads
    costs nothing. A text field holds a list[str] per sample, a group column a str.
    """

    def __init__(self, fields: Mapping[str, Callable[[], Objects]]) -> None:
        self._fields = dict(fields)
        self._built: dict[str, Objects] = {}

    def __getitem__(self, name: str) -> Objects:
        if name not in self._built:
            self._built[name] = self._fields[name]()
        return self._built[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def canonical_ids(paths: Any, where: Callable[[int], str]) -> tuple[Any, NDArray[np.int64]]:
    """(sorted ids, order): tidied NFC ids of `paths` (a pyarrow string array), and the row of each.

    './' and doubled slashes are tidied away. Raises InputError for a path that is empty, absolute,
    leaves the root, has a backslash, or comes twice (also where two spellings of it are one NFC
    path).
    """
    for pattern, reason in _REFUSED:
        bad = pc.match_substring_regex(paths, pattern)
        if pc.any(bad).as_py():
            row = pc.index(bad, True).as_py()
            raise InputError(f"{where(row)}: the path {paths[row].as_py()!r} {reason}")
    untidy = pc.match_substring_regex(paths, r"(^|/)\.(/|$)|//|/$")
    if pc.any(untidy).as_py():
        tidied = pa.array(
            [posixpath.normpath(path) for path in pc.filter(paths, untidy).to_pylist()], paths.type
        )
        paths = pc.replace_with_mask(paths, untidy, tidied)
    ids = pc.utf8_normalize(paths, form="NFC")
    order = pc.sort_indices(ids)
    ids = ids.take(order)
    rows = order.to_numpy().astype(np.int64)
    twice = pc.equal(ids[1:], ids[:-1])
    if pc.any(twice).as_py():
        at = pc.index(twice, True).as_py()
        first, second = sorted((int(rows[at]), int(rows[at + 1])))
        raise InputError(
            f"{where(second)}: the path {ids[at].as_py()!r} is listed twice (first in "
            f"{where(first)}); keep one of them"
        )
    return ids, rows


def read_labels(path: Path) -> Listing:
    """The samples of one labels.csv.

    Columns: `path` (needed); `split` and others whose names start with `split`; `level1` (coarsest)
    ... `levelN` (finest); every other column is a text field. Where no split column is given,
    everything is train. Names of classes and splits are stripped and brought to NFC. UTF-8 with or
    without a byte-order mark, any line ends, blank lines ignored. Whether the files exist is not
    asked here.

    Raises InputError, with file and line, for a file that is empty, ragged or not UTF-8, and for
    columns and paths that cannot be used.
    """
    header = _header(path)
    frame = _parse(path, header)
    names = [name.strip() for name in header]
    columns = {name: frame.column(at).combine_chunks() for at, name in enumerate(names)}
    if not frame.num_rows:
        raise InputError(f"{path}: there is a header but no row; list at least one image")

    def where(row: int) -> str:
        return f"{path}, line {_line_of(path, row)}"

    ids, rows = canonical_ids(columns["path"], where)
    splits = {
        name: _splits(columns[name], name, where)[rows]
        for name in names
        if name.startswith("split")
    }
    if not splits:
        splits = {"split": np.full(len(rows), "train", dtype=object)}
    depth = _num_levels(names, path)
    levels = tuple(_classes(columns[f"level{at}"])[rows] for at in range(depth, 0, -1))
    others = [name for name in names if name != "path" and not re.match(r"split|level\d", name)]
    texts = Texts({name: _text_field(columns[name], rows) for name in others})
    groups = Texts(
        {
            name: _group_column(columns[name], rows)
            for name in names
            if name != "path" and not name.startswith("split")
        }
    )
    table = Table(ids=_strings(ids), splits=splits, levels=levels, texts=texts, groups=groups)
    return Listing(
        table=table,
        files=_strings(columns["path"].take(pa.array(rows))),
        where=lambda position: where(int(rows[position])),
    )


def listing_of(
    paths: Any,
    where: Callable[[int], str],
    *,
    split: Objects,
    levels: tuple[Objects, ...],
    groups: Mapping[str, Objects] | None = None,
    spoken: Mapping[str, str] | None = None,
) -> Listing:
    """A listing of `paths` (a pyarrow array of large_string) from arrays in the same order: split
    names, class names per level (finest first), groups.

    `spoken` says what people call a finest class; it becomes the text field `name` too.
    `where(row)` says where a row was listed. Raises InputError, as `canonical_ids` does, for paths
    that cannot be used.
    """
    ids, rows = canonical_ids(paths, where)
    ordered = tuple(level[rows] for level in levels)
    told = dict(spoken or {})

    def names() -> Objects:
        made = {name: [told.get(name, name)] for name in set(ordered[0].tolist())}
        return np.fromiter(
            (made[name] for name in ordered[0].tolist()), dtype=object, count=len(rows)
        )

    table = Table(
        ids=_strings(ids),
        splits={"split": split[rows]},
        levels=ordered,
        texts=Texts({"name": names} if told else {}),
        groups={name: column[rows] for name, column in (groups or {}).items()},
        spoken=told,
    )
    return Listing(
        table=table,
        files=_strings(paths.take(pa.array(rows))),
        where=lambda position: where(int(rows[position])),
    )


def with_split_file(table: Table, path: Path) -> Table:
    """`table` with the split columns of an index file: a CSV with the columns `path` and `split`
    (and others that begin with `split`).

    Every image of the table is listed there; an empty split leaves it out. Columns that the table
    has already are replaced. Raises InputError for a file that cannot be read, paths that the table
    lacks, and images that the file does not list.
    """
    index = read_labels(path)
    if not any(name.strip().startswith("split") for name in _header(path)):
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


def _header(path: Path) -> list[str]:
    """The raw column names; InputError where they cannot be used."""
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next((row for row in csv.reader(file) if row), [])
    except (OSError, UnicodeDecodeError, csv.Error) as error:
        raise _diagnosed(path, None, error) from None
    names = [name.strip() for name in header]
    if not names:
        raise InputError(
            f"{path}: the file is empty; it needs a header with at least the column path"
        )
    if "path" not in names:
        raise InputError(
            f"{path}, line 1: there is no column path; the header has "
            f"{', '.join(map(repr, names[:12]))}"
        )
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"{path}, line 1: the column {name!r} is there twice")
    return header


def _num_levels(names: list[str], path: Path) -> int:
    for name in names:
        if re.fullmatch(r"(?i)level[ _-]?\d+", name) and not re.fullmatch(r"level[1-9]\d*", name):
            raise InputError(
                f"{path}, line 1: the column {name!r} is no level; levels are level1 (coarsest), "
                "level2, ... levelN (finest)"
            )
    numbers = {int(name[5:]) for name in names if re.fullmatch(r"level[1-9]\d*", name)}
    for number in range(1, len(numbers) + 1):
        if number not in numbers:
            raise InputError(
                f"{path}, line 1: level{max(numbers)} is there but level{number} is not; number "
                "levels from 1 (coarsest) without a gap"
            )
    return len(numbers)


def _parse(path: Path, header: list[str]) -> Any:
    """A pyarrow table of the csv's columns, all text."""
    try:
        return pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(block_size=_BLOCK_BYTES),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types={name: pa.large_string() for name in header}, strings_can_be_null=False
            ),
        )
    except (OSError, pa.ArrowInvalid) as error:
        raise _diagnosed(path, len(header), error) from None


def _diagnosed(path: Path, num_columns: int | None, error: Exception) -> InputError:
    """What is wrong with a csv that did not parse, and in which line: a slow pass that only a
    broken file pays for.
    """
    if isinstance(error, FileNotFoundError | PermissionError | IsADirectoryError):
        return InputError(f"{path}: cannot be read ({error.strerror})")
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return InputError(
                    f"{path}, line {number}: this is not UTF-8; save the file as UTF-8"
                )
    try:
        for number, row in _rows(path):
            if num_columns is not None and len(row) != num_columns:
                return InputError(
                    f"{path}, line {number}: the row has {len(row)} fields, the header has "
                    f"{num_columns}; quote fields that hold commas"
                )
    except csv.Error as reason:
        error = reason
    return InputError(f"{path}: cannot be read as CSV ({str(error).splitlines()[0][:200]})")


def _rows(path: Path) -> Iterator[tuple[int, list[str]]]:
    """(line on which it starts, fields) of every row that is not blank, the header included."""
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.reader(file)
        start = 1
        for row in reader:
            if row:
                yield start, row
            start = reader.line_num + 1


def _line_of(path: Path, row: int) -> int | str:
    """The line of a data row (0 is the first under the header): counted, since blank lines and
    quoted line ends shift it.
    """
    try:
        return next((line for at, (line, _) in enumerate(_rows(path)) if at == row + 1), row + 2)
    except (OSError, csv.Error):
        return row + 2


def _strings(array: Any) -> Objects:
    out: Objects = array.to_numpy(zero_copy_only=False)
    return out


def _classes(array: Any) -> Objects:
    """Stripped NFC names, object [num_rows]; equal names share one str, so that ten million rows
    stay small.
    """
    encoded = array.dictionary_encode()
    names = np.array(
        [unicodedata.normalize("NFC", name.strip()) for name in encoded.dictionary.to_pylist()],
        dtype=object,
    )
    out: Objects = names[encoded.indices.to_numpy()]
    return out


def _splits(array: Any, column: str, where: Callable[[int], str]) -> Objects:
    encoded = array.dictionary_encode()
    indices = encoded.indices.to_numpy()
    names = np.empty(len(encoded.dictionary), dtype=object)
    for at, value in enumerate(encoded.dictionary.to_pylist()):
        try:
            names[at] = natural_splits([value], column)[0]
        except InputError:
            row = int(np.argmax(indices == at))
            raise InputError(
                f"{where(row)}: the {column} {value!r} is none of train, val, test"
            ) from None
    out: Objects = names[indices]
    return out


def _text_field(array: Any, rows: NDArray[np.int64]) -> Callable[[], Objects]:
    def build() -> Objects:
        return np.fromiter(
            ([text] if text.strip() else [] for text in array.take(pa.array(rows)).to_pylist()),
            dtype=object,
            count=len(rows),
        )

    return build


def _group_column(array: Any, rows: NDArray[np.int64]) -> Callable[[], Objects]:
    return lambda: _classes(array)[rows]


def with_captions(listing: Listing, path: Path) -> Listing:
    """`listing` with the text fields of a captions.jsonl: one object per line, {"path": ...,
    "captions": [...], "name": ..., ...}.

    A text, or a list of texts, is a field; blank texts are dropped; numbers, null and nested
    objects are no texts and are passed over, as are keys named path, split* and level*. Lines with
    the same path add up. Costs about 3 microseconds a line.

    Raises InputError for a line that is no JSON object or has no path, a list that mixes texts with
    other things, a path that the source lacks, and a field that labels.csv has as well.
    """
    positions, records = _match(listing.table.ids, path, list(_read_lines(path)))
    fields: dict[str, Objects] = {}
    for position, (line, record) in zip(positions.tolist(), records, strict=True):
        for name, value in record.items():
            if name == "path" or re.match(r"split|level\d", name):
                continue
            texts = _texts_of(value, name, path, line)
            if texts is None:
                continue
            if name not in fields:
                fields[name] = np.fromiter(
                    ([] for _ in range(len(listing.table))), dtype=object, count=len(listing.table)
                )
            fields[name][position].extend(texts)
    both = sorted(set(fields) & set(listing.table.texts))
    if both:
        raise InputError(
            f"{path}: the text field {both[0]!r} is a column of labels.csv as well; rename one of "
            "them"
        )
    old = listing.table.texts
    merged = {name: (lambda name=name: old[name]) for name in old} | {
        name: (lambda name=name: fields[name]) for name in fields
    }
    return replace(listing, table=replace(listing.table, texts=Texts(merged)))


def _read_lines(path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every line that is not blank."""
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError:
                raise InputError(
                    f"{path}, line {number}: this is not UTF-8; save the file as UTF-8"
                ) from None
            except (json.JSONDecodeError, RecursionError) as error:
                raise InputError(
                    f"{path}, line {number}: this is no JSON ({error}); write one object per line"
                ) from None
            if not isinstance(record, dict) or not isinstance(record.get("path"), str):
                raise InputError(
                    f'{path}, line {number}: this is no object with a "path"; write {{"path": ..., '
                    '"captions": [...]}'
                )
            yield number, record


def _match(
    ids: Objects, path: Path, lines: list[tuple[int, dict[str, Any]]]
) -> tuple[NDArray[np.int64], list[tuple[int, dict[str, Any]]]]:
    names = [
        unicodedata.normalize("NFC", posixpath.normpath(record["path"])) for _, record in lines
    ]
    positions = pd.Index(ids).get_indexer(pd.Index(names, dtype=object))
    unknown = np.flatnonzero(positions < 0)
    if len(unknown):
        line, record = lines[unknown[0]]
        rest = f" (and {len(unknown) - 1} further lines like it)" if len(unknown) > 1 else ""
        raise InputError(
            f"{path}, line {line}: the image {record['path']!r} is not among this source's "
            f"images{rest}; remove the line or list the image"
        )
    return positions.astype(np.int64), lines


def _texts_of(value: object, name: str, path: Path, line: int) -> list[str] | None:
    """The texts of one value, or None for a value that is no text."""
    if isinstance(value, str):
        return [value] if value.strip() else []
    if not isinstance(value, list):
        return None
    texts = [item for item in value if isinstance(item, str)]
    if texts and len(texts) < len(value):
        raise InputError(
            f"{path}, line {line}: {name!r} mixes texts with other things; write a list of texts"
        )
    return [text for text in texts if text.strip()] if texts or not value else None
