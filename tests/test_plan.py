"""The plan: ids change when, and only when, the meaning does."""

from __future__ import annotations

import os
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

from headwater import recipes
from headwater.errors import InputError
from headwater.labels import Targets, View, label_view
from headwater.labels.targets import LabelSets
from headwater.plan import Overlap, Overlaps, Plan, PlannedArm
from headwater.sources import Positions, Table, pixels
from headwater.study import Study
from tests.conftest import tiny


def plan(**changes: Any) -> Plan:
    return Plan.make(Study.model_validate(tiny(**changes)))


def arms(one: Plan) -> list[str]:
    return [arm.id for arm in one.arms]


def overlap(one: Plan, arm: PlannedArm, task: str) -> Overlap:
    return Overlaps(one.resolved).of(arm, task)


def cells(one: Plan) -> list[str]:
    return [cell.id for cell in one.cells]


BASE = plan()


def test_ids_are_golden(tmp_path: Path) -> None:
    """A change here means that every store starts again: it needs a new recipe number of a room, or
    a reason in docs/log.md.
    """
    for split, count in (("train", 4), ("val", 1), ("test", 2)):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for i in range(count):
                (tmp_path / "photos" / split / name / f"{i}.png").write_text(
                    f"{split} {name} {i}"
                )  # a plan decodes nothing
    one = folder_plan(
        tmp_path / "photos",
        methods=["scratch", "supervised", "simclr"],
        protocols={"probe": {}, "finetune": {"shots": 2}},
    )
    assert recipes.ROOM_VERSIONS == {
        "views": 2,
        "pretrain": 3,
        "features": 2,
        "draws": 1,
        "leaks": 1,
    }
    assert pixels.RECIPE == 1
    assert arms(one) == ["c50a7cb308fb8da3", "d97e7120454097b8", "6984831c77406a21"]
    assert cells(one)[:2] == ["54b35d81e04893aa", "2723f290df354c6c"]


def test_a_head_that_starts_from_a_probe_is_made_by_the_probes_room_too() -> None:
    """Raising the probe's number, or its grid, changes such cells and leaves those whose head
    starts at zero.
    """
    zeros, warm = ({"finetune": {"shots": 2, "head_init": init}} for init in ("zeros", "probe"))
    grid = {"probe": {"shots": 2, "tasks": ["other"], "l2": 0.5}}
    assert (
        cells(plan(protocols={**warm, **grid}))[1]
        != cells(plan(protocols={**warm, "probe": {**grid["probe"], "l2": 0.7}}))[1]
    )
    assert (
        cells(plan(protocols={**zeros, **grid}))[1]
        == cells(plan(protocols={**zeros, "probe": {**grid["probe"], "l2": 0.7}}))[1]
    )


def test_names_and_sentences_do_not_enter_ids() -> None:
    words = tiny(study="other-name", question="why?")
    words["data"] = {"a": words["data"]["paint"], "b": words["data"]["other"]}
    words["sources"], words["tasks"] = {"renamed": {"data": "a"}}, {"also": {"data": "b"}}
    renamed = Plan.make(Study.model_validate(words))
    assert arms(renamed) == arms(BASE)
    assert cells(renamed) == cells(BASE)


def test_kind_and_level_of_labels_are_told_whatever_the_study_calls_them() -> None:
    views = {
        "coarse": {"of": "level:1"},
        "fine": {"of": "class"},
        "chance": {"of": "random:8"},
        "parts": {"of": "random:like level:0 within level:1"},
        "found": {"of": "cluster:like level:1"},
        "mistaken": {"of": "level:0", "noise": {"kind": "symmetric", "rate": 0.2}},
        "some": {"of": "level:0", "subset": ["gupezu", "luluse"]},
        "joined": {"of": "level:0", "merge": {"round": ["gupezu", "luluse"]}},
    }
    plain = ["level:1", "class", "random:8", "random:like level:0 within level:1"]
    plain += ["cluster:like level:1", "level:0 with symmetric:0.2"]
    expected: dict[str, tuple[str | None, int | None]] = {
        "level:1": ("level", 1),
        "level:0": ("level", 0),
        "random:8": ("random", None),
        "random:like level:0 within level:1": ("random within", None),
        "cluster:like level:1": ("cluster", None),
        "level:0 with symmetric:0.2": ("noisy", None),
    }
    of_names = dict(zip(views, expected.values(), strict=False))
    of_names |= {
        "some": ("subset", None),
        "joined": ("level", None),
        "instance": ("instance", None),
    }

    def told(one: Plan) -> dict[Any, Any]:
        names = [one.names(cell) for cell in one.cells]
        return {name["labels"]: (name["label_kind"], name["label_level"]) for name in names}

    methods = ["scratch", "supervised", "simclr"]
    by_text = plan(methods=methods, labels=plain)
    by_name = plan(methods=methods, labels=[*views, "instance"], views=views)
    assert told(by_text) == {None: (None, None), **expected}
    assert told(by_name) == {None: (None, None), **of_names}
    assert set(arms(by_text)) <= set(arms(by_name)), "what they are called is in no id"
    assert set(cells(by_text)) <= set(cells(by_name))


@pytest.mark.parametrize(
    "changes",
    [
        {"image_size": 40},
        {"backbone": "test_vit"},
        {"budget": {"steps": 41}},
        {"recipe": {**tiny()["recipe"], "lr": 0.5}},
        {"seeds": [7]},
        {"precision": "fp32"},
        {"data": {**tiny()["data"], "paint": {**tiny()["data"]["paint"], "noise": 0.05}}},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_what_changes_training_changes_the_arms_that_it_trains(changes: dict[str, Any]) -> None:
    changed = plan(**changes)
    trained = {arm.words.method: arm.id for arm in BASE.arms if arm.words.method != "scratch"}
    assert not {arm.id for arm in changed.arms if arm.words.method in trained} & set(
        trained.values()
    )
    same_start = set(changes) <= {"budget", "recipe", "data"}
    assert (changed.arms[0].id == BASE.arms[0].id) == same_start, (
        "scratch does not depend on how others are trained"
    )


def test_defaults_written_out_do_not_change_ids() -> None:
    spelt = plan(
        image_size=32,
        backbone="tiny",
        precision="auto",
        recipe={**tiny()["recipe"], "optimiser": "adamw", "schedule": "cosine"},
        sizes=["all"],
    )
    assert arms(spelt) == arms(BASE)
    assert cells(spelt) == cells(BASE)


def test_a_budget_in_other_words_is_the_same_arm() -> None:
    assert arms(plan(budget={"images_seen": 40 * 32})) == arms(BASE)


def test_views_with_the_same_classes_are_one_arm() -> None:
    two = plan(
        sources={
            "fine": {"data": "paint", "labels": "level:0"},
            "named": {"data": "paint", "labels": "class"},
        },
        methods=["supervised"],
    )
    assert len(two.arms) == 2
    assert len(set(arms(two))) == 1


def test_what_is_measured_changes_cells_and_no_arm() -> None:
    for changes in (
        {"tasks": {"other": {"data": "other", "labels": "level:1"}}},
        {"protocols": {"probe": {"l2": [1, 2], "shots": ["full", 3], "draws": 2}}},
    ):
        changed = plan(**changes)
        assert arms(changed) == arms(BASE)
        assert not set(cells(changed)) & set(cells(BASE))


def test_more_shots_draws_seeds_or_tasks_keep_what_there_is() -> None:
    more = {**tiny()["protocols"], "probe": {"shots": ["full", 3, 5], "draws": 4}}
    grown = plan(
        protocols=more,
        seeds=2,
        tasks={"other": {"data": "other"}, "coarse": {"data": "other", "labels": "level:1"}},
    )
    assert set(arms(BASE)) < set(arms(grown))
    assert set(cells(BASE)) < set(cells(grown))


def test_narrowed_seeds_and_sources_drop_arms_and_cells_and_change_none() -> None:
    wide = {
        "sources": ["paint", "other"],
        "methods": ["scratch", "supervised"],
        "seeds": 2,
        "tasks": {"other": {"data": "other"}, "paint": {"data": "paint"}},
    }
    tasks = {name: {"data": name, "sources": [name]} for name in ("other", "paint")}
    whole, seeds, sources = (
        plan(**wide),
        plan(**wide | {"sources": {"paint": {"seeds": 1}, "other": None}}),
        plan(**wide | {"tasks": tasks}),
    )
    assert set(arms(seeds)) == {
        arm.id for arm in whole.arms if (arm.words.source, arm.words.seed) != ("paint", 1)
    }
    assert set(cells(seeds)) == {cell.id for cell in whole.cells if cell.arm.id in arms(seeds)}
    assert arms(sources) == arms(whole)
    assert cells(sources) == [
        cell.id for cell in whole.cells if cell.arm.words.source in (None, cell.words.task)
    ]


def test_a_source_that_no_task_measures_is_noted() -> None:
    one = plan(
        sources=["paint", "other"],
        methods=["supervised"],
        tasks={"other": {"data": "other", "sources": ["paint"]}},
    )
    assert [note for note in one.notes if "no task" in note] == [
        "no task measures the arms of source other"
    ]


def test_sizes_are_nested_and_seeds_draw_others() -> None:
    sized = plan(methods=["supervised"], sizes=[20, 50, "all"], seeds=2)
    drawn = {(arm.words.seed, arm.words.size): set(arm.positions.tolist()) for arm in sized.arms}
    for seed in (0, 1):
        assert len(drawn[seed, 20]) == 20
        assert drawn[seed, 20] < drawn[seed, 50] < drawn[seed, "all"]
    assert drawn[0, 20] != drawn[1, 20]


def test_a_split_by_another_name_or_twice_is_the_same_images() -> None:
    data = {
        **tiny()["data"],
        "more": {"kind": "world", "domain": "night", "train": 20, "val": 20, "test": 0},
    }
    named = (["train", "validation"], ["val", "train"], ["val", "valid", "train"])
    spelt, plain, both = (
        plan(data=data, methods=["simclr"], sources={"more": {"splits": splits}})
        for splits in named
    )
    assert arms(spelt) == arms(plain) == arms(both)
    assert len(both.arms[0].positions) == 40


# losses
def test_an_open_loss_is_no_part_of_an_id_and_one_that_changes_training_is() -> None:
    recipe = tiny()["recipe"]
    said = {
        loss: arms(plan(recipe={**recipe, "supervised": {"loss": loss}}))
        for loss in (None, "softmax", "sigmoid")
    }
    assert said[None] == said["softmax"] == arms(BASE), (
        "labels are single here, so softmax is what the rule says"
    )
    assert [a == b for a, b in zip(said["sigmoid"], arms(BASE), strict=True)] == [
        arm.words.method != "supervised" for arm in BASE.arms
    ]


@pytest.fixture
def several(monkeypatch: pytest.MonkeyPatch) -> None:
    """level:1 gives every image two labels: its family, and one that all have."""

    def view(
        view: View, table: Table, positions: Positions, seed: int, where: str, **more: Any
    ) -> Targets:
        plain = label_view(view, table, positions, seed, where, **more)
        if view.name != "level:1":
            return plain
        sets = LabelSets.of([[family, plain.num_classes] for family in range(plain.num_classes)])
        return Targets(plain.codes, (*plain.names, "thing"), "level:1", sets)

    monkeypatch.setattr("headwater.plan.arms.label_view", view)


@pytest.mark.usefixtures("several")
def test_arms_with_different_losses_in_one_study_are_noted() -> None:
    words = {
        "methods": ["scratch", "supervised", "simclr"],
        "labels": ["level:0", "level:1", "random:3"],
    }
    one = plan(**words)
    assert [arm.loss_name for arm in one.arms] == [None, "softmax", "sigmoid", "softmax", None]
    notes = [note for note in one.notes if "trains with" in note]
    assert notes == [
        "level:0 and random:3 train with softmax, level:1 trains with sigmoid; `recipe: "
        "{supervised: {loss: ...}}` holds it equal"
    ]
    for loss, names in (
        ("softmax", ["softmax", "softmax over sets", "softmax"]),
        ("sigmoid", ["sigmoid"] * 3),
    ):
        equal = plan(**words, recipe={**tiny()["recipe"], "supervised": {"loss": loss}})
        assert [arm.loss_name for arm in equal.arms][1:4] == names
        assert not [note for note in equal.notes if "loss" in note]
        same = [a.id == b.id for a, b in zip(one.arms, equal.arms, strict=True)]
        assert same == (
            [True, True, False, True, True]
            if loss == "softmax"
            else [True, False, True, False, True]
        )


@pytest.mark.usefixtures("several")
def test_label_reuse_is_seen_through_sets() -> None:
    """A set of labels that only a family has is the family: it is what level:1 is, and what level:0
    coarsens to.
    """
    tasks = {"fine": {"data": "other"}, "coarse": {"data": "other", "labels": "level:1"}}
    one = plan(sources=["other"], methods=["supervised"], labels=["level:1"], tasks=tasks)
    assert [overlap(one, one.arms[0], task).label_reuse for task in tasks] == [True, True]


# photos
@pytest.fixture
def photos(tmp_path: Path) -> Path:
    rng = np.random.default_rng(0)
    for split, count in (("train", 6), ("test", 3)):
        for name in ("cat", "dog"):
            (tmp_path / "photos" / split / name).mkdir(parents=True)
            for i in range(count):
                Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
                    tmp_path / "photos" / split / name / f"{i}.png"
                )
    return tmp_path / "photos"


def folder_plan(photos: Path, **changes: Any) -> Plan:
    words = {
        "study": "folders",
        "data": {"photos": {"kind": "folder", "path": photos.name}},
        "sources": ["photos"],
        "methods": ["supervised", "simclr"],
        "seeds": 1,
        "budget": {"steps": 2},
        "tasks": {"photos": {"data": "photos"}},
    }
    return Plan.make(
        Study.model_validate({**words, **changes}),
        data_root=photos.parent,
        cache=photos.parent / "cache",
    )


def test_a_changed_byte_of_a_training_image_changes_arms_and_cells(photos: Path) -> None:
    before = folder_plan(photos)
    with (photos / "train" / "dog" / "3.png").open("ab") as file:
        file.write(b"\0")
    after = folder_plan(photos)
    assert not set(arms(before)) & set(arms(after))
    assert not set(cells(before)) & set(cells(after))


def test_a_new_test_image_changes_cells_and_retrains_no_arm(photos: Path) -> None:
    before = folder_plan(photos)
    Image.new("RGB", (8, 8), "red").save(photos / "test" / "cat" / "new.png")
    after = folder_plan(photos)
    assert arms(before) == arms(after)
    assert not set(cells(before)) & set(cells(after))


def test_a_moved_or_touched_folder_is_the_same(photos: Path) -> None:
    before = folder_plan(photos)
    for path in photos.rglob("*.png"):
        os.utime(path, (1, 1))
    moved = Path(shutil.move(photos, photos.parent / "elsewhere"))
    (moved / "notes.txt").write_text("no image")
    after = folder_plan(moved)
    assert (arms(before), cells(before)) == (arms(after), cells(after))


def test_a_renamed_class_changes_supervised_arms_and_spares_simclr_only_if_ids_stay(
    photos: Path,
) -> None:
    names = [str(path.relative_to(photos)) for path in sorted(photos.rglob("*.png"))]
    for level in ("{1}", "pet-{1}"):
        lines = [
            ",".join((name, name.split("/")[0], level.format(*name.split("/")))) for name in names
        ]
        (photos / f"{level[:3]}.csv").write_text("\n".join(["path,split,level1", *lines]) + "\n")
    found = []
    for name in ("{1}", "pet"):
        shutil.copy(photos / f"{name}.csv", photos / "labels.csv")
        found.append(folder_plan(photos))

    def id_of(method: str, plan: Plan) -> str:
        return next(arm.id for arm in plan.arms if arm.words.method == method)

    assert id_of("simclr", found[0]) == id_of("simclr", found[1])
    assert id_of("supervised", found[0]) != id_of("supervised", found[1])


def test_one_leaked_test_image_in_a_hundred_is_noted_and_scored_apart(photos: Path) -> None:
    rng = np.random.default_rng(1)
    for i in range(120):
        Image.fromarray(rng.integers(0, 256, (8, 8, 3), dtype=np.uint8)).save(
            photos / "test" / "cat" / f"more{i}.png"
        )
    shutil.copy(photos / "train" / "dog" / "0.png", photos / "test" / "dog" / "leak.png")
    one = folder_plan(photos)
    assert any("1 of the 127 test images" in note and "unleaked" in note for note in one.notes)
    leaked_test = overlap(one, one.arms[0], "photos").leaked_test
    assert leaked_test.sum() == 1
    leaked = one.tasks["photos"].test[leaked_test][0]
    assert one.sources["photos"].table.ids[leaked] == "test/dog/leak.png"


def test_a_leak_is_refused_where_it_would_be_measured_and_nowhere_else(photos: Path) -> None:
    leaky = {"trained": {"data": "photos", "splits": ["test"]}, "clean": {"data": "photos"}}
    with pytest.raises(
        InputError,
        match=r"6 of the 6 test images of task 'photos' are among the training images of source "
        r"'trained'",
    ):
        folder_plan(photos, sources=leaky)
    with pytest.raises(InputError, match="among the training images of source 'trained'"):
        folder_plan(
            photos,
            sources=leaky,
            tasks={"photos": {"data": "photos", "sources": ["clean", "trained"]}},
        )
    one = folder_plan(
        photos, sources=leaky, tasks={"photos": {"data": "photos", "sources": ["clean"]}}
    )
    assert {cell.arm.words.source for cell in one.cells} == {"clean"}


def test_label_reuse_is_seen_through_names_levels_and_copies(photos: Path) -> None:
    one = folder_plan(photos)
    by_method = {arm.words.method: overlap(one, arm, "photos").label_reuse for arm in one.arms}
    assert by_method == {"supervised": True, "simclr": False}
    coarse = Plan.make(
        Study.model_validate(
            tiny(
                sources=["other"],
                labels=["level:0", "level:1", "random:3"],
                methods=["supervised", "scratch"],
            )
        )
    )
    assert {arm.words.labels: overlap(coarse, arm, "other").label_reuse for arm in coarse.arms} == {
        None: False,
        "level:0": True,
        "level:1": True,
        "random:3": False,
    }
    assert not any(overlap(BASE, arm, "other").label_reuse for arm in BASE.arms)
