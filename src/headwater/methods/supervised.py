"""Supervised pre-training: cross-entropy on the labels of each image, one or several.

The rule for the loss is `Recipe.loss_name`: softmax cross-entropy where every image has one label;
where some image has several, sigmoid cross-entropy on the multi-hot targets, or, if the recipe says
so, softmax cross-entropy against the label set normalised to sum 1.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn
from torch.nn import functional as F

from headwater.device import full_precision
from headwater.labels import Targets
from headwater.methods import Batch, Method
from headwater.ranks import ALONE, Ranks
from headwater.study import LossName


def sigmoid_loss(
    logits: torch.Tensor, images: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0
) -> torch.Tensor:
    """Sigmoid cross-entropy on multi-hot targets: the sum over classes, mean over images
    (big_vision's `sigmoid_xent`, its ImageNet-21k loss).

    `logits` are float32 [b, c]; image `images[j]` has label `labels[j]` (int64 [k] each, a pair
    once). Since -y log p - (1 - y) log(1 - p) is softplus(x) - y x, the ones are all that is needed
    of the targets, and no dense matrix of them is made. With label smoothing s the target of a
    class is (1 - s) y + s / c: for one label that of smoothed softmax, and timm's
    BinaryCrossEntropy.
    """
    b, c = logits.shape
    total = F.softplus(logits).sum() - (1 - smoothing) * logits[images, labels].sum()
    if smoothing:
        total = total - smoothing / c * logits.sum()
    return total / b


def softmax_over_sets_loss(
    logits: torch.Tensor, images: torch.Tensor, labels: torch.Tensor, smoothing: float = 0.0
) -> torch.Tensor:
    """Softmax cross-entropy against label sets, each label of an image with m of them weighing 1 /
    m; mean over images.

    `logits` are float32 [b, c]; image `images[j]` has label `labels[j]` (int64 [k] each, a pair
    once). With label smoothing s the target is (1 - s) y / m + s / c, as
    `torch.nn.functional.cross_entropy` smooths probabilities.
    """
    b, c = logits.shape
    log_shares = F.log_softmax(logits, dim=1)
    weights = torch.bincount(images, minlength=b).to(logits.dtype).reciprocal()[images]
    total = (1 - smoothing) * (weights * log_shares[images, labels]).sum()
    if smoothing:
        total = total + smoothing / c * log_shares.sum()
    return -total / b


class Supervised(Method):
    """A linear classification head on the encoder's features.

    Its weights start at zero, so that the encoder's first gradient does not depend on a head's
    random weights [ours].

    Under softmax the bias starts at zero too, so that arms of all class counts start at ln(classes)
    [ours]. Under sigmoid class c starts at log(p / (1 - p)) with p its mean target: its share of
    the arm's images, smoothed where labels are. The first loss is then the sum of the Bernoulli
    entropies of the shares, and no early step is spent on unlearning that all 21,843 classes are as
    likely as not. The form is that of Lin et al. 2017 (focal loss, one p for all classes);
    big_vision's ImageNet-21k recipes start all classes at -10, which is about log(1 / 21,843); a
    share for each class is ours. A label on no image or on all n is taken to be on 1 / (n + 1) or n
    / (n + 1) of them [ours].
    """

    def __init__(
        self, encoder: nn.Module, targets: Targets, *, label_smoothing: float, loss_name: LossName
    ) -> None:
        super().__init__(encoder)
        self.loss_name: LossName = loss_name
        self.head = nn.Linear(int(encoder.num_features), targets.num_classes)  # type: ignore[arg-type]
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)
        self._label_smoothing = label_smoothing
        self._codes, self._sets = targets.codes, targets.sets
        if loss_name == "softmax":
            self._labels = torch.from_numpy(targets.indices)
        if loss_name == "sigmoid":
            n = len(targets)
            shares = (targets.counts / n).clip(1 / (n + 1), n / (n + 1))
            shares = (1 - label_smoothing) * shares + label_smoothing / targets.num_classes
            with torch.no_grad():
                self.head.bias.copy_(torch.from_numpy(np.log(shares / (1 - shares))))

    def encode(self, views: torch.Tensor, batch: Batch) -> tuple[torch.Tensor, ...]:
        return (self.encoder(views),)

    def loss(
        self, embeddings: tuple[torch.Tensor, ...], batch: Batch, ranks: Ranks = ALONE
    ) -> torch.Tensor:
        (features,) = embeddings
        if self.loss_name == "softmax":
            logits = self.head(features).float()
            return _mixed(batch, lambda positions: self._cross_entropy(logits, positions))
        with full_precision(features):  # a bias of -10 in bf16 is right to a hundredth or two only
            logits = self.head(features.float())
            return _mixed(batch, lambda positions: self._loss_of_sets(logits, positions))

    def _cross_entropy(self, logits: torch.Tensor, positions: NDArray[np.int64]) -> torch.Tensor:
        return F.cross_entropy(
            logits,
            self._labels[torch.from_numpy(positions)].to(logits.device),
            label_smoothing=self._label_smoothing,
        )

    def _loss_of_sets(self, logits: torch.Tensor, positions: NDArray[np.int64]) -> torch.Tensor:
        images, labels = (torch.from_numpy(a).to(logits.device) for a in self._labels_of(positions))
        loss = sigmoid_loss if self.loss_name == "sigmoid" else softmax_over_sets_loss
        return loss(logits, images, labels, self._label_smoothing)

    def _labels_of(
        self, positions: NDArray[np.int64]
    ) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """All labels of a batch, int64 [k] each: the image's place in the batch, and the label."""
        codes, places = self._codes[positions], np.arange(len(positions))
        if self._sets is None:
            return places, codes.astype(np.int64)
        spelled = self._sets.take(codes)
        return np.repeat(places, spelled.sizes), spelled.labels.astype(np.int64)


def _mixed(batch: Batch, loss: Callable[[NDArray[np.int64]], torch.Tensor]) -> torch.Tensor:
    """The loss of a batch by the positions whose labels count.

    All losses here are linear in the targets, so a blend of two images costs the blend of what the
    labels of each would cost (Zhang et al. 2018, mixup; Yun et al. 2019, CutMix).
    """
    own = loss(batch.positions)
    if batch.mix is None:
        return own
    return (1 - batch.mix.share) * own + batch.mix.share * loss(batch.mix.partners)
