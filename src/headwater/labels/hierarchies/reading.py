"""How files of class hierarchies are read: with limits, as UTF-8, and with one line for whatever is
wrong. Nothing is unpickled or run.
"""

from __future__ import annotations

import csv
import json
import os
import stat
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headwater.errors import InputError

MOST_BYTES = 1 << 28
"""256 MiB: thirty times the text of all nouns of WordNet."""
MOST_LINE = 1 << 16
"""Characters in one line; the longest of WordNet's `data.noun` has 13,000."""


def file_size(path: Path) -> int:
    """Bytes of a file; InputError for what is missing, empty or no plain file."""
    try:
        status = os.stat(path)
    except (OSError, ValueError) as error:
        raise InputError(
            f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})"
        ) from None
    if not stat.S_ISREG(status.st_mode):
        raise InputError(f"{path}: this is no file")
    if not status.st_size:
        raise InputError(f"{path}: the file is empty")
    return status.st_size


def read_head(path: Path, num_bytes: int = 4096) -> str:
    """The beginning of a file as text, whatever it is, without a byte-order mark: enough to tell
    what format it has.
    """
    file_size(path)
    try:
        with path.open("rb") as file:
            return file.read(num_bytes).decode("utf-8-sig", errors="replace")
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def read_text(path: Path) -> str:
    """A whole file as text: UTF-8 with or without a byte-order mark, any line ends (they come back
    as newlines).

    Raises InputError for a file that is empty, over 256 MiB, binary or not UTF-8, with the line.
    """
    if file_size(path) > MOST_BYTES:
        raise InputError(
            f"{path}: the file has more than {MOST_BYTES >> 20} MiB; that is no class hierarchy, "
            "list each class once"
        )
    try:
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None
    if (at := data.find(b"\0")) >= 0:
        raise InputError(f"{path}, line {_line_at(data, at)}: this is no text (it has a null byte)")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path}, line {_line_at(data, error.start)}: this is not UTF-8; save the file as UTF-8"
        ) from None
    return text.replace("\r\n", "\n").replace("\r", "\n")


def read_lines(path: Path) -> Iterator[tuple[int, str]]:
    """(line number from 1, line without its end) of each line that is not blank.

    Raises InputError for a line that is too long.
    """
    some = False
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if len(line) > MOST_LINE:
            raise InputError(
                f"{path}, line {number}: the line has {len(line)} characters; more than "
                f"{MOST_LINE} is no class"
            )
        if line and not line.isspace():
            some = True
            yield number, line
    if not some:
        raise InputError(f"{path}: the file has blank lines only")


def read_cells(path: Path, separator: str | None) -> Iterator[tuple[int, list[str]]]:
    """(line number from 1, tidied cells) of each row that is not blank: CSV rules (quotes) with a
    separator, words at white space without.
    """
    lines = read_lines(path)
    if separator is None:
        for number, line in lines:
            yield number, [tidied(cell) for cell in line.split()]
        return
    numbers: list[int] = []

    def fed() -> Iterator[str]:
        for number, line in lines:
            numbers.append(number)
            yield line

    rows = csv.reader(fed(), delimiter=separator, strict=True)
    while True:
        numbers.clear()
        try:
            row = next(rows, None)
        except csv.Error as error:
            raise InputError(
                f"{path}, line {numbers[0] if numbers else 1}: this is no row of a table ({error})"
            ) from None
        if row is None:
            return
        if len(numbers) > 1:
            raise InputError(
                f"{path}, line {numbers[0]}: a quote that opens here ends on another line; a class "
                "is on one line"
            )
        yield numbers[0], [tidied(cell) for cell in row]


def parse_json(text: str, path: Path) -> Any:
    """JSON as Python objects; InputError, with the line, for what is none, and for what is nested
    too deep.
    """
    try:
        return json.loads(text)
    except RecursionError:
        raise InputError(f"{path}: the JSON is nested too deep for a class hierarchy") from None
    except json.JSONDecodeError as error:
        raise InputError(f"{path}, line {error.lineno}: this is no JSON ({error.msg})") from None
    except ValueError as error:  # a number of thousands of digits
        raise InputError(f"{path}: this is no JSON ({str(error).splitlines()[0][:120]})") from None


def tidied(name: str) -> str:
    """A class name without white space around it, in Unicode's NFC, so that two spellings of one
    text are one class.
    """
    name = name.strip()
    return name if name.isascii() else unicodedata.normalize("NFC", name)


def shown(text: object) -> str:
    """A piece of a file for a message: quoted, control characters escaped, clipped."""
    plain = str(text)
    return repr(plain if len(plain) <= 60 else f"{plain[:57]}...")


def _line_at(data: bytes, at: int) -> int:
    return data.count(b"\n", 0, at) + 1
