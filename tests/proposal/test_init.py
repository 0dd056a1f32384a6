"""`headwater init FOLDER... --task FOLDER`: what it sees and writes."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

import headwater as hw
from headwater.plan import Plan
from headwater.study import Study
from tests.conftest import Cli
from tests.proposal import folders

Facts = dict[str, Any]


@pytest.fixture
def asked(headwater: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Facts]:
    """What `init` says of folders below tmp_path, which is where it is called."""
    monkeypatch.setattr("headwater.proposal.timing.measured", _known)

    def ask(*words: str) -> Facts:
        code, out, err = headwater("init", *words, "--json")
        assert code == 0, err
        facts: Facts = json.loads(out)
        return facts

    return ask


def _known(plan: Plan, device: str) -> Any:
    """A machine of 1,000 images a second."""
    from headwater.cost.encoder import Measured, recipe_key

    flops = {recipe_key(arm): 3e6 for arm in plan.every_arm if arm.recipe is not None}
    return Measured(1e6, 64, 10_000, flops, {}, [], 1000.0, "cpu", "2026-01-01")


def plan_of(path: Path) -> Plan:
    return Plan.make(Study.load(path))


def test_a_study_of_sensible_arms_is_written_which_plans_as_it_is(
    asked: Callable[..., Facts], tmp_path: Path
) -> None:
    folders.with_splits(tmp_path / "pets", 20)
    folders.with_captions(tmp_path / "web", 30)
    folders.with_table(tmp_path / "task")
    facts = asked("pets", "web", "--task", "task", "--time", "30m")
    plan = plan_of(tmp_path / "study.yaml")
    assert {arm.words.title for arm in plan.arms} == {
        "scratch",
        "supervised · pets · level:0 · 30 images",
        "simclr · pets · 30 images",
        "clip · web · captions · 30 images",
        "simclr · web · 30 images",
    }
    assert {len(arm.positions) for arm in plan.arms if arm.source} == {30}  # of 40 and of 30
    assert len({arm.images_seen for arm in plan.arms if arm.source}) == 1  # never unequal compute
    assert len(plan.study.seeds) == 5 and facts["few"] == 5
    assert {cell.words.shots for cell in plan.cells} == {5, None}
    assert {cell.words.protocol for cell in plan.cells} == {"probe", "finetune"}
    text = (tmp_path / "study.yaml").read_text()
    first = f"# Made by: headwater init pets web --task task --time 30m, in {tmp_path}"
    assert text.splitlines()[0] == first
    assert "path: ./pets" in text  # the folder can be moved with its images


@pytest.mark.parametrize(
    ("made", "kind", "methods"),
    [
        (folders.with_splits, "folder", ["supervised", "simclr"]),
        (folders.without_splits, "folder", ["supervised", "simclr"]),
        (folders.with_table, "folder", ["supervised", "simclr"]),
        (folders.bare, "folder", ["simclr"]),
        (folders.with_captions, "folder", ["clip", "simclr"]),
        (folders.of_hugging_face, "folder", ["supervised", "clip", "simclr"]),
        (folders.of_parquet, "parquet", ["supervised", "simclr"]),
        (folders.of_shards, "shards", ["supervised", "simclr"]),
        (folders.of_arrow, "huggingface", ["supervised", "simclr"]),
        (folders.of_torchvision, "torchvision", ["supervised", "simclr"]),
    ],
    ids=lambda value: getattr(value, "__name__", None),
)
def test_each_layout_has_the_methods_that_it_allows(
    made: Callable[[Path], Path],
    kind: str,
    methods: list[str],
    asked: Callable[..., Facts],
    tmp_path: Path,
) -> None:
    made(tmp_path / "ours")
    folders.with_splits(tmp_path / "task")
    facts = asked("ours", "--task", "task", "--time", "5m")
    assert facts["sources"][0]["kind"] == kind and facts["arms"][0]["methods"] == methods
    plan = plan_of(tmp_path / "study.yaml")
    assert {arm.words.method for arm in plan.arms} == {"scratch", *methods}


@pytest.mark.parametrize(
    "made", [folders.without_splits, folders.of_parquet, folders.of_hugging_face]
)
def test_any_labelled_layout_can_be_the_task(
    made: Callable[[Path], Path], asked: Callable[..., Facts], tmp_path: Path
) -> None:
    folders.bare(tmp_path / "ours")
    made(tmp_path / "task")
    facts = asked("ours", "--task", "task", "--time", "5m")
    assert facts["tasks"][0]["classes"] == 2 and facts["tasks"][0]["test"] > 0
    assert plan_of(tmp_path / "study.yaml").tasks["task"].num_classes == 2


def test_a_task_without_a_test_split_gets_one_as_a_file_and_is_told(
    asked: Callable[..., Facts], tmp_path: Path
) -> None:
    folders.bare(tmp_path / "ours")
    root = folders.without_splits(tmp_path / "task", 15)
    for i in range(4):  # copies of one picture, which must not lie in train and test
        shutil.copy(root / "cat" / "taskcat0.png", root / "cat" / f"again{i}.png")
    facts = asked("ours", "--task", "task", "--time", "5m")
    with (tmp_path / "task.splits.csv").open() as file:
        rows = {row["path"]: row["split"] for row in csv.DictReader(file)}
    assert len(rows) == 34 and set(rows.values()) == {"train", "test"}
    copies = {rows[name] for name in rows if "again" in name or name == "cat/taskcat0.png"}
    assert len(copies) == 1
    for name in folders.CLASSES:
        tested = sum(rows[path] == "test" for path in rows if path.startswith(name))
        assert 2 <= tested <= 7
    assert "held out for the test" in facts["told"][0]
    plan = plan_of(tmp_path / "study.yaml")
    assert len(plan.tasks["task"].test) == facts["tasks"][0]["test"]
    assert plan.own_copies == {"task": 0}


def test_test_images_are_left_out_of_a_source_that_shows_them(
    asked: Callable[..., Facts], tmp_path: Path
) -> None:
    task = folders.with_splits(tmp_path / "task", 12, 6)
    ours = folders.without_splits(tmp_path / "ours", 15)
    for path in sorted((task / "test" / "cat").iterdir())[:4]:
        shutil.copy(path, ours / "cat" / f"web-{path.name}")
    facts = asked("ours", "--task", "task", "--time", "5m")
    assert facts["sources"][0]["images"] == 34 and facts["arms"][0]["images"] == 30
    assert "4 images of" in facts["told"][0] and "byte for byte" in facts["told"][0]
    plan = plan_of(tmp_path / "study.yaml")
    (arm,) = {arm.source_fingerprint: arm for arm in plan.arms if arm.source}.values()
    assert not plan_leaks(plan, arm)


def plan_leaks(plan: Plan, arm: Any) -> int:
    from headwater.plan.overlaps import Overlaps

    return int(Overlaps(plan.resolved).of(arm, "task").leaked_test.sum())


def test_what_folders_have_in_common_is_told(asked: Callable[..., Facts], tmp_path: Path) -> None:
    task = folders.with_splits(tmp_path / "task", 12, 6)
    ours, web = folders.bare(tmp_path / "ours", 20), folders.bare(tmp_path / "web", 20)
    for i in range(3):
        shutil.copy(ours / f"ours{i}.png", web / f"again{i}.png")
    shutil.copy(task / "train" / "cat" / "traincat0.png", web)
    told = asked("ours", "web", "--task", "task", "--time", "5m")["told"]
    assert [line.split()[0] for line in told] == ["3", "1"]
    assert told[0].endswith(f"also in {tmp_path}/web")
    assert told[1].endswith("training images of the task task")


def test_a_folder_can_be_source_and_task(asked: Callable[..., Facts], tmp_path: Path) -> None:
    folders.without_splits(tmp_path / "ours", 20)
    folders.bare(tmp_path / "web", 40)
    asked("ours", "web", "--task", "ours", "--time", "5m")
    plan = plan_of(tmp_path / "study.yaml")
    test = set(plan.tasks["ours"].test.tolist())
    for arm in plan.arms:
        if arm.words.source == "ours":
            assert test.isdisjoint(arm.positions.tolist())


def test_broken_images_are_counted_and_left_out(
    asked: Callable[..., Facts], tmp_path: Path
) -> None:
    ours = folders.without_splits(tmp_path / "ours", 20)
    (ours / "cat" / "ourscat3.png").write_bytes(b"<html>404</html>")
    (ours / "dog" / "oursdog3.png").write_bytes(b"")
    folders.with_splits(tmp_path / "task")
    facts = asked("ours", "--task", "task", "--time", "5m")
    assert facts["sources"][0]["unreadable"] == {"HTML page": 1, "empty file": 1}
    plan = plan_of(tmp_path / "study.yaml")
    assert not plan.faults and {len(arm.positions) for arm in plan.arms if arm.source} == {38}
    assert any("2 of 40 images (5.00%)" in note for note in plan.notes)


def test_levels_that_make_sense_are_chosen(asked: Callable[..., Facts], tmp_path: Path) -> None:
    for group in range(2):
        for kind in range(3):
            for breed in range(2):
                for i in range(6):
                    path = tmp_path / f"tree/g{group}/k{group}{kind}/b{group}{kind}{breed}/{i}.png"
                    folders.picture(path, i, group)
    for i in range(30):
        folders.picture(tmp_path / f"ids/p{i}/only{i}.png", i)
    folders.with_splits(tmp_path / "task")
    facts = asked("tree", "ids", "--task", "task", "--time", "5m")
    arms = {each["source"]: each for each in facts["arms"]}
    assert arms["tree"]["labels"] == ["level:2", "level:1", "level:0"]
    assert arms["ids"]["methods"] == ["simclr"] and "fewer than 5 images" in arms["ids"]["why"][0]


@pytest.mark.slow
def test_more_time_trains_longer_and_little_time_is_told(
    asked: Callable[..., Facts], tmp_path: Path
) -> None:
    folders.without_splits(tmp_path / "ours", 80)
    folders.with_splits(tmp_path / "task")
    found = {
        time: asked("ours", "--task", "task", "--time", time, "--out", f"{time}.yaml")
        for time in ("0.7m", "0.9m", "1000h", "0.05m")
    }
    assert found["0.7m"]["epochs"] < found["0.9m"]["epochs"] <= found["1000h"]["epochs"] == 100
    assert all(found[time]["hours"] * 60 <= float(time[:-1]) for time in ("0.7m", "0.9m"))
    assert not found["0.05m"]["fits"] and "give more time" in found["0.05m"]["why"][-1]
    assert found["0.05m"]["seeds"] == 3 and not found["0.7m"]["finetune"]


def test_few_images_of_a_class_lower_the_shots(asked: Callable[..., Facts], tmp_path: Path) -> None:
    folders.bare(tmp_path / "ours")
    folders.with_splits(tmp_path / "task", 3, 3)
    assert asked("ours", "--task", "task", "--time", "5m")["few"] == 2


def test_names_that_yaml_would_take_for_something_else_are_read_back(
    asked: Callable[..., Facts], tmp_path: Path
) -> None:
    for name in ("2024", "no", "ours [new], #1: {x}"):
        folders.bare(tmp_path / name)
    folders.with_splits(tmp_path / "7e3")
    asked("2024", "no", "ours [new], #1: {x}", "--task", "7e3", "--time", "5m")
    study = Study.load(tmp_path / "study.yaml")
    assert list(study.sources) == ["2024", "no", "ours-new-1-x"] and list(study.tasks) == ["7e3"]
    assert len(Plan.make(study).arms) == 4 * 5


def test_two_folders_of_one_name_have_two(asked: Callable[..., Facts], tmp_path: Path) -> None:
    for at in ("a", "b"):
        folders.bare(tmp_path / at / "images", 20 + 4 * (at == "b"))
    folders.with_splits(tmp_path / "task")
    facts = asked("a/images", "b/images", "--task", "task", "--time", "5m")
    assert [seen["name"] for seen in facts["sources"]] == ["images", "images-2"]


def test_nothing_is_written_over(
    headwater: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.proposal.timing.measured", _known)
    folders.bare(tmp_path / "ours")
    folders.without_splits(tmp_path / "task")
    (tmp_path / "other.task.splits.csv").write_text("mine")
    refused = headwater("init", "ours", "--task", "task", "--time", "5m", "--out", "other.yaml")
    assert refused[0] == 2 and "other.task.splits.csv: exists already" in refused[2]
    for name in ("study.yaml", "task.splits.csv"):
        (tmp_path / name).write_text("mine")
        code, _, err = headwater("init", "ours", "--task", "task", "--time", "5m")
        assert code == 2 and f"{name}: exists already" in err
        assert (tmp_path / name).read_text() == "mine"
        (tmp_path / name).unlink()


def test_the_demo_is_written_where_it_is_asked_for(headwater: Cli, tmp_path: Path) -> None:
    code, out, _ = headwater("init", "--demo", "--out", "demo.yaml")
    assert code == 0 and "headwater plan demo.yaml" in out
    assert Study.load(tmp_path / "demo.yaml").study == "demo"


def test_python_proposes_the_same_study(
    asked: Callable[..., Facts], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folders.bare(tmp_path / "ours")
    folders.with_splits(tmp_path / "task")
    asked("ours", "--task", "task", "--time", "30m")
    found = hw.propose(["ours"], "task", hours=0.5)
    found.write(tmp_path / "other.yaml")
    ours, other = ((tmp_path / name).read_text() for name in ("study.yaml", "other.yaml"))
    assert ours.splitlines()[1:] == other.splitlines()[1:]


def test_several_studies_of_one_folder_have_their_own_index_files(
    asked: Callable[..., Facts], tmp_path: Path
) -> None:
    folders.bare(tmp_path / "ours")
    folders.without_splits(tmp_path / "task")
    asked("ours", "--task", "task", "--time", "5m")
    (tmp_path / "study.yaml").unlink()  # as if it had been killed before the study was written
    assert asked("ours", "--task", "task", "--time", "5m")["wrote"] == [
        "task.splits.csv",
        "study.yaml",
    ]
    found = asked("ours", "--task", "task", "--time", "5m", "--out", "b.yaml")["wrote"]
    assert found == ["b.task.splits.csv", "b.yaml"]
    assert plan_of(tmp_path / "b.yaml").cells


def test_train_and_val_without_test_are_tested_on_val(
    asked: Callable[..., Facts], tmp_path: Path
) -> None:
    folders.bare(tmp_path / "ours")
    root = folders.with_splits(tmp_path / "task", 12, 6)
    (root / "test").rename(root / "val")
    facts = asked("ours", "--task", "task", "--time", "5m")
    assert facts["tasks"][0]["test"] == 12 and "its 12 val images are the test" in facts["told"][0]
    task = plan_of(tmp_path / "study.yaml").tasks["task"]
    assert {Path(task.source.table.ids[at]).parts[0] for at in task.test.tolist()} == {"val"}


def test_a_source_of_another_split_alone_is_pre_trained_on(
    asked: Callable[..., Facts], tmp_path: Path
) -> None:
    root = folders.with_splits(tmp_path / "ours", 12, 12)
    shutil.rmtree(root / "train")
    folders.with_splits(tmp_path / "task")
    facts = asked("ours", "--task", "task", "--time", "5m")
    assert facts["arms"][0]["images"] == 24 or "left out of pre-training" in facts["told"][0]
    assert plan_of(tmp_path / "study.yaml").arms


def test_a_small_source_beside_a_large_one_is_told_and_a_tiny_one_refused(
    asked: Callable[..., Facts], headwater: Cli, tmp_path: Path
) -> None:
    for name, count in (("large", 90), ("small", 12), ("tiny", 4)):
        folders.bare(tmp_path / name, count)
    folders.with_splits(tmp_path / "task")
    why = asked("large", "small", "--task", "task", "--time", "5m")["why"]
    assert "every source is given 12 images, since small has no more; that is 13% of" in why[0]
    code, _, err = headwater("init", "large", "tiny", "--task", "task", "--out", "b.yaml")
    assert code == 2 and "tiny: has 4 images" in " ".join(err.split())


@pytest.mark.slow
def test_of_a_huge_folder_some_images_are_opened_and_the_study_bears_what_was_not_seen(
    asked: Callable[..., Facts], headwater: Cli, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.proposal.folders.MOST_OPENED", 40)
    for name, count in (("ours", 400), ("others", 300)):
        folders.bare(tmp_path / name, count)
    folders.with_splits(tmp_path / "task")
    names = sorted((tmp_path / "ours").iterdir())
    names[0].write_bytes(b"")  # the first by name is opened
    facts = asked("ours", "others", "--task", "task", "--time", "5m")
    assert facts["sources"][0]["unreadable"] == {"empty file": 1}
    assert "ours: 40 of its 400 images were opened" in " ".join(facts["sources"][0]["notes"])
    text = (tmp_path / "study.yaml").read_text()
    assert "# Told: others: 40 of its 300 images were opened" in text
    for name in names[3:9]:  # which were not
        name.write_bytes(b"")
    code, out, err = headwater("plan", "study.yaml", "--verify", "--device", "cpu")
    assert code == 0, err
    assert "7 of 400" in " ".join((out + err).split())


def test_one_folder_in_two_spellings_is_one_source(
    asked: Callable[..., Facts], tmp_path: Path
) -> None:
    folders.bare(tmp_path / "ours")
    folders.with_splits(tmp_path / "task")
    facts = asked("ours", str(tmp_path / "ours"), "./ours", "--task", "task", "--time", "5m")
    assert [seen["name"] for seen in facts["sources"]] == ["ours"]


def test_a_table_of_something_else_does_not_hide_what_is_wrong(
    headwater: Cli, tmp_path: Path
) -> None:
    import pyarrow as pa
    import pyarrow.parquet as pq

    (tmp_path / "ours").mkdir()
    (tmp_path / "ours" / "labels.csv").write_text("path,level1\nnowhere.jpg,cat\n")
    pq.write_table(pa.table({"x": [1.0]}), tmp_path / "ours" / "features.parquet")
    folders.with_splits(tmp_path / "task")
    code, _, err = headwater("init", "ours", "--task", "task")
    assert code == 2 and "nowhere.jpg" in err and "no column" not in err
