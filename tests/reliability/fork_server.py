"""Headwater's commands in processes that begin at once: a server that has imported all forks them.

Torch takes seconds to import; 200 runs that are killed could not be tested otherwise. Each command
leads a session and process group of its own, and its worker processes belong to it: they are forked
before it begins, and wait. Linux only, as the tests of kills are.
"""

from __future__ import annotations

import contextlib
import ctypes
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import time
import traceback
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_BECOME_PARENT_OF_ORPHANS = 36  # prctl(2): PR_SET_CHILD_SUBREAPER


@dataclass(frozen=True)
class Setting:
    """A command, and what is odd about the process that it runs in."""

    arguments: list[str]
    """Of `headwater`; or hw.run and what `_api` takes."""
    log: str
    """What it prints; what its workers print goes to a file of this name and `.workers`."""
    folder: str
    """Where it runs."""
    checkpoint_every_s: float = 20.0
    spares: int = 0
    """Worker processes that may be asked for."""
    told: str = ""
    """A file for what points tell."""
    store: str = ""
    points: str = ""
    """counted, killed, failing, or nothing."""
    known: list[str] = field(default_factory=list)
    number: int = 0
    at: str = ""
    lasts: bool = False
    steps: str = ""
    """A file for the steps that are trained."""
    clock_s: float = 0.0
    machine: str = ""
    lapse_s: float = 0.0
    """Of leases, where another than ours is wanted; a ninth of it is the beat."""
    disk_kb: int = 0
    """Where it is above 0, `store` lies on a disk of this size that only this command sees."""
    copy_to: str = ""
    """Where that store is copied at the end."""


@dataclass(frozen=True)
class Child:
    """A command under way."""

    server: Server
    pid: int
    log: Path

    def wait(self, timeout_s: float = 120.0) -> int:
        """Its exit code, negative where a signal ended it; all of its group is gone by then."""
        watched = os.pidfd_open(self.pid)
        try:
            ended, _, _ = select.select([watched], [], [], timeout_s)
        finally:
            os.close(watched)
        if not ended:
            self.kill()
            raise AssertionError(f"ran for more than {timeout_s} s:\n{self.said}")
        answer = self.server.asked({"reap": self.pid})
        assert answer["others"] is not None, "its workers outlived it"
        return int(answer["code"])

    def kill(self) -> None:
        """Ends all of its group at once."""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.pid, signal.SIGKILL)

    @property
    def said(self) -> str:
        return self.log.read_text()


class Server:
    """The server, as a test sees it."""

    def __init__(self) -> None:
        words = ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.reliability.fork_server"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=ROOT,
            env={**os.environ, **dict.fromkeys(words, "1")},
        )

    def asked(self, message: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.write(json.dumps(message) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer

    def start(self, setting: Setting) -> Child:
        return Child(self, self.asked({"start": asdict(setting)})["pid"], Path(setting.log))

    def close(self) -> None:
        assert self._process.stdin is not None and self._process.stdout is not None
        self._process.stdin.close()
        self._process.wait()
        self._process.stdout.close()


@contextlib.contextmanager
def serving() -> Iterator[Server]:
    server = Server()
    try:
        yield server
    finally:
        server.close()


# in the server
def main() -> None:
    import gc

    import torch

    torch.set_num_threads(1)
    ctypes.CDLL(None).prctl(_BECOME_PARENT_OF_ORPHANS, 1)
    _import_all()
    gc.collect()
    gc.freeze()
    for line in sys.stdin:
        message = json.loads(line)
        if "reap" in message:
            answer = _reaped(message["reap"])
        else:
            pid = os.fork()
            if pid == 0:
                _child(Setting(**message["start"]))
            answer = {"pid": pid}
        print(json.dumps(answer), flush=True)
    sys.stdout.flush()
    os._exit(0)  # without what libraries say at the end


def _reaped(group: int) -> dict[str, Any]:
    """The exit code of a command that has ended, and how many others of its group there were; None
    where some are still there after half a minute.
    """
    _, status = os.waitpid(group, 0)
    others, end = 0, time.monotonic() + 30
    with contextlib.suppress(ChildProcessError):
        while True:
            pid, _ = os.waitpid(-group, os.WNOHANG)
            others += pid > 0
            if pid == 0:
                time.sleep(0.002)
            if time.monotonic() > end:
                others = None  # type: ignore[assignment]
                break
    return {"code": os.waitstatus_to_exitcode(status), "others": others}


def _import_all() -> None:
    import importlib
    import pkgutil

    import faiss  # noqa: F401
    import open_clip  # noqa: F401
    import pandas  # noqa: F401
    import scipy.optimize  # noqa: F401
    import timm  # noqa: F401

    import headwater

    for found in pkgutil.walk_packages(headwater.__path__, "headwater."):
        if not found.name.endswith("__main__"):
            importlib.import_module(found.name)


def _child(setting: Setting) -> None:
    """Does not return."""
    code = 99
    try:
        os.setsid()
        log = os.open(setting.log, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        nothing = os.open(os.devnull, os.O_RDONLY)
        for source, target in ((nothing, 0), (log, 1), (log, 2)):
            os.dup2(source, target)
        sys.stdout = os.fdopen(1, "w", closefd=False)
        sys.stderr = os.fdopen(2, "w", closefd=False)
        sys.__stdout__, sys.__stderr__ = sys.stdout, sys.stderr
        os.chdir(setting.folder)
        if setting.disk_kb:
            _mount_small_disk(Path(setting.store).parent, setting.disk_kb)
        _made_odd(setting)
        _fork_workers(setting.spares, f"{setting.log}.workers")
        from headwater import cli

        sys.argv = ["headwater", *setting.arguments]
        code = cli._guarded(_api if setting.arguments[0] == "hw.run" else cli.app)
    except SystemExit as error:
        code = error.code if isinstance(error.code, int) else 1
    except BaseException:
        traceback.print_exc()
    finally:
        with contextlib.suppress(BaseException):
            sys.stdout.flush()
            sys.stderr.flush()
        if setting.copy_to and Path(setting.store).exists():
            shutil.copytree(setting.store, setting.copy_to)
        os._exit(code)


def _mount_small_disk(folder: Path, kilobytes: int) -> None:
    """In a space of mounts of this process's own, which ends with it."""
    libc = ctypes.CDLL(None, use_errno=True)
    whole, private = 0x4000, 1 << 18  # MS_REC, MS_PRIVATE
    size = f"size={kilobytes}k".encode()
    if (
        libc.unshare(0x20000)  # CLONE_NEWNS
        or libc.mount(None, b"/", None, whole | private, None)
        or libc.mount(b"none", os.fsencode(folder), b"tmpfs", 0, size)
    ):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))


def _api(**_: object) -> int:
    """`hw.run STUDY STORE ENGINE WORKERS`: as `headwater run`, without its report, which takes
    longer than the smallest studies.
    """
    import headwater as hw

    study, store, engine, workers = sys.argv[2:]
    rows = hw.run(study, store=store, device="cpu", engine=engine, workers=int(workers))
    return int(set(rows["status"]) != {"done"})


def _made_odd(setting: Setting) -> None:
    from headwater import api
    from headwater.engines import claims, engine, inline
    from headwater.store import leases
    from tests.reliability import failpoints

    words = engine.run.__kwdefaults__
    assert words is not None and api.run.__kwdefaults__ is not None
    words["checkpoint_every_s"] = setting.checkpoint_every_s
    api.run.__kwdefaults__["checkpoint_every_s"] = setting.checkpoint_every_s
    claims.LOOK_EVERY_S = inline.LOOK_EVERY_S = 0.05
    if setting.lapse_s:
        more = leases.Leases.__init__.__kwdefaults__
        more["lapse_s"], more["beat_s"] = setting.lapse_s, setting.lapse_s / 9
        leases.LAPSE_S = setting.lapse_s
    if setting.machine:
        failpoints.other_machine(setting.machine)
    if setting.clock_s:
        failpoints.shift_clock(setting.clock_s)
    if setting.steps:
        failpoints.count_steps(setting.steps)
    if setting.points == "counted":
        failpoints.install(failpoints.Counted(setting.store, setting.told))
    elif setting.points == "killed":
        failpoints.install(failpoints.KilledAtFirstNew(setting.store, setting.told, setting.known))
    elif setting.points == "failing":
        failpoints.install(
            failpoints.Failing(
                setting.store, setting.told, setting.number, setting.at, setting.lasts
            )
        )


class _Forked:
    """A worker process that was forked ahead, with what subprocess.Popen gives of one."""

    ready: list[_Forked] = []  # noqa: RUF012

    def __init__(self, pid: int, stdin: int, stdout: int) -> None:
        self.pid, self._code = pid, None
        self._ends = stdin, stdout

    @classmethod
    def taken(cls, *_: Any, **__: Any) -> _Forked:
        found = cls.ready.pop(0)
        found.stdin = os.fdopen(found._ends[0], "w", encoding="utf-8")  # type: ignore[attr-defined]
        found.stdout = os.fdopen(found._ends[1], encoding="utf-8")  # type: ignore[attr-defined]
        return found

    def kill(self) -> None:
        if self._code is None:
            os.kill(self.pid, signal.SIGKILL)

    def wait(self) -> int:
        if self._code is None:
            self._code = os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])  # type: ignore
        return self._code  # type: ignore[return-value]


def _fork_workers(count: int, log: str) -> None:
    """What they say goes to `log`, as a run's workers have logs of their own."""
    from headwater.engines import pool, worker

    class Started:
        PIPE = subprocess.PIPE
        Popen = _Forked.taken

    for _ in range(count):
        (its_in, stdin), (stdout, its_out) = os.pipe(), os.pipe()
        pid = os.fork()
        if pid == 0:
            for other in _Forked.ready:
                os.close(other._ends[0])
                os.close(other._ends[1])
            os.close(stdin)
            os.close(stdout)
            os.dup2(os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND), 2)
            sys.stdin = os.fdopen(its_in, encoding="utf-8")
            sys.stdout = os.fdopen(its_out, "w", encoding="utf-8")
            with contextlib.suppress(BaseException):
                worker.main()
            os._exit(0)
        os.close(its_in)
        os.close(its_out)
        _Forked.ready.append(_Forked(pid, stdin, stdout))
    pool.subprocess = Started  # type: ignore[assignment]


if __name__ == "__main__":
    main()
