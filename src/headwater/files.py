"""Crash-proof files: temp -> fsync -> rename.

A reader sees the old file or the new one, never a part.
"""

from __future__ import annotations

import difflib
import errno
import hashlib
import itertools
import math
import os
import re
import shutil
import time
import uuid
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO

from headwater.errors import InputError

_SYNCS = 16
"""Files that wait for the disk at the same time [ours]."""
ADDRESS = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/{1,2}")
"""How an address begins, also as a path, which has lost a slash. A drive of Windows has one letter,
and is none.
"""
_STRAY = re.compile(r"^[.~]|conflict| \(\d+\)| \d+\.", re.IGNORECASE)


def is_stray(name: str) -> bool:
    """Whether a file has the name that a sync tool, an editor or a system gives to a copy or to a
    note of its own: "x (1).json", "x (conflicted copy).json", "x.sync-conflict-1.json", "._x.json".
    """
    return _STRAY.search(name) is not None


def near_beside(path: Path) -> str:
    """What lies beside a path that is not there and is called much like it, for an error: `, but
    a.csv is`; empty where nothing does.
    """
    try:
        names = sorted(each.name for each in path.parent.iterdir())[:10_000]
    except OSError:
        return ""
    near = difflib.get_close_matches(path.name, names, n=1, cutoff=0.75)
    return f", but {path.parent / near[0]} is" if near else ""


def sync_folder(folder: Path) -> None:
    """Makes names in a folder last, where the system lets a folder be opened."""
    with suppress(OSError):  # some file systems cannot sync a folder
        handle = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(handle)
        finally:
            os.close(handle)


@contextmanager
def blamed_on_file(path: Path) -> Iterator[None]:
    """An OSError raised within names a file: `path`, where the system does not say which (a disk
    that is full says nothing of the file that is written).
    """
    try:
        yield
    except OSError as error:
        if error.filename is None and error.errno is not None:
            error.filename = str(path)
        raise


@contextmanager
def unless_read_only() -> Iterator[None]:
    """What is written within is let go where the folder may only be read: for what saves time and
    nothing else.
    """
    try:
        yield
    except OSError as error:
        if error.errno not in (errno.EROFS, errno.EACCES, errno.EPERM):
            raise


def check_place(path: Path) -> None:
    """Raises InputError for an address: written as a path it would be a folder named `s3:`. Stores
    have addresses (headwater.objects); other files and folders have none.
    """
    if ADDRESS.match(str(path)):
        raise InputError(
            f"{path}: is an address, and only a store can have one; write it on this machine, and "
            "copy it there"
        )


def make_folder(folder: Path) -> None:
    """Makes a folder where it is missing. Raises InputError for an address."""
    check_place(folder)
    folder.mkdir(parents=True, exist_ok=True)


@contextmanager
def atomic_path(path: Path) -> Iterator[Path]:
    """A temporary path beside `path`; what the block writes there takes the name `path` when it
    ends without error.
    """
    check_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"
    try:
        with blamed_on_file(path):
            yield temp
        with blamed_on_file(path), temp.open("rb+") as handle:
            os.fsync(handle.fileno())
            state = os.fstat(handle.fileno())
        _replace(temp, path, state)
        sync_folder(path.parent)
    finally:
        with suppress(OSError):  # it took the name, or is swept later
            temp.unlink(missing_ok=True)


def _replace(temp: Path, path: Path, state: os.stat_result) -> None:
    """Renames a file of that state. A network disk that lost the answer asks once more, and is told
    that there is no such file any more: then what has the name tells whether it was done.
    """
    try:
        os.replace(temp, path)
    except FileNotFoundError:
        try:
            with path.open("rb") as there:  # NFS asks the server when a file is opened
                done = os.path.samestat(os.fstat(there.fileno()), state)
        except OSError:
            done = False
        if not done:
            raise


def disk_time(folder: Path) -> float:
    """What time it is, in seconds, by the clock that dates the files of a folder: another than that
    of this machine where the disk is another's. This machine's, where nothing can be written.
    """
    asked = folder / f".clock-{uuid.uuid4().hex}.tmp"
    try:
        asked.touch()
        return asked.stat().st_mtime
    except OSError:
        return time.time()
    finally:
        with suppress(OSError):
            asked.unlink()


def wait_for_turn(file: IO[bytes]) -> None:
    """Waits until no other process, or thread, that asked as well has this file, and has it until
    it is closed. Where the system or the disk knows no such turns, nobody waits.
    """
    try:
        import fcntl
    except ImportError:  # Windows
        return
    with suppress(OSError):
        fcntl.flock(file, fcntl.LOCK_EX)


def may_write(folder: Path) -> bool:
    """Whether files can be made in a folder, or in the one above it that is there."""
    parents = (folder.absolute(), *folder.absolute().parents)
    return os.access(next(parent for parent in parents if parent.exists()), os.W_OK | os.X_OK)


def users_cache(name: str) -> Path:
    """A folder of ours in the user's cache: $XDG_CACHE_HOME/headwater, or ~/.cache/headwater. It
    need not be there. Raises RuntimeError where there is no home.
    """
    base = os.environ.get("XDG_CACHE_HOME")
    return (Path(base) if base else Path.home() / ".cache") / "headwater" / name


def cache_room(folder: Path, most: float, share: float) -> float:
    """Bytes that a cache in `folder` may take: HEADWATER_CACHE_GB x 10^9 where it is set, otherwise
    `most` or a share of the free disk, whichever is less. Raises InputError for a
    HEADWATER_CACHE_GB that is no number of gigabytes.
    """
    stated = os.environ.get("HEADWATER_CACHE_GB")
    if stated is not None:
        try:
            limit = float(stated) * 1e9
        except ValueError:
            limit = math.nan
        if not limit >= 0:
            raise InputError(
                "HEADWATER_CACHE_GB should be a number of gigabytes, 0 or more (0: decode anew "
                f"for every batch), not {stated!r}"
            )
        return limit
    return min(most, share * free_bytes(folder))


def free_bytes(folder: Path) -> int:
    """What is free on the disk of a folder, which need not be there."""
    parents = (folder.absolute(), *folder.absolute().parents)
    there = next(parent for parent in parents if parent.exists())
    return shutil.disk_usage(there).free


def file_sha256(path: Path) -> str:
    """SHA-256 of a file, in hex."""
    with path.open("rb") as handle:
        return hashlib.file_digest(handle, "sha256").hexdigest()


class Together:
    """Files that are written now and take their names together, later: what waits for the disk
    waits once for all of them. One at a time, a thousand small files took 8 s of waiting; together
    half a second.

    Nothing is there before `commit`; then files take their names in the order in which they were
    written, folder by folder, so that what names another can come after it.
    """

    def __init__(self) -> None:
        self._waiting: list[tuple[Path, Path]] = []

    def write(self, path: Path, data: bytes | str) -> None:
        """Takes a file. Raises OSError where the disk does not."""
        path.parent.mkdir(parents=True, exist_ok=True)
        temp = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"
        self._waiting.append((path, temp))
        with blamed_on_file(path):
            temp.write_bytes(data.encode() if isinstance(data, str) else data)

    def commit(self) -> None:
        """All of them are there when it returns; where it raises, some may be."""
        try:
            _sync_all([temp for _, temp in self._waiting])
            for folder, group in itertools.groupby(self._waiting, lambda each: each[0].parent):
                for path, temp in group:
                    os.replace(temp, path)
                sync_folder(folder)
        finally:
            self.drop()

    def drop(self) -> None:
        """Takes back what has no name yet."""
        for _, temp in self._waiting:
            with suppress(OSError):
                temp.unlink(missing_ok=True)
        self._waiting.clear()


def _sync_all(paths: Sequence[Path]) -> None:
    if len(paths) == 1:
        _sync(paths[0])
        return
    with ThreadPoolExecutor(min(_SYNCS, max(1, len(paths)))) as pool:
        for _ in pool.map(_sync, paths):
            pass


def _sync(path: Path) -> None:
    with blamed_on_file(path), path.open("rb+") as handle:
        os.fsync(handle.fileno())


def write_atomic(path: Path, data: bytes | str) -> None:
    """Write a whole file, or nothing of it."""
    with atomic_path(path) as temp:
        temp.write_bytes(data.encode() if isinstance(data, str) else data)


@contextmanager
def atomic_folder(path: Path) -> Iterator[Path]:
    """A temporary folder that takes the name `path` when the block ends without error.

    Where `path` exists by then, that one is kept: content-addressed folders of one name hold the
    same.
    """
    check_place(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temp = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"
    temp.mkdir(exist_ok=True)  # a network disk may ask twice; nobody else has this name
    try:
        with blamed_on_file(path):
            yield temp
        for file in temp.iterdir():
            with blamed_on_file(path), file.open("rb+") as handle:
                os.fsync(handle.fileno())
        sync_folder(temp)
        try:
            os.rename(temp, path)
        except OSError:
            if not path.is_dir():
                raise
        sync_folder(path.parent)
    finally:
        shutil.rmtree(temp, ignore_errors=True)


def temporary(folder: Path) -> Iterator[Path]:
    """Temporary files and folders below a folder, without what is in them."""
    with suppress(OSError), os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.startswith(".") and entry.name.endswith(".tmp"):
                yield Path(entry.path)
            elif entry.is_dir(follow_symlinks=False):
                yield from temporary(Path(entry.path))


def remove_folder(path: Path) -> None:
    """Remove a folder, all at once for whoever reads it: it loses its name first.

    Nothing happens where there is none.
    """
    temp = path.parent / f".{path.name}.{uuid.uuid4().hex[:12]}.tmp"
    with suppress(FileNotFoundError):  # as a network disk says too that asked twice
        os.rename(path, temp)
    shutil.rmtree(temp, ignore_errors=True)
