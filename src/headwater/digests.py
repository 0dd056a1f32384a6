"""What a later step believes carries a digest, which is checked when it is read.

    a record      a JSON object with `form` and `record_sha256`: of the rest, as canonical JSON
    an array      .npy, and behind it a line with the SHA-256 of all that stands before it
    framed bytes  a line with the SHA-256 of what follows, then that

Whatever a reader raises on the way counts as damage: numpy's header alone raises ValueError,
SyntaxError, TokenError, OverflowError and more. A header's promise never allocates: what a file
says of its size is compared with the size that it has. What was written before there were
digests is read by what is there: an object that has neither `form` nor `record_sha256`, an array
with nothing behind it.
"""

from __future__ import annotations

import hashlib
import io
import json
import logging
import math
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import numpy as np
from numpy.typing import DTypeLike, NDArray

from headwater import plain

T = TypeVar("T")

FORM = 1
"""Of records: raised where what is digested changes."""
_FORM, _DIGEST = "form", "record_sha256"
_TRAILER = b"\nsha256:%b\n"
_TRAILER_BYTES = len(_TRAILER % (b"0" * 64))
_CHUNK = 1 << 20
_LOG = logging.getLogger("headwater")


class Damaged(ValueError):
    """A file is not what was written. The message is one line and names no file."""


def reading(read: Callable[[], T]) -> T:
    """What `read` returns. Raises Damaged for whatever it raises, but for a file that is not
    there.
    """
    try:
        return read()
    except (Damaged, FileNotFoundError):
        raise
    except Exception as error:  # each reader has kinds of its own
        raise Damaged(reason(error)) from None


def reason(error: BaseException) -> str:
    """An error on one line."""
    return plain.line(error, 200) or type(error).__name__


def made_again(path: Path, why: str, what: str) -> None:
    """Tells that a file was damaged and is made again."""
    tell(f"{path}: {what} is damaged ({why}); it is made again")


def tell(line: str) -> None:
    """A line for whoever runs this, with the logger `headwater`: which writes on stderr where
    nothing else was asked of it.
    """
    _LOG.warning("%s", plain.line(line))


# records
def sealed(record: Mapping[str, Any]) -> dict[str, Any]:
    """The record with its form and its digest."""
    whole = {**unsealed(record), _FORM: FORM}
    return {**whole, _DIGEST: record_digest(whole)}


def unsealed(record: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in record.items() if key not in (_FORM, _DIGEST)}


def record_digest(record: Mapping[str, Any]) -> str:
    """SHA-256 of what a record says, in hex; how its JSON is spaced and ordered does not matter."""
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


def opened(text: str | bytes) -> dict[str, Any]:
    """The record that a text holds, without form and digest.

    Raises Damaged where it is no object, or not the one that was written.
    """
    record = reading(lambda: json.loads(text))
    if not isinstance(record, dict):
        raise Damaged("it is no JSON object")
    return checked(record)


def checked(record: Mapping[str, Any]) -> dict[str, Any]:
    """`opened` of an object that was read from JSON."""
    if _FORM not in record and _DIGEST not in record:
        return dict(record)
    said = {key: value for key, value in record.items() if key != _DIGEST}
    if record.get(_DIGEST) != reading(lambda: record_digest(said)):
        raise Damaged("it is not what was written: its digest is another")
    if said.get(_FORM, FORM) != FORM:
        raise Damaged("another version of headwater wrote it")
    return unsealed(said)


def read_record(path: Path) -> dict[str, Any]:
    """`opened` of a file. Raises FileNotFoundError where there is none."""
    return opened(reading(path.read_bytes))


# arrays
def write_array(file: BinaryIO, array: NDArray[Any]) -> None:
    """An array in numpy's format, which numpy reads, and its digest behind it."""
    begin = file.tell()
    np.save(file, array, allow_pickle=False)
    file.flush()
    with open(file.name, "rb") as written:
        written.seek(begin)
        digest = hashlib.file_digest(written, "sha256").hexdigest()
    file.write(_TRAILER % digest.encode())


def array_bytes(array: NDArray[Any]) -> bytes:
    """What `write_array` writes."""
    file = io.BytesIO()
    np.save(file, array, allow_pickle=False)
    data = file.getvalue()
    return data + _TRAILER % hashlib.sha256(data).hexdigest().encode()


def read_array(
    path: Path, dtype: DTypeLike, ndim: int, *, mapped: bool = False, trailed: bool = True
) -> NDArray[Any]:
    """An array of one type and so many dimensions; `mapped`: read-only from its file.

    What the header promises is compared with the file's size before anything is allocated. A digest
    behind it is checked; `trailed=False`: there is none, since it stands elsewhere. Raises Damaged,
    or FileNotFoundError where there is no file.
    """
    return reading(lambda: _read_array(path, np.dtype(dtype), ndim, mapped, trailed))


def _read_array(
    path: Path, dtype: np.dtype[Any], ndim: int, mapped: bool, trailed: bool
) -> NDArray[Any]:
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        if np.lib.format.read_magic(file) != (1, 0):
            raise Damaged("it is no array that headwater writes")
        shape, columns_first, found = np.lib.format.read_array_header_1_0(file)
        begin = file.tell()
        if found != dtype or len(shape) != ndim or (columns_first and ndim > 1):
            raise Damaged(f"it holds {found} {list(shape)}")
        if any(side < 0 for side in shape):
            raise Damaged(f"its header says {list(shape)}")
        count = math.prod(shape)
        end = begin + count * dtype.itemsize
        behind = size - end
        if behind < 0 or (behind and (behind != _TRAILER_BYTES or not trailed)):
            raise Damaged(f"its header promises {end} bytes, and it has {size}")
        if behind:
            file.seek(0)
            _check_trailer(file, end)
        if not count:
            return np.empty(shape, dtype=dtype)
        if mapped:
            return np.memmap(path, dtype=dtype, mode="r", offset=begin, shape=shape)
        file.seek(begin)
        return np.fromfile(file, dtype=dtype, count=count).reshape(shape)


def _check_trailer(file: BinaryIO, end: int) -> None:
    digest = hashlib.sha256()
    for start in range(0, end, _CHUNK):
        digest.update(file.read(min(_CHUNK, end - start)))
    if file.read() != _TRAILER % digest.hexdigest().encode():
        raise Damaged("it is not what was written: its digest is another")


# framed bytes
def framed(kind: str, data: bytes) -> bytes:
    """Bytes of a kind (`hashes 2`) behind a line that says what they are, and their digest."""
    return f"headwater {kind} {hashlib.sha256(data).hexdigest()}\n".encode() + data


def unframed(kind: str, whole: bytes) -> bytes | None:
    """The bytes that were framed; None where they are of another kind or were not framed. Raises
    Damaged where they are not what was written.
    """
    line, _, data = whole[:512].partition(b"\n")
    words = line.decode("utf-8", "replace").rsplit(" ", 1)
    if words[0] != f"headwater {kind}":
        return None
    data = whole[len(line) + 1 :]
    if words[-1] != hashlib.sha256(data).hexdigest():
        raise Damaged("it is not what was written: its digest is another")
    return data


# parquet of any origin
def check_parquet(path: Path, bytes_a_row: float) -> None:
    """Raises Damaged for a Parquet file whose header promises more than a file of its size can
    mean: equal values take next to no room in it, and all of theirs in memory.

    `bytes_a_row`: what a row of such a table takes of a file at least. Raises what pyarrow raises
    where it is no Parquet file.
    """
    import pyarrow.parquet as pq

    size = path.stat().st_size
    with pq.ParquetFile(path) as file:
        rows, groups = file.metadata.num_rows, file.metadata.num_row_groups
        unpacked = sum(file.metadata.row_group(at).total_byte_size for at in range(groups))
    if rows > ROWS_ALWAYS + size / bytes_a_row:
        raise Damaged(f"its header promises {rows:,} rows, and the file has {size:,} bytes")
    if unpacked > UNPACKED_ALWAYS + MOST_UNPACKED * size:
        raise Damaged(
            f"its header promises {unpacked:,} bytes, and the file has {size:,} of them, packed"
        )


ROWS_ALWAYS = 100_000
"""Rows that a Parquet file may have, whatever its size."""
UNPACKED_ALWAYS = 1 << 26
MOST_UNPACKED = 256
"""And bytes: 64 MiB, and 256 for each of the file [ours; texts pack to a twentieth]."""


# safetensors of any origin
MOST_HEADER = 1 << 22
"""Bytes of what stands before the tensors: about 40,000 of them [ours; a model of 1,000 layers has
a tenth]. To read 90 MB of it takes 7 seconds and 1.3 GB.
"""


def check_safetensors(path: Path) -> None:
    """Raises Damaged for a file of tensors whose header is longer than one of weights can be, and
    OSError.
    """
    with path.open("rb") as file:
        size = int.from_bytes(file.read(8), "little")
    if size > MOST_HEADER:
        raise Damaged(f"its header takes {size:,} bytes, and {MOST_HEADER:,} may be")
