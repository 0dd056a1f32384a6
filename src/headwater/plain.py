"""Text of any origin made safe: what a terminal, a page or a chart would not show but obey.

A name of a file, a key of a study, a caption or a cell of a table may hold control characters that
move a cursor or colour a screen, and marks that turn the direction of writing, so that a reader
sees another text than the one that is there. Where text enters they are refused (`stray`); where it
is shown they are written out, as \\x1b (`shown`).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

_DIRECTION = "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
"""Marks, embeddings, overrides and isolates of Unicode's bidirectional algorithm (UAX 9)."""
_OBEYED = (
    "\x00-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029\ufeff\ufff9-\ufffb\ud800-\udfff"
    "\U000e0000-\U000e007f" + _DIRECTION
)
"""C0 but for tab and line feed, DEL, C1, separators of lines, a byte order mark, marks of
annotations, halves of a surrogate pair, and tags.
"""
_UNSAFE = re.compile(f"[{_OBEYED}]")
_UNSAFE_IN_A_LINE = re.compile(f"[\t\n{_OBEYED}]")
_FLAG = "\U0001f3f4[\U000e0020-\U000e007e]+\U000e007f"
"""The flag of a part of a country, Scotland's say, is a black flag and letters that are tags."""
_FLAGS = re.compile(_FLAG)
_OF_PROSE = re.compile(f"\r(?=\n)|[{_DIRECTION}]|{_FLAG}")
_NAMES = {"\t": "a tab", "\n": "a line break", "\r": "a carriage return", "\x1b": "an escape"}


def shown(text: str) -> str:
    """The text with what is not to be obeyed written out; tabs and line feeds stay."""
    return _UNSAFE.sub(_written, text)


def line(text: object, most: int | None = None) -> str:
    """Text of any origin on one line, safe to show; cut, with dots, to `most` characters."""
    words = shown(" ".join(str(text).split()))
    return words if most is None or len(words) <= most else words[: most - 3] + "..."


def name(text: object) -> str:
    """A name, safe to show within a line: its tabs and line feeds are written out, too."""
    return _UNSAFE_IN_A_LINE.sub(_written, str(text))


def stray(text: str, *, lines: bool = False, prose: bool = False) -> str | None:
    """What the text holds that no name should, in words; None where all is well.

    `lines`: tabs and line feeds are allowed. `prose`: so are line ends of other systems and marks
    of direction, which some languages are written with.
    """
    if text.isprintable() and text.isascii():
        return None
    text = (_OF_PROSE if prose else _FLAGS).sub("", text)
    found = (_UNSAFE if lines or prose else _UNSAFE_IN_A_LINE).search(text)
    if found is None:
        return None
    character = found.group()
    if character in _NAMES:
        return f"{_NAMES[character]} ({_written(found)})"
    if re.match(f"[{_DIRECTION}]", character):
        return f"a mark that turns the direction of writing ({_written(found)})"
    return f"a control character ({_written(found)})"


def cleaned(value: Any) -> Any:
    """A value of JSON whose texts, keys too, hold U+FFFD for each character that is not to be
    obeyed: written out, it would come back where a chart reads a text as an expression.
    """
    if isinstance(value, str):
        return _UNSAFE.sub("\ufffd", value)
    if isinstance(value, Mapping):
        return {cleaned(key): cleaned(item) for key, item in value.items()}
    if isinstance(value, list | tuple):
        return [item if isinstance(item, int | float) else cleaned(item) for item in value]
    return value


def json_text(value: Any, *, indent: int | None = None) -> str:
    """JSON of the same value, in letters of any language, that is safe in a terminal: what is not
    to be obeyed is written in JSON's own way, so that whoever reads it gets the very text.
    """
    text = json.dumps(value, indent=indent, ensure_ascii=False)
    return _UNSAFE.sub(lambda found: "".join(map("\\u{:04x}".format, _units(found.group()))), text)


def _units(character: str) -> list[int]:
    """A character in UTF-16, as JSON escapes it."""
    data = character.encode("utf-16-be", "surrogatepass")
    return [int.from_bytes(data[i : i + 2], "big") for i in range(0, len(data), 2)]


def _written(found: re.Match[str]) -> str:
    """Python's way to write a character: \\x1b, \\u202e."""
    return ascii(found.group())[1:-1]
