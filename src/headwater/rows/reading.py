"""Rows of a store, or of a table of any origin."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater import digests
from headwater.errors import InputError
from headwater.files import near_beside
from headwater.rows.checks import conform
from headwater.rows.kept import LEAST, KeptRows
from headwater.rows.tables import (
    CELL_FILE,
    FAILED,
    read_cell_file,
    read_table,
    to_frame,
)

if TYPE_CHECKING:
    import pandas as pd


def read_rows(path: str | Path) -> pd.DataFrame:
    """The rows of a store folder, or of a .csv, .parquet or .jsonl table that was exported from one
    (or made by somebody else).

    Raises InputError for a path that does not exist, a table that lacks a required column, or a
    value of the wrong type.
    """
    path = Path(path)
    if path.is_dir():
        return _of_store(path)
    if not path.is_file():
        raise InputError(
            f"{path}: there is no such file or store{near_beside(path)}; `headwater run` makes one"
        )
    return conform(read_table(path), str(path))


def _of_store(path: Path) -> pd.DataFrame:
    """Of a store, or of a folder of files of rows. Many files are read once, and kept."""
    folder = path / "rows" if (path / "rows").is_dir() else path
    files = {file.name for file in folder.glob("*.json")}
    if len(files) < LEAST or folder == path or not all(map(CELL_FILE.fullmatch, files)):
        return to_frame(_cell_rows(folder))
    kept = KeptRows(folder, path / "cache" / "rows")
    try:
        return kept.frame(
            [
                state
                for name, state in kept.states().items()
                if not (name.endswith(FAILED) and name.removesuffix(FAILED) + ".json" in files)
            ],
            lambda name: read_cell_file(folder / name, name.partition(".")[0]),
        )
    except InputError:  # which is told, or not, by who reads it as it is
        return to_frame(_cell_rows(folder))


def _cell_rows(folder: Path) -> list[dict[str, Any]]:
    """The rows of a store, one file a cell."""
    rows: list[dict[str, Any]] = []
    told: dict[str, tuple[Path, list[dict[str, Any]]]] = {}
    files = {file.name: file for file in sorted(folder.glob("*.json"))}
    for name, file in files.items():
        # A run that is killed between its two steps leaves the failure of an earlier try beside
        # the finished cell.
        if not (name.endswith(FAILED) and name.removesuffix(FAILED) + ".json" in files):
            for cell, of_cell in _by_cell(_rows_of(file)).items():
                first, known = told.setdefault(cell, (file, of_cell))
                if first is file:
                    rows.extend(of_cell)
                else:
                    _check_same(cell, first, known, file, of_cell)
    return rows


def _rows_of(file: Path) -> list[dict[str, Any]]:
    """The rows of a file; none of one that cannot be read and that no store named: half a copy that
    a sync tool left, which is told, or its hidden notes.
    """
    try:
        return read_cell_file(file)
    except InputError as error:
        if CELL_FILE.fullmatch(file.name):
            raise
        if not file.name.startswith((".", "~")):
            digests.tell(f"{error}; no store gives such a name, so it is passed over")
        return []


def _by_cell(rows: list[dict[str, Any]]) -> dict[str, list[dict[str, Any]]]:
    cells: dict[str, list[dict[str, Any]]] = {}
    for row in rows:
        cells.setdefault(row["cell"], []).append(row)
    return cells


def _check_same(
    cell: str,
    first: Path,
    known: list[dict[str, Any]],
    second: Path,
    again: list[dict[str, Any]],
) -> None:
    """Raises InputError where two files (one a copy that a sync tool made, say) give one cell two
    values.
    """
    values = {(row["metric"], row["subset"]): row["value"] for row in known}
    for row in again:
        number = row["metric"], row["subset"]
        if number not in values or values[number] != row["value"]:
            raise InputError(
                f"the cell {cell} has two values of {row['metric']} ({row['subset']}): "
                f"{values.get(number)} in {first} and {row['value']} in {second}; one cell is one "
                "measurement: remove the file that is wrong"
            )
