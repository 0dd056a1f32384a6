"""Image folders as Hugging Face's datasets library has them: metadata.jsonl and metadata.csv."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from headwater.errors import InputError
from headwater.sources.folder import FolderSource


def put(root: Path, tables: dict[str, object], *images: str) -> Path:
    """Tables by path: a text as it is, or a list of objects as JSON lines."""
    for image in images:
        (root / image).parent.mkdir(parents=True, exist_ok=True)
        (root / image).write_bytes(image.encode())
    for name, content in tables.items():
        text = content if isinstance(content, str) else "\n".join(map(json.dumps, content))
        (root / name).write_text(text, encoding="utf-8")
    return root


def refusal(root: Path, **words) -> str:
    with pytest.raises(InputError) as caught:
        FolderSource("set", root, **words)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_table_in_each_split_gives_classes_splits_and_captions(tmp_path):
    rows = [{"file_name": "0.png", "text": "a cup", "label": "cup"}]
    more = [
        {"file_name": "1.png", "text": "a pan", "label": "pan"},
        {"file_name": "2.png", "text": ["a cup", "cups"], "label": "cup"},
    ]
    images = ("train/1.png", "train/2.png", "test/0.png")
    put(tmp_path, {}, *images)
    put(tmp_path, {"test/metadata.jsonl": rows, "train/metadata.jsonl": more})
    table = FolderSource("set", tmp_path).table
    assert table.ids.tolist() == ["test/0.png", "train/1.png", "train/2.png"]
    assert table.splits["split"].tolist() == ["test", "train", "train"]
    assert [level.tolist() for level in table.levels] == [["cup", "pan", "cup"]]
    assert table.texts["text"].tolist() == [["a cup"], ["a pan"], ["a cup", "cups"]]


@pytest.mark.parametrize("name", ["label", "Label", "class", "category", "target", "class_name"])
def test_one_csv_at_the_root_does_the_same(tmp_path, name):
    csv = f'file_name,{name},text\ntrain/a.png,x,"one, two"\nval/b.png,y,\n'
    table = FolderSource(
        "set", put(tmp_path, {"metadata.csv": csv}, "train/a.png", "val/b.png")
    ).table
    assert table.splits["split"].tolist() == ["train", "val"]
    assert table.levels[0].tolist() == ["x", "y"]
    assert table.texts["text"].tolist() == [["one, two"], []]


def test_a_split_column_and_numbers_as_classes_are_read(tmp_path):
    rows = [
        {"file_name": "a.png", "label": 3, "split": "Validation"},
        {"file_name": "b.png", "label": 0, "split": "train"},
    ]
    table = FolderSource("set", put(tmp_path, {"metadata.jsonl": rows}, "a.png", "b.png")).table
    assert table.levels[0].tolist() == ["3", "0"]
    assert table.splits["split"].tolist() == ["val", "train"]


def test_texts_alone_leave_the_classes_to_the_folders(tmp_path):
    rows = [{"file_name": "cat/a.png", "text": "one"}, {"file_name": "dog/b.png", "text": "two"}]
    table = FolderSource(
        "set", put(tmp_path, {"metadata.jsonl": rows}, "cat/a.png", "dog/b.png")
    ).table
    assert table.levels[0].tolist() == ["cat", "dog"]
    assert table.texts["text"].tolist() == [["one"], ["two"]]


def test_classes_by_folder_and_by_table_that_differ_are_refused_and_can_be_chosen(tmp_path):
    csv = "file_name,label\ncat/a.png,old\ndog/b.png,new\ndog/c.png,old\n"
    put(tmp_path, {"metadata.csv": csv}, "cat/a.png", "dog/b.png", "dog/c.png")
    message = refusal(tmp_path)
    assert "metadata.csv, line 2: the images have classes by 'label' here" in message
    assert "`layout: metadata`" in message
    by_table = FolderSource("set", tmp_path, layout="metadata").table
    assert by_table.levels[0].tolist() == ["old", "new", "old"]
    by_folder = FolderSource("set", tmp_path, layout="class").table
    assert by_folder.levels[0].tolist() == ["cat", "dog", "dog"]


def test_classes_by_folder_and_by_table_that_agree_are_read(tmp_path):
    csv = "file_name,label\ncat/a.png,0\ndog/b.png,1\ndog/c.png,1\n"
    put(tmp_path, {"metadata.csv": csv}, "cat/a.png", "dog/b.png", "dog/c.png")
    assert FolderSource("set", tmp_path).table.levels[0].tolist() == ["cat", "dog", "dog"]


@pytest.mark.parametrize(
    ("tables", "expected"),
    [
        (
            {"metadata.jsonl": [{"file_name": "a.png"}, {"file_name": "z.png"}]},
            "metadata.jsonl, line 2: there is no image 'z.png'",
        ),
        (
            {"metadata.jsonl": [{"file_name": "a.png"}, {"file_name": "./a.png"}]},
            "line 2: the image './a.png' is listed twice (first in line 1)",
        ),
        ({"metadata.jsonl": [{"file_name": "a.png"}, {"text": "x"}]}, "line 2: this is no object"),
        ({"metadata.jsonl": '{"file_name": "a.png"}\n{"file'}, "line 2: this is no JSON"),
        ({"metadata.jsonl": [{"file_name": "a.png", "label": ["x"]}]}, "line 1: 'label' is"),
        ({"metadata.jsonl": [{"file_name": "a.png", "label": 1.5}]}, "line 1: 'label' is '1.5'"),
        ({"metadata.csv": 'file_name,label\na.png,"x\nb.png,y\n'}, "line 2: a quotation mark"),
        ({"metadata.csv": "file_name,label\na.png\n"}, "line 2: the row has 1 fields"),
        ({"metadata.csv": "file_name,split\na.png,tset\n"}, "line 2: the split 'tset' is none"),
        (
            {"metadata.csv": "file_name,label,category\na.png,x,y\n"},
            "'label' and 'category' can all be the class",
        ),
        (
            {
                "metadata.csv": "file_name,label\na.png,x\n",
                "metadata.jsonl": [{"file_name": "a.png"}],
            },
            "'metadata.csv' and 'metadata.jsonl' describe the same images",
        ),
    ],
)
def test_a_mistake_in_metadata_is_one_line_with_the_place(tmp_path, tables, expected):
    assert expected in refusal(put(tmp_path, tables, "a.png", "b.png"))


def test_images_without_a_row_and_fields_that_are_no_text_are_told(tmp_path):
    rows = [{"file_name": "a.png", "label": "x", "width": 3, "box": [1, 2]}]
    source = FolderSource("set", put(tmp_path, {"metadata.jsonl": rows}, "a.png", "b.png"))
    assert source.table.levels[0].tolist() == ["x", ""]
    assert source.notes == (
        "classes are the field 'label' of metadata.jsonl",
        "the field 'width' of metadata.jsonl holds no texts and is not read",
        "the field 'box' of metadata.jsonl holds no texts and is not read",
        "1 image without a row in the metadata: no text or class from there",
    )


@pytest.mark.parametrize(
    ("name", "text", "told"),
    [
        ("metadata.csv", "a,b\n1,2\n", "metadata.csv is not read: it has no column file_name"),
        ("metadata.jsonl", '{"a": 1}\n', "its first line has no file_name"),
    ],
)
def test_other_tables_of_that_name_are_told(tmp_path, name, text, told):
    source = FolderSource("set", put(tmp_path, {name: text}, "cat/a.png", "dog/b.png"))
    assert source.table.levels[0].tolist() == ["cat", "dog"]
    assert told in source.notes[0]
    (tmp_path / "cow").mkdir()
    assert "the folder 'cow' holds no image" in refusal(tmp_path)


def test_a_damaged_parquet_of_metadata_is_an_error(tmp_path):
    put(tmp_path, {"metadata.parquet": "PAR1"}, "cat/a.png")
    assert "metadata.parquet: cannot be read" in refusal(tmp_path)


def test_labels_csv_wins_over_metadata_and_says_so(tmp_path):
    put(tmp_path, {"metadata.jsonl": [{"file_name": "a.png", "label": "x"}]}, "a.png")
    put(tmp_path, {"labels.csv": "path,level1\na.png,y\n"})
    source = FolderSource("set", tmp_path)
    assert source.table.levels[0].tolist() == ["y"]
    assert source.notes == (
        "metadata.jsonl is not read, since labels.csv says what the images are",
    )


def test_layout_metadata_without_metadata_is_an_error(tmp_path):
    put(tmp_path, {}, "cat/a.png")
    assert "layout is metadata, and there is no metadata.jsonl" in refusal(
        tmp_path, layout="metadata"
    )
