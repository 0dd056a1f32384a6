"""What is counted and measured of a study's encoder. It loads torch and timm, which takes
seconds.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

import torch

from headwater import device, keys, models
from headwater.cost.encoder import Measured
from headwater.cost.guess import FLOPS_PER_S
from headwater.errors import blamed_on
from headwater.methods import check_encoder
from headwater.methods.supervised import SupervisedRecipe
from headwater.plan import PlannedArm
from headwater.study import Study
from headwater.views import ViewMaker

if TYPE_CHECKING:
    from torch import nn

_BATCH = 64
_FULL_SIZE = 128
"""Up to this side of its images, in pixels, a batch is a full one; above it has as many pixels: at
1,024 px a full batch took 10.9 GB.
"""
_MOST_FLOPS = 1e11
"""Forward FLOPs of a batch: what a network keeps for its backward pass grows with them."""


def batch_of(image_size: int, forward_flops: float) -> int:
    """Images of a batch that is measured, so that a plan takes little memory whatever it plans."""
    by_pixels = _BATCH * (_FULL_SIZE / max(_FULL_SIZE, image_size)) ** 2
    return max(1, min(_BATCH, int(by_pixels), int(_MOST_FLOPS / max(1.0, forward_flops))))


def measure(
    study: Study,
    arms: Mapping[str, PlannedArm],
    timm_names: Sequence[str],
    *,
    device_name: str,
    batch_is_split: bool,
) -> Measured:
    """Build the study's encoder, count its FLOPs and measure how fast it trains.

    `arms` are one for each method and recipe, by what `Measured.image_flops` calls them;
    `timm_names` are models whose features labels are made from. Raises InputError for a backbone
    that timm lacks or that does not take such images (with the study's line), and for a device that
    is not there.
    """
    compute = device.resolve(device_name, study.precision)
    encoder, counts = _counted(study, arms, timm_names)
    batch = batch_of(study.image_size, counts["forward_flops"])
    return Measured(
        **counts,
        notes=models.notes(
            study.backbone, study.image_size, study.patch_size, batch_is_split=batch_is_split
        ),
        images_per_s=images_per_s(encoder, study.image_size, compute, batch),
        device=compute.device.type,
        date=datetime.now(UTC).date().isoformat(),
    )


def count(
    study: Study, arms: Mapping[str, PlannedArm], timm_names: Sequence[str], device_type: str
) -> Measured:
    """As `measure`, but with a guess of the rate: nothing is trained for it."""
    _, counts = _counted(study, arms, timm_names)
    rate = FLOPS_PER_S.get(device_type, FLOPS_PER_S["cpu"]) / (3.0 * counts["forward_flops"])
    return Measured(**counts, notes=[], images_per_s=rate, device=device_type, date=None)


def _counted(
    study: Study, arms: Mapping[str, PlannedArm], timm_names: Sequence[str]
) -> tuple[nn.Module, dict[str, Any]]:
    """(encoder, what is counted of it, by field of `Measured`)."""
    size, patch = study.image_size, study.patch_size
    with study.located(), blamed_on("backbone" if patch is None else "patch_size"):
        encoder = models.build_encoder(study.backbone, size, seed=0, patch_size=patch)
        check_encoder(encoder, size, {arm.words.method: arm.recipe for arm in arms.values()})
    counts = {
        "forward_flops": models.forward_flops(encoder, size),
        "num_features": int(encoder.num_features),  # type: ignore[arg-type]
        "weight_bytes": sum(t.numel() * t.element_size() for t in encoder.state_dict().values()),
        "image_flops": {
            key: arm.method.image_flops(arm.recipe, encoder, size) for key, arm in arms.items()
        },
        "timm": {name: models.timm_cost(name) for name in timm_names},
    }
    return encoder, counts


def images_per_s(
    encoder: nn.Module, image_size: int, compute: device.Compute, batch: int = _BATCH
) -> float:
    """Training images per second of one worker: views, forward, backward, on random images, one
    thread on the CPU; median of 3 batches of `batch` images.
    """
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    try:
        encoder = encoder.to(compute.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        side = round(1.25 * image_size)
        images = torch.randint(
            0, 256, (batch, side, side, 3), dtype=torch.uint8, device=compute.device
        )
        sizes = torch.full((batch, 2), side, device=compute.device)
        views = ViewMaker(SupervisedRecipe().augmentation, image_size, 0)
        hashes = keys.sample_hashes([str(i) for i in range(batch)])
        times = []
        for _ in range(4):
            began = time.perf_counter()
            with compute.autocast():
                loss = encoder(views(images, sizes, hashes, hashes * 0, 0)).float().square().mean()
            float(loss.detach())
            loss.backward()
            times.append(time.perf_counter() - began)
        return batch / sorted(times[1:])[1]
    finally:
        torch.set_num_threads(threads)
