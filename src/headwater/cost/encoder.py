"""What the estimate needs to know of an encoder on a machine."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass

from headwater.plan import PlannedArm
from headwater.study import identity


@dataclass(frozen=True)
class Measured:
    """An encoder on a machine."""

    forward_flops: float
    """Of one image, multiply-add = 2."""
    num_features: int
    weight_bytes: int
    image_flops: dict[str, float]
    """By `recipe_key`: what one image costs in training."""
    timm: dict[str, tuple[float, int]]
    """By name, of models whose features labels are made from: (FLOPs of one image, side in
    pixels).
    """
    notes: list[str]
    """What a person should know of the backbone before training."""
    images_per_s: float
    """Training images per second of one worker."""
    device: str
    """cpu, cuda or mps."""
    date: str | None
    """The day on which it was measured, ISO 8601; None for a rate that is a guess."""


def recipe_key(arm: PlannedArm) -> str:
    """What tells apart arms whose images cost different FLOPs."""
    assert arm.recipe is not None
    return f"{arm.words.method} {arm.method.version} {identity(arm.recipe.words())}"


def by_recipe(arms: Iterable[PlannedArm]) -> Iterator[tuple[str, PlannedArm]]:
    """(`recipe_key`, arm) of the arms that have a recipe. One that arms share is hashed once."""
    known: dict[tuple[str, int], str] = {}
    for arm in arms:
        if arm.recipe is None:
            continue
        same = (arm.words.method, id(arm.recipe))
        if same not in known:
            known[same] = recipe_key(arm)
        yield known[same], arm
