"""Tables of results: a word is a word, a name is known, and one cell has one value."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headwater.errors import InputError
from headwater.registry import METHODS
from headwater.rows import check_row, conform, read_rows, to_frame, write_rows
from headwater.store import Store
from tests.test_rows import row

WORDS: dict[str, tuple[dict[str, Any], str]] = {
    "a space after a method": ({"method": "scratch "}, "write 'scratch'"),
    "a space before a task": ({"task": " t"}, "write 't'"),
    "a space that does not break": ({"source": "photos\u00a0"}, "has spaces around it"),
    "an unknown method": ({"method": "supervized"}, "did you mean 'supervised'?"),
    "a method in capitals": ({"method": "SimCLR"}, "'SimCLR' is none of"),
    "an unknown protocol": ({"protocol": "prob"}, "did you mean 'probe'?"),
    "a subset of other letters": ({"subset": "All"}, "is none of all, easy, hard, unleaked"),
    "a schema to come": ({"schema": 99}, "99 is no schema that this version"),
    "no schema at all": ({"schema": 0}, "0 is no schema that this version"),
    "an escape": ({"task": "t\x1b[31m"}, "holds an escape (\\x1b)"),
    "C1": ({"source": "p\x9b31m"}, "holds a control character (\\x9b)"),
    "a mark of direction": ({"labels": "a\u202eb"}, "turns the direction of writing"),
    "a line break": ({"task": "t\nu"}, "holds a line break"),
    "a null": ({"arm": "a\x00"}, "holds a control character (\\x00)"),
    "a bell in a reason": ({"reason": "no\x07"}, "holds a control character (\\x07)"),
    "a long name": ({"source": "p" * 257}, "has 257 characters; a name has at most 256"),
    "an empty name": ({"source": ""}, "is empty"),
}


@pytest.mark.parametrize(("changes", "part"), WORDS.values(), ids=WORDS)
def test_a_word_that_is_none_is_refused_on_a_row_and_in_a_table_with_its_row(
    changes: dict[str, Any], part: str
) -> None:
    with pytest.raises(InputError) as of_row:
        check_row(row(**changes))
    with pytest.raises(InputError) as of_table:
        conform(pd.DataFrame([row(), row(cell="d", **changes)]), "rows.csv")
    for error in (of_row, of_table):
        assert part in str(error.value)
        assert next(iter(changes)) in str(error.value)
    assert "rows.csv" in str(of_table.value)
    assert "row 2 (cell d)" in str(of_table.value)
    assert str(of_table.value).isprintable()


def test_a_sentence_may_have_lines_and_a_name_any_letters() -> None:
    words = {"reason": "one\n\ttwo", "source": "pâté 雪", "labels": "x" * 256}
    assert check_row(row(**words)) | words == check_row(row(**words))


def test_protocols_of_simulated_networks_are_theirs() -> None:
    check_row(row(protocol="neurons", constants="{}"))


HEADINGS = {
    "a space": (" shots", "should be written 'shots'"),
    "capitals": ("Shots", "should be written 'shots'"),
    "a hyphen": ("n-test", "should be written 'n_test'"),
    "an escape": ("sh\x1bots", "holds an escape"),
    "a mark": ("\u202eshots", "turns the direction"),
    "twice": ("seed", "'seed' is there twice"),
}


@pytest.mark.parametrize(("heading", "part"), HEADINGS.values(), ids=HEADINGS)
def test_a_column_that_would_be_passed_over_is_refused(
    heading: str, part: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    words = row()
    path.write_text(",".join([*words, heading]) + "\n" + ",".join(map(str, [*words.values(), 1])))
    with pytest.raises(InputError, match=r"rows\.csv") as error:
        read_rows(path)
    assert part in str(error.value)


def test_a_row_with_a_field_too_many_is_refused(tmp_path: Path) -> None:
    """In every row: pandas would take the first column for an index, and all would be shifted."""
    path = tmp_path / "rows.csv"
    words = row()
    path.write_text(",".join(words) + "\n" + ",".join(map(str, [*words.values(), 1])) + "\n")
    with pytest.raises(InputError, match="cannot be read as a table of rows"):
        read_rows(path)


TWICE = {
    "another number": ([row(), row(value=0.25)], "0.5 in row 1 and 0.25 in row 2"),
    "far apart": ([row(), row(cell="d"), row(value=0.25)], "0.5 in row 1 and 0.25 in row 3"),
    "a last digit": ([row(value=0.1 + 0.2), row(value=0.3)], "0.30000000000000004 in row 1"),
    "diverged": ([row(), row(value=None, status="diverged")], "0.5 in row 1 and diverged in row 2"),
    "under two names": ([row(), row(value=0.25, task="u")], "0.5 in row 1 and 0.25 in row 2"),
    "of another study": ([row(study="z"), row(value=1.0)], "0.5 in row 1 and 1.0 in row 2"),
}


@pytest.mark.parametrize(("rows", "part"), TWICE.values(), ids=TWICE)
def test_one_cell_with_two_values_is_refused_with_both_and_their_rows(
    rows: list[dict[str, Any]], part: str
) -> None:
    with pytest.raises(InputError, match="the cell c has two values of top1") as error:
        conform(pd.DataFrame(rows), "rows.csv")
    assert part in str(error.value)


def test_a_number_that_is_there_twice_counts_once_and_is_counted() -> None:
    """Two exports put together, with a failure that was tried again since."""
    failed = row(cell="d", status="failed", value=None, reason="no memory")
    twice = [row(host="a"), row(host="b", seconds=2.0), failed, row(cell="d")]
    table = conform(pd.DataFrame(twice), "rows.csv")
    assert table["cell"].tolist() == ["c", "d"]
    assert table["status"].tolist() == ["done", "done"]
    assert table.attrs["repeats"] == 2
    assert len(conform(table, "again")) == 2
    assert conform(table, "again").attrs["repeats"] == 2


def test_one_cell_under_two_names_is_two_rows() -> None:
    table = conform(pd.DataFrame([row(source="a"), row(source="b")]), "rows.csv")
    assert sorted(table["source"]) == ["a", "b"]


def test_a_store_whose_files_disagree_on_a_cell_is_refused_with_both_files(tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    store.write_rows("c", [row()])
    original = store.rows / "c.json"
    for name, value in (("c (1).json", 0.5), ("c.sync-conflict-1.json", 0.25)):
        copy = json.loads(original.read_text())["rows"]
        copy[0]["value"] = value
        (store.rows / name).write_text(json.dumps(copy))
        if value == 0.5:
            assert len(read_rows(store.root)) == 1
    with pytest.raises(InputError, match="the cell c has two values") as error:
        read_rows(store.root)
    for part in ("0.5", "0.25", "c.sync-conflict-1.json"):
        assert part in str(error.value)


FORMULAS = {
    "=": "=HYPERLINK(0)",
    "+": "+cmd|' /C calc'!A0",
    "-": "-2+3+cmd",
    "@": "@SUM(1)",
    "'=": "'=1+1",
    "''@": "''@x",
}


@pytest.mark.parametrize("text", FORMULAS.values(), ids=FORMULAS)
def test_a_cell_that_a_spreadsheet_would_run_is_inert_in_an_export_and_read_as_it_was(
    text: str, tmp_path: Path
) -> None:
    path = tmp_path / "rows.csv"
    write_rows(to_frame([row(source=text)]), path)
    (written,) = pd.read_csv(path)["source"]
    assert written == "'" + text
    assert read_rows(path)["source"].tolist() == [text]


@pytest.mark.parametrize("first", ["\t", "\n", "\r"])
def test_a_reason_that_begins_with_white_space_survives(first: str, tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    if first == "\r":
        with pytest.raises(InputError, match="a carriage return"):
            check_row(row(reason=first + "=1"))
        return
    write_rows(to_frame([row(reason=first + "=1")]), path)
    assert read_rows(path)["reason"].tolist() == [first + "=1"]


def test_raw_exports_have_the_cells_as_they_are(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    write_rows(to_frame([row(source="=1+1")]), path, raw=True)
    assert pd.read_csv(path)["source"].tolist() == ["=1+1"]


def test_numbers_of_an_export_stay_numbers(tmp_path: Path) -> None:
    path = tmp_path / "rows.csv"
    words = row(metric="response_x", value=-1.5, lr=-0.0001, source="-5", labels="+3e-4")
    write_rows(to_frame([words]), path)
    read = pd.read_csv(path)
    assert (read["value"][0], read["lr"][0]) == (-1.5, -0.0001)
    assert (read["source"][0], read["labels"][0]) == (-5, 3e-4)
    assert read_rows(path)["source"].tolist() == ["-5"]


def test_only_csv_is_changed(tmp_path: Path) -> None:
    for ending in (".jsonl", ".parquet"):
        write_rows(to_frame([row(source="=1+1")]), tmp_path / f"rows{ending}")
        assert read_rows(tmp_path / f"rows{ending}")["source"].tolist() == ["=1+1"]
    assert "'=1+1" not in (tmp_path / "rows.jsonl").read_text()


@pytest.mark.parametrize("column", ["method", "protocol"])
@pytest.mark.parametrize("kept_in", ["versions", "pretrain_versions"])
def test_a_name_of_another_package_is_read_where_the_versions_name_the_package(
    column: str, kept_in: str
) -> None:
    """Each row has to say so, a row of a store as one of a table."""
    versions = json.dumps({"headwater": "0.1.0", f"{column} mine": "my-package 1.0"})
    known = row(cell="a", **{column: "mine", kept_in: versions})
    check_row(known, "a row")
    assert set(conform(pd.DataFrame([known]), "rows")[column]) == {"mine"}
    unknown = row(cell="b", **{column: "mine", kept_in: json.dumps({"mine": "my-package 1.0"})})
    for wrong in ([unknown], [known, unknown]):
        with pytest.raises(InputError, match=r"cell b.*'mine' is none of .*name that package"):
            conform(pd.DataFrame(wrong), "rows")
    with pytest.raises(InputError, match="Install the package that brings it"):
        check_row(unknown, "a row")


def test_what_another_package_brought_stands_in_the_versions_of_its_rows() -> None:
    from headwater import device

    with METHODS.registered(type("Mine", (METHODS["supervised"],), {"name": "mine"})):
        told = json.loads(device.versions(method="mine", protocol="probe"))
    assert told["method mine"] == "registered in Python"
    assert told.keys() - json.loads(device.versions(method="clip")).keys() == {"method mine"}
