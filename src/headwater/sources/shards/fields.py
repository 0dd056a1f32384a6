"""What stands beside the images of a shard: texts, classes and fields of JSON, or a Parquet table
of the same name, as columns of texts.
"""

from __future__ import annotations

import io
import itertools
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.json as pj
import pyarrow.parquet as pq
from numpy.typing import NDArray

from headwater import digests
from headwater.errors import InputError
from headwater.sources.shards.samples import Samples
from headwater.sources.strings import bytes_of

KEY = "key"
"""The column of a Parquet table beside a shard that names the samples, as img2dataset writes it."""
_LEFT_OUT = frozenset(["key", "status", "error_message", "exif", "sha256", "md5"])
"""Fields by which img2dataset says how an image was fetched, and its digest."""
FETCHED = frozenset(["key", "status", "error_message"])
"""By these together its tables and JSON are known."""
_LEAST_ROW_BYTES = 1
"""Of a Parquet file, for each of its rows: a key differs from all others [ours]."""
_MOST_VALUES = 8
"""Of one column of a Parquet file, for each of its bytes: a list holds several [ours]."""
_MOST_TEXT = 1 << 20
"""Bytes of one text: a longer one is no caption [ours]."""
_MOST_FIELDS = 1000
"""Of JSON: a column is kept for each, as long as the shard [ours]."""
_MOST_BRACKETS = 128
"""Of one JSON member that pyarrow reads: it ends the process where they stand in each other 100,000
deep [ours].
"""


def fields_of(
    data: Any, samples: Samples, beside: Path | None, where: str
) -> tuple[Any, dict[str, int]]:
    """(a pyarrow table with a row for each sample, what was left out, counted by reason).

    Columns are `txt`, `cls` and the fields of JSON whose values are texts, numbers or lists of
    texts; all as large_string, or lists of it. `beside` is a Parquet table with a column `key`,
    from which fields come in place of JSON; None without. Raises InputError for one that cannot be
    read.
    """
    left_out: dict[str, int] = {}
    columns: dict[str, Any] = {}
    for ending in ("txt", "cls"):
        if ending in samples.texts:
            columns[ending] = _texts(data, samples.texts[ending], left_out, ending)
    told = None if beside is None else _beside(beside, samples, where, left_out)
    if told is None and "json" in samples.texts:
        told = _objects(data, samples.texts["json"], left_out, where)
    told = told or {}
    fetched = set(told) >= FETCHED
    for name, column in told.items():
        if name not in columns and not (fetched and name in _LEFT_OUT):
            columns[name] = column
    return pa.table(columns) if columns else _empty(len(samples)), left_out


def _empty(count: int) -> Any:
    return pa.table({"": pa.nulls(count)}).select([]) if count else pa.table({})


def _pieces(data: Any, places: NDArray[np.int64]) -> Iterator[bytes | None]:
    view = memoryview(data)
    for begin, size in places.tolist():
        yield None if begin < 0 or size > _MOST_TEXT else bytes(view[begin : begin + size])


def _texts(data: Any, places: NDArray[np.int64], left_out: dict[str, int], ending: str) -> Any:
    """A column of texts, without the line end behind each; null where there is none."""
    pieces = pa.array(_pieces(data, places), pa.large_binary())
    try:
        texts = pieces.view(pa.large_string())
        texts.validate(full=True)
    except pa.ArrowInvalid:
        decoded = [_decoded(piece) for piece in pieces.to_pylist()]
        wrong = sum(
            text is None and piece is not None
            for text, piece in zip(decoded, pieces.to_pylist(), strict=True)
        )
        left_out[f".{ending} that is not UTF-8"] = wrong
        texts = pa.array(decoded, pa.large_string())
    _count_long(places, left_out, ending)
    return pc.utf8_rtrim(texts, "\r\n")


def _count_long(places: NDArray[np.int64], left_out: dict[str, int], ending: str) -> None:
    long = int((places[:, 1] > _MOST_TEXT).sum())
    if long:
        left_out[f".{ending} over {_MOST_TEXT >> 20} MiB"] = long


def _decoded(piece: bytes | None) -> str | None:
    try:
        return None if piece is None else piece.decode("utf-8")
    except UnicodeDecodeError:
        return None


def _objects(
    data: Any, places: NDArray[np.int64], left_out: dict[str, int], where: str
) -> dict[str, Any]:
    """The fields of JSON members; pyarrow reads them where each of them is as the others are.
    Raises InputError where they have too many.
    """
    pieces = list(_pieces(data, places))
    _count_long(places, left_out, "json")
    there = [piece for piece in pieces if piece]
    rows = pa.array(np.cumsum([bool(piece) for piece in pieces]) - 1)
    rows = pc.if_else(pa.array([bool(piece) for piece in pieces]), rows, None)
    try:
        if any(b"\n" in piece for piece in there):
            raise pa.ArrowInvalid("an object of several lines")
        if not all(map(_is_flat, there)):
            raise pa.ArrowInvalid("objects within objects within objects")
        read = _read_json(there)
        if any(_is_read_otherwise(field.type) for field in read.schema):
            raise pa.ArrowInvalid("numbers with a fraction, dates or lists of these")
        if len(read) != len(there):
            raise pa.ArrowInvalid("not an object each")
        if any(map(_is_list_of_others, read.columns)):
            raise pa.ArrowInvalid("lists of what is no text, or is missing")
    except (pa.ArrowInvalid, pa.ArrowNotImplementedError, ValueError, TypeError):
        return _objects_one_by_one(pieces, left_out, where)
    found = {}
    for name in read.column_names:
        column = _as_texts(read[name].combine_chunks())
        if column is not None:
            found[name] = column.take(rows)
    return found


def _is_flat(piece: bytes) -> bool:
    """Whether a JSON member is an object of few brackets and fields, so that neither it nor several
    behind each other are nested deep: behind its last bracket no other object may begin within it.
    """
    few = piece.count(b"{") + piece.count(b"[") <= _MOST_BRACKETS
    few = few and piece.count(b":") <= _MOST_FIELDS
    return few and piece.startswith(b"{") and piece.rstrip().endswith(b"}")


def _is_read_otherwise(kind: Any) -> bool:
    """Whether pyarrow makes something else of a value than what is written: of 1.0, of numbers too
    large for it, of what looks like a date.
    """
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        return _is_read_otherwise(kind.value_type)
    return bool(pa.types.is_floating(kind) or pa.types.is_temporal(kind))


def _is_list_of_others(column: Any) -> bool:
    """Whether a column is lists that hold something else than texts."""
    kind = column.type
    if not (pa.types.is_list(kind) or pa.types.is_large_list(kind)):
        return False
    inner = kind.value_type
    texts = pa.types.is_string(inner) or pa.types.is_large_string(inner)
    return not texts or column.combine_chunks().flatten().null_count > 0


def _read_json(pieces: list[bytes]) -> Any:
    """A table of JSON objects."""
    return pj.read_json(
        io.BytesIO(b"\n".join(pieces)),
        read_options=pj.ReadOptions(
            block_size=max(1 << 20, *map(len, pieces)) + 1, use_threads=False
        ),
    )


def _objects_one_by_one(
    pieces: list[bytes | None], left_out: dict[str, int], where: str
) -> dict[str, Any]:
    objects: list[dict[str, Any]] = []
    wrong = 0
    for piece in pieces:
        try:
            said = json.loads(piece) if piece else {}
        except (ValueError, RecursionError):
            said = None
        wrong += not isinstance(said, dict)
        objects.append(said if isinstance(said, dict) else {})
    if wrong:
        left_out[".json that is no object"] = wrong
    names = dict.fromkeys(name for said in objects for name in said)
    if len(names) > _MOST_FIELDS:
        raise InputError(f"{where}: its JSON has {len(names):,} fields; {_MOST_FIELDS:,} may be")
    found = {}
    for name in names:
        values = [_value(said.get(name)) for said in objects]
        if any(isinstance(value, list) for value in values):
            values = [[value] if isinstance(value, str) else value for value in values]
            found[name] = pa.array(values, pa.large_list(pa.large_string()))
        elif any(value is not None for value in values):
            found[name] = pa.array(values, pa.large_string())
    return found


def _value(value: Any) -> str | list[str] | None:
    """A text, a number as a text, or a list of these; None of anything else."""
    if isinstance(value, list):
        there = [each for each in value if each is not None]
        texts = [text for each in there if isinstance(text := _value(each), str)]
        return texts if len(texts) == len(there) else None
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return value if value.isascii() else value.encode("utf-8", "replace").decode()
    return str(value) if isinstance(value, int | float) else None


def _as_texts(column: Any) -> Any | None:
    """A column as texts or lists of texts; None where it holds neither them nor numbers."""
    kind = column.type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        if pa.types.is_string(kind.value_type) or pa.types.is_large_string(kind.value_type):
            return column.cast(pa.large_list(pa.large_string()))
        return None
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return column.cast(pa.large_string())
    if pa.types.is_dictionary(kind):
        return _as_texts(column.dictionary_decode())
    if pa.types.is_floating(kind):  # written as JSON's are
        return pa.array(map(_value, column.to_pylist()), pa.large_string())
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind):
        return column.cast(pa.large_string())
    return None


def _beside(
    file: Path, samples: Samples, where: str, left_out: dict[str, int]
) -> dict[str, Any] | None:
    """The columns of a Parquet table beside a shard, in the order of its samples; None where it
    says nothing of any.
    """
    try:
        names = _read_names(file)
        if KEY not in names:
            left_out[f"Parquet table beside a shard without the column {KEY!r}"] = 1
            return None
        with pq.ParquetFile(file) as table:
            read = table.read(columns=names)
    except Exception as error:  # pyarrow has kinds of its own for damaged files
        raise InputError(
            f"{where}: the Parquet file beside it cannot be read ({digests.reason(error)}); get it "
            "again, or move it away"
        ) from None
    keys = _as_texts(read[KEY].combine_chunks())
    own = pa.array(samples.keys.tolist(), pa.large_binary()).view(pa.large_string())
    rows = None if keys is None else pc.index_in(own, keys)
    if rows is None or rows.null_count == len(own):
        left_out["Parquet table beside a shard that names none of its samples"] = 1
        return None
    if rows.null_count:
        left_out["samples' fields, as the Parquet table beside them has no row"] = rows.null_count
    twice = 0 if keys is None else len(keys) - len(pc.unique(keys))
    if twice:
        left_out["rows of Parquet tables beside shards whose key came before"] = twice
    return {
        name: column.take(rows)
        for name in read.column_names
        if (column := _as_texts(read[name].combine_chunks())) is not None
    }


def _read_names(file: Path) -> list[str]:
    """The columns of a Parquet table that are read: texts, numbers and lists of texts. Raises
    Damaged where they come to more than a file of its size can mean: a text that is repeated is
    stored once, and would be held as often as it is.
    """
    digests.check_parquet(file, _LEAST_ROW_BYTES)
    size = file.stat().st_size
    with pq.ParquetFile(file) as table:
        names = [field.name for field in table.schema_arrow if _is_read(field.type)]
        leaves = [table.schema.column(at) for at in range(len(table.schema))]
        groups = [table.metadata.row_group(at) for at in range(table.num_row_groups)]
    for at in range(len(leaves)):
        values = sum(group.column(at).num_values for group in groups)
        if values > digests.ROWS_ALWAYS + _MOST_VALUES * size:
            raise digests.Damaged(f"a column has {values:,} values, and the file {size:,} bytes")
    texts = [leaf.path for leaf in leaves if leaf.physical_type == "BYTE_ARRAY"]
    texts = [path for path in texts if path in names or path.partition(".")[0] in names]
    with pq.ParquetFile(file, read_dictionary=texts) as table:
        found = table.read(columns=texts) if texts else pa.table({})
    length = 0
    for chunk in itertools.chain.from_iterable(column.chunks for column in found.columns):
        each = chunk if pa.types.is_dictionary(chunk.type) else chunk.values
        lengths = pc.binary_length(each.dictionary).cast(pa.int64())
        length += pc.sum(lengths.take(each.indices)).as_py() or 0
    if length > digests.UNPACKED_ALWAYS + digests.MOST_UNPACKED * size:
        raise digests.Damaged(f"its texts come to {length:,} bytes, and the file has {size:,}")
    return names


def _is_read(kind: Any) -> bool:
    """Whether `_as_texts` makes something of a column."""
    if pa.types.is_dictionary(kind) or pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
        return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))
    text = pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_boolean(kind)
    return bool(text or pa.types.is_integer(kind) or pa.types.is_floating(kind))


def joined(parts: list[Any], name: str, lengths: list[int]) -> Any:
    """One column of several shards' tables; lists where any is, and empty where a shard lacks it or
    says nothing. `parts` is emptied on the way: a corpus is not held twice.
    """
    columns = [part[name] if name in part.column_names else None for part in parts]
    parts.clear()
    several = any(pa.types.is_large_list(each.type) for each in columns if each is not None)
    if several:
        return _joined_lists(columns, lengths)
    total = sum(0 if column is None else _size(column) for column in columns)
    data, ends = np.empty(total, dtype=np.uint8), np.zeros(sum(lengths) + 1, dtype=np.int64)
    at, row = 0, 1
    for number, length in enumerate(lengths):
        column, columns[number] = columns[number], None
        if column is None:
            ends[row : row + length] = at
        else:
            own = pc.fill_null(column, "").combine_chunks()
            own = own.chunk(0) if isinstance(own, pa.ChunkedArray) and own.num_chunks else own
            sizes = pc.binary_length(own).to_numpy(zero_copy_only=False) if length else []
            ends[row : row + length] = at + np.cumsum(sizes)
            held = bytes_of(own) if length else b""
            data[at : at + len(held)] = np.frombuffer(held, dtype=np.uint8)
            at += len(held)
        row += length
    buffers = [None, pa.py_buffer(ends), pa.py_buffer(data)]
    return pa.Array.from_buffers(pa.large_string(), sum(lengths), buffers)


def _size(column: Any) -> int:
    """Bytes of the texts of a column."""
    return int(pc.sum(pc.binary_length(column)).as_py() or 0)


def _joined_lists(columns: list[Any], lengths: list[int]) -> Any:
    kind = pa.large_list(pa.large_string())
    whole: list[Any] = []
    for column, length in zip(columns, lengths, strict=True):
        if column is None:
            column = pa.nulls(length, kind)
        elif pa.types.is_large_list(column.type):
            column = column.cast(kind)  # whatever its items are called
        else:
            offsets = pa.array(np.arange(len(column) + 1), pa.int64())
            column = pa.LargeListArray.from_arrays(offsets, column.combine_chunks())
        whole += column.chunks if isinstance(column, pa.ChunkedArray) else [column]
    found = pa.chunked_array(whole, kind).combine_chunks()
    return found.chunk(0) if isinstance(found, pa.ChunkedArray) and found.num_chunks else found
