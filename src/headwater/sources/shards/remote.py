"""Shards that lie elsewhere, on an HTTP server or in an object store (S3 and its like): each is
brought here once, to be read through, and kept while there is room; of one that is not kept, images
are asked for by their bytes alone.

What comes over the network is believed by its digest, and asked for again where a request fails,
stalls or is cut.
"""

from __future__ import annotations

import contextlib
import fnmatch
import hashlib
import os
import re
import shutil
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

from headwater import digests, objects
from headwater.errors import InputError
from headwater.files import cache_room, wait_for_turn
from headwater.objects import Cut, Missing
from headwater.sources.shards.manifest import NAME
from headwater.sources.shards.places import ADDRESS, Shard, expanded

T = TypeVar("T")
SCHEMES = ("http", "https", "s3", "s3a", "gs", "az", "abfs", "abfss")
_AT_ONCE = 16
"""Requests that are under way together."""
_CHUNK = 8 << 20
"""Bytes of a request while a shard is brought here: as much is asked for again where one is cut."""
KEPT_LIMIT, KEPT_SHARE = 32 * 10**9, 0.25
"""Bytes, and share of the free disk, that shards may take that were brought here [ours]."""


class Remote:
    """The shards below one address."""

    def __init__(self, written: str, where: str, kept: Path, limit: float) -> None:
        """`written` is an address that ends with a folder (`/`), a .tar or a pattern of these;
        `kept` a folder for shards that were brought here, of `limit` bytes at most.
        """
        self.written, self._where = written, where
        self._kept, self._limit, self._lock = kept, limit, threading.Lock()
        scheme = ADDRESS.match(written)
        if scheme is None or scheme.group()[:-3].lower() not in SCHEMES:
            raise InputError(f"{where}: {written!r} begins with none of {', '.join(SCHEMES)}")
        plain = re.split(r"[{*?\[]", written, maxsplit=1)[0]
        self.base = plain[: plain.rfind("/") + 1]
        self._pattern = written[len(self.base) :]
        self._store = objects.client(self.base, where)

    def shards(self) -> list[Shard]:
        """All of them, in the order of their names. Raises InputError for one that is not there,
        and where a server does not say which there are.
        """
        names = self._names()
        if not names:
            raise InputError(f"{self._where}: there is no .tar at {self.written}")
        with ThreadPoolExecutor(_AT_ONCE) as pool:
            return sorted(pool.map(self._shard, names), key=lambda shard: shard.stem)

    def _names(self) -> list[str]:
        pattern = self._pattern
        if "{" in pattern and not any(letter in pattern for letter in "*?["):
            return expanded(pattern)
        if pattern and not any(letter in pattern for letter in "*?[{"):
            return [pattern]
        if self.base.lower().startswith("http"):
            return self._listed(pattern)
        every = self._asked(lambda: [each["path"] for part in self._listing() for each in part])
        found = [name for name in every if name.lower().endswith(".tar")]
        if not pattern:
            return found
        kept: set[str] = set()
        for each in expanded(pattern):
            kept.update(name for name in found if fnmatch.fnmatchcase(name, each))
        return sorted(kept)

    def _listing(self) -> Any:
        import obstore

        return obstore.list(self._store)

    def _listed(self, pattern: str) -> list[str]:
        """The shards that a folder's own record names: of `headwater shard`, or of wids."""
        for name, key in ((NAME, "shards"), ("index.json", "shardlist")):
            try:
                said = digests.opened(bytes(self._asked(partial(self._get, name))))
            except (Missing, digests.Damaged):
                continue
            listed = said.get(key)
            if isinstance(listed, dict):
                return [f"{shard}.tar" for shard in listed]
            if isinstance(listed, list):
                names = [str(each["url"]) for each in listed if isinstance(each, dict)]
                return [name for name in names if ADDRESS.match(name) is None]
        raise InputError(
            f"{self._where}: a web server does not say which files it has; name the shards by "
            "their numbers, as http://server/folder/{00000..00331}.tar"
        )

    def _shard(self, name: str) -> Shard:
        try:
            told = self._asked(lambda: self._head(name))
        except Missing:
            raise InputError(f"{self._where}: there is no {self.base}{name}") from None
        beside: dict[str, Any] | None = None
        with contextlib.suppress(Missing):
            beside = self._asked(lambda: self._head(f"{name[:-4]}.parquet"))
        mark = hashlib.blake2b(str(told["e_tag"]).encode(), digest_size=16).hexdigest()
        return Shard(
            name=name[:-4] if name.lower().endswith(".tar") else name,
            path=self.base + name,
            size=int(told["size"]),
            mtime_ns=_nanoseconds(told),
            head=mark,
            beside=None if beside is None else f"{self.base}{name[:-4]}.parquet",
            beside_size=0 if beside is None else int(beside["size"]),
            beside_mtime_ns=0 if beside is None else _nanoseconds(beside),
        )

    def record(self) -> bytes | None:
        """What `headwater shard` says of the shards; None where there is no such record."""
        try:
            return self._asked(lambda: self._get(NAME))
        except Missing:
            return None

    # bringing shards here
    @contextlib.contextmanager
    def turn(self) -> Iterator[None]:
        """Within it no other process brings shards to the same folder."""
        self._kept.mkdir(parents=True, exist_ok=True)
        with (self._kept / ".turn").open("ab") as file:
            wait_for_turn(file)
            yield

    def fetch(self, shard: Shard) -> tuple[Path, Path | None]:
        """(a shard, the Parquet table beside it) as files on this machine; begun ones go on."""
        beside = None
        if shard.beside is not None:
            beside = self._brought(shard.beside, shard.beside_size, f"{shard.id()}.parquet")
        return self._brought(shard.path, shard.size, self._name(shard)), beside

    def release(self, shard: Shard) -> None:
        """Says that a shard was read through: it is removed where there is no room to keep it."""
        (self._kept / f"{shard.id()}.parquet").unlink(missing_ok=True)
        with self._lock:
            held = sum(path.stat().st_size for path in self._kept.glob("*.tar"))
            if held > self._limit:
                (self._kept / self._name(shard)).unlink(missing_ok=True)

    def local(self, shard: Shard) -> Path | None:
        """The file of a shard that was kept; None where it was not."""
        path = self._kept / self._name(shard)
        return path if path.is_file() and path.stat().st_size == shard.size else None

    @staticmethod
    def _name(shard: Shard) -> str:
        return f"{shard.id()}.tar"

    def _brought(self, address: str, size: int, name: str) -> Path:
        path, part = self._kept / name, self._kept / f"{name}.part"
        if path.is_file() and path.stat().st_size == size:
            return path
        self._kept.mkdir(parents=True, exist_ok=True)
        with part.open("ab") as file:
            at = file.tell()
            free = shutil.disk_usage(self._kept).free
            if size - at > free:
                raise InputError(
                    f"{self._where}: {address} has {size:,} bytes, and {self._kept} has room for "
                    f"{free:,}"
                )
            while at < size:
                end = min(size, at + _CHUNK)
                data = self.read(address[len(self.base) :], at, end - at)
                file.write(data)
                at += len(data)
        os.replace(part, path)
        return path

    # reading
    def read(self, name: str, begin: int, size: int) -> bytes:
        """Some bytes of a file. Raises InputError where they cannot be had."""
        try:
            return self._asked(lambda: self._range(name, begin, size))
        except Missing:
            raise InputError(f"{self.base}{name}: is no longer there") from None

    def read_many(self, asked: Sequence[tuple[str, int, int]]) -> list[bytes]:
        """`read` of several (name, begin, size), some at a time."""
        if len(asked) < 2:
            return [self.read(*each) for each in asked]
        with ThreadPoolExecutor(min(_AT_ONCE, len(asked))) as pool:
            return list(pool.map(lambda each: self.read(*each), asked))

    def _range(self, name: str, begin: int, size: int) -> bytes:
        import obstore

        data = bytes(obstore.get_range(self._store, name, start=begin, length=size))
        if len(data) != size:
            raise Cut(f"{len(data):,} of {size:,} bytes came")
        return data

    def _get(self, name: str) -> bytes:
        import obstore

        return bytes(obstore.get(self._store, name).bytes())

    def _head(self, name: str) -> dict[str, Any]:
        import obstore

        return dict(obstore.head(self._store, name))

    def _asked(self, ask: Callable[[], T]) -> T:
        """What a request gives, asked again where it fails for a reason that may pass."""
        return objects.asked(
            ask,
            lambda reason: InputError(f"{self._where}: {self.base} cannot be read ({reason})"),
        )


def kept_limit(folder: Path) -> float:
    """Bytes of shards that are kept on this machine: HEADWATER_CACHE_GB x 10^9 where it is set,
    otherwise KEPT_LIMIT or KEPT_SHARE of the free disk, whichever is less.
    """
    return cache_room(folder, KEPT_LIMIT, KEPT_SHARE)


def _nanoseconds(told: dict[str, Any]) -> int:
    return int(told["last_modified"].timestamp() * 1e9)
