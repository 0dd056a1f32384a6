"""Rows that were read once come from tables, equal to what the files say, for as long as the files
are what they were.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pandas as pd
import pytest

from headwater.errors import InputError
from headwater.rows import kept, read_rows, to_frame
from headwater.rows.reading import KeptRows
from headwater.store import Store
from tests.test_rows import ROWS, row

MANY = 12


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Store:
    """One of twelve cells, for which a table is worth its while."""
    for room in ("headwater.rows.kept", "headwater.rows.reading", "headwater.store.cells"):
        monkeypatch.setattr(f"{room}.LEAST", 4)
    opened = Store(tmp_path / "store", create=True)
    for number in range(MANY):
        opened.write_rows(f"c{number:02}", rows_of(number))
    return opened


def rows_of(number: int) -> list[dict[str, Any]]:
    """All kinds of values, and their absence; two metrics."""
    words = {**ROWS[number % len(ROWS)], "cell": f"c{number:02}"}
    return [words, {**words, "metric": "ece"}] if words["status"] == "done" else [words]


def expected(numbers: range | list[int]) -> pd.DataFrame:
    return to_frame(each for number in numbers for each in rows_of(number))


def ids(numbers: range | list[int]) -> list[str]:
    return [f"c{number:02}" for number in numbers]


def tables(store: Store) -> list[Path]:
    return sorted((store.cache / "rows").glob("table-*"))


def read_from(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The names of the files that are read from now on."""
    names: list[str] = []
    read = Store._read_file

    def noted(self: Store, name: str) -> list[dict[str, Any]]:
        names.append(name)
        return read(self, name)

    monkeypatch.setattr(Store, "_read_file", noted)
    return names


def test_rows_from_a_table_are_those_of_the_files(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    pd.testing.assert_frame_equal(store.rows_of(ids(range(MANY))), expected(range(MANY)))
    assert len(tables(store)) == 1
    names = read_from(monkeypatch)
    other = Store(store.root)
    pd.testing.assert_frame_equal(other.rows_of(ids(range(MANY))), expected(range(MANY)))
    some = [1, 5, 6]
    pd.testing.assert_frame_equal(other.rows_of([*ids(some), "none"]), expected(some))
    assert names == []
    few = other.rows_of(ids(some), only={"value"})
    pd.testing.assert_frame_equal(few, expected(some)[list(few.columns)])
    assert {"cell", "metric", "value"} <= set(few.columns) and "host" not in few
    pd.testing.assert_frame_equal(read_rows(store.root), expected(range(MANY)))


def test_a_file_that_is_another_is_read_again(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    store.rows_of(ids(range(MANY)))
    store.write_rows("c03", [{**row(), "cell": "c03", "value": 0.875}])
    store.write_rows("c99", [{**row(), "cell": "c99"}])
    store.drop_cell("c04")
    names = read_from(monkeypatch)
    found = store.rows_of([*ids(range(MANY)), "c99"])
    assert sorted(names) == ["c03.json", "c99.json"]
    assert found[found["cell"] == "c03"]["value"].tolist() == [0.875]
    assert "c99" in set(found["cell"]) and "c04" not in set(found["cell"])


def test_a_failure_is_a_row_until_the_cell_is_done(store: Store) -> None:
    failed = {**row(), "cell": "f", "status": "failed", "value": None, "reason": "no luck"}
    store.write_rows("f", [failed])
    asked = [*ids(range(MANY)), "f"]
    assert store.rows_of(asked)["status"].eq("failed").sum() == 1
    store.write_rows("f", [{**row(), "cell": "f"}])
    assert store.rows_of(asked)["status"].eq("failed").sum() == 0


@pytest.mark.parametrize("part", ["rows.parquet", "files.txt", "about.json"])
def test_a_damaged_table_is_made_again(
    store: Store, part: str, caplog: pytest.LogCaptureFixture
) -> None:
    store.rows_of(ids(range(MANY)))
    (folder,) = tables(store)
    path = folder / part
    whole = bytearray(path.read_bytes())
    whole[len(whole) // 2] ^= 1
    path.write_bytes(whole)
    found = Store(store.root).rows_of(ids(range(MANY)))
    pd.testing.assert_frame_equal(found, expected(range(MANY)))
    assert "a table of rows is damaged" in caplog.text
    assert tables(store) not in ([], [folder])


def test_tables_that_follow_each_other_become_one(store: Store) -> None:
    for upto in (4, 8, MANY):
        found = store.rows_of(ids(range(upto)))
        pd.testing.assert_frame_equal(found, expected(range(upto)))
    assert len(tables(store)) < 3
    assert sum(len((each / "files.txt").read_text().splitlines()) for each in tables(store)) == MANY


def test_a_store_that_cannot_keep_tables_reads_its_files(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(kept, "_write", full)
    for _ in range(2):
        pd.testing.assert_frame_equal(store.rows_of(ids(range(MANY))), expected(range(MANY)))
    assert tables(store) == []


def test_whole_files_are_not_read_to_be_told_from_damaged_ones(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    names = read_from(monkeypatch)
    assert Store(store.root).set_aside_damaged(ids(range(MANY))) == []
    assert names == []
    for number in (2, 7):
        path = store.rows / f"c{number:02}.json"
        path.write_text(path.read_text().replace('"metric"', '"Metric"', 1))
    again = Store(store.root)
    assert again.set_aside_damaged(ids(range(MANY))) == ["c02", "c07"]
    assert sorted(names) == ["c02.json", "c07.json"]
    assert sorted(path.name for path in store.damaged.iterdir()) == ["c02.json", "c07.json"]
    assert again.finished_cells() | again.failed_cells() == set(ids(range(MANY))) - {"c02", "c07"}


def test_files_that_nobody_knows_are_read_once(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    for path in (store.cache / "rows").glob("*"):
        path.unlink()
    names = read_from(monkeypatch)
    assert Store(store.root).set_aside_damaged(ids(range(MANY))) == []
    assert len(names) == MANY
    other = Store(store.root)
    assert other.set_aside_damaged(ids(range(MANY))) == []
    pd.testing.assert_frame_equal(other.rows_of(ids(range(MANY))), expected(range(MANY)))
    assert len(names) == MANY


def test_the_first_damaged_file_is_an_error_where_rows_are_asked_for(store: Store) -> None:
    (store.rows / "c05.json").write_text("{")
    with pytest.raises(InputError, match=r"c05\.json: this file of rows is damaged"):
        store.rows_of(ids(range(MANY)))


def test_lists_of_whole_files_become_one(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(kept, "_MOST_LISTS", 2)
    folder = store.cache / "rows"
    for number in range(3):
        (folder / f"whole-{number}.txt").write_text(f"x{number}.json 1 2 3 4\nhalf a li")
    rows = KeptRows(store.rows, folder)
    states = rows.states()
    assert rows.unknown(states.values()) == []
    assert len(list(folder.glob("whole-*.txt"))) == 1
    assert KeptRows(store.rows, folder).unknown(states.values()) == []
