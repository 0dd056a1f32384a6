"""Writes docs/rows.md from headwater.rows.COLUMNS: python tools/make_rows.py"""

from __future__ import annotations

from pathlib import Path

from headwater.rows import COLUMNS, SCHEMA_VERSION, Column, explained

INTRODUCTION = f"""# The rows

Version {SCHEMA_VERSION}. Written by tools/make_rows.py from headwater.rows.COLUMNS; a test keeps
the two equal.

One row states one number: a metric of one cell, on one subset of the test set. A cell is one arm
(a pre-trained encoder) transferred to one task under one protocol, at one shot count and draw.
Every field that could change the number stands on the row.

- Missing is null (an empty field in CSV), never 0.
- A column is *required* where null is not allowed.
- A column is *volatile* where it may differ between two correct runs of one cell. Volatile columns
  are left out when rows are compared.

`headwater rows --out rows.csv` (or .parquet, .jsonl) writes this table, and
`headwater.read_rows(path)` reads it. `headwater report rows.csv` makes the report from it, even if
somebody else made the table: the required columns are enough.

| column | type | | meaning |
|---|---|---|---|
"""


def page() -> str:
    """The whole page."""
    return INTRODUCTION + "".join(
        f"| `{c.name}` | {c.kind} | {_marks(c)} | {explained(c).replace('|', chr(92) + '|')} |\n"
        for c in COLUMNS
    )


def _marks(column: Column) -> str:
    return ", ".join(
        word
        for word, holds in (("required", column.required), ("volatile", column.volatile))
        if holds
    )


if __name__ == "__main__":
    (Path(__file__).parents[1] / "docs" / "rows.md").write_text(page())
