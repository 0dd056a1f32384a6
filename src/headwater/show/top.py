"""Who computes what in a store, now, as a table that is drawn again and again."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table
from rich.text import Text

from headwater import plain
from headwater.show.console import console
from headwater.show.times import time_words

_console = console(highlight=False)


def print_top(facts: dict[str, Any]) -> None:
    """Once."""
    _console.print(_drawn(facts))


def watch_top(look: Callable[[], dict[str, Any]], every_s: float) -> None:
    """Again and again, until Ctrl-C."""
    with Live(_drawn(look()), console=_console, auto_refresh=False, screen=True) as live:
        while True:
            time.sleep(every_s)
            live.update(_drawn(look()), refresh=True)


def _drawn(facts: dict[str, Any]) -> Group:
    units = facts["units"]
    lost = f", {units['lost']} lost and not taken over yet" if units["lost"] else ""
    rate = facts["cells_a_minute"]
    speed = "" if not rate else f"; {rate:.1f} a minute over the last 5"
    failed = f", {facts['cells_failed']} failed" if facts["cells_failed"] else ""
    head = (
        f"{facts['store']} at {datetime.now(UTC):%H:%M:%S} UTC: {len(facts['workers'])} at work, "
        f"{units['held']} units held{lost}"
    )
    done = f"{facts['cells_finished']} cells done{failed}{speed}"
    parts: list[Any] = [Text(plain.line(head)), Text(done)]
    if facts["studies"]:
        parts.append(Text(plain.line(f"under way: {', '.join(facts['studies'])}")))
    if facts["workers"]:
        parts.append(_workers(facts["workers"]))
    if facts["queue"]:
        parts.append(_queue(facts["queue"]))
    for tried in facts["tried_again"]:
        when = datetime.fromtimestamp(tried["time"], UTC)
        text = f"tried again ({when:%H:%M:%S}, {tried['host']}): {tried['title']}: "
        parts.append(Text(plain.line(text + tried["reason"])))
    if not (facts["workers"] or facts["queue"]):
        parts.append(Text("nobody is at work; `headwater run` or `headwater worker` are"))
    return Group(*parts)


def _workers(workers: list[dict[str, Any]]) -> Table:
    table = Table("worker", "study", "now", "left of it", "cells", "all left", box=None)
    for worker in workers:
        name = worker["name"] or f"process {worker['pid']}"
        who = plain.line(f"{worker['host']} {name}")
        if worker["told_s_ago"] > 30.0:
            who += f" (told {time_words(worker['told_s_ago'])} ago)"
        cells = f"{worker['cells_done']}/{worker['cells']}"
        now = worker["now"] or [{"unit": "waits", "left_s": None}]
        for place, unit in enumerate(now):
            first = place == 0
            table.add_row(
                Text(who if first else ""),
                Text(plain.line(worker["study"]) if first else ""),
                Text(plain.line(unit["unit"])),
                _time(unit["left_s"]),
                cells if first else "",
                _time(worker["left_s"]) if first else "",
            )
    return table


def _queue(jobs: list[dict[str, Any]]) -> Table:
    names = list(dict.fromkeys(name for job in jobs for name in job))
    table = Table(*names, box=None)
    for job in jobs:
        table.add_row(*(Text(plain.line(str(job.get(name) or ""))) for name in names))
    return table


def _time(seconds: float | None) -> str:
    return "" if seconds is None else time_words(seconds)
