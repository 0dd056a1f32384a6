"""Pre-training recipes: per-method defaults, each marked [paper], [recalled] or [ours].

The papers trained ResNet-50 and ViT-B/16 at 224 px on millions of images. Headwater's studies are
small and controlled, so sizes and rates here are ours; what the papers fix in kind (optimiser
family, augmentation, temperature, head) is kept. A study's `recipe:` block overrides any of them,
and the whole resolved recipe stands on every row.
"""

from __future__ import annotations

from typing import Any

from headwater.errors import InputError, Location
from headwater.study import Augmentation, Method, Recipe, Study

_COMMON: dict[str, Any] = {
    # [paper] entezari2023 for CLIP and SimCLR; hong2023 used Adam for ImageNet-21k [recalled]
    "optimiser": "adamw",
    "momentum": 0.9,  # [paper] AdamW beta1
    "beta2": 0.999,  # [paper] entezari2023, CLIP
    # [ours] a fraction, so that it can never exceed training (entezari2023's code: 500 steps of
    # 128)
    "warmup": 0.05,
    "schedule": "cosine",  # [paper] entezari2023
    "clip_norm": 1.0,  # [recalled]
    "batch": 128,  # [ours] the papers: 1024 (entezari2023), 4096 (hong2023 [recalled])
    "weight_decay": 0.05,  # [ours] entezari2023: 0.1
    "micro_batch": None,  # [ours] a whole batch at once
    "ema": None,  # [ours] no average of weights
}

MAGNITUDE = 9.0
"""RandAugment's magnitude where a study turns it on and names none: timm's default [recalled]."""

DEFAULTS: dict[str, dict[str, Any]] = {
    "supervised": {
        **_COMMON,
        "lr": 3e-3,  # [ours]
        "label_smoothing": 0.0,  # [ours]
        "mixup": None,  # [ours] neither paper names it
        "cutmix": None,  # [ours]
        # [ours] by the labels: softmax for one each; for sets sigmoid, as big_vision trains
        # ImageNet-21k (hong2023 [recalled])
        "loss": None,
        "augmentation": {
            "crop_min": 0.35,
            "flip": 0.5,
            "jitter": 0.4,
            "jitter_probability": 0.5,
            "grey": 0.0,
            "blur": 0.0,
        },  # [ours]
    },
    "clip": {
        **_COMMON,
        "lr": 2e-3,  # [ours] entezari2023: 1e-3
        "contrast": None,  # [paper] InfoNCE, entezari2023
        # [paper] initial value, learned (Radford et al. 2021); with SigLIP's loss
        # SIGLIP_TEMPERATURE
        "temperature": 0.07,
        "embedding": 128,  # [ours]
        "text_width": 128,  # [ours]
        "text_layers": 2,  # [ours]
        "text_heads": 4,  # [ours]
        "augmentation": {
            "crop_min": 0.5,
            "flip": 0.5,
            "jitter": 0.0,
            "jitter_probability": 0.0,
            "grey": 0.0,
            "blur": 0.0,
        },  # [ours]
    },
    "simclr": {
        **_COMMON,
        "beta2": 0.98,  # [paper] entezari2023
        "lr": 2e-3,  # [ours] entezari2023: 1e-3
        "batch": 256,  # [ours] entezari2023: 1024
        "temperature": 0.1,  # [paper] entezari2023
        "embedding": 128,  # [ours] entezari2023: 256
        "head_layers": 3,  # [paper] entezari2023
        "head_width": 512,  # [ours] entezari2023: 4096
        "augmentation": {
            "crop_min": 0.2,  # [ours] entezari2023: 0.08, which at 32 px leaves crops of 9 px
            "flip": 0.5,  # [paper]
            "jitter": 0.5,  # [paper] (0.4, 0.4, 0.4, 0.1) is s = 0.5
            "jitter_probability": 0.8,  # [recalled] Chen et al. 2020
            "grey": 0.2,  # [paper]
            # [recalled] Chen et al. 2020 leave blur out for small images; entezari2023: 0.5 at 224
            # px
            "blur": 0.0,
        },
    },
}

SIGLIP_TEMPERATURE = 0.1
"""[paper] CLIP's default temperature where `contrast` is siglip (Zhai et al. 2023: the learned
scale starts at 10).
"""


def resolve(study: Study, method: Method) -> Recipe | None:
    """The whole recipe of one method in a study, defaults filled in; None for scratch, which trains
    nothing.

    Raises InputError where the study sets a field that the method does not have under that method's
    own name; a field set for all methods reaches those that have it.
    """
    if method == "scratch":
        return None
    defaults = DEFAULTS[method]
    own = getattr(study.recipe, method)
    for name in own.words() if own else ():
        if name not in defaults:
            settings = ", ".join(sorted(defaults))
            raise InputError(
                f"recipe.{method}.{name}: {method} has no such setting; it has {settings}",
                at=("recipe", method, name),
            )
    given = {name: value for name, value in study.recipe.of(method).items() if name in defaults}
    if given.get("contrast") == "siglip":
        given.setdefault("temperature", SIGLIP_TEMPERATURE)
    augmentation = Augmentation(**{**defaults["augmentation"], **given.pop("augmentation", {})})
    recipe = _without_neutral(Recipe(**{**defaults, **given, "augmentation": augmentation}))
    if (
        recipe.text_width is not None
        and recipe.text_heads is not None
        and recipe.text_width % recipe.text_heads
    ):
        at = _place(study, method, "text_width", "text_heads")
        raise InputError(
            f"recipe.{method}: text_width {recipe.text_width} is no multiple of text_heads "
            f"{recipe.text_heads}",
            at=at,
        )
    if recipe.optimiser == "lars" and not {"lr", "weight_decay"} <= set(given):
        said = (
            "lars needs an lr and a weight_decay of its own: about 0.3 for a batch of 256 and in "
            "proportion for others, and 1e-6 (SimCLR's)"
        )
        raise InputError(f"recipe.{method}: {said}", at=_place(study, method, "optimiser"))
    for name in ("momentum", "beta2"):
        if recipe.optimiser == "adamw" and getattr(recipe, name) == 1:
            raise InputError(
                f"recipe.{method}: {name} should be below 1 for adamw",
                at=_place(study, method, name),
            )
    return recipe


def _without_neutral(recipe: Recipe) -> Recipe:
    """A recipe without the later fields that say in words what their absence says: an arm is the
    same one either way.
    """
    augmentation = recipe.augmentation or Augmentation()
    off: dict[str, float | None] = {
        name: None
        for name in ("solarise", "randaugment", "cutout")
        if not getattr(augmentation, name)
    }
    magnitude = augmentation.randaugment_magnitude
    off["randaugment_magnitude"] = (
        (MAGNITUDE if magnitude is None else magnitude) if augmentation.randaugment else None
    )
    contrast = None if recipe.contrast == "infonce" else recipe.contrast
    micro_batch = (
        None
        if recipe.micro_batch and recipe.batch and recipe.micro_batch >= recipe.batch
        else recipe.micro_batch
    )
    return recipe.model_copy(
        update={
            "augmentation": augmentation.model_copy(update=off),
            "contrast": contrast,
            "micro_batch": micro_batch,
        }
    )


def _place(study: Study, method: Method, *fields: str) -> Location:
    """Where the study sets one of these fields for a method: under its own name, or for all
    methods.
    """
    own = getattr(study.recipe, method)
    for name in fields:
        if own is not None and name in own.model_fields_set:
            return ("recipe", method, name)
        if name in study.recipe.model_fields_set:
            return ("recipe", name)
    return ("recipe",)


ROOM_VERSIONS = {
    "views": 2, "pretrain": 2, "features": 2, "probe": 4, "ridge": 2, "knn": 1, "zeroshot": 1, "finetune": 1, "draws": 1, "clusters": 1, "leaks": 1,
}  # fmt: skip
"""Raised by hand when a room's behaviour changes, so that what the old code computed is not taken
for what the new code would. The room of pixels keeps its own (headwater.sources.pixels.RECIPE),
since its cache needs it too.
"""
CLUSTER_ROOMS = ("pixels", "views", "features", "clusters")
ARM_ROOMS = ("pixels", "views", "pretrain")
FEATURE_ROOMS = ("pixels", "views", "features")
CELL_ROOMS: dict[str, tuple[str, ...]] = {
    "probe": (*FEATURE_ROOMS, "draws", "probe"),
    "ridge": (*FEATURE_ROOMS, "draws", "ridge"),
    "knn": (*FEATURE_ROOMS, "draws", "knn"),
    "zeroshot": (*FEATURE_ROOMS, "zeroshot"),
    "finetune": ("pixels", "views", "draws", "finetune"),
    "lpft": ("pixels", "views", "draws", "finetune"),
}


def versions_of(rooms: tuple[str, ...], *, pixels: int) -> dict[str, int]:
    """The versions of some rooms, for an identity."""
    return {room: pixels if room == "pixels" else ROOM_VERSIONS[room] for room in rooms}
