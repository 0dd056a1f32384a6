"""Index files that say the splits of a folder, and the columns that can be a task's groups."""

from __future__ import annotations

from pathlib import Path

import pytest

from headwater.errors import InputError
from headwater.sources import open_source
from headwater.sources.folder import FolderSource
from headwater.study import FolderData
from tests.sources.folders import put_csv


def index_file(root: Path, text: str) -> Path:
    (root / "index.csv").write_text(text)
    return root


def with_index(root: Path, text: str):
    words = FolderData(kind="folder", path=str(index_file(root, text)), split_file="index.csv")
    return open_source("set", words, data_root=None, cache=None)


def test_an_index_file_replaces_and_adds_split_columns_and_may_leave_images_out(tmp_path):
    put_csv(tmp_path, "path,split,split_b,level1\na.png,train,val,x\nb.png,train,test,y\n")
    source = with_index(tmp_path, "path,split,split_c\nb.png,test,train\n./a.png,,test\n")
    assert {name: column.tolist() for name, column in source.table.splits.items()} == {
        "split": ["", "test"],
        "split_b": ["val", "test"],
        "split_c": ["test", "train"],
    }
    assert source.split("split", "train").tolist() == []


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (
            "path,split\na.png,train\n",
            r"index\.csv: 1 of 2 images are not listed, the first is 'b\.png'; list it, with an "
            r"empty split",
        ),
        (
            "path,split\na.png,train\nb.png,test\nc.png,test\n",
            r"index\.csv, line 4: 'c\.png' \(1 such rows\) is not among the images",
        ),
        (
            "path,split\na.png,train\nb.png,tset\n",
            r"index\.csv, line 3: the split 'tset' is none of train, val, test",
        ),
        ("path,level1\na.png,x\nb.png,y\n", r"index\.csv, line 1: there is no column split"),
        (
            "path,split\na.png,train\na.png,test\nb.png,test\n",
            r"index\.csv, line 3: the path 'a\.png' is listed twice",
        ),
    ],
)
def test_an_index_file_lists_every_image_once_and_no_other(tmp_path, text, said):
    put_csv(tmp_path, "path\na.png\nb.png\n")
    with pytest.raises(InputError, match=said) as caught:
        with_index(tmp_path, text)
    assert caught.value.at == ("data", "set", "split_file")


def test_an_index_file_is_found_in_the_folder_then_under_the_data_root(tmp_path):
    root = put_csv(tmp_path / "set", "path\na.png\nb.png\n")
    (tmp_path / "index.csv").write_text("path,split\na.png,val\nb.png,test\n")
    words = FolderData(kind="folder", path="set", split_file="index.csv")
    assert open_source("set", words, data_root=tmp_path, cache=None).split(
        "split", "val"
    ).tolist() == [0]
    index_file(root, "path,split\na.png,test\nb.png,test\n")
    assert open_source("set", words, data_root=tmp_path, cache=None).split(
        "split", "test"
    ).tolist() == [0, 1]
    with pytest.raises(InputError, match=r"data\.set\.split_file: there is no file .*other\.csv"):
        open_source(
            "set",
            words.model_copy(update={"split_file": "other.csv"}),
            data_root=tmp_path,
            cache=None,
        )


def test_every_other_column_of_a_csv_can_be_a_group_and_so_can_a_level(tmp_path):
    table = FolderSource(
        "set", put_csv(tmp_path, "path,split,level1,camera\nb.png,train,x, north \na.png,test,y,\n")
    ).table
    assert list(table.groups) == ["level1", "camera"]
    assert table.groups["level1"].tolist() == ["y", "x"]
    assert table.groups["camera"].tolist() == ["", "north"]
