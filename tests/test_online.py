"""The online probe: its images are no arm's, it looks when it should, and what it sees does not
depend on being looked at.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.neighbors import KNeighborsClassifier

from headwater import api, models
from headwater.device import resolve
from headwater.errors import InputError
from headwater.labels import classes_of, label_view, parse_view
from headwater.plan import Plan
from headwater.store import Store
from headwater.study import Study
from headwater.transfer.features import extract
from headwater.work import Session
from tests.conftest import tiny

WORDS = {
    "methods": ["supervised", "simclr"],
    "budget": {"steps": 12},
    "sizes": ["all", 64],
    "seeds": 2,
}


def plan(**changes: Any) -> Plan:
    return Plan.make(
        Study.model_validate(
            tiny(**{**WORDS, "online_probe": {"share": 0.2, "looks": 3}, **changes})
        )
    )


def test_the_probes_images_are_the_same_in_every_arm_and_in_none_of_their_training():
    arms = plan().arms
    assert len(arms) == 8
    held_out = arms[0].held_out
    assert 20 <= len(held_out) <= 60  # of 192, at a share of 0.2
    for arm in arms:
        assert np.array_equal(arm.held_out, held_out)
        assert len(np.intersect1d(arm.positions, held_out)) == 0
    assert len(arms[0].positions) + len(held_out) == 192


def test_without_a_probe_nothing_is_left_out_and_ids_are_those_of_before():
    without = Plan.make(Study.model_validate(tiny(**WORDS)))
    assert all(len(arm.held_out) == 0 for arm in without.arms)
    assert not {arm.id for arm in without.arms} & {arm.id for arm in plan().arms}
    looks = plan(online_probe={"share": 0.2, "looks": 7, "neighbours": 3})
    assert [arm.id for arm in looks.arms] == [arm.id for arm in plan().arms]


@pytest.fixture(scope="module")
def looked(tmp_path_factory: pytest.TempPathFactory) -> tuple[Plan, Store]:
    folder = tmp_path_factory.mktemp("online") / "store"
    words = {"sizes": ["all"], "seeds": 1, "protocols": {"probe": {"shots": [3], "draws": 1}}}
    resolved = plan(**words)
    rows = api.run(resolved.study, store=folder, device="cpu", engine="inline")
    assert set(rows["status"]) == {"done"}
    assert rows["pretrain_knn"].between(0, 1).all()
    return resolved, Store(folder)


def curve(store: Store, arm_id: str) -> list[dict[str, float]]:
    return [
        json.loads(line)
        for line in (store.arm_folder(arm_id) / "metrics.jsonl").read_text().splitlines()
    ]


def test_it_looks_at_equal_distances_and_at_the_end(looked):
    resolved, store = looked
    for arm in resolved.arms:
        seen = [point for point in curve(store, arm.id) if "knn" in point]
        assert [point["step"] for point in seen] == [4, 8, 12]
        assert store.read_arm(arm.id)["knn"] == seen[-1]["knn"]


def test_the_last_look_is_scikit_learns_answer_on_the_kept_encoder(looked):
    resolved, store = looked
    arm = resolved.arms[0]
    pixels = Session(resolved, store, resolve("cpu")).pixels("paint")
    encoder = models.load_encoder(store.arm_folder(arm.id))
    bank, queries = (
        extract(encoder, pixels.subset(of), image_size=32, compute=resolve("cpu"))
        for of in (arm.positions, arm.held_out)
    )
    both = np.concatenate([arm.positions, arm.held_out])
    classes = classes_of(
        label_view(
            parse_view("level:0"),
            arm.source.table,
            both,
            0,
            "here",
            hashes=lambda: arm.source.hashes,
        )
    )
    reference = KNeighborsClassifier(
        20,
        metric="cosine",
        weights=lambda distance: np.exp((1 - distance) / 0.07),
        algorithm="brute",
    )
    reference.fit(bank.astype(np.float64), classes[: len(bank)])
    expected = float((reference.predict(queries.astype(np.float64)) == classes[len(bank) :]).mean())
    assert store.read_arm(arm.id)["knn"] == pytest.approx(expected, abs=1.5 / len(queries))


@pytest.mark.slow
def test_weights_do_not_depend_on_how_often_it_looks(looked, tmp_path: Path):
    resolved, store = looked
    words = resolved.study.model_copy(
        update={"online_probe": resolved.study.online_probe.model_copy(update={"looks": 5})}
    )
    api.run(words, store=tmp_path / "store", device="cpu", engine="inline")
    for arm in resolved.arms:
        assert (
            store.read_arm(arm.id)["encoder_sha256"]
            == Store(tmp_path / "store").read_arm(arm.id)["encoder_sha256"]
        )


def test_a_source_without_labels_is_left_its_share_out_and_not_looked_at(tmp_path: Path):
    from PIL import Image

    (tmp_path / "bare").mkdir()
    rng = np.random.default_rng(0)
    for i in range(60):
        Image.fromarray(rng.integers(0, 256, (40, 40, 3), dtype=np.uint8)).save(
            tmp_path / "bare" / f"{i}.png"
        )
    words = tiny(
        methods=["simclr"],
        budget={"steps": 2},
        online_probe={"share": 0.2, "looks": 1},
        protocols={"probe": {"shots": [3], "draws": 1}},
    )
    words["data"] = {**words["data"], "bare": {"kind": "folder", "path": "bare"}}
    words["sources"] = ["bare"]
    study = Study.model_validate(words)
    rows = api.run(
        study, store=tmp_path / "store", data_root=tmp_path, device="cpu", engine="inline"
    )
    assert set(rows["status"]) == {"done"}
    assert rows["pretrain_knn"].isna().all()
    assert (rows["unique_images"] < 60).all()


@pytest.mark.parametrize(
    "labels",
    ["levle:0", "level:9", "level:0 with symmetric:0.5", "instance", "cluster:4", "random:3"],
)
def test_a_view_that_no_probe_can_be_asked_for_is_refused_or_noted(labels):
    words = tiny(**{**WORDS, "online_probe": {"labels": labels}})
    if labels == "level:9":  # a level, but not of this source
        notes = Plan.make(Study.model_validate(words)).notes
        assert any(
            "the online probe is not asked on source paint, which has no labels level:9" in note
            for note in notes
        )
        return
    with pytest.raises(InputError, match=r"online_probe\.labels|levle"):
        Plan.make(Study.model_validate(words))
