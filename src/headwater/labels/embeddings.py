"""Files of embeddings: features of images that somebody else made, by image id."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headwater.errors import InputError

_CHUNK = 16_384
"""Rows that are read at a time."""

_NUMBERS_AT_ONCE = 1 << 24
MAX_WIDTH = 1 << 16
"""Numbers in an embedding at most: sixteen times the widest backbone's [ours]."""
Points = NDArray[np.float32]
Codes = NDArray[np.int64]


def check_embeddings(path: Path, ids: Sequence[str], where: str) -> None:
    """What can be known of a file without reading its numbers: its form, and that each image has a
    row. Raises InputError as `read_embeddings`.
    """
    _read(path, ids, where, numbers=False)


def read_embeddings(path: Path, ids: Sequence[str], where: str) -> Points:
    """float32 [len(ids), width]: the embeddings of the images `ids`, in their order, from a file
    that has them in any order.

    - `.parquet`: a column `id` (string) and a column `embedding` (lists of floats, all of one
      length);
    - `.npy`: floats [num_rows, width], never unpickled, and beside it `<stem>.txt` (UTF-8), the id
      of each row, one a line.

    Other ids in the file are passed over. Numbers are not checked for NaN (`cluster` does). Raises
    InputError for a file that is missing, damaged or otherwise built, an id that is there twice,
    and images without an embedding.
    """
    return _read(path, ids, where, numbers=True)


def _read(path: Path, ids: Sequence[str], where: str, *, numbers: bool) -> Points:
    if path.suffix not in (".parquet", ".npy"):
        raise InputError(f"{where}: {path}: embeddings are read from .parquet or .npy")
    try:
        return (_from_parquet if path.suffix == ".parquet" else _from_npy)(
            path, ids, where, numbers
        )
    except InputError:
        raise
    except Exception as error:  # numpy's header alone has six kinds
        reason = (
            "there is no such file"
            if isinstance(error, FileNotFoundError)
            else (str(error).splitlines() or [type(error).__name__])[0]
        )
        raise InputError(f"{where}: {path} cannot be read: {reason}") from error


def _from_npy(path: Path, ids: Sequence[str], where: str, numbers: bool) -> Points:
    stored = np.lib.format.open_memmap(path, mode="r")
    _check_width(stored.shape[-1] if stored.ndim else 0, f"{where}: {path}")
    if stored.ndim != 2 or stored.shape[1] == 0 or stored.dtype.kind != "f":
        raise InputError(
            f"{where}: {path}: embeddings are floats [num_rows, width], and this is {stored.dtype} "
            f"{list(stored.shape)}"
        )
    sidecar = path.with_suffix(".txt")
    if not sidecar.is_file():
        raise InputError(
            f"{where}: {path}: there is no {sidecar.name} beside it, with the id of each row, one "
            "a line"
        )
    lines = (
        sidecar.read_bytes()
        .decode("utf-8-sig")
        .replace("\r\n", "\n")
        .removesuffix("\n")
        .split("\n")
    )
    if len(lines) != len(stored):
        raise InputError(
            f"{where}: {sidecar} has {len(lines)} lines, and {path.name} has {len(stored)} rows; "
            "there should be one id for each"
        )
    rows = _rows(pd.Index(lines, dtype=object), ids, path, where)
    if not numbers:
        return np.empty((0, stored.shape[1]), dtype=np.float32)
    out = np.empty((len(ids), stored.shape[1]), dtype=np.float32)
    order = np.argsort(rows)
    with np.errstate(
        over="ignore"
    ):  # a float64 beyond float32 becomes infinity; clustering says so
        for start in range(0, len(order), _CHUNK):
            chunk = order[start : start + _CHUNK]
            out[chunk] = stored[rows[chunk]]
    return out


def _from_parquet(path: Path, ids: Sequence[str], where: str, numbers: bool) -> Points:
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(path) as file:
        kinds = {field.name: field.type for field in file.schema_arrow}
        kind = kinds.get("embedding", pa.null())
        lists = (
            pa.types.is_list(kind)
            or pa.types.is_large_list(kind)
            or pa.types.is_fixed_size_list(kind)
        )
        texts = kinds.get("id", pa.null())
        if not (
            lists
            and pa.types.is_floating(kind.value_type)
            and (pa.types.is_string(texts) or pa.types.is_large_string(texts))
        ):
            has = ", ".join(f"{name} ({kind})" for name, kind in kinds.items())
            raise InputError(
                f"{where}: {path}: embeddings need the columns id (string) and embedding (list of "
                f"floats), and this has {has[:200]}"
            )
        _check_promises(file, path, f"{where}: {path}")
        names = file.read(columns=["id"]).column("id")
        if names.null_count:
            raise InputError(f"{where}: {path}: {names.null_count} rows have no id")
        rows = _rows(pd.Index(names.to_numpy(zero_copy_only=False), dtype=object), ids, path, where)
        if not numbers:
            return np.empty((0, 0), dtype=np.float32)
        order = np.argsort(rows)
        out: Points | None = None
        first = 0
        for batch in file.iter_batches(batch_size=_rows_at_once(file), columns=["embedding"]):
            column = batch.column("embedding")
            table = _table(column, f"{where}: {path}")
            out = np.empty((len(ids), table.shape[1]), dtype=np.float32) if out is None else out
            if table.shape[1] != out.shape[1]:
                raise InputError(
                    f"{where}: {path}: embeddings of {out.shape[1]} and of {table.shape[1]} "
                    "numbers; all should have one length"
                )
            some = order[slice(*np.searchsorted(rows[order], [first, first + len(table)]))]
            with np.errstate(over="ignore"):
                out[some] = table[rows[some] - first]
            first += len(table)
    return np.empty((0, 0), dtype=np.float32) if out is None else out


def _check_promises(file: Any, path: Path, where: str) -> None:
    """Raises InputError where the file says it holds more ids than it has bytes, or embeddings that
    are wider than any: equal numbers take next to no room in it, and all of theirs in memory.
    """
    rows, size = file.metadata.num_rows, path.stat().st_size
    if rows > size:
        raise InputError(
            f"{where}: its header promises {rows:,} rows, and the file has {size:,} bytes"
        )
    kind = file.schema_arrow.field("embedding").type
    _check_width(getattr(kind, "list_size", 0), where)
    _check_width(_width(file), where)


def _width(file: Any) -> int:
    """Numbers in an embedding, as the header has it; rounded up."""
    rows, numbers = int(file.metadata.num_rows), 0
    for at in range(file.metadata.num_row_groups):
        group = file.metadata.row_group(at)
        for column in range(group.num_columns):
            if group.column(column).path_in_schema.split(".")[0] == "embedding":
                numbers += int(group.column(column).num_values)
    return -(-numbers // max(1, rows))


def _rows_at_once(file: Any) -> int:
    return max(1, min(_CHUNK, _NUMBERS_AT_ONCE // max(1, _width(file))))


def _check_width(width: int, where: str) -> None:
    if width > MAX_WIDTH:
        raise InputError(
            f"{where}: embeddings of {width:,} numbers; more than {MAX_WIDTH:,} are not read, "
            "reduce them before (by PCA, say)"
        )


def _table(column: Any, where: str) -> NDArray[np.floating[Any]]:
    """[num_rows, width] of an Arrow array of lists, without a look at single rows."""
    lengths = column.value_lengths()
    if lengths.null_count:
        raise InputError(f"{where}: {lengths.null_count} rows or more have no embedding")
    least, most = int(lengths.to_numpy().min()), int(lengths.to_numpy().max())
    if least != most or most == 0:
        raise InputError(
            f"{where}: embeddings of {least} and of {most} numbers; all should have one length, at "
            "least 1"
        )
    numbers = column.flatten()
    if numbers.null_count:
        raise InputError(
            f"{where}: {numbers.null_count} numbers or more are missing inside embeddings"
        )
    table: NDArray[np.floating[Any]] = numbers.to_numpy(zero_copy_only=False)
    return table.reshape(len(column), most)


def _rows(names: pd.Index[str], ids: Sequence[str], path: Path, where: str) -> Codes:
    """int64 [len(ids)]: the row of each id among `names`."""
    twice = names[names.duplicated()]
    if len(twice):
        raise InputError(
            f"{where}: {path}: {len(twice)} rows repeat an id, the first is {twice[0]!r}; keep one "
            "row for each image"
        )
    rows = names.get_indexer(pd.Index(ids, dtype=object)).astype(np.int64)
    missing = np.flatnonzero(rows < 0)
    if len(missing):
        raise InputError(
            f"{where}: {path}: {len(missing)} of {len(ids)} images have no embedding, the first is "
            f"{ids[missing[0]]!r}"
        )
    return rows
