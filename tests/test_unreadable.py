"""A study with images that cannot be read: what is broken stays where it is, what is left out is
told.
"""

from __future__ import annotations

import json
import warnings
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headwater import api
from headwater.engines import engine
from headwater.errors import InputError
from headwater.plan import EVERYTHING, Looking, Plan
from headwater.report import write_report
from headwater.rows import comparable
from headwater.sources.looking import judges
from headwater.store import Store
from headwater.study import Study
from tests.conftest import Cli, refused, write_study


def put(root: Path, splits: dict[str, int], classes: tuple[str, ...] = ("cat", "dog")) -> Path:
    """PNG files of two colours, a folder for each split and class."""
    random = np.random.default_rng(zlib.crc32(f"{root.name} {splits}".encode()))
    for split, count in splits.items():
        for number, name in enumerate(classes):
            (root / split / name).mkdir(parents=True)
            for i in range(count):
                pixels = random.integers(0, 128, (12, 12, 3), dtype=np.uint8)
                pixels[..., number] += 100
                Image.fromarray(pixels).save(root / split / name / f"{i}.png")
    return root


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Two sources and two tasks, all of them sound."""
    put(tmp_path / "farm", {"train": 12, "val": 3, "test": 4})
    put(tmp_path / "park", {"train": 10, "val": 3, "test": 4}, ("eel", "fox"))
    put(tmp_path / "beds", {"train": 6, "val": 3, "test": 4}, ("oak", "yew"))
    return tmp_path


def words(zoo: Path, **changes: Any) -> dict[str, Any]:
    return {
        "study": "zoo",
        "data": {name: {"kind": "folder", "path": str(zoo / name)} for name in NAMES},
        "sources": ["farm", "park"],
        "methods": ["supervised"],
        "seeds": 1,
        "budget": {"steps": 3},
        "image_size": 8,
        "recipe": {"batch": 8},
        "tasks": {"beds": {"data": "beds"}, "parks": {"data": "park"}},
        "protocols": {"probe": {}},
        **changes,
    }


NAMES = ("farm", "park", "beds")


def planned(zoo: Path, looking: Looking = EVERYTHING, **changes: Any) -> Plan:
    study = Study.model_validate(words(zoo, **changes))
    return Plan.make(study, cache=zoo / "cache", looking=looking)


def ids(plan: Plan) -> list[str]:
    return [cell.id for cell in plan.cells]


def spoil(path: Path, data: bytes = b"<html>gone</html>") -> str:
    path.write_bytes(data)
    return str(path)


def test_with_sound_images_nothing_changes_whatever_the_study_says(zoo: Path) -> None:
    plain = planned(zoo, Looking())
    for changes in ({}, {"on_bad_images": "skip"}, {"on_bad_images": "skip", "max_bad_share": 0.5}):
        looked = planned(zoo, **changes)
        assert ids(looked) == ids(plain)
        assert looked.faults == []
        assert looked.left_out(looked.cells[0]) == {
            "source_left_out": None,
            "task_left_out": None,
            "left_out_reasons": None,
        }


def test_all_bad_images_are_named_at_once_with_the_studys_line(
    zoo: Path, headwater: Cli, tmp_path: Path
) -> None:
    spoil(zoo / "farm" / "train" / "cat" / "3.png")
    spoil(zoo / "farm" / "train" / "dog" / "5.png", b"")
    study = write_study(tmp_path / "s.yaml", words(zoo, sources=["farm"]))
    line = next(n for n, text in enumerate(study.read_text().splitlines(), 1) if "farm:" in text)
    for command in ("plan", "run"):
        refused(
            headwater(command, study),
            f"s.yaml, line {line}: data.farm: 2 of 24 images (8.33%) cannot be read: ",
            "HTML page: 1 ('train/cat/3.png')",
            "empty file: 1 ('train/dog/5.png')",
            "`on_bad_images: skip`",
        )


def test_a_broken_source_leaves_the_other_to_be_planned(zoo: Path) -> None:
    spoil(zoo / "farm" / "train" / "cat" / "3.png")
    sound = planned(zoo, sources=["park"])
    broken = planned(zoo)
    assert ids(broken) == ids(sound)
    (fault,) = broken.faults
    assert fault.startswith("nothing is computed with source 'farm': data.farm: 1 of 24 images")


def test_a_junk_test_image_breaks_its_task_and_no_other(zoo: Path) -> None:
    spoil(zoo / "beds" / "test" / "oak" / "0.png")
    broken = planned(zoo)
    assert ids(broken) == ids(planned(zoo, tasks={"parks": {"data": "park"}}))
    assert broken.faults[0].startswith("nothing is computed with task 'beds': data.beds: 1 of 26")


def test_a_junk_test_image_of_a_source_that_is_a_task_too_leaves_the_source(zoo: Path) -> None:
    spoil(zoo / "park" / "test" / "eel" / "0.png")
    broken = planned(zoo)
    assert {cell.arm.words.source for cell in broken.cells} == {"farm", "park"}
    assert {cell.words.task for cell in broken.cells} == {"beds"}


@pytest.mark.parametrize("lacking", ["train", "test"])
def test_a_task_without_a_split_breaks_itself_alone(zoo: Path, lacking: str) -> None:
    import shutil

    shutil.rmtree(zoo / "beds" / lacking)
    broken = planned(zoo)
    assert {cell.words.task for cell in broken.cells} == {"parks"}
    assert f"no {lacking} images" in broken.faults[0]


def test_a_class_that_only_test_has_breaks_its_task_alone(zoo: Path) -> None:
    put(zoo / "beds", {"test": 1}, ("elm",))
    assert "class 'elm'" in planned(zoo).faults[0]


def test_protocols_and_weights_that_name_a_broken_task_do_not_keep_the_others(zoo: Path) -> None:
    spoil(zoo / "beds" / "test" / "oak" / "0.png")
    broken = planned(
        zoo,
        protocols={"probe": {"tasks": ["beds", "parks"]}},
        decide={"weights": {"beds": 2, "parks": 1}},
    )
    assert {cell.words.task for cell in broken.cells} == {"parks"}
    assert broken.study.decide.weights == {"parks": 1}


def test_a_study_of_which_nothing_is_left_is_refused_with_every_reason(zoo: Path) -> None:
    spoil(zoo / "beds" / "test" / "oak" / "0.png")
    spoil(zoo / "park" / "test" / "eel" / "0.png")
    with pytest.raises(InputError, match=r"data\.park: 1 of 34 .*; data\.beds: 1 of 26 "):
        planned(zoo)


def test_skip_leaves_bad_images_out_before_anything_is_drawn(zoo: Path) -> None:
    """The plan is that of the folder without them, but for how they are told."""
    gone = [zoo / "farm" / "train" / "cat" / "3.png", zoo / "beds" / "val" / "yew" / "1.png"]
    for path in gone:
        spoil(path)
    skip = {"on_bad_images": "skip", "max_bad_share": 0.05, "sizes": [10, "all"], "seeds": 2}
    left = planned(zoo, **skip)
    for path in gone:
        path.unlink()
    assert ids(left) == ids(planned(zoo, **skip))
    farm = next(cell for cell in left.cells if cell.arm.words.source == "farm")
    assert left.left_out(farm) == {
        "source_left_out": 1,
        "task_left_out": 1 if farm.words.task == "beds" else None,
        "left_out_reasons": '{"source":{"HTML page":1},"task":{"HTML page":1}}',
    }
    assert any(
        note.startswith("data farm: left out, since they cannot be read: 1 of 24 images (4.17%); ")
        for note in left.notes
    )


def test_skip_above_the_share_names_count_share_and_key(zoo: Path) -> None:
    spoil(zoo / "farm" / "train" / "cat" / "3.png")
    (fault,) = planned(zoo, on_bad_images="skip", max_bad_share=0.04).faults
    assert "1 of 24 images (4.17%) cannot be read, more than `max_bad_share: 0.04`" in fault
    assert planned(zoo, on_bad_images="skip", max_bad_share=0.05).faults == []


@pytest.mark.slow
def test_the_same_images_are_left_out_whatever_the_number_of_workers(
    zoo: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(judges, "FEW", 5)
    for number in (1, 4, 7):
        spoil(zoo / "farm" / "train" / "cat" / f"{number}.png")
    found = []
    for workers in (1, 3):
        study = Study.model_validate(words(zoo, on_bad_images="skip", max_bad_share=0.2))
        found.append(ids(Plan.make(study, looking=Looking(most=None, workers=workers))))
    assert found[0] == found[1]


def test_plan_opens_a_few_images_and_says_what_it_did_not_open(
    zoo: Path, headwater: Cli, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    spoil(zoo / "beds" / "test" / "oak" / "0.png")
    study = write_study(tmp_path / "s.yaml", words(zoo))
    code, out, _ = headwater("plan", study, "--json")
    assert (code, len(json.loads(out)["faults"])) == (1, 1)
    monkeypatch.setattr("headwater.plan.A_FEW", Looking(most=5))
    code, out, _ = headwater("plan", study, "--json")
    facts = json.loads(out)
    assert code == 0
    assert any("26 of the 26 images of beds have not been opened" in n for n in facts["notes"])
    code, out, _ = headwater("plan", study, "--json", "--verify")
    assert (code, len(json.loads(out)["faults"])) == (1, 1)


@pytest.fixture
def spoiled(zoo: Path) -> Path:
    spoil(zoo / "farm" / "train" / "cat" / "3.png")
    spoil(zoo / "beds" / "test" / "oak" / "0.png", b"")
    return zoo


def test_a_run_computes_and_reports_the_rest_tells_why_and_ends_with_1(
    spoiled: Path, headwater: Cli, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "s.yaml", words(spoiled))
    code, out, err = headwater("run", study, "--engine", "inline", "--device", "cpu")
    assert code == 1
    reasons = ("task 'beds': data.beds: 1 of 26 images", "source 'farm': data.farm: 1 of 24 images")
    store = Store(tmp_path / "headwater-store")
    page = (store.root / "reports" / "zoo.html").read_text()
    for reason in reasons:
        assert f"nothing is computed with {reason}" in err  # before training
        assert f"nothing is computed with {reason}" in out  # at the end
        assert f"nothing is computed with {reason}".replace("'", "&#39;") in page
    rows = planned(spoiled).rows(store)
    assert set(rows["task"]) == {"parks"}
    assert set(rows["source"]) == {"park"}
    assert set(rows["status"]) == {"done"}


def test_rows_in_python_come_with_a_warning_for_what_is_broken(spoiled: Path) -> None:
    study = Study.model_validate(words(spoiled))
    with pytest.warns(UserWarning, match="nothing is computed with") as caught:
        rows = api.run(study, store=spoiled / "store", engine="inline", device="cpu")
    assert len(caught) == 2
    assert set(rows["source"]) == {"park"}


def test_what_was_left_out_stands_on_every_row_and_in_the_reports_warnings(
    spoiled: Path, tmp_path: Path
) -> None:
    study = Study.model_validate(words(spoiled, on_bad_images="skip", max_bad_share=0.1))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        rows = api.run(study, store=spoiled / "store", engine="inline", device="cpu")
    assert set(rows["status"]) == {"done"}
    assert len(rows[rows["subset"] == "all"].drop_duplicates("cell")) == 4
    told = rows.drop_duplicates("cell").set_index(["source", "task"])
    assert told["source_left_out"].fillna(0).to_dict() == {
        ("farm", "beds"): 1,
        ("farm", "parks"): 1,
        ("park", "beds"): 0,
        ("park", "parks"): 0,
    }
    assert told.loc[("farm", "beds"), "left_out_reasons"] == (
        '{"source":{"HTML page":1},"task":{"empty file":1}}'
    )
    assert set(told.xs("beds", level="task")["task_left_out"]) == {1}
    assert rows[rows["task"] == "beds"]["n_test"].max() == 7
    page = write_report(rows, tmp_path / "r.html", title="zoo").read_text()
    assert "1 image of source farm cannot be read and was left out" in page
    assert "1 image of task beds cannot be read and was left out" in page


@pytest.mark.slow
def test_worker_processes_leave_out_the_same(spoiled: Path) -> None:
    study = Study.model_validate(
        words(spoiled, on_bad_images="skip", max_bad_share=0.1, tasks={"beds": {"data": "beds"}})
    )
    both = [
        api.run(study, store=spoiled / name, engine=name, device="cpu", workers=1)
        for name in ("inline", "local")
    ]
    assert comparable(both[0]).equals(comparable(both[1]))


@pytest.mark.slow
def test_a_run_decodes_no_image_twice(zoo: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Processes judge the images; what they decoded fills the pixel caches."""
    monkeypatch.setattr(judges, "FEW", 5)
    store = Store(zoo / "store", create=True)
    study = Study.model_validate(words(zoo))
    plan = Plan.make(study, cache=store.cache, looking=Looking(most=None, spool=store.cache))
    assert list(store.cache.glob(".looked-*.tmp"))
    read: list[str] = []
    for source in plan.sources.values():
        monkeypatch.setattr(source, "image", lambda at, name=source.name: read.append(name))
    engine.run(plan, store, engine="inline", device="cpu")
    assert read == []
    assert set(plan.rows(store)["status"]) == {"done"}
    del plan
    import gc

    gc.collect()
    assert not list(store.cache.glob(".looked-*.tmp"))


def test_tasks_names_the_bad_images_of_a_folder(zoo: Path, headwater: Cli) -> None:
    spoil(zoo / "farm" / "train" / "cat" / "3.png")
    (zoo / "farm" / "val" / "dog" / "x.jpg").symlink_to("nothing.jpg")
    code, out, _ = headwater("tasks", zoo / "farm")
    assert code == 0
    assert "2 images; HTML page: 1 ('train/cat/3.png'); no such file: 1 ('val/dog/x.jpg')" in out
    facts = json.loads(headwater("tasks", zoo / "farm", "--json", "--verify")[1])
    assert facts["unreadable"] == {"HTML page": 1, "no such file": 1}


@pytest.mark.parametrize(
    "value", [{"on_bad_images": "ignore"}, {"max_bad_share": 1.5}, {"max_bad_share": True}]
)
def test_the_keys_take_what_they_say(zoo: Path, value: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=next(iter(value))):
        Study.model_validate(words(zoo, **value))
