"""Rows and answers of cells: a file of each for every cell (headwater.store.folder says where)."""

from __future__ import annotations

import os
import time
from collections.abc import Collection, Iterable, Mapping, Sequence, Set
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from headwater import digests, files
from headwater.errors import InputError
from headwater.rows import (
    CELL_FILE,
    FAILED,
    KeptRows,
    cell_file_text,
    check_row,
    read_cell_file,
)
from headwater.rows.kept import LEAST, cell_of

if TYPE_CHECKING:
    import pandas as pd

_SOUND_S = 60.0
"""How long files of rows that were all whole are not looked at again, at most [ours]."""
_KNOWN = 5000
"""Files of rows whose rows are kept in memory [ours]."""


@dataclass(frozen=True)
class FinishedCell:
    """What is kept of a cell that is done, or has diverged."""

    id: str
    rows: Sequence[Mapping[str, Any]]
    right: NDArray[np.bool_] | None = None
    """bool [n_test]: which test samples it got right; None where it diverged."""


@dataclass(frozen=True)
class Standing:
    """How some cells stand, as far as it is known without reading many files."""

    asked: int
    """How many they are."""
    finished: set[str]
    """Done or diverged."""
    failed: set[str]
    diverged: set[str]
    """Those of the finished ones that are known to have diverged."""
    unread: set[str]
    """Those of all these whose rows are in no table, so that reading them is reading files."""


class Cells:
    """The cells of the store in a folder."""

    rows_are_here = True
    """Whether all rows are on this machine's disks, and none has to be brought first."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.rows, self.answers = root / "rows", root / "answers"
        self.cache, self.damaged = root / "cache", root / "damaged"
        self._kept = KeptRows(self.rows, self.cache / "rows")
        self._sound: tuple[int | None, float] | None = None
        self._known: dict[str, tuple[tuple[int, ...], list[dict[str, Any]]]] = {}

    def check(self) -> None:
        """Raises InputError where what is written now would be found by nobody."""

    # rows
    def write_rows(self, cell_id: str, rows: Sequence[Mapping[str, Any]]) -> None:
        """The rows of one cell, whole or not at all; a row of status failed goes beside, and is
        replaced by what succeeds.
        """
        self.check()
        checked = [check_row(row, f"cell {cell_id}") for row in rows]
        text = cell_file_text(checked)
        failed = self.rows / f"{cell_id}{FAILED}"
        if any(row["status"] == "failed" for row in checked):
            files.write_atomic(failed, text)
            self._kept.note(failed.name)
            return
        files.write_atomic(self.rows / f"{cell_id}.json", text)
        self._kept.note(f"{cell_id}.json")
        failed.unlink(missing_ok=True)

    def write_cells(self, cells: Sequence[FinishedCell]) -> None:
        """Rows and answers of cells that are done, or have diverged: all are there when it returns.
        The disk is waited for once, and not for each file. Where the disk takes not all of them,
        they are written one by one as far as it does, and the OSError is raised.
        """
        self.check()
        try:
            self._write_cells(cells)
        except OSError:
            if len(cells) < 2:
                raise
            for cell in cells:
                self._write_cells([cell])

    def _write_cells(self, cells: Sequence[FinishedCell]) -> None:
        together = files.Together()
        try:
            for cell in cells:
                if cell.right is not None:
                    data = digests.array_bytes(np.packbits(cell.right))
                    together.write(self.answers / f"{cell.id}.npy", data)
            for cell in cells:
                checked = [check_row(row, f"cell {cell.id}") for row in cell.rows]
                together.write(self.rows / f"{cell.id}.json", cell_file_text(checked))
            together.commit()
        finally:
            together.drop()
        for cell in cells:
            self._kept.note(f"{cell.id}.json")
            (self.rows / f"{cell.id}{FAILED}").unlink(missing_ok=True)

    def finished_cells(self) -> set[str]:
        """Ids of cells that are done or have diverged."""
        return {name.removesuffix(".json") for name in self._names() if not _is_failed(name)}

    def has_cell(self, cell_id: str) -> bool:
        """Whether a cell is done or has diverged."""
        return (self.rows / f"{cell_id}.json").is_file()

    def finished_within(self, seconds: float) -> int:
        """How many cells were finished, or failed, in the last so many seconds, as far as the times
        of files tell.
        """
        since, count = time.time() - seconds, 0
        with suppress(OSError):
            for entry in os.scandir(self.rows):
                with suppress(OSError):
                    count += entry.stat().st_mtime > since and entry.name[0] != "."
        return count

    def failures(self) -> dict[str, tuple[int, ...]]:
        """What tells the last failure of each cell from later ones, by its id."""
        ids = [name.removesuffix(FAILED) for name in self._names() if _is_failed(name)]
        found = {cell: self.failure(cell) for cell in ids}
        return {cell: state for cell, state in found.items() if state is not None}

    def failure(self, cell_id: str) -> tuple[int, ...] | None:
        """What tells a cell's last failure from others; None where it did not fail."""
        try:
            state = (self.rows / f"{cell_id}{FAILED}").stat()
        except OSError:
            return None
        return (state.st_size, state.st_mtime_ns, state.st_ino)

    def reason_of_failure(self, cell_id: str) -> str:
        """Why a cell failed last, as far as its rows say."""
        with suppress(InputError):
            for row in self._read_rows(self.rows / f"{cell_id}{FAILED}", cell_id):
                return str(row.get("reason") or "")
        return ""

    def failed_cells(self) -> set[str]:
        """Ids of cells whose last try failed and that nothing has finished since."""
        names = self._names()
        return {
            name.removesuffix(FAILED)
            for name in names
            if _is_failed(name) and f"{name.removesuffix(FAILED)}.json" not in names
        }

    def standing(self, cells: Collection[str]) -> Standing:
        """How cells stand, by the names of files and by the tables of those that were read."""
        ends = self._kept.ends()
        states = self._kept.states() if ends else {}
        names = states.keys() if ends and self.rows_are_here else self._names()
        outdated = self._outdated(names) if ends else frozenset[str]()
        stand = Standing(len(cells), set(), set(), set(), set())
        for cell in cells:
            name, group = f"{cell}.json", stand.finished
            if name not in names:
                name, group = f"{cell}{FAILED}", stand.failed
                if name not in names:
                    continue
            group.add(cell)
            end = ends.get(states[name]) if name in states and name not in outdated else None
            if end is None:
                stand.unread.add(cell)
            elif end == "diverged":
                stand.diverged.add(cell)
        return stand

    def _outdated(self, names: Iterable[str]) -> Set[str]:
        """Those of some files that this machine has otherwise than the store."""
        return frozenset()

    def read_ends(self, cells: Iterable[str]) -> dict[str, tuple[str, str]]:
        """How some cells that are here ended, by id: the status, and the reason or "". Raises
        InputError where a file is damaged.
        """
        found = {}
        for cell in cells:
            for name in (f"{cell}.json", f"{cell}{FAILED}"):
                if (self.rows / name).is_file():
                    row = next(iter(self._read_file(name)), {})
                    found[cell] = str(row.get("status", "")), str(row.get("reason") or "")
                    break
        return found

    def _names(self) -> set[str]:
        try:
            return set(filter(CELL_FILE.fullmatch, os.listdir(self.rows)))
        except FileNotFoundError:
            return set()

    def set_aside_damaged(self, cells: Iterable[str]) -> list[str]:
        """Moves files of rows that are not what was written into `damaged`, so that their cells are
        measured again, and tells it; ids of these cells. Files that were whole when they were
        written, or read, and were not touched since are not read. Raises InputError where the
        store may only be read.
        """
        found = []

        def put_aside(name: str, error: InputError) -> None:
            cell_id = cell_of(name)
            try:
                self._set_aside(cell_id)
            except OSError:
                raise error from None
            digests.tell(f"{error}: done so, {self.damaged} keeps it")
            found.append(cell_id)

        now = (self._kept.changed(), time.monotonic() // _SOUND_S)
        if now == self._sound:
            return found
        states = self._kept.states()
        unknown = set(map(cell_of, self._kept.unknown(states.values())))
        if not unknown:
            self._sound = now
            return found
        asked = [_file_of(cell, states) for cell in cells if cell in unknown]
        if len(asked) >= LEAST:
            self._kept.take_in(asked, self._read_file, put_aside)
            return found
        for name in asked:
            try:
                self._read_file(name)
                self._kept.note(name)
            except InputError as error:
                put_aside(name, error)
        return found

    def rows_of(self, cells: Iterable[str], only: Collection[str] | None = None) -> pd.DataFrame:
        """The rows of some cells, finished and failed, sorted by cell, metric and subset, with the
        columns `only` or, where it is None, all. Raises InputError where one is damaged.
        """
        states = self._kept.states()
        there = {cell_of(name) for name in states}.intersection(cells)
        names = [_file_of(cell, states) for cell in there]
        return self._kept.frame([states[name] for name in names], self._read_file, only)

    def _read_file(self, name: str) -> list[dict[str, Any]]:
        return self._read_rows(self.rows / name, cell_of(name))

    def _set_aside(self, cell_id: str) -> None:
        self.damaged.mkdir(exist_ok=True)
        for name in (f"{cell_id}.json", f"{cell_id}{FAILED}"):
            with suppress(FileNotFoundError):
                os.replace(self.rows / name, self.damaged / name)

    def read_cell(self, cell_id: str) -> list[dict[str, Any]]:
        """The rows of a cell, finished or failed; none where there are none."""
        for name in (f"{cell_id}.json", f"{cell_id}{FAILED}"):
            if (self.rows / name).is_file():
                return self._read_rows(self.rows / name, cell_id)
        return []

    def _read_rows(self, path: Path, cell_id: str) -> list[dict[str, Any]]:
        """The rows of a file; one that is as it was when it was read before is not read again: a
        run asks for every cell four times.
        """
        try:
            now = path.stat()
        except OSError:  # gone meanwhile: whoever reads it says so
            return read_cell_file(path, cell_id)
        state = (now.st_size, now.st_mtime_ns, now.st_ctime_ns, now.st_ino)
        before, rows = self._known.get(path.name, (None, []))
        if before != state:
            rows = read_cell_file(path, cell_id)
            if len(self._known) < _KNOWN:
                self._known[path.name] = state, rows
        return [dict(row) for row in rows]

    def drop_cell(self, cell_id: str) -> None:
        """Forget a cell, so that the next run measures it again."""
        for name in (f"{cell_id}.json", f"{cell_id}{FAILED}"):
            (self.rows / name).unlink(missing_ok=True)
        (self.answers / f"{cell_id}.npy").unlink(missing_ok=True)

    # answers
    def read_answers(self, cell_id: str, n_test: int) -> NDArray[np.bool_] | None:
        """bool [n_test] of a cell; None where none were kept.

        Raises InputError where the file is damaged or is of another number of samples.
        """
        path = self.answers / f"{cell_id}.npy"
        if not path.is_file():
            return None
        try:
            packed: NDArray[np.uint8] = digests.read_array(path, np.uint8, 1)
            if packed.shape != (-(-n_test // 8),) or np.unpackbits(packed)[n_test:].any():
                raise digests.Damaged(f"it does not hold {n_test} test samples")
        except (OSError, ValueError) as error:
            raise InputError(
                f"{path}: these answers are damaged ({error}); `headwater run --redo {cell_id}` "
                "measures the cell again"
            ) from None
        return np.unpackbits(packed, count=n_test).astype(bool)


def _file_of(cell_id: str, names: Collection[str]) -> str:
    """The file that says what became of a cell: of rows, or of why it failed."""
    finished = f"{cell_id}.json"
    return finished if finished in names else f"{cell_id}{FAILED}"


def _is_failed(name: str) -> bool:
    return name.endswith(FAILED)
