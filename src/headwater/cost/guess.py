"""What can be told of common encoders without loading torch: so that a plan is there at once.

The forward FLOPs of these convolutional networks are proportional to the pixels of an image, as
counted by `headwater.models.forward_flops` (a test counts again). How fast a machine trains is a
guess until it has been measured.
"""

from __future__ import annotations

import os
import sys
from pathlib import Path

from headwater.cost.encoder import Measured, by_recipe
from headwater.methods import Method
from headwater.plan import Plan, PlannedArm

LEAST_SIDE = 32
CONVS = {
    "tiny": (8004.0, 96, 1_499_192),
    "test_resnet": (8004.0, 96, 1_499_192),
    "resnet18": (72_288.0, 512, 44_744_608),
    "resnet26": (93_280.0, 2048, 55_908_328),
    "resnet34": (146_016.0, 512, 85_207_072),
    "resnet50": (162_912.0, 2048, 94_245_032),
}
"""Backbone -> forward FLOPs of a pixel, features, bytes of weights."""
VITS = {("vit_base_patch16_224", 224): (35_126_120_448.0, 768, 343_194_624)}
"""(backbone, image size) -> forward FLOPs of an image, features, bytes of weights, counted so."""
TIMM = {"vit_large_patch14_clip_224.openai": 162_023_964_672.0}
"""FLOPs of an image through a timm model at its own size, counted so."""
FLOPS_PER_S = {"cpu": 6e10, "cuda": 5e12, "mps": 1e12}
"""Of one worker in training, by kind of device: `tiny` and resnet18 at 32 px came to 5.6e10 and
6.7e10 on one core of a server; the others are [ours].
"""
_ACCELERATORS = ("/dev/nvidiactl", "/dev/kfd", "/proc/driver/nvidia")


def guess(plan: Plan, device_name: str) -> Measured | None:
    """Of a common encoder on a processor; None where only torch can tell (another backbone, a
    method that counts in its own way, a machine that may have a GPU).
    """
    study = plan.study
    arms = [arm for arm in plan.every_arm if arm.recipe is not None]
    if (
        study.backbone not in CONVS
        or study.patch_size is not None
        or study.image_size < LEAST_SIDE
        or not (device_name == "cpu" or (device_name == "auto" and not _may_have_gpu()))
        or not all(_plain(arm) for arm in arms)
    ):
        return None
    size = study.image_size
    of_pixel, num_features, weight_bytes = CONVS[study.backbone]
    return Measured(
        forward_flops=of_pixel * size**2,
        num_features=num_features,
        weight_bytes=weight_bytes,
        image_flops={
            key: _image_flops(arm, of_pixel, size) for key, arm in dict(by_recipe(arms)).items()
        },
        timm={},
        notes=[],
        images_per_s=FLOPS_PER_S["cpu"] / (3.0 * of_pixel * size**2),
        device="cpu",
        date=None,
    )


def counts_plainly(method: type[Method]) -> bool:
    """Whether a method costs three forward passes of the encoder a view."""
    return (
        method.image_flops.__func__ is Method.image_flops.__func__  # type: ignore[attr-defined]
        and method.prepared.__func__ is Method.prepared.__func__  # type: ignore[attr-defined]
    )


def _plain(arm: PlannedArm) -> bool:
    """Whether an arm costs three forward passes a view, and nothing else needs to be looked at."""
    assert arm.recipe is not None
    of_timm = arm.clusters is not None and arm.clusters.timm is not None
    return counts_plainly(arm.method) and not arm.recipe.micro_batch and not of_timm


def _image_flops(arm: PlannedArm, of_pixel: float, image_size: int) -> float:
    crops = arm.method.crops(arm.recipe, image_size)
    return sum(3.0 * crop.count * of_pixel * (crop.image_size or image_size) ** 2 for crop in crops)


def _may_have_gpu() -> bool:
    if os.environ.get("CUDA_VISIBLE_DEVICES") == "":
        return sys.platform == "darwin"
    return sys.platform == "darwin" or any(Path(path).exists() for path in _ACCELERATORS)
