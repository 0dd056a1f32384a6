"""Pre-training methods: encode(views) -> embeddings, loss(embeddings, batch, ranks), heads; nothing
else. The loop is headwater.pretrain.

Encoding and loss are kept apart, so that embeddings can be gathered from other processes, cached
and computed again in parts.

A new method is one file in this folder and one entry in `build`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from headwater.labels import Targets
from headwater.ranks import ALONE, Ranks
from headwater.study import Recipe


@dataclass(frozen=True)
class Mix:
    """Two images blended into one (mixup, CutMix): the partner's labels count `share`, the image's
    own the rest.
    """

    partners: NDArray[np.int64]
    """int64 [b]: positions of the images that are mixed in."""
    partner_epochs: NDArray[np.int64]
    share: float
    """In [0, 1]."""

    def part(self, part: slice) -> Mix:
        return Mix(self.partners[part], self.partner_epochs[part], self.share)


@dataclass(frozen=True)
class Batch:
    """The images of a step, or some of them, by position and epoch: what finds their targets and
    captions. int64 [b] each.
    """

    positions: NDArray[np.int64]
    epochs: NDArray[np.int64]
    mix: Mix | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def part(self, part: slice) -> Batch:
        return Batch(
            self.positions[part], self.epochs[part], self.mix.part(part) if self.mix else None
        )


class Method(nn.Module, ABC):
    """An encoder with what a method adds to it.

    `encoder` maps images [n, 3, s, s] to features [n, d].
    """

    num_views: int = 1
    """Random views of each image in a batch."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    contrastive: bool = False
    """Whether the loss compares the images of a batch with one another, so that it is not a mean
    over images of what each costs by itself.
    """

    @abstractmethod
    def encode(self, views: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, ...]:
        """Embeddings of a batch, each float [b, e]: of views [num_views * b, 3, s, s] (view 0 of
        all images comes first, then view 1), and of its captions.
        """

    @abstractmethod
    def loss(
        self, embeddings: tuple[torch.Tensor, ...], batch: Batch, ranks: Ranks = ALONE
    ) -> torch.Tensor:
        """The scalar loss (float32, mean over this process's images, in nats) of a batch's
        embeddings, which contrastive methods compare with those of all ranks.
        """

    def loss_parameters(self) -> list[nn.Parameter]:
        """Parameters that only the loss reads, when embeddings are given: a temperature, not a
        head.
        """
        return []

    def at_chance(self, loss: float, batch: int) -> str | None:
        """What a person should hear where a mean loss at this batch is that of embeddings which
        tell nothing; None where all is well.
        """
        return None

    def save_heads(self, folder: Path) -> None:
        """Write to an arm's folder what it needs to keep beside the encoder: CLIP's text side,
        nothing for others.
        """
        return


def build(
    method: str,
    encoder: nn.Module,
    *,
    recipe: Recipe,
    seed: int,
    targets: Targets | None,
    captions: Sequence[list[str]] | None,
    hashes: NDArray[np.int64],
) -> Method:
    """The method of an arm around its encoder.

    `targets` are for supervised, `captions` (one list per sample) for clip.
    """
    if method == "supervised":
        from headwater.methods.supervised import Supervised

        assert targets is not None
        name = recipe.loss_name(single=targets.single)
        return Supervised(
            encoder, targets, label_smoothing=recipe.label_smoothing or 0.0, loss_name=name
        )
    if method == "clip":
        from headwater.methods.clip import Clip

        assert captions is not None
        return Clip(encoder, captions, hashes, recipe=recipe, seed=seed)
    from headwater.methods.simclr import SimCLR

    return SimCLR(encoder, recipe=recipe, seed=seed)
