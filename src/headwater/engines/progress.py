"""A run that tells when it will be done: to whoever watches its events, and in a file of the store
to whoever asks from another process (`headwater status`).

    <store>/running/<study>-<host>-<pid>.json    how far a run is; gone when it ends

Nothing is believed of these files but times, so they carry no digest; one that cannot be read, or
whose process is gone, is passed over.
"""

from __future__ import annotations

import json
import os
import platform
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from headwater.digests import reason, tell
from headwater.engines.cores import default_workers
from headwater.engines.forecast import Forecast
from headwater.engines.schedule import NOBODY, Event, Pending, Schedule
from headwater.files import write_atomic
from headwater.plan import Plan
from headwater.store import Store

if TYPE_CHECKING:
    from headwater.device import Compute

T = TypeVar("T")

FOLDER = "running"
_WRITE_EVERY_S = 2.0
_MOST_CROWDED, _SAMPLES = 4.0, 10
_STALE_S = 3600.0
"""A run on another machine that has told nothing for so long is taken for dead [ours]."""


class _Foreseen:
    """A forecast that ends no run: where it fails, that is told once, and nothing is foreseen
    any more.
    """

    def __init__(self, make: Callable[[], Forecast]) -> None:
        self._forecast: Forecast | None = None
        self._forecast = self._tried(make)

    def ask(self, question: Callable[[Forecast], T]) -> T | None:
        """What the forecast says; None where there is none any more."""
        forecast = self._forecast
        return None if forecast is None else self._tried(lambda: question(forecast))

    def _tried(self, work: Callable[[], T]) -> T | None:
        try:
            return work()
        except Exception as error:  # whatever it is, the run is worth more
            self._forecast = None
            tell(f"how long the rest will take cannot be told ({reason(error)}); the run goes on")
            return None


@dataclass
class _Told:
    """What goes to the file of one run."""

    path: Path
    plan: Plan
    foreseen: _Foreseen
    began: float
    counts: dict[str, int]
    store: Store
    units: dict[int, str] = field(default_factory=dict)
    written: float = 0.0

    def heard(self, event: Event) -> None:
        if event.kind == "started":
            self.units[event.worker] = event.unit.title
        elif event.kind in ("finished", "failed", "retried", "died"):
            self.units.pop(event.worker, None)
        if event.kind == "finished" and event.unit.task is None:
            self.counts["arms_done"] += 1
        elif event.kind == "cell":
            self.counts["cells_done"] += 1
        if time.monotonic() - self.written > _WRITE_EVERY_S:
            self.write()

    def unit_left(self, worker: int) -> float | None:
        return self.foreseen.ask(lambda forecast: forecast.unit_left(worker))

    def write(self) -> None:
        """Where the disk is full, the run itself will say so."""
        now = time.time()
        words = {
            "study": self.plan.study.study,
            "pid": os.getpid(),
            "host": platform.node(),
            "name": self.store.worker_name,
            "began": self.began,
            "updated": now,
            "left_s": self.foreseen.ask(lambda forecast: forecast.left()),
            "arms": self.foreseen.ask(lambda forecast: forecast.ends()) or {},
            **self.counts,
            "now": [
                {"worker": worker, "unit": title, "left_s": self.unit_left(worker)}
                for worker, title in sorted(self.units.items())
            ],
        }
        with suppress(OSError):
            write_atomic(self.path, json.dumps(words) + "\n")
            self.store.told(self.path)
        self.written = time.monotonic()


@contextmanager
def followed(
    plan: Plan,
    store: Store,
    todo: Pending,
    compute: Compute,
    workers: int,
    watch: Callable[[Event], None],
) -> Iterator[Callable[[Event], None]]:
    """A watcher that tells `watch` of every event, with how long the rest will take, as far as that
    can be told.
    """
    foreseen = _Foreseen(lambda: _forecast(plan, store, todo, compute, workers))
    name = f"{plan.study.study}-{platform.node()}-{os.getpid()}.json"
    counts = {
        "arms_done": 0,
        "cells": len(todo.cells),
        "cells_done": 0,
    }
    told = _Told(store.root / FOLDER / name, plan, foreseen, time.time(), counts, store)

    def hear(event: Event) -> None:
        foreseen.ask(lambda forecast: forecast.heard(event))
        told.heard(event)
        left = foreseen.ask(lambda forecast: forecast.left())
        own = told.unit_left(event.worker)
        event.fields.update({} if left is None else {"left_s": left})
        event.fields.update({} if own is None else {"unit_left_s": own})
        watch(event)

    told.write()
    hear(Event("expected", NOBODY, Schedule(todo).ready[0], {}))
    try:
        yield hear
    finally:
        with suppress(OSError):
            told.path.unlink(missing_ok=True)
            store.told(told.path)
            told.path.parent.rmdir()


def _forecast(plan: Plan, store: Store, todo: Pending, compute: Compute, workers: int) -> Forecast:
    from headwater.cost import expected, known

    pixels = store.cache / "pixels"
    decoded = pixels.is_dir() and any(pixels.iterdir())
    images = sum(len(source.table) for source in plan.sources.values())
    measured = known(plan, compute.device)
    pieces = expected(plan, todo.arms, todo.cells, measured, undecoded=0 if decoded else images)
    return Forecast(todo, pieces, workers, crowded=crowded(compute.device.type, workers))


def crowded(device: str, workers: int) -> float:
    """How much slower this machine is for what others compute on it now: 1 where it is idle, 4 at
    most; 1 too where they may be on cores that are not ours, and on a GPU.
    """
    cores = default_workers("cpu")
    if device != "cpu" or cores != os.cpu_count():
        return 1.0
    return min(_MOST_CROWDED, max(1.0, (_others() + workers) / cores))


def _others() -> float:
    """How many others want a core, on the average of a tenth of a second: as Linux counts them, but
    for the one that asks; 0 where it cannot be told. The load average remembers what has ended.
    """
    wanting = []
    try:
        for _ in range(_SAMPLES):
            wanting.append(int(Path("/proc/loadavg").read_text().split()[3].split("/")[0]) - 1)
            time.sleep(0.1 / _SAMPLES)
    except (OSError, ValueError, IndexError):
        return 0.0
    return max(0.0, sum(wanting) / _SAMPLES)


def runs_of(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """What runs of a study that are under way have told last, the longest first; times are seconds
    from now, None where a run cannot tell.
    """
    runs = [words for words in all_runs(store) if words["study"] == plan.study.study]
    return sorted(runs, key=lambda words: -(words["left_s"] or 0.0))


def all_runs(store: Store) -> list[dict[str, Any]]:
    """As `runs_of`, of all studies, by study and process."""
    store.came(FOLDER)
    paths = sorted((store.root / FOLDER).glob("[!.]*.json"))
    now = store.now() if paths else 0.0
    told = [_read(path, now) for path in paths]
    return [words for words in told if words is not None]


def _read(path: Path, clock: float) -> dict[str, Any] | None:
    """The last words of a run that lives, its times made anew; None for any other file. `clock` is
    the time by the clock that dated the file.
    """
    try:
        words = json.loads(path.read_text(encoding="utf-8"))
        since = max(0.0, clock - path.stat().st_mtime)
        if not _lives(words["host"], int(words["pid"]), since):
            return None
        for each in (words, *words["now"]):
            left = each["left_s"]
            each["left_s"] = None if left is None else max(0.0, float(left) - since)
        words["arms"] = {
            str(arm): max(0.0, float(left) - since) for arm, left in words["arms"].items()
        }
        words |= {
            "elapsed_s": since + float(words["updated"]) - float(words["began"]),
            "told_s_ago": since,
        }
        sound = all(isinstance(words[name], int) for name in ("arms_done", "cells", "cells_done"))
        sound = sound and all(isinstance(words[name], str) for name in ("study", "host"))
        sound = sound and all(isinstance(each["unit"], str) for each in words["now"])
        return words if sound else None
    except (OSError, ValueError, KeyError, TypeError, AttributeError):
        return None


def _lives(host: str, pid: int, since: float) -> bool:
    """Whether the process that told something is still there, as far as can be told from here."""
    if host != platform.node() or sys.platform == "win32":  # where kill 0 is no question
        return since < _STALE_S
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except OSError:  # it is another user's
        return True
    return True
