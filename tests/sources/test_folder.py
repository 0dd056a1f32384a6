"""Folders of images: what a labels.csv, an ImageFolder and a bare folder mean, and what each
mistake says.
"""

from __future__ import annotations

import csv
import hashlib
import json
import unicodedata
from pathlib import Path

import numpy as np
import pytest

from headwater.errors import InputError
from headwater.sources.folder import FolderSource
from tests.needs import DATA, needs_data
from tests.sources.folders import put_csv, put_images

README_COUNTS = {  # images, classes finest first, as the data root's README says
    "grocery": (5421, (81, 43, 3)),
    "caltech101": (8242, (100, 13, 4)),
    "ucm_captions": (2100, (21, 4)),
    "eurosat": (7000, (10, 4)),
    "plantvillage15": (9625, (15, 11, 3)),
    "trashnet": (2527, (6, 3)),
    "fruits360_3body": (3350, (67, 3)),
    "noto_emoji": (1609, (1609, 97, 9)),
    "crawl_tiles": (2426, (76, 47, 3)),
}


def refusal(root: Path) -> str:
    with pytest.raises(InputError) as caught:
        FolderSource("set", root)
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_a_csv_gives_sorted_ids_splits_levels_finest_first_and_texts(tmp_path):
    rows = (
        "path,split,split_b,level1,level2,name\n"
        "b.png,test,train,animal,cat,Tom\n"
        "a.png,training,valid,plant,oak,\n"
    )
    table = FolderSource("set", put_csv(tmp_path, rows)).table
    assert table.ids.tolist() == ["a.png", "b.png"]
    assert {name: column.tolist() for name, column in table.splits.items()} == {
        "split": ["train", "test"],
        "split_b": ["val", "train"],
    }
    assert [level.tolist() for level in table.levels] == [["oak", "cat"], ["plant", "animal"]]
    assert {name: column.tolist() for name, column in table.texts.items()} == {
        "name": [[], ["Tom"]]
    }


def test_a_csv_of_paths_alone_is_enough_and_everything_is_train(tmp_path):
    source = FolderSource("set", put_csv(tmp_path, "path\nb.png\na.png\n"))
    assert source.split("split", "train").tolist() == [0, 1]
    assert source.table.levels == ()
    assert source.image(0) == (tmp_path / "a.png").read_bytes()


@pytest.mark.parametrize(
    "raw",
    [
        b"path,level1\r\na.png,x\r\nb.png,y\r\n",
        b"\xef\xbb\xbfpath,level1\na.png,x\nb.png,y",
        b"path,level1\n\na.png,x\n\n\nb.png,y\n\n",
        b'"path", level1\n"a.png", x \nb.png,"y"\n',
        b"path,level1\n./a.png,x\n.//b.png,y\n",
    ],
    ids=["crlf", "bom", "blank lines", "quotes and spaces", "untidy paths"],
)
def test_csv_dialects_mean_the_same(tmp_path, raw):
    put_csv(tmp_path, "")
    (tmp_path / "labels.csv").write_bytes(raw)
    source = FolderSource("set", tmp_path)
    assert source.table.ids.tolist() == ["a.png", "b.png"]
    assert source.table.levels[0].tolist() == ["x", "y"]
    assert source.image(1) == (tmp_path / "b.png").read_bytes()


def test_na_and_nan_are_names_like_any_other_and_commas_may_be_quoted(tmp_path):
    table = FolderSource(
        "set", put_csv(tmp_path, 'path,level1,text\na.png,NA,"one, two\nthree"\nb.png,nan,null\n')
    ).table
    assert table.levels[0].tolist() == ["NA", "nan"]
    assert table.texts["text"].tolist() == [["one, two\nthree"], ["null"]]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", "empty"),
        ("path,level1\n", "no row"),
        ("id,level1\na.png,x\n", "line 1: there is no column path"),
        ("path,level1,level1\na.png,x,y\n", "line 1: the column 'level1' is there twice"),
        ("path,level1,level3\na.png,x,y\n", "line 1: level3 is there but level2 is not"),
        ("path,level0\na.png,x\n", "line 1: the column 'level0' is no level"),
        ("path,Level_1\na.png,x\n", "line 1: the column 'Level_1' is no level"),
        ("path,level1\na.png,x\n\nb.png,y,z\n", "line 4: the row has 3 fields, the header has 2"),
        ("path,level1\na.png,x\nb.png\n", "line 3: the row has 1 fields, the header has 2"),
        (
            "path,split\na.png,train\n\nb.png,tset\n",
            "line 4: the split 'tset' is none of train, val, test",
        ),
        ("path\na.png\n../b.png\n", "line 3: the path '../b.png' leaves the folder"),
        ("path\na.png\nx/../../b.png\n", "line 3: the path 'x/../../b.png' leaves the folder"),
        ("path\n/etc/passwd\n", "line 2: the path '/etc/passwd' is absolute"),
        ("path\nC:/a.png\n", "line 2: the path 'C:/a.png' is absolute"),
        ("path\nx\\a.png\n", "has a backslash"),
        ("path,level1\n,x\n", "line 2: the path '' is empty"),
        (
            'path,name\na.png,"x\ny"\nb.png,z\n./a.png,z\n',
            "line 5: the path 'a.png' is listed twice (first in",
        ),
    ],
)
def test_a_mistake_in_a_csv_is_one_line_with_the_place(tmp_path, text, expected):
    message = refusal(put_csv(tmp_path, text))
    assert expected in message
    assert "labels.csv" in message


def test_a_csv_that_is_not_utf8_names_the_line(tmp_path):
    assert "line 3: this is not UTF-8" in refusal(
        put_csv(tmp_path, "path,level1\na.png,x\nb.png,é\n", encoding="latin-1")
    )


def test_ids_are_nfc_and_files_are_found_in_either_form(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "café.png") for form in ("NFC", "NFD"))
    put_csv(tmp_path, f"path,level1\n{nfd},{nfd}\na.png,{nfc}\n", images=("a.png", nfc))
    source = FolderSource("set", tmp_path)
    assert source.table.ids.tolist() == ["a.png", nfc]
    assert len(set(source.table.levels[0])) == 1
    assert source.image(1) == (tmp_path / nfc).read_bytes()
    (tmp_path / nfc).rename(tmp_path / nfd)
    assert FolderSource("set", tmp_path).image(1) == (tmp_path / nfd).read_bytes()
    put_csv(tmp_path, f"path\n{nfd}\n{nfc}\n", images=())
    assert "listed twice" in refusal(tmp_path)


def test_links_out_of_the_root_are_refused_and_links_inside_are_not(tmp_path):
    root, outside = tmp_path / "root", tmp_path / "outside"
    put_images(outside, "secret.png")
    put_images(root, "a.png")
    (root / "in.png").symlink_to(root / "a.png")
    (root / "out.png").symlink_to(outside / "secret.png")
    (root / "sub").symlink_to(outside)
    (root / "labels.csv").write_text("path\na.png\nin.png\n")
    assert FolderSource("set", root).image(1) == (root / "a.png").read_bytes()
    for path in ("out.png", "sub/secret.png"):
        (root / "labels.csv").write_text(f"path\n{path}\n")
        assert "leads out of" in refusal(root)
    (root / "labels.csv").unlink()
    assert "'out.png' is a link that leads out of" in refusal(root)
    (root / "out.png").unlink()
    assert "'sub' is a link to a folder" in refusal(root)


def test_a_root_that_is_itself_a_link_is_fine(tmp_path):
    put_images(tmp_path / "real", "a.png")
    (tmp_path / "link").symlink_to(tmp_path / "real")
    assert (
        FolderSource("set", tmp_path / "link").image(0)
        == (tmp_path / "real" / "a.png").read_bytes()
    )


def test_an_imagefolder_has_a_class_per_folder_as_in_torchvision(tmp_path):
    from torchvision.datasets import ImageFolder

    put_images(tmp_path, "cat/1.png", "cat/2.PNG", "dog/1.png")
    (tmp_path / "cat" / "notes.txt").write_text("no image")
    source, peer = FolderSource("set", tmp_path), ImageFolder(str(tmp_path))
    assert [
        (str(tmp_path / path), name)
        for path, name in zip(source.table.ids, source.table.levels[0], strict=True)
    ] == [(path, peer.classes[target]) for path, target in peer.samples]
    assert len(source.table.levels) == 1


def test_hidden_files_and_folders_are_passed_over(tmp_path):
    put_images(tmp_path, "cat/1.png", "cat/._1.png", ".cache/x.png", "__MACOSX/cat/1.png")
    assert FolderSource("set", tmp_path).table.ids.tolist() == ["cat/1.png"]


def test_folders_named_like_splits_are_splits(tmp_path):
    put_images(tmp_path, "train/cat/1.png", "validation/cat/2.png", "test/dog/3.png")
    table = FolderSource("set", tmp_path).table
    assert dict(zip(table.ids, table.splits["split"], strict=True)) == {
        "test/dog/3.png": "test",
        "train/cat/1.png": "train",
        "validation/cat/2.png": "val",
    }
    assert table.levels[0].tolist() == ["dog", "cat", "cat"]


def test_splits_without_classes_have_no_levels(tmp_path):
    put_images(tmp_path, "train/1.png", "test/2.png")
    table = FolderSource("set", tmp_path).table
    assert table.levels == ()
    assert table.splits["split"].tolist() == ["test", "train"]


def test_nested_folders_are_levels_qualified_by_their_parents(tmp_path):
    put_images(tmp_path, "fruit/apple/1.png", "juice/apple/2.png", "milk/3.png")
    table = FolderSource("set", tmp_path).table
    assert table.levels[0].tolist() == ["fruit/apple", "juice/apple", "milk"]
    assert table.levels[1].tolist() == ["fruit", "juice", "milk"]


def test_an_image_beside_class_folders_has_no_class(tmp_path):
    put_images(tmp_path, "cat/1.png", "stray.png")
    source = FolderSource("set", tmp_path)
    assert source.table.levels[0].tolist() == ["cat", ""]
    assert source.notes == ("without a class, since beside class folders: 1 image",)


def test_a_bare_folder_has_no_levels(tmp_path):
    put_images(tmp_path, "1.png", "2.png")
    (tmp_path / "notes").mkdir()
    table = FolderSource("set", tmp_path).table
    assert table.levels == ()
    assert table.splits["split"].tolist() == ["train", "train"]


def test_empty_folders_and_class_folders_are_named(tmp_path):
    assert "no image below it" in refusal(tmp_path)
    put_images(tmp_path, "cat/1.png")
    (tmp_path / "dog" / "deep").mkdir(parents=True)
    assert "the folder 'dog' holds no image" in refusal(tmp_path)
    assert "is no folder" in refusal(tmp_path / "nowhere")


def test_captions_are_matched_by_path_and_lines_add_up(tmp_path):
    put_csv(tmp_path, "path,level1\na.png,x\nb.png,y\n")
    lines = [
        {
            "path": "b.png",
            "captions": ["one", " ", "two"],
            "name": "B",
            "split": "train",
            "width": 4,
            "box": [1, 2],
            "note": None,
        },
        {"path": "./b.png", "captions": "three"},
    ]
    (tmp_path / "captions.jsonl").write_text(
        "\ufeff" + "\r\n\r\n".join(json.dumps(line) for line in lines), encoding="utf-8"
    )
    texts = FolderSource("set", tmp_path).table.texts
    assert {name: texts[name].tolist() for name in texts} == {
        "captions": [[], ["one", "two", "three"]],
        "name": [[], ["B"]],
    }


@pytest.mark.parametrize(
    ("line", "expected"),
    [
        (b'{"path": "a.png", ', "line 2: this is no JSON"),
        (b'["a.png"]', 'line 2: this is no object with a "path"'),
        (b'{"captions": ["x"]}', 'line 2: this is no object with a "path"'),
        (b'{"path": "c.png", "captions": ["x"]}', "line 2: the image 'c.png' is not among"),
        (b'{"path": "a.png", "captions": ["x", 3]}', "line 2: 'captions' mixes texts"),
        (b'{"path": "a.png", "captions": ["\xff"]}', "line 2: this is not UTF-8"),
        (
            b'{"path": "a.png", "title": "x"}',
            "the text field 'title' is a column of labels.csv as well",
        ),
    ],
)
def test_a_mistake_in_captions_is_one_line_with_the_place(tmp_path, line, expected):
    put_csv(tmp_path, "path,title\na.png,x\nb.png,y\n")
    (tmp_path / "captions.jsonl").write_bytes(
        b'{"path": "a.png", "captions": ["fine"]}\n' + line + b"\n"
    )
    message = refusal(tmp_path)
    assert expected in message
    assert "captions.jsonl" in message


def test_byte_hashes_are_blake2b_of_the_files_and_follow_a_change(tmp_path):
    cache = tmp_path / "cache" / "hashes.parquet"
    put_images(tmp_path / "root", "a.png", "b.png", "c.png")

    def reference(path):
        return hashlib.blake2b((tmp_path / "root" / path).read_bytes(), digest_size=16).hexdigest()

    source = FolderSource("set", tmp_path / "root", fingerprint_cache=cache)
    assert source.byte_hashes(np.array([2, 0, 2])) == [
        reference("c.png"),
        reference("a.png"),
        reference("c.png"),
    ]
    (tmp_path / "root" / "a.png").write_bytes(b"changed")
    for again in (source, FolderSource("set", tmp_path / "root", fingerprint_cache=cache)):
        assert again.byte_hashes(np.arange(3)) == [
            reference("a.png"),
            reference("b.png"),
            reference("c.png"),
        ]
    assert [path.name for path in cache.parent.iterdir()] == ["hashes.parquet"]


def test_an_unchanged_file_is_read_once_across_processes(tmp_path, monkeypatch):
    cache = tmp_path / "hashes.parquet"
    put_images(tmp_path / "root", "a.png", "b.png")
    first = FolderSource("set", tmp_path / "root", fingerprint_cache=cache).byte_hashes(
        np.arange(2)
    )
    again = FolderSource("set", tmp_path / "root", fingerprint_cache=cache)
    monkeypatch.setattr(
        again._hashes, "opened", lambda position: pytest.fail("the file was read again")
    )
    assert again.byte_hashes(np.arange(2)) == first


@pytest.mark.parametrize("damage", [b"", b"PAR1 nonsense", b"{}"])
def test_a_damaged_cache_is_ignored_and_written_anew(tmp_path, damage):
    cache = tmp_path / "hashes.parquet"
    put_images(tmp_path / "root", "a.png")
    expected = FolderSource("set", tmp_path / "root", fingerprint_cache=cache).byte_hashes(
        np.arange(1)
    )
    whole = cache.read_bytes()
    for broken in (damage, whole[: len(whole) // 2]):
        cache.write_bytes(broken)
        assert (
            FolderSource("set", tmp_path / "root", fingerprint_cache=cache).byte_hashes(
                np.arange(1)
            )
            == expected
        )
        assert cache.read_bytes() == whole


def test_a_file_that_vanishes_is_named_with_its_line(tmp_path):
    source = FolderSource("set", put_csv(tmp_path, "path\nb.png\na.png\n"))
    (tmp_path / "a.png").unlink()
    for ask in (lambda: source.image(0), lambda: source.byte_hashes(np.arange(2))):
        with pytest.raises(
            InputError,
            match=r"'a\.png' cannot be read \(there is no such file; listed in .*labels\.csv, line "
            r"3\)",
        ):
            ask()


def test_the_fingerprint_does_not_depend_on_the_order_of_rows(tmp_path):
    prints = []
    for rows in ("a.png,x\nb.png,y\n", "b.png,y\na.png,x\n"):
        source = FolderSource("set", put_csv(tmp_path, "path,level1\n" + rows))
        prints.append(source.fingerprint(np.arange(2)))
    assert prints[0] == prints[1]


def test_200_000_rows_are_read_without_asking_for_every_file(tmp_path, monkeypatch):
    count = 200_000
    (tmp_path / "labels.csv").write_text(
        "path,split,level1,level2\n"
        + "".join(f"{i:07d}.png,train,c{i % 10},f{i % 1000}\n" for i in range(count))
    )
    asked = []
    monkeypatch.setattr(FolderSource, "_stat", lambda self, position: asked.append(position))
    table = FolderSource("set", tmp_path).table
    assert len(table) == count
    assert len(asked) == 64
    assert table.levels[0][:2].tolist() == ["f0", "f1"]


@needs_data
@pytest.mark.parametrize("name", README_COUNTS)
def test_the_real_sets_have_the_classes_that_their_readme_says(name):
    assert DATA
    source = FolderSource(name, Path(DATA) / name)
    images, classes = README_COUNTS[name]
    assert len(source.table) == images
    assert tuple(len(set(level)) for level in source.table.levels) == classes
    with (Path(DATA) / name / "labels.csv").open(
        newline="", encoding="utf-8"
    ) as file:  # the independent reading
        rows = sorted(csv.DictReader(file), key=lambda row: row["path"])
    assert source.table.ids.tolist() == [row["path"] for row in rows]
    for at, level in enumerate(source.table.levels):
        assert level.tolist() == [row[f"level{len(classes) - at}"] for row in rows]
    for column, values in source.table.splits.items():
        assert values.tolist() == [row[column] for row in rows]


@needs_data
def test_real_captions_and_names():
    assert DATA
    emoji = FolderSource("emoji", Path(DATA) / "noto_emoji").table
    assert set(emoji.texts) >= {"name", "description", "tags", "aliases"}
    assert emoji.texts["name"][emoji.ids.tolist().index("images/emoji_u1f600.png")] == [
        "grinning face"
    ]
    aerial = FolderSource("aerial", Path(DATA) / "ucm_captions").table
    assert {len(texts) for texts in aerial.texts["captions"]} == {5}
    fruits = FolderSource("fruits", Path(DATA) / "fruits360_3body")
    assert [len(fruits.split(column, "train")) for column in ("split", "split_variety")] == [
        2450,
        2669,
    ]
