"""How transfer is measured: the protocols, their grids and their shots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Literal

from pydantic import Field, model_validator

from headwater.study.words import Fraction, Name, NonNegative, Positive, Real, Several, Whole, Words

Shots = Literal["full"] | Annotated[Whole, Field(ge=1)]


def _default_l2() -> tuple[float, ...]:
    return tuple(10.0**e for e in range(-5, 2))


class Probe(Words):
    """Frozen encoder, multinomial logistic regression, l2 chosen on validation."""

    shots: Several[Shots] = ("full",)
    draws: Annotated[Whole, Field(ge=1, le=1000)] = 1
    """Few-shot draws per seed; the full training split has one."""
    tasks: Several[Name] | None = None
    """Tasks under this protocol; all when left out."""
    val: Literal["matched", "full"] = "matched"
    """Validation of a few-shot cell: as many images per class as shots, or the whole validation split."""
    l2: Several[Positive] = Field(default_factory=_default_l2)
    """Strengths of the l2 penalty: the loss is mean cross-entropy + l2 / 2 * ||W||^2 on standardised features."""


class Finetune(Words):
    """The whole network, one optimiser grid for all arms, learning rate and stopping point chosen on validation."""

    shots: Several[Shots] = ("full",)
    draws: Annotated[Whole, Field(ge=1, le=1000)] = 1
    tasks: Several[Name] | None = None
    val: Literal["matched", "full"] = "matched"
    steps: Annotated[Whole, Field(ge=1)] = 300
    lr: Several[Positive] = (3e-4, 3e-3)
    batch: Annotated[Whole, Field(ge=2)] = 64
    weight_decay: NonNegative = 0.05
    warmup: Fraction = 0.1
    clip_norm: Positive = 1.0
    looks: Annotated[Whole, Field(ge=1, le=100)] = 3
    """How often validation is looked at, at equal distances, the last at the end."""
    crop_min: Annotated[Real, Field(gt=0, le=1)] = 0.5
    """Smallest area of the random resized crop in fine-tuning; flips have probability 1/2."""
    head_init: Literal["zeros", "probe"] = "zeros"
    """The classification head starts at zero, or from the linear probe of the same cell (LP-FT)."""


class Protocols(Words):
    probe: Probe | None = None
    finetune: Finetune | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> Protocols:
        if self.probe is None and self.finetune is None:
            raise ValueError("give at least one of probe, finetune")
        return self

    def items(self) -> Iterator[tuple[Literal["probe", "finetune"], Probe | Finetune]]:
        if self.probe:
            yield "probe", self.probe
        if self.finetune:
            yield "finetune", self.finetune
