"""The command line: what each command shows, and that every mistake is one line with exit code
2.
"""

from __future__ import annotations

import dataclasses
import json
import os
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from PIL import Image

from headwater import cli
from tests.conftest import Cli, Finished, refused, tiny, write_study


# study files
def study_text(**changes: Any) -> str:
    return yaml.safe_dump(tiny(**changes), sort_keys=False)


BOMB = "a: &a [1,1,1,1,1,1,1,1,1]\n" + "".join(
    f"{n}: &{n} [{','.join(['*' + p] * 9)}]\n" for p, n in zip("abcdefgh", "bcdefghi", strict=True)
)
FILES: dict[str, tuple[bytes | str, tuple[str, ...]]] = {
    "empty": ("", ("empty",)),
    "only a comment": ("# nothing\n", ("empty",)),
    "binary": (bytes(range(256)), ("UTF-8",)),
    "NUL bytes": (b"study: a\0b\n", ("YAML",)),
    "billion laughs": (BOMB, ("expands to too many values",)),
    "an alias of itself": ("study: &a [*a]\n", ("nests too deeply",)),
    "deep nesting": ("[" * 5000, ("nested too deeply",)),
    "huge": (b"#" * (2 << 20), ("too large",)),
    "a list": ("- study\n", ("line 1", "mapping")),
    "a text": ("study\n", ("line 1", "mapping")),
    "open bracket": ("study: [a\n", ("line", "YAML")),
    "a tab": ("data:\n\tpaint: 1\n", ("line 2", "YAML")),
    "python object": ("study: !!python/object/apply:os.system [ls]\n", ("line 1", "study")),
    "python name": ("study: !!python/name:os.system x\n", ("line 1", "not allowed")),
    "own tag": ("study: !mine x\n", ("line 1", "!mine")),
    "a date that is none": ("study: 2020-99-99\n", ("line 1",)),
    "an integer without end": ("seeds: " + "9" * 5000 + "\n", ("line 1",)),
    "a lone surrogate": ('study: "\\uD800"\n', ("line 1", "no text")),
    "a NUL by escape": ('study: "a\\0b"\n', ("line 1", "no text")),
    "a merge key": ("a: &a {b: 1}\nstudy:\n  <<: *a\n", ("line 3", "plain text")),
    "a key that is a list": ("? [a, b]\n: 1\n", ("line 1", "plain text")),
    "duplicate key": (study_text() + "seeds: 2\n", ("'seeds' is given twice", "first in line")),
    "wrong key": (
        study_text().replace("backbone", "x") + "sead: 3\n",
        ("unknown key 'sead'", "did you mean 'seeds'?", "line "),
    ),
    "wrong nested key": (
        study_text().replace("  steps: 40", "  stepz: 40"),
        ("budget.stepz", "'steps'", "line "),
    ),
    "wrong type": (study_text(image_size="big"), ("image_size", "'big'", "line ")),
    "null where a number belongs": (study_text(image_size=None), ("image_size", "line ")),
    "no data": (study_text(data={}), ("data",)),
    "a source that is not defined": (
        study_text(sources=["pant"]),
        ("'pant' is not defined", "'paint'"),
    ),
    "a task's data that is not defined": (
        study_text(tasks={"t": {"data": "nowhere"}}),
        ("'nowhere' is not defined",),
    ),
    "a source listed twice": (study_text(sources=["paint", "paint"]), ("listed twice",)),
    "a method that is none": (study_text(methods=["simclear"]), ("'simclear'", "'simclr'")),
    "two budgets": (study_text(budget={"steps": 1, "epochs": 2}), ("exactly one of",)),
    "no budget": (study_text(budget={}), ("exactly one of",)),
    "zero steps": (study_text(budget={"steps": 0}), ("budget",)),
    "infinite epochs": (study_text(budget={"epochs": float("inf")}), ("budget",)),
    "no seed": (study_text(seeds=0), ("seeds",)),
    "negative seed": (study_text(seeds=[-1]), ("seeds",)),
    "the same seed twice": (study_text(seeds=[1, 1]), ("listed twice",)),
    "a name with a slash": (study_text(study="../x"), ("study",)),
    "a kind of data that is none": (
        study_text(data={"paint": {"kind": "wrld"}, "other": {"kind": "world"}}),
        ("'wrld'",),
    ),
    "data without a kind": (study_text(data={"paint": {}, "other": {"kind": "world"}}), ("kind",)),
    "too many species": (
        study_text(
            data={
                "paint": {"kind": "world", "families": 6, "species": 32},
                "other": {"kind": "world"},
            }
        ),
        ("species",),
    ),
    "no protocol": (study_text(protocols={}), ("probe, ridge, knn, zeroshot, finetune, lpft",)),
    "a timestamp that is none": (
        "study: !!timestamp x\n",
        ("line 1", "'x' cannot be read as timestamp"),
    ),
    "an integer of no digits": ("seeds: !!int ''\n", ("line 1", "cannot be read as int")),
    "a float of no digits": ("budget: {epochs: !!float }\n", ("line 1", "cannot be read as float")),
    "a boolean that is none": ("study: !!bool maybe\n", ("line 1", "cannot be read as bool")),
    "binary that is none": ("study: !!binary 'é'\n", ("line 1", "cannot be read as binary")),
    "a float in base 60 without end": ("seeds: !!float 1" + ":1" * 400 + "\n", ("line 1",)),
    "an l2 below zero": (study_text(protocols={"probe": {"l2": [-1]}}), ("l2",)),
    "zero shots": (study_text(protocols={"probe": {"shots": [0]}}), ("shots",)),
    "a fraction above one": (study_text(recipe={"warmup": 2}), ("warmup",)),
}


@pytest.mark.parametrize("case", FILES)
def test_a_study_file_that_cannot_be_used_is_refused_in_one_line(
    case: str, headwater: Cli, tmp_path: Path
) -> None:
    content, parts = FILES[case]
    path = tmp_path / "study.yaml"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    refused(headwater("status", path), str(path), *parts)


def test_an_unknown_key_names_its_line(headwater: Cli, tmp_path: Path) -> None:
    text = study_text() + "sead: 3\n"
    (tmp_path / "study.yaml").write_text(text)
    refused(headwater("status", "study.yaml"), f"line {text.splitlines().index('sead: 3') + 1}:")


@pytest.mark.parametrize(
    ("argument", "part"),
    [
        ("missing.yaml", "no such study file"),
        (".", "directory"),
        ("x" * 300, "long"),
        ("", "directory"),
        ("/dev/zero", "too large"),
    ],
)
def test_a_study_that_is_no_file_is_refused(argument: str, part: str, headwater: Cli) -> None:
    refused(headwater("status", argument), part)


# what only the plan can tell, on a generated world
PLANS: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "level beyond the top": ({"labels": ["level:9"]}, ("no level:9", "level:0 to level:2")),
    "a view that is none": ({"labels": ["lvl:0"]}, ("'lvl:0' is no label view",)),
    "random:0": ({"labels": ["random:0"]}, ("random:0", "at least 2")),
    "a view with a number without end": (
        {"labels": ["level:" + "9" * 5000]},
        ("is no label view", "9 digits"),
    ),
    "two names of one view": (
        {"labels": ["level:0", "class"]},
        ("labels: 'class' is the same view as 'level:0'",),
    ),
    "two names of one view for a source": (
        {"sources": {"paint": {"labels": ["level:0", "level:00"]}}},
        ("sources.paint.labels", "'level:00'"),
    ),
    "random:K above the images": ({"labels": ["random:1000"]}, ("random:1000", "192")),
    "a task's view that is none": (
        {"tasks": {"t": {"data": "other", "labels": "level"}}},
        ("is no label view",),
    ),
    "captions that are not there": (
        {"captions": "subtitle"},
        ("no text field 'subtitle'", "captions"),
    ),
    "a size above the images": ({"sizes": [100_000]}, ("size 100000", "192")),
    "a size of one": ({"sizes": [1]}, ("size 1",)),
    "shots above a class": ({"protocols": {"probe": {"shots": [50]}}}, ("50 shots", "cap: true")),
    "a split column that is not there": (
        {"tasks": {"t": {"data": "other", "split_column": "fold"}}},
        ("no split column 'fold'", "split"),
    ),
    "no training image in the task": ({"tasks": {"t": {"data": "none"}}}, ("no train images",)),
    "no test image in the task": ({"tasks": {"t": {"data": "untested"}}}, ("no test images",)),
    "no image to pre-train on": ({"sources": ["none"]}, ("pre-training needs at least 2",)),
    "a split that is none": (
        {"sources": {"paint": {"splits": ["train", "trian"]}}},
        ("'trian' is none of train, val, test",),
    ),
    "a split without a name": (
        {"sources": {"paint": {"splits": ["train", ""]}}},
        ("'' is none of train, val, test",),
    ),
    "a split that holds nothing": (
        {"sources": {"untested": {"splits": ["train", "test"]}}},
        ("0 images in test",),
    ),
    "one image to see": (
        {"budget": {"images_seen": 1}},
        ("budget.images_seen", "fewer than 2 images"),
    ),
    "a billionth of an epoch": (
        {"budget": {"epochs": 1e-9}},
        ("budget.epochs", "fewer than 2 images"),
    ),
    "steps for all time": (
        {"budget": {"steps": 10**30}},
        ("budget.steps", "more than 1e+15 images"),
    ),
    "epochs for all time": (
        {"budget": {"epochs": 1e300}},
        ("budget.epochs", "more than 1e+15 images"),
    ),
    "infinitely many images": (
        {"budget": {"epochs": 1.7e308}},
        ("budget.epochs", "more than 1e+15 images"),
    ),
    "a class without a training image": (
        {"tasks": {"t": {"data": "few"}}},
        ("has no training image",),
    ),
    "pre-training on the test images": (
        {"sources": {"other": {"splits": ["train", "test"]}}},
        ("sources.other", "64 of the 64 test images of task 'other'", "pre-train on other splits"),
    ),
    "pre-training on the validation images": (
        {"sources": {"other": {"splits": ["train", "val"]}}},
        ("48 of the 48 val images of task 'other'",),
    ),
    "the same images under another name": (
        {"sources": {"twin": {"data": "copy", "splits": ["train", "test"]}}},
        ("64 of the 64 test images of task 'other'", "byte for byte"),
    ),
    "a setting that the method lacks": (
        {"recipe": {"simclr": {"label_smoothing": 0.1}}},
        ("unknown key 'recipe.simclr.label_smoothing'", "valid keys are"),
    ),
    "heads that do not divide the width": (
        {"recipe": {"text_width": 33, "text_heads": 2}},
        ("text_width 33", "text_heads 2"),
    ),
}


LINES: dict[str, tuple[str, str]] = {
    "level beyond the top": ("labels:", "- level:9"),
    "a view that is none": ("labels:", "- lvl:0"),
    "random:0": ("labels:", "- random:0"),
    "a view with a number without end": ("labels:", "- level:9"),
    "two names of one view": ("labels:", "- class"),
    "two names of one view for a source": ("sources:", "- level:00"),
    "random:K above the images": ("labels:", "- random:1000"),
    "a task's view that is none": ("tasks:", "labels: level"),
    "captions that are not there": ("captions:", "captions: subtitle"),
    "a size above the images": ("sizes:", "- 100000"),
    "a size of one": ("sizes:", "- 1"),
    "shots above a class": ("protocols:", "- 50"),
    "a split column that is not there": ("tasks:", "split_column: fold"),
    "no training image in the task": ("tasks:", "t:"),
    "no test image in the task": ("tasks:", "t:"),
    "no image to pre-train on": ("sources:", "- none"),
    "a split that is none": ("sources:", "- trian"),
    "a split without a name": ("sources:", "- ''"),
    "a split that holds nothing": ("sources:", "- test"),
    "one image to see": ("budget:", "images_seen:"),
    "a billionth of an epoch": ("budget:", "epochs:"),
    "steps for all time": ("budget:", "steps:"),
    "epochs for all time": ("budget:", "epochs:"),
    "infinitely many images": ("budget:", "epochs:"),
    "a class without a training image": ("tasks:", "t:"),
    "pre-training on the test images": ("sources:", "splits:"),
    "pre-training on the validation images": ("sources:", "splits:"),
    "the same images under another name": ("sources:", "splits:"),
    "a setting that the method lacks": ("recipe:", "label_smoothing:"),
    "heads that do not divide the width": ("recipe:", "text_width:"),
}
"""The block of the file and, in it, the beginning of the first line that the error should name."""


def line_of(study: Path, block: str, begins: str) -> str:
    """`study.yaml, line N:`, counted by hand: the first line after `block` (or itself) that begins
    so.
    """
    lines = study.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(block))
    return (
        f"{study}, line "
        f"{next(i for i in range(start, len(lines)) if lines[i].strip().startswith(begins)) + 1}: "
    )


def planned(**changes: Any) -> dict[str, Any]:
    words = tiny(**changes)
    other = words["data"]["other"]
    words["data"] |= {
        "copy": other,
        "none": {**other, "train": 0},
        "untested": {**other, "test": 0},
        "few": {**other, "train": 4},
    }
    return words


@pytest.mark.parametrize("case", PLANS)
def test_a_study_that_its_data_cannot_serve_is_refused_in_one_line(
    case: str, headwater: Cli, tmp_path: Path
) -> None:
    changes, parts = PLANS[case]
    study = write_study(tmp_path / "study.yaml", planned(**changes))
    refused(headwater("status", study), line_of(study, *LINES[case]), *parts)


def test_what_only_data_can_tell_is_a_line_in_python_too(tmp_path: Path) -> None:
    from headwater.errors import InputError
    from headwater.plan import Plan
    from headwater.study import Study

    study = write_study(tmp_path / "study.yaml", tiny(labels=["level:0", "level:9"]))
    with pytest.raises(InputError, match=re.escape(line_of(study, "labels:", "- level:9"))):
        Plan.make(Study.load(study))
    with pytest.raises(
        InputError, match=r"^sources.paint: there is no level:9"
    ):  # words that came from no file have no line
        Plan.make(Study.model_validate(tiny(labels=["level:0", "level:9"])))


@pytest.mark.parametrize(
    ("backbone", "size", "parts"),
    [
        ("resnet19", 32, ("'resnet19'", "near are", "resnet18")),
        ("zzzz", 32, ("'zzzz'", "tiny")),
        ("test_vit", 40, ("'test_vit'", "40 px")),
    ],
)
def test_a_backbone_that_cannot_be_is_refused_before_anything_is_decoded(
    backbone: str, size: int, parts: tuple[str, ...], headwater: Cli, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study.yaml", tiny(backbone=backbone, image_size=size))
    for command in (("run", study, "--quiet"), ("plan", study)):
        refused(
            headwater(*command, "--device", "cpu"), line_of(study, "backbone:", "backbone"), *parts
        )
    assert not (tmp_path / "headwater-store" / "cache" / "pixels").exists()


# folders
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
    "a labels.csv without path": (_csv("file,level1\na.png,x\n"), ("labels.csv", "path")),
    "a listed file that is missing": (
        _csv("path,split,level1\ntrain/cat/0.png,train,x\ngone.png,test,x\n"),
        ("'gone.png'", "no such file"),
    ),
    "a path that leaves the root": (_csv("path,level1\n../x.png,x\n"), ("'../x.png'",)),
    "a split that is none": (_csv("path,split,level1\ntrain/cat/0.png,eval,x\n"), ("'eval'",)),
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
    "truncated": (lambda path: path.write_bytes(path.read_bytes()[:1000]), "damaged or truncated"),
    "empty": (lambda path: path.write_bytes(b""), "no image"),
    "text by an image's name": (lambda path: path.write_text("hello, I am a text"), "no image"),
    "decompression bomb": (_bomb, "too large"),
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


# the store
def test_a_store_that_is_none_or_cannot_be_written_is_refused(
    headwater: Cli, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study.yaml", tiny())
    (tmp_path / "file").write_text("I am a file")
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "thesis.doc").write_text("mine")
    for store in (tmp_path / "file", tmp_path / "file" / "below"):
        refused(headwater("run", study, "--store", store), str(store))
    refused(headwater("run", study, "--store", tmp_path / "full"), "not empty and is no store")
    refused(headwater("status", study, "--store", tmp_path / "full"), "no store here")
    refused(headwater("rows", "--store", tmp_path / "nothing"), "no store here")
    refused(headwater("rows", study, "--store", tmp_path / "nothing"), "no store here")
    refused(headwater("report", study, "--store", tmp_path / "nothing"), "no store here")
    assert (tmp_path / "full" / "thesis.doc").read_text() == "mine"


@pytest.mark.parametrize("mark", ["", "{}", "[1]", '{"version": 99}', "\xff", '{"version": "1"}'])
def test_a_damaged_or_foreign_store_mark_is_refused(
    mark: str, headwater: Cli, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study.yaml", tiny())
    (tmp_path / "headwater-store").mkdir()
    (tmp_path / "headwater-store" / "headwater-store.json").write_bytes(mark.encode("latin-1"))
    for command in ("run", "status", "rows"):
        refused(headwater(command, study), "headwater-store")


@pytest.fixture
def store(finished: Finished, tmp_path: Path) -> Path:
    """A copy of the finished store, to be damaged."""
    return Path(shutil.copytree(finished.store, tmp_path / "store"))


@pytest.mark.parametrize(
    "content", ["", "{", "{}", "[]", "[1]", "[{}]", '[{"cell": 3}]', "\xff", "[" * 100_000]
)
def test_a_damaged_rows_file_is_named_and_refused(
    content: str, headwater: Cli, finished: Finished, store: Path
) -> None:
    victim = min((store / "rows").iterdir())
    victim.write_bytes(content.encode("latin-1"))
    refused(headwater("rows", "--store", store), str(victim), "damaged", "remove it")
    refused(headwater("status", finished.study, "--store", store), str(victim), "damaged")


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"id": "x", "status": "done"}', "\xff"])
def test_a_damaged_arm_is_refused_before_anything_runs(
    content: str, headwater: Cli, finished: Finished, store: Path
) -> None:
    victim = min((store / "arms").iterdir()) / "arm.json"
    victim.write_bytes(content.encode("latin-1"))
    for cell in (store / "rows").iterdir():
        cell.unlink()
    refused(
        headwater("run", finished.study, "--store", store, "--device", "cpu", "--quiet"),
        str(victim),
        "remove its folder",
    )


def test_redo_of_what_is_not_there_forgets_nothing(
    headwater: Cli, finished: Finished, store: Path
) -> None:
    before = sorted(store.glob("*/*"))
    real = min((store / "arms").iterdir()).name
    short, unknown = "at least the first 6", "no arm or cell"
    for ids, part in (
        (["nonsense"], unknown),
        ([real, "nonsense"], unknown),
        ([""], short),
        ([real[:1]], short),
        ([real[:5]], short),
    ):
        refused(
            headwater(
                "run",
                finished.study,
                "--store",
                store,
                *[part for one in ids for part in ("--redo", one)],
            ),
            "--redo",
            part,
        )
    assert sorted(store.glob("*/*")) == before


def test_redo_forgets_one_arm_with_its_cells_or_one_cell_and_nothing_that_is_ambiguous(
    finished: Finished, store: Path
) -> None:
    from headwater.errors import InputError
    from headwater.plan import Plan
    from headwater.plan.forgetting import forget
    from headwater.store import Store
    from headwater.study import Study

    plan, opened = Plan.make(Study.load(finished.study)), Store(store)
    first, second = plan.arms[:2]
    alike = dataclasses.replace(second, id=first.id[:8] + "0" * 8)
    two = dataclasses.replace(plan, arms=(first, alike, *plan.arms[2:]))
    with pytest.raises(InputError, match=r"2 arms and cells have ids that begin so"):
        forget(two, opened, [first.id[:7]])
    everything = opened.finished_cells()
    forget(plan, opened, [plan.cells[-1].id[:6]])
    assert everything - opened.finished_cells() == {plan.cells[-1].id}
    forget(plan, opened, [first.id])
    assert everything - opened.finished_cells() == {plan.cells[-1].id} | {
        cell.id for cell in plan.cells if cell.arm.id == first.id
    }
    assert not opened.has_arm(first.id)
    assert opened.has_arm(second.id)


# options
@pytest.mark.parametrize(
    "arguments",
    [
        ("nonsense",),
        ("run", "--nonsense"),
        ("run", "--workers", "0"),
        ("run", "--workers", "many"),
        ("run", "--workers"),
        ("status",),
        ("status", "a", "b"),
        ("plan", "x.yaml", "--device", "tpu"),
        ("doctor", "--device", "cuda:x"),
        ("doctor", "--device", ""),
        ("rows", "--out"),
    ],
)
def test_wrong_commands_and_options_are_refused_in_one_line(
    arguments: tuple[str, ...], headwater: Cli
) -> None:
    refused(headwater(*arguments))


@pytest.mark.parametrize("device", ["cuda", "cuda:7", "mps"])
def test_a_device_that_is_not_there_is_refused(
    device: str, headwater: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    study = write_study(tmp_path / "study.yaml", tiny())
    refused(
        headwater("run", study, "--device", device, "--quiet"),
        f"--device {device}",
        "use --device cpu",
    )
    refused(headwater("doctor", "--device", device), f"--device {device}")


def test_tables_that_cannot_be_read_or_written_are_refused(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    refused(headwater("report", "missing.csv"), "missing.csv")
    for name, content in {
        "a.csv": "x,y\n1,2\n",
        "b.csv": "",
        "c.parquet": "no",
        "d.jsonl": "{",
        "e.jsonl": "[1]\n",
    }.items():
        (tmp_path / name).write_text(content)
        refused(headwater("report", name), name)
    (tmp_path / "f.csv").write_bytes(b"\xff\xfe\x00")
    refused(headwater("report", "f.csv"), "f.csv")
    refused(headwater("rows", "--store", finished.store, "--out", "rows.xlsx"), "rows.xlsx", ".csv")
    (tmp_path / "file").write_text("")
    refused(headwater("rows", "--store", finished.store, "--out", "file/rows.csv"), "rows.csv")
    assert not list(tmp_path.glob("*.tmp"))


def test_init_does_not_overwrite(headwater: Cli, tmp_path: Path) -> None:
    (tmp_path / "study.yaml").write_text("mine")
    refused(headwater("init"), "study.yaml", "exists already")
    assert (tmp_path / "study.yaml").read_text() == "mine"


def test_init_writes_a_study_that_loads(headwater: Cli, tmp_path: Path) -> None:
    from headwater.study import Study

    assert headwater("init", "mine.yaml")[0] == 0
    assert Study.load(tmp_path / "mine.yaml").study
    code, out, _ = headwater("init", "other.yaml", "--json")
    assert (code, json.loads(out)) == (0, {"wrote": "other.yaml"})
    refused(headwater("init", "mine.yaml/below.yaml"), "below.yaml")


# what is shown
def test_plan_and_status_count_what_is_there(headwater: Cli, finished: Finished) -> None:
    code, out, _ = headwater(
        "plan", finished.study, "--store", finished.store, "--device", "cpu", "--json"
    )
    facts = json.loads(out)
    assert code == 0
    assert facts["cells"] == {"total": 16, "kept": 16, "new": 0, "orphaned": 0}
    assert len(facts["arms"]) == 4
    code, out, _ = headwater("status", finished.study, "--store", finished.store, "--json")
    assert code == 0
    assert {
        key: json.loads(out)[key]
        for key in ("cells", "done", "failed", "diverged", "to_do", "arms", "arms_done")
    } == {
        "cells": 16,
        "done": 16,
        "failed": 0,
        "diverged": 0,
        "to_do": 0,
        "arms": 4,
        "arms_done": 4,
    }


def test_run_of_a_finished_study_prints_its_verdict_and_where_the_report_is(
    headwater: Cli, finished: Finished, store: Path
) -> None:
    code, out, _ = headwater("run", finished.study, "--store", store, "--device", "cpu")
    assert code == 0
    assert "nothing to do" in out
    assert (store / "reports" / "tiny-world.html").stat().st_size > 1000
    code, out, _ = headwater(
        "run", finished.study, "--store", store, "--json", "--report", store / "own.html"
    )
    assert code == 0
    assert json.loads(out)["ran_cells"] == 0
    assert (store / "own.html").exists()


def test_rows_are_the_same_in_every_format(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    from headwater.rows import read_rows

    for suffix in (".csv", ".parquet", ".jsonl"):
        assert headwater("rows", "--store", finished.store, "--out", f"rows{suffix}")[0] == 0
        assert read_rows(tmp_path / f"rows{suffix}").equals(read_rows(finished.store))
    code, out, _ = headwater("report", "rows.csv", "--json")
    assert code == 0
    assert Path(json.loads(out)["report"]).exists()


def test_help_is_shown_without_a_command_and_for_each_command(headwater: Cli) -> None:
    assert "Tells a team what to pre-train on" in headwater()[1]
    for command in ("init", "plan", "run", "status", "rows", "report", "doctor"):
        code, out, _ = headwater(command, "--help")
        assert code == 0
        assert "Usage: headwater " + command in out
        if command in ("plan", "run", "status"):
            assert ", ".join(cli.shipped_studies()) in " ".join(out.replace("│", " ").split())


# as a process
def _subprocess(*arguments: str, code: str | None = None) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-c", code] if code else [sys.executable, "-m", "headwater.cli"]
    return subprocess.run(
        [*command, *arguments],
        capture_output=True,
        text=True,
        check=False,
        env={**os.environ, "COLUMNS": "120"},
    )


def test_a_mistake_is_one_line_in_a_process_of_its_own(tmp_path: Path) -> None:
    done = _subprocess("run", str(tmp_path / "none.yaml"))
    refused((done.returncode, done.stdout, done.stderr), "no such study file")
    done = _subprocess("run", "--workers", "0")
    refused((done.returncode, done.stdout, done.stderr), "--workers")


def test_help_takes_less_than_a_second_and_loads_no_torch() -> None:
    times = []
    for _ in range(3):
        began = time.perf_counter()
        done = _subprocess("--help")
        times.append(time.perf_counter() - began)
        assert done.returncode == 0
        assert "run" in done.stdout
    loaded = _subprocess(
        code="import sys, headwater.cli as c; sys.argv = ['headwater', '--help']; "
        "c._guarded(c.app); print(sorted(sys.modules))"
    ).stdout
    assert "'typer'" in loaded
    assert not [
        name for name in ("torch", "pandas", "numpy", "altair", "timm") if f"'{name}'" in loaded
    ]
    assert min(times) < 1.0, times


def test_importing_headwater_loads_neither_torch_nor_pandas() -> None:
    done = _subprocess(
        code="import sys, headwater; print([m for m in ('torch', 'pandas', 'numpy', 'pydantic') if "
        "m in sys.modules])"
    )
    assert done.stdout.strip() == "[]"


def test_a_finished_study_is_answered_without_torch(finished: Finished) -> None:
    code = (
        "import sys, headwater as hw; print(len(hw.run(sys.argv[1], store=sys.argv[2])), 'torch' "
        "in sys.modules)"
    )
    done = _subprocess(str(finished.study), str(finished.store), code=code)
    assert done.stdout.split()[1] == "False", done.stderr
