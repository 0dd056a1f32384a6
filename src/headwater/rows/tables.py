"""Tables of rows: made, read and written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater import digests
from headwater.errors import InputError
from headwater.files import atomic_path
from headwater.rows.checks import check_row, sorted_rows
from headwater.rows.csv_cells import as_written, inert
from headwater.rows.schema import COLUMNS, NAMES, PANDAS_TYPES, VOLATILE
from headwater.rows.words import check_headings

if TYPE_CHECKING:
    import pandas as pd

FAILED = ".failed.json"
"""What the file of a cell that failed ends in."""
CELL_FILE = re.compile(r"[0-9A-Za-z]+(\.failed)?\.json")
"""Names that a store gives: an id, and what it is. Copies of sync tools have other ones."""


def to_frame(rows: Iterable[Mapping[str, Any]]) -> pd.DataFrame:
    """A DataFrame with the schema's columns, in order, in pandas' nullable types, sorted so that
    equal rows make equal tables.
    """
    import pandas as pd

    listed = list(rows)
    columns: dict[str, Any] = {}
    for column in COLUMNS:
        values: Any = [row.get(column.name) for row in listed]
        columns[column.name] = pd.array(values, dtype=PANDAS_TYPES[column.kind])
    return sorted_rows(pd.DataFrame(columns))


def comparable(frame: pd.DataFrame) -> pd.DataFrame:
    """The rows without their volatile columns: what must be equal between two correct runs of one
    study.
    """
    return frame.drop(columns=[name for name in NAMES if name in VOLATILE and name in frame])


def cell_file_text(rows: Sequence[Mapping[str, Any]]) -> str:
    """A file of the rows of one cell: an object with `rows`, sealed (headwater.digests)."""
    return json.dumps(digests.sealed({"rows": list(rows)}), indent=0, allow_nan=False) + "\n"


def read_cell_file(file: Path, cell: str | None = None) -> list[dict[str, Any]]:
    """The rows of one cell, as `store.Store.write_rows` wrote them; or a list of rows, as they were
    written before there were digests.

    A damaged file, or one of another cell than `cell`, is an InputError that says to remove it.
    """
    try:
        rows = digests.reading(lambda: json.loads(file.read_text(encoding="utf-8")))
        if isinstance(rows, dict):
            rows = digests.checked(rows).get("rows")
        if not isinstance(rows, list) or not rows or not all(isinstance(row, dict) for row in rows):
            raise digests.Damaged("a list of rows was expected")
        checked = digests.reading(lambda: [check_row(row, "a row") for row in rows])
        others = {row["cell"] for row in checked} - {cell}
        if cell is not None and others:
            raise digests.Damaged(f"it holds rows of the cell {min(others)}")
        return checked
    except (OSError, ValueError) as error:
        raise InputError(
            f"{file}: this file of rows is damaged ({error}); remove it, and the next run makes it "
            "again"
        ) from None


def read_table(path: Path) -> pd.DataFrame:
    """A table of any origin, as it is. Raises InputError where it cannot be read."""
    import pandas as pd

    _check_suffix(path, "read from a store folder,")
    try:
        if path.suffix == ".csv":
            return as_written(_read_csv(path))
        if path.suffix == ".parquet":
            return _read_parquet(path)
        lines = path.read_text().splitlines()
        return pd.DataFrame([json.loads(line) for line in lines if line.strip()])
    except InputError:
        raise
    except Exception as error:  # pandas, pyarrow and json each have their own kinds
        raise InputError(f"{path}: cannot be read as a table of rows ({error})") from None


def _read_csv(path: Path) -> pd.DataFrame:
    """A table as texts. Raises for rows with more fields than there are columns."""
    import csv
    import warnings

    import pandas as pd

    with path.open(newline="", encoding="utf-8-sig") as file:
        headings = next(csv.reader(file), [])
    check_headings(headings, str(path))
    with warnings.catch_warnings():
        # With one field more in every row, pandas would take the first column for an index.
        warnings.simplefilter("error", pd.errors.ParserWarning)
        return pd.read_csv(
            path, dtype="string", keep_default_na=False, na_values=[""], index_col=False
        )


def _read_parquet(path: Path) -> pd.DataFrame:
    """A table with its texts as categories, and its whole numbers as they are where some are
    null.
    """
    import pandas as pd
    import pyarrow as pa
    import pyarrow.parquet as pq

    digests.check_parquet(path, _BYTES_A_ROW)
    texts = [field.name for field in pq.read_schema(path) if _is_text(field.type)]
    exact = {pa.int64(): pd.Int64Dtype(), pa.bool_(): pd.BooleanDtype()}
    table = pq.read_table(path, read_dictionary=texts)
    frame: pd.DataFrame = table.to_pandas(
        types_mapper=exact.get, ignore_metadata=True, split_blocks=True, self_destruct=True
    )
    # Arrow keeps what it freed; of a million rows that is half a gigabyte.
    del table
    pa.default_memory_pool().release_unused()
    return frame


def _is_text(kind: Any) -> bool:
    import pyarrow as pa

    return bool(pa.types.is_string(kind) or pa.types.is_large_string(kind))


def write_rows(frame: pd.DataFrame, path: Path, *, raw: bool = False) -> None:
    """A table of rows as .csv, .parquet or .jsonl, whole or not at all.

    Texts of a .csv that a spreadsheet would run as formulas begin with an apostrophe, which
    `read_rows` takes away again; `raw` leaves them as they are.

    Raises InputError for another ending or a path that cannot be written.
    """
    _check_suffix(path, "written as")
    if path.suffix == ".csv" and not raw:
        frame = inert(frame)
    try:
        with atomic_path(path) as temp:
            if path.suffix == ".csv":
                frame.to_csv(temp, index=False)
            elif path.suffix == ".parquet":
                write_parquet(frame, temp)
            else:
                temp.write_text(_json_lines(frame), encoding="utf-8")
    except OSError as error:
        raise InputError(f"{path}: cannot be written ({error.strerror})") from None


_ROW_GROUP = 100_000
_BYTES_A_ROW = 0.25
"""Of a Parquet file at least [ours]; the tables in docs/results take 13 to 83."""


def write_parquet(frame: pd.DataFrame, path: Path) -> None:
    """As `frame.to_parquet` does, but for a part of the rows at a time, and each text once: in a
    million rows, texts alone would be gigabytes.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    like = pa.Schema.from_pandas(frame.iloc[:0], preserve_index=False)
    fields = [
        pa.field(field.name, pa.dictionary(pa.int32(), field.type))
        if _is_text(field.type)
        else field
        for field in like
    ]
    schema = pa.schema(fields)
    # Without the schema of the dictionaries, whoever reads the file gets plain texts.
    with pq.ParquetWriter(path, schema, store_schema=False) as writer:
        writer.add_key_value_metadata(like.metadata)
        for start in range(0, max(1, len(frame)), _ROW_GROUP):
            rows = frame.iloc[start : start + _ROW_GROUP]
            columns = [_as_arrow(rows[field.name], field.type) for field in fields]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))


def codes_of(column: pd.Series[Any]) -> tuple[Any, Any]:
    """The code of each value and the distinct ones, -1 for a null, as `pandas.factorize` gives
    them: that reads each text to its end, which takes long where all are one long text.
    """
    import numpy as np
    import pandas as pd

    if column.dtype == PANDAS_TYPES["str"] and len(column):
        texts = column.to_numpy(dtype=object).tolist()
        # `count` asks whether two texts are one object before it reads them
        if isinstance(texts[0], str) and _all_equal(texts):
            return np.zeros(len(column), dtype=np.intp), column.array[:1]
    return pd.factorize(column)


def _all_equal(texts: list[Any]) -> bool:
    try:
        return texts.count(texts[0]) == len(texts)
    except TypeError:  # a null among them is neither equal nor unequal
        return False


def _as_arrow(column: pd.Series[Any], kind: Any) -> Any:
    import pyarrow as pa

    if not pa.types.is_dictionary(kind):
        return pa.Array.from_pandas(column, type=kind)
    codes, distinct = codes_of(column)
    indices = pa.array(codes, type=pa.int32(), mask=codes < 0)
    return pa.DictionaryArray.from_arrays(indices, pa.array(distinct, type=kind.value_type))


def _json_lines(frame: pd.DataFrame) -> str:
    records = frame.astype(object).where(frame.notna(), None).to_dict(orient="records")
    lines = [json.dumps(record, ensure_ascii=False, allow_nan=False) for record in records]
    return "".join(f"{line}\n" for line in lines)


def _check_suffix(path: Path, done: str) -> None:
    if path.suffix not in (".csv", ".parquet", ".jsonl"):
        raise InputError(f"{path}: rows are {done} .csv, .parquet or .jsonl")
