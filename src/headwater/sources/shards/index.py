"""The index of a set of shards: built once, by as many processes as there are cores, and mapped.

    shards-<place>/index.json   what each shard is known by, where its samples begin, a digest
                   samples.bin  32 bytes a sample, shard by shard, in the order of their keys
                   keys.bin     ids within each shard, packed: a few bytes each
                   fields/<id>  what stands beside the images, a Parquet table a shard
                   parts/<id>   shards that were read through, until all were

A shard that was read through is not read again when the others change, or when the process that
built the index was killed.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import queue
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater import digests
from headwater.errors import InputError
from headwater.files import atomic_path, blamed_on_file, file_sha256, write_atomic
from headwater.machine import cores
from headwater.sources.shards.answering import answer
from headwater.sources.shards.fields import joined
from headwater.sources.shards.parts import (
    SAMPLE,
    Written,
    read_fields,
    read_written,
    unpack_keys,
)
from headwater.sources.shards.places import Shard

_INDEX, _SAMPLES, _KEYS, _FIELDS = "index.json", "samples.bin", "keys.bin", "fields"
_FORM = 2
"""Raised where the form of the index changes, or what is read of a shard."""
_FEW_BYTES = 64 << 20
"""Shards of so many bytes together are read by this process: to start others takes longer
[ours].
"""
_TELL_EVERY_S = 20.0
_TRIES = 4
_COMMAND = (sys.executable, "-P", "-m", "headwater.sources.shards.jobs")


class Elsewhere(Protocol):
    """Shards that do not lie on this machine."""

    def fetch(self, shard: Shard) -> tuple[Path, Path | None]:
        """(a shard, the Parquet table beside it) as files on this machine."""
        ...

    def release(self, shard: Shard) -> None:
        """Says that a shard was read through."""
        ...


@dataclass(frozen=True, eq=False)
class Index:
    """Where every sample of a set of shards lies."""

    folder: Path
    samples: NDArray[Any]
    """SAMPLE [num_samples], mapped: read-only."""
    starts: tuple[int, ...]
    """The first sample of each shard, and the number of all."""
    key_starts: tuple[int, ...]
    """The first byte of each shard's keys in keys.bin, and the number of all."""
    fields: tuple[str, ...]
    """Names of what stands beside the images, of any shard."""
    left_out: tuple[dict[str, int], ...]
    """Of each shard, what was not read, counted by reason."""
    parts: tuple[str, ...]
    """What each shard is known by: its place, size, time and beginning."""

    def __len__(self) -> int:
        return len(self.samples)

    def ids(self, stems: Sequence[str]) -> Any:
        """large_string [num_samples]: what stands before each shard's keys, and the key."""
        packed = (self.folder / _KEYS).read_bytes()
        found = []
        for at, stem in enumerate(stems):
            own = packed[self.key_starts[at] : self.key_starts[at + 1]]
            keys = unpack_keys(own, self.starts[at + 1] - self.starts[at])
            found.append(_behind(stem, keys))
        return pa.chunked_array(found, pa.large_string()).combine_chunks()

    def column(self, name: str) -> Any:
        """A field of every sample: large_string, or lists of it; null where there is none. Raises
        InputError for a file of fields that is damaged.
        """
        tables, lengths = [], []
        for at, part in enumerate(self.parts):
            path = self.folder / _FIELDS / part
            try:
                tables.append(read_fields(path, name))
            except (OSError, digests.Damaged) as error:
                path.unlink(missing_ok=True)
                raise InputError(
                    f"{path}: is damaged ({digests.reason(error)}), and was removed; start again, "
                    "and its shard is read anew"
                ) from None
            lengths.append(self.starts[at + 1] - self.starts[at])
        whole = joined(tables, name, lengths)
        del tables
        pa.default_memory_pool().release_unused()  # as much again, of a corpus
        return whole


def _behind(stem: str, keys: Any) -> Any:
    kind = pa.large_string()
    return pc.binary_join_element_wise(pa.scalar(stem, kind), keys, pa.scalar("", kind))


def open_index(
    shards: Sequence[Shard],
    folder: Path,
    *,
    title: str,
    image: str | None = None,
    elsewhere: Elsewhere | None = None,
    workers: int | None = None,
) -> Index:
    """The index of shards, kept in `folder`; built where it is not there or does not fit.

    `title` is what messages call the set, `image` the ending of its images where samples hold
    several, `elsewhere` brings shards here that lie on other machines. Raises InputError for a
    shard that cannot be used.
    """
    names = _names(shards, image)
    before = _opened(folder, title)
    if before is not None and before.parts == tuple(names) and _has_fields(before):
        return before
    for attempt in range(_TRIES):
        try:
            with blamed_on_file(folder):
                _build(shards, names, folder, before, title, image, elsewhere, workers)
        except FileNotFoundError:  # another process has built it meanwhile, and tidied up
            if attempt == _TRIES - 1:
                raise
        before = _opened(folder, title)
        if before is not None and before.parts == tuple(names) and _has_fields(before):
            return before
    raise InputError(f"{title}: its index {folder} cannot be read back; is the disk full?")


def _names(shards: Sequence[Shard], image: str | None) -> list[str]:
    return [shard.id(image, _FORM) for shard in shards]


def fits(folder: Path, shards: Sequence[Shard], image: str | None) -> bool:
    """Whether a folder holds the whole index of shards, as they are now."""
    try:
        said = digests.read_record(folder / _INDEX)
    except (OSError, ValueError):
        return False
    return said.get("index") == _FORM and said.get("parts") == _names(shards, image)


def _has_fields(index: Index) -> bool:
    fields = index.folder / _FIELDS
    return fields.is_dir() and {path.name for path in fields.iterdir()}.issuperset(index.parts)


def _opened(folder: Path, title: str) -> Index | None:
    """The index that is in a folder; None where there is none that can be used."""
    path = folder / _INDEX
    try:
        said = digests.read_record(path)
        if said.get("index") != _FORM:
            return None
        file = folder / _SAMPLES
        starts, key_starts = tuple(said["starts"]), tuple(said["key_starts"])
        if [file_sha256(file), file_sha256(folder / _KEYS)] != said["sha256"]:
            raise digests.Damaged("it is not what was written: its digest is another")
        empty = starts[-1] == 0
        mapped = np.zeros(0, SAMPLE) if empty else np.memmap(file, dtype=SAMPLE, mode="r")
        return Index(
            folder=folder,
            samples=mapped.view(np.ndarray),
            starts=starts,
            key_starts=key_starts,
            fields=tuple(said["fields"]),
            left_out=tuple(said["left_out"]),
            parts=tuple(said["parts"]),
        )
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, TypeError) as error:
        digests.made_again(path, digests.reason(error), f"the index of {title}")
        return None


# building
def _build(
    shards: Sequence[Shard],
    names: Sequence[str],
    folder: Path,
    before: Index | None,
    title: str,
    image: str | None,
    elsewhere: Elsewhere | None,
    workers: int | None,
) -> None:
    parts = folder / "parts"
    for place in (parts, folder / _FIELDS):
        place.mkdir(parents=True, exist_ok=True)
    known = {} if before is None else {part: at for at, part in enumerate(before.parts)}
    jobs = [
        (shard, name)
        for shard, name in zip(shards, names, strict=True)
        if not _is_read(folder, name, known)
    ]
    _read_through(jobs, parts, title, image, elsewhere, workers)
    _join(names, folder, before, known)
    for name in names:
        (parts / name).unlink(missing_ok=True)
    with contextlib.suppress(OSError):  # another process has parts of its own there
        parts.rmdir()
    _remove_others(folder / _FIELDS, set(names))


def _is_read(folder: Path, name: str, known: dict[str, int]) -> bool:
    """Whether a shard needs no reading: it is in the index of before, or its part waits to be taken
    up.
    """
    fields, part = folder / _FIELDS / name, folder / "parts" / name
    if name in known:
        return fields.is_file()
    try:
        read_written(part)
    except (OSError, digests.Damaged):
        return False
    return fields.is_file()


def _read_through(
    jobs: Sequence[tuple[Shard, str]],
    parts: Path,
    title: str,
    image: str | None,
    elsewhere: Elsewhere | None,
    workers: int | None,
) -> None:
    total = sum(shard.size for shard, _ in jobs)
    count = min(workers or cores(), len(jobs))
    told = _Telling(title, len(jobs), total)
    here = total <= _FEW_BYTES

    def job(shard: Shard, name: str) -> dict[str, Any]:
        path, beside = shard.path, shard.beside
        if elsewhere is not None:
            file, table = elsewhere.fetch(shard)
            path, beside = str(file), None if table is None else str(table)
        return {
            "path": path,
            "stem": shard.stem,
            "beside": beside,
            "image": image,
            "where": f"{title}: {shard.path}",
            "part": str(parts / name),
            "fields": str(parts.parent / _FIELDS / name),
        }

    waiting: queue.SimpleQueue[tuple[Shard, str]] = queue.SimpleQueue()
    for pair in jobs:
        waiting.put(pair)
    failed: list[BaseException] = []

    def work() -> None:
        with contextlib.ExitStack() as stack:
            asked = answer if here else stack.enter_context(_Reader()).answer
            following = _next(waiting)
            while following is not None and not failed:
                shard, name = following
                following = _next(waiting)
                if following is not None and elsewhere is None:
                    _read_ahead(following[0].path)
                said = asked(job(shard, name))
                if "wrong" in said:
                    raise InputError(said["wrong"])
                if "error" in said:
                    raise InputError(
                        f"{title}: the index of {shard.path} cannot be written ({said['error']}); "
                        f"it goes to {parts.parent}"
                    )
                if elsewhere is not None:
                    elsewhere.release(shard)
                told.done(shard.size)

    def guarded() -> None:
        try:
            work()
        except BaseException as error:
            failed.append(error)

    threads = [threading.Thread(target=guarded, daemon=True) for _ in range(count)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    if failed:
        raise failed[0]


def _next(waiting: queue.SimpleQueue[tuple[Shard, str]]) -> tuple[Shard, str] | None:
    try:
        return waiting.get_nowait()
    except queue.Empty:
        return None


def _read_ahead(path: str) -> None:
    """Asks the system to bring a file into its memory, while another one is worked on."""
    if hasattr(os, "posix_fadvise"):
        with contextlib.suppress(OSError):
            handle = os.open(path, os.O_RDONLY)
            try:
                os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_WILLNEED)
            finally:
                os.close(handle)


class _Reader:
    """A process that reads shards through."""

    def __enter__(self) -> _Reader:
        self._process = subprocess.Popen(
            _COMMAND, stdin=subprocess.PIPE, stdout=subprocess.PIPE, encoding="utf-8"
        )
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        for stream in (self._process.stdin, self._process.stdout):
            assert stream is not None
            with contextlib.suppress(OSError, ValueError):
                stream.close()
        self._process.wait()

    def answer(self, job: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None and self._process.stdout is not None
        try:
            self._process.stdin.write(json.dumps(job) + "\n")
            self._process.stdin.flush()
            line = self._process.stdout.readline()
        except BrokenPipeError:
            line = ""
        if not line.endswith("\n"):
            return {"error": "the process that reads shards ended (out of memory?); start again"}
        said: dict[str, Any] = json.loads(line)
        return said


class _Telling:
    """Says on the way how far the reading is, where it takes long."""

    def __init__(self, title: str, count: int, total: int) -> None:
        self._title, self._count, self._total = title, count, total
        self._began = self._told = time.monotonic()
        self._done, self._bytes, self._lock = 0, 0, threading.Lock()

    def done(self, size: int) -> None:
        with self._lock:
            self._done, self._bytes = self._done + 1, self._bytes + size
            now = time.monotonic()
            if now - self._told < _TELL_EVERY_S or self._done == self._count:
                return
            self._told = now
            rate = self._bytes / (now - self._began)
            left = (self._total - self._bytes) / rate
            digests.tell(
                f"{self._title}: {self._done:,} of {self._count:,} shards read through, once "
                f"({rate / 1e9:.2f} GB/s, {left / 60:.0f} minutes left)"
            )


def _join(names: Sequence[str], folder: Path, before: Index | None, known: dict[str, int]) -> None:
    """Writes the index from its parts, one after the other."""
    old_keys = b"" if before is None else (folder / "keys.bin").read_bytes()
    starts, key_starts, fields, left_out = [0], [0], dict[str, None](), list[dict[str, int]]()
    all_samples, all_keys = hashlib.sha256(), hashlib.sha256()
    with (
        atomic_path(folder / _SAMPLES) as samples_path,
        atomic_path(folder / _KEYS) as keys_path,
        samples_path.open("wb") as samples_out,
        keys_path.open("wb") as keys_out,
    ):
        for name in names:
            part = _part_of(folder, name, before, known, old_keys)
            data = np.ascontiguousarray(part.samples).tobytes()
            all_samples.update(data)
            all_keys.update(part.keys)
            samples_out.write(data)
            keys_out.write(part.keys)
            starts.append(starts[-1] + len(part.samples))
            key_starts.append(key_starts[-1] + len(part.keys))
            fields |= dict.fromkeys(part.fields)
            left_out.append(part.left_out)
    record = {
        "index": _FORM,
        "sha256": [all_samples.hexdigest(), all_keys.hexdigest()],
        "starts": starts,
        "key_starts": key_starts,
        "fields": list(fields),
        "left_out": left_out,
        "parts": list(names),
    }
    write_atomic(folder / _INDEX, json.dumps(digests.sealed(record)))


def _part_of(
    folder: Path, name: str, before: Index | None, known: dict[str, int], old_keys: bytes
) -> Written:
    """What is known of a shard: from the index of before, or as it was read."""
    if before is None or name not in known:
        return read_written(folder / "parts" / name)
    at = known[name]
    return Written(
        before.samples[before.starts[at] : before.starts[at + 1]],
        old_keys[before.key_starts[at] : before.key_starts[at + 1]],
        before.left_out[at],
        before.fields,
    )


def _remove_others(folder: Path, names: set[str]) -> None:
    """Removes fields of shards that are no longer there."""
    for path in folder.iterdir():
        if path.name not in names and not path.name.startswith("."):
            path.unlink(missing_ok=True)
