"""Digests of files' bytes, remembered by path, size, times of modification and of change and inode,
so that an unchanged file is read once (headwater.sources.file_state).
"""

from __future__ import annotations

import hashlib
import io
import os
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from io import BufferedReader
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headwater.digests import Damaged, framed, made_again, reading, reason, unframed
from headwater.files import unless_read_only, write_atomic
from headwater.sources.file_state import STATE, settle, state_of

_KIND = "hashes 2"
"""Raised where the form of the kept file changes; another one is written anew without a word."""
_FIRST, _CHUNK = 64, 1024
"""Files that are asked one after another, and files per task of the threads after them."""
_QUICK_S = 1e-4
"""A file that takes no longer is on this machine's own disk, or in its memory: more threads than
cores would only wait for each other there. On a disk far away they wait together [ours].
"""
_AT_ONCE = 1 << 20
"""Bytes that are read at a time, of files that are no smaller."""
_LEAST_BYTES = 16
"""Of the file for each row that it may hold: a digest alone takes as much."""


@dataclass
class ByteHashes:
    """BLAKE2b-128 digests, in hex, of a list of files.

    `opened(position)` opens one, `stat(position)` asks for its size and times.
    """

    ids: NDArray[np.object_]
    opened: Callable[[int], BufferedReader]
    stat: Callable[[int], os.stat_result]
    cache: Path | None = None
    """A file that outlives the process: Parquet behind its digest (headwater.digests).

    One that is damaged is written anew and told; so is one of another version, without a word.
    """

    def __post_init__(self) -> None:
        self._state = np.full((len(self.ids), len(STATE)), -1, dtype=np.int64)
        self._digest = np.full(len(self.ids), "", dtype=object)
        self._loaded = self.cache is None

    def __call__(self, positions: NDArray[np.int64]) -> list[str]:
        """Digests of some files, in the order of `positions`.

        Every file is asked for its size and times; what changed is read, by threads.
        """
        if not self._loaded:
            self._load()
            self._loaded = True
        wanted = np.unique(positions)
        stale = np.concatenate([np.empty(0, dtype=np.int64), *_shared(self._stale, wanted)])
        _shared(self._hash, stale)
        if len(stale) and self.cache is not None:
            with unless_read_only():
                self._save(self.cache)
        digests: list[str] = self._digest[positions].tolist()
        return digests

    def _stale(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        now = [state_of(self.stat(position)) for position in positions.tolist()]
        same = (self._state[positions] == np.array(now, dtype=np.int64)).all(axis=1)
        stale: NDArray[np.int64] = positions[~same]
        return stale

    def _hash(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        for position in positions.tolist():
            with self.opened(position) as file:
                # Before the bytes, so that a file that changes meanwhile is seen as changed.
                stat = os.fstat(file.fileno())
                settle(stat.st_ctime_ns)
                digest = hashlib.blake2b(digest_size=16)
                if stat.st_size < _AT_ONCE:
                    digest.update(file.read())
                while part := file.read(_AT_ONCE):
                    digest.update(part)
            self._digest[position] = digest.hexdigest()
            self._state[position] = state_of(stat)
        return positions

    def _load(self) -> None:
        assert self.cache is not None
        try:
            data = unframed(_KIND, self.cache.read_bytes())
            if data is not None:
                reading(lambda: self._take(data))
        except FileNotFoundError:
            pass
        except (OSError, Damaged) as error:  # all that it saves is time
            self.__post_init__()
            made_again(self.cache, reason(error), "this list of digests")

    def _take(self, data: bytes) -> None:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            if file.metadata.num_rows * _LEAST_BYTES > len(data):
                raise Damaged(f"its header promises {file.metadata.num_rows} rows")
            table: Any = file.read()
        rows = pd.Index(self.ids).get_indexer(pd.Index(table["id"].to_numpy(), dtype=object))
        known = rows >= 0
        state = np.stack([table[name].to_numpy() for name in STATE], axis=1)
        self._state[rows[known]] = state[known].astype(np.int64)
        self._digest[rows[known]] = table["digest"].to_numpy()[known]

    def _save(self, cache: Path) -> None:
        """Written beside, then renamed: of two processes the later one wins, and what it did not
        know is read again some day.
        """
        known = np.flatnonzero(self._state[:, 0] >= 0)
        columns = {"id": self.ids[known], "digest": self._digest[known]}
        columns |= {name: self._state[known, at] for at, name in enumerate(STATE)}
        table: Any = pa.table({name: pa.array(values) for name, values in columns.items()})
        buffer = io.BytesIO()
        pq.write_table(table, buffer)
        write_atomic(cache, framed(_KIND, buffer.getvalue()))


def _shared(
    work: Callable[[NDArray[np.int64]], NDArray[np.int64]], positions: NDArray[np.int64]
) -> list[NDArray[np.int64]]:
    """What `work` makes of parts of some positions, in their order, by threads."""
    if not len(positions):
        return []
    began = time.perf_counter()
    made = [work(positions[:_FIRST])]
    rest = positions[_FIRST:]
    quick = time.perf_counter() - began < _QUICK_S * _FIRST
    cores = os.cpu_count() or 1
    size = _CHUNK if quick else max(1, min(_CHUNK, len(rest) // _FIRST))
    parts = [rest[start : start + size] for start in range(0, len(rest), size)]
    if len(parts) > 1:
        with ThreadPoolExecutor(max_workers=cores if quick else min(16, 4 * cores)) as pool:
            return made + list(pool.map(work, parts))
    return made + [work(part) for part in parts]
