"""What a study will cost before it runs: images, FLOPs, time and disk.

An estimate, from a second's calibration on this machine.
"""

from __future__ import annotations

import time
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import torch

from headwater import device, keys, models
from headwater.methods.supervised import SupervisedRecipe
from headwater.plan import Plan, PlannedArm, PlannedCell
from headwater.registry import PROTOCOLS
from headwater.tasks import Task
from headwater.views import ViewMaker

if TYPE_CHECKING:
    from headwater.transfer.protocols import Expense

_BACKWARD = 3.0
"""Forward and backward against forward alone."""
_CALIBRATION_BATCH = 64
_PROBE_FLOPS_PER_S = 3e10
_PAIRS_PER_S, _ALIGNED_PER_S = 2e6, 500.0
"""Pairs compared and images aligned by one core in search of copies of test images
(docs/leakage.md) [ours].
"""
_STARTUP_S = 10.0


@dataclass(frozen=True)
class Cost:
    """What is still to be done."""

    pretrain_images: int
    """Images through pre-training (not views)."""
    finetune_images: int
    flops: float
    hours: float
    """With all workers at work."""
    disk_mb: float
    images_per_s: float
    """Training images per second of one worker, as calibrated."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def estimate(
    plan: Plan, arms: list[PlannedArm], cells: list[PlannedCell], *, device_name: str, workers: int
) -> Cost:
    """The cost of training `arms` and measuring `cells`."""
    study = plan.study
    encoder = models.build_encoder(
        study.backbone, study.image_size, seed=0, patch_size=study.patch_size
    )
    forward = models.forward_flops(encoder, study.image_size)
    train_rate = _calibrate(encoder, study.image_size, device.resolve(device_name, study.precision))
    image_flops = {
        (arm.words.method, arm.recipe): arm.method.image_flops(
            arm.recipe, encoder, study.image_size
        )
        for arm in arms
        if arm.recipe is not None
    }
    trained = sum(
        arm.images_seen * image_flops[arm.words.method, arm.recipe]
        for arm in arms
        if arm.recipe is not None
    )
    benches = {(cell.arm.id, cell.words.task) for cell in cells}
    labelled = [
        (arm, _feature_cost(arm, forward, study.image_size)) for arm in arms if arm.clusters
    ]
    extracted = sum(_images(plan.tasks[name]) for _, name in benches)
    features = int(encoder.num_features)  # type: ignore[arg-type]
    expenses = [_expense(plan, cell, features) for cell in cells]
    finetuned = sum(expense.images for expense in expenses)
    probes = sum(expense.flops for expense in expenses)
    features_flops = sum(flops * len(arm.positions) for arm, (flops, _) in labelled)
    decoded = sum({(arm.source_fingerprint, size): size for arm, (_, size) in labelled}.values())
    tests = (
        {
            name: (task.source.fingerprint(task.test), len(task.test))
            for name, task in plan.tasks.items()
        }
        if cells
        else {}
    )
    looked = [
        (cell.arm, *tests[cell.words.task])
        for cell in cells
        if plan.looks_for_copies(cell.arm.words.source, cell.words.task)
    ]
    looks = {
        (arm.source_fingerprint, test): (len(arm.positions), count) for arm, test, count in looked
    }
    looking = sum(
        images * count / _PAIRS_PER_S + (images + count) / _ALIGNED_PER_S
        for images, count in looks.values()
    )
    seconds = (
        looking
        + (trained / (_BACKWARD * forward) + finetuned) / train_rate
        + (extracted + features_flops / forward) / (_BACKWARD * train_rate)
        + probes / _PROBE_FLOPS_PER_S
    )
    weights = sum(t.numel() * t.element_size() for t in encoder.state_dict().values())
    side = round(1.25 * study.image_size)
    frozen = {(c.arm.id, c.words.task) for c in cells if not PROTOCOLS[c.words.protocol].tuned}
    kept = 4 * features * sum(_images(plan.tasks[name]) for _, name in frozen)
    cached = (
        sum(len(source.table) for source in plan.sources.values()) * side * side * 3 * 1.1
        if cells
        else 0
    )
    return Cost(
        pretrain_images=sum(arm.images_seen for arm in arms),
        finetune_images=finetuned,
        flops=trained + forward * (_BACKWARD * finetuned + extracted) + features_flops + probes,
        hours=(seconds / workers + _STARTUP_S) / 3600 if cells else 0.0,
        disk_mb=(len(arms) * weights + kept + cached + decoded + 3e4 * len(cells) / 10) / 1e6,
        images_per_s=train_rate,
    )


def _feature_cost(arm: PlannedArm, forward: float, image_size: int) -> tuple[float, float]:
    """(FLOPs an image, bytes of decoded images to keep) of the features that an arm's clusters are
    made from: a timm model has a size of its own.
    """
    assert arm.clusters is not None
    if arm.clusters.file is not None:
        return 0.0, 0.0
    if arm.clusters.timm is None:
        return forward, 0.0
    flops, size = models.timm_cost(arm.clusters.timm)
    return flops, len(arm.positions) * (1.25 * size) ** 2 * 3


def _images(task: Task) -> int:
    return len(task.train) + len(task.val) + len(task.test)


def _expense(plan: Plan, cell: PlannedCell, num_features: int) -> Expense:
    """What a cell costs beside the features of its task's images."""
    words = plan.study.protocols.asked(cell.words.protocol)
    task = plan.tasks[cell.words.task]
    return PROTOCOLS[cell.words.protocol].cost(words, task, cell.words.shots, num_features)


def _calibrate(encoder: torch.nn.Module, image_size: int, compute: device.Compute) -> float:
    """Training images per second of one worker: views, forward, backward, on random images, one
    thread on the CPU; median of 3 batches.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        encoder = encoder.to(compute.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        side = round(1.25 * image_size)
        n = _CALIBRATION_BATCH
        images = torch.randint(0, 256, (n, side, side, 3), dtype=torch.uint8, device=compute.device)
        sizes = torch.full((n, 2), side, device=compute.device)
        views = ViewMaker(SupervisedRecipe().augmentation, image_size, 0)
        hashes = keys.sample_hashes([str(i) for i in range(n)])
        times = []
        for _ in range(4):
            began = time.perf_counter()
            with compute.autocast():
                loss = encoder(views(images, sizes, hashes, hashes * 0, 0)).float().square().mean()
            float(loss.detach())
            loss.backward()
            times.append(time.perf_counter() - began)
        return n / sorted(times[1:])[1]
    finally:
        torch.set_num_threads(threads)
