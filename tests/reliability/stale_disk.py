"""A folder that is shown as a network disk shows it: a FUSE file system that passes on what it is
asked, and behaves as NFS is allowed to. Two mounts of one folder are two machines.

- What is known of a name (attributes, that there is none) and of a folder's list is kept by each
  mount for a random time of up to `stale_s` seconds, whatever others do meanwhile. What a machine
  does itself it sees, and to open a file asks the server (close to open).
- Times of files are those of a server whose clock is `clock_s` seconds off.
- Operations take a random time, so that they pass each other.
- Now and then an answer is lost: what was asked is done, and asked again, so that the answer is
  EEXIST or ENOENT.
- A file that another machine removed or replaced while it was open is ESTALE; one that this machine
  removed keeps a hidden name until it is closed (libfuse does so).
- There are no locks: flock and fcntl say ENOLCK.

Data are written through: of what NFS does, only that written data arrive late is left out.

    python -m tests.reliability.stale_disk FOLDER MOUNT '{"seed": 1, "stale_s": 1.0}'
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import random
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parents[2]
_NOW = 0x3FFFFFFF  # UTIME_NOW of stat.h
_FIELDS = ("st_mode", "st_nlink", "st_uid", "st_gid", "st_size", "st_ino")
Listed = tuple[str, dict[str, int], int]
_TIMES = ("st_atime", "st_mtime", "st_ctime")


class StaleDisk:
    """The operations of libfuse, by path; see mfusepy.Operations."""

    use_ns = True

    def __init__(
        self,
        root: str,
        *,
        seed: int = 0,
        stale_s: float = 1.0,
        delay_s: float = 0.003,
        lost: float = 0.02,
        clock_s: float = -300.0,
    ) -> None:
        self._root, self._random = root, random.Random(seed)
        self._stale_s, self._delay_s, self._lost = stale_s, delay_s, lost
        self._clock_ns = round(clock_s * 1e9)
        self._known: dict[str, tuple[float, dict[str, Any] | None]] = {}
        self._lists: dict[str, tuple[float, list[Listed]]] = {}
        self._lock = threading.Lock()

    def _real(self, path: str) -> str:
        return self._root + path

    def _slowly(self) -> None:
        with self._lock:
            wait = self._random.random() * self._delay_s if self._random.random() < 0.3 else 0.0
        if wait:
            time.sleep(wait)

    def _until(self) -> float:
        with self._lock:
            return time.monotonic() + self._random.uniform(0.0, self._stale_s)

    def _forget(self, *paths: str) -> None:
        """This machine changed something: it asks the server anew for it, and for its folder."""
        with self._lock:
            for path in paths:
                self._known.pop(path, None)
                folder = os.path.dirname(path)
                self._known.pop(folder, None)
                self._lists.pop(folder, None)

    def _answered(self, again: int) -> None:
        """Now and then the answer is lost, and that to the second request is `again`."""
        with self._lock:
            lost = self._random.random() < self._lost
        if lost:
            raise OSError(again, os.strerror(again))

    # names
    def getattr(self, path: str, fh: int | None = None) -> dict[str, Any]:
        with self._lock:
            until, known = self._known.get(path, (0.0, None))
        if time.monotonic() > until:
            self._slowly()
            known, until = self._attributes(path), self._until()
            with self._lock:
                self._known[path] = until, known
        if known is None:
            raise OSError(errno.ENOENT, os.strerror(errno.ENOENT))
        return known

    def _attributes(self, path: str) -> dict[str, Any] | None:
        try:
            state = os.lstat(self._real(path))
        except (FileNotFoundError, NotADirectoryError):
            return None
        found = {name: getattr(state, name) for name in _FIELDS}
        times = {name: getattr(state, f"{name}_ns") + self._clock_ns for name in _TIMES}
        return {**found, **times}

    def readdir(self, path: str, fh: int) -> list[Listed]:
        with self._lock:
            until, names = self._lists.get(path, (0.0, []))
        if time.monotonic() > until:
            self._slowly()
            with os.scandir(self._real(path)) as found:
                names = [(each.name, {"st_ino": each.inode()}, 0) for each in found]
            until = self._until()
            with self._lock:
                self._random.shuffle(names)
                self._lists[path] = until, names
        return [(".", {"st_ino": 1}, 0), ("..", {"st_ino": 1}, 0), *names]

    def mkdir(self, path: str, mode: int) -> int:
        self._slowly()
        self._forget(path)
        os.mkdir(self._real(path), mode)
        self._answered(errno.EEXIST)
        return 0

    def rmdir(self, path: str) -> int:
        self._slowly()
        self._forget(path)
        os.rmdir(self._real(path))
        self._answered(errno.ENOENT)
        return 0

    def unlink(self, path: str) -> int:
        self._slowly()
        self._forget(path)
        os.unlink(self._real(path))
        self._answered(errno.ENOENT)
        return 0

    def rename(self, old: str, new: str) -> int:
        self._slowly()
        os.rename(self._real(old), self._real(new))
        with self._lock:
            below = [path for path in self._known if path.startswith((f"{old}/", f"{new}/"))]
        self._forget(old, new, *below)
        if not os.path.basename(new).startswith(".fuse_hidden"):
            self._answered(errno.ENOENT)
        return 0

    def link(self, target: str, source: str) -> int:
        self._slowly()
        try:
            os.link(self._real(source), self._real(target))
            self._answered(errno.EEXIST)
        finally:
            self._forget(source, target)
        return 0

    def symlink(self, target: str, source: str) -> int:
        os.symlink(source, self._real(target))
        self._forget(target)
        return 0

    def readlink(self, path: str) -> str:
        return os.readlink(self._real(path))

    # attributes
    def chmod(self, path: str, mode: int) -> int:
        os.chmod(self._real(path), mode)
        self._forget(path)
        return 0

    def chown(self, path: str, uid: int, gid: int) -> int:
        os.chown(self._real(path), uid, gid)
        self._forget(path)
        return 0

    def utimens(self, path: str, times: tuple[int, int] | None = None) -> int:
        self._slowly()
        if times is None or times[1] == _NOW:
            os.utime(self._real(path))
        else:
            set_ns = (times[0] - self._clock_ns, times[1] - self._clock_ns)
            os.utime(self._real(path), ns=set_ns)
        self._forget(path)
        return 0

    def truncate(self, path: str, length: int, fh: int | None = None) -> int:
        os.truncate(self._real(path), length)
        self._forget(path)
        return 0

    def statfs(self, path: str) -> dict[str, int]:
        state = os.statvfs(self._real(path))
        names = ("bavail", "bfree", "blocks", "bsize", "favail", "ffree", "files", "frsize")
        return {f"f_{name}": getattr(state, f"f_{name}") for name in (*names, "namemax")}

    # data
    def open(self, path: str, flags: int) -> int:
        self._slowly()
        self._forget(path)
        return os.open(self._real(path), flags & ~os.O_NOFOLLOW)

    def create(self, path: str, mode: int, flags: int) -> int:
        self._slowly()
        self._forget(path)
        return os.open(self._real(path), flags | os.O_CREAT, mode)

    def read(self, path: str, size: int, offset: int, fh: int) -> bytes:
        if os.fstat(fh).st_nlink == 0:
            raise OSError(errno.ESTALE, os.strerror(errno.ESTALE))
        return os.pread(fh, size, offset)

    def write(self, path: str, data: bytes, offset: int, fh: int) -> int:
        self._forget(path)
        return os.pwrite(fh, data, offset)

    def fsync(self, path: str, datasync: int, fh: int) -> int:
        return 0

    def release(self, path: str, fh: int) -> int:
        os.close(fh)
        return 0

    def flock(self, path: str, fh: int, op: int) -> int:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    def lock(self, path: str, fh: int, cmd: int, lock: object) -> int:
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))


@contextlib.contextmanager
def mounted(folder: Path, mount: Path, **words: Any) -> Iterator[Path]:
    """`folder`, as a machine of its own sees it at `mount`."""
    mount.mkdir(parents=True)
    command = [sys.executable, "-m", "tests.reliability.stale_disk", folder, mount]
    process = subprocess.Popen([*command, json.dumps(words)], cwd=ROOT)
    try:
        end = time.monotonic() + 20
        while not os.path.ismount(mount):
            assert process.poll() is None and time.monotonic() < end, "it could not be mounted"
            time.sleep(0.01)
        yield mount
    finally:
        subprocess.run(["fusermount3", "-u", "-z", mount], check=False, capture_output=True)
        try:
            process.wait(10)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()


def main() -> None:
    import mfusepy

    folder, mount, words = sys.argv[1:]

    class Disk(StaleDisk, mfusepy.Operations):  # type: ignore[misc]
        """With what libfuse may ask beside."""

    late = {f"{kind}_timeout": 0 for kind in ("entry", "attr", "negative")}
    disk = Disk(str(Path(folder).resolve()), **json.loads(words))
    mfusepy.FUSE(disk, mount, foreground=True, use_ino=True, fsname="stale", **late)


if __name__ == "__main__":
    main()
