"""Images in shards: tars of image-text pairs, as webdataset and img2dataset write them, read where
they lie.
"""

from __future__ import annotations

import os
import threading
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Sequence
from contextlib import suppress
from functools import cached_property
from hashlib import blake2b
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import BadImage, Positions, Source, Table
from headwater.sources.formats import MAX_FILE_BYTES
from headwater.sources.shards.index import Index
from headwater.sources.shards.parts import NOWHERE
from headwater.sources.shards.places import Shard
from headwater.sources.shards.remote import Remote
from headwater.sources.shards.tables import table_of
from headwater.sources.shards.tar import BLOCK

_OPEN = 128
"""Shards that are open at a time: most systems let a process open 1,024 files [ours]."""
_AT_ONCE = 1 << 16
_HEX = np.frombuffer(b"0123456789abcdef", dtype=np.uint8)


class ShardSource(Source):
    """The samples of shards, by the byte at which each begins.

    An image is read by its place, so any order and any subset cost the same, nothing is unpacked,
    and no process needs to have read what stands before it. `names_ids` is the field that names
    samples, where they are not called by shard and key. Raises InputError for shards that cannot be
    used.
    """

    def __init__(
        self,
        name: str,
        root: Path | None,
        shards: Sequence[Shard],
        index: Index,
        *,
        names_ids: str | None = None,
        packed: bool = False,
        cache: Path | None = None,
        remote: Remote | None = None,
    ) -> None:
        self.name, self.root = name, root
        self._shards, self._index, self._remote = tuple(shards), index, remote
        self._starts = list(index.starts)
        if cache is not None:
            self.verdicts = cache
        self._open: OrderedDict[int, _File] = OrderedDict()
        self._lock = threading.Lock()
        notes: list[str] = []
        found = table_of(name, self._shards, index, names_ids, packed, notes)
        self.table: Table = found.table
        self._rows = found.rows
        """int64 [num_samples] or None: the sample of the index at each position, where not the
        same.
        """
        self._own_ids = names_ids is None
        self._samples = index.samples
        self.notes = (*notes, *_notes(index))

    @cached_property
    def hashes(self) -> NDArray[np.int64]:
        """int64 [len(table)]: as of every source; they stand in the index, where shard and key name
        the samples.
        """
        if not self._own_ids:
            return super().hashes
        found = np.ascontiguousarray(self._samples["hash"]).astype(np.int64)
        return found if self._rows is None else found[self._rows]

    def image(self, position: int) -> bytes:
        """The encoded image. Raises BadImage where a sample has none, and InputError where its
        shard cannot be read.
        """
        at, begin, size = self._place(position)
        if self._remote is not None and self._remote.local(self._shards[at]) is None:
            return self._brought([(at, begin, size)], np.array([position]))[0]
        data = self._file(at).read(begin, size)
        if len(data) != size:
            raise self._changed(at)
        return data

    def images(self, positions: Positions) -> list[bytes]:
        """`image` of several, held to their digests; of shards that lie elsewhere several are asked
        for at a time.
        """
        if self._remote is None:
            return self._read_here(positions)
        places = [self._place(position) for position in positions.tolist()]
        asked = {at for at, _, _ in places}
        here = {at: self._remote.local(self._shards[at]) for at in asked}
        is_far = np.array([here[at] is None for at, _, _ in places], dtype=bool)
        far = np.flatnonzero(is_far).tolist()
        came = self._brought([places[number] for number in far], positions[is_far])
        found = dict(zip(far, came, strict=True))
        near = np.flatnonzero(~is_far).tolist()
        found |= zip(near, self._read_here(positions[~is_far]), strict=True)
        return [found[number] for number in range(len(positions))]

    def _read_here(self, positions: Positions) -> list[bytes]:
        """`images` of shards that all lie here, each held to its digest."""
        rows = positions if self._rows is None else self._rows[positions]
        samples = self._samples[rows]
        blocks, sizes = samples["block"], samples["size"]
        bad = np.flatnonzero((blocks == NOWHERE) | (sizes > MAX_FILE_BYTES))
        if len(bad):
            raise self._bad(int(positions[bad[0]]), int(blocks[bad[0]]))
        shards = (np.searchsorted(self._starts, rows, side="right") - 1).tolist()
        begins = (blocks.astype(np.int64) * BLOCK).tolist()
        known = samples["digest"].tobytes()
        ends = range(16, len(known) + 1, 16)
        read = []
        for at, begin, size, end in zip(shards, begins, sizes.tolist(), ends, strict=True):
            data = self._file(at).read(begin, size)
            if blake2b(data, digest_size=16).digest() != known[end - 16 : end]:
                raise self._damaged(at, int(positions[end // 16 - 1]))
            read.append(data)
        return read

    def _brought(self, places: list[tuple[int, int, int]], positions: Positions) -> list[bytes]:
        """Images of shards that lie elsewhere, held to their digests."""
        assert self._remote is not None
        names = [self._shards[at].path[len(self._remote.base) :] for at, _, _ in places]
        asked = [(name, begin, size) for name, (_, begin, size) in zip(names, places, strict=True)]
        came = self._remote.read_many(asked)
        known = zip(places, positions.tolist(), came, self.digests(positions), strict=True)
        for (at, _, _), position, data, digest in known:
            if blake2b(data, digest_size=16).hexdigest().encode() != digest:
                raise self._damaged(at, position)
        return came

    def _place(self, position: int) -> tuple[int, int, int]:
        """(shard, byte, size) of an image. Raises BadImage where a sample has none."""
        row = position if self._rows is None else int(self._rows[position])
        sample = self._samples[row]
        block, size = int(sample["block"]), int(sample["size"])
        if block == NOWHERE or size > MAX_FILE_BYTES:
            raise self._bad(position, block)
        return bisect_right(self._starts, row) - 1, block * BLOCK, size

    def _changed(self, at: int) -> InputError:
        return InputError(f"{self._shards[at].path}: has changed since it was opened; start again")

    def _damaged(self, at: int, position: int) -> InputError:
        """Of an image that is not the one that was indexed."""
        shard = self._shards[at]
        kept = None if self._remote is None else self._remote.local(shard)
        if self._remote is not None and kept is None:
            return self._changed(at)
        with suppress(OSError):
            now = os.stat(kept or shard.path)
            if now.st_size != shard.size or (kept is None and now.st_mtime_ns != shard.mtime_ns):
                return self._changed(at)
        advice = "get the shard again" if kept is None else "remove it, and it is got again"
        return InputError(
            f"{kept or shard.path}: the image {self.table.ids[position]!r} is not the one that was "
            f"indexed, though the file has its size and time: it is damaged; {advice}, or give the "
            "file another time, and it is indexed anew"
        )

    def _bad(self, position: int, block: int) -> BadImage:
        where = f"{self.name}: {self.table.ids[position]!r}"
        if block == NOWHERE:
            return BadImage(f"{where} has no image", "no image in the sample")
        most = MAX_FILE_BYTES >> 20
        return BadImage(
            f"{where} is larger than {most} MiB, which no image here should be", f"over {most} MiB"
        )

    def _file(self, at: int) -> _File:
        """An open shard; the last ones that were asked for are kept open."""
        with self._lock:
            found = self._open.get(at)
            if found is not None:
                self._open.move_to_end(at)
                return found
            shard = self._shards[at]
            kept = None if self._remote is None else self._remote.local(shard)
            found = self._open[at] = _File(shard, kept)
            while len(self._open) > _OPEN:
                self._open.popitem(last=False)  # closed when its last reader has let go of it
            return found

    def digests(self, positions: Positions) -> NDArray[np.bytes_]:
        """bytes [len(positions)]: hex BLAKE2b-128 of each image's bytes, from the index."""
        rows = positions if self._rows is None else self._rows[positions]
        out = np.empty((len(rows), 32), dtype=np.uint8)
        known = self._samples["digest"]
        for start in range(0, len(rows), _AT_ONCE):
            some = slice(start, start + _AT_ONCE)
            raw = np.ascontiguousarray(known[rows[some]]).view(np.uint8).reshape(-1, 16)
            out[some, 0::2], out[some, 1::2] = _HEX[raw >> 4], _HEX[raw & 15]
        return out.view("S32")[:, 0] if len(rows) else np.zeros(0, dtype="S32")

    def byte_hashes(self, positions: Positions) -> list[str]:
        """Hex BLAKE2b-128 of each image's bytes, in order."""
        return self.digests(positions).astype("U32").tolist()  # type: ignore[no-any-return]


class _File:
    """A shard that is open. It is read by place and size, so that several threads can at once; a
    mapped file that somebody shortens would end the process.
    """

    def __init__(self, shard: Shard, kept: Path | None) -> None:
        self._handle = -1
        try:
            self._handle = os.open(kept or shard.path, os.O_RDONLY | getattr(os, "O_CLOEXEC", 0))
            status = os.fstat(self._handle)
        except OSError as error:
            raise InputError(f"{shard.path}: cannot be read ({error.strerror or error})") from None
        known = (shard.size, status.st_mtime_ns if kept else shard.mtime_ns)
        if (status.st_size, status.st_mtime_ns) != known:
            raise InputError(f"{shard.path}: has changed since it was opened; start again")
        self._path = shard.path

    def read(self, begin: int, size: int) -> bytes:
        try:
            return os.pread(self._handle, size, begin)
        except OSError as error:
            raise InputError(f"{self._path}: cannot be read ({error.strerror or error})") from None

    def __del__(self) -> None:
        if self._handle >= 0:
            os.close(self._handle)


def _notes(index: Index) -> list[str]:
    """What was not read of the shards, a sentence."""
    together: dict[str, int] = {}
    kinds: dict[str, None] = {}
    for part in index.left_out:
        for reason, count in part.items():
            if reason.startswith("members ."):
                kinds[reason.removeprefix("members ")] = None
            else:
                together[reason] = together.get(reason, 0) + count
    notes = [f"not read: {count:,} {reason}" for reason, count in together.items()]
    if kinds:
        notes.append(f"members that are not read: {', '.join(sorted(kinds)[:8])}")
    return notes
