"""How messages show the names of classes: clipped, quoted, and the nearest one to a slip."""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from itertools import islice

CANDIDATES = 1000
"""How many names are compared with an unknown one; difflib compares about 50,000 short names a
second.
"""


def clipped(name: str) -> str:
    """The name, of at most 80 characters."""
    return name if len(name) <= 80 else f"{name[:77]}..."


def shown(name: str) -> str:
    """The clipped name in quotes."""
    return repr(clipped(name))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The known name most like this one, None where none is.

    Looks among few: those that share its beginning, as long a part of it as gives enough of them.
    """
    names = list(known)
    lowered = name.casefold()[:80]
    for length in (6, 3, 1, 0):
        start = lowered[:length]
        alike = (other for other in names if other.casefold().startswith(start))
        candidates = list(islice(alike, CANDIDATES))
        if near := difflib.get_close_matches(name[:80], candidates, n=1, cutoff=0.5):
            return near[0]
    return None
