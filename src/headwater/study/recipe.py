"""How an arm is pre-trained: budget, augmentation, recipe."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Literal, Self

from pydantic import AfterValidator, Field, create_model, model_validator
from pydantic.fields import FieldInfo

from headwater.errors import InputError
from headwater.registry import METHODS
from headwater.study.words import (
    Fraction,
    Misplaced,
    NonNegative,
    Positive,
    Real,
    Whole,
    Words,
    default,
)

Method = Annotated[str, AfterValidator(METHODS.known)]
"""The name of a pre-training method."""
MAGNITUDE = 9.0
"""RandAugment's magnitude where a study turns it on and names none: timm's default [recalled]."""


class Budget(Words):
    """How long an arm is pre-trained: exactly one of epochs, images_seen, steps."""

    epochs: Positive | None = None
    """Passes over the arm's different pictures (copies of one file are one); may be a fraction."""
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

    @property
    def title(self) -> str:
        """'40,000 seen', '20 epochs', '500 steps'."""
        if self.epochs is not None:
            return f"{self.epochs:g} epochs"
        return f"{self.images_seen:,} seen" if self.images_seen else f"{self.steps:,} steps"

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
    """Random views of an image. None takes the method's default."""

    crop_min: Annotated[Real, Field(gt=0, le=1)] | None = None
    """Smallest area of a random resized crop, as a share of the image."""
    crop_max: Annotated[Real, Field(gt=0, le=1)] | None = None
    """Largest area of a random resized crop; the whole image when left out."""
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
    """How an arm is trained: what all methods share. A method's own recipe adds its fields and
    says its own defaults.
    """

    batch: Annotated[Whole, Field(ge=2, le=65536)] = default(
        128, "[ours] the papers: 1024 (Entezari et al. 2023), 4096 (Hong et al. 2023 [recalled])"
    )
    micro_batch: Annotated[Whole, Field(ge=2, le=65536)] | None = default(
        None, "[ours] a whole batch at once"
    )
    """Images of one forward pass, where a whole batch does not fit: gradients are added up, for
    contrastive losses by GradCache. The same gradient, but for batch normalisation.
    """
    optimiser: Literal["adamw", "sgd", "lars"] = default(
        "adamw",
        "[paper] Entezari et al. 2023 for CLIP and SimCLR; Hong et al. 2023 used Adam for "
        "ImageNet-21k [recalled]",
    )
    lr: Positive = default(2e-3, "[ours] Entezari et al. 2023: 1e-3")
    weight_decay: NonNegative = default(0.05, "[ours] Entezari et al. 2023: 0.1")
    momentum: Fraction = default(0.9, "[paper] AdamW's beta1")
    """SGD's momentum, or AdamW's beta1."""
    beta2: Fraction = default(0.999, "[paper] Entezari et al. 2023, CLIP")
    warmup: Fraction = default(
        0.05,
        "[ours] a fraction, so that it can never exceed training (Entezari et al. 2023's code: "
        "500 steps of 128)",
    )
    """Warm-up as a fraction of the steps."""
    schedule: Literal["cosine", "constant", "linear"] = default(
        "cosine", "[paper] Entezari et al. 2023"
    )
    clip_norm: Positive | None = default(1.0, "[recalled]")
    ema: Annotated[Real, Field(gt=0, lt=1)] | None = default(None, "[ours] no average of weights")
    """Decay of an exponential moving average of the weights, per step; the encoder that is kept is
    then the average.
    """
    augmentation: Augmentation = default(Augmentation(), "[ours]")

    @classmethod
    def implied(cls, given: Mapping[str, Any]) -> dict[str, Any]:
        """Defaults that follow from what a study says, by field; none for most methods."""
        return {}

    def fault(self, given: Collection[str]) -> tuple[str, tuple[str, ...]] | None:
        """(what is wrong with this recipe as a whole, the fields to blame); None where nothing is.

        `given` are the fields that the study sets.
        """
        if self.optimiser == "lars" and not {"lr", "weight_decay"} <= set(given):
            needed = (
                "lars needs an lr and a weight_decay of its own: about 0.3 for a batch of 256 and "
                "in proportion for others, and 1e-6 (SimCLR's)"
            )
            return needed, ("optimiser",)
        low, high = self.augmentation.crop_min, self.augmentation.crop_max
        if low is not None and high is not None and low > high:
            return f"crop_min {low} is above crop_max {high}", ("augmentation",)
        for name in ("momentum", "beta2"):
            if self.optimiser == "adamw" and getattr(self, name) == 1:
                return f"{name} should be below 1 for adamw", (name,)
        return None

    def neutral(self) -> Self:
        """This recipe without the later fields that say in words what their absence says: an arm
        is the same one either way.
        """
        augmentation, update = self.augmentation, dict[str, Any]()
        for name in ("solarise", "randaugment", "cutout"):
            if not getattr(augmentation, name):
                update[name] = None
        if augmentation.crop_max == 1:
            update["crop_max"] = None
        update["randaugment_magnitude"] = None
        if augmentation.randaugment:
            magnitude = augmentation.randaugment_magnitude
            update["randaugment_magnitude"] = MAGNITUDE if magnitude is None else magnitude
        parts = self.micro_batch is not None and self.micro_batch < self.batch
        return self.model_copy(
            update={
                "augmentation": augmentation.model_copy(update=update),
                "micro_batch": self.micro_batch if parts else None,
            }
        )


class _AllRecipes(Words):
    """What every study's `recipe:` block can do, whatever the methods."""

    def of(self, method: str) -> dict[str, Any]:
        """What the study says of one method's recipe, as nested plain values; its own words win."""
        common = self.model_dump(mode="json", exclude_none=True, exclude=set(METHODS.names()))
        own: Words | None = getattr(self, method, None)
        special = own.words() if own else {}
        both = {**common, **special}
        if "augmentation" in common and "augmentation" in special:
            both["augmentation"] = {**common["augmentation"], **special["augmentation"]}
        return {name: value for name, value in both.items() if name in _fields_of(method)}

    @model_validator(mode="after")
    def _null_is_no_value(self) -> Self:
        """Raises for `lr: null`, which would leave the default standing in silence."""
        for method in METHODS:
            own: Words | None = getattr(self, method.name, None)
            for words, place in ((self, ()), (own, (method.name,))):
                for name in () if words is None else words.model_fields_set:
                    field = _fields_of(method.name).get(name)
                    if field and field.default is not None and getattr(words, name) is None:
                        raise Misplaced(
                            ("recipe", *place, name),
                            f"null says nothing here, and {method.name} would take "
                            f"{field.default}; leave {name} out, or give a value",
                        )
        return self


def _fields_of(method: str) -> Mapping[str, Any]:
    recipe = METHODS[method].recipe
    return {} if recipe is None else recipe.model_fields


def _all_recipes() -> type[_AllRecipes]:
    """The model of the `recipe:` block: every field of every method, and under a method's name a
    block of its own fields alone. A field that is not set says nothing.

    Raises InputError for a method of another package whose words clash with those of others.
    """
    common: dict[str, Any] = {}
    blocks: dict[str, Any] = {}
    owners: dict[str, str] = {}
    for method in METHODS:
        if method.recipe is None:
            continue
        fields = method.recipe.model_fields
        own: dict[str, Any] = {name: _optional(field) for name, field in fields.items()}
        for name in sorted(own.keys() & common.keys()):
            if own[name] != common[name]:
                raise InputError(
                    f"the recipes of {owners[name]} and {method.name} both have a field {name!r}, "
                    "with other values allowed; one of them should call it something else"
                )
        owners = {**dict.fromkeys(own, method.name), **owners}
        common = {**own, **common}
        title = f"{method.name}_recipe"
        block: Any = create_model(title, __base__=Words, __doc__=f"Of {method.name} alone.", **own)
        blocks[method.name] = (block | None, None)
    for name in sorted(common.keys() & METHODS.names()):
        raise InputError(
            f"the method {name!r} is called what {owners[name]} calls a field of its recipe; "
            "one of them should be called something else"
        )
    return create_model(
        "Recipes",
        __base__=_AllRecipes,
        __doc__="The study's `recipe:` block: fields for all methods that have them, and under a "
        "method's name those for it alone, which win.",
        **common,
        **blocks,
    )


def _optional(field: FieldInfo) -> tuple[Any, None]:
    """A field of a recipe where it may be left open."""
    kind = field.annotation
    if field.metadata:
        kind = Annotated[kind, *field.metadata]  # type: ignore[assignment]
    return kind | None, None  # type: ignore[operator]


if TYPE_CHECKING:

    class Recipes(_AllRecipes):
        """The study's `recipe:` block; `_all_recipes` makes its fields."""


def __getattr__(name: str) -> Any:
    """`Recipes`, made when it is first asked for: by then all methods can be imported."""
    if name == "Recipes":
        made = globals()["Recipes"] = _all_recipes()
        return made
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
