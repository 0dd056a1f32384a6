"""What a person sees while a study runs in a notebook: one frame that is drawn anew.

It asks for nothing but IPython, which every notebook has.
"""

from __future__ import annotations

import contextlib
import importlib
import sys
import time
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

from headwater import fragments

if TYPE_CHECKING:
    from headwater.engines.schedule import Event, Pending

_EVERY_S = 0.25
_MOST_TOLD = 5
"""Failures and notes that are shown, the last ones."""
_TRACK = (
    "display:inline-block;width:14em;height:.6em;border-radius:.3em;vertical-align:middle;"
    "background:rgba(128,128,128,.25);overflow:hidden"
)


def inside() -> bool:
    """Whether this process is the kernel of a notebook."""
    ipython = sys.modules.get("IPython")
    shell = None if ipython is None else ipython.get_ipython()
    return getattr(shell, "kernel", None) is not None


@contextlib.contextmanager
def watched(todo: Pending) -> Iterator[Callable[[Event], None]]:
    """A frame of a run in the output of the notebook's cell."""
    if not todo.cells:
        yield lambda event: None
        return
    shown: Any = importlib.import_module("IPython.display")  # has no types
    frame = Frame(arms=len(todo.arms), cells=len(todo.cells))
    handle = shown.display(shown.HTML(frame.html()), display_id=True)
    drawn = 0.0

    def watch(event: Event) -> None:
        nonlocal drawn
        frame.take(event)
        now = time.monotonic()
        if now - drawn > _EVERY_S:
            drawn = now
            handle.update(shown.HTML(frame.html()))

    try:
        yield watch
    finally:
        handle.update(shown.HTML(frame.html()))


class Frame:
    """What was heard of a run, as HTML: arms, cells, and what each worker is at."""

    def __init__(self, *, arms: int, cells: int) -> None:
        self._total = {"arms": arms, "cells": cells}
        self._done = {"arms": 0, "cells": 0}
        self._workers: dict[int, tuple[str, str]] = {}
        self._told: list[str] = []
        self._began = time.monotonic()
        self._ends: float | None = None

    def take(self, event: Event) -> None:
        """Hear one event."""
        title, fields = event.unit.title, event.fields
        if fields.get("left_s") is not None:
            self._ends = time.monotonic() + fields["left_s"]
        if event.kind == "started":
            self._workers[event.worker] = (title, "")
        elif event.kind == "progress":
            self._workers[event.worker] = (title, _rate(fields))
            if fields.get("note"):
                self._told.append(f"note: {title}: {fields['note']}")
        elif event.kind == "cell":
            self._done["cells"] += 1
        elif event.kind == "finished":
            self._done["arms"] += event.unit.task is None
            self._workers.pop(event.worker, None)
        elif event.kind == "failed":
            self._told.append(f"failed: {title}: {fields['reason']}")
            self._workers.pop(event.worker, None)
        elif event.kind == "retried":
            self._told.append(f"is tried again: {title}: {fields['reason']}")
            self._workers.pop(event.worker, None)
        elif event.kind == "died":
            self._told.append(f"a worker died (exit code {fields['code']}) on: {title}")

    def html(self) -> str:
        now = time.monotonic()
        took = _clock(now - self._began)
        ended = self._done == self._total
        left = "" if self._ends is None or ended else f", about {_clock(self._ends - now)} left"
        bars = {name: _bar(self._done[name], self._total[name]) for name in self._total}
        rows = "".join(f"<div>{name} {bar}</div>" for name, bar in bars.items())
        at = {f"worker {worker + 1}": " ".join(said) for worker, said in self._workers.items()}
        parts = [rows, fragments.facts(at), fragments.sentences(self._told[-_MOST_TOLD:])]
        return fragments.box("Run", took + left, parts)


def _clock(seconds: float) -> str:
    whole = max(0, round(seconds))
    hours, minutes = whole // 3600, whole // 60 % 60
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {whole % 60} s"


def _bar(done: int, total: int) -> str:
    share = 100 * done / total if total else 100
    fill = f"height:100%;width:{share:.1f}%;background:{fragments.ACCENT}"
    return (
        f'<span role="progressbar" aria-valuemin="0" aria-valuemax="{total}" '
        f'aria-valuenow="{done}" style="{_TRACK}"><span style="display:block;{fill}"></span></span>'
        f" {done} of {total}"
    )


def _rate(fields: dict[str, Any]) -> str:
    share = 100 * fields["step"] / max(1, fields["steps"])
    return f"{share:.0f} %, {fields['images_per_s']:,.0f} images/s, loss {fields['loss']:.3f}"
