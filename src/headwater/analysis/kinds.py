"""Of what kind the labels of an arm are, and of which level: rows say it in columns of their own.

Tables, stores and answers that were made before rows said it have only what the study called the
labels. There, and nowhere else, that text is read.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from headwater.analysis.words import missing
from headwater.registry import METHODS
from headwater.rows import NOISY, WITHIN


@dataclass(frozen=True)
class LabelsOf:
    """What is known of the labels of a configuration; None for what is not."""

    kind: str | None = None
    """As the column `label_kind` of a row."""
    level: int | None = None
    """k of level:k, 0 = finest."""
    num_labels: float | None = None
    """Classes."""

    @classmethod
    def of(
        cls,
        row: dict[Any, Any],
        *,
        kind: Any = None,
        level: Any = None,
        num_labels: float | None = None,
    ) -> LabelsOf:
        """`kind` and `level` as rows say them; of rows that say neither, what the columns method
        and labels of `row` tell.
        """
        k = None if missing(level) else int(level)
        if not missing(kind):
            return cls(str(kind), k, num_labels)
        if k is not None:
            return cls("level", k, num_labels)
        if missing(row["labels"]) or _takes_captions(row["method"]):
            return cls(None, None, num_labels)
        return cls(kind_in_text(str(row["labels"])), _level_in_text(row["labels"]), num_labels)


def kind_in_text(labels: str) -> str:
    """The kind that the text of a view means, for tables that do not say it: its first word, or
    'X within' for a view that splits classes. `class` counts as level, and a view with label noise
    is noisy.
    """
    if " with " in labels:
        return NOISY
    word = labels.split(":")[0].split(" ")[0]
    if word == "class":
        return "level"
    return f"{word}{WITHIN}" if " within " in labels else word


def _level_in_text(labels: str) -> int | None:
    found = re.fullmatch(r"level:(\d{1,9})", labels)
    return int(found[1]) if found else None


def _takes_captions(method: Any) -> bool:
    return str(method) in METHODS and METHODS[str(method)].needs == "captions"
