"""How much memory training takes, on a GPU and of its machine, and whether a GPU has it free."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import torch

from headwater import models
from headwater.cost.encoder import by_recipe
from headwater.cost.estimate import images_of
from headwater.cost.kept import known
from headwater.device import Compute
from headwater.digests import tell
from headwater.errors import InputError
from headwater.registry import PROTOCOLS

if TYPE_CHECKING:
    from headwater.plan import Plan, PlannedArm

_STATE_BYTES = 16
"""A parameter's: weight, gradient and two moments of the optimiser in fp32."""
_OWN_BYTES = 1 << 29
"""What CUDA and its libraries take before the first tensor [recalled: 0.3 to 0.6 GB]."""
_SPARE = 1.2
"""What the allocator holds beside what is used [ours]."""
_PROCESS_BYTES = {"cpu": 1.2e9, "cuda": 4e9}
"""Of the machine's memory, what a worker takes before it has any data [ours]: on a processor it
held 1.2 GB with the smallest models (benchmarks/memory.md); CUDA's share is [recalled].
"""
_COPIES = 8.0
"""Of a task's features, while a probe is fitted on them [ours]: 0.3 GB more were held with 20,000
images, of which the features are 0.04 (benchmarks/memory.md).
"""
_WAIT_S, _LONGEST_S = 5.0, 3600.0


def training_bytes(plan: Plan, arm: PlannedArm, compute: Compute) -> float:
    """An estimate of the bytes that an arm takes in training: parameters with their gradients and
    the optimiser's state, and what the encoder's layers give for one batch of views, which is kept
    for the gradients. Heads and a text tower are not counted.
    """
    study, recipe = plan.study, arm.recipe
    if recipe is None:
        return 0.0
    encoder = arm.method.prepared(_encoder(plan), recipe, study.image_size)
    batch = recipe.micro_batch or recipe.batch
    values = 0.0
    for crop in arm.method.crops(recipe, study.image_size):
        side = crop.image_size or study.image_size
        values += crop.count * batch * _values_of_layers(encoder, side)
    return _OWN_BYTES + _held(encoder, values, compute)


def worker_bytes(plan: Plan, device: str) -> float:
    """An estimate of the bytes that a worker process takes of its machine's memory, a GPU's not
    counted. `device` is cpu or cuda. Decoded images are not counted either: they are read from the
    cache on disk, and what the system keeps of them it gives back. Neither is what clusters take,
    and models whose features they are made of.
    """
    tasks = {cell.words.task for cell in plan.cells}
    images = max((images_of(plan.tasks[task]) for task in tasks), default=0)
    features = _COPIES * 4 * known(plan, torch.device(device)).num_features * images
    trained = _trained_bytes(plan) if device == "cpu" else 0.0
    return _PROCESS_BYTES[device] + trained + features


def _trained_bytes(plan: Plan) -> float:
    """The most that an arm, or a fine-tuning, takes of a processor's memory."""
    compute = Compute(torch.device("cpu"), bf16=False)
    arms = dict(by_recipe(plan.every_arm)).values()
    most = max((training_bytes(plan, arm, compute) - _OWN_BYTES for arm in arms), default=0.0)
    asked = {cell.words.protocol for cell in plan.cells}
    words = [plan.study.protocols.asked(name) for name in asked if PROTOCOLS[name].tuned]
    if not words:
        return most
    encoder = _encoder(plan)
    values = _values_of_layers(encoder, plan.study.image_size)
    batch = max(getattr(each, "batch", 0) for each in words)
    return max(most, _held(encoder, batch * values, compute))


def _encoder(plan: Plan) -> torch.nn.Module:
    study = plan.study
    return models.build_encoder(
        study.backbone, study.image_size, seed=0, patch_size=study.patch_size
    )


def _held(encoder: torch.nn.Module, values: float, compute: Compute) -> float:
    """Bytes of an encoder in training, with so many values kept for the gradients."""
    parameters = sum(each.numel() for each in encoder.parameters())
    return _SPARE * (_STATE_BYTES * parameters + values * (2 if compute.bf16 else 4))


def _values_of_layers(encoder: torch.nn.Module, side: int) -> int:
    """Numbers that all layers of an encoder give for one image; those that work in place, or do
    nothing, give none of their own.
    """
    total = 0

    def count(layer: torch.nn.Module, given: tuple[object, ...], made: object) -> None:
        nonlocal total
        places = {each.data_ptr() for each in given if isinstance(each, torch.Tensor)}
        if isinstance(made, torch.Tensor) and made.data_ptr() not in places:
            total += made.numel()

    leaves = [layer for layer in encoder.modules() if not list(layer.children())]
    hooks = [layer.register_forward_hook(count) for layer in leaves]
    try:
        encoder.eval()
        with torch.no_grad():
            encoder(torch.zeros(1, 3, side, side))
    finally:
        for hook in hooks:
            hook.remove()
    return total


def wait_for_memory(
    device: torch.device,
    needed: float,
    title: str,
    *,
    stopped: Callable[[], bool] = lambda: False,
    sleep: Callable[[float], None] = time.sleep,
) -> None:
    """Returns when a GPU has so many bytes free, or after an hour, as an estimate may be wrong.

    Raises InputError where it has less in all.
    """
    if device.type != "cuda":
        return
    free, total = torch.cuda.mem_get_info(device)
    if needed > total:
        raise InputError(
            f"{title}: needs about {needed / 1e9:.1f} GB of memory, and {device} has "
            f"{total / 1e9:.1f}; `recipe: {{micro_batch: ...}}` trains in smaller parts, and "
            "several GPUs train one arm together (docs/cluster.md)"
        )
    if needed > free:
        tell(
            f"{title}: waits for {needed / 1e9:.1f} GB of memory on {device}, where "
            f"{free / 1e9:.1f} are free"
        )
    waited = 0.0
    while needed > free and waited < _LONGEST_S and not stopped():
        sleep(_WAIT_S)
        waited += _WAIT_S
        free, _ = torch.cuda.mem_get_info(device)
