"""What reading a folder did is told by plan, tasks and labels describe; the keys that choose."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from headwater.errors import InputError
from headwater.facts.labels import folder_facts
from headwater.facts.tasks import task_facts
from headwater.plan import Plan
from headwater.study import Study
from tests.cli.lines import line_of
from tests.conftest import Cli, refused, write_study


def put(root: Path, *paths: str) -> Path:
    for path in paths:
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_bytes(path.encode())
    return root


def splits_first(*splits: str) -> list[str]:
    return [
        f"{split}/{name}/{at}.png" for split in splits for name in ("cat", "dog") for at in range(3)
    ]


def words_of(root: Path, **data: Any) -> dict[str, Any]:
    return {
        "study": "folders",
        "data": {"photos": {"kind": "folder", "path": str(root), **data}},
        "sources": ["photos"],
        "methods": ["supervised"],
        "seeds": 1,
        "budget": {"steps": 2},
        "tasks": {"photos": {"data": "photos"}},
    }


def plan_of(root: Path, **data: Any) -> Plan:
    return Plan.make(Study.model_validate(words_of(root, **data)), data_root=None, cache=None)


def test_plan_tasks_and_describe_tell_how_a_folder_was_read_and_what_was_left_out(tmp_path):
    put(tmp_path, *splits_first("training", "test"), "training/cat/9.heic")
    told = [
        "folders are read as splits: 'training' as train (layout split/class)",
        "left out, by the ending of the name: 1 file (1 .heic); convert images to PNG or JPEG to "
        "use them",
    ]
    assert [note for note in plan_of(tmp_path).notes if note.startswith("data ")] == [
        f"data photos: {note}" for note in told
    ]
    assert folder_facts(tmp_path)["sources"][0]["notes"] == told
    assert task_facts(str(tmp_path), None)["notes"] == told


def test_the_pages_of_tasks_and_describe_print_it(headwater: Cli, tmp_path: Path) -> None:
    put(tmp_path, *splits_first("training", "test"))
    for command in (("labels", "describe"), ("tasks",)):
        code, out, err = headwater(*command, str(tmp_path))
        assert (code, err) == (0, "")
        assert "'training' as train" in out


def test_a_folder_of_two_readings_is_refused_by_the_command_and_read_with_its_option(
    headwater: Cli, tmp_path: Path
) -> None:
    put(tmp_path, *(f"{name}/{at}.png" for name in ("bus", "train", "test") for at in range(2)))
    for command in (("labels", "describe"), ("tasks",)):
        refused(headwater(*command, str(tmp_path)), "`layout: split/class`", "`layout: class`")
        code, out, _ = headwater(*command, str(tmp_path), "--layout", "class")
        assert code == 0
        assert "3" in out
        slip = headwater(*command, str(tmp_path), "--layout", "classes")
        refused(slip, "layout 'classes' is none of")


def test_a_wrong_layout_in_a_study_is_an_error_with_its_line(
    headwater: Cli, tmp_path: Path
) -> None:
    put(tmp_path / "photos", *splits_first("train", "test"))
    study = write_study(
        tmp_path / "study.yaml", words_of(tmp_path / "photos", layout="split/classes")
    )
    refused(headwater("plan", str(study)), line_of(study, "data", "layout"), "class/split")


def test_layout_changes_ids_only_where_it_changes_the_reading(tmp_path):
    root = put(tmp_path / "photos", *splits_first("train", "test"))
    first = plan_of(root)
    for same in ({"layout": "split/class"}, {"follow_links": True}):
        again = plan_of(root, **same)
        assert [arm.id for arm in again.arms] == [arm.id for arm in first.arms]
        assert [cell.id for cell in again.cells] == [cell.id for cell in first.cells]
    put(root, *(f"extra/{name}/1.png" for name in ("cat", "dog")))
    with pytest.raises(InputError, match="two ways"):
        plan_of(root)
    again = plan_of(root, layout="split/class")
    assert [cell.id for cell in again.cells] == [cell.id for cell in first.cells]


def test_a_split_by_another_word_has_the_rows_of_the_usual_one(tmp_path):
    """Ids of images name their folders, so the classes and splits are what is compared."""
    usual = plan_of(put(tmp_path / "a", *splits_first("train", "test"))).tasks["photos"]
    other = plan_of(put(tmp_path / "b", *splits_first("Training_Set", "holdout"))).tasks["photos"]
    assert usual.class_names == other.class_names
    assert (len(usual.train), len(usual.val), len(usual.test)) == (
        len(other.train),
        len(other.val),
        len(other.test),
    )


def test_levels_of_a_folder_are_of_the_layout_that_is_chosen(
    headwater: Cli, tmp_path: Path
) -> None:
    photos = tmp_path / "photos"
    put(photos, *(f"{name}/{at}.png" for name in ("bus", "train", "test") for at in range(2)))
    command = ("labels", "levels", "--study", str(photos), "--json")
    refused(headwater(*command), "`layout: split/class`", "`layout: class`")
    code, out, _ = headwater(*command, "--layout", "class")
    assert (code, json.loads(out)["num_classes"]) == (0, 3)
    study = write_study(tmp_path / "study.yaml", words_of(photos, layout="class"))
    refused(
        headwater("labels", "levels", "--study", str(study), "--layout", "class"),
        "--layout and --follow-links are of a folder",
    )
    refused(
        headwater("labels", "levels", "--classes", "imagenet1k", "--follow-links"),
        "--layout and --follow-links are of a folder",
    )
