"""No pre-training: random weights, the baseline of every comparison."""

from __future__ import annotations

from typing import TYPE_CHECKING, NoReturn

from headwater.methods import Batch, Method
from headwater.ranks import ALONE, Ranks

if TYPE_CHECKING:
    from collections.abc import Sequence

    import torch


class Scratch(Method):
    """An encoder as it was drawn: it has no source, no labels and no budget."""

    name, title, version, order = "scratch", "no pre-training", 1, 100
    colour = "#8C8C8C"
    needs = "nothing"
    recipe = None
    trains = False

    def encode(self, views: Sequence[torch.Tensor], batch: Batch) -> NoReturn:
        raise AssertionError("scratch is not trained")

    def loss(
        self, embeddings: tuple[torch.Tensor, ...], batch: Batch, ranks: Ranks = ALONE
    ) -> NoReturn:
        raise AssertionError("scratch is not trained")


ENTRY = Scratch
