"""What a person sees while a study runs: a live table where stdout is a terminal, plain lines where
it is not.
"""

from __future__ import annotations

import time
from types import TracebackType
from typing import TYPE_CHECKING, Any

from rich.console import Console, Group
from rich.live import Live
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    Task,
    TaskID,
    TextColumn,
    TimeElapsedColumn,
)
from rich.text import Text

from headwater import plain
from headwater.show.times import clock_words, time_words

if TYPE_CHECKING:
    from headwater.engines.schedule import Event

_PLAIN_EVERY_S = 10.0


class RunDisplay:
    """Watches a run. Use as a context manager; call with each event."""

    def __init__(self, *, arms: int, cells: int, console: Console, quiet: bool = False) -> None:
        self._console, self._quiet = console, quiet
        self._live: Live | None = None
        self._arms, self._cells, self._arms_done, self._cells_done = arms, cells, 0, 0
        self._told = self._began = time.monotonic()
        self._totals = Progress(
            TextColumn("{task.description:>6}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
            _Left(),
            console=console,
        )
        self._arm_bar = self._totals.add_task("arms", total=arms, ends=None)
        self._cell_bar = self._totals.add_task("cells", total=cells, ends=None)
        self._ends: float | None = None
        self._workers = Progress(
            TextColumn("  {task.fields[what]}", markup=False),
            BarColumn(bar_width=20),
            _Left(),
            TextColumn("{task.fields[rate]}"),
            console=console,
        )
        self._rows: dict[int, TaskID] = {}

    def __enter__(self) -> RunDisplay:
        if self._console.is_terminal and not self._quiet:
            self._live = Live(
                Group(self._totals, self._workers), console=self._console, refresh_per_second=4
            )
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live:
            self._live.stop()

    def __call__(self, event: Event) -> None:
        training = event.unit.task is None
        self._forecast(event)
        if event.kind == "finished" and training:
            self._arms_done += 1
            self._totals.advance(self._arm_bar)
        elif event.kind == "cell":
            self._cells_done += 1
            self._totals.advance(self._cell_bar)
        self._worker_row(event)
        if event.kind == "progress" and event.fields.get("note"):
            self._say(f"note: {event.unit.title}: {event.fields['note']}")
        if event.kind == "failed":
            self._say(f"failed: {event.unit.title}: {event.fields['reason']}")
        elif event.kind == "retried":
            self._say(f"is tried again: {event.unit.title}: {event.fields['reason']}")
        elif event.kind == "died":
            self._say(f"a worker died (exit code {event.fields['code']}) on: {event.unit.title}")
        elif not self._live and time.monotonic() - self._told > _PLAIN_EVERY_S:
            self._plain(event)

    def _forecast(self, event: Event) -> None:
        left = event.fields.get("left_s")
        if left is None:
            return
        self._ends = time.monotonic() + left
        self._totals.update(self._cell_bar, ends=self._ends)
        if event.kind == "expected" and not self._live:
            self._say(
                f"{self._arms} arms to train, {self._cells} cells to measure: about "
                f"{time_words(left)}, as far as can be told before the first of them"
            )

    def _worker_row(self, event: Event) -> None:
        if event.worker < 0:  # it happened to a unit that no worker had
            return
        if event.worker not in self._rows:
            self._rows[event.worker] = self._workers.add_task(
                "", total=1, what="", rate="", ends=None
            )
        row = self._rows[event.worker]
        if event.kind == "started":
            self._workers.reset(
                row, total=max(1, len(event.unit.cells)), what=plain.name(event.unit.title), rate=""
            )
        elif event.kind == "progress":
            f = event.fields
            self._workers.update(row, total=f["steps"], completed=f["step"], rate=_rate(f))
        elif event.kind == "cell":
            self._workers.advance(row)
        left = event.fields.get("unit_left_s")
        self._workers.update(row, ends=None if left is None else time.monotonic() + left)

    def _plain(self, event: Event) -> None:
        self._told = time.monotonic()
        elapsed = self._told - self._began
        left = "" if self._ends is None else f", about {time_words(self._ends - self._told)} left"
        rate = f", {_rate(event.fields)}" if event.kind == "progress" else ""
        self._say(
            f"[{elapsed:5.0f} s] arms {self._arms_done}/{self._arms}, cells "
            f"{self._cells_done}/{self._cells}{left}; {event.unit.title}{rate}"
        )

    def _say(self, line: str) -> None:
        if not self._quiet:
            self._console.print(plain.line(line), markup=False, highlight=False, soft_wrap=True)


class _Left(ProgressColumn):
    """The time that is left of a row whose end is forecast, counted down between events."""

    max_refresh = 0.5

    def render(self, task: Task) -> Text:
        ends = task.fields.get("ends")
        return Text("" if ends is None else f"left {clock_words(ends - time.monotonic())}")


def _rate(fields: dict[str, Any]) -> str:
    knn = f"  kNN {100 * fields['knn']:.1f} %" if fields.get("knn") is not None else ""
    return f"{fields['images_per_s']:,.0f} images/s  loss {fields['loss']:.3f}{knn}"
