"""What a process asks of its disk, at a place where a test may end it, fail it or count it.

Installed in a process of the fork server (fork_server.py), never in that of pytest. A point is an
operation on a path inside the store, by what it is for: names that differ from run to run (of
temporary files, processes and steps) are one point, so that the points of two runs can be compared.

    before replace arms/3f.../~tmp      before os.replace of a temporary folder onto an arm
    after  link    leases/3f....json    after os.link gave a lease its name
"""

from __future__ import annotations

import builtins
import errno
import functools
import io
import os
import re
import signal
import time
from collections.abc import Callable
from typing import Any

_NAMES = (
    (re.compile(r"^\.(.*?)[.-][0-9a-f]{12,32}\.tmp$"), r"\1~tmp"),
    (re.compile(r"^\.(.*?)(\.\d+\.[0-9a-f]{8})?\.tmp$"), r"\1~tmp"),
    (re.compile(r"step-\d{10}"), "step-N"),
    (re.compile(r"whole-[0-9a-f]{12}"), "whole-N"),
    (re.compile(r"^(worker|inline)(-\d+)+\.log$"), r"\1.log"),
    (re.compile(r"^(.*)-[^-]+-\d+\.json"), r"\1-PID.json"),
)
_BOTH = ("replace", "rename", "link", "unlink")
"""Operations after which a process may be ended as well: what they did can be seen by others."""
_WRITES = re.compile(r"[wxa+]")


def point_of(path: str, root: str) -> str | None:
    """What a path inside a store is called as a point; None outside."""
    whole = os.path.abspath(path)
    if whole != root and not whole.startswith(root + os.sep):
        return None
    parts = []
    for part in os.path.relpath(whole, root).split(os.sep):
        for pattern, called in _NAMES:
            part = pattern.sub(called, part)
        parts.append(part)
    return "/".join(parts)


class Points:
    """Hears of every operation on a store, before it is done and after."""

    def __init__(self, root: str, told: str) -> None:
        self.root = os.path.abspath(root)
        self._told = told

    def before(self, point: str) -> None:
        """May raise OSError, or end this process and its group."""

    def after(self, point: str) -> None:
        """May end this process and its group."""

    def tell(self, line: str) -> None:
        """One line for the test, in one write, which outlives this process."""
        file = _os_open(self._told, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, f"{line}\n".encode())
        os.close(file)


class Counted(Points):
    """Only tells every point that is met."""

    def before(self, point: str) -> None:
        self.tell(f"before {point}")

    def after(self, point: str) -> None:
        self.tell(f"after {point}")


class KilledAtFirstNew(Points):
    """Ends the process group with SIGKILL at the first point that is not among those `known`."""

    def __init__(self, root: str, told: str, known: list[str]) -> None:
        super().__init__(root, told)
        self._known = frozenset(known)

    def before(self, point: str) -> None:
        self._met(f"before {point}")

    def after(self, point: str) -> None:
        self._met(f"after {point}")

    def _met(self, point: str) -> None:
        if point not in self._known:
            self.tell(point)
            os.killpg(0, signal.SIGKILL)


class Failing(Points):
    """Raises OSError where a point is met first, and, where it `lasts`, at all later ones too."""

    def __init__(self, root: str, told: str, number: int, at: str, lasts: bool) -> None:
        super().__init__(root, told)
        self._number, self._at, self._lasts, self._began = number, at, lasts, False

    def before(self, point: str) -> None:
        first = not self._began and f"before {point}" == self._at
        self._began = self._began or first
        if first or (self._lasts and self._began and can_fail(point, self._number)):
            self.tell(point)
            raise OSError(self._number, os.strerror(self._number))


def can_fail(point: str, number: int) -> bool:
    """Whether an operation can meet this error: a disk that is full still lets files go."""
    return number in (errno.EROFS, errno.EIO) or point.split(" ")[0] not in _TAKING_AWAY


_TAKING_AWAY = ("unlink", "rmdir", "utime")


_os_open, _open, _fsync = os.open, io.open, os.fsync


def install(points: Points, put: Callable[[Any, str, Any], None] = setattr) -> None:
    """From here on `points` hears of what this process, and those that it forks, ask of the disk.
    Errors of writes and syncs name no file, as those of the system do not. `put` sets an attribute
    of a module: pytest's own takes it back.
    """
    root = points.root

    def around(kind: str, path: Any, do: Callable[[], Any], named: bool = True) -> Any:
        text = os.fsdecode(path) if isinstance(path, str | bytes | os.PathLike) else None
        place = None if text is None else point_of(text, root)
        if place is None:
            return do()
        try:
            points.before(f"{kind} {place}")
        except OSError as error:
            if named:
                error.filename = text
            raise
        result = do()
        if kind in _BOTH:
            points.after(f"{kind} {place}")
        return result

    def of_first(kind: str) -> None:
        plain = getattr(os, kind)

        @functools.wraps(plain)
        def patched(path: Any, *more: Any, dir_fd: int | None = None, **words: Any) -> Any:
            where = path
            if dir_fd is not None:
                words["dir_fd"] = dir_fd
                where = os.path.join(os.readlink(f"/proc/self/fd/{dir_fd}"), os.fsdecode(path))
            return around(kind, where, lambda: plain(path, *more, **words))

        put(os, kind, patched)

    def of_second(kind: str) -> None:
        plain = getattr(os, kind)

        @functools.wraps(plain)
        def patched(old: Any, new: Any, **words: Any) -> Any:
            return around(kind, new, lambda: plain(old, new, **words))

        put(os, kind, patched)

    for kind in ("unlink", "rmdir", "mkdir", "utime"):
        of_first(kind)
    for kind in ("replace", "rename", "link"):
        of_second(kind)

    def fsync(file: Any) -> None:
        number = file if isinstance(file, int) else file.fileno()
        around("fsync", os.readlink(f"/proc/self/fd/{number}"), lambda: _fsync(file), False)

    def os_open(path: Any, flags: int, *more: Any, **words: Any) -> int:
        if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT) and "dir_fd" not in words:
            return around("open", path, lambda: _os_open(path, flags, *more, **words))
        return _os_open(path, flags, *more, **words)

    def opened(file: Any, mode: str = "r", *more: Any, **words: Any) -> Any:
        if not _WRITES.search(mode) or isinstance(file, int):
            return _open(file, mode, *more, **words)
        stream = around("open", file, lambda: _open(file, mode, *more, **words))
        place = point_of(os.fsdecode(file), root)
        if place is not None and not place.startswith("logs/"):
            plain = stream.write
            stream.write = lambda data: around("write", file, lambda: plain(data), False)
        return stream

    put(os, "fsync", fsync)
    put(os, "open", os_open)
    put(io, "open", opened)
    put(builtins, "open", opened)


def count_steps(path: str) -> None:
    """A line for every step of training that is done, and for every checkpoint that is begun: arm's
    folder, step, time. The time is that of
    a clock that all processes of a machine share.
    """
    from headwater.pretrain import journal, state

    file = _os_open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT)
    note, resume, save = journal.Journal.note, state.State.resume, state.State.save
    folders: dict[int, str] = {}

    def noted(self: Any, *words: Any) -> None:
        note(self, *words)
        line = f"step {folders.get(id(self), '')} {len(self.losses)} {time.monotonic():.6f}\n"
        os.write(file, line.encode())

    def resumed(self: Any) -> int:
        step = resume(self)
        folders[id(self._journal)] = self._folder.name
        os.write(file, f"from {self._folder.name} {step} {time.monotonic():.6f}\n".encode())
        return step

    def saved(self: Any, step: int) -> None:
        os.write(file, f"save {self._folder.name} {step} {time.monotonic():.6f}\n".encode())
        save(self, step)

    state.State.save = saved  # type: ignore[method-assign]
    journal.Journal.note = noted  # type: ignore[method-assign]
    state.State.resume = resumed  # type: ignore[method-assign]


def shift_clock(seconds: float) -> None:
    """`time.time` is off by so much: the clock of another machine."""
    plain = time.time
    time.time = lambda: plain() + seconds
    plain_ns = time.time_ns
    time.time_ns = lambda: plain_ns() + round(seconds * 1e9)


def other_machine(name: str) -> None:
    """This process counts as one of another machine."""
    import platform

    from headwater.store import leases

    platform.node = lambda: name
    leases._host = lambda: name  # type: ignore[assignment]
