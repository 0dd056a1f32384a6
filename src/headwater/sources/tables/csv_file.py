"""Comma-separated tables as RFC 4180 has them, read strictly: every row of the file is read, or the
file is refused with the line.

pyarrow parses (3 million rows of 6 columns in 6 s and 1.7 GB on one core), but it forgives what
loses rows: a quotation mark that is never closed swallows all that follows. So the file's quotation
marks and line ends are looked at first, as arrays of positions, and the rows are counted by
themselves.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.csv as pa_csv
from numpy.typing import NDArray

from headwater import plain
from headwater.errors import InputError

Ints = NDArray[np.int64]
_BLOCK_BYTES = 1 << 24
"""pyarrow refuses a row that is longer than a block; 16 MiB is longer than any description and
small beside the table.
"""
_QUOTE, _COMMA, _LINE_FEED, _RETURN = b'",\n\r'
_BOM = b"\xef\xbb\xbf"


@dataclass(frozen=True, eq=False)
class CsvFile:
    """A file that was read whole."""

    path: Path
    header: tuple[str, ...]
    """Column names without the spaces around them, no name twice."""
    columns: tuple[Any, ...]
    """A pyarrow array of large_string for each name, one entry a row."""
    multiline: bool
    """Whether a quoted field holds a line end."""

    @property
    def num_rows(self) -> int:
        return len(self.columns[0])

    def column(self, name: str) -> Any:
        """The column of this name."""
        return self.columns[self.header.index(name)]

    def lines(self) -> list[int]:
        """The line on which each row begins; reads the file again."""
        lines: list[int] = _Scan.of(self.path).lines()[1:].tolist()
        return lines

    def where(self, row: int) -> str:
        """'PATH, line N' of a data row (0 is the first under the header); reads the file again."""
        try:
            return f"{self.path}, line {self.lines()[row]}"
        except (InputError, IndexError):  # changed since it was read
            return f"{self.path}, line {row + 2}"


def read_csv(path: Path) -> CsvFile:
    """The columns of a CSV file: UTF-8 with or without a byte-order mark, any line ends, commas,
    blank lines passed over.

    A quotation mark inside an unquoted field is text. Raises InputError, with the line, for a file
    that is empty, not UTF-8, holds null characters or no row, for rows of another length than the
    header, a column that is there twice, and a quoted field that is never closed or goes on after
    its closing mark.
    """
    names = read_header(path)
    scan = _Scan.of(path)
    try:
        frame = pa_csv.read_csv(
            path,
            read_options=pa_csv.ReadOptions(
                block_size=_BLOCK_BYTES, column_names=[str(at) for at in range(len(names))]
            ),
            parse_options=pa_csv.ParseOptions(newlines_in_values=True),
            convert_options=pa_csv.ConvertOptions(
                column_types={str(at): pa.large_string() for at in range(len(names))},
                strings_can_be_null=False,
            ),
        )
    except (OSError, pa.ArrowInvalid) as error:
        raise scan.diagnosed(len(names), error) from None
    if frame.num_rows != len(scan.starts):
        raise InputError(
            f"{path}: the file has {len(scan.starts)} rows and {frame.num_rows} could be read; "
            "write it anew with a program that quotes fields as RFC 4180 says"
        )
    if frame.num_rows == 1:
        raise InputError(f"{path}: there is a header but no row; list at least one image")
    columns = tuple(frame.column(at).combine_chunks().slice(1) for at in range(len(names)))
    inside = np.searchsorted(scan.quotes, scan.ends) % 2
    return CsvFile(path, tuple(names), columns, multiline=bool(inside.any()))


def read_header(path: Path) -> list[str]:
    """The column names of a CSV file, stripped.

    Raises InputError for a file that cannot be read, is empty, has a name twice, or seems to
    separate its fields by something else than commas.
    """
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            header = next((row for row in csv.reader(file, strict=True) if row), [])
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    except UnicodeDecodeError:
        raise _not_utf8(path) from None
    except csv.Error as error:
        if "unexpected end" in str(error):
            raise InputError(
                f"{path}, line 1: the header opens a quotation mark that is never closed; close "
                "it, or leave it out"
            ) from None
        raise InputError(f"{path}, line 1: the header cannot be read ({error})") from None
    names = [name.strip() for name in header]
    if not names:
        raise InputError(
            f"{path}: the file is empty; it needs a header with at least the column path"
        )
    for mark, spoken in ((";", "semicolons"), ("\t", "tabs"), ("|", "'|'")):
        if len(names) == 1 and mark in header[0]:
            raise InputError(
                f"{path}, line 1: the fields seem to be separated by {spoken}; save the file with "
                "commas between them"
            )
    if any("\x00" in name for name in names):
        raise _null_character(path, 1)
    for name in names:
        found = plain.stray(name)
        if found is not None:
            raise InputError(f"{path}, line 1: the column {name!a} holds {found}; rename it")
        if name and names.count(name) > 1:
            raise InputError(f"{path}, line 1: the column {name!r} is there twice")
    return names


@dataclass(frozen=True, eq=False)
class _Scan:
    """Where the rows of a file are, found without pyarrow."""

    path: Path
    data: NDArray[np.uint8]
    quotes: Ints
    """Positions of the marks that open and close quoted fields, in turn."""
    ends: Ints
    """Positions of all line ends (of CR LF, the LF)."""
    starts: Ints
    """Position at which each row that is not blank begins, the header included."""

    @classmethod
    def of(cls, path: Path) -> _Scan:
        """Raises InputError for quotation marks that do not pair."""
        try:
            data = np.fromfile(path, dtype=np.uint8)
        except OSError as error:
            raise InputError(f"{path}: cannot be read ({error.strerror})") from None
        first = len(_BOM) if data[: len(_BOM)].tobytes() == _BOM else 0
        feeds, returns = _positions(data, _LINE_FEED), _positions(data, _RETURN)
        after = data[np.minimum(returns + 1, len(data) - 1)]
        alone = returns[(after != _LINE_FEED) | (returns + 1 == len(data))]
        ends = np.sort(np.concatenate([feeds, alone])) if len(alone) else feeds
        nulls = _positions(data, 0)
        if len(nulls):
            raise _null_character(path, _line(ends, int(nulls[0])))
        quotes = _structural(path, data, first, _positions(data, _QUOTE), ends)
        outside = ends[np.searchsorted(quotes, ends) % 2 == 0]
        begins = np.concatenate([[first], outside + 1]).astype(np.int64)
        stops = np.concatenate([outside, [len(data)]]).astype(np.int64)
        stops = stops - ((stops > begins) & (data[np.maximum(stops - 1, 0)] == _RETURN))
        return cls(path, data, quotes, ends, begins[stops > begins])

    def lines(self) -> Ints:
        """int64 [num_rows]: the line on which each row begins."""
        return np.searchsorted(self.ends, self.starts) + 1

    def diagnosed(self, num_columns: int, error: Exception) -> InputError:
        """What is wrong with a file that pyarrow refused, and in which line."""
        if _line_of_bad_utf8(self.path):
            return _not_utf8(self.path)
        commas = _positions(self.data, _COMMA)
        commas = commas[np.searchsorted(self.quotes, commas) % 2 == 0]
        bounds = np.searchsorted(commas, np.concatenate([self.starts, [len(self.data)]]))
        fields = np.diff(bounds) + 1
        odd = np.flatnonzero(fields != num_columns)
        if not len(odd):
            reason = str(error).splitlines()[0][:200]
            return InputError(f"{self.path}: cannot be read as CSV ({reason})")
        more = f" (and {len(odd) - 1} further rows have another number)" if len(odd) > 1 else ""
        return InputError(
            f"{self.path}, line {self.lines()[odd[0]]}: the row has {fields[odd[0]]} fields, the "
            f"header has {num_columns}{more}; quote fields that hold commas"
        )


def _structural(path: Path, data: Any, first: int, quotes: Ints, ends: Ints) -> Ints:
    """Positions of the quotation marks that open and close fields, in turn; doubled ones may be
    among them, in pairs.

    Where all marks pair in the plain way, which whole arrays can tell, that is all of them.
    """
    opening = _bounds_field(data, first, quotes - 1)
    closing = _bounds_field(data, first, quotes + 1)
    opens, closes = quotes[0::2], quotes[1::2]
    if len(opens) == len(closes):
        starts, stops = opening[0::2].copy(), closing[1::2].copy()
        starts[1:] |= opens[1:] == closes[:-1] + 1
        stops[:-1] |= opens[1:] == closes[:-1] + 1
        if starts.all() and stops.all():
            return quotes
    found: list[int] = []
    positions, at = quotes.tolist(), 0
    while at < len(positions):
        opened = positions[at]
        at += 1
        if not opening[at - 1]:
            continue  # inside an unquoted field: text
        while at + 1 < len(positions) and positions[at + 1] == positions[at] + 1:
            at += 2
        line = _line(ends, opened)
        if at >= len(positions):
            left = _line(ends, len(data) - 1) - line
            raise InputError(
                f"{path}, line {line}: a quotation mark opens a field here that is never closed, "
                f"so that the {left} lines after it would be read as text; close the field, or "
                'double its marks ("19"" screen")'
            )
        closed = positions[at]
        at += 1
        if not closing[at - 1]:
            there = _line(ends, closed)
            rest = data[closed + 1 : closed + 21].tobytes().decode(errors="replace")
            rest = rest.splitlines()[0] if rest.splitlines() else rest
            raise InputError(
                f"{path}, line {line}: the quoted field that opens here is closed in line {there} "
                f"and followed by {rest!r}; close the field before the comma, and double the marks "
                'inside it ("19"" screen")'
            )
        found += [opened, closed]
    return np.array(found, dtype=np.int64)


def _bounds_field(data: NDArray[np.uint8], first: int, at: Ints) -> NDArray[np.bool_]:
    """bool [n]: whether a field ends or begins at these positions: a comma, a line end, or an end
    of the file.
    """
    beyond = (at < first) | (at >= len(data))
    bytes_there = data[np.where(beyond, 0, at)]
    out: NDArray[np.bool_] = beyond | np.isin(bytes_there, (_COMMA, _LINE_FEED, _RETURN))
    return out


def _positions(data: NDArray[np.uint8], value: int) -> Ints:
    """Where a byte is, found block by block so that no mask is as long as the file."""
    blocks = [
        np.flatnonzero(data[start : start + _BLOCK_BYTES] == value) + start
        for start in range(0, len(data), _BLOCK_BYTES)
    ]
    return np.concatenate([np.empty(0, dtype=np.int64), *blocks])


def _line(ends: Ints, position: int) -> int:
    return int(np.searchsorted(ends, position)) + 1


def _line_of_bad_utf8(path: Path) -> int | None:
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            try:
                line.decode("utf-8")
            except UnicodeDecodeError:
                return number
    return None


def _not_utf8(path: Path) -> InputError:
    return InputError(
        f"{path}, line {_line_of_bad_utf8(path) or 1}: this is not UTF-8; save the file as UTF-8"
    )


def _null_character(path: Path, line: int) -> InputError:
    return InputError(
        f"{path}, line {line}: there is a null character, as in a file that was saved as UTF-16; "
        "save it as UTF-8"
    )
