"""How a run of networks gets on, on stderr: a bar in a terminal, plain lines elsewhere."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING

from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
    TimeRemainingColumn,
)

from headwater.show.console import console as plain_console

if TYPE_CHECKING:
    from rich.console import Console

    from headwater.theory.engine import Event

_PLAIN_EVERY_S = 10.0


@contextlib.contextmanager
def watched(networks: int, *, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """What a run of so many networks should tell its events to."""
    console = plain_console(errors=True)
    if quiet or not networks:
        yield lambda event: None
    elif console.is_terminal:
        with _bar(console) as progress:
            task = progress.add_task("networks", total=networks, last="")

            def advance(event: Event) -> None:
                if event.network is not None:
                    progress.update(task, advance=1, last=event.network.title)
                else:
                    _print_trouble(event, console)

            yield advance
    else:
        yield _PlainLines(networks, console).hear


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("networks"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        TextColumn("left"),
        TimeRemainingColumn(),
        TextColumn("{task.fields[last]}"),
        console=console,
    )


class _PlainLines:
    """A line now and then, and one at the end."""

    def __init__(self, networks: int, console: Console) -> None:
        self._networks, self._console = networks, console
        self._done = 0
        self._began = self._said = time.monotonic()

    def hear(self, event: Event) -> None:
        if event.network is None:
            _print_trouble(event, self._console)
            return
        self._done += 1
        now = time.monotonic()
        if now - self._said > _PLAIN_EVERY_S or self._done == self._networks:
            self._said = now
            self._console.print(
                f"{self._done} of {self._networks} networks, {now - self._began:.0f} s; last "
                f"{event.network.title}",
                markup=False,
            )


def _print_trouble(event: Event, console: Console) -> None:
    """Say that networks failed, or that a process died with them."""
    titles = ", ".join(network.title for network in event.unit.networks[:3])
    if event.kind == "failed":
        console.print(f"failed: {titles}: {event.reason}", markup=False)
    elif event.kind == "died":
        console.print(f"a worker process died with {titles}", markup=False)
