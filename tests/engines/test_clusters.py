"""Arms whose labels are clusters of another arm's features: planned before they are known, trained
after it, the same every time.
"""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest
import torch
from safetensors.torch import save_file

from headwater import api
from headwater.engines import engine, local, schedule
from headwater.errors import InputError
from headwater.files import file_sha256
from headwater.labels import label_view
from headwater.plan import Overlaps, Plan
from headwater.rows import comparable
from headwater.store import Store
from headwater.study import Study
from tests.conftest import tiny, write_study

VIEWS = ["cluster:5", "cluster:like level:0 within level:1", "random:like level:0 within level:1"]


def words(**changes: Any) -> dict[str, Any]:
    return tiny(
        **{
            "methods": ["supervised"],
            "labels": VIEWS,
            "protocols": {"probe": {"shots": ["full"]}},
            "budget": {"steps": 12},
            **changes,
        }
    )


def plan(**changes: Any) -> Plan:
    return Plan.make(Study.model_validate(words(**changes)))


@pytest.fixture(scope="module")
def clustered(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, pd.DataFrame]:
    folder = tmp_path_factory.mktemp("clustered")
    study = write_study(folder / "study.yaml", words())
    return (
        study,
        folder / "store",
        api.run(study, store=folder / "store", device="cpu", engine="inline"),
    )


def test_the_arm_that_makes_the_features_is_planned_trained_once_and_not_measured(
    clustered: tuple[Path, Path, pd.DataFrame],
) -> None:
    study, store, rows = clustered
    made = api.make_plan(study, store=store)
    (support,) = made.supports
    assert support.words.method == "simclr"
    assert Store(store).has_arm(support.id)
    assert set(rows["status"]) == {"done"}
    assert set(rows["labels"]) == set(VIEWS)
    assert support.id not in set(rows["arm"])
    assert not schedule.pending(made, Store(store)).arms
    assert rows.groupby("labels")["num_labels"].first().to_dict() == dict.fromkeys(VIEWS, 6) | {
        "cluster:5": 5
    }
    assert set(rows.loc[rows["labels"].str.startswith("cluster"), "label_features"]) == {support.id}
    assert rows.loc[rows["labels"].str.startswith("random"), "label_features"].isna().all()


def test_clusters_within_a_level_stay_in_its_classes_in_the_counts_of_the_level_below(
    clustered: tuple[Path, Path, pd.DataFrame],
) -> None:
    study, store, _ = clustered
    made = api.make_plan(study, store=store)
    (arm,) = [arm for arm in made.arms if arm.words.labels == VIEWS[1]]
    assert arm.source is not None
    assert arm.clusters is not None
    codes = Store(store).read_labels(arm.clusters.id, len(arm.positions))
    assert codes is not None
    family = label_view("level:1", arm.source.table, arm.positions, 0, "world")
    for code in range(6):
        assert len(np.unique(family.indices[codes == code])) == 1, "no cluster is in two families"
    assert [len(np.unique(codes[family.indices == f])) for f in range(2)] == [3, 3]
    ids = (Store(store).labels / arm.clusters.id / "ids.txt").read_text().splitlines()
    assert ids == arm.source.table.ids[arm.positions].tolist()


def test_clusters_that_were_made_are_described(
    clustered: tuple[Path, Path, pd.DataFrame], tmp_path: Path
) -> None:
    from headwater.facts.labels import study_facts

    study, store, _ = clustered
    made = study_facts(api.make_plan(study, store=store), None, Store(store))["sources"][0]["views"]
    assert [view["note"] for view in made] == [None, None, None]
    assert made[1]["classes"] == 6
    waiting = study_facts(Plan.opened(Study.load(study)), None, None)["sources"][0]["views"]
    assert [view["note"] is None for view in waiting] == [False, False, True]


@pytest.mark.slow
def test_a_second_store_makes_the_same_clusters_and_the_same_rows(
    clustered: tuple[Path, Path, pd.DataFrame], tmp_path: Path
) -> None:
    study, _, rows = clustered
    again = api.run(study, store=tmp_path / "store", device="cpu", engine="inline")
    pd.testing.assert_frame_equal(comparable(rows), comparable(again))


@pytest.mark.slow
def test_a_run_that_lost_an_arm_goes_on_with_the_labels_that_it_had(
    clustered: tuple[Path, Path, pd.DataFrame], tmp_path: Path
) -> None:
    """Also where the arm of the features was forgotten: the labels are kept for themselves."""
    study, store, rows = clustered
    shutil.copytree(store, tmp_path / "store")
    copy = Store(tmp_path / "store")
    for arm in api.make_plan(study, store=store).arms:
        shutil.rmtree(copy.arms / arm.id)
    for file in copy.rows.iterdir():
        file.unlink()
    pd.testing.assert_frame_equal(
        comparable(rows), comparable(api.run(study, store=copy.root, device="cpu", engine="inline"))
    )


@pytest.mark.slow
def test_redoing_an_arm_takes_along_what_was_labelled_by_its_features(
    clustered: tuple[Path, Path, pd.DataFrame], tmp_path: Path
) -> None:
    from headwater.plan.forgetting import forget

    study, store, rows = clustered
    shutil.copytree(store, tmp_path / "store")
    made = api.make_plan(study, store=store)
    copy = Store(tmp_path / "store")
    forget(made, copy, [made.supports[0].id[:8]])
    assert not list(copy.labels.iterdir())
    todo = schedule.pending(made, copy)
    assert {arm.words.labels for arm in todo.arms} == {None, *VIEWS[:2]}
    assert todo.arms[0].id == made.supports[0].id, "the features come first"
    pd.testing.assert_frame_equal(
        comparable(rows), comparable(api.run(study, store=copy.root, device="cpu", engine="inline"))
    )


def test_an_arm_whose_labels_are_there_waits_for_no_features(
    clustered: tuple[Path, Path, pd.DataFrame], tmp_path: Path
) -> None:
    study, store, _ = clustered
    shutil.copytree(store, tmp_path / "store")
    made = api.make_plan(study, store=store)
    copy = Store(tmp_path / "store")
    copy.drop_arm(made.supports[0].id)
    (arm,) = [arm for arm in made.arms if arm.words.labels == "cluster:5"]
    forget_cells = [cell.id for cell in made.cells if cell.arm.id == arm.id]
    copy.drop_arm(arm.id)
    for cell in forget_cells:
        copy.drop_cell(cell)
    assert [one.id for one in schedule.pending(made, copy).arms] == [arm.id]


def test_damaged_labels_are_an_error_that_says_what_to_do(
    clustered: tuple[Path, Path, pd.DataFrame], tmp_path: Path
) -> None:
    _, store, _ = clustered
    shutil.copytree(store, tmp_path / "store")
    copy = Store(tmp_path / "store")
    (folder, *_) = sorted(copy.labels.iterdir())
    images = json.loads((folder / "labels.json").read_text())["images"]
    assert copy.read_labels(folder.name, images) is not None
    with pytest.raises(InputError, match=r"labels are damaged.*remove the folder"):
        copy.read_labels(folder.name, images + 1)
    (folder / "codes.npy").write_bytes(b"junk")
    with pytest.raises(InputError, match=r"labels are damaged.*remove the folder"):
        copy.read_labels(folder.name, images)


def test_equal_clusters_share_an_arm_and_what_changes_them_changes_its_id() -> None:
    def cluster_arm(view: Any = "cluster:like level:0", **changes: Any) -> str:
        return plan(labels=["it"], views={"it": view}, **changes).arms[0].id

    base = cluster_arm()
    assert cluster_arm("cluster:6") == base, "six species"
    assert (
        cluster_arm(
            {
                "of": "cluster:6",
                "features": {"method": "simclr"},
                "algorithm": "kmeans",
                "balanced": False,
            }
        )
        == base
    )
    assert plan(labels=["cluster:6"]).arms[0].id == base
    others = [
        "cluster:5",
        "cluster:6@seed=3",
        "cluster:6 within level:1",
        {"of": "cluster:6", "algorithm": "ward"},
        {"of": "cluster:6", "balanced": True},
    ]
    others += [
        {"of": "cluster:6", "features": {"method": "scratch"}},
        {"of": "cluster:6", "features": {"timm": "resnet18"}},
    ]
    ids = [cluster_arm(other) for other in others] + [
        cluster_arm(recipe={**tiny()["recipe"], "simclr": {"lr": 0.01}})
    ]
    assert len({base, *ids}) == len(ids) + 1


def test_embeddings_with_other_ids_beside_them_are_other_features(tmp_path: Path) -> None:
    source = plan().arms[0].source
    assert source is not None
    ids = source.table.ids.tolist()
    np.save(
        tmp_path / "made.npy",
        np.random.default_rng(0).normal(size=(len(ids), 3)).astype(np.float32),
    )
    study = Study.model_validate(
        words(labels=["it"], views={"it": {"of": "cluster:4", "features": {"file": "made.npy"}}})
    )
    found = []
    for order in (ids, ids[::-1]):
        (tmp_path / "made.txt").write_text("".join(f"{one}\n" for one in order))
        found.append(Plan.make(study, data_root=tmp_path).arms[0].id)
    assert found[0] != found[1]


def test_label_reuse_is_seen_through_partitions_and_features() -> None:
    """What lies within a manual class tells that class; clusters of a supervised arm's features
    tell what that arm was told.
    """
    views = {
        "taught": {"of": "cluster:6", "features": {"method": "supervised", "labels": "level:1"}}
    }
    labels = [
        "cluster:6",
        "cluster:6 within level:1",
        "random:6",
        "random:6 within level:1",
        "shuffle:3",
        "level:0 with symmetric:0.9",
        "taught",
        "instance",
    ]
    tasks = {"families": {"data": "paint", "labels": "level:1"}, "species": {"data": "paint"}}
    made = plan(labels=labels, views=views, tasks=tasks)
    told = {
        "cluster:6 within level:1",
        "random:6 within level:1",
        "level:0 with symmetric:0.9",
        "taught",
    }
    overlaps = Overlaps(made.resolved)
    for task, more in (("families", set()), ("species", {"shuffle:3"})):
        reuse = {arm.words.labels: overlaps.of(arm, task).label_reuse for arm in made.arms}
        assert {label for label, reused in reuse.items() if reused} == told | more, (
            "a species is in one shuffled class, a family in several"
        )


@pytest.mark.slow
def test_features_can_come_from_a_file_a_timm_model_and_any_arm(tmp_path: Path) -> None:
    import timm

    model = timm.create_model("test_resnet.r160_in1k", pretrained=False)
    save_file(
        {name: tensor.contiguous() for name, tensor in model.state_dict().items()},
        tmp_path / "weights.safetensors",
    )
    positions = plan().arms[0].positions
    source = plan().arms[0].source
    assert source is not None
    ids = source.table.ids[positions].tolist()
    planted = np.random.default_rng(0).integers(0, 4, len(ids))
    frame = pd.DataFrame({"id": ids, "embedding": list(np.eye(4, dtype=np.float32)[planted])})
    frame.sample(frac=1, random_state=1).to_parquet(tmp_path / "embeddings.parquet")
    views = {
        "from-file": {"of": "cluster:4", "features": {"file": "embeddings.parquet"}},
        "from-timm": {
            "of": "cluster:4",
            "features": {"timm": "test_resnet.r160_in1k", "weights": "weights.safetensors"},
            "algorithm": "ward",
        },
        "from-scratch": {"of": "cluster:4", "features": {"method": "scratch"}, "balanced": True},
        "from-clip": {"of": "cluster:4", "features": {"method": "clip"}},
    }
    study = Study.model_validate(words(labels=list(views), views=views))
    rows = api.run(
        study, store=tmp_path / "store", data_root=tmp_path, device="cpu", engine="inline"
    )
    assert set(rows["status"]) == {"done"}, rows["reason"].dropna().unique()
    store = Store(tmp_path / "store")
    found = {
        json.loads((folder / "labels.json").read_text())["view"]: np.load(folder / "codes.npy")
        for folder in store.labels.iterdir()
    }
    assert set(found) == set(views)
    agreement = pd.crosstab(found["from-file"], planted).to_numpy()
    assert (agreement.astype(bool).sum(axis=1) == 1).all(), (
        "planted clusters are found, whatever the order of the file's rows"
    )
    assert np.ptp(np.bincount(found["from-scratch"])) <= 1
    told = rows.groupby("labels")["label_features"].first()
    assert told["from-file"] == f"file:{file_sha256(tmp_path / 'embeddings.parquet')[:12]}"
    assert (
        told["from-timm"]
        == f"timm:test_resnet.r160_in1k@{file_sha256(tmp_path / 'weights.safetensors')[:12]}"
    )
    assert {told["from-scratch"], told["from-clip"]} == {
        arm.id for arm in api.make_plan(study, store=store.root, data_root=tmp_path).supports
    }


def test_a_features_arm_that_diverges_makes_its_arms_diverge_with_the_reason(
    tmp_path: Path,
) -> None:
    study = Study.model_validate(
        words(
            labels=["cluster:4"],
            recipe={**tiny()["recipe"], "simclr": {"lr": 1e30, "clip_norm": 1e30}},
        )
    )
    rows = api.run(study, store=tmp_path / "store", device="cpu", engine="inline")
    assert set(rows["status"]) == {"diverged"}
    assert rows["reason"].str.contains("its clusters need simclr").all()


def test_a_features_arm_that_fails_fails_its_arms_and_the_others_go_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from tests.engines.test_local import WORKER

    monkeypatch.setenv("HEADWATER_TEST_NOTES", str(tmp_path))
    made = plan(labels=["cluster:4", "level:0"])
    unit = (
        "tell(event='failed', reason='OSError: no luck') if unit['arm'] == "
        f"'{made.supports[0].id}' else tell(event='finished')"
    )
    monkeypatch.setattr(
        local,
        "COMMAND",
        (local.sys.executable, "-c", WORKER.replace("START", "pass").replace("UNIT", unit)),
    )
    store = Store(tmp_path / "store", create=True)
    events: list[schedule.Event] = []
    engine.run(made, store, device="cpu", workers=2, watch=events.append)
    rows = made.rows(store)
    assert set(rows["labels"]) == {"cluster:4"}
    assert {event.unit.arm.words.labels for event in events if event.kind == "failed"} == {
        None,
        "cluster:4",
    }, "both are heard of"
    assert rows["reason"].str.contains("its labels need simclr.*no luck").all()
    assert {event.unit.arm.words.labels for event in events if event.kind == "finished"} == {
        "level:0"
    }


@pytest.mark.parametrize(
    ("views", "message"),
    [
        ({"it": {"of": "level:0", "features": {"method": "simclr"}}}, "features is for clusters"),
        ({"it": {"of": "cluster:4", "features": {"file": "none.parquet"}}}, "there is no file"),
        ({"it": {"of": "cluster:4", "noise": {"rate": 0.1}}}, "cannot have noise"),
        ({"it": {"of": "cluster:1000"}}, "more classes than there are images"),
        ({"it": {"of": "cluster:4 within level:7"}}, "there is no level:7"),
        ({"it": {"of": "cluster:4 with symmetric:0.1"}}, "not for clusters"),
        ({"it": {"of": "cluster:4", "features": {"file": "bad.parquet"}}}, "cannot be read"),
        ({"it": {"of": "cluster:4", "features": {"file": "few.npy"}}}, "images have no embedding"),
        (
            {"it": {"of": "cluster:4", "features": {"timm": "resnet5000"}}},
            "no architecture 'resnet5000'",
        ),
        (
            {"it": {"of": "cluster:4", "features": {"timm": "resnet18.nope"}}},
            "Invalid pretrained tag",
        ),
        ({"it": {"of": "level:0", "subset": ["nobody"]}}, "nobody"),
        ({"it": {"of": "nothing"}}, "is no label view"),
        ({"it": {"of": "level:0"}, "instance": {"of": "level:0"}}, "this is a view already"),
    ],
)
def test_what_does_not_fit_is_said_before_anything_runs(
    views: dict[str, Any], message: str, tmp_path: Path
) -> None:
    (tmp_path / "bad.parquet").write_bytes(b"junk")
    np.save(tmp_path / "few.npy", np.zeros((1, 4), dtype=np.float32))
    (tmp_path / "few.txt").write_text("somebody\n")
    with pytest.raises(InputError, match=message):
        Plan.make(Study.model_validate(words(labels=["it"], views=views)), data_root=tmp_path)


def test_timm_features_see_the_pixels_that_the_model_was_trained_on() -> None:
    """A model behind Headwater's normalisation gives what timm's own normalisation gives."""
    from headwater.views import MEAN, STD
    from headwater.work.labelling import _Renormalised

    x = torch.rand(2, 3, 4, 4, generator=torch.Generator().manual_seed(0))
    ours = (x - torch.tensor(MEAN).view(1, 3, 1, 1)) / torch.tensor(STD).view(1, 3, 1, 1)
    theirs = (x - 0.5) / 0.25
    assert torch.allclose(
        _Renormalised(torch.nn.Identity(), (0.5,) * 3, (0.25,) * 3)(ours), theirs, atol=1e-5
    )
