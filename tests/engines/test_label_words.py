"""Studies whose labels are noisy, several, merged or few, from the file to the rows."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
from PIL import Image

from headwater import api
from headwater.errors import InputError
from headwater.plan import Overlaps, Plan
from headwater.study import Study
from tests.conftest import tiny

EDGES = "animal,cat\nanimal,dog\npet,cat\npet,goldfish\nfish,goldfish\nfish,trout\n"


@pytest.fixture
def zoo(tmp_path: Path) -> Path:
    """Four classes of a DAG in which cats and goldfish have two parents each; a tint tells them
    apart.
    """
    rng = np.random.default_rng(0)
    for split, count in (("train", 12), ("val", 4), ("test", 6)):
        for at, name in enumerate(("cat", "dog", "goldfish", "trout")):
            folder = tmp_path / "zoo" / split / name
            folder.mkdir(parents=True)
            for i in range(count):
                tint = np.array([60 * at, 255 - 60 * at, 120])
                noise = rng.integers(-30, 30, (40, 40, 3))
                Image.fromarray((tint + noise).clip(0, 255).astype(np.uint8)).save(
                    folder / f"{i}.png"
                )
    (tmp_path / "zoo" / "parents.csv").write_text(EDGES)
    return tmp_path


def zoo_study(**changes: Any) -> Study:
    words = tiny(
        **{
            "methods": ["supervised"],
            "budget": {"steps": 10},
            "protocols": {"probe": {"shots": ["full"]}},
            **changes,
        }
    )
    words["data"]["zoo"] = {"kind": "folder", "path": "zoo", "hierarchy": "parents.csv"}
    return Study.model_validate({**words, "sources": ["zoo"], **changes})


@pytest.mark.slow
def test_levels_of_a_dag_are_trained_with_the_loss_that_the_rule_says(zoo: Path) -> None:
    rows = api.run(
        zoo_study(labels=["level:0", "level:1"]),
        store=zoo / "store",
        data_root=zoo,
        device="cpu",
        engine="inline",
    )
    assert set(rows["status"]) == {"done"}, rows["reason"].dropna().unique()
    facts = rows.groupby("labels")[["loss", "num_labels", "multi_label_share"]].first()
    assert facts.loc["level:0"].tolist() == ["softmax", 4, 0.0]
    assert facts.loc["level:1"].tolist() == ["sigmoid", 3, 0.5]
    plan = api.make_plan(
        zoo_study(labels=["level:0", "level:1"]), store=zoo / "store", data_root=zoo
    )
    assert any("level:1 trains with sigmoid" in note for note in plan.notes)
    held = zoo_study(
        labels=["level:1"], recipe={**tiny()["recipe"], "supervised": {"loss": "softmax"}}
    )
    assert [arm.loss_name for arm in Plan.make(held, data_root=zoo).arms] == ["softmax over sets"]


@pytest.mark.slow
def test_noise_and_its_realised_rate_stand_on_the_row_for_labels_and_captions(
    tmp_path: Path,
) -> None:
    words = tiny(
        methods=["supervised", "clip"],
        labels=["level:0", "level:0 with symmetric:0.4", "mistaken"],
        captions="captions with swaps:0.5",
        views={
            "mistaken": {
                "of": "level:0",
                "noise": {"kind": "confusion", "rate": 0.5, "within": "level:1"},
            }
        },
        budget={"steps": 6},
        protocols={"probe": {"shots": ["full"]}},
    )
    rows = api.run(
        Study.model_validate(words), store=tmp_path / "store", device="cpu", engine="inline"
    )
    assert set(rows["status"]) == {"done"}
    noise = rows.groupby("labels")["label_noise"].first()
    assert pd.isna(noise["level:0"]), "none was asked for"
    assert noise["level:0 with symmetric:0.4"] == pytest.approx(0.4, abs=0.12)
    assert noise["mistaken"] == pytest.approx(0.5, abs=0.12)
    assert noise["captions with swaps:0.5"] == pytest.approx(0.5, abs=0.12)
    assert rows.groupby("labels")["label_level"].first().to_dict()["level:0"] == 0
    assert rows.loc[rows["labels"] != "level:0", "label_level"].isna().all()


def test_a_subset_narrows_the_arm_and_the_task(zoo: Path) -> None:
    merge = {"land": ["cat", "dog"], "water": ["goldfish", "trout"]}
    views = {
        "dry": {"of": "level:0", "subset": ["cat", "dog"]},
        "kinds": {"of": "level:0", "merge": merge},
    }
    tasks = {"both": {"data": "zoo", "labels": "kinds"}, "dry": {"data": "zoo", "labels": "dry"}}
    study = zoo_study(labels=["dry", "kinds"], views=views, tasks=tasks)
    plan = Plan.make(study, data_root=zoo)
    dry, kinds = plan.arms
    assert (len(dry.positions), len(kinds.positions)) == (24, 48)
    assert {
        name: (task.num_classes, len(task.train), len(task.test))
        for name, task in plan.tasks.items()
    } == {"both": (2, 48, 24), "dry": (2, 24, 12)}
    assert Overlaps(plan.resolved).of(dry, "dry").label_reuse


@pytest.mark.parametrize(
    ("changes", "told"),
    [
        ({"tasks": {"zoo": {"data": "zoo", "labels": "level:1"}}}, "several labels"),
        (
            {"tasks": {"zoo": {"data": "zoo", "labels": "level:0 with symmetric:0.1"}}},
            "label noise",
        ),
        ({"tasks": {"zoo": {"data": "zoo", "labels": "cluster:2"}}}, "needs features"),
        ({"labels": ["rank:genus"]}, "no ranks"),
        (
            {
                "labels": ["loop"],
                "views": {
                    "loop": {
                        "of": "cluster:2",
                        "features": {"method": "supervised", "labels": "loop"},
                    }
                },
            },
            "labelled by them",
        ),
    ],
)
def test_what_cannot_be_is_refused_in_words(zoo: Path, changes: dict[str, Any], told: str) -> None:
    with pytest.raises(InputError, match=told):
        Plan.make(zoo_study(**changes), data_root=zoo)


@pytest.mark.slow
def test_an_arm_of_some_classes_is_trained_and_measured(zoo: Path) -> None:
    views = {"dry": {"of": "level:0", "subset": ["cat", "dog"]}}
    study = zoo_study(
        labels=["dry", "level:0"], views=views, tasks={"dry": {"data": "zoo", "labels": "dry"}}
    )
    rows = api.run(study, store=zoo / "store", data_root=zoo, device="cpu", engine="inline")
    assert set(rows["status"]) == {"done"}
    assert rows.groupby("labels")["unique_images"].first().to_dict() == {"dry": 24, "level:0": 48}
