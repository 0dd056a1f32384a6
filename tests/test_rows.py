"""Rows: the schema holds on the way in and on the way out, and a table survives every format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headwater.errors import InputError
from headwater.rows import COLUMNS, NAMES, VOLATILE, check_row, comparable, read_rows, to_frame, write_rows

FORMATS = (".csv", ".parquet", ".jsonl")


def row(**changes: Any) -> dict[str, Any]:
    """A row with the required fields alone."""
    words = {
        "cell": "c", "arm": "a", "study": "s", "status": "done", "metric": "top1", "subset": "all", "value": 0.5, "method": "scratch", "backbone": "tiny",
        "image_size": 32, "seed": 0, "task": "t", "task_labels": "level:0", "protocol": "probe", "schema": 1,
    }
    return {**words, **changes}


ROWS = [
    row(),
    row(cell="d", value=0.1 + 0.2, shots=0, leaked_test_images=0, label_reuse=False, lr=1e-300, reason='a "quoted", text\nof two lines', n_test=2**40),
    row(cell="e", value=None, status="diverged", reason="loss nan", label_reuse=True, source="NA", labels="null", chosen='{"l2":1e-05}', host="é · 雪"),
    row(cell="f", value=1 / 3, method="supervised", size="50", draw=3, pretrain_flops=1.2345678901234567e18),
]


@pytest.mark.parametrize("suffix", FORMATS)
def test_a_table_survives_every_format_to_the_last_digit(suffix: str, tmp_path: Path) -> None:
    frame = to_frame(ROWS)
    write_rows(frame, tmp_path / f"rows{suffix}")
    pd.testing.assert_frame_equal(read_rows(tmp_path / f"rows{suffix}"), frame, check_exact=True)
    assert [path.name for path in tmp_path.iterdir()] == [f"rows{suffix}"]


@pytest.mark.parametrize("suffix", FORMATS)
def test_missing_is_null_and_not_zero_or_false(suffix: str, tmp_path: Path) -> None:
    write_rows(to_frame(ROWS), tmp_path / f"rows{suffix}")
    frame = read_rows(tmp_path / f"rows{suffix}").set_index("cell")
    assert frame.loc["d", "shots"] == 0
    assert frame["shots"].isna().tolist() == [True, False, True, True]
    assert frame["label_reuse"].isna().tolist() == [True, False, False, True]
    assert frame["value"].isna().tolist() == [False, False, True, False]
    assert not (frame["shots"].dropna() != 0).any()


def test_an_empty_table_survives(tmp_path: Path) -> None:
    for suffix in (".csv", ".parquet"):
        write_rows(to_frame([]), tmp_path / f"rows{suffix}")
        assert len(read_rows(tmp_path / f"rows{suffix}")) == 0


def test_the_required_columns_are_enough_and_others_are_dropped(tmp_path: Path) -> None:
    pd.DataFrame([row(mine="x")]).to_csv(tmp_path / "rows.csv", index=False)
    frame = read_rows(tmp_path / "rows.csv")
    assert tuple(frame.columns) == NAMES
    assert frame["source"].isna().all()


@pytest.mark.parametrize(
    ("column", "value"),
    [("seed", "many"), ("seed", 1.5), ("value", "high"), ("label_reuse", "maybe"), ("status", "fine"), ("cell", None), ("value", None)],
)
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_table_of_wrong_types_is_refused_and_the_column_named(column: str, value: Any, suffix: str, tmp_path: Path) -> None:
    frame = pd.DataFrame([row(label_reuse="true"), row(**{"label_reuse": "true", column: value})]).astype({column: object})
    path = tmp_path / f"rows{suffix}"
    if suffix == ".csv":
        frame.to_csv(path, index=False)
    elif suffix == ".jsonl":
        frame.to_json(path, orient="records", lines=True)
    else:
        frame[column] = frame[column].astype("string")
        frame.to_parquet(path)
    with pytest.raises(InputError, match=column) as caught:
        read_rows(path)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("column", [column for column in COLUMNS if column.required], ids=lambda column: column.name)
def test_each_required_field_is_required(column: Any) -> None:
    with pytest.raises(InputError, match=column.name):
        check_row(row(**{column.name: None}))


@pytest.mark.parametrize("column", COLUMNS, ids=lambda column: column.name)
def test_a_field_of_the_wrong_type_is_refused(column: Any) -> None:
    wrong = {"str": 1, "int": 1.5, "float": "1", "bool": 1}[column.kind]
    with pytest.raises(InputError, match=f"'{column.name}' should be {column.kind}"):
        check_row(row(**{column.name: wrong}))
    if column.kind in ("int", "float"):
        with pytest.raises(InputError, match=column.name):
            check_row(row(**{column.name: True}))


def test_rows_are_compared_without_what_may_differ() -> None:
    assert {"seconds", "pretrain_seconds", "host", "finished", "attempt", "study"} == set(VOLATILE)
    one, other = to_frame([row(host="x", seconds=1.0)]), to_frame([row(host="y", seconds=2.0, attempt=3, study="another")])
    assert comparable(one).equals(comparable(other))
    assert not comparable(one).equals(comparable(to_frame([row(value=0.25)])))


def test_a_table_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"\.csv, \.parquet or \.jsonl"):
        write_rows(to_frame(ROWS), tmp_path / "rows.txt")
    (tmp_path / "rows.csv").write_text("old")
    frame = to_frame(ROWS)
    frame.to_csv = lambda *args, **words: 1 / 0  # type: ignore[method-assign, assignment]
    with pytest.raises(ZeroDivisionError):
        write_rows(frame, tmp_path / "rows.csv")
    assert [(path.name, path.read_text()) for path in tmp_path.iterdir()] == [("rows.csv", "old")]
