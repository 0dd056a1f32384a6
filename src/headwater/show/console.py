"""The console that everything is printed on: nothing of a study or its data is obeyed there."""

from __future__ import annotations

import io
import sys
import time
from collections.abc import Callable, Iterable
from typing import Any

from rich.console import Console, ConsoleOptions, RenderableType
from rich.markup import escape
from rich.segment import Segment
from rich.text import Text

from headwater import plain

_WIDE = 160
_TELL_EVERY_S = 5.0


class PlainConsole(Console):
    """A console that writes control characters out, whoever's text they are in.

    Only rich's own, which move its cursor and colour its words, reach the terminal.
    """

    def render_str(self, text: str, *arguments: Any, **named: Any) -> Text:
        return super().render_str(plain.shown(text), *arguments, **named)

    def render(
        self, renderable: RenderableType, options: ConsoleOptions | None = None
    ) -> Iterable[Segment]:
        for segment in super().render(renderable, options):
            if segment.control is None and segment.text:
                segment = Segment(plain.shown(segment.text), segment.style)
            yield segment


def console(*, errors: bool = False, width: int = _WIDE, **named: Any) -> PlainConsole:
    """A console on stdout, or on stderr where `errors`; `width` columns where that is no terminal.

    Where the stream is closed, nothing is printed.
    """
    stream = sys.stderr if errors else sys.stdout
    if stream is None:
        return PlainConsole(file=io.StringIO(), width=width, **named)
    wide = None if stream.isatty() else width
    return PlainConsole(stderr=errors, width=wide, **named)


def now_and_then(*, quiet: bool) -> Callable[[Callable[[], str]], None]:
    """Says on stderr how far something is, as the words that it is given say, every few seconds."""
    errors, said_at = console(errors=True, highlight=False), time.monotonic()

    def say(words: Callable[[], str]) -> None:
        nonlocal said_at
        if not quiet and time.monotonic() - said_at > _TELL_EVERY_S:
            said_at = time.monotonic()
            errors.print(words(), markup=False)

    return say


def name_of(text: object) -> str:
    """A name of a study or its data for a line with rich's markup: safe, and no markup itself."""
    return escape(plain.name(text))


def size_words(number: float) -> str:
    """Bytes for people, in powers of 1,024."""
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if number < 1024 or unit == "TiB":
            break
        number /= 1024
    return f"{number:,.0f} {unit}" if unit == "B" else f"{number:,.1f} {unit}"
