"""One spelling for each class name: composed letters (NFC), no space around it, no invisible marks.

What only looks alike stays apart, and is told.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Mapping, Sequence

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headwater import plain
from headwater.errors import InputError

Objects = NDArray[np.object_]

_INVISIBLE = (
    "\u00ad\u061c\u180e\u200b\u200e\u200f\u202a\u202b\u202c\u202d\u202e"
    "\u2060\u2061\u2062\u2063\u2064\u2066\u2067\u2068\u2069\u206a\u206b\u206c\u206d\u206e\u206f"
    "\ufeff\ufff9\ufffa\ufffb"
)
"""Soft hyphen, zero-width spaces, marks of direction, invisible operators, byte-order marks."""
_JOINERS = "\u200c\u200d"
"""They belong to the spelling of some scripts and of emoji, and to nothing between Latin
letters.
"""
_REMOVED = re.compile(
    f"[{_INVISIBLE}]|(?<![^\\x00-\u024f])[{_JOINERS}]|[{_JOINERS}](?![^\\x00-\u024f])"
)
_UNSEEN = re.compile(f"[{_INVISIBLE}{_JOINERS}\ufe00-\ufe0f]")


def class_name(raw: str, where: str) -> str:
    """The name as it is used. Raises InputError, with `where`, for control characters."""
    name = _REMOVED.sub("", unicodedata.normalize("NFC", raw)).strip()
    found = plain.stray(name)
    if found is not None:
        raise InputError(f"{where}: the class name {raw!a} holds {found}; remove it")
    return name


def merged_notes(names: Mapping[str, str]) -> tuple[str, ...]:
    """What to tell of names (as written: as used) that were written in more than one way: by
    letters or marks, not by the spaces around them alone.
    """
    ways: dict[str, set[str]] = {}
    for raw, name in names.items():
        ways.setdefault(name, set()).add(raw.strip())
    several = sorted(name for name, raws in ways.items() if len(raws) > 1)
    if not several:
        return ()
    more = f" and {len(several) - 3:,} more" if len(several) > 3 else ""
    shown = ", ".join(map(repr, several[:3])) + more
    return (
        "class names that are written in several ways (composed and decomposed letters, invisible "
        f"marks) are one class each: {shown}",
    )


def alike_notes(levels: Sequence[Objects]) -> tuple[str, ...]:
    """What to tell of classes that stay apart and look alike, of the finest level that has some."""
    for level in levels:
        alike: dict[str, list[str]] = {}
        for name in pd.unique(level).tolist():
            alike.setdefault(_look(name), []).append(name)
        pairs = sorted(sorted(names) for names in alike.values() if len(names) > 1)
        if pairs:
            more = f" and {len(pairs) - 3:,} more" if len(pairs) > 3 else ""
            shown = ", ".join(" and ".join(map(repr, names)) for names in pairs[:3])
            how = "differ in case alone" if all(map(_of_one_case, pairs)) else "look alike"
            return (f"classes that {how} stay apart: {shown}{more}",)
    return ()


def _of_one_case(names: Sequence[str]) -> bool:
    return len({name.casefold() for name in names}) == 1


def _look(name: str) -> str:
    """What a reader sees of a name."""
    plain = _UNSEEN.sub("", unicodedata.normalize("NFKC", name)).casefold()
    return re.sub(r"[\s_]+", " ", plain)
