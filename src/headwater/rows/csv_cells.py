"""Cells of CSV that a spreadsheet would run as a formula, made inert and back.

A spreadsheet takes a cell that begins with =, +, -, @, a tab or a carriage return for a formula,
whoever wrote it, and a formula may start programs or send what other cells hold (OWASP, "CSV
injection"). An apostrophe before it makes it text. A number is no formula and stays a number.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import pandas as pd

_RUN = re.compile(r"'*[=+\-@\t\r]")
_NUMBER = re.compile(r"'*[+-]?(\d+\.?\d*|\.\d+)([eE][+-]?\d+)?\Z")
_INERT = re.compile(r"'+[=+\-@\t\r]")


def inert(frame: pd.DataFrame) -> pd.DataFrame:
    """The table with an apostrophe before each text that a spreadsheet would run.

    A text that begins with apostrophes and then so gets one more, so that `as_written` gives the
    very texts back. Columns of numbers are as they are.
    """
    return _mapped(frame, _made_inert, lambda text: _RUN.match(text) is not None)


def as_written(frame: pd.DataFrame) -> pd.DataFrame:
    """What `inert` was given."""
    return _mapped(frame, lambda text: text[1:], _is_inert)


def _made_inert(text: str) -> str:
    return text if _NUMBER.match(text) else f"'{text}"


def _is_inert(text: str) -> bool:
    return _INERT.match(text) is not None and _NUMBER.match(text) is None


def _mapped(
    frame: pd.DataFrame, made: Callable[[str], str], asked: Callable[[str], bool]
) -> pd.DataFrame:
    import pandas as pd

    changed = {}
    for name in frame:
        column = frame[name]
        if not isinstance(column.dtype, pd.StringDtype) and column.dtype != object:
            continue
        words = [text for text in pd.unique(column.dropna()) if isinstance(text, str)]
        new = {text: made(text) for text in words if asked(text)}
        if new:
            changed[str(name)] = column.replace(new)
    return frame.assign(**changed) if changed else frame
