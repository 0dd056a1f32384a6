"""Who computes what: a file for each unit that somebody has, made by one of those who want it.

    <store>/leases/<unit>.json     the owner; its time of modification is the last sign of life

Safety does not rest on leases. Two who compute one unit write the same bits, and whoever is last
finds it there; leases keep that from being done for nothing.

A lease is a hard link to a file of its owner, or is made with O_EXCL where there are no links: on
NFS too, one of those who try at once gets it. No lock of the system is taken, and no file is
replaced by renaming. The owner sets its time again and again, by the clock of whoever keeps the
files; its age is told by the same clock, so clocks of workers do not matter. A lease that is old,
or whose owner is a process of this machine that is gone, is taken over.
"""

from __future__ import annotations

import json
import os
import platform
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from headwater import files

BEAT_S = 10.0
"""Seconds between two signs of life [ours]."""
LAPSE_S = 90.0
"""A lease without a sign of life for so long is taken over [ours]: more than the 60 seconds for
which NFS may show an old time.
"""
_TRIES = 5
_WAIT_S = 0.1
_MOST_WAIT_S = 2.0


@dataclass(frozen=True)
class Owner:
    """A process that takes leases."""

    token: str
    """Of its own: another one for every process, and for every user of leases in it."""
    host: str
    """What tells this machine, since it was started, from others; a container is one of its own."""
    pid: int
    started: str
    """When the process began, as its system says; process numbers come again."""
    name: str
    """What people call it: its machine, and the worker."""

    @classmethod
    def here(cls, name: str | None = None) -> Owner:
        """This process."""
        pid, machine = os.getpid(), platform.node()
        called = machine if name is None else f"{machine} {name}"
        return cls(uuid.uuid4().hex, _host(), pid, _started(pid) or "", called)


@dataclass(frozen=True)
class Held:
    """A lease that is there."""

    owner: Owner | None
    """None where the file does not say."""
    age_s: float
    """Since the last sign of life."""
    lost: int = 0
    """So many had it before and were lost, one after another, with nothing done."""
    mark: str = ""
    """How far the unit was when it was claimed."""

    def lapsed(self, lapse_s: float) -> bool:
        """Whether nobody has it any more, as far as can be told from here."""
        return self.age_s > lapse_s or (self.owner is not None and _is_gone(self.owner))


class Leases:
    """The leases of a folder, for one owner.

    Those that are held show a sign of life every `beat_s` seconds until they are given back, from a
    thread that begins with the first one. `lapse_s` is the age above which others are taken over;
    `name` is what people call the owner.
    """

    def __init__(
        self,
        folder: Path,
        *,
        beat_s: float = BEAT_S,
        lapse_s: float = LAPSE_S,
        name: str | None = None,
    ) -> None:
        self.folder, self.owner = folder, Owner.here(name)
        self._beat_s, self._lapse_s = beat_s, lapse_s
        self._held: dict[str, int] = {}
        """Units, and how often they were lost before."""
        self._lost: dict[str, tuple[int, str]] = {}
        """Of a unit that was taken away from a lost owner: how often it was, and its mark."""
        self._lock = threading.Lock()
        self._ended = threading.Event()
        self._thread: threading.Thread | None = None
        self._clock = folder / f".clock-{self.owner.token}.tmp"

    def claim(self, unit: str, mark: str = "") -> bool:
        """Whether the unit is ours now, or was already. `unit` is a name that files may have;
        `mark` says how far it is, so that `lost` begins anew where something was done.
        """
        with self._lock:
            if unit in self._held:
                return True
        lost = 0
        if not self._made(unit, self._text(0, mark)):
            held = self.held(unit)
            # it may be ours: the answer to the request that made it was lost
            if held is None or held.owner != self.owner:
                if not self._took_away(unit):
                    return False
                before, was = self._lost.pop(unit, (0, mark))
                lost = before + 1 if was == mark else 1
                if not self._made(unit, self._text(lost, mark)):
                    return False
        with self._lock:
            self._held[unit] = lost
            if self._thread is None:
                self._thread = threading.Thread(target=self._beat, name="leases", daemon=True)
                self._thread.start()
        return True

    def lost(self, unit: str) -> int:
        """How many owners of a unit that is ours were lost before us, one after another, with
        nothing done: what kills whoever takes it should be taken no more.
        """
        return self._held.get(unit, 0)

    def release(self, unit: str) -> None:
        """Gives a unit back; nothing happens where it is not ours any more."""
        with self._lock:
            self._held.pop(unit, None)
        held = self.held(unit)
        if held is not None and held.owner == self.owner:
            self._remove(unit)

    def held(self, unit: str) -> Held | None:
        """Who has a unit; None where nobody has."""
        try:
            with self._path(unit).open("rb") as file:  # NFS asks the server when a file is opened
                changed = os.fstat(file.fileno()).st_mtime
                said = file.read(4096)
        except OSError:
            return None
        return held_of(said, self.now() - changed)

    def sweep(self) -> int:
        """Removes the leases that nobody has any more; their number. What a killed process had just
        finished is taken over by nobody.
        """
        lapsed = [unit for unit in self.units() if self._is_lapsed(unit)]
        return sum(self._took_away(unit) for unit in lapsed)

    def _is_lapsed(self, unit: str) -> bool:
        held = self.held(unit)
        return held is not None and held.lapsed(self._lapse_s)

    @contextmanager
    def alone(self, unit: str) -> Iterator[None]:
        """Whoever comes second waits until the first one is done; for what should not be made
        twice at once.
        """
        wait = _WAIT_S
        while not self.claim(unit):
            time.sleep(wait)
            wait = min(_MOST_WAIT_S, 1.5 * wait)
        try:
            yield
        finally:
            self.release(unit)

    def close(self) -> None:
        """Gives back everything."""
        self._ended.set()
        if self._thread is not None:
            self._thread.join()
        for unit in sorted(self._held):
            self.release(unit)
        self._tidy()

    def __enter__(self) -> Leases:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def units(self) -> list[str]:
        """Units that somebody has, or had and was lost."""
        try:
            names = sorted(os.listdir(self.folder))
        except OSError:
            return []
        return [name[:-5] for name in names if name.endswith(".json") and name[0] != "."]

    def _remove(self, unit: str) -> None:
        with suppress(OSError):
            self._path(unit).unlink()

    def _tidy(self) -> None:
        """What is left behind when nothing is held any more."""
        with suppress(OSError):
            self._clock.unlink()
        with suppress(OSError):  # others have leases there
            self.folder.rmdir()

    def _path(self, unit: str) -> Path:
        return self.folder / f"{unit}.json"

    def _text(self, lost: int, mark: str) -> bytes:
        return json.dumps({**asdict(self.owner), "lost": lost, "mark": mark}).encode()

    def _made(self, unit: str, text: bytes) -> bool:
        """Whether the file was made by us just now."""
        for _ in range(_TRIES):
            self.folder.mkdir(parents=True, exist_ok=True)
            with suppress(FileNotFoundError):  # who ended meanwhile removed the empty folder
                return self._linked(unit, text)
        return False

    def _linked(self, unit: str, text: bytes) -> bool:
        """As `_made`, where the folder is there."""
        path = self._path(unit)
        own = self.folder / f".{unit}-{self.owner.token}.tmp"
        try:
            with files.blamed_on_file(own):
                own.write_bytes(text)
            try:
                os.link(own, path)
            except FileExistsError:
                return own.stat().st_nlink == 2  # an answer that NFS lost, of a request that it did
            except OSError:
                return _made_alone(path, text)
            return True
        finally:
            with suppress(OSError):
                own.unlink(missing_ok=True)

    def _took_away(self, unit: str) -> bool:
        """Whether there is no lease of a unit any more: a lapsed one is moved away, which one of
        those who want to can do; whoever finds that it was another's, made meanwhile, puts it back.
        """
        held = self.held(unit)
        if held is None:
            return True
        if not held.lapsed(self._lapse_s):
            return False
        self._lost[unit] = held.lost, held.mark
        aside = self.folder / f".{unit}-{uuid.uuid4().hex}.tmp"
        try:
            os.rename(self._path(unit), aside)
        except OSError:
            return not self._path(unit).exists()
        try:
            if held_of(aside.read_bytes(), 0.0).owner != held.owner:
                with suppress(OSError):
                    os.link(aside, self._path(unit))
                return False
            return True
        finally:
            aside.unlink(missing_ok=True)

    def _beat(self) -> None:
        while not self._ended.wait(self._beat_s):
            with self._lock:
                units = sorted(self._held)
            for unit in units:
                self._show_life(unit)

    def _show_life(self, unit: str) -> None:
        """Sets the time of a lease, unless somebody took it over, since we slept too long."""
        held = self.held(unit)
        if held is not None and held.owner != self.owner:
            with self._lock:
                self._held.pop(unit, None)
            return
        with suppress(OSError):  # gone, or the disk is away for a while
            os.utime(self._path(unit))

    def now(self) -> float:
        """Seconds by the clock of whoever keeps the files."""
        try:
            self._clock.touch()
            os.utime(self._clock)
            return self._clock.stat().st_mtime
        except OSError:  # it may only be read
            return time.time()


def _made_alone(path: Path, text: bytes) -> bool:
    """As `Leases._made`, where there are no hard links."""
    with files.blamed_on_file(path):
        try:
            file = path.open("xb")
        except FileExistsError:
            return False
        try:
            with file:
                file.write(text)
        except OSError:  # a lease without an owner would be in everybody's way
            path.unlink(missing_ok=True)
            raise
    return True


def held_of(said: bytes, age_s: float) -> Held:
    """What a lease says; its owner is None where it cannot be read."""
    try:
        words: dict[str, Any] = json.loads(said)
        lost, mark = int(words.pop("lost", 0)), str(words.pop("mark", ""))
        return Held(Owner(**words), age_s, lost, mark)
    except (ValueError, TypeError, AttributeError, RecursionError):
        return Held(None, age_s)


def _is_gone(owner: Owner) -> bool:
    """Whether the owner was a process of this machine that is no more."""
    return owner.host == _host() and bool(owner.started) and _started(owner.pid) != owner.started


@cache
def _host() -> str:
    """The machine's name, its start and its space of process numbers, as far as it tells."""
    known = [platform.node()]
    with suppress(OSError):
        known.append(Path("/proc/sys/kernel/random/boot_id").read_text().strip())
        known.append(os.readlink("/proc/self/ns/pid"))
    return " ".join(known)


def _started(pid: int) -> str | None:
    """When a process began, in ticks of its system; None where there is none, or a zombie, or no
    /proc to tell.
    """
    try:
        words = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except OSError:
        return None
    return None if words[0] in ("Z", "X") else words[19]
