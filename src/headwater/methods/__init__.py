"""Pre-training methods: encode(views) -> embeddings, loss(embeddings, targets), heads; nothing else. The loop is headwater.pretrain.

A new method is one file in this folder and one entry in `build`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headwater.labels import Targets
from headwater.study import Recipe


class Method(nn.Module, ABC):
    """An encoder with what a method adds to it. `encoder` maps images [n, 3, s, s] to features [n, d]."""

    num_views: int = 1
    """Random views of each image in a batch."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    @abstractmethod
    def encode(self, views: torch.Tensor) -> torch.Tensor:
        """Embeddings [num_views * b, e] of views [num_views * b, 3, s, s]; view 0 of all images comes first, then view 1."""

    @abstractmethod
    def loss(self, embeddings: torch.Tensor, positions: NDArray[np.int64], epochs: NDArray[np.int64]) -> torch.Tensor:
        """The scalar loss (float32, mean over images, in nats) of a batch's embeddings; positions [b] and epochs [b] find the targets."""


def build(
    method: str, encoder: nn.Module, *, recipe: Recipe, seed: int, targets: Targets | None, captions: Sequence[list[str]] | None, hashes: NDArray[np.int64]
) -> Method:
    """The method of an arm around its encoder. `targets` are for supervised, `captions` (one list per sample) for clip."""
    if method == "supervised":
        from headwater.methods.supervised import Supervised

        assert targets is not None
        name = recipe.loss_name(single=targets.single)
        return Supervised(encoder, targets, seed=seed, label_smoothing=recipe.label_smoothing or 0.0, loss_name=name)
    if method == "clip":
        from headwater.methods.clip import Clip

        assert captions is not None
        return Clip(encoder, captions, hashes, recipe=recipe, seed=seed)
    from headwater.methods.simclr import SimCLR

    return SimCLR(encoder, recipe=recipe, seed=seed)
