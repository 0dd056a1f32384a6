"""What went from one store to another, as text."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from headwater import plain
from headwater.show.console import console, size_words
from headwater.store.moving import Moved

_console = console(soft_wrap=True, highlight=False)
_TELL_EVERY_S = 5.0
_MOST = 20


@contextmanager
def moving(*, quiet: bool) -> Iterator[Callable[[Moved], None]]:
    """Says every few seconds on stderr how far it is."""
    errors, said_at = console(errors=True, highlight=False), time.monotonic()

    def told(moved: Moved) -> None:
        nonlocal said_at
        if not quiet and time.monotonic() - said_at > _TELL_EVERY_S:
            said_at = time.monotonic()
            errors.print(_words(moved), markup=False)

    yield told


def print_moved(moved: Moved) -> None:
    """What `headwater push` and `headwater pull` say."""
    _console.print(_words(moved), markup=False)
    for text in moved.damaged[:_MOST]:
        _console.print(plain.line(f"damaged, and left: {text}"), markup=False, style="red")
    if len(moved.damaged) > _MOST:
        _console.print(f"and {len(moved.damaged) - _MOST:,} more (--json has all)")


def _words(moved: Moved) -> str:
    return (
        f"{moved.arms:,} arms ({size_words(moved.bytes)}), {moved.cells:,} cells and "
        f"{moved.labels:,} labels brought; {moved.there:,} were there"
    )
