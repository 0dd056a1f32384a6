"""What is known to be wrong with imported numbers, told wherever they are concluded from."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headwater.analysis.words import count

if TYPE_CHECKING:
    import pandas as pd

COLUMN = "defects"


def defects_sentences(table: pd.DataFrame) -> Iterator[str]:
    """A sentence for each defect of some rows, that of the most rows first."""
    if COLUMN not in table:
        return
    found = table[COLUMN].dropna()
    counts: dict[str, int] = {}
    for text, rows in found.value_counts().items():
        for said in str(text).split("; "):
            counts[said] = counts.get(said, 0) + int(rows)
    for said, rows in sorted(counts.items(), key=lambda each: -each[1]):
        of = "all rows" if rows == len(table) else f"{count(rows, 'row')} of {len(table):,}"
        yield f"imported numbers, {of}: {said}."
