"""What came of an import, as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.imports import imported, map_of
from headwater.rows import write_rows


def import_facts(table: Path, words: str, out: Path) -> dict[str, Any]:
    """Write the rows of a table and say what they are: rows, arms, tasks, defects (sentence ->
    rows), told (what was left out). Raises InputError as `imports.imported`, and where `out` cannot
    be written.
    """
    if out.exists() and table.exists() and out.samefile(table):
        raise InputError(f"--out {out}: is the table itself; name another file")
    found = imported(table, map_of(words))
    write_rows(found.rows, out)
    return {
        "rows": len(found.rows),
        "arms": int(found.rows["arm"].nunique()),
        "tasks": sorted(map(str, found.rows["task"].unique())),
        "defects": dict(found.defects),
        "told": list(found.told),
        "out": str(out),
    }
