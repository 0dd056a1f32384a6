"""Digests of files' bytes, remembered by path, size and time of modification, so that an unchanged
file is read once.
"""

from __future__ import annotations

import hashlib
import os
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

from headwater.files import atomic_path, unless_read_only

_VERSION = b"1"
_CHUNK = 4096
"""Files per task of the thread pool."""


@dataclass
class ByteHashes:
    """BLAKE2b-128 digests, in hex, of a list of files.

    `opened(position)` opens one, `stat(position)` asks for its size and time.
    """

    ids: NDArray[np.object_]
    opened: Callable[[int], BufferedReader]
    stat: Callable[[int], os.stat_result]
    cache: Path | None = None
    """A Parquet file that outlives the process.

    One that is damaged, or of another version, is ignored and written anew.
    """

    def __post_init__(self) -> None:
        self._size = np.full(len(self.ids), -1, dtype=np.int64)
        self._mtime = np.full(len(self.ids), -1, dtype=np.int64)
        self._digest = np.full(len(self.ids), "", dtype=object)
        self._loaded = self.cache is None

    def __call__(self, positions: NDArray[np.int64]) -> list[str]:
        """Digests of some files, in the order of `positions`.

        Every file is asked for its size and time; what changed is read, by threads.
        """
        if not self._loaded:
            self._load()
            self._loaded = True
        wanted = np.unique(positions)
        chunks = [wanted[row : row + _CHUNK] for row in range(0, len(wanted), _CHUNK)]
        with ThreadPoolExecutor(max_workers=min(16, 4 * (os.cpu_count() or 1))) as pool:
            stale = np.concatenate([np.empty(0, dtype=np.int64), *pool.map(self._stale, chunks)])
            small = max(1, min(_CHUNK, len(stale) // 64))
            parts = [stale[start : start + small] for start in range(0, len(stale), small)]
            list(pool.map(self._hash, parts))
        if len(stale) and self.cache is not None:
            with unless_read_only():
                self._save(self.cache)
        digests: list[str] = self._digest[positions].tolist()
        return digests

    def _stale(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        now = [self.stat(position) for position in positions.tolist()]
        same = self._size[positions] == np.array([s.st_size for s in now], dtype=np.int64)
        same &= self._mtime[positions] == np.array([s.st_mtime_ns for s in now], dtype=np.int64)
        stale: NDArray[np.int64] = positions[~same]
        return stale

    def _hash(self, positions: NDArray[np.int64]) -> None:
        for position in positions.tolist():
            with self.opened(position) as file:
                # Before the bytes, so that a file that changes meanwhile is seen as changed.
                stat = os.fstat(file.fileno())
                digest = hashlib.file_digest(
                    file, lambda: hashlib.blake2b(digest_size=16)
                ).hexdigest()
            self._digest[position] = digest
            self._size[position], self._mtime[position] = stat.st_size, stat.st_mtime_ns

    def _load(self) -> None:
        assert self.cache is not None
        try:
            table: Any = pq.read_table(self.cache, partitioning=None)
            if (table.schema.metadata or {}).get(b"headwater.hashes") != _VERSION:
                return
            rows = pd.Index(self.ids).get_indexer(pd.Index(table["id"].to_numpy(), dtype=object))
            size, mtime, digest = (
                table[name].to_numpy() for name in ("size", "mtime_ns", "digest")
            )
            known = rows >= 0
            self._size[rows[known]] = size[known].astype(np.int64)
            self._mtime[rows[known]] = mtime[known].astype(np.int64)
            self._digest[rows[known]] = digest[known]
        except (OSError, pa.ArrowException, KeyError, ValueError, TypeError):
            self.__post_init__()  # absent or damaged: all that it saves is time

    def _save(self, cache: Path) -> None:
        """Written beside, then renamed: of two processes the later one wins, and what it did not
        know is read again some day.
        """
        known = np.flatnonzero(self._size >= 0)
        columns = {
            "id": self.ids[known],
            "size": self._size[known],
            "mtime_ns": self._mtime[known],
            "digest": self._digest[known],
        }
        table: Any = pa.table({name: pa.array(values) for name, values in columns.items()})
        with atomic_path(cache) as temporary:
            pq.write_table(
                table.replace_schema_metadata({b"headwater.hashes": _VERSION}), temporary
            )
