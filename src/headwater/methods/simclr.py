"""SimCLR (Chen et al. 2020): two views of an image attract, all other views in the batch repel."""

from __future__ import annotations

import itertools

import torch
from torch import nn

from headwater import keys
from headwater.device import seeded
from headwater.methods import Batch, Method
from headwater.methods.contrastive import at_chance, nt_xent
from headwater.ranks import ALONE, Ranks
from headwater.study import Recipe


class SimCLR(Method):
    num_views = 2
    contrastive = True

    def __init__(self, encoder: nn.Module, *, recipe: Recipe, seed: int) -> None:
        super().__init__(encoder)
        assert recipe.head_layers and recipe.head_width and recipe.embedding and recipe.temperature
        self._temperature = recipe.temperature
        widths = [
            int(encoder.num_features),  # type: ignore[arg-type]
            *[recipe.head_width] * (recipe.head_layers - 1),
            recipe.embedding,
        ]
        layers: list[nn.Module] = []
        with seeded(keys.key(seed, "simclr head")):
            for i, (before, after) in enumerate(itertools.pairwise(widths)):
                last = i == recipe.head_layers - 1
                layers.append(nn.Linear(before, after, bias=last))
                if not last:
                    layers += [nn.BatchNorm1d(after), nn.ReLU()]
        self.projection = nn.Sequential(*layers)

    def encode(self, views: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, ...]:
        return tuple(self.projection(self.encoder(views)).chunk(2))

    def loss(
        self, embeddings: tuple[torch.Tensor, ...], batch: Batch, ranks: Ranks = ALONE
    ) -> torch.Tensor:
        first, second = embeddings
        return nt_xent(first, second, self._temperature, ranks)

    def at_chance(self, loss: float, batch: int) -> str | None:
        return at_chance(loss, batch, "nt-xent")
