"""DINO (Caron et al. 2021): a student tells of small crops what its own average tells of large
ones, without labels and without negatives.

The teacher is an exponential moving average of the student. Its outputs are centred and sharpened,
so that neither one class for all images nor all classes alike is a way out. Teacher and centre are
state of the method: checkpoints hold them, and the encoder that is kept is the teacher's, as the
paper has it.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from headwater import keys
from headwater.errors import InputError
from headwater.methods import Batch, Crop, Inputs, Method
from headwater.ranks import ALONE, Ranks
from headwater.study.recipe import Augmentation, Recipe
from headwater.study.words import Fraction, Positive, Real, Whole, default

if TYPE_CHECKING:
    import torch
    from torch import nn

_GLOBAL = 2
"""Large crops of each image."""


class DinoRecipe(Recipe):
    """DINO's settings."""

    lr: Positive = default(1e-3, "[ours] Caron et al. 2021: 5e-4 for a batch of 256")
    batch: Annotated[Whole, Field(ge=2, le=65536)] = default(128, "[ours] Caron et al. 2021: 1024")
    clip_norm: Positive | None = default(3.0, "[recalled] the authors' code")
    prototypes: Annotated[Whole, Field(ge=2, le=1_000_000)] = default(
        1024, "[ours] Caron et al. 2021: 65,536"
    )
    """Outputs of the head: the classes that teacher and student agree on."""
    head_width: Annotated[Whole, Field(ge=2)] = default(512, "[ours] Caron et al. 2021: 2048")
    """Width of the head's hidden layers."""
    bottleneck: Annotated[Whole, Field(ge=2)] = default(128, "[ours] Caron et al. 2021: 256")
    """Width of the normalised layer before the outputs."""
    student_temperature: Positive = default(0.1, "[paper] Caron et al. 2021")
    """What the student's outputs are divided by."""
    teacher_temperature: Positive = default(0.04, "[paper] Caron et al. 2021: 0.04 to 0.07")
    """What the teacher's centred outputs are divided by."""
    teacher_momentum: Annotated[Real, Field(ge=0, lt=1)] = default(
        0.99, "[ours] Caron et al. 2021: 0.996 over a hundred times as many steps"
    )
    """Decay of the teacher's average at the first step; it rises to 1 along a cosine."""
    centre_momentum: Fraction = default(0.9, "[paper] Caron et al. 2021")
    """Decay of the average of the teacher's outputs."""
    local_crops: Annotated[Whole, Field(ge=0, le=16)] = default(4, "[ours] Caron et al. 2021: 8")
    """Small crops of each image, which the student alone sees."""
    local_size: Annotated[Whole, Field(ge=4)] | None = default(
        None, "[ours] half the image size; Caron et al. 2021: 96 of 224"
    )
    """Their side in pixels; of a ViT a multiple of its patches."""
    local_crop_max: Annotated[Real, Field(gt=0, le=1)] = default(
        0.4, "[paper] Caron et al. 2021, for ViTs: 0.25 to 0.4"
    )
    """Largest area of a small crop, as a share of the image; large ones have crop_min."""
    local_crop_min: Annotated[Real, Field(gt=0, le=1)] = default(
        0.1, "[ours] Caron et al. 2021: 0.05"
    )
    """Smallest area of a small crop."""
    augmentation: Augmentation = default(
        Augmentation(
            crop_min=0.4,
            flip=0.5,
            jitter=0.5,
            jitter_probability=0.8,
            grey=0.2,
            blur=0.0,
            solarise=0.1,
        ),
        "[paper] Caron et al. 2021: jitter, grey, and solarise on one large crop of two; blur "
        "[ours] is left out, as at small sizes it hardly acts",
    )

    def fault(self, given: Any) -> tuple[str, tuple[str, ...]] | None:
        if self.local_crop_min > self.local_crop_max:
            return "local_crop_min is above local_crop_max", ("local_crop_min", "local_crop_max")
        return super().fault(given)


class Dino(Method):
    """A head of three layers, a normalised bottleneck and weight-normalised outputs, for student
    and teacher; cross-entropy of every student crop against every teacher crop but itself.
    """

    name, title, version, order = "dino", "DINO", 1, 50
    colour = "#56B4E9"
    needs = "images"
    recipe = DinoRecipe
    kept = "teacher_encoder"

    @classmethod
    def crops(cls, recipe: Any, image_size: int) -> tuple[Crop, ...]:
        large = Crop(_GLOBAL)
        if not recipe.local_crops:
            return (large,)
        small = recipe.augmentation.model_copy(
            update={
                "crop_min": recipe.local_crop_min,
                "crop_max": recipe.local_crop_max,
                "solarise": None,
            }
        )
        size = recipe.local_size or max(4, image_size // 2)
        return large, Crop(recipe.local_crops, size, small)

    @classmethod
    def prepared(cls, encoder: nn.Module, recipe: Any, image_size: int) -> nn.Module:
        """A ViT takes crops of several sizes, its positions resampled for the small ones."""
        patches: Any = getattr(encoder, "patch_embed", None)
        side = getattr(patches, "patch_size", (1, 1))[0]
        for crop in cls.crops(recipe, image_size):
            if crop.image_size is not None and crop.image_size % side:
                fitting = max(side, crop.image_size // side * side)
                raise InputError(
                    f"recipe.dino.local_size: crops of {crop.image_size} px are no multiple of the "
                    f"encoder's patches of {side} px; {fitting} is",
                    at=("recipe", "dino", "local_size"),
                )
        if hasattr(encoder, "dynamic_img_size") and patches is not None:
            from timm.layers.format import Format

            encoder.dynamic_img_size = True  # type: ignore[assignment]
            patches.strict_img_size, patches.flatten = False, False
            patches.output_fmt = Format.NHWC
        return encoder

    @classmethod
    def image_flops(cls, recipe: Any, encoder: nn.Module, image_size: int) -> float:
        """Three forward passes of the student for every crop, one of the teacher for the large
        ones, heads included.
        """
        import numpy as np
        import torch

        from headwater.models import counted_flops

        encoder = cls.prepared(encoder, recipe, image_size)
        method = cls(encoder, Inputs(recipe=recipe, seed=0, hashes=np.zeros(1, dtype=np.int64)))
        device = next(encoder.parameters()).device
        method.to(device)
        flops = 0.0
        for i, crop in enumerate(cls.crops(recipe, image_size)):
            side = crop.image_size or image_size
            view = torch.zeros(1, 3, side, side, device=device)
            one = counted_flops(method.net, lambda view=view: method._outputs("", view))  # type: ignore[misc]
            flops += crop.count * one * (4.0 if i == 0 else 3.0)
        return flops

    def __init__(self, encoder: nn.Module, inputs: Inputs) -> None:
        import torch

        from headwater.device import seeded

        super().__init__(encoder, inputs)
        recipe: DinoRecipe = inputs.recipe
        self._recipe = recipe
        with seeded(keys.key(inputs.seed, "dino head")):
            features = int(encoder.num_features)  # type: ignore[arg-type]
            self.net.head = _head(features, recipe)
        self.net.teacher_encoder = copy.deepcopy(encoder).requires_grad_(False)
        self.net.teacher_head = copy.deepcopy(self.net.head).requires_grad_(False)
        self.net.register_buffer("centre", torch.zeros(recipe.prototypes))
        self._seen: list[tuple[torch.Tensor, int]] = []

    def _outputs(self, prefix: str, views: torch.Tensor) -> torch.Tensor:
        """Outputs [n, prototypes] of the student (prefix empty) or the teacher (`teacher_`)."""
        from torch.nn import functional as F

        encoder = self.encoder if not prefix else self.teacher_encoder
        head: Any = self.head if not prefix else self.teacher_head
        bottleneck = F.normalize(head.layers(encoder(views)).float(), dim=1)
        return F.linear(bottleneck, F.normalize(head.prototypes, dim=1))

    def encode(self, views: Sequence[torch.Tensor], batch: Batch) -> tuple[torch.Tensor, ...]:
        """(student, teacher): outputs [b, crops, prototypes] of all crops and of the large ones."""
        import torch

        by_crop = [self._outputs("", crop) for crop in views]
        student = torch.cat([_by_image(outputs, len(batch)) for outputs in by_crop], dim=1)
        with torch.no_grad():
            teacher = _by_image(self._outputs("teacher_", views[0]), len(batch))
        return student, teacher

    def loss(
        self, embeddings: tuple[torch.Tensor, ...], batch: Batch, ranks: Ranks = ALONE
    ) -> torch.Tensor:
        import torch

        from headwater.device import full_precision

        student, teacher = (outputs.float() for outputs in embeddings)
        self._seen.append((teacher.detach().mean(dim=1).sum(dim=0), len(teacher)))
        with full_precision(student):
            logs = (student / self._recipe.student_temperature).log_softmax(dim=2)
            targets = ((teacher - self.centre) / self._recipe.teacher_temperature).softmax(dim=2)
            crossed = -torch.einsum("btk,bsk->bts", targets, logs)
            other = ~torch.eye(_GLOBAL, logs.shape[1], dtype=torch.bool, device=logs.device)
            return crossed[:, other].mean()

    def after_step(self, step: int, steps: int, ranks: Ranks = ALONE) -> None:
        """Move the centre by what the teacher said in this step, and the teacher by what the
        student is now.
        """
        import torch

        with torch.no_grad():
            total = torch.stack([outputs for outputs, _ in self._seen]).sum(dim=0)
            count = sum(images for _, images in self._seen)
            self._seen.clear()
            mean = ranks.summed_(total) / ranks.total(count)
            decay = self._recipe.centre_momentum
            self.centre.mul_(decay).add_(mean, alpha=1 - decay)
            start = self._recipe.teacher_momentum
            decay = 1 - (1 - start) * (math.cos(math.pi * step / steps) + 1) / 2
            for teacher, student in self._pairs():
                teacher.lerp_(student, 1 - decay)

    def _pairs(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        """(teacher's, student's) parameters."""
        return [
            *zip(self.teacher_encoder.parameters(), self.encoder.parameters(), strict=True),
            *zip(self.teacher_head.parameters(), self.head.parameters(), strict=True),
        ]

    def at_chance(self, loss: float, batch: int) -> str | None:
        chance = math.log(self._recipe.prototypes)
        if loss < 0.98 * chance:
            return None
        return (
            f"the loss is {loss:.2f}, and ln({self._recipe.prototypes}) = {chance:.2f} is that of "
            "a student which tells nothing; try a lower lr or more steps"
        )


def _by_image(outputs: torch.Tensor, images: int) -> torch.Tensor:
    """[b, crops, k] of [crops * b, k], crop 0 of all images first."""
    return outputs.reshape(-1, images, outputs.shape[1]).transpose(0, 1)


def _head(features: int, recipe: DinoRecipe) -> nn.Module:
    """Three linear layers with GELU, and prototypes, each used at length 1."""
    import torch
    from torch import nn

    head = nn.Module()
    head.layers = nn.Sequential(
        nn.Linear(features, recipe.head_width),
        nn.GELU(),
        nn.Linear(recipe.head_width, recipe.head_width),
        nn.GELU(),
        nn.Linear(recipe.head_width, recipe.bottleneck),
    )
    for layer in head.layers:
        if isinstance(layer, nn.Linear):
            nn.init.trunc_normal_(layer.weight, std=0.02)
            nn.init.zeros_(layer.bias)
    weights = torch.empty(recipe.prototypes, recipe.bottleneck)
    head.prototypes = nn.Parameter(nn.init.trunc_normal_(weights, std=0.02))
    return head


ENTRY = Dino
