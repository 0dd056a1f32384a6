"""Rows that were read before, kept as tables beside the files that they were read from: of a
hundred thousand files, reading each again takes up to a minute, and looking at each half a second.

    <folder>/whole-<token>.txt    states of files that were written, or read, and were whole
    <folder>/table-<token>/       rows.parquet, files.txt (the state of the file of each cell),
                                  about.json with the digests of both

A state is a file's name, size, times of change and inode: a file that has the same one was not
written since. Nothing here is needed: what is gone, damaged or of another state is read from its
file. A damaged line of a list is no state that a file has.
"""

from __future__ import annotations

import json
import os
import uuid
import weakref
from collections.abc import Callable, Collection, Iterable, Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater import digests, files
from headwater.errors import InputError
from headwater.rows.checks import sorted_rows
from headwater.rows.schema import COLUMNS, NAMES, PANDAS_TYPES
from headwater.rows.tables import CELL_FILE, to_frame, write_parquet

if TYPE_CHECKING:
    import pandas as pd

LEAST = 200
"""Files that are worth a table; fewer are read again [ours]."""
_AT_ONCE = 20_000
"""Files whose rows are in memory as Python's objects at a time [ours]."""
_MOST_LISTS = 16
_ROWS, _FILES, _ABOUT = "rows.parquet", "files.txt", "about.json"
_VERSION = 1

Read = Callable[[str], list[dict[str, Any]]]
"""Reads and checks the rows of a file, by its name. Raises InputError where they are damaged."""


def file_state(name: str, path: str | Path) -> str | None:
    """The line that tells a file from what it may become; None where there is none."""
    try:
        return _line(name, os.stat(path))
    except OSError:
        return None


def _line(name: str, now: os.stat_result) -> str:
    return f"{name} {now.st_size} {now.st_mtime_ns} {now.st_ctime_ns} {now.st_ino}"


def _name(state: str) -> str:
    return state.partition(" ")[0]


def cell_of(name: str) -> str:
    """The cell that a file, or a line of its state, is of."""
    return name.partition(".")[0]


@dataclass(frozen=True)
class Table:
    """Rows that are kept, by cell."""

    folder: Path
    states: list[str]
    """Of the file of each cell, in the order of the cells."""

    def frame(self, only: Collection[str] | None, wanted: set[str]) -> pd.DataFrame:
        """The rows of the files whose states are wanted, with the required columns and those of
        `only` (all, where it is None).
        """
        frame = _read_parquet(self.folder / _ROWS, only)
        mask = np.array([state in wanted for state in self.states], dtype=bool)
        if mask.all():
            return frame
        rows: pd.DataFrame = frame[mask[_numbers(frame)]].reset_index(drop=True)
        return rows

    def ends(self) -> dict[str, str]:
        """How the cell of each file ended (its status), by the state of the file."""
        import pyarrow.parquet as pq

        names = ["cell", "status"]
        with pq.ParquetFile(self.folder / _ROWS, read_dictionary=names) as file:
            table: Any = file.read(columns=names)
        cells, statuses = (table.column(name).combine_chunks() for name in names)
        first = np.flatnonzero(np.diff(cells.indices.to_numpy(), prepend=-1))
        return dict(zip(self.states, statuses.take(first).to_pylist(), strict=True))


class KeptRows:
    """What is known of the files of rows in one folder; `folder` is where that is kept."""

    def __init__(self, rows: Path, folder: Path) -> None:
        self.rows, self.folder = rows, folder
        self._noted: dict[int, int] = {}
        """The list that a process writes to, by its number: forked ones have their own."""
        self._memory: list[tuple[list[str], pd.DataFrame]] = []
        """What was read and could not be written."""

    def states(self) -> dict[str, str]:
        """By name, the state of each file of rows that is there."""
        found: dict[str, str] = {}
        is_of_cell = CELL_FILE.fullmatch
        with suppress(FileNotFoundError), os.scandir(self.rows) as entries:
            for entry in entries:
                name = entry.name
                if is_of_cell(name):
                    try:
                        found[name] = _line(name, entry.stat())
                    except FileNotFoundError:
                        continue
        return found

    def changed(self) -> int | None:
        """When a file was last made or taken away, in nanoseconds; None where there is no folder
        of them.
        """
        try:
            return self.rows.stat().st_mtime_ns
        except OSError:
            return None

    def ends(self) -> dict[str, str]:
        """How cells ended (their status), by the states of their files, as far as tables say it."""
        found: dict[str, str] = {}
        for table in self._tables():
            with suppress(FileNotFoundError):  # it was put into a larger one just now
                found |= table.ends()
        return found

    # files that are whole
    def note(self, name: str) -> None:
        """Keeps that a file was written, or read, just now, and is whole."""
        state = file_state(name, self.rows / name)
        if state is None:
            return
        with suppress(OSError):
            os.write(self._list(), f"{state}\n".encode())

    def unknown(self, states: Iterable[str]) -> list[str]:
        """Those of some states of which it is not known that the file is whole."""
        known = self._whole()
        for table in self._tables():
            known.update(table.states)
        return [state for state in states if state not in known]

    def _list(self) -> int:
        pid = os.getpid()
        if pid not in self._noted:
            self.folder.mkdir(parents=True, exist_ok=True)
            path = self.folder / f"whole-{uuid.uuid4().hex[:12]}.txt"
            opened = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o666)
            weakref.finalize(self, os.close, opened)
            self._noted[pid] = opened
        return self._noted[pid]

    def _whole(self) -> set[str]:
        known: set[str] = set()
        paths = sorted(self.folder.glob("whole-*.txt"))
        for path in paths:
            with suppress(OSError):
                known.update(path.read_text(encoding="utf-8", errors="replace").splitlines())
        if len(paths) > _MOST_LISTS:  # those of processes that still write are read again
            with suppress(OSError):
                one = self.folder / f"whole-{uuid.uuid4().hex[:12]}.txt"
                files.write_atomic(one, "".join(f"{state}\n" for state in sorted(known)))
                for path in paths:
                    path.unlink()
        return known

    # rows
    def take_in(
        self, names: Iterable[str], read: Read, damaged: Callable[[str, InputError], None]
    ) -> None:
        """Reads files and keeps their rows; `damaged` hears of the names of those
        whose rows are damaged.
        """
        at_hand = sorted(set(names))
        for start in range(0, len(at_hand), _AT_ONCE):
            rows: list[dict[str, Any]] = []
            states = []
            for name in at_hand[start : start + _AT_ONCE]:
                state = file_state(name, self.rows / name)
                if state is None:
                    continue
                try:
                    found = read(name)
                except InputError as error:
                    damaged(name, error)
                    continue
                if found and file_state(name, self.rows / name) == state:
                    states.append(state)
                    rows += found
            if rows:
                self._keep(states, to_frame(rows))

    def frame(
        self, wanted: Sequence[str], read: Read, only: Collection[str] | None = None
    ) -> pd.DataFrame:
        """The rows of the files that have the states `wanted`, one file a cell, sorted by cell,
        metric and subset. Raises InputError for the first that is damaged.
        """

        def raised(name: str, error: InputError) -> None:
            raise error

        parts, missing = self._found(wanted, only)
        if len(missing) >= LEAST:
            self.take_in((_name(state) for state in missing), read, raised)
            parts, missing = self._found(wanted, only)
        rows: list[dict[str, Any]] = []
        for state in sorted(missing):
            rows += read(_name(state))
        if rows or not parts:
            fresh = to_frame(rows)
            parts.append(fresh if only is None else fresh[_columns(only)])
        return parts[0] if len(parts) == 1 else sorted_rows(_joined(parts))

    def _found(
        self, wanted: Iterable[str], only: Collection[str] | None
    ) -> tuple[list[pd.DataFrame], set[str]]:
        """Rows that are kept, and the states of which none are."""
        missing, parts = set(wanted), list[Any]()
        for table in self._tables():
            here = missing.intersection(table.states)
            if not here:
                continue
            with suppress(FileNotFoundError):  # it was put into a larger one just now
                parts.append(table.frame(only, here))
                missing -= here
        for states, frame in self._memory:
            here = missing.intersection(states)
            if here:
                mask = frame["cell"].isin({cell_of(state) for state in here})
                part = frame[mask].reset_index(drop=True)
                parts.append(part if only is None else part[_columns(only)])
                missing -= here
        return parts, missing

    def _tables(self) -> Iterator[Table]:
        for folder in sorted(self.folder.glob("table-*")):
            try:
                yield _opened(folder)
            except FileNotFoundError:  # another process put it into a larger one
                continue
            except (OSError, ValueError) as error:
                digests.made_again(folder, digests.reason(error), "a table of rows")
                with suppress(OSError):
                    files.remove_folder(folder)

    def _keep(self, states: list[str], frame: pd.DataFrame) -> None:
        """Writes a table, with those together that are not much larger: so each row is written a
        few times, however many come one after another.
        """
        try:
            alive = set(self.states().values())
            smaller = [each for each in self._tables() if len(each.states) < 2 * len(states)]
            of_cell = {cell_of(state): state for state in states}
            frames = [frame]
            for table in smaller:
                here = {
                    state
                    for state in alive.intersection(table.states)
                    if cell_of(state) not in of_cell
                }
                if here:
                    frames.append(table.frame(None, here))
                    of_cell |= {cell_of(state): state for state in here}
            whole = frame if len(frames) == 1 else sorted_rows(_joined(frames))
            ordered = [of_cell[cell] for cell in sorted(of_cell)]
            _write(self.folder / f"table-{uuid.uuid4().hex[:12]}", ordered, whole)
            for table in smaller:
                files.remove_folder(table.folder)
        except OSError:  # a full disk, or a store that may only be read
            self._memory.append((states, frame))


def _write(folder: Path, states: list[str], frame: pd.DataFrame) -> None:
    with files.atomic_folder(folder) as temp:
        write_parquet(frame, temp / _ROWS)
        (temp / _FILES).write_text("".join(f"{state}\n" for state in states))
        held = {name: files.file_sha256(temp / name) for name in (_ROWS, _FILES)}
        about = {"version": _VERSION, "columns": list(NAMES), "files": held}
        (temp / _ABOUT).write_text(json.dumps(digests.sealed(about)) + "\n")


def _opened(folder: Path) -> Table:
    """A table that is what was written, of this schema. Raises OSError, or Damaged."""
    about = digests.read_record(folder / _ABOUT)
    if about.get("version") != _VERSION or about.get("columns") != list(NAMES):
        raise digests.Damaged("another version of headwater wrote it")
    for name, digest in about["files"].items():
        if files.file_sha256(folder / name) != digest:
            raise digests.Damaged(f"{name} is not what was written")
    return Table(folder, (folder / _FILES).read_text().splitlines())


def _columns(only: Collection[str] | None) -> list[str]:
    """In the order of the schema."""
    return [name for name in NAMES if only is None or name in only or name in _REQUIRED]


_REQUIRED = frozenset(column.name for column in COLUMNS if column.required)
_KINDS = {column.name: column.kind for column in COLUMNS}


def _read_parquet(path: Path, only: Collection[str] | None) -> pd.DataFrame:
    """Columns of a table that `write_parquet` wrote, in the types of `to_frame`."""
    import pandas as pd
    import pyarrow.parquet as pq

    names = _columns(only)
    texts = [name for name in names if _KINDS[name] == "str"]
    table: Any = pq.read_table(path, columns=names, read_dictionary=texts, partitioning=None)
    columns: dict[str, Any] = {}
    for name in names:
        column = table.column(name).combine_chunks()
        if _KINDS[name] == "str":
            codes = column.indices.fill_null(-1).to_numpy(zero_copy_only=False)
            texts_of: Any = column.dictionary.to_pylist() or [""]
            as_array: Any = pd.array
            distinct = as_array(texts_of, dtype=PANDAS_TYPES["str"])
            columns[name] = distinct.take(codes, allow_fill=True)
        else:
            null = column.is_null().to_numpy(zero_copy_only=False)
            nothing = False if _KINDS[name] == "bool" else 0
            values = column.fill_null(nothing).to_numpy(zero_copy_only=False)
            columns[name] = _masked(_KINDS[name])(values, null)
    return pd.DataFrame(columns, copy=False)


def _masked(kind: str) -> Any:
    """The type of pandas' nullable arrays."""
    import pandas as pd

    arrays = {"int": pd.arrays.IntegerArray, "float": pd.arrays.FloatingArray}
    return arrays.get(kind, pd.arrays.BooleanArray)


def _numbers(frame: pd.DataFrame) -> Any:
    """int64 [rows]: which cell a row is of, counted from 0; of a table sorted by cell."""
    cells = frame["cell"].to_numpy(dtype=object)
    new = np.ones(len(cells), dtype=bool)
    new[1:] = cells[1:] != cells[:-1]
    return np.cumsum(new) - 1


def _joined(parts: list[pd.DataFrame]) -> pd.DataFrame:
    import pandas as pd

    return pd.concat(parts, ignore_index=True)
