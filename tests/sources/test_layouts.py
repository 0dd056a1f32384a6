"""What trees of folders mean, and which of them are refused since they can mean two things."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest

from headwater.errors import InputError
from headwater.sources.folder import FolderSource
from headwater.sources.layouts import read_layout
from headwater.sources.split_words import exact_split, split_word

CLASSES = ("cat", "dog")


def reading(*paths: str, layout=None):
    """(images per split, finest classes, images left out) of a tree of files."""
    folders = Counter(tuple(path.split("/")[:-1]) for path in paths)
    read = read_layout(folders, "root", layout)
    splits = Counter[str]()
    for folder, meaning in read.meanings.items():
        splits[meaning.split] += folders[folder]
    classes = {"/".join(meaning.classes) for meaning in read.meanings.values()} - {""}
    return dict(splits), sorted(classes), sum(read.left_out.values())


def refusal(*paths: str, layout=None) -> str:
    with pytest.raises(InputError) as caught:
        reading(*paths, layout=layout)
    return str(caught.value)


def splits_first(*splits: str, classes=CLASSES, inside: str = "") -> list[str]:
    return [f"{inside}{split}/{name}/1.jpg" for split in splits for name in classes]


def classes_first(*splits: str, classes=CLASSES, inside: str = "") -> list[str]:
    return [f"{inside}{name}/{split}/1.jpg" for split in splits for name in classes]


@pytest.mark.parametrize(
    "names",
    [
        ("training", "validation", "evaluation"),
        ("train", "val", "test"),
        ("Train", "Valid", "Test"),
        ("TRAINING_SET", "dev", "Test Set"),
        ("train2017", "val2017", "test2017"),
        ("my_train", "my_val", "my_test"),
        ("trainset", "valset", "testset"),
        ("01_train", "02_validation", "03_holdout"),
        ("fruits_train", "fruits_val", "fruits_test"),
        ("train_images", "dev_images", "eval"),
        ("trainval", "dev", "hold-out"),
        ("seg_train/seg_train", "seg_dev/seg_dev", "seg_test/seg_test"),
    ],
)
@pytest.mark.parametrize("inside", ["", "images/", "data/photos/", "dataset_v2/"])
def test_splits_of_every_usual_name_are_three_splits_of_two_classes(names, inside):
    expected = ({"train": 2, "val": 2, "test": 2}, ["cat", "dog"], 0)
    assert reading(*splits_first(*names, inside=inside)) == expected
    if "/" not in names[0]:
        assert reading(*classes_first(*names, inside=inside)) == expected


def test_two_splits_are_enough_and_one_alone_keeps_its_classes():
    assert reading(*splits_first("train", "test")) == ({"train": 2, "test": 2}, [*CLASSES], 0)
    assert reading(*splits_first("train", "val")) == ({"train": 2, "val": 2}, [*CLASSES], 0)
    assert reading(*splits_first("test")) == ({"test": 2}, [*CLASSES], 0)
    assert reading(*classes_first("train")) == ({"train": 2}, [*CLASSES], 0)
    assert reading("train2017/1.jpg", "val2017/1.jpg") == ({"train": 1, "val": 1}, [], 0)


def test_nested_classes_stay_nested_on_both_sides_of_the_split():
    assert reading("train/a/x/1.jpg", "test/a/x/1.jpg", "train/b/1.jpg")[1] == ["a/x", "b"]
    assert reading("a/x/train/1.jpg", "a/x/test/1.jpg", "b/train/1.jpg")[1] == ["a/x", "b"]
    paths = [f"{style}/{path}" for style in ("real", "sketch") for path in splits_first("a", "b")]
    paths = [path.replace("/a/", "/train/").replace("/b/", "/test/") for path in paths]
    assert reading(*paths)[1] == ["real/cat", "real/dog", "sketch/cat", "sketch/dog"]


@pytest.mark.parametrize(
    ("paths", "left_out"),
    [
        ([*splits_first("train", "test"), "preview.png"], 1),
        ([*splits_first("train", "test"), "misc/1.png", "misc/2.png"], 2),
        ([*splits_first("train", "test"), "docs/figures/1.png"], 1),
        ([*splits_first("train", "test", inside="images/"), "docs/1.png", "logo.png"], 2),
        ([*classes_first("train", "test"), "logo.png"], 1),
        ([*splits_first("train"), "logo.png"], 1),
    ],
)
def test_stray_images_beside_the_splits_are_left_out_and_counted(paths, left_out):
    splits, classes, out = reading(*paths)
    assert classes == [*CLASSES]
    assert out == left_out
    assert sum(splits.values()) == len(paths) - left_out


@pytest.mark.parametrize(
    "paths",
    [
        ["bus/1.jpg", "car/1.jpg", "train/1.jpg"],
        ["bus/1.jpg", "car/1.jpg", "test/1.jpg"],
        ["toy_train/1.jpg", "toy_car/1.jpg"],
        ["steam_train/1.jpg", "bullet_train/1.jpg"],
        ["test_tube/1.jpg", "train_station/1.jpg", "bridge/1.jpg"],
        ["vehicle/train/1.jpg", "vehicle/bus/1.jpg", "animal/cat/1.jpg"],
        ["train/steam/1.jpg", "car/sedan/1.jpg"],
        ["valley/1.jpg", "contest/1.jpg", "training_shoe/1.jpg"],
    ],
)
def test_a_class_that_is_called_like_a_split_is_a_class(paths):
    assert reading(*paths) == (
        {"train": len(paths)},
        sorted(path.rpartition("/")[0] for path in paths),
        0,
    )


def test_a_class_called_test_or_train_inside_or_outside_the_splits_is_a_class():
    paths = splits_first("train", "test", classes=("test", "bus"))
    assert reading(*paths) == ({"train": 2, "test": 2}, ["bus", "test"], 0)
    paths = classes_first("train", "test", classes=("train", "bus"))
    assert reading(*paths) == ({"train": 2, "test": 2}, ["bus", "train"], 0)


@pytest.mark.parametrize(
    ("paths", "keys"),
    [
        (splits_first("train", "test", classes=("train", "test")), ("split/class", "class/split")),
        (["bus/1.jpg", "train/1.jpg", "test/1.jpg"], ("split/class", "class")),
        ([*splits_first("train", "test"), *splits_first("extra")], ("split/class", "class")),
        (["cats_train/1.jpg", "cats_test/1.jpg", "dogs_train/1.jpg"], ("split/class", "class")),
        (["steam_train/1.jpg", "test_tube/1.jpg"], ("split/class", "class")),
        ([*splits_first("train"), "misc/1.jpg"], ("split/class", "class")),
        (["train/1.jpg", "1.jpg"], ("split/class", "class")),
        (["a/train/1.jpg", "b/test/1.jpg"], ("class/split", "class")),
        (["cat/train/1.jpg", "cat/test/1.jpg", "dog/1.jpg"], ("class/split", "class")),
        (
            [
                *splits_first("train", "test", inside="images/"),
                *splits_first("train", "test", inside="masks/"),
            ],
            ("class/split", "class"),
        ),
    ],
)
def test_what_can_be_read_in_two_ways_is_refused_with_both_and_the_key(paths, keys):
    message = refusal(*paths)
    assert "can be read in two ways" in message
    assert all(f"`layout: {key}`" in message for key in keys)
    folders = dict.fromkeys((tuple(path.split("/")[:-1]) for path in paths), 1)
    first, second = (read_layout(folders, "root", key).meanings for key in keys)
    assert first != second


def test_each_layout_can_be_asked_for():
    paths = splits_first("train", "test", classes=("train", "test"))
    assert reading(*paths, layout="split/class")[1] == ["test", "train"]
    assert reading(*paths, layout="class/split")[1] == ["test", "train"]
    assert reading(*paths, layout="class") == (
        {"train": 4},
        ["test/test", "test/train", "train/test", "train/train"],
        0,
    )
    assert reading(*paths, layout="flat") == ({"train": 4}, [], 0)
    paths = [*splits_first("train", "test"), *splits_first("extra")]
    assert reading(*paths, layout="split/class") == ({"train": 2, "test": 2}, [*CLASSES], 2)


def test_a_layout_that_the_folders_do_not_have_is_an_error():
    assert "layout is split/class, and no folder is named" in refusal(
        "cat/1.jpg", layout="split/class"
    )
    assert "layout is class/split, and no folder is named" in refusal(
        "cat/1.jpg", layout="class/split"
    )


def test_eval_beside_test_is_refused_and_may_be_chosen_or_renamed():
    paths = splits_first("train", "eval", "test")
    message = refusal(*paths)
    assert "'eval' stands beside 'test'" in message
    assert "rename it to val" in message
    assert reading(*paths, layout="split/class")[0] == {"train": 2, "test": 4}
    assert reading(*splits_first("train", "val", "eval"))[0] == {"train": 2, "val": 2, "test": 2}


@pytest.mark.parametrize(
    "name", ["valley", "contest", "developer", "trainer", "testa rossa", "evaluator", "2017", "set"]
)
def test_words_that_only_begin_like_a_split_are_none(name):
    assert exact_split(name) is None


def test_a_word_beside_the_split_makes_it_less_than_exact():
    assert exact_split("toy_train") is None
    word = split_word("toy_train")
    assert word is not None
    assert word.split == "train"
    assert split_word("train_test") is None


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def test_a_source_tells_how_its_folders_were_read_and_what_was_left_out(tmp_path):
    put(tmp_path, *splits_first("Training", "holdout"), "misc/1.jpg", "notes.txt")
    source = FolderSource("set", tmp_path)
    assert source.notes == (
        "folders are read as splits: 'Training' as train, 'holdout' as test (layout split/class)",
        "left out, since beside the folders of splits: 1 image in 'misc'",
    )
    assert source.table.ids.tolist() == sorted(splits_first("Training", "holdout"))


def test_the_layout_key_of_a_source_chooses_and_has_no_say_beside_labels_csv(tmp_path):
    put(tmp_path, "bus/1.jpg", "train/1.jpg", "test/1.jpg")
    with pytest.raises(InputError, match="two ways"):
        FolderSource("set", tmp_path)
    table = FolderSource("set", tmp_path, layout="class").table
    assert table.levels[0].tolist() == ["bus", "test", "train"]
    (tmp_path / "labels.csv").write_text("path\nbus/1.jpg\n")
    assert len(FolderSource("set", tmp_path).table) == 1
    with pytest.raises(InputError, match=r"layout is class, but labels\.csv says"):
        FolderSource("set", tmp_path, layout="class")


def test_an_empty_class_of_a_split_is_an_error_and_an_empty_folder_beside_is_not(tmp_path):
    put(tmp_path, *splits_first("train", "test"), "annotations/a.xml")
    assert len(FolderSource("set", tmp_path).table) == 4
    (tmp_path / "test" / "cow").mkdir()
    with pytest.raises(InputError, match="the folder 'test/cow' holds no image"):
        FolderSource("set", tmp_path)
    (tmp_path / "test" / "cow").rmdir()
    (tmp_path / "val").mkdir()
    with pytest.raises(InputError, match="the folder 'val' holds no image"):
        FolderSource("set", tmp_path)


def test_many_folders_are_read_in_a_moment():
    paths = {(f"c{at}", f"d{at}"): 1 for at in range(4_000)}
    assert len(read_layout(paths, "root").meanings) == 4_000
