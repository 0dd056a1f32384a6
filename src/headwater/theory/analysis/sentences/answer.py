"""An answer in a sentence, and the words that all answers share."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.theory.analysis.settings import setting_words

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Answer:
    """What a table says to a question."""

    sentence: str
    lines: pd.DataFrame
    """The lines of the analysis that the sentence rests on."""
    answered: bool = True


def not_in_table(needed: str, lines: pd.DataFrame) -> Answer:
    """No answer, as the table lacks what is needed."""
    return Answer(f"Not in this table: {needed}", lines, answered=False)


def at_words(setting: Mapping[str, Any]) -> str:
    """' (at d = 512)'; empty where nothing is set."""
    words = setting_words(dict(setting))
    return f" (at {words})" if words else ""


def k_word(value: Any) -> str:
    """A k that was measured or interpolated: '16', '8.3'."""
    return f"{float(value):.3g}"


def records(frame: pd.DataFrame) -> list[dict[Any, Any]]:
    """The lines of a frame as records."""
    return frame.to_dict("records")
