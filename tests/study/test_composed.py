"""Studies composed in Python: the errors of a file, and written as a file that means the same."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml

import headwater as hw
from headwater.study import Budget
from headwater.study.file import wing_of
from tests.conftest import tiny

ROOT = Path(__file__).parents[2]
SHIPPED = [
    path
    for path in sorted([*ROOT.glob("studies/**/*.yaml"), *ROOT.glob("src/**/studies/*.yaml")])
    if wing_of(path) is None
]
WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "key": ({"metods": ["scratch"]}, "unknown key 'metods'; did you mean 'methods'?"),
    "inner key": ({"budget": {"step": 4}}, "unknown key 'budget.step'; did you mean 'steps'?"),
    "kind": ({"data": {"paint": {"kind": "wrld"}}}, "did you mean 'world'?"),
    "name": ({"tasks": {"t": {"data": "othr"}}}, "'othr' is not defined; did you mean 'other'?"),
    "number": ({"image_size": "32"}, "image_size: Input should be a valid integer"),
    "twice": ({"labels": ["level:0", "level:0"]}, "'level:0' is listed twice"),
    "method": ({"methods": ["simcl"]}, "did you mean 'simclr'?"),
}


def told(words: dict[str, Any]) -> str:
    with pytest.raises(hw.InputError) as caught:
        hw.Study(**words)
    return str(caught.value)


@pytest.mark.parametrize("name", WRONG)
def test_a_study_in_python_is_refused_with_the_words_of_a_file(name: str) -> None:
    changes, expected = WRONG[name]
    words = tiny(**changes)
    with pytest.raises(hw.InputError) as of_file:
        hw.Study.parse(yaml.safe_dump(words, sort_keys=False), "study.yaml")
    place, _, said = str(of_file.value).partition(": ")
    assert place.startswith("study.yaml, line ") and expected in said
    assert told(words) == f"Study: {said}"


def test_a_mistyped_key_is_told_before_the_key_that_it_leaves_missing() -> None:
    words = tiny()
    words["buget"] = words.pop("budget")
    assert told(words).startswith("Study: unknown key 'buget'; did you mean 'budget'?")
    assert "the key 'study' is missing" in told({})
    with pytest.raises(hw.InputError, match=r"^s\.yaml, line 2: unknown key 'buget'; did you mean"):
        hw.Study.parse("study: x\nbuget: {steps: 3}\n", "s.yaml")


def test_what_python_has_and_yaml_has_not_means_the_same() -> None:
    plain = hw.Study(**tiny(seeds=[0, 1, 2], budget={"steps": 40}))
    words = tiny(
        seeds=range(3),
        budget=Budget(steps=40),
        methods=("scratch", "supervised", "simclr", "clip"),
        image_size=np.int64(32),
    )
    assert hw.Study(words) == hw.Study(**words) == plain
    assert hw.Study(words, seeds=np.arange(2)).seeds == (0, 1)
    folder = {"kind": "folder", "path": Path("some") / "folder"}
    data = {"paint": folder, "other": {"kind": "world"}}
    assert hw.Study(tiny(data=data)).data["paint"].path == "some/folder"  # type: ignore[attr-defined]


@pytest.mark.parametrize("path", SHIPPED, ids=lambda path: path.stem)
def test_a_study_written_as_yaml_is_the_study_that_was_read(path: Path, tmp_path: Path) -> None:
    study = hw.Study.load(path)
    copy = tmp_path / "copy.yaml"
    copy.write_text(study.to_yaml(), encoding="utf-8")
    assert hw.Study.load(copy) == study
    assert hw.Study.load(copy).arms() == study.arms()
    assert hw.Study.load(copy).to_yaml() == study.to_yaml()


@pytest.mark.parametrize(
    "changes",
    [
        {"question": "1e5"},
        {"question": "a: b # c\n- d"},
        {"question": "Ünï — ‘x’ 鳥"},
        {"question": "yes"},
        {"study": "12"},
        {"seeds": [7, 3]},
        {"question": None, "recipe": {"supervised": {"lr": 3e-4}}},
        {"sources": {"p": {"data": "paint", "labels": ["level:1"]}}},
        {"sizes": [100, "all"]},
        {"protocols": {"probe": {}}},
        {"decide": {"prices": {"label": {"level:0": 0.05}}}},
    ],
    ids=str,
)
def test_no_word_changes_its_meaning_on_the_way_through_yaml(changes: dict[str, Any]) -> None:
    study = hw.Study(**tiny(**changes))
    assert hw.Study.parse(study.to_yaml()) == study


def test_yaml_of_a_study_holds_what_was_given_in_short_forms() -> None:
    lines = hw.Study(**tiny(seeds=[0, 1])).to_yaml().splitlines()
    assert "sources: [paint]" in lines and "seeds: 2" in lines
    assert not [line for line in lines if line.startswith(("image_size", "precision", "decide"))]
