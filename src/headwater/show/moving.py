"""What went from one store to another, as text."""

from __future__ import annotations

from collections.abc import Callable

from headwater import plain
from headwater.show.console import console, now_and_then, size_words
from headwater.store.moving import Moved

_console = console(soft_wrap=True, highlight=False)
_MOST = 20


def moving(*, quiet: bool) -> Callable[[Moved], None]:
    """Says every few seconds on stderr how far it is."""
    say = now_and_then(quiet=quiet)
    return lambda moved: say(lambda: _words(moved))


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
