"""SimCLR (Chen et al. 2020): two views of an image attract, all other views in the batch repel."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import Field

from headwater import keys
from headwater.methods import Batch, Inputs, Method
from headwater.ranks import ALONE, Ranks
from headwater.study.recipe import Augmentation, Recipe
from headwater.study.words import Fraction, NonNegative, Positive, Whole, default

if TYPE_CHECKING:
    import torch
    from torch import nn


class SimclrRecipe(Recipe):
    """SimCLR's settings."""

    batch: Annotated[Whole, Field(ge=2, le=65536)] = default(
        256, "[ours] Entezari et al. 2023: 1024"
    )
    weight_decay: NonNegative = default(0.05, "[ours] Entezari et al. 2023: 0.1")
    beta2: Fraction = default(0.98, "[paper] Entezari et al. 2023")
    temperature: Positive = default(0.1, "[paper] Entezari et al. 2023")
    """What similarities are divided by."""
    embedding: Annotated[Whole, Field(ge=2)] = default(128, "[ours] Entezari et al. 2023: 256")
    """Width of the contrastive embedding."""
    head_layers: Annotated[Whole, Field(ge=1, le=4)] = default(3, "[paper] Entezari et al. 2023")
    """Layers of the projection head."""
    head_width: Annotated[Whole, Field(ge=2)] = default(512, "[ours] Entezari et al. 2023: 4096")
    """Width of its hidden layers."""
    augmentation: Augmentation = default(
        Augmentation(
            crop_min=0.2, flip=0.5, jitter=0.5, jitter_probability=0.8, grey=0.2, blur=0.0
        ),
        "crop_min [ours], Entezari et al. 2023: 0.08, which at 32 px leaves crops of 9 px; flip "
        "and grey [paper]; jitter [paper] (0.4, 0.4, 0.4, 0.1) is s = 0.5; jitter_probability "
        "[recalled]; blur [recalled] Chen et al. 2020 leave it out for small images, Entezari et "
        "al. 2023: 0.5 at 224 px",
    )


class SimCLR(Method):
    """A projection head of linear layers with batch normalisation between them, and NT-Xent."""

    name, title, version, order = "simclr", "SimCLR", 2, 30
    colour = "#CC79A7"
    needs = "images"
    recipe = SimclrRecipe
    num_views = 2
    contrastive = True

    @classmethod
    def split_note(cls, recipe: Any) -> str | None:
        if recipe.head_layers == 1:
            return None
        return (
            "SimCLR's projection head has BatchNorm where it has several layers (head_layers): "
            "ranks and micro_batch change its weights, and with them the encoder's"
        )

    def __init__(self, encoder: nn.Module, inputs: Inputs) -> None:
        from torch import nn

        from headwater.device import seeded

        recipe: SimclrRecipe = inputs.recipe
        super().__init__(encoder, inputs)
        self._temperature = recipe.temperature
        hidden = [recipe.head_width] * (recipe.head_layers - 1)
        widths = [int(encoder.num_features), *hidden, recipe.embedding]  # type: ignore[arg-type]
        layers: list[nn.Module] = []
        with seeded(keys.key(inputs.seed, "simclr head")):
            for i, (before, after) in enumerate(itertools.pairwise(widths)):
                last = i == recipe.head_layers - 1
                layers.append(nn.Linear(before, after, bias=last))
                if not last:
                    layers += [nn.BatchNorm1d(after), nn.ReLU()]
        self.net.projection = nn.Sequential(*layers)

    def encode(self, views: Sequence[torch.Tensor], batch: Batch) -> tuple[torch.Tensor, ...]:
        (both,) = views
        return tuple(self.projection(self.encoder(both)).chunk(2))

    def loss(
        self, embeddings: tuple[torch.Tensor, ...], batch: Batch, ranks: Ranks = ALONE
    ) -> torch.Tensor:
        from headwater.methods.contrastive import nt_xent

        first, second = embeddings
        return nt_xent(first, second, self._temperature, ranks)

    def at_chance(self, loss: float, batch: int) -> str | None:
        from headwater.methods.contrastive import at_chance

        return at_chance(loss, batch, "nt-xent")


ENTRY = SimCLR
