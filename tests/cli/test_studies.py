"""A study that cannot be used: one line, exit code 2, with the file, the line and the key."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.cli.lines import line_of
from tests.conftest import Cli, refused, tiny, write_study


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
        {"labels": ["level:" + "9" * 200]},
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
