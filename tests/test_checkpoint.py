"""Checkpoints: a run that goes on from one ends with the bits of a run that never stopped, and damage is passed over."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headwater import checkpoint, device, keys, methods, models, pretrain
from headwater.loader import Order
from headwater.plan import Plan
from headwater.sources.pixels import PixelCache
from headwater.study import Study
from tests.conftest import tiny

STEPS = 4


class Stopped(Exception):
    """The process was killed, as far as the loop can tell."""


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> Iterator[None]:
    """As in a worker: two threads beside a busy neighbour are many times slower than one."""
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.fixture(scope="module")
def plans(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], tuple[Plan, PixelCache]]:
    folder = tmp_path_factory.mktemp("pixels")

    def make(optimiser: str) -> tuple[Plan, PixelCache]:
        recipe = {**tiny()["recipe"], "optimiser": optimiser, "lr": 0.01}
        plan = Plan.make(Study.model_validate(tiny(recipe=recipe, budget={"steps": STEPS}, methods=["supervised", "simclr", "clip"])))
        source, at = plan.sources["paint"], plan.arms[0].positions
        return plan, PixelCache.build(source, at, 32, folder / "paint", fingerprint=source.fingerprint(at))

    return make


def train(plan: Plan, pixels: PixelCache, method_name: str, folder: Path, *, stop_at: int | None = None, bf16: bool = False) -> dict[str, Any]:
    """The state after training, with a checkpoint after every step; with `stop_at` the loop is left by an exception after that many steps."""
    arm = next(arm for arm in plan.arms if arm.words.method == method_name)
    assert arm.source is not None
    assert arm.recipe is not None
    assert arm.recipe.batch is not None
    hashes = keys.sample_hashes(list(arm.source.table.ids[arm.positions]))
    encoder = models.build_encoder("tiny", 32, seed=0)
    method = methods.build(method_name, encoder, recipe=arm.recipe, seed=0, targets=arm.targets, captions=arm.captions, hashes=hashes)
    order = Order(hashes, arm.images_seen, arm.recipe.batch, 0)
    steps = order.steps

    class Killed(Order):
        def at(self, step: int) -> Any:
            if step == stop_at:
                raise Stopped
            return super().at(step)

    killed = Killed(hashes, arm.images_seen, arm.recipe.batch, 0)
    assert steps == STEPS
    outcome, curve = pretrain.pretrain(
        method, pixels, killed, arm.recipe, image_size=32, seed=0, compute=device.Compute(torch.device("cpu"), bf16), checkpoints=folder, checkpoint_every_s=-1
    )
    return {**method.state_dict(), "loss": torch.tensor(outcome.last_loss), "curve": torch.tensor([point["loss"] for point in curve])}


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
@pytest.mark.parametrize("method", ["supervised", "simclr", "clip"])
def test_training_that_goes_on_from_a_checkpoint_is_bit_equal(method: str, optimiser: str, plans: Any, tmp_path: Path) -> None:
    plan, pixels = plans(optimiser)
    whole = train(plan, pixels, method, tmp_path / "whole")
    for stop in (1, 3):  # killed twice
        with pytest.raises(Stopped):
            train(plan, pixels, method, tmp_path / "cut", stop_at=stop)
    found = checkpoint.latest(tmp_path / "cut")
    assert found is not None
    assert found[0] == 3
    assert_same(train(plan, pixels, method, tmp_path / "cut"), whole)


def test_going_on_in_bf16_is_bit_equal(plans: Any, tmp_path: Path) -> None:
    plan, pixels = plans("adamw")
    with pytest.raises(Stopped):
        train(plan, pixels, "supervised", tmp_path / "cut", stop_at=2, bf16=True)
    assert_same(train(plan, pixels, "supervised", tmp_path / "cut", bf16=True), train(plan, pixels, "supervised", tmp_path / "whole", bf16=True))


def flip(path: Path, at: int) -> None:
    data = bytearray(path.read_bytes())
    data[at] ^= 1
    path.write_bytes(data)


DAMAGE: dict[str, Callable[[Path], object]] = {
    "truncated": lambda tensors: tensors.write_bytes(tensors.read_bytes()[:-7]),
    "empty": lambda tensors: tensors.write_bytes(b""),
    "a bit of a weight": lambda tensors: flip(tensors, -50),
    "a bit of the header": lambda tensors: flip(tensors, 3),
    "no tensors": lambda tensors: tensors.unlink(),
    "truncated record": lambda tensors: (r := tensors.with_suffix(".json")).write_text(r.read_text()[:-9]),
    "empty record": lambda tensors: tensors.with_suffix(".json").write_text(""),
    "another record": lambda tensors: tensors.with_suffix(".json").write_text("[]"),
    "a record that is no text": lambda tensors: tensors.with_suffix(".json").write_bytes(b"\xff\x00"),
    "a record of another file": lambda tensors: tensors.with_suffix(".json").write_text(json.dumps({"step": 3, "sha256": "0" * 64, "meta": {}})),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_checkpoint_is_passed_over_for_the_one_before(damage: str, tmp_path: Path) -> None:
    for step in (1, 2, 3):
        checkpoint.write(tmp_path, step, {"w": torch.full((32,), float(step))}, {"seconds": 0.5 * step})
    DAMAGE[damage](tmp_path / "step-0000000003.safetensors")
    found = checkpoint.latest(tmp_path)
    assert found is not None
    step, tensors, meta = found
    assert (step, meta) == (2, {"seconds": 1.0})
    assert torch.equal(tensors["w"], torch.full((32,), 2.0))


def test_the_last_two_checkpoints_are_kept_and_nothing_else_lies_about(tmp_path: Path) -> None:
    assert checkpoint.latest(tmp_path / "none") is None
    for step in range(5):
        checkpoint.write(tmp_path, step, {"w": torch.zeros(1)}, {})
    assert sorted(path.name for path in tmp_path.iterdir()) == [f"step-{step:010d}.{end}" for step in (3, 4) for end in ("json", "safetensors")]


def test_training_after_a_damaged_checkpoint_is_bit_equal_too(plans: Any, tmp_path: Path) -> None:
    plan, pixels = plans("adamw")
    whole = train(plan, pixels, "supervised", tmp_path / "whole")
    with pytest.raises(Stopped):
        train(plan, pixels, "supervised", tmp_path / "cut", stop_at=3)
    flip(tmp_path / "cut" / "step-0000000003.safetensors", -50)
    assert_same(train(plan, pixels, "supervised", tmp_path / "cut"), whole)


def test_a_loss_that_is_no_number_ends_training_as_diverged(plans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, pixels = plans("adamw")
    from headwater.methods.supervised import Supervised

    monkeypatch.setattr(Supervised, "loss", lambda self, embeddings, positions, epochs: embeddings.sum() * float("nan"))
    with pytest.raises(pretrain.Diverged, match="loss nan at step 0"):
        train(plan, pixels, "supervised", tmp_path)


def test_a_diverged_arm_is_final_and_its_cells_are_rows_with_the_reason(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from headwater import work
    from headwater.engines import local
    from headwater.methods.supervised import Supervised
    from headwater.store import Store

    monkeypatch.setattr(Supervised, "loss", lambda self, embeddings, positions, epochs: embeddings.sum() * float("inf"))
    store = Store(tmp_path / "store", create=True)
    plan = Plan.make(Study.model_validate(tiny(methods=["supervised"])), cache=store.cache)
    compute = device.Compute(torch.device("cpu"), False)
    work.run_arm(plan, plan.arms[0], store, compute)
    work.run_cells(plan, plan.arms[0], "other", plan.cells, store, compute)
    rows = plan.rows(store)
    assert len(rows) == 4
    assert set(rows["status"]) == {"diverged"}
    assert rows["reason"].str.fullmatch(r"pre-training: loss (nan|-?inf) at step 0").all()
    assert rows["value"].isna().all()
    assert local.pending(plan, store) == local.Pending([], [])


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_learning_rate_of_a_million_is_done_or_diverged_but_never_failed(optimiser: str, tmp_path: Path) -> None:
    from headwater import work
    from headwater.store import Store

    store = Store(tmp_path / "store", create=True)
    words = tiny(methods=["supervised"], recipe={**tiny()["recipe"], "lr": 1e6, "optimiser": optimiser}, budget={"steps": 8})
    words["protocols"] = {"probe": {}, "finetune": {"steps": 4, "lr": 1e6, "looks": 1}}
    plan = Plan.make(Study.model_validate(words), cache=store.cache)
    compute = device.Compute(torch.device("cpu"), False)
    work.run_arm(plan, plan.arms[0], store, compute)
    work.run_cells(plan, plan.arms[0], "other", plan.cells, store, compute)
    rows = plan.rows(store)
    assert set(rows["cell"]) == {cell.id for cell in plan.cells}
    assert set(rows["status"]) <= {"done", "diverged"}
    assert (rows["reason"].notna() == (rows["status"] == "diverged")).all()
    assert np.isfinite(rows["value"].dropna().to_numpy(dtype=float)).all()
