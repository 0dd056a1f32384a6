"""Supervised pre-training: softmax cross-entropy on one integer label per image."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from headwater.labels import Targets
from headwater.methods import Method


class Supervised(Method):
    """A linear classification head on the encoder's features. The head starts at zero, so that arms of all class counts start at ln(classes)
    and the encoder's first gradient does not depend on a head's random weights; biases too [ours]."""

    def __init__(self, encoder: nn.Module, targets: Targets, *, seed: int, label_smoothing: float) -> None:
        super().__init__(encoder)
        self.head = nn.Linear(int(encoder.num_features), targets.num_classes)  # type: ignore[arg-type]
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._labels = torch.from_numpy(targets.indices)
        self._label_smoothing = label_smoothing

    def encode(self, views: torch.Tensor) -> torch.Tensor:
        return self.encoder(views)  # type: ignore[no-any-return]

    def loss(self, embeddings: torch.Tensor, positions: NDArray[np.int64], epochs: NDArray[np.int64]) -> torch.Tensor:
        labels = self._labels[torch.from_numpy(positions)].to(embeddings.device)
        return F.cross_entropy(self.head(embeddings).float(), labels, label_smoothing=self._label_smoothing)
