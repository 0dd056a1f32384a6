"""What a person sees while images are looked at: a bar where stderr is a terminal, now and then a
line where it is not.
"""

from __future__ import annotations

import time
from types import TracebackType

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn
from rich.progress import TimeRemainingColumn as Remaining

from headwater import plain
from headwater.show.console import console

_EVERY_S = 10.0


class LookDisplay:
    """Watches images being looked at. Use as a context manager; call as
    `headwater.sources.looking.look.Watch`.
    """

    def __init__(self, *, quiet: bool = False, doing: str = "looking at") -> None:
        self._quiet, self._console, self._doing = quiet, console(errors=True), doing
        self._bar: Progress | None = None
        self._rows: dict[str, TaskID] = {}
        self._told = time.monotonic()

    def __enter__(self) -> LookDisplay:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()

    def __call__(self, name: str, done: int, total: int, bad: int) -> None:
        if self._quiet:
            return
        if self._console.is_terminal:
            self._draw(name, done, total, bad)
        elif time.monotonic() - self._told > _EVERY_S:
            self._told = time.monotonic()
            line = f"{self._doing} the images of {name}: {done:,} of {total:,}"
            line += f", {bad:,} cannot be read" if self._doing == "looking at" else ""
            self._console.print(plain.line(line), markup=False, highlight=False, soft_wrap=True)

    def _draw(self, name: str, done: int, total: int, bad: int) -> None:
        if self._bar is None:
            self._bar = Progress(
                TextColumn("{task.description}", markup=False),
                BarColumn(),
                MofNCompleteColumn(),
                TextColumn("left"),
                Remaining(),
                console=self._console,
            )
            self._bar.start()
        if name not in self._rows:
            self._rows[name] = self._bar.add_task(plain.name(f"images of {name}"), total=total)
        told = f"images of {name}" + (f" ({bad:,} cannot be read)" if bad else "")
        self._bar.update(self._rows[name], completed=done, description=plain.name(told))
