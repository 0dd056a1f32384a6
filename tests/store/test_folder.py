"""The store: whole or not at all."""

from __future__ import annotations

import errno
import os
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from headwater import files
from headwater.errors import InputError
from headwater.store import Store
from tests.test_rows import row
from tests.toy import keep_answers


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path / "store", create=True)


def everything(root: Path) -> list[str]:
    return sorted(str(path.relative_to(root)) for path in root.rglob("*"))


def test_a_store_is_made_once_and_opened_again(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no store here"):
        Store(tmp_path / "store")
    Store(tmp_path / "store", create=True)
    before = everything(tmp_path)
    Store(tmp_path / "store", create=True)
    assert everything(tmp_path) == before


def test_a_file_is_written_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "file"
    files.write_atomic(path, "old")

    def broken() -> None:
        with files.atomic_path(path) as temp:
            temp.write_text("half")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert path.read_text() == "old"
    assert everything(tmp_path) == ["deep", "deep/file"]


def test_an_arm_appears_whole_or_not_at_all(store: Store) -> None:
    def broken() -> None:
        with store.writing_arm("a") as folder:
            (folder / "arm.json").write_text("{}")
            raise RuntimeError

    with pytest.raises(RuntimeError):
        broken()
    assert not store.has_arm("a")
    assert everything(store.arms) == []


def test_of_two_writers_of_one_arm_the_first_is_kept(store: Store) -> None:
    with store.writing_arm("a") as mine, store.writing_arm("a") as theirs:
        (mine / "arm.json").write_text("mine")
        (theirs / "arm.json").write_text("theirs")
    assert (store.arm_folder("a") / "arm.json").read_text() == "theirs"
    assert everything(store.arms) == ["a", "a/arm.json"]


def test_a_folder_without_a_record_is_no_arm_and_makes_room(store: Store) -> None:
    (store.arms / "a").mkdir(parents=True)
    (store.arms / "a" / "encoder.safetensors").write_text("left over")
    assert not store.has_arm("a")
    with store.writing_arm("a") as folder:
        (folder / "arm.json").write_text("{}")
    assert store.has_arm("a")
    assert everything(store.arms) == ["a", "a/arm.json"]
    store.drop_arm("a")
    store.drop_arm("a")
    assert everything(store.arms) == []


def test_rows_that_failed_stand_beside_until_something_succeeds(store: Store) -> None:
    store.write_rows("c", [row(status="failed", value=None, reason="no luck")])
    assert (store.failed_cells(), store.finished_cells()) == ({"c"}, set())
    assert store.read_cell("c")[0]["reason"] == "no luck"
    store.write_rows("c", [row()])
    assert (store.failed_cells(), store.finished_cells()) == (set(), {"c"})
    assert store.read_cell("c")[0]["value"] == 0.5
    store.drop_cell("c")
    assert store.read_cell("c") == []


@pytest.mark.parametrize(
    "wrong",
    [{"value": None}, {"value": float("nan")}, {"nonsense": 1}, {"seed": "0"}, {"status": "fine"}],
)
def test_rows_that_break_the_schema_are_not_written(wrong: dict[str, Any], store: Store) -> None:
    with pytest.raises(ValueError, match=r"cell c|JSON"):
        store.write_rows("c", [row(), row(**wrong)])
    assert not store.finished_cells() | store.failed_cells()


def test_sweep_removes_temporary_files_of_yesterday_and_checkpoints_of_finished_arms(
    store: Store,
) -> None:
    for name, age in (("old", 100_000), ("young", 10)):
        temp = store.rows / f".{name}.json.123.tmp"
        temp.parent.mkdir(exist_ok=True)
        temp.write_text("")
        os.utime(temp, (time.time() - age,) * 2)
    with store.writing_arm("done") as folder:
        (folder / "arm.json").write_text("{}")
    for arm in ("done", "in-training"):
        store.checkpoints(arm).mkdir(parents=True)
    assert store.sweep() == 2
    assert everything(store.partial) == ["in-training"]
    assert [path.name for path in store.rows.iterdir()] == [".young.json.123.tmp"]


@pytest.mark.parametrize("n", [1, 7, 8, 9, 1000])
def test_answers_come_back_as_they_were_and_go_with_their_cell(store: Store, n: int) -> None:
    right = np.random.default_rng(n).random(n) < 0.5
    assert store.read_answers("c", n) is None
    keep_answers(store, "c", right)
    found = store.read_answers("c", n)
    assert found is not None and found.dtype == bool
    np.testing.assert_array_equal(found, right)
    assert everything(store.answers) == ["c.npy"]
    np.testing.assert_array_equal(np.load(store.answers / "c.npy"), np.packbits(right))
    assert not store.finished_cells(), "answers alone finish nothing"
    store.drop_cell("c")
    assert everything(store.answers) == []


@pytest.mark.parametrize(
    "damage", ["cut", "empty", "longer", "shorter", "pickle", "other type", "bits beyond the end"]
)
def test_answers_that_are_damaged_are_named(store: Store, damage: str) -> None:
    keep_answers(store, "c", np.ones(20, dtype=bool))
    path = store.answers / "c.npy"
    arrays: dict[str, Any] = {
        "longer": np.zeros(4, dtype=np.uint8),
        "shorter": np.zeros(2, dtype=np.uint8),
        "pickle": np.array([{}, {}, {}]),
        "other type": np.zeros(3),
        "bits beyond the end": np.full(3, 255, dtype=np.uint8),
    }
    if damage in arrays:
        np.save(path, arrays[damage])
    else:
        path.write_bytes(path.read_bytes()[:-1] if damage == "cut" else b"")
    with pytest.raises(
        InputError, match=r"c\.npy: these answers are damaged .*`headwater run --redo c`"
    ):
        store.read_answers("c", 20)


def test_what_saves_time_is_let_go_where_a_store_may_only_be_read() -> None:
    """And nothing else is."""
    for code in (errno.EROFS, errno.EACCES, errno.EPERM):
        with files.unless_read_only():
            raise OSError(code, os.strerror(code))
    with pytest.raises(OSError, match="No space"), files.unless_read_only():
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_store_is_where_one_says_or_the_environment_or_here(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    from headwater.store import store_path

    monkeypatch.delenv("HEADWATER_STORE", raising=False)
    assert store_path(None) == Path("headwater-store")
    monkeypatch.setenv("HEADWATER_STORE", "/elsewhere/results")
    assert store_path(None) == Path("/elsewhere/results")
    assert store_path("mine") == Path("mine")
