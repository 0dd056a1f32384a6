"""What training is expected to take of memory, for every method and what is fine-tuned."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch

from headwater.cost.memory import training_bytes, worker_bytes
from headwater.device import Compute
from headwater.plan import Plan
from headwater.registry import METHODS
from headwater.study import Study
from tests.conftest import tiny, write_study

ON = Compute(torch.device("cpu"), bf16=False)


def plan_of(folder: Path, **changes: Any) -> Plan:
    folder.mkdir(parents=True, exist_ok=True)
    study = write_study(folder / "study.yaml", tiny(**changes))
    return Plan.make(Study.load(study), cache=folder / "cache")


@pytest.mark.parametrize(
    "method",
    [
        pytest.param(method.name, marks=[pytest.mark.slow] if method.name != "dino" else [])
        for method in METHODS
        if method.recipe
    ],
)
def test_it_is_told_of_every_method_on_a_transformer(method: str, tmp_path: Path) -> None:
    """DINO's small crops are of other sizes than the encoder was made for."""
    vit = {"backbone": "vit_tiny_patch16_224", "image_size": 64}
    plan = plan_of(tmp_path, methods=[method], recipe={"batch": 32}, **vit)
    few = training_bytes(plan, plan.arms[0], ON)
    assert few > 16 * 5e6  # its parameters
    larger = plan_of(tmp_path / "larger", methods=[method], recipe={"batch": 64}, **vit)
    assert training_bytes(larger, larger.arms[0], ON) > few


def test_a_worker_on_a_processor_holds_what_is_trained_and_features(tmp_path: Path) -> None:
    nothing = {"methods": ["scratch"], "protocols": {"probe": {"shots": ["full"]}}}
    least = worker_bytes(plan_of(tmp_path / "a", **nothing), "cpu")
    arm = plan_of(tmp_path / "b", methods=["simclr"], protocols=nothing["protocols"])
    assert worker_bytes(arm, "cpu") > least
    assert worker_bytes(arm, "cuda") == pytest.approx(
        4e9, rel=0.01
    )  # the GPU holds what is trained
    tuned = {"methods": ["scratch"], "protocols": {"finetune": {"steps": 6, "batch": 512}}}
    assert worker_bytes(plan_of(tmp_path / "c", **tuned), "cpu") > least + 1e7


def test_an_arm_that_others_need_counts(tmp_path: Path) -> None:
    """Its features are what clusters are made of; it is none of the arms that are compared."""
    views = {"it": {"of": "cluster:4", "features": {"method": "simclr"}}}
    recipe = {**tiny()["recipe"], "batch": 8, "simclr": {"batch": 96}}
    changes = {"methods": ["supervised"], "labels": ["it"], "views": views}
    with_it = plan_of(tmp_path / "a", recipe=recipe, **changes)
    assert len(with_it.every_arm) == 2
    alone = plan_of(tmp_path / "b", methods=["supervised"], recipe={**tiny()["recipe"], "batch": 8})
    assert worker_bytes(with_it, "cpu") > worker_bytes(alone, "cpu")
