"""A method's whole recipe in a study, and the version numbers of the rooms that make a result.

The papers trained ResNet-50 and ViT-B/16 at 224 px on millions of images. Headwater's studies are
small and controlled, so sizes and rates are ours; what the papers fix in kind (optimiser family,
augmentation, temperature, head) is kept. Each method's recipe says its defaults and where each
comes from. A study's `recipe:` block overrides any of them, and the whole resolved recipe stands
on every row.
"""

from __future__ import annotations

from pydantic import ValidationError

from headwater.errors import InputError, Location
from headwater.registry import METHODS
from headwater.study.recipe import Augmentation, Recipe
from headwater.study.study import Study


def resolve(study: Study, method: str) -> Recipe | None:
    """The whole recipe of one method in a study, defaults filled in; None for a method that trains
    nothing.

    A field that the study sets for all methods reaches those that have it. Raises InputError where
    fields do not go together.
    """
    kind = METHODS[method].recipe
    if kind is None:
        return None
    given = study.recipe.of(method)
    augmentation = kind().augmentation.words() | given.pop("augmentation", {})
    values = {**kind.implied(given), **given, "augmentation": Augmentation(**augmentation)}
    try:
        recipe = kind(**values).neutral()
    except (
        ValidationError
    ) as error:  # what a study says is valid; what a method implies need not be
        first = error.errors()[0]
        field = ".".join(str(part) for part in first["loc"])
        raise InputError(
            f"recipe.{method}: {field}: {first['msg']}", at=_place(study, method, field)
        ) from None
    fault = recipe.fault(given.keys())
    if fault is not None:
        reason, fields = fault
        raise InputError(f"recipe.{method}: {reason}", at=_place(study, method, *fields))
    return recipe


def _place(study: Study, method: str, *fields: str) -> Location:
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
    "views": 2,
    "pretrain": 3,
    "features": 2,
    "draws": 1,
    "leaks": 1,
}
"""Raised by hand when a room's behaviour changes, so that what the old code computed is not taken
for what the new code would. The room of pixels keeps its own (headwater.sources.pixels.RECIPE),
since its cache needs it too, each protocol its own (headwater.transfer.protocols), and each label
view that is made from features (headwater.labels.kinds).
"""
ARM_ROOMS = ("pixels", "views", "pretrain")
FEATURE_ROOMS = ("pixels", "views", "features")


def versions_of(rooms: tuple[str, ...], *, pixels: int) -> dict[str, int]:
    """The versions of some rooms, for an identity."""
    return {room: pixels if room == "pixels" else ROOM_VERSIONS[room] for room in rooms}
