"""Parquet files of images, as Hugging Face's data sets are stored."""

from __future__ import annotations

import io
import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from headwater.errors import InputError
from headwater.plan import EVERYTHING, Plan
from headwater.sources.looking import look
from headwater.sources.parquet import ParquetSource
from headwater.study import Study


def encoded(number: int) -> bytes:
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (9, 9, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


CLASS_NAMES = ["ant", "bee"]
FEATURES = {
    "info": {
        "features": {
            "image": {"_type": "Image"},
            "label": {"_type": "ClassLabel", "names": CLASS_NAMES},
        }
    }
}


def write(path: Path, rows: int, first: int = 0, group: int = 4, **columns: Any) -> None:
    """A file as `datasets` writes it: a struct of bytes and path, a label, a text."""
    path.parent.mkdir(parents=True, exist_ok=True)
    images = [{"bytes": encoded(first + row), "path": f"{row}.png"} for row in range(rows)]
    table = pa.table(
        {"image": images, "label": [row % 2 for row in range(rows)], **columns}
    ).replace_schema_metadata({b"huggingface": json.dumps(FEATURES).encode()})
    pq.write_table(table, path, row_group_size=group)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """10 images of train in two files, 6 of test."""
    data = tmp_path / "set" / "data"
    write(data / "train-00000-of-00002.parquet", 6)
    write(data / "train-00001-of-00002.parquet", 4, first=6)
    write(data / "test-00000-of-00001.parquet", 6, first=10)
    return tmp_path / "set"


def test_images_classes_and_splits_are_those_of_the_files(root: Path) -> None:
    source = ParquetSource("set", root)
    table = source.table
    assert len(table) == 16 and table.ids.tolist() == sorted(table.ids.tolist())
    assert table.ids[0] == "data/test-00000-of-00001/000000"
    assert [int((table.splits["split"] == split).sum()) for split in ("train", "val", "test")] == [
        *(10, 0, 6)
    ]
    for position in (0, 5, 6, 11, 12, 15):
        shard, row = table.ids[position].split("/")[1:]
        first = {"test-00000-of-00001": 10, "train-00000-of-00002": 0}.get(shard, 6)
        assert source.image(position) == encoded(first + int(row))
        assert table.levels[0][position] == CLASS_NAMES[int(row) % 2]


@pytest.mark.parametrize(
    ("name", "split"),
    [
        ("validation-00000-of-00001.parquet", "val"),
        ("test/0000.parquet", "test"),
        ("default/train/0000.parquet", "train"),
        ("part-7.parquet", "train"),
        ("mnist-test.parquet", "test"),
        ("my_dev.parquet", "val"),
        ("latest.parquet", "train"),
    ],
)
def test_a_split_is_the_first_word_of_a_file_or_its_folder(
    name: str, split: str, tmp_path: Path
) -> None:
    write(tmp_path / name, 2)
    assert set(ParquetSource("set", tmp_path).table.splits["split"]) == {split}


def test_texts_levels_and_a_split_column_are_read(tmp_path: Path) -> None:
    table = pa.table(
        {
            "img": [encoded(row) for row in range(4)],
            "fine_label": ["a", "b", "c", "d"],
            "coarse_label": ["x", "x", "y", "y"],
            "caption": ["one", None, "three", "four"],
            "split": ["train", "train", "valid", "test"],
            "embedding": [[0.5]] * 4,
        }
    )
    pq.write_table(table, tmp_path / "all.parquet")
    source = ParquetSource("set", tmp_path)
    assert [level.tolist() for level in source.table.levels] == [list("abcd"), list("xxyy")]
    assert source.table.splits["split"].tolist() == ["train", "train", "val", "test"]
    assert source.table.texts["caption"].tolist() == [["one"], [], ["three"], ["four"]]
    assert set(source.table.texts) == {"caption"}
    assert source.image(2) == encoded(2)


def test_hashes_are_remembered_until_a_file_changes(
    root: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    cache = tmp_path / "bytes.hashes"
    every = np.arange(16)
    first = ParquetSource("set", root, cache=cache).byte_hashes(every)
    assert len(set(first)) == 16
    monkeypatch.setattr(ParquetSource, "_hashed", lambda self: pytest.fail("read again"))
    assert ParquetSource("set", root, cache=cache).byte_hashes(every[::-1]) == first[::-1]
    monkeypatch.undo()
    write(root / "data" / "test-00000-of-00001.parquet", 6, first=100)
    other = ParquetSource("set", root, cache=cache).byte_hashes(every)
    assert other[6:] == first[6:] and set(other[:6]).isdisjoint(first[:6])
    cache.write_bytes(cache.read_bytes()[:-3])
    assert ParquetSource("set", root, cache=cache).byte_hashes(every) == other


def test_broken_images_are_found_and_remembered(tmp_path: Path) -> None:
    good = [{"bytes": encoded(row), "path": None} for row in range(8)]
    bad = [{"bytes": b"<html>", "path": None}, {"bytes": None, "path": "a"}, None]
    table = pa.table({"image": [*good, *bad], "label": [row % 2 for row in range(11)]})
    pq.write_table(table, tmp_path / "train.parquet", row_group_size=3)
    found = {}
    for _ in range(2):
        source = ParquetSource("set", tmp_path, cache=tmp_path / "bytes.hashes")
        found = dict(look(source, np.arange(11), 16, EVERYTHING).bad)
        assert found == {8: "HTML page", 9: "no bytes", 10: "no bytes"}


@pytest.mark.parametrize(
    ("columns", "said"),
    [
        ({"label": [1]}, "no column holds images"),
        ({"a": [b"1"], "b": [b"2"]}, "the columns a, b can all be the images"),
        ({"image": ["a.png"]}, "no column holds images"),
        ({"image": [b"1"], "label": [1], "class": ["x"]}, "can all be the class"),
        ({"image": [b"1"], "split": ["holiday"]}, "'holiday' is none of train, val, test"),
        ({"image": [b"1"], "label": [["a", "b"]]}, "several labels"),
        ({"image": [b"1"], "label": ["a\x1bb"]}, "holds"),
        ({"image": [b"1"], "label": [{"a": 1}]}, "'label' holds struct.* which is no class"),
    ],
)
def test_what_cannot_be_read_is_refused_with_the_reason(
    columns: dict[str, Any], said: str, tmp_path: Path
) -> None:
    pq.write_table(pa.table(columns), tmp_path / "all.parquet")
    with pytest.raises(InputError, match=said):
        ParquetSource("set", tmp_path)


def test_files_that_do_not_fit_each_other_or_are_damaged_are_named(root: Path) -> None:
    other = root / "data" / "train-00001-of-00002.parquet"
    pq.write_table(pa.table({"image": [b"1"]}), other)
    with pytest.raises(InputError, match=r"train-00001-of-00002\.parquet: has the columns image"):
        ParquetSource("set", root)
    other.write_bytes(b"PAR1 and nothing more")
    with pytest.raises(InputError, match=r"train-00001-of-00002\.parquet"):
        ParquetSource("set", root)


def test_a_small_file_that_promises_a_great_many_rows_is_refused(tmp_path: Path) -> None:
    rows = pa.array([b""]).take(pa.array(np.zeros(2_000_000, np.int64)))
    pq.write_table(pa.table({"image": rows}), tmp_path / "all.parquet", compression="zstd")
    assert (tmp_path / "all.parquet").stat().st_size < 1_000_000
    with pytest.raises(InputError, match="promises"):
        ParquetSource("set", tmp_path)


def test_a_study_is_planned_on_them(root: Path) -> None:
    study = Study.model_validate(
        {
            "study": "s",
            "data": {"set": {"kind": "parquet", "path": str(root)}},
            "sources": ["set"],
            "methods": ["supervised", "simclr"],
            "seeds": 1,
            "budget": {"steps": 2},
            "tasks": {"set": {"data": "set"}},
        }
    )
    plan = Plan.make(study, looking=EVERYTHING)
    assert {len(arm.positions) for arm in plan.arms} == {10}
    assert plan.tasks["set"].class_names == ("ant", "bee") and len(plan.tasks["set"].test) == 6


def test_the_metadata_of_an_image_folder_can_be_parquet(tmp_path: Path) -> None:
    from headwater.sources.folder import FolderSource

    for row in range(4):
        path = tmp_path / "train" / f"{row}.png"
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(encoded(row))
    table = pa.table(
        {
            "file_name": [f"{row}.png" for row in range(4)],
            "label": ["a", "b", "a", "b"],
            "text": ["w", "x", "y", "z"],
        }
    )
    pq.write_table(table, tmp_path / "train" / "metadata.parquet")
    source = FolderSource("set", tmp_path)
    assert source.table.levels[0].tolist() == ["a", "b", "a", "b"]
    assert source.table.texts["text"].tolist() == [["w"], ["x"], ["y"], ["z"]]


@pytest.mark.parametrize(
    ("labels", "classes"),
    [
        (pa.array(["a", "b", "a"]).dictionary_encode(), ["a", "b", "a"]),
        (pa.array([True, False, None]), ["True", "False", ""]),
        (pa.array([1.0, 2.0, float("nan")]), ["1", "2", ""]),
        (pa.array([7, 8, None], pa.int8()), ["7", "8", ""]),
    ],
    ids=["category", "bool", "float", "int8"],
)
def test_classes_of_any_usual_type_are_read(
    labels: Any, classes: list[str], tmp_path: Path
) -> None:
    table = pa.table({"image": [encoded(row) for row in range(3)], "label": labels, "x": [0.5] * 3})
    pq.write_table(table, tmp_path / "all.parquet")
    source = ParquetSource("set", tmp_path)
    assert source.table.levels[0].tolist() == classes
    assert any("not read: x" in note for note in source.notes)


def test_splits_as_a_category_are_splits(tmp_path: Path) -> None:
    splits = pa.array(["train", "test", "train"]).dictionary_encode()
    table = pa.table({"image": [encoded(row) for row in range(3)], "split": splits})
    pq.write_table(table, tmp_path / "all.parquet")
    assert ParquetSource("set", tmp_path).table.splits["split"].tolist() == [
        "train",
        "test",
        "train",
    ]


def test_a_file_whose_name_and_column_say_two_things_is_refused(tmp_path: Path) -> None:
    table = pa.table({"image": [encoded(0), encoded(1)], "split": ["train", "test"]})
    pq.write_table(table, tmp_path / "train.parquet")
    with pytest.raises(InputError, match="name says train, and its column split says test"):
        ParquetSource("set", tmp_path)
    (tmp_path / "train.parquet").rename(tmp_path / "train_test.parquet")
    with pytest.raises(InputError, match="names the splits test and train"):
        ParquetSource("set", tmp_path)


def test_a_column_that_is_empty_in_one_file_is_read_in_the_others(tmp_path: Path) -> None:
    for name, texts in (("train-0", [None, None]), ("train-1", ["a", "b"])):
        table = pa.table({"image": [encoded(0), encoded(1)], "caption": texts})
        pq.write_table(table, tmp_path / f"{name}.parquet")
    found = ParquetSource("set", tmp_path).table.texts["caption"].tolist()
    assert found == [[], [], ["a"], ["b"]]


def test_a_disk_that_fails_says_nothing_of_an_image(
    root: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    source = ParquetSource("set", root, cache=tmp_path / "bytes.hashes")
    source.byte_hashes(np.arange(16))

    def fails(*given: object, **more: object) -> None:
        raise OSError("Input/output error")

    source._kept.clear()
    monkeypatch.setattr(pq, "ParquetFile", fails)
    with pytest.raises(InputError, match="Input/output error"):
        look(source, np.arange(16), 16, EVERYTHING)
    monkeypatch.undo()
    assert not look(source, np.arange(16), 16, EVERYTHING).bad
