"""Supervised pre-training: cross-entropy on the labels of each image, one or several.

`Supervised.loss_name` says which: softmax cross-entropy where every image has one label; where
some image has several, sigmoid cross-entropy on the multi-hot targets, or, if the recipe says so,
softmax cross-entropy against the label set normalised to sum 1.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Annotated, Any, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from headwater.methods import Batch, Inputs, Method, Mixing
from headwater.ranks import ALONE, Ranks
from headwater.study.recipe import Augmentation, Recipe
from headwater.study.words import Positive, Real, default

if TYPE_CHECKING:
    import torch
    from torch import nn

LossName = Literal["softmax", "sigmoid", "softmax over sets"]
"""The losses of supervised arms, as rows name them."""


class SupervisedRecipe(Recipe):
    """Settings of supervised pre-training."""

    lr: Positive = default(3e-3, "[ours]")
    label_smoothing: Annotated[Real, Field(ge=0, lt=1)] = default(0.0, "[ours]")
    """With s, a label set's mass 1 - s goes to its labels and s to all classes in equal parts."""
    mixup: Positive | None = default(None, "[ours] neither paper names it")
    """Alpha of mixup; with `cutmix` as well, each step takes one of the two at random."""
    cutmix: Positive | None = default(None, "[ours]")
    """Alpha of CutMix."""
    loss: Literal["softmax", "sigmoid"] | None = default(
        None,
        "[ours] by the labels: softmax for one each; for sets sigmoid, as big_vision trains "
        "ImageNet-21k (Hong et al. 2023 [recalled])",
    )
    """Cross-entropy over the classes, or of each class by itself. None decides by the labels."""
    augmentation: Augmentation = default(
        Augmentation(
            crop_min=0.35, flip=0.5, jitter=0.4, jitter_probability=0.5, grey=0.0, blur=0.0
        ),
        "[ours]",
    )


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
    from torch.nn import functional as F

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
    import torch
    from torch.nn import functional as F

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

    name, title, version, order = "supervised", "supervised", 2, 10
    colour = "#0072B2"
    needs = "labels"
    recipe = SupervisedRecipe

    def __init__(self, encoder: nn.Module, inputs: Inputs) -> None:
        import torch
        from torch import nn

        targets, recipe = inputs.targets, inputs.recipe
        assert targets is not None
        super().__init__(encoder, inputs)
        loss, smoothing = self.loss_name(recipe, single=targets.single), recipe.label_smoothing
        self._loss, self._label_smoothing = loss, smoothing
        self._codes, self._sets = targets.codes, targets.sets
        head = nn.Linear(int(encoder.num_features), targets.num_classes)  # type: ignore[arg-type]
        nn.init.zeros_(head.weight)
        nn.init.zeros_(head.bias)
        self.net.head = head
        if loss == "softmax":
            self._labels = torch.from_numpy(targets.indices)
        if loss == "sigmoid":
            n = len(targets)
            shares = (targets.counts / n).clip(1 / (n + 1), n / (n + 1))
            shares = (1 - smoothing) * shares + smoothing / targets.num_classes
            with torch.no_grad():
                head.bias.copy_(torch.from_numpy(np.log(shares / (1 - shares))))

    @classmethod
    def loss_name(cls, recipe: Any, *, single: bool) -> LossName:
        """Where the recipe leaves it open: softmax where every image has one label, sigmoid where
        some image has several, which is the public recipe for ImageNet-21k's levels. Softmax on
        several labels is against the set normalised to sum 1.
        """
        if recipe.loss == "sigmoid" or (recipe.loss is None and not single):
            return "sigmoid"
        return "softmax" if single else "softmax over sets"

    @classmethod
    def settled(cls, recipe: Any, *, single: bool) -> Any:
        """The recipe with its loss left open where the rule gives the same: an arm is the same one
        whether the study says so or not.
        """
        by_rule = recipe.model_copy(update={"loss": None})
        same = cls.loss_name(by_rule, single=single) == cls.loss_name(recipe, single=single)
        return by_rule if same else recipe

    @classmethod
    def mixing(cls, recipe: Any) -> Mixing:
        return Mixing(recipe.mixup, recipe.cutmix)

    def encode(self, views: Sequence[torch.Tensor], batch: Batch) -> tuple[torch.Tensor, ...]:
        (images,) = views
        return (self.encoder(images),)

    def loss(
        self, embeddings: tuple[torch.Tensor, ...], batch: Batch, ranks: Ranks = ALONE
    ) -> torch.Tensor:
        from headwater.device import full_precision

        (features,) = embeddings
        if self._loss == "softmax":
            logits = self.head(features).float()
            return _mixed(batch, lambda positions: self._cross_entropy(logits, positions))
        with full_precision(features):  # a bias of -10 in bf16 is right to a hundredth or two only
            logits = self.head(features.float())
            return _mixed(batch, lambda positions: self._loss_of_sets(logits, positions))

    def _cross_entropy(self, logits: torch.Tensor, positions: NDArray[np.int64]) -> torch.Tensor:
        import torch
        from torch.nn import functional as F

        return F.cross_entropy(
            logits,
            self._labels[torch.from_numpy(positions)].to(logits.device),
            label_smoothing=self._label_smoothing,
        )

    def _loss_of_sets(self, logits: torch.Tensor, positions: NDArray[np.int64]) -> torch.Tensor:
        import torch

        images, labels = (torch.from_numpy(a).to(logits.device) for a in self._labels_of(positions))
        loss = sigmoid_loss if self._loss == "sigmoid" else softmax_over_sets_loss
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


ENTRY = Supervised
