"""A worker process: takes units as JSON lines on stdin, answers with events as JSON lines on
stdout.

Started as `python -m headwater.engines.worker`, so that a script or notebook that runs a study
needs no main guard. It ends when stdin closes, at once and wherever it is: so no worker outlives a
parent that was killed.
"""

from __future__ import annotations

import dataclasses
import functools
import json
import logging
import os
import queue
import signal
import sys
import threading
import traceback
from collections.abc import Callable
from pathlib import Path
from typing import Any, TextIO

from headwater import plain, wings
from headwater.engines.pool import STOP
from headwater.errors import InputError, Stopped, may_pass
from headwater.machine import uncollected
from headwater.wings import UnitWorker

_STOP, _KEEPS_NOTHING = threading.Event(), threading.Event()
"""Whether this worker is to stop, and whether it is of a wing, whose units are not kept in part."""


def _read(messages: queue.SimpleQueue[dict[str, Any]]) -> None:
    for line in sys.stdin:
        message = json.loads(line)
        if message != STOP:
            messages.put(message)
        elif _KEEPS_NOTHING.is_set():
            os._exit(0)
        else:
            _STOP.set()
    os._exit(0)


class Worker:
    """Resolves the study once, then works unit after unit."""

    def __init__(self, setting: dict[str, Any]) -> None:
        with uncollected():
            import torch

            from headwater import device
            from headwater.plan import EVERYTHING, Plan
            from headwater.store import Store
            from headwater.study import Study
            from headwater.work import Session

        torch.set_num_threads(setting["threads"])
        device.be_deterministic()
        store = Store(setting["store"])
        root = setting["data_root"]
        plan = Plan.make(
            Study.model_validate(setting["study"]),
            data_root=Path(root) if root else None,
            cache=store.cache,
            looking=EVERYTHING,
        )
        compute = dataclasses.replace(
            device.resolve(setting["device"], plan.study.precision),
            compiled=setting["compiled"],
        )
        self._arms = {arm.id: arm for arm in plan.every_arm}
        self._session = Session(
            plan,
            store,
            compute,
            float(setting["checkpoint_every_s"]),
            ranks=setting["ranks"],
            stop=_STOP,
        )

    def work(self, unit: dict[str, Any], tell: Callable[..., None]) -> None:
        """One unit: train an arm, or measure the cells of one arm on one task."""
        from headwater.engines.schedule import Unit
        from headwater.engines.unit import compute_unit

        wanted, arm = set(unit["cells"]), self._arms[unit["arm"]]
        of_arm = self._session.plan.cells_of.get(arm.id, ())
        cells = {cell.id: cell for cell in of_arm if cell.id in wanted}
        compute_unit(self._session, Unit(arm, unit["task"], tuple(cells.values())), tell)


_ONE_AT_A_TIME = threading.Lock()


def _say(out: TextIO, event: str, **fields: Any) -> None:
    with _ONE_AT_A_TIME:
        out.write(json.dumps({"event": event, **fields}) + "\n")
        out.flush()


class _Teller(logging.Handler):
    """Passes on to the parent what is told on the way: a cache that is made again, say."""

    def __init__(self, out: TextIO) -> None:
        super().__init__()
        self._out = out

    def emit(self, record: logging.LogRecord) -> None:
        _say(self._out, "told", line=record.getMessage())


def main() -> None:
    for name in ("SIGINT", "SIGTERM", "SIGUSR1"):  # the parent hears of them too, and says stop
        if hasattr(signal, name):
            signal.signal(getattr(signal, name), signal.SIG_IGN)
    out = sys.stdout
    sys.stdout = sys.stderr  # what a library prints must not reach the parent as an event
    logging.getLogger("headwater").addHandler(_Teller(out))
    messages: queue.SimpleQueue[dict[str, Any]] = queue.SimpleQueue()
    threading.Thread(target=_read, args=(messages,), daemon=True).start()
    setting = messages.get()
    try:
        worker = _worker(setting)
    except InputError as error:  # data that changed since the parent looked, say
        _say(out, "refused", reason=str(error))
        return
    if not isinstance(worker, Worker):
        _KEEPS_NOTHING.set()
    tell = functools.partial(_say, out)
    tell("ready")
    while True:
        _work(worker, messages.get(), tell)


def _worker(setting: dict[str, Any]) -> UnitWorker:
    """Who works the units of a setting: the wing that it names, or else the worker of images."""
    return wings.named(setting["wing"]).worker(setting) if "wing" in setting else Worker(setting)


def _work(worker: UnitWorker, unit: dict[str, Any], tell: Callable[..., None]) -> None:
    """One unit. A failure is told, not raised."""
    try:
        worker.work(unit, tell)
    except Stopped:
        tell("stopped")
    except Exception as error:
        if not isinstance(error, InputError):
            traceback.print_exc()
        reason = f"{type(error).__name__}: {plain.line(error)[:500]}"
        tell("failed", reason=reason, may_pass=may_pass(error))
    else:
        tell("finished")


if __name__ == "__main__":
    main()
