"""Rows: the schema holds on the way in and on the way out, and a table survives every format."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headwater.errors import InputError
from headwater.rows import (
    COLUMNS,
    NAMES,
    VOLATILE,
    check_row,
    comparable,
    conform,
    read_rows,
    to_frame,
    write_rows,
)

FORMATS = (".csv", ".parquet", ".jsonl")


def row(**changes: Any) -> dict[str, Any]:
    """A row with the required fields alone."""
    words = {
        "cell": "c",
        "arm": "a",
        "study": "s",
        "status": "done",
        "metric": "top1",
        "subset": "all",
        "value": 0.5,
        "method": "scratch",
        "backbone": "tiny",
        "image_size": 32,
        "seed": 0,
        "task": "t",
        "task_labels": "level:0",
        "protocol": "probe",
        "schema": 1,
    }
    return {**words, **changes}


ROWS = [
    row(),
    row(
        cell="d",
        value=0.1 + 0.2,
        shots=1,
        draw=0,
        leaked_test_images=0,
        label_reuse=False,
        lr=1e-300,
        reason='a "quoted", text\nof two lines',
        n_test=2**40,
    ),
    row(
        cell="e",
        value=None,
        status="diverged",
        reason="loss nan",
        label_reuse=True,
        source="NA",
        labels="null",
        chosen='{"l2":1e-05}',
        host="é · 雪",
    ),
    row(
        cell="f",
        value=1 / 3,
        method="supervised",
        size="50",
        draw=3,
        pretrain_flops=1.2345678901234567e18,
    ),
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
    assert frame.loc["d", "draw"] == 0
    assert frame["draw"].isna().tolist() == [True, False, True, False]
    assert frame["label_reuse"].isna().tolist() == [True, False, False, True]
    assert frame["value"].isna().tolist() == [False, False, True, False]
    assert not (frame["label_reuse"].dropna() == pd.Series({"d": True, "e": False})).any()


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
    [
        ("seed", "many"),
        ("seed", 1.5),
        ("value", "high"),
        ("label_reuse", "maybe"),
        ("status", "fine"),
        ("cell", None),
        ("value", None),
    ],
)
@pytest.mark.parametrize("suffix", FORMATS)
def test_a_table_of_wrong_types_is_refused_and_the_column_named(
    column: str, value: Any, suffix: str, tmp_path: Path
) -> None:
    frame = pd.DataFrame(
        [row(label_reuse="true"), row(**{"label_reuse": "true", column: value})]
    ).astype({column: object})
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


WRONG_NUMBERS = [
    ("value", float("inf")), ("value", -float("inf")), ("value", 5), ("value", -3), ("val_value",
    1.01), ("task_majority", float("inf")),
    ("task_majority", -0.1), ("pretrain_loss", float("inf")), ("seconds", float("inf")), ("shots",
    0), ("shots", -1), ("draw", -1),
    ("n_test", -1), ("leaked_test_images", -7), ("image_size", 0), ("seed", 99999999999999999999),
    ("seed", 2**63), ("seed", -(2**64)),
]  # fmt: skip


@pytest.mark.parametrize(
    ("column", "number"),
    WRONG_NUMBERS,
    ids=[f"{column}-{number:g}" for column, number in WRONG_NUMBERS],
)
def test_a_number_that_no_cell_can_have_is_refused_with_its_column_and_row(
    column: str, number: Any, tmp_path: Path
) -> None:
    rows = [row(), row(cell="guilty", **{column: number})]
    with pytest.raises(InputError, match=f"'{column}' should be "):
        check_row(rows[1])
    made = {
        "frame": lambda: conform(pd.DataFrame(rows).astype({column: object}), "rows"),
        "rows.csv": lambda: read_rows(tmp_path / "rows.csv"),
        "rows.jsonl": lambda: read_rows(tmp_path / "rows.jsonl"),
    }
    pd.DataFrame(rows).astype({column: object}).to_csv(tmp_path / "rows.csv", index=False)
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    for words, make in made.items():
        with pytest.raises(
            InputError, match=rf"'{column}' should be .* row 2 \(cell guilty\)"
        ) as caught:
            make()
        assert "\n" not in str(caught.value) and len(str(caught.value)) < 400, words


def test_an_integer_of_hundreds_of_digits_is_refused_with_its_column(tmp_path: Path) -> None:
    rows = [row(), row(lr=10**400)]
    (tmp_path / "rows.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    pd.DataFrame(rows).to_csv(tmp_path / "rows.csv", index=False)
    for make in (
        lambda: check_row(rows[1]),
        lambda: read_rows(tmp_path / "rows.csv"),
        lambda: read_rows(tmp_path / "rows.jsonl"),
    ):
        with pytest.raises(InputError, match="'lr' should be "):
            make()


def test_numbers_at_the_ends_of_their_ranges_are_taken() -> None:
    ends = [
        row(value=0.0, shots=1, draw=0, n_test=0, task_majority=1.0),
        row(cell="d", value=1, val_value=1.0, seed=2**53, image_size=1),
    ]
    assert conform(pd.DataFrame([check_row(r) for r in ends]), "rows")["value"].tolist() == [
        0.0,
        1.0,
    ]


def test_a_row_to_blame_is_found_whatever_the_index() -> None:
    frame = pd.DataFrame([row(), row(cell="d", status="fine")], index=[7, 7])
    with pytest.raises(InputError, match=r"'fine' in row 2 \(cell d\)"):
        conform(frame, "rows")


def test_a_failure_beside_the_finished_cell_is_not_read(tmp_path: Path) -> None:
    failed = row(status="failed", value=None, reason="no luck")
    for name, words in (
        ("c.json", row()),
        ("c.failed.json", failed),
        ("d.failed.json", {**failed, "cell": "d"}),
    ):
        (tmp_path / name).write_text(json.dumps([words]))
    frame = read_rows(tmp_path)
    assert list(zip(frame["cell"], frame["status"], strict=True)) == [
        ("c", "done"),
        ("d", "failed"),
    ]


def refusal(changes: dict[str, Any]) -> str:
    """What is said against a row with these changes; empty where it is taken."""
    try:
        check_row(row(**changes))
    except InputError as error:
        return str(error)
    return ""


def test_each_required_field_is_required() -> None:
    required = [column.name for column in COLUMNS if column.required]
    assert [name for name in required if name not in refusal({name: None})] == []


def test_a_field_of_the_wrong_type_is_refused() -> None:
    wrong = {"str": (1,), "int": (1.5, True), "float": ("1", True), "bool": (1,)}
    taken = []
    for column in COLUMNS:
        for value in wrong[column.kind]:
            if f"'{column.name}' should be {column.kind}" not in refusal({column.name: value}):
                taken.append((column.name, value))
    assert taken == []


def test_rows_are_compared_without_what_may_differ() -> None:
    assert {"seconds", "pretrain_seconds", "host", "finished", "attempt", "study", "commit"} == set(
        VOLATILE
    )
    one, other = (
        to_frame([row(host="x", seconds=1.0)]),
        to_frame([row(host="y", seconds=2.0, attempt=3, study="another")]),
    )
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
