"""Checkpoints: a run that goes on from one ends with the bits of a run that never stopped, damage
is passed over, and nothing torn is written.
"""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from headwater import checkpoint, device, errors, keys, methods, models, pretrain
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
        plan = Plan.make(
            Study.model_validate(
                tiny(
                    recipe=recipe, budget={"steps": STEPS}, methods=["supervised", "simclr", "clip"]
                )
            )
        )
        source, at = plan.sources["paint"], plan.arms[0].positions
        return plan, PixelCache.build(
            source, at, 32, folder / "paint", fingerprint=source.fingerprint(at)
        )

    return make


def train(
    plan: Plan,
    pixels: PixelCache,
    method_name: str,
    folder: Path,
    *,
    stop_at: int | None = None,
    asked_at: int | None = None,
    bf16: bool = False,
) -> dict[str, Any]:
    """The state after training, with a checkpoint after every step; with `stop_at` the loop is left
    by an exception after that many steps. With `asked_at` it is asked to stop after that many, and
    writes no other checkpoint.
    """
    arm = next(arm for arm in plan.arms if arm.words.method == method_name)
    assert arm.source is not None
    assert arm.recipe is not None
    assert arm.recipe.batch is not None
    hashes = keys.sample_hashes(list(arm.source.table.ids[arm.positions]))
    encoder = models.build_encoder("tiny", 32, seed=0)
    method = methods.build(
        method_name,
        encoder,
        recipe=arm.recipe,
        seed=0,
        targets=arm.targets,
        captions=arm.captions,
        hashes=hashes,
    )
    order = Order(hashes, arm.images_seen, arm.recipe.batch, 0)
    steps = order.steps

    class Killed(Order):
        def at(self, step: int) -> Any:
            if step == stop_at:
                raise Stopped
            return super().at(step)

    asked = itertools.count(1)
    killed = Killed(hashes, arm.images_seen, arm.recipe.batch, 0)
    assert steps == STEPS
    outcome, curve = pretrain.pretrain(
        method,
        pixels,
        killed,
        arm.recipe,
        image_size=32,
        seed=0,
        compute=device.Compute(torch.device("cpu"), bf16),
        checkpoints=folder,
        checkpoint_every_s=-1 if asked_at is None else 1e9,
        stop=lambda: asked_at is not None and next(asked) == asked_at,
    )
    return {
        **method.state_dict(),
        "loss": torch.tensor(outcome.last_loss),
        "curve": torch.tensor([point["loss"] for point in curve]),
    }


def assert_same(one: dict[str, Any], other: dict[str, Any]) -> None:
    assert one.keys() == other.keys()
    for name in one:
        assert torch.equal(one[name], other[name]), name


@pytest.mark.parametrize("optimiser", ["adamw", pytest.param("sgd", marks=pytest.mark.slow)])
@pytest.mark.parametrize("method", ["supervised", "simclr", "clip"])
def test_training_that_goes_on_from_a_checkpoint_is_bit_equal(
    method: str, optimiser: str, plans: Any, tmp_path: Path
) -> None:
    plan, pixels = plans(optimiser)
    whole = train(plan, pixels, method, tmp_path / "whole")
    for stop in (1, 3):  # killed twice
        with pytest.raises(Stopped):
            train(plan, pixels, method, tmp_path / "cut", stop_at=stop)
    found = checkpoint.latest(tmp_path / "cut")
    assert found is not None
    assert found[0] == 3
    assert_same(train(plan, pixels, method, tmp_path / "cut"), whole)


def test_training_that_is_asked_to_stop_keeps_what_it_did(plans: Any, tmp_path: Path) -> None:
    plan, pixels = plans("adamw")
    for stop, step in ((2, 2), (1, 3)):
        with pytest.raises(errors.Stopped, match=f"after step {step} of {STEPS}"):
            train(plan, pixels, "simclr", tmp_path / "cut", asked_at=stop)
        found = checkpoint.latest(tmp_path / "cut")
        assert found is not None and found[0] == step
    whole = train(plan, pixels, "simclr", tmp_path / "whole")
    assert_same(train(plan, pixels, "simclr", tmp_path / "cut"), whole)


def test_going_on_in_bf16_is_bit_equal(plans: Any, tmp_path: Path) -> None:
    plan, pixels = plans("adamw")
    with pytest.raises(Stopped):
        train(plan, pixels, "supervised", tmp_path / "cut", stop_at=2, bf16=True)
    assert_same(
        train(plan, pixels, "supervised", tmp_path / "cut", bf16=True),
        train(plan, pixels, "supervised", tmp_path / "whole", bf16=True),
    )


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
    "truncated record": lambda tensors: (r := tensors.with_suffix(".json")).write_text(
        r.read_text()[:-9]
    ),
    "empty record": lambda tensors: tensors.with_suffix(".json").write_text(""),
    "another record": lambda tensors: tensors.with_suffix(".json").write_text("[]"),
    "a record that is no text": lambda tensors: tensors.with_suffix(".json").write_bytes(
        b"\xff\x00"
    ),
    "a record of another file": lambda tensors: tensors.with_suffix(".json").write_text(
        json.dumps({"step": 3, "sha256": "0" * 64, "meta": {}})
    ),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_damaged_newest_checkpoint_is_passed_over_for_the_one_before(
    damage: str, tmp_path: Path
) -> None:
    for step in (1, 2, 3):
        checkpoint.write(
            tmp_path, step, {"w": torch.full((32,), float(step))}, {"seconds": 0.5 * step}
        )
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
    assert sorted(path.name for path in tmp_path.iterdir()) == [
        f"step-{step:010d}.{end}" for step in (3, 4) for end in ("json", "safetensors")
    ]


def two_checkpoints(folder: Path) -> tuple[Path, Path]:
    """Steps 7 and 8, with tensors of several types; the files of the newer one."""
    for step in (7, 8):
        tensors = {
            "w": torch.full((3, 5), float(step)),
            "h": torch.full((9,), step, dtype=torch.bfloat16),
            "n": torch.tensor(step),
        }
        checkpoint.write(
            folder,
            step,
            tensors,
            {"seconds": 0.1 * step, "fingerprint": "cpu fp32 threads=1 Some Processor"},
        )
    return folder / "step-0000000008.safetensors", folder / "step-0000000008.json"


def found_step(folder: Path) -> int | None:
    """The step of the newest whole checkpoint of `two_checkpoints`, all of whose values are
    right.
    """
    found = checkpoint.latest(folder)
    if found is None:
        return None
    step, tensors, meta = found
    assert meta == {"seconds": 0.1 * step, "fingerprint": "cpu fp32 threads=1 Some Processor"}
    assert tensors["w"].tolist() == [[float(step)] * 5] * 3
    assert tensors["h"].tolist() == [float(step)] * 9
    assert tensors["n"].item() == step
    return step


@pytest.mark.slow
@pytest.mark.parametrize("which", [0, 1], ids=["tensors", "record"])
def test_any_flipped_bit_of_the_newest_checkpoint_leads_to_the_one_before_or_changes_nothing(
    which: int, tmp_path: Path
) -> None:
    """All values are checked, step and meta too.

    Nothing is changed where a flip leaves the same JSON, which no bit of the tensors' file does.
    """
    path = two_checkpoints(tmp_path)[which]
    whole = path.read_bytes()
    random = np.random.default_rng(0)
    bits = random.permutation(8 * len(whole))[:800]
    steps = []
    for bit in bits.tolist():
        data = bytearray(whole)
        data[bit // 8] ^= 1 << bit % 8
        path.write_bytes(data)
        steps.append(found_step(tmp_path))
    assert set(steps) <= {7, 8}
    assert steps.count(8) <= (0.02 * len(steps) if which else 0)
    path.write_bytes(whole)
    assert found_step(tmp_path) == 8


@pytest.mark.parametrize("which", [0, 1], ids=["tensors", "record"])
def test_a_checkpoint_truncated_anywhere_leads_to_the_one_before(
    which: int, tmp_path: Path
) -> None:
    path = two_checkpoints(tmp_path)[which]
    whole = path.read_bytes()
    for keep in range(0, len(whole), 3):
        path.write_bytes(whole[:keep])
        assert found_step(tmp_path) == 7
    path.write_bytes(whole + b"\0")
    assert found_step(tmp_path) == 7


def test_with_both_damaged_there_is_none(tmp_path: Path) -> None:
    tensors, _ = two_checkpoints(tmp_path)
    flip(tensors, -1)
    (tmp_path / "step-0000000007.json").unlink()
    assert checkpoint.latest(tmp_path) is None


def test_what_a_run_writes_counts_though_a_later_step_lies_there(tmp_path: Path) -> None:
    """The later steps are damaged, or another kind of machine wrote them: the run went on from
    before, and must find its own when it is killed again.
    """
    for step in (90, 100, 5, 10):
        checkpoint.write(tmp_path, step, {"w": torch.full((4,), float(step))}, {})
        found = checkpoint.latest(tmp_path)
        assert found is not None
        assert found[0] == step
        time.sleep(0.02)  # a tick of the disk's clock
    assert sorted(path.stem for path in tmp_path.glob("*.json")) == [
        "step-0000000005",
        "step-0000000010",
    ]


def test_what_kills_left_behind_goes_when_it_is_older_than_what_is_kept(tmp_path: Path) -> None:
    for name in (
        "step-0000000001.safetensors",
        ".step-0000000002.safetensors.0123456789ab.tmp",
        "other",
    ):
        (tmp_path / name).write_text("left")
    time.sleep(0.02)
    for step in (3, 4):
        checkpoint.write(tmp_path, step, {"w": torch.zeros(1)}, {})
    (tmp_path / ".step-0000000005.json.0123456789ab.tmp").write_text(
        "another process is writing this"
    )
    checkpoint.write(tmp_path, 4, {"w": torch.zeros(1)}, {})
    kept = [f"step-{step:010d}.{end}" for step in (3, 4) for end in ("json", "safetensors")]
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted(
        [*kept, "other", ".step-0000000005.json.0123456789ab.tmp"]
    )


def test_training_after_a_damaged_checkpoint_is_bit_equal_too(plans: Any, tmp_path: Path) -> None:
    plan, pixels = plans("adamw")
    whole = train(plan, pixels, "supervised", tmp_path / "whole")
    with pytest.raises(Stopped):
        train(plan, pixels, "supervised", tmp_path / "cut", stop_at=3)
    flip(tmp_path / "cut" / "step-0000000003.safetensors", -50)
    assert_same(train(plan, pixels, "supervised", tmp_path / "cut"), whole)


def test_a_loss_that_is_no_number_ends_training_as_diverged(
    plans: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plan, pixels = plans("adamw")
    from headwater.methods.supervised import Supervised

    monkeypatch.setattr(
        Supervised, "loss", lambda self, embeddings, *rest: embeddings[0].sum() * float("nan")
    )
    with pytest.raises(pretrain.Diverged, match="loss nan at step 0"):
        train(plan, pixels, "supervised", tmp_path)


def test_a_diverged_arm_is_final_and_its_cells_are_rows_with_the_reason(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headwater import work
    from headwater.engines import schedule
    from headwater.methods.supervised import Supervised
    from headwater.store import Store

    monkeypatch.setattr(
        Supervised, "loss", lambda self, embeddings, *rest: embeddings[0].sum() * float("inf")
    )
    store = Store(tmp_path / "store", create=True)
    plan = Plan.make(Study.model_validate(tiny(methods=["supervised"])), cache=store.cache)
    compute = device.Compute(torch.device("cpu"), False)
    work.run_arm(work.Session(plan, store, compute), plan.arms[0])
    work.run_cells(work.Session(plan, store, compute), plan.arms[0], "other", plan.cells)
    rows = plan.rows(store)
    assert len(rows) == 4
    assert set(rows["status"]) == {"diverged"}
    assert rows["reason"].str.fullmatch(r"pre-training: loss (nan|-?inf) at step 0").all()
    assert rows["value"].isna().all()
    assert schedule.pending(plan, store) == schedule.Pending([], [])


@pytest.mark.parametrize("optimiser", ["adamw", "sgd"])
def test_a_learning_rate_of_a_million_is_done_or_diverged_but_never_failed(
    optimiser: str, tmp_path: Path
) -> None:
    from headwater import work
    from headwater.store import Store

    store = Store(tmp_path / "store", create=True)
    words = tiny(
        methods=["supervised"],
        recipe={**tiny()["recipe"], "lr": 1e6, "optimiser": optimiser},
        budget={"steps": 8},
    )
    words["protocols"] = {"probe": {}, "finetune": {"steps": 4, "lr": 1e6, "looks": 1}}
    plan = Plan.make(Study.model_validate(words), cache=store.cache)
    compute = device.Compute(torch.device("cpu"), False)
    work.run_arm(work.Session(plan, store, compute), plan.arms[0])
    work.run_cells(work.Session(plan, store, compute), plan.arms[0], "other", plan.cells)
    rows = plan.rows(store)
    assert set(rows["cell"]) == {cell.id for cell in plan.cells}
    assert set(rows["status"]) <= {"done", "diverged"}
    assert (rows["reason"].notna() == (rows["status"] == "diverged")).all()
    assert np.isfinite(rows["value"].dropna().to_numpy(dtype=float)).all()


@pytest.mark.slow
def test_an_arm_killed_at_random_moments_ends_with_the_weights_of_one_that_nothing_disturbed() -> (
    None
):
    """A small run of the benchmark, which prints its random seed."""
    script = Path(__file__).parents[1] / "benchmarks" / "resume.py"
    command = [
        sys.executable,
        str(script),
        "--methods",
        "simclr",
        "--precision",
        "fp32",
        "--kills",
        "4",
        "--images",
        "19200",
        "--no-workers",
        "--json",
    ]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
    (result,) = json.loads(done.stdout)["results"]
    assert result["kills"] == 4
    assert result["finished"] >= 1
    assert result["different"] == 0
