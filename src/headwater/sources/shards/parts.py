"""One shard read through once: where each image lies, a digest of its bytes, and what stands
beside it.

A process of `python -m headwater.sources.shards.parts` does so for many: it is given jobs as JSON
lines, and answers each with one.
"""

from __future__ import annotations

import hashlib
import io
import json
import mmap
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headwater import digests
from headwater.errors import InputError
from headwater.files import write_atomic
from headwater.sources.shards.fields import fields_of
from headwater.sources.shards.samples import samples
from headwater.sources.shards.tar import BLOCK, LONGEST_NAME, members

KIND = "shard part 1"
"""Raised where the form of the kept file changes, or what is read of a shard."""
SAMPLE = np.dtype(
    [("block", "<u4"), ("size", "<u4"), ("digest", "<u8", 2), ("hash", "<i8")], align=False
)
"""32 bytes of a sample: the block of the tar at which its image begins, the image's bytes, their
BLAKE2b-128, and the keyed hash of its id (headwater.keys).
"""
NOWHERE = (1 << 32) - 1
"""The block of a sample without an image."""
_CODEC = "zstd"


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


def read_part(path: Path, stem: str, beside: Path | None, image: str | None, where: str) -> Part:
    """Reads a shard through.

    `stem` is what stands before its samples' keys in their ids, `beside` a Parquet table of its
    samples, `image` the ending of its images where samples hold several. Raises InputError for a
    tar that cannot be used, with the reason.
    """
    try:
        with path.open("rb") as file:
            if not file.seek(0, io.SEEK_END):
                raise InputError(f"{where}: is an empty file; get it again")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                if hasattr(data, "madvise"):
                    data.madvise(mmap.MADV_SEQUENTIAL)
                return _part(data, stem, beside, image, where)
    except OSError as error:
        raise InputError(f"{where}: cannot be read ({error.strerror or error})") from None


def _part(data: Any, stem: str, beside: Path | None, image: str | None, where: str) -> Part:
    found = samples(members(data, where), where, image)
    fields, left_out = fields_of(data, found, beside, where)
    if found.passed_over:
        left_out["members whose names make no sample"] = found.passed_over
    for ending in found.endings:
        left_out[f"members .{ending}"] = 1
    keys = pa.array(found.keys.tolist(), pa.large_binary()).view(pa.large_string())
    out = np.zeros(len(found), dtype=SAMPLE)
    there = found.images[:, 0] >= 0
    out["block"] = np.where(there, found.images[:, 0] // BLOCK, NOWHERE)
    out["size"] = np.minimum(found.images[:, 1], NOWHERE)
    with memoryview(data) as view:
        out["digest"] = _digests(view, found.images)
    out["hash"] = _hashes(stem, found.keys.tolist())
    order = np.argsort(found.keys, kind="stable")
    rows = pa.array(order)
    return Part(out[order], keys.take(rows), fields.take(rows), left_out)


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


def write_part(part: Part, path: Path) -> None:
    """Two files: `path`, with the samples, and `path`.fields, a Parquet table."""
    buffer = io.BytesIO()
    pq.write_table(part.fields, buffer, compression=_CODEC)
    write_atomic(fields_path(path), digests.framed(KIND, buffer.getvalue()))
    said = {"left_out": part.left_out, "fields": part.fields.column_names}
    head, keys = json.dumps(said).encode(), pack_keys(part.keys)
    line = b"%d %d\n" % (len(head), len(keys))
    write_atomic(path, digests.framed(KIND, line + head + keys + part.samples.tobytes()))


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
            return file.read(columns=[name] if name in file.schema_arrow.names else [])

    return digests.reading(read)


def fields_path(path: Path) -> Path:
    return path.with_name(f"{path.name}.fields")


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


def answer(job: dict[str, Any]) -> dict[str, Any]:
    """Reads the shard of a job and writes its part."""
    beside = None if job["beside"] is None else Path(job["beside"])
    try:
        part = read_part(Path(job["path"]), job["stem"], beside, job["image"], job["where"])
        write_part(part, Path(job["part"]))
    except InputError as error:
        return {"wrong": str(error)}
    except (OSError, MemoryError) as error:
        return {"error": f"{type(error).__name__}: {error}"}
    return {"samples": len(part.samples)}


def main() -> None:
    """Does jobs until there are none."""
    out = sys.stdout
    sys.stdout = sys.stderr
    for line in sys.stdin:
        out.write(json.dumps(answer(json.loads(line))) + "\n")
        out.flush()


if __name__ == "__main__":
    main()
