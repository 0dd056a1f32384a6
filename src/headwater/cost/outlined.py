"""The cost of a study that was outlined without its data: FLOPs, GPU-hours and disk.

FLOPs of common encoders were counted before; any other one is built without memory for its weights
and counted in seconds.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any, cast

from headwater.cost.estimate import BACKWARD, PROBE_FLOPS_PER_S, ROW_BYTES
from headwater.cost.gpus import GPUS, UTILISATION, Gpu
from headwater.cost.guess import CONVS, LEAST_SIDE, TIMM, VITS, counts_plainly
from headwater.errors import InputError, blamed_on
from headwater.plan.outline import Outline, OutlinedArm
from headwater.registry import METHODS, PROTOCOLS
from headwater.study import identity
from headwater.tasks import Task

if TYPE_CHECKING:
    from torch import nn

CONVOLUTIONS = 0.2
"""What convolutional networks reach of a GPU's peak [recalled] (headwater.cost.gpus)."""


@dataclass(frozen=True)
class OutlinedCost:
    """What a study takes."""

    pretrain_images: int
    """Images through pre-training (not views)."""
    pretrain_flops: float
    finetune_images: int
    finetune_flops: float
    feature_flops: float
    """Of features: of tasks' images, and of those that clusters are made from."""
    fit_core_hours: float
    """Of probes' fits, on a processor's core."""
    gpu_hours: float
    """All but these fits."""
    pretrain_gpu_hours: float
    gpu_hours_of_arm: tuple[float, ...]
    """Of pre-training, by arm, in the outline's order."""
    encoded_gb: float | None
    """The sources' images as they are downloaded, as many as the largest size of each takes; None
    where a recipe does not say how large they are.
    """
    cache_gb: float
    """The same decoded, if pixels are kept; streaming needs none of it."""
    tasks_cache_gb: float
    kept_gb: float
    """Weights, features of tasks' images, rows."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def gpu_named(name: str) -> Gpu:
    """Raises InputError, with the nearest name, for a GPU that is not known."""
    known = {gpu.casefold(): gpu for gpu in GPUS}
    if name.casefold() in known:
        return GPUS[known[name.casefold()]]
    near = difflib.get_close_matches(name.casefold(), known, n=1, cutoff=0.4)
    advice = f"; did you mean {known[near[0]]!r}?" if near else ""
    raise InputError(f"--gpu: {name!r} is none of {', '.join(GPUS)}{advice}")


def outlined_cost(
    outline: Outline, gpu: Gpu, utilisation: float = UTILISATION
) -> tuple[OutlinedCost, list[str]]:
    """The cost of an outline on a GPU that does `utilisation` of its peak, and notes on it.

    Raises InputError, with the study's line, for a backbone that timm lacks or that does not take
    such images, and for a utilisation that is no share.
    """
    if not 0 < utilisation <= 1:
        raise InputError(f"--utilisation: {utilisation:g} is no share above 0 and up to 1")
    network = _Network.known(outline) or _Network.counted(outline)
    trained = [arm for arm in (*outline.arms, *outline.supports) if arm.recipe is not None]
    flops = [arm.images_seen * network.image_flops[_key(arm)] for arm in trained]
    expenses = list(_expenses(outline, network.num_features))
    tuned = sum(images for images, _ in expenses)
    features = network.forward * sum(
        outline.tasks[task].images for _, task in _measured(outline)
    ) + _clustered(outline, network)
    rate = gpu.tflops * 1e12 * utilisation * 3600
    finetune = BACKWARD * network.forward * tuned
    cost = OutlinedCost(
        pretrain_images=sum(arm.images_seen for arm in trained),
        pretrain_flops=sum(flops),
        finetune_images=tuned,
        finetune_flops=finetune,
        feature_flops=features,
        fit_core_hours=sum(fits for _, fits in expenses) / PROBE_FLOPS_PER_S / 3600,
        gpu_hours=(sum(flops) + finetune + features) / rate,
        pretrain_gpu_hours=sum(flops) / rate,
        gpu_hours_of_arm=tuple(
            0.0 if arm.recipe is None else arm.images_seen * network.image_flops[_key(arm)] / rate
            for arm in outline.arms
        ),
        encoded_gb=_encoded(outline),
        cache_gb=sum(_largest(outline).values()) * _pixels(outline) / 1e9,
        tasks_cache_gb=sum(task.images for task in outline.tasks.values()) * _pixels(outline) / 1e9,
        kept_gb=_kept(outline, network, len(trained)) / 1e9,
    )
    return cost, list(_notes(outline, network, utilisation))


@dataclass(frozen=True)
class _Network:
    """What is counted of a study's encoder."""

    forward: float
    num_features: int
    weight_bytes: int
    patches: bool
    image_flops: dict[str, float]
    """By `_key`: what an image costs in training, its caption included."""
    timm: dict[str, float]
    """FLOPs of an image through models that clusters are made from."""

    @classmethod
    def known(cls, outline: Outline) -> _Network | None:
        """Of an encoder that was counted before, without torch, which takes seconds to load; None
        for another one, and for a method that counts in its own way.
        """
        study, size, arms = outline.study, outline.study.image_size, _recipes(outline)
        names = _of_timm(outline)
        plain = all(counts_plainly(METHODS[arm.words.method]) for arm in arms.values())
        if study.patch_size is not None or not plain or not set(names) <= set(TIMM):
            return None
        patches = (study.backbone, size) in VITS
        if patches:
            forward, num_features, weight_bytes = VITS[study.backbone, size]
        elif study.backbone in CONVS and size >= LEAST_SIDE:
            of_pixel, num_features, weight_bytes = CONVS[study.backbone]
            forward = of_pixel * size**2
        else:
            return None
        flops = {}
        for key, arm in arms.items():
            method, views = METHODS[arm.words.method], 0.0
            for crop in method.crops(arm.recipe, size):
                side = crop.image_size or size
                if patches and side != size:
                    return None
                views += crop.count * (side / size) ** 2
            flops[key] = 3.0 * views * forward + method.caption_flops(arm.recipe)
        timm = {name: TIMM[name] for name in names}
        return cls(forward, num_features, weight_bytes, patches, flops, timm)

    @classmethod
    def counted(cls, outline: Outline) -> _Network:
        """Of any encoder, built without memory for its weights."""
        import torch

        with torch.device("meta"):
            return cls._built(outline)

    @classmethod
    def _built(cls, outline: Outline) -> _Network:
        from headwater import models
        from headwater.methods import check_encoder

        study, size, arms = outline.study, outline.study.image_size, _recipes(outline)
        with study.located(), blamed_on("backbone" if study.patch_size is None else "patch_size"):
            encoder = models.build_encoder(
                study.backbone, size, seed=0, patch_size=study.patch_size
            )
            check_encoder(encoder, size, {arm.words.method: arm.recipe for arm in arms.values()})
        return cls(
            forward=models.forward_flops(encoder, size),
            num_features=int(encoder.num_features),  # type: ignore[arg-type]
            weight_bytes=sum(t.numel() * t.element_size() for t in encoder.state_dict().values()),
            patches=models.num_tokens(encoder) is not None,
            image_flops={key: _image_flops(arm, encoder, size) for key, arm in arms.items()},
            timm={name: models.timm_cost(name)[0] for name in _of_timm(outline)},
        )


def _recipes(outline: Outline) -> dict[str, OutlinedArm]:
    """An arm of each method and recipe."""
    trained = (arm for arm in (*outline.arms, *outline.supports) if arm.recipe is not None)
    return {_key(arm): arm for arm in trained}


def _of_timm(outline: Outline) -> list[str]:
    """Models that clusters are made from."""
    return sorted({arm.features for arm in outline.arms if arm.features is not None})


def _key(arm: OutlinedArm) -> str:
    assert arm.recipe is not None
    return f"{arm.words.method} {identity(arm.recipe.words())}"


def _image_flops(arm: OutlinedArm, encoder: nn.Module, image_size: int) -> float:
    method = METHODS[arm.words.method]
    return method.image_flops(arm.recipe, encoder, image_size) + method.caption_flops(arm.recipe)


def _expenses(outline: Outline, num_features: int) -> Iterator[tuple[int, float]]:
    """(images of fine-tuning, FLOPs of fits) of all cells that are alike."""
    asked = outline.study.protocols
    for own in outline.cells.values():
        for cell, number in own.items():
            protocol, task = PROTOCOLS[cell.protocol], outline.tasks[cell.task]
            words = asked.asked(cell.protocol)
            # a protocol's cost asks a task for its numbers alone
            expense = protocol.cost(words, cast(Task, task), cell.shots, num_features)
            yield number * expense.images, number * expense.flops


def _measured(outline: Outline) -> set[tuple[Any, str]]:
    """(arm, task) whose images are looked at."""
    return {(arm, cell.task) for arm, own in outline.cells.items() for cell in own}


def _clustered(outline: Outline, network: _Network) -> float:
    """FLOPs of the features that clusters are made from, each source's once for each model."""
    made = {(arm.data, arm.images, arm.features) for arm in outline.arms if arm.features}
    total = sum(images * network.timm[str(name)] for _, images, name in made)
    return total + network.forward * sum(arm.images for arm in outline.supports)


def _largest(outline: Outline) -> dict[str, int]:
    """Images of each source's data that the largest of its arms takes."""
    most: dict[str, int] = {}
    for arm in (*outline.arms, *outline.supports):
        if arm.data is not None:
            most[arm.data] = max(most.get(arm.data, 0), arm.images)
    return most


def _encoded(outline: Outline) -> float | None:
    total = 0.0
    for name, images in _largest(outline).items():
        recipe = outline.data[name].recipe
        if recipe is None or recipe.bytes_per_image is None:
            return None
        total += images * recipe.bytes_per_image.value
    return total / 1e9


def _pixels(outline: Outline) -> float:
    """Bytes of a decoded image that is kept, and of what stands beside it."""
    return float(round(1.25 * outline.study.image_size) ** 2 * 3 * 1.1)


def _kept(outline: Outline, network: _Network, arms: int) -> float:
    frozen = set()
    for arm, own in outline.cells.items():
        frozen |= {(arm, cell.task) for cell in own if not PROTOCOLS[cell.protocol].tuned}
    features = 4 * network.num_features * sum(outline.tasks[task].images for _, task in frozen)
    return arms * network.weight_bytes + features + ROW_BYTES * outline.num_cells


def _notes(outline: Outline, network: _Network, utilisation: float) -> Iterator[str]:
    if not network.patches and utilisation > CONVOLUTIONS:
        yield (
            f"{outline.study.backbone} is a convolutional network: these reach about "
            f"{CONVOLUTIONS:g} of a GPU's peak; --utilisation {CONVOLUTIONS:g} says so"
        )
    if any(METHODS[arm.words.method].text_tower for arm in outline.arms):
        yield "captions are counted at the whole context; shorter ones cost less"
