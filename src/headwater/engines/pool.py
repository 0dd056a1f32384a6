"""Worker processes that take units of work as JSON lines: started, fed, listened to, and replaced
when they die.
"""

from __future__ import annotations

import contextlib
import json
import os
import queue
import subprocess
import threading
import time
from abc import ABC, abstractmethod
from collections import Counter, deque
from collections.abc import Sequence
from pathlib import Path
from typing import IO, Any, Generic, Protocol, TypeVar

from headwater.digests import tell
from headwater.errors import InputError

MAX_DEATHS = 2
"""A unit whose worker process dies this often (killed for memory, say) has failed. When so many
workers in a row die before they are ready, no more are started until something goes well again.
"""
ALLOCATOR = {
    "MALLOC_MMAP_THRESHOLD_": "33554432",
    "MALLOC_TRIM_THRESHOLD_": "4000000000",
    "MALLOC_TOP_PAD_": "134217728",
}
"""glibc gives the memory of a step's tensors back to the system and asks for it anew in the next
one; told to keep it, workers lost 11-33 % of their time to the system less (docs/log.md). Other
systems pass over these, and what the user has set wins.
"""


STOP = {"stop": True}
"""What a worker is sent that should end its unit soon, and keep what was done of it."""
STOP_S = 20.0
"""Seconds that it may take [ours]: Slurm kills 30 seconds after its signal."""
_LOOK_S = 0.5
"""How often what others do is looked at, where nothing else is to do [ours]."""


class AnyUnit(Protocol):
    def message(self) -> dict[str, Any]:
        """What a worker is sent."""
        ...


U = TypeVar("U", bound=AnyUnit)


class Pool(ABC, Generic[U]):
    """Works off `ready`, which may grow on the way.

    Subclasses hear of what happens in `on_event`, and settle what failed in `failed`.
    """

    def __init__(
        self, command: Sequence[str], setting: dict[str, Any], logs: Path, ready: deque[U]
    ) -> None:
        self._command, self._setting, self._logs = command, setting, logs
        self.ready = ready
        self._answers: queue.SimpleQueue[tuple[int, dict[str, Any] | None]] = queue.SimpleQueue()
        self._processes: dict[int, subprocess.Popen[str]] = {}
        self._busy: dict[int, U] = {}
        self._listeners: list[threading.Thread] = []
        self._awake: set[int] = set()
        self._started = 0
        self._devices: dict[int, str] = {}
        self._deaths: dict[int, tuple[U, int]] = {}
        """By identity: a unit that was tried is kept, so that no other one gets its identity."""
        self._stillborn = 0

    @abstractmethod
    def on_event(self, kind: str, number: int, unit: U, fields: dict[str, Any]) -> None:
        """Hears of every event of a unit: started, progress, cell, finished, failed, retried, died,
        and what else its worker says.
        """

    def again(self, unit: U, reason: str, *, may_pass: bool) -> bool:
        """Whether a unit that failed, or whose worker died, is taken up again later in place of
        having failed; `may_pass`: its worker says that the reason may pass.
        """
        return False

    @abstractmethod
    def failed(self, unit: U, reason: str) -> None:
        """Notes that a unit has failed: its worker says so, or died too often.

        Called before `on_event`.
        """

    def take(self) -> U | None:
        """The next unit; None where none can be begun now."""
        return self.ready.popleft() if self.ready else None

    def waits(self) -> bool:
        """Whether units that are not ready may be later, without anything that a worker says."""
        return False

    def go(self, count: int) -> None:
        """Work with so many processes until nothing is ready or under way.

        Raises InputError where work is left and no worker can be started. Where it is interrupted
        (by Ctrl-C or a signal), workers are asked to stop first: they write checkpoints.
        """
        try:
            for _ in range(count):
                self._spawn()
            while self._busy or self.ready or self.waits():
                with contextlib.suppress(queue.Empty):
                    self._listened(*self._answers.get(timeout=_LOOK_S if self.waits() else None))
                self._feed()
                if self.ready and len(self._processes) < count and self._may_start():
                    self._spawn()
        except BaseException as error:
            if not isinstance(error, Exception):
                self._stop()
            raise
        finally:
            for process in self._processes.values():
                process.kill()
                _close(process)
            for listener in self._listeners:
                listener.join()

    def _listened(self, number: int, answer: dict[str, Any] | None) -> None:
        if answer is None:
            self._died(number)
        else:
            self._heard(number, answer)

    def _stop(self) -> None:
        """Asks workers to stop, and waits a while until all have said what became of their work."""
        end = time.monotonic() + STOP_S
        for number in self._busy:
            self._send(number, STOP)
        while self._busy:
            try:
                number, answer = self._answers.get(timeout=max(0.0, end - time.monotonic()))
            except queue.Empty:
                return
            if answer is None or answer["event"] == "stopped":
                self._busy.pop(number, None)
            else:
                self._heard(number, answer)

    def _may_start(self) -> bool:
        return self._stillborn < MAX_DEATHS or not self._processes

    def _log(self, number: int) -> Path:
        return self._logs / f"worker-{os.getpid()}-{number}.log"

    def _spawn(self) -> None:
        number, self._started = self._started, self._started + 1
        self._logs.mkdir(parents=True, exist_ok=True)
        threads = str(self._setting["threads"])
        environment = {
            **ALLOCATOR,
            **os.environ,
            **dict.fromkeys(
                ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), threads
            ),
        }
        with self._log(number).open("w") as errors:
            process = subprocess.Popen(
                self._command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=errors,
                encoding="utf-8",
                env=environment,
            )
        self._processes[number] = process
        assert process.stdout is not None
        self._listeners.append(
            threading.Thread(target=self._listen, args=(number, process.stdout), daemon=True)
        )
        self._listeners[-1].start()
        self._send(number, self._own_setting(number))

    def _own_setting(self, number: int) -> dict[str, Any]:
        """Of several devices a worker has one, the next: one that takes the place of another has
        the device on which fewest are.
        """
        devices = self._setting.get("devices")
        if devices is None:
            return self._setting
        taken = Counter(self._devices[other] for other in self._processes if other in self._devices)
        asked = Counter(devices)
        self._devices[number] = min(asked, key=lambda device: taken[device] - asked[device])
        return {**self._setting, "device": self._devices[number]}

    def _listen(self, number: int, stream: IO[str]) -> None:
        with stream:
            for line in stream:
                if line.endswith("\n"):  # a worker that was killed may have said half a line
                    self._answers.put((number, json.loads(line)))
        self._answers.put((number, None))

    def _send(self, number: int, message: dict[str, Any]) -> None:
        stream = self._processes[number].stdin
        assert stream is not None
        with contextlib.suppress(
            BrokenPipeError
        ):  # the worker's end is heard as the end of its stdout
            stream.write(json.dumps(message) + "\n")
            stream.flush()

    def _heard(self, number: int, answer: dict[str, Any]) -> None:
        kind = answer.pop("event")
        if kind == "refused":
            raise InputError(answer["reason"])
        if kind == "told":
            tell(answer["line"])
            return
        if kind == "ready":
            self._awake.add(number)
            self._stillborn = 0
            return
        unit = self._busy[number]
        if kind == "failed":
            if self.again(unit, answer["reason"], may_pass=bool(answer.pop("may_pass", False))):
                kind = "retried"
            else:
                self.failed(unit, answer["reason"])
        self.on_event(kind, number, unit, answer)
        if kind in ("failed", "retried", "finished"):
            del self._busy[number]
            self._stillborn = 0

    def _feed(self) -> None:
        """Give what is ready to the workers that have nothing to do."""
        for number in sorted(self._awake - self._busy.keys()):
            unit = self.take()
            if unit is None:
                return
            self._busy[number] = unit
            self.on_event("started", number, unit, {})
            self._send(number, unit.message())

    def _died(self, number: int) -> None:
        code = _close(self._processes.pop(number))
        if number not in self._awake:
            self._stillborn += 1
            if self._stillborn >= MAX_DEATHS and not self._processes:
                raise InputError(
                    f"a worker process could not start (exit code {code}); see {self._log(number)}"
                )
            return
        self._awake.discard(number)
        unit = self._busy.pop(number, None)
        if unit is None:
            return
        _, before = self._deaths.get(id(unit), (unit, 0))
        deaths = before + 1
        self._deaths[id(unit)] = (unit, deaths)
        reason = (
            f"the worker process died {deaths} times (last exit code {code}; see "
            f"{self._log(number)})"
        )
        if deaths < MAX_DEATHS:
            if not self.again(unit, reason, may_pass=False):
                self.ready.appendleft(unit)
        else:
            self.failed(unit, reason)
        self.on_event("died", number, unit, {"code": code})


def _close(process: subprocess.Popen[str]) -> int:
    """The exit code of a worker that has ended, its input closed; its output is closed by who
    listens to it.
    """
    assert process.stdin is not None
    with contextlib.suppress(BrokenPipeError):  # what it had not read yet
        process.stdin.close()
    return process.wait()
