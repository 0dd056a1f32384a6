"""SimCLR (Chen et al. 2020): two views of an image attract, all other views in the batch repel."""

from __future__ import annotations

import itertools

import torch
from torch import nn
from torch.nn import functional as F

from headwater import keys
from headwater.device import full_precision, seeded
from headwater.methods import Batch, Method
from headwater.ranks import ALONE, Ranks
from headwater.study import Recipe


def nt_xent(embeddings: torch.Tensor, temperature: float) -> torch.Tensor:
    """The normalised temperature-scaled cross-entropy of embeddings [2 b, e], views 0 then views 1, in float32; mean over all 2 b views."""
    with full_precision(embeddings):
        z = F.normalize(embeddings.float(), dim=1)
        similarity = (z @ z.T / temperature).fill_diagonal_(float("-inf"))
        b = len(z) // 2
        partner = torch.cat([torch.arange(b, 2 * b), torch.arange(b)]).to(z.device)
        return F.cross_entropy(similarity, partner)


class SimCLR(Method):
    num_views = 2
    contrastive = True

    def __init__(self, encoder: nn.Module, *, recipe: Recipe, seed: int) -> None:
        super().__init__(encoder)
        assert recipe.head_layers and recipe.head_width and recipe.embedding and recipe.temperature
        self._temperature = recipe.temperature
        widths = [int(encoder.num_features), *[recipe.head_width] * (recipe.head_layers - 1), recipe.embedding]  # type: ignore[arg-type]
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

    def loss(self, embeddings: tuple[torch.Tensor, ...], batch: Batch, ranks: Ranks = ALONE) -> torch.Tensor:
        return nt_xent(torch.cat(embeddings), self._temperature)
