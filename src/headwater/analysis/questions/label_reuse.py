"""Which cells score a frozen encoder on labels that it was trained on."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING

from headwater.analysis.questions import Finding, Question
from headwater.analysis.words import count, listed

if TYPE_CHECKING:
    import pandas as pd

_NAME = "label_reuse"


def _findings(table: pd.DataFrame) -> Iterator[Finding]:
    marked = table[table["usable"] & ~table["decides"] & ~table["copied"]]
    if len(marked):
        cells = tuple(sorted(set(marked["cell"])))
        answer = (
            f"{count(len(cells), 'cell')} on {listed(sorted(set(marked['task'])))} score a frozen "
            "encoder on labels that it was trained on, on the same images; they are shown and "
            "decide nothing."
        )
        yield Finding(
            kind=_NAME,
            question="Which cells re-use labels?",
            answer=answer,
            estimate=float(len(cells)),
            cells=cells,
        )


ENTRY = Question(name=_NAME, version=1, order=20, title="Label re-use", findings=_findings)
