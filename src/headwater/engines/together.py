"""One arm, trained by several processes of this machine: DDP, a GPU each where there are any.

Each is `python -m headwater.engines.ranks` and knows its rank. They live no longer than the process
that started them, which has the arm's lease and hears how far they are.
"""

from __future__ import annotations

import contextlib
import json
import math
import os
import queue
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import IO

from headwater import plain, work
from headwater.engines.pool import ALLOCATOR, STOP_S
from headwater.engines.ranks import check_batch
from headwater.errors import InputError, Stopped
from headwater.plan import PlannedArm
from headwater.pretrain import Progress
from headwater.work.session import Session

_LOOK_S = 0.2
STOP = "stop\n"
"""What a rank is sent that should end soon, with its work kept; the end of its stdin ends it at
once.
"""


def train(session: Session, arm: PlannedArm, watch: Callable[[Progress], None]) -> None:
    """Train an arm by `session.ranks` processes, and keep it, as `work.run_arm` does by one.

    Raises Stopped where the session is told to stop, InputError where a batch is too small to be
    shared, and RuntimeError where one of them fails.
    """
    check_batch(arm, session.ranks)
    work.prepare(session, arm)
    with (
        tempfile.TemporaryDirectory(prefix="headwater-") as name,
        _Ranks(session, arm, Path(name)) as ranks,
    ):
        ranks.follow(watch)
    if not session.store.has_arm(arm.id):
        if session.stop.is_set():
            raise Stopped("by several ranks")
        raise RuntimeError(f"{session.ranks} ranks have ended without a word")


class _Ranks:
    def __init__(self, session: Session, arm: PlannedArm, folder: Path) -> None:
        self._session, self._folder = session, folder
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        (folder / "words.json").write_text(json.dumps(session.plan.resolved.asked.words()))
        command = [sys.executable, "-P", "-m", "headwater.engines.ranks"]
        command += [str(folder / "words.json"), "--words", "--arm", arm.id]
        command += ["--store", session.store.address]
        command += ["--device", session.compute.device.type]
        command += ["--checkpoint-every", f"{session.checkpoint_every_s:g}"]
        if session.plan.data_root is not None:
            command += ["--data-root", str(Path(session.plan.data_root).resolve())]
        if session.compute.compiled:
            command += ["--compile"]
        self._processes = [self._started(command, rank) for rank in range(session.ranks)]
        self._listener = threading.Thread(target=self._listen, daemon=True)
        self._listener.start()

    def _started(self, command: list[str], rank: int) -> subprocess.Popen[str]:
        environment = {
            **ALLOCATOR,
            **os.environ,
            "RANK": str(rank),
            "LOCAL_RANK": str(rank),
            "WORLD_SIZE": str(self._session.ranks),
            "HEADWATER_RANKS_MEET": str(self._folder / "meeting"),
        }
        if sys.platform == "linux":  # they are on one machine
            environment = {"GLOO_SOCKET_IFNAME": "lo", **environment}
        with (self._folder / f"{rank}.err").open("w") as errors:
            return subprocess.Popen(
                command,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if rank == 0 else subprocess.DEVNULL,
                stderr=errors,
                encoding="utf-8",
                env=environment,
            )

    def _listen(self) -> None:
        for line in _there(self._processes[0].stdout):
            self._lines.put(line)

    def follow(self, watch: Callable[[Progress], None]) -> None:
        """Until all have ended. Raises as `train`."""
        end = math.inf
        while True:
            with contextlib.suppress(queue.Empty):
                watch(Progress(**json.loads(self._lines.get(timeout=_LOOK_S))))
            codes = [process.poll() for process in self._processes]
            for rank, code in enumerate(codes):
                if code:
                    raise self._failure(rank, code)
            if None not in codes:
                return
            if self._session.stop.is_set() and end == math.inf:
                end = time.monotonic() + STOP_S
                self._tell_to_stop()
            if time.monotonic() > end:
                raise Stopped("with the checkpoint of before")

    def _tell_to_stop(self) -> None:
        for process in self._processes:
            stdin = _there(process.stdin)
            with contextlib.suppress(BrokenPipeError):  # it has ended
                stdin.write(STOP)
                stdin.flush()

    def _failure(self, rank: int, code: int) -> Exception:
        lines = (self._folder / f"{rank}.err").read_text(errors="replace").strip().splitlines()
        last = plain.line(lines[-1]) if lines else f"rank {rank} ended with {code}"
        if code == 2 and last.startswith("headwater: "):
            return InputError(last.removeprefix("headwater: "))
        print("\n".join(lines), file=sys.stderr)  # the log of whoever started this
        return RuntimeError(f"rank {rank} of {self._session.ranks} ended with {code}: {last}")

    def __enter__(self) -> _Ranks:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.kill()
        for process in self._processes:
            with contextlib.suppress(BrokenPipeError):
                _there(process.stdin).close()
            process.wait()
        self._listener.join()
        _there(self._processes[0].stdout).close()


def _there(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream
