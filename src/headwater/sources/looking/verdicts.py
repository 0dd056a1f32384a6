"""What was found wrong with files, remembered by each file's identity, so that a file is opened
once.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import PIL
import pyarrow as pa
import pyarrow.parquet as pq
import simplejpeg
from numpy.typing import NDArray

from headwater.files import atomic_path, unless_read_only
from headwater.sources.pixels.decoding import RECIPE

_VERSION = 1
"""Raised by hand when a file is judged otherwise."""
_NUMBERS = ("size", "mtime_ns", "ctime_ns", "inode")


def identity_of(status: os.stat_result) -> tuple[int, ...]:
    """What changes when a file does: size, times of modification and of change, inode."""
    return status.st_size, status.st_mtime_ns, status.st_ctime_ns, status.st_ino


@dataclass
class Verdicts:
    """Verdicts on the files of one source, by sample id: '' for one that can be read, or what is
    wrong with it.

    `path` is a Parquet file that outlives the process; one that is damaged, or of another version
    of the decoders, is made anew.
    """

    path: Path | None
    _known: dict[str, tuple[tuple[int, ...], str]] = field(default_factory=dict)
    _new: int = 0

    def __post_init__(self) -> None:
        if self.path is None:
            return
        try:
            table: Any = pq.read_table(self.path, partitioning=None)
            columns = {name: table[name].to_pylist() for name in ("id", *_NUMBERS, "kind")}
            said = (table.schema.metadata or {}).get(b"headwater.verdicts")
            if said != _mark(columns):
                return
        # whatever a reader raises on a damaged file: all that it saves is time
        except Exception:
            return
        numbers = zip(*(columns[name] for name in _NUMBERS), strict=True)
        for sample, identity, kind in zip(columns["id"], numbers, columns["kind"], strict=True):
            self._known[sample] = (identity, kind)

    def of(self, sample: str, status: os.stat_result) -> str | None:
        """The verdict on a file as it is now; None where there is none."""
        known = self._known.get(sample)
        return known[1] if known is not None and known[0] == identity_of(status) else None

    def put(self, sample: str, status: os.stat_result, kind: str) -> None:
        """Takes up a verdict on a file whose identity was asked before it was opened."""
        self._known[sample] = (identity_of(status), kind)
        self._new += 1

    def save(self) -> None:
        """Written beside, then renamed; nothing where nothing is new or the folder may only be
        read.
        """
        if self.path is None or not self._new:
            return
        columns: dict[str, list[Any]] = {"id": list(self._known)}
        for at, name in enumerate(_NUMBERS):
            columns[name] = [identity[at] for identity, _ in self._known.values()]
        columns["kind"] = [kind for _, kind in self._known.values()]
        types = {"id": pa.large_string(), "kind": pa.string()}
        table: Any = pa.table(
            {name: pa.array(own, types.get(name, pa.uint64())) for name, own in columns.items()}
        )
        with unless_read_only(), atomic_path(self.path) as temporary:
            mark = {b"headwater.verdicts": _mark(columns)}
            pq.write_table(table.replace_schema_metadata(mark), temporary)
        self._new = 0


def _mark(columns: Mapping[str, list[Any]]) -> bytes:
    """A version and a digest: who judged, and what was written."""
    digest = hashlib.blake2b(digest_size=16)
    for name in ("id", "kind"):
        digest.update("\x00".join(columns[name]).encode("utf-8", "surrogatepass"))
    for name in _NUMBERS:
        numbers: NDArray[np.uint64] = np.array(columns[name], dtype=np.uint64)
        digest.update(numbers.tobytes())
    judges = f"{_VERSION} {RECIPE} {PIL.__version__} {simplejpeg.__version__}"
    return f"{judges} {digest.hexdigest()}".encode()
