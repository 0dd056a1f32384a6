"""One shard read through once: where each image lies, a digest of its bytes, and what stands
beside it.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import os
import unicodedata
import uuid
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headwater import digests
from headwater.errors import InputError
from headwater.sources.shards.fields import fields_of
from headwater.sources.shards.samples import samples
from headwater.sources.shards.tar import BLOCK, LONGEST_NAME, members

KIND = "shard part 1"
"""Raised where the form of the kept file changes."""
SAMPLE = np.dtype(
    [("block", "<u4"), ("size", "<u4"), ("digest", "<u8", 2), ("hash", "<i8")], align=False
)
"""32 bytes of a sample: the block of the tar at which its image begins, the image's bytes, their
BLAKE2b-128, and the keyed hash of its id (headwater.keys).
"""
NOWHERE = (1 << 32) - 1
"""The block of a sample without an image."""
_CODEC = "zstd"
_TRIES = 5
_IN_MEMORY = 256 << 20
"""Bytes of a shard that is read whole; a larger one is mapped [ours]."""


@dataclass(frozen=True)
class Part:
    """What one shard holds, samples in the order of their ids."""

    samples: NDArray[Any]
    """SAMPLE [num_samples]"""
    keys: Any
    """large_string [num_samples]: ids within the shard."""
    fields: Any
    """A table with a row for each sample (headwater.sources.shards.fields)."""
    left_out: dict[str, int]
    """What was not read, counted by reason."""


def read_part(
    path: Path,
    stem: str,
    beside: Path | None,
    image: str | None,
    where: str,
    room: bytearray | None = None,
) -> Part:
    """Reads a shard through.

    `stem` is what stands before its samples' keys in their ids, `beside` a Parquet table of its
    samples, `image` the ending of its images where samples hold several, `room` what the shard's
    bytes are read into. Raises InputError for a tar that cannot be used, with the reason.
    """
    try:
        with path.open("rb") as file:
            size = file.seek(0, io.SEEK_END)
            if size <= _IN_MEMORY:
                file.seek(0)
                return _part(
                    _whole(file, size, bytearray() if room is None else room),
                    stem,
                    beside,
                    image,
                    where,
                )
            data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
            if hasattr(data, "madvise"):
                data.madvise(mmap.MADV_SEQUENTIAL)
            return _part(data, stem, beside, image, where)
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or error})") from None


def _whole(file: io.BufferedReader, size: int, room: bytearray) -> memoryview:
    """A file's bytes, in a room that grows where they do not fit. To ask the system for as much
    again for each shard takes a fifth of the time.
    """
    if len(room) < size:
        try:
            room.extend(bytes(size - len(room)))
        except BufferError:  # something of the shard before is still held
            room = bytearray(size)
    view = memoryview(room)[:size]
    return view[: file.readinto(view)]


def _part(data: Any, stem: str, beside: Path | None, image: str | None, where: str) -> Part:
    found = samples(members(data, where), where, image)
    fields, left_out = fields_of(data, found, beside, where)
    if found.passed_over:
        left_out["members whose names make no sample"] = found.passed_over
    for ending in found.endings:
        left_out[f"members .{ending}"] = 1
    names = _composed(found.keys)
    keys = pa.array(names.tolist(), pa.large_binary()).view(pa.large_string())
    out = np.zeros(len(found), dtype=SAMPLE)
    there = found.images[:, 0] >= 0
    out["block"] = np.where(there, found.images[:, 0] // BLOCK, NOWHERE)
    out["size"] = np.minimum(found.images[:, 1], NOWHERE)
    with memoryview(data) as view:
        out["digest"] = _digests(view, found.images)
    out["hash"] = _hashes(stem, names.tolist())
    order = np.argsort(names, kind="stable")
    if (names[order][1:] == names[order][:-1]).any():
        raise InputError(
            f"{where}: two samples have one name, written with composed and with decomposed "
            "letters; rename one of them"
        )
    rows = pa.array(order)
    return Part(out[order], keys.take(rows), fields.take(rows), left_out)


def _composed(keys: NDArray[np.bytes_]) -> NDArray[np.bytes_]:
    """Keys with composed letters (NFC), by which samples are known."""
    if not len(keys) or keys.view(np.uint8).max() < 128:
        return keys
    texts = [unicodedata.normalize("NFC", key.decode()).encode() for key in keys.tolist()]
    return np.array(texts, dtype="S")


def _digests(view: memoryview, places: NDArray[np.int64]) -> NDArray[np.uint64]:
    """uint64 [num_samples, 2]: BLAKE2b-128 of each image's bytes."""
    digest = hashlib.blake2b
    raw = b"".join(
        [
            digest(view[begin : begin + size] if begin >= 0 else b"", digest_size=16).digest()
            for begin, size in places.tolist()
        ]
    )
    return np.frombuffer(raw, dtype="<u8").reshape(-1, 2)


def _hashes(stem: str, keys: list[bytes]) -> NDArray[np.int64]:
    """int64 [num_samples]: headwater.keys.sample_hashes of the ids."""
    before, digest = stem.encode(), hashlib.blake2b
    raw = b"".join([digest(before + key, digest_size=8).digest() for key in keys])
    return np.frombuffer(raw, dtype="<i8")


def write_part(part: Part, path: Path, fields: Path) -> None:
    """Two files: `path` with the samples, and `fields`, a Parquet table, which is written first."""
    buffer = io.BytesIO()
    pq.write_table(part.fields, buffer, compression=_CODEC)
    _write(fields, digests.framed(KIND, buffer.getvalue()))
    said = {"left_out": part.left_out, "fields": part.fields.column_names}
    head, keys = json.dumps(said).encode(), pack_keys(part.keys)
    line = b"%d %d\n" % (len(head), len(keys))
    _write(path, digests.framed(KIND, line + head + keys + part.samples.tobytes()))


def _write(path: Path, data: bytes) -> None:
    """Written beside and renamed. It is not waited for until the disk has it, which would take
    longer than to read the shard again: what is not whole is found by its digest.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex[:12]}.tmp")
    for attempt in range(_TRIES):
        path.parent.mkdir(parents=True, exist_ok=True)
        try:
            temporary.write_bytes(data)
            os.replace(temporary, path)
            return
        except FileNotFoundError:  # another process has tidied up in between
            if attempt == _TRIES - 1:
                raise
        finally:
            temporary.unlink(missing_ok=True)


@dataclass(frozen=True)
class Written:
    """A part that was written, but for its fields."""

    samples: NDArray[Any]
    """SAMPLE [num_samples]"""
    keys: bytes
    """Packed (`unpack_keys`)."""
    left_out: dict[str, int]
    fields: tuple[str, ...]


def read_written(path: Path) -> Written:
    """A part that was written. Raises OSError and Damaged."""
    data = digests.unframed(KIND, path.read_bytes())
    if data is None:
        raise digests.Damaged("another version of headwater wrote it")
    line, _, body = data.partition(b"\n")
    head, keys = map(int, line.split())
    said = json.loads(body[:head])
    found = np.frombuffer(body[head + keys :], dtype=SAMPLE)
    packed = body[head : head + keys]
    return Written(found, packed, said["left_out"], tuple(said["fields"]))


def read_fields(path: Path, name: str) -> Any:
    """A table of one field of a shard's samples; of none where the shard lacks it. Raises OSError
    and Damaged.
    """
    data = digests.unframed(KIND, path.read_bytes())
    if data is None:
        raise digests.Damaged("another version of headwater wrote it")

    def read() -> Any:
        with pq.ParquetFile(pa.BufferReader(data)) as file:
            names = [name] if name in file.schema_arrow.names else []
            return file.read(columns=names, use_threads=False)

    return digests.reading(read)


def pack_keys(keys: Any) -> bytes:
    """large_string [num_samples] in a few bytes each."""
    text = "\n".join(keys.to_pylist()).encode()
    packed: bytes = pa.compress(text, codec=_CODEC, asbytes=True)
    return len(text).to_bytes(8, "little") + packed


def unpack_keys(packed: bytes, count: int) -> Any:
    """large_string [count]: the keys that were packed. Raises Damaged where they are not so
    many.
    """
    size = int.from_bytes(packed[:8], "little")
    if size > (LONGEST_NAME + 1) * (count + 1):
        raise digests.Damaged("its keys are longer than they can be")
    text = digests.reading(lambda: pa.decompress(packed[8:], size, codec=_CODEC, asbytes=True))
    keys = text.decode().split("\n") if count else []
    if len(keys) != count:
        raise digests.Damaged("it holds another number of keys than it says")
    return pa.array(keys, pa.large_string())
