"""Folders of images that cannot serve: one line that names the file or the folder."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from tests.cli.lines import line_of
from tests.conftest import Cli, refused, write_study
from tests.proposal.folders import of_arrow, of_parquet, of_shards


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """An ImageFolder under a data root: train and test, two classes of 8 and 4 photos of noise."""
    rng = np.random.default_rng(0)
    for split, count in (("train", 8), ("test", 4)):
        for name in ("cat", "dog"):
            folder = tmp_path / "data" / "photos" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
                    folder / f"{i}.png"
                )
    return tmp_path / "data" / "photos"


def folder_study(tmp_path: Path, **changes: Any) -> Path:
    words: dict[str, Any] = {
        "study": "folders",
        "data": {"photos": {"kind": "folder", "path": "photos"}},
        "sources": ["photos"],
        "methods": ["supervised"],
        "seeds": 1,
        "budget": {"steps": 2},
        "tasks": {"photos": {"data": "photos"}},
    }
    return write_study(tmp_path / "study.yaml", {**words, **changes})


def test_folders_are_found_under_the_data_root(
    headwater: Cli, photos: Path, tmp_path: Path
) -> None:
    code, out, err = headwater(
        "status", folder_study(tmp_path), "--data-root", photos.parent, "--json"
    )
    assert (code, err) == (0, "")
    assert json.loads(out)["to_do"] == 1


def test_a_data_root_that_is_missing_or_no_folder_is_refused(
    headwater: Cli, photos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    study = folder_study(tmp_path)
    refused(headwater("status", study), "data.photos", "--data-root", "HEADWATER_DATA")
    refused(headwater("status", study, "--data-root", tmp_path / "nowhere"), "no such folder")
    refused(headwater("status", study, "--data-root", study), "no such folder")
    refused(
        headwater("status", study, "--data-root", tmp_path),
        line_of(study, "data:", "path:"),
        "data.photos",
        "no folder",
    )
    monkeypatch.setenv("HEADWATER_DATA", str(tmp_path / "nowhere"))
    refused(headwater("status", study), "HEADWATER_DATA")


@pytest.mark.parametrize("path", ["~nobody-of-this-name/x", "photos/train/cat/0.png", "x" * 300])
def test_a_folder_that_cannot_be_is_refused(
    path: str, headwater: Cli, photos: Path, tmp_path: Path
) -> None:
    refused(
        headwater(
            "status",
            folder_study(tmp_path, data={"photos": {"kind": "folder", "path": path}}),
            "--data-root",
            photos.parent,
        ),
        "photos",
    )


def _empty(photos: Path) -> None:
    shutil.rmtree(photos)
    photos.mkdir()


def _one_class(photos: Path) -> None:
    shutil.rmtree(photos / "train" / "dog")
    shutil.rmtree(photos / "test" / "dog")


def _csv(text: str) -> Callable[[Path], None]:
    return lambda photos: (photos / "labels.csv").write_text(text) and None  # type: ignore[func-returns-value]


TABLES: dict[str, tuple[Callable[[Path], object], tuple[str, ...]]] = {
    "no image": (_empty, ("photos",)),
    "one class": (_one_class, ("only one class",)),
    "an empty class folder": (lambda photos: (photos / "train" / "eel").mkdir(), ("'train/eel'",)),
    "a class that only test has": (
        lambda photos: shutil.rmtree(photos / "train" / "dog"),
        ("'dog'", "no training image"),
    ),
    "no train": (lambda photos: shutil.rmtree(photos / "train"), ("no train images",)),
    "no test": (lambda photos: shutil.rmtree(photos / "test"), ("no test images",)),
    "an empty labels.csv": (_csv(""), ("labels.csv", "empty")),
    "a labels.csv without rows": (_csv("path,level1\n"), ("labels.csv",)),
    "a labels.csv without path": (_csv("id,level1\na.png,x\n"), ("labels.csv", "path")),
    "a listed file that is missing": (
        _csv("path,split,level1\ntrain/cat/0.png,train,x\ngone.png,test,x\n"),
        ("'gone.png'", "no such file"),
    ),
    "a path that leaves the root": (_csv("path,level1\n../x.png,x\n"), ("'../x.png'",)),
    "a split that is none": (_csv("path,split,level1\ntrain/cat/0.png,tset,x\n"), ("'tset'",)),
}


@pytest.mark.parametrize("case", TABLES)
def test_a_folder_that_cannot_serve_is_refused_in_one_line(
    case: str, headwater: Cli, photos: Path, tmp_path: Path
) -> None:
    damage, parts = TABLES[case]
    damage(photos)
    refused(headwater("status", folder_study(tmp_path), "--data-root", photos.parent), *parts)


def test_clip_on_a_folder_without_captions_is_refused(
    headwater: Cli, photos: Path, tmp_path: Path
) -> None:
    study = folder_study(tmp_path, methods=["clip"])
    refused(
        headwater("status", study, "--data-root", photos.parent),
        line_of(study, "sources:", "- photos"),
        "no text field 'captions'",
        "template",
    )


def test_a_copy_of_a_task_under_another_name_is_no_source(
    headwater: Cli, photos: Path, tmp_path: Path
) -> None:
    shutil.copytree(photos, photos.parent / "copy")
    words = {
        "photos": {"kind": "folder", "path": "photos"},
        "copy": {"kind": "folder", "path": "copy"},
    }
    study = folder_study(tmp_path, data=words, sources={"copy": {"splits": ["train", "test"]}})
    refused(
        headwater("status", study, "--data-root", photos.parent),
        "sources.copy",
        "8 of the 8 test images",
        "byte for byte",
    )
    same = folder_study(tmp_path, sources={"photos": {"splits": ["train", "test"]}})
    refused(
        headwater("status", same, "--data-root", photos.parent),
        "sources.photos",
        "8 of the 8 test images",
        "other splits",
    )


def _bomb(path: Path) -> None:
    Image.new("1", (20_000, 20_000)).save(path, "PNG")


IMAGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:1000]), "cut short"),
    "empty": (lambda path: path.write_bytes(b""), "empty file"),
    "text by an image's name": (lambda path: path.write_text("hello, I am a text"), "text: 1"),
    "decompression bomb": (_bomb, "too many pixels"),
}


@pytest.mark.parametrize("case", IMAGES)
def test_an_image_that_cannot_be_read_is_named(
    case: str, headwater: Cli, photos: Path, tmp_path: Path
) -> None:
    damage, part = IMAGES[case]
    damage(photos / "train" / "dog" / "5.png")
    refused(
        headwater(
            "run",
            folder_study(tmp_path),
            "--data-root",
            photos.parent,
            "--device",
            "cpu",
            "--quiet",
        ),
        "train/dog/5.png",
        part,
    )


@pytest.mark.parametrize("made", [of_parquet, of_shards, of_arrow])
def test_a_folder_of_parquet_arrow_or_tar_files_is_described_as_one_of_images(
    made: Callable[[Path], Path], headwater: Cli, tmp_path: Path
) -> None:
    made(tmp_path / "hub")
    code, out, err = headwater("tasks", "hub", "--json")
    assert code == 0, err
    assert json.loads(out)["class_names"] == ["cat", "dog"]
    code, out, err = headwater("labels", "describe", "hub", "--json")
    assert code == 0, err
    assert json.loads(out)["sources"][0]["images"] == 24
