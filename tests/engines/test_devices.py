"""Which worker computes on which GPU, and when an arm begins there; GPUs are pretended."""

from __future__ import annotations

import subprocess
import sys
from collections import deque
from pathlib import Path
from typing import Any

import pytest
import torch

from headwater import api
from headwater.cost import memory
from headwater.device import Compute
from headwater.engines.cores import default_workers, devices_of
from headwater.engines.pool import Pool
from headwater.engines.schedule import Unit
from headwater.errors import InputError
from headwater.plan import Plan
from headwater.study import Study
from tests.conftest import Finished


@pytest.fixture
def two_gpus(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)


def test_every_gpu_has_a_worker_and_more_workers_share_them(two_gpus: None) -> None:
    assert default_workers("cuda") == 2 and default_workers("auto") == 2
    assert default_workers("cuda:1") == 1
    assert devices_of(torch.device("cuda"), 5) == ["cuda:0", "cuda:1", "cuda:0", "cuda:1", "cuda:0"]
    assert devices_of(torch.device("cuda:1"), 2) == ["cuda:1", "cuda:1"]
    assert devices_of(torch.device("cpu"), 2) == ["cpu", "cpu"]


class Silent(Pool[Unit]):
    def on_event(self, kind: str, number: int, unit: Unit, fields: dict[str, Any]) -> None:
        pass

    def failed(self, unit: Unit, reason: str) -> None:
        pass


def test_who_takes_the_place_of_a_worker_has_its_gpu(tmp_path: Path) -> None:
    setting = {"devices": ["cuda:0", "cuda:1", "cuda:0", "cuda:1"], "threads": 1}
    pool = Silent((), setting, tmp_path, deque())

    def started(number: int) -> str:
        device = str(pool._own_setting(number)["device"])
        pool._processes[number] = None  # type: ignore[assignment]
        return device

    assert [started(number) for number in range(4)] == ["cuda:0", "cuda:1", "cuda:0", "cuda:1"]
    del pool._processes[1]
    assert started(4) == "cuda:1"
    for number in (0, 2):
        del pool._processes[number]
    assert [started(5), started(6)] == ["cuda:0", "cuda:0"]


def test_an_arm_waits_until_its_memory_is_free(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    free, slept = [1e9, 1e9, 3e9], list[float]()
    monkeypatch.setattr(
        torch.cuda, "mem_get_info", lambda device: (free.pop(0) if len(free) > 1 else free[0], 8e9)
    )
    gpu = torch.device("cuda:0")
    memory.wait_for_memory(gpu, 2e9, "train x", sleep=slept.append)
    assert len(slept) == 2 and "train x: waits for 2.0 GB of memory on cuda:0" in caplog.text
    with pytest.raises(InputError, match=r"needs about 9\.0 GB of memory, and cuda:0 has 8\.0"):
        memory.wait_for_memory(gpu, 9e9, "train x", sleep=slept.append)
    free[:] = [1e9]
    memory.wait_for_memory(gpu, 2e9, "train x", stopped=lambda: True, sleep=slept.append)
    assert len(slept) == 2
    memory.wait_for_memory(gpu, 2e9, "train x", sleep=slept.append)
    assert sum(slept[2:]) == pytest.approx(memory._LONGEST_S)
    memory.wait_for_memory(torch.device("cpu"), 1e15, "train x")


def test_memory_is_that_of_the_layers_and_of_the_optimiser(
    finished: Finished, tmp_path: Path
) -> None:
    plan = Plan.make(Study.load(finished.study), cache=tmp_path / "cache")
    by_method = {arm.words.method: arm for arm in plan.arms}
    half, full = Compute(torch.device("cpu"), True), Compute(torch.device("cpu"), False)
    arm = by_method["supervised"]
    assert memory.training_bytes(plan, by_method["scratch"], full) == 0.0
    own = memory.training_bytes(plan, arm, full) - memory._OWN_BYTES
    # what torch keeps for the gradients of this very batch, counted by torch itself
    kept = _saved_bytes(plan, arm.recipe.batch if arm.recipe else 0)
    assert 0.5 * kept < own < 4 * kept
    assert memory.training_bytes(plan, arm, half) < memory.training_bytes(plan, arm, full)


def _saved_bytes(plan: Plan, batch: int) -> int:
    from headwater import models

    encoder = models.build_encoder(plan.study.backbone, plan.study.image_size, seed=0)
    sizes = dict[int, int]()

    def pack(tensor: torch.Tensor) -> torch.Tensor:
        sizes[tensor.untyped_storage().data_ptr()] = tensor.untyped_storage().nbytes()
        return tensor

    side = plan.study.image_size
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        encoder.train()(torch.zeros(batch, 3, side, side)).sum()
    return sum(sizes.values())


def test_plan_says_what_the_disk_has(finished: Finished, tmp_path: Path) -> None:
    facts = api.plan_facts(finished.study, store=finished.store)
    assert facts["cost"]["disk_free_mb"] > 0


def test_a_unit_that_is_begun_anew_has_no_deaths_of_another(tmp_path: Path) -> None:
    """Objects get the identity of those that are gone; deaths must not."""
    told = list[str]()

    class Counting(Silent):
        def failed(self, unit: Unit, reason: str) -> None:
            told.append(reason)

        def again(self, unit: Unit, reason: str, *, may_pass: bool) -> bool:
            return True

    pool = Counting((), {"threads": 1}, tmp_path, deque())
    for number in range(6):
        unit = Unit(None, str(number))  # type: ignore[arg-type]
        pool._awake.add(number)
        pool._busy[number] = unit
        pool._processes[number] = subprocess.Popen(
            [sys.executable, "-c", ""], stdin=subprocess.PIPE
        )  # type: ignore[assignment]
        pool._died(number)
        del unit
    assert told == []
