"""How an arm is pre-trained: budget, augmentation, recipe."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from headwater.study.words import Fraction, NonNegative, Positive, Real, Whole, Words

METHODS = ("scratch", "supervised", "clip", "simclr")
Method = Literal["scratch", "supervised", "clip", "simclr"]
LossName = Literal["softmax", "sigmoid", "softmax over sets"]
"""The losses of supervised arms, as rows name them."""


class Budget(Words):
    """How long an arm is pre-trained: exactly one of epochs, images_seen, steps."""

    epochs: Positive | None = None
    """Passes over the arm's images; may be a fraction."""
    images_seen: Annotated[Whole, Field(ge=1)] | None = None
    """Images (not views) that pass through training."""
    steps: Annotated[Whole, Field(ge=1)] | None = None
    """Optimiser steps."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Budget:
        given = [
            name for name in ("epochs", "images_seen", "steps") if getattr(self, name) is not None
        ]
        if len(given) != 1:
            raise ValueError(
                "give exactly one of epochs, images_seen, steps, not "
                f"{' and '.join(given) if given else 'none'}"
            )
        return self

    def images(self, unique_images: int, batch: int) -> int:
        """Images seen by an arm of `unique_images` images at this batch (at least 1)."""
        if self.epochs is not None:
            return max(
                1, round(min(self.epochs * unique_images, 1e18))
            )  # a float beyond all images would overflow
        if self.images_seen is not None:
            return self.images_seen
        assert self.steps is not None
        return self.steps * batch


class Augmentation(Words):
    """Random views of an image. None takes the method's default (headwater.recipes)."""

    crop_min: Annotated[Real, Field(gt=0, le=1)] | None = None
    """Smallest area of a random resized crop, as a share of the image."""
    flip: Fraction | None = None
    """Probability of a horizontal flip."""
    jitter: Annotated[Real, Field(ge=0, le=2)] | None = None
    """Strength s of colour jitter: brightness, contrast, saturation 0.8 s, hue 0.2 s (SimCLR's
    s).
    """
    jitter_probability: Fraction | None = None
    grey: Fraction | None = None
    """Probability of turning a view grey."""
    blur: Fraction | None = None
    """Probability of a Gaussian blur, sigma in [0.1, 2] px at 224 px, scaled with the image
    size.
    """
    solarise: Fraction | None = None
    """Probability of inverting the values above one half."""
    randaugment: Annotated[Whole, Field(ge=0, le=8)] | None = None
    """Operations of RandAugment on each view, drawn with replacement; 0 for none."""
    randaugment_magnitude: Annotated[Real, Field(ge=0, le=10)] | None = None
    """RandAugment's magnitude on timm's scale of 0 to 10."""
    cutout: Fraction | None = None
    """Probability of erasing a random box of the view."""


class OnlineProbe(Words):
    """A probe beside pre-training: a share of every source's images is left out of training in
    every arm, and classified now and then by the labels of its nearest training images in feature
    space. What it looks like does not change the weights; what it leaves out does.
    """

    share: Annotated[Real, Field(gt=0, le=0.5)] = 0.02
    """Share of a source's images that is left out, drawn by key: the same images in every arm and
    seed.
    """
    looks: Annotated[Whole, Field(ge=1, le=1000)] = 10
    """How often it is asked, at equal distances, the last time at the end."""
    neighbours: Annotated[Whole, Field(ge=1, le=1000)] = 20
    labels: str = "level:0"
    """The label view that is asked for."""


class Recipe(Words):
    """How an arm is trained.

    None takes the method's default (headwater.recipes lists them with their sources).
    """

    batch: Annotated[Whole, Field(ge=2, le=65536)] | None = None
    micro_batch: Annotated[Whole, Field(ge=2, le=65536)] | None = None
    """Images of one forward pass, where a whole batch does not fit: gradients are added up, for
    contrastive losses by GradCache. The same gradient, but for batch normalisation.
    """
    optimiser: Literal["adamw", "sgd", "lars"] | None = None
    lr: Positive | None = None
    weight_decay: NonNegative | None = None
    momentum: Fraction | None = None
    """SGD's momentum, or AdamW's beta1."""
    beta2: Fraction | None = None
    warmup: Fraction | None = None
    """Warm-up as a fraction of the steps."""
    schedule: Literal["cosine", "constant", "linear"] | None = None
    clip_norm: Positive | None = None
    ema: Annotated[Real, Field(gt=0, lt=1)] | None = None
    """Decay of an exponential moving average of the weights, per step; the encoder that is kept is
    then the average.
    """
    label_smoothing: Annotated[Real, Field(ge=0, lt=1)] | None = None
    """Supervised: with s, a label set's mass 1 - s goes to its labels and s to all classes in equal
    parts.
    """
    loss: Literal["softmax", "sigmoid"] | None = None
    """Supervised: cross-entropy over the classes, or of each class by itself.

    None decides by the labels: see `loss_name`.
    """
    mixup: Positive | None = None
    """Supervised: alpha of mixup; with `cutmix` as well, each step takes one of the two at
    random.
    """
    cutmix: Positive | None = None
    """Supervised: alpha of CutMix."""
    contrast: Literal["infonce", "siglip"] | None = None
    """CLIP: softmax over the batch (InfoNCE), or SigLIP's sigmoid of each pair."""
    temperature: Positive | None = None
    """SimCLR's temperature; for CLIP the initial one, which is learned."""
    embedding: Annotated[Whole, Field(ge=2)] | None = None
    """Width of the contrastive embedding (SimCLR, CLIP)."""
    head_layers: Annotated[Whole, Field(ge=1, le=4)] | None = None
    """Layers of SimCLR's projection head."""
    head_width: Annotated[Whole, Field(ge=2)] | None = None
    text_width: Annotated[Whole, Field(ge=8)] | None = None
    text_layers: Annotated[Whole, Field(ge=1)] | None = None
    text_heads: Annotated[Whole, Field(ge=1)] | None = None
    augmentation: Augmentation | None = None

    def loss_name(self, *, single: bool) -> LossName:
        """The loss of a supervised arm; `single` says whether every image has exactly one label.

        Where the recipe leaves it open: softmax where they have, sigmoid where some image has
        several, which is the public recipe for ImageNet-21k's levels. Softmax on several labels is
        against the set normalised to sum 1.
        """
        if self.loss == "sigmoid" or (self.loss is None and not single):
            return "sigmoid"
        return "softmax" if single else "softmax over sets"

    def with_rule(self, *, single: bool) -> Recipe:
        """This recipe, its loss left open where the rule gives the same: an arm is the same one
        whether the study says so or not.
        """
        by_rule = self.model_copy(update={"loss": None})
        return (
            by_rule if by_rule.loss_name(single=single) == self.loss_name(single=single) else self
        )


class Recipes(Recipe):
    """The study's `recipe:` block: fields for all methods, and under a method's name those for it
    alone (these win).
    """

    supervised: Recipe | None = None
    clip: Recipe | None = None
    simclr: Recipe | None = None

    def of(self, method: Method) -> dict[str, Any]:
        """What the study says of one method's recipe, as nested plain values."""
        own: Recipe | None = getattr(self, method, None)
        common = self.model_dump(
            mode="json", exclude_none=True, exclude={"supervised", "clip", "simclr"}
        )
        special = own.words() if own else {}
        both = {**common, **special}
        if "augmentation" in common and "augmentation" in special:
            both["augmentation"] = {**common["augmentation"], **special["augmentation"]}
        return both
