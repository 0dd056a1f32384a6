"""Files of rows with images, one class for each format: Parquet, and Arrow as the `datasets`
library writes it (a stream, or the file format, which is a stream within a frame).

A file's rows come in groups: row groups of Parquet, record batches of Arrow. Both are read one at
a time. Arrow is mapped into memory, so that what is not asked for is not read.
"""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pyarrow as pa
import pyarrow.parquet as pq

from headwater import digests
from headwater.errors import InputError
from headwater.sources.links import leads_out
from headwater.sources.walking import METADATA

_LEAST_ROW_BYTES = 16
"""Of the file, for a row with an image: less is no image [ours]."""
_MOST_GROUP_BYTES = 2 << 30
"""A group that unpacks to more is refused: images are stored in groups of 100 to 1,000 rows."""


@dataclass(frozen=True)
class Listed:
    """A file of rows, and what its samples are called after."""

    path: Path
    called: str
    """Begins the ids of its samples; says the split, where a word of it does."""
    split: str = ""
    """train, val or test where `called` says none; '' where nothing is known."""


class RowFile(ABC):
    """One file. Methods raise whatever pyarrow raises, or Damaged, for what cannot be read."""

    ending: ClassVar[str]
    noun: ClassVar[str]
    """What messages call the format."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @abstractmethod
    def schema(self) -> Any:
        """The columns: a pyarrow.Schema."""

    @abstractmethod
    def groups(self) -> list[int]:
        """Rows of each group. Raises Damaged for a file that promises more than it can hold; to be
        asked before any rows are.
        """

    @abstractmethod
    def columns(self, names: Sequence[str]) -> Any:
        """A pyarrow.Table of some columns, all rows."""

    @abstractmethod
    def images(self, group: int, column: str) -> Any:
        """One group's images: a pyarrow.Array or ChunkedArray [rows]."""


class ParquetFile(RowFile):
    """Parquet; its groups are row groups."""

    ending = ".parquet"
    noun = "Parquet"

    def schema(self) -> Any:
        return pq.read_schema(self.path)

    def groups(self) -> list[int]:
        digests.check_parquet(self.path, _LEAST_ROW_BYTES)
        rows = []
        with pq.ParquetFile(self.path) as file:
            for group in range(file.metadata.num_row_groups):
                told = file.metadata.row_group(group)
                if told.total_byte_size > _MOST_GROUP_BYTES:
                    raise digests.Damaged(
                        f"row group {group} unpacks to {told.total_byte_size:,} bytes; write "
                        "the file anew with row groups of 1,000 rows or fewer"
                    )
                rows.append(told.num_rows)
        return rows

    def columns(self, names: Sequence[str]) -> Any:
        with pq.ParquetFile(self.path) as file:
            return file.read(columns=list(names))

    def images(self, group: int, column: str) -> Any:
        with pq.ParquetFile(self.path) as file:
            table: Any = file.read_row_group(group, columns=[column])
        return table[column]


_MAGIC = b"ARROW1\0\0"
"""Opens Arrow's file format; the stream begins behind it."""
_ENDS = (b"\xff\xff\xff\xff\0\0\0\0", b"\0\0\0\0")
"""What closes a stream, today and before Arrow 0.15."""


class ArrowFile(RowFile):
    """Arrow IPC; its groups are record batches."""

    ending = ".arrow"
    noun = "Arrow"

    def __init__(self, path: Path) -> None:
        super().__init__(path)
        self._offsets: list[int] = []
        """Of each record batch, in bytes."""

    def _mapped(self) -> Any:
        """The file in memory, at the beginning of its stream."""
        mapped: Any = pa.memory_map(str(self.path))
        mapped.seek(len(_MAGIC) if mapped.read(len(_MAGIC)) == _MAGIC else 0)
        return mapped

    def schema(self) -> Any:
        with self._mapped() as mapped, pa.ipc.open_stream(mapped) as stream:
            return stream.schema

    def groups(self) -> list[int]:
        rows: list[int] = []
        self._offsets = []
        with self._mapped() as mapped:
            pa.ipc.read_message(mapped)  # the schema
            while True:
                at = mapped.tell()
                try:
                    message = pa.ipc.read_message(mapped)
                except EOFError:
                    break
                length = _length(message, len(rows))
                if message.type == "record batch":
                    self._offsets.append(at)
                    rows.append(length)
            mapped.seek(at)
            end = mapped.read(len(_ENDS[0]))
            size = mapped.size()
        if not end.startswith(_ENDS):
            raise digests.Damaged("it ends before its end: not all of it was written or copied")
        if sum(rows) > digests.ROWS_ALWAYS + size / _LEAST_ROW_BYTES:
            raise digests.Damaged(
                f"its header promises {sum(rows):,} rows, and the file has {size:,} bytes"
            )
        return rows

    def columns(self, names: Sequence[str]) -> Any:
        if not names:  # to pyarrow, no names would mean all columns
            return pa.table({})
        schema = self.schema()
        asked = pa.ipc.IpcReadOptions(included_fields=[schema.names.index(name) for name in names])
        with self._mapped() as mapped, pa.ipc.open_stream(mapped, options=asked) as stream:
            table: Any = stream.read_all()
        table.validate(full=True)
        return table

    def images(self, group: int, column: str) -> Any:
        schema = pa.schema([_without_dictionary(field) for field in self.schema()])
        with self._mapped() as mapped:
            mapped.seek(self._offsets[group])
            batch = pa.ipc.read_record_batch(pa.ipc.read_message(mapped), schema)
        images = batch.column(schema.names.index(column))
        images.validate(full=True)
        return images


def _without_dictionary(field: Any) -> Any:
    """A field as a batch holds it: of categories, the numbers."""
    return field.with_type(field.type.index_type) if pa.types.is_dictionary(field.type) else field


def _length(message: Any, number: int) -> int:
    """The rows that a message promises. Raises Damaged for one that is packed or too large.

    Read from its header, as Arrow's format/Message.fbs lays it out, since pyarrow unpacks a batch
    before it tells anything of it.
    """
    size = message.body.size if message.body is not None else 0
    if size > _MOST_GROUP_BYTES:
        raise digests.Damaged(
            f"record batch {number} holds {size:,} bytes; write the file anew with batches of "
            "1,000 rows or fewer"
        )
    data = message.metadata.to_pybytes()
    try:
        table = _table(data, _field(data, _table(data, 0), 2))
        if message.type == "dictionary":
            table = _table(data, _field(data, table, 1))
        if _field(data, table, 3):
            raise digests.Damaged(
                f"record batch {number} is compressed, which `datasets` does not write; write the "
                "file anew without compression, or as Parquet"
            )
        at = _field(data, table, 0)
        length: int = struct.unpack_from("<q", data, at)[0] if at else 0
    except struct.error:
        raise digests.Damaged(f"the header of record batch {number} is damaged") from None
    if length < 0:
        raise digests.Damaged(f"record batch {number} promises {length:,} rows")
    return length


def _table(data: bytes, at: int) -> int:
    """Where the table begins that the offset at `at` leads to (flatbuffers)."""
    offset: int = struct.unpack_from("<I", data, at)[0]
    return at + offset


def _field(data: bytes, table: int, number: int) -> int:
    """Where a field of a table stands; 0 where it was left out."""
    directory = table - struct.unpack_from("<i", data, table)[0]
    if 4 + 2 * number >= struct.unpack_from("<H", data, directory)[0]:
        return 0
    offset: int = struct.unpack_from("<H", data, directory + 4 + 2 * number)[0]
    return table + offset if offset else 0


_FORMATS: dict[str, type[RowFile]] = {each.ending: each for each in (ParquetFile, ArrowFile)}


def row_file(path: Path) -> RowFile:
    """The file, read by the ending of its name."""
    return _FORMATS[path.suffix](path)


def listed_below(root: Path, ending: str) -> list[Listed]:
    """The files under a folder whose names end so, sorted, called by their paths; hidden ones are
    passed over. Raises InputError for a link that leads out of the folder.
    """
    found = []
    for path in sorted(root.rglob(f"*{ending}")):
        below = path.relative_to(root)
        if any(part.startswith(".") for part in below.parts) or path.name in METADATA:
            continue
        if leads_out(path, root):
            raise InputError(f"{path}: is a link that leads out of {root}; copy the file there")
        if path.is_file():
            found.append(Listed(path, below.with_suffix("").as_posix()))
    return found
