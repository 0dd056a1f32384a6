"""Published sets that are damaged: every mistake is one line that names the file."""

from __future__ import annotations

import re
import socket
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import InputError
from headwater.sources import open_source
from headwater.study import PublishedData
from tests.sources import released
from tests.sources.published_sets import made, refusal


@pytest.fixture(autouse=True)
def offline(monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_: Any, **__: Any) -> Any:
        raise AssertionError("the network was asked for")

    monkeypatch.setattr(socket.socket, "connect", refused)
    monkeypatch.setattr(socket, "getaddrinfo", refused)


def put(root: Path, file: str, text: str | bytes) -> None:
    (root / file).write_bytes(text.encode() if isinstance(text, str) else text)


def replaced(root: Path, file: str, old: str, new: str) -> None:
    text = (root / file).read_text()
    assert old in text
    put(root, file, text.replace(old, new, 1))


def put_bytes(root: Path, file: str, old: bytes, new: bytes) -> None:
    data = (root / file).read_bytes()
    assert old in data
    put(root, file, data.replace(old, new, 1))


CCT_VAL = "eccv_18_annotation_files/cis_val_annotations.json"
DAMAGE: list[tuple[str, Callable[[Path], None], str]] = [
    (
        "cifar100",
        lambda r: put(r, "train.bin", b"x" * 3000),
        r"train\.bin: 3,000 bytes are not a whole number of records of 3,074",
    ),
    (
        "cifar100",
        lambda r: put(r, "fine_label_names.txt", "a\nb\n"),
        r"record \d+: label \d+ of 2 classes",
    ),
    (
        "cifar100",
        lambda r: put(r, "fine_label_names.txt", ""),
        r"fine_label_names\.txt: the file is empty",
    ),
    (
        "dtd",
        lambda r: put(r, "labels/train1.txt", "banded\n"),
        r"train1\.txt, line 1: 'banded' is no `class/file\.jpg`",
    ),
    ("dtd", lambda r: put(r, "labels/val1.txt", b"\xff\xfe"), r"val1\.txt: this is not UTF-8"),
    (
        "dtd",
        lambda r: replaced(r, "labels/val1.txt", "banded/", "../../etc/"),
        r"val1\.txt, line 1: .* is no `class/file",
    ),
    (
        "dtd",
        lambda r: replaced(r, "labels/val1.txt", "banded/", "../"),
        r"val1\.txt, line 1: the path .* leaves the folder",
    ),
    (
        "pets",
        lambda r: replaced(r, "annotations/test.txt", "Bengal_3 3 1 3", "Bengal_3 3"),
        r"test\.txt, line \d+: .* is no `Name_1 class species breed`",
    ),
    (
        "pets",
        lambda r: (r / "annotations" / "test.txt").unlink(),
        r"it lacks .*annotations/test\.txt",
    ),
    (
        "domainnet-real",
        lambda r: replaced(r, "real_train.txt", ".jpg 0", ".jpg"),
        r"real_train\.txt, line 1: .* is no `domain/class/file\.jpg index`",
    ),
    (
        "cassava",
        lambda r: replaced(r, "train.csv", "image_id,label", "id;label"),
        r"train\.csv, line 1: the header is",
    ),
    (
        "cassava",
        lambda r: replaced(r, "train.csv", ".jpg,4", ".jpg,9"),
        r"train\.csv, line \d+: .* is no image_id and a label",
    ),
    (
        "cassava",
        lambda r: put(r, "label_num_to_disease_map.json", "{"),
        r"disease_map\.json: this is no JSON",
    ),
    (
        "cct20",
        lambda r: put_bytes(r, CCT_VAL, b"-0002.jpg", b"-\\ud800.jpg"),
        r"is no Unicode text",
    ),
    (
        "cct20",
        lambda r: put_bytes(r, CCT_VAL, b'"name": "opossum"', b'"name": "\xff"'),
        r"cis_val_annotations\.json: this is no JSON",
    ),
    (
        "inat2021",
        lambda r: put_bytes(r, "val.json", b"Common Raven", b"Common \xff\xfe"),
        r"val\.json: this is not UTF-8",
    ),
    (
        "inat2021",
        lambda r: put_bytes(r, "val.json", b'"file_name": "val/', b'"file_name": "../'),
        r"the path .* leaves the folder",
    ),
    (
        "cct20",
        lambda r: put(r, CCT_VAL, '{"images": [{}]}'),
        r"cis_val_annotations\.json: this is no list",
    ),
    (
        "cct20",
        lambda r: put(r, CCT_VAL, "[1]"),
        r"cis_val_annotations\.json: this is no JSON object",
    ),
    (
        "cct20",
        lambda r: (r / "eccv_18_all_images_sm").rename(r / "pictures"),
        r"has none of the folders eccv_18_all_images_sm",
    ),
    (
        "inat2021",
        lambda r: put(r, "val.json", '{"images": 3}'),
        r"val\.json: this is no annotation file of iNaturalist",
    ),
    ("inat2021", lambda r: put(r, "val.json", "{}"), r"val\.json: "),
    ("inat2021", lambda r: put(r, "val.json", "no json"), r"val\.json: this is no annotation file"),
    (
        "inat2021",
        lambda r: replaced(r, "val.json", '"image_id": 100', '"image_id": 999'),
        r"val\.json: an annotation is of an image or a category",
    ),
    (
        "inat2021",
        lambda r: replaced(r, "val.json", '"genus": "Corvus"', '"genus": "Cervus"'),
        r"val\.json: its categories are not those of train\.json",
    ),
    (
        "imagenet1k",
        lambda r: released.jpeg(r / "train" / "goldfish" / "1.JPEG"),
        r"class folder 'goldfish' is no synset id",
    ),
    (
        "imagenet1k",
        lambda r: released.jpeg(r / "val" / "n09999999" / "1.JPEG"),
        r"1 classes of val have no folder in train",
    ),
    (
        "eurosat",
        lambda r: (r / "EuroSAT_RGB" / "Lake").mkdir(),
        r"the class folder 'Lake' holds no image",
    ),
    (
        "caltech101",
        lambda r: (r / "101_ObjectCategories").rename(r / "x"),
        r"is not Caltech-101 as published: it lacks '101_ObjectCategories'",
    ),
]


@pytest.mark.parametrize(
    ("name", "damage", "said"),
    DAMAGE,
    ids=[f"{at}-{name}" for at, (name, _, _) in enumerate(DAMAGE)],
)
def test_what_is_damaged_is_one_line_that_names_the_file(
    tmp_path: Path, name: str, damage: Callable[[Path], None], said: str
) -> None:
    released.TREES[name](tmp_path)
    damage(tmp_path)
    assert re.search(said, refusal(name, tmp_path))


def test_a_folder_that_is_not_there_says_where_the_set_is_got_and_a_link_out_of_it_is_refused(
    tmp_path: Path,
) -> None:
    words = PublishedData(kind="published", name="dtd")
    with pytest.raises(
        InputError,
        match=r"there is no folder 'dtd' .*dtd; get Describable Textures \(DTD\) from "
        r"https://www\.robots",
    ):
        open_source("dtd", words, data_root=tmp_path, cache=None)
    with pytest.raises(
        InputError, match="there is no folder 'dtd' beside the study file; get Describable"
    ):
        open_source("dtd", words, data_root=None, cache=None)
    source = made("dtd", tmp_path / "dtd")
    released.jpeg(tmp_path / "outside.jpg")
    victim = tmp_path / "dtd" / "images" / "banded" / "banded_0002.jpg"
    victim.unlink()
    victim.symlink_to(tmp_path / "outside.jpg")
    with pytest.raises(InputError, match="is a link that leads out of"):
        source.image(source.table.ids.tolist().index("images/banded/banded_0002.jpg"))


HOSTILE = {
    "deep": "[" * 200_000,
    "deep in a list": '{"images": ' + "[" * 200_000,
    "cut off": '{"images": [{"id": 1, "file_name": "a',
    "not UTF-8": b'{"images": [{"id": 1, "file_name": "\xff\xfe"}]}',
    "empty": "",
}


@pytest.mark.parametrize("text", HOSTILE.values(), ids=HOSTILE)
@pytest.mark.parametrize(
    ("name", "file"),
    [("inat2021", "val.json"), ("cct20", "eccv_18_annotation_files/cis_val_annotations.json")],
)
def test_hostile_json_is_one_line_and_no_crash(
    tmp_path: Path, name: str, file: str, text: str | bytes
) -> None:
    released.TREES[name](tmp_path)
    put(tmp_path, file, text)
    assert Path(file).name in refusal(name, tmp_path)
