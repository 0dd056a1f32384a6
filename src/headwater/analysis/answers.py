"""What the rows say, one plain sentence at a time; `decide.verdict` says what to do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from headwater.analysis.configurations import prepare
from headwater.registry import ANALYSES

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis.questions import Finding


def findings(rows: pd.DataFrame) -> list[Finding]:
    """Everything that the rows say: the findings of every analysis that is declared, in their order
    (`headwater.registry.ANALYSES`).

    Raises InputError where a required column of the schema is missing.
    """
    table = prepare(rows)
    return [finding for question in ANALYSES for finding in question.findings(table)]
