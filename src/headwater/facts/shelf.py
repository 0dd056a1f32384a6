"""Where a study's report stands in a store: in a place of its own, though two studies may have one
name.

    <store>/reports/NAME.html         the page
    <store>/reports/NAME.cells.json   ids of the cells that the study of the page asked for

A page is written over by a study that asks for all cells of the one before (the same study, or one
that grew). Any other study of the same name gets NAME-2.html, and so on.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from headwater import files
from headwater.store import Store


@dataclass(frozen=True)
class Place:
    path: Path
    """Where the report is written."""
    kept: str | None
    """A report of another study of the same name, which stays."""


def place_of(store: Store, name: str, cells: set[str]) -> Place:
    """The first place of a name that is free, or is of these cells or of some of them."""
    kept: str | None = None
    number = 1
    while True:
        suffix = "" if number == 1 else f"-{number}"
        path = store.root / "reports" / f"{name}{suffix}.html"
        if not path.exists() or _cells_of(path) <= cells:
            return Place(path, kept)
        kept = kept or str(path)
        number += 1


def claim(path: Path, cells: set[str]) -> None:
    """Keep whose page it is. Before the page is written: a kill between the two leaves a page that
    is of some of these cells.
    """
    files.write_atomic(_record(path), json.dumps(sorted(cells)) + "\n")


def _record(page: Path) -> Path:
    return page.with_name(f"{page.stem}.cells.json")


_UNKNOWN = frozenset({""})
"""Cells of a page that says nothing of them: no study asks for these."""


def _cells_of(page: Path) -> frozenset[str]:
    try:
        cells = json.loads(_record(page).read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError):
        return _UNKNOWN
    known = isinstance(cells, list) and all(isinstance(cell, str) for cell in cells)
    return frozenset(cells) if known else _UNKNOWN
