"""How transfer is measured: the protocols, their grids and their shots."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, model_validator

from headwater.study.words import (
    Fraction,
    Misplaced,
    Name,
    NonNegative,
    Positive,
    Real,
    Several,
    Whole,
    Words,
)

Shots = Literal["full"] | Annotated[Whole, Field(ge=1)]
ProtocolName = Literal["probe", "ridge", "knn", "zeroshot", "finetune", "lpft"]
Penalty = Annotated[Positive, Field(ge=1e-12, le=1e12)]
"""Beyond these the arithmetic of float32 ends, and long before them nothing changes any more."""
HeadInit = Literal["zeros", "probe", "text"]


def _default_l2() -> tuple[float, ...]:
    return tuple(10.0**e for e in range(-5, 2))


def _default_ridge_l2() -> tuple[float, ...]:
    return tuple(float(f"{10 ** (e / 4):.6g}") for e in range(-24, 21))


def _templates(values: tuple[str, ...]) -> tuple[str, ...]:
    for value in values:
        if (
            value.count("{}") != 1
            or value.replace("{}", "").count("{")
            or value.replace("{}", "").count("}")
        ):
            raise ValueError(
                f"{value!r} is no template; write one {{}} where the class name goes, and no other "
                "brace"
            )
    return values


class _OnImages(Words):
    """A protocol that is fitted to images of the task."""

    shots: Several[Shots] = ("full",)
    draws: Annotated[Whole, Field(ge=1, le=1000)] = 1
    """Few-shot draws per seed; the full training split has one."""
    tasks: Several[Name] | None = None
    """Tasks under this protocol; all when left out."""
    val: Literal["matched", "full"] = "matched"
    """Validation of a few-shot cell: as many images per class as shots, or the whole validation
    split.
    """

    def grid(self) -> dict[str, Any]:
        """What a choice is made from, or what is held equal, for a row: all but shots, draws, tasks
        and val.
        """
        return self.model_dump(mode="json", exclude={"shots", "draws", "tasks", "val"})

    def cells(self) -> Iterator[tuple[int | None, int | None]]:
        """(shots, draw) of every cell of an arm on a task; None for full."""
        for shots in self.shots:
            for draw in range(self.draws) if shots != "full" else (None,):
                yield None if shots == "full" else shots, draw


class Probe(_OnImages):
    """Frozen encoder, multinomial logistic regression, l2 chosen on validation."""

    l2: Several[Penalty] = Field(default_factory=_default_l2)
    """Strengths of the l2 penalty: the loss is mean cross-entropy + l2 / 2 * ||W||^2 on
    standardised features.
    """


class Ridge(_OnImages):
    """Frozen encoder, ridge regression of one-hot labels in closed form, l2 chosen on
    validation.
    """

    l2: Several[Penalty] = Field(default_factory=_default_ridge_l2)
    """Strengths of the l2 penalty: the loss is mean squared error + l2 * ||W||^2 on standardised
    features. 45 from 1e-6 to 1e5 when left out [ours].
    """


class Knn(_OnImages):
    """Frozen encoder, weighted nearest neighbours by cosine; their number and the temperature
    chosen on validation.
    """

    neighbours: Several[Annotated[Whole, Field(ge=1, le=100_000)]] = (1, 5, 20)
    """Numbers of neighbours; one above the training images means all of them."""
    temperature: Several[Annotated[Real, Field(ge=1e-3, le=1e3)]] = (0.07,)
    """Of the weights exp(similarity / temperature). 0.07: Wu et al. 2018 [recalled]."""


class ZeroShot(Words):
    """A CLIP arm's image and text towers, without an image of the task: classes by their names in
    prompts.
    """

    tasks: Several[Name] | None = None
    templates: Annotated[Several[str], AfterValidator(_templates)] | None = None
    """Prompts with {} for the class name; those of the task where it is a published one that has
    some, otherwise the default eight, when left out.
    """

    def cells(self) -> Iterator[tuple[int | None, int | None]]:
        yield None, None


class Finetune(_OnImages):
    """The whole network, one optimiser grid for all arms, learning rate and stopping point chosen
    on validation.
    """

    steps: Annotated[Whole, Field(ge=1)] = 300
    lr: Several[Positive] = (3e-4, 3e-3)
    batch: Annotated[Whole, Field(ge=2)] = 64
    weight_decay: NonNegative = 0.05
    warmup: Fraction = 0.1
    """As a share of the steps, so that it cannot exceed them."""
    clip_norm: Positive = 1.0
    looks: Annotated[Whole, Field(ge=1, le=100)] = 3
    """How often validation is looked at, at equal distances, the last at the end."""
    crop_min: Annotated[Real, Field(gt=0, le=1)] = 0.5
    """Smallest area of the random resized crop in fine-tuning; flips have probability 1/2."""
    head_init: HeadInit = "zeros"
    """The classification head starts at zero, from the linear probe of the same cell (LP-FT), or
    from class names (text), which only CLIP arms can.
    """


class LpFt(Finetune):
    """Fine-tuning from the linear probe of the same cell (Kumar et al. 2022): so that both starts
    can stand in one study.
    """

    head_init: HeadInit = "probe"


AnyProtocol = Probe | Ridge | Knn | ZeroShot | Finetune


class Protocols(Words):
    probe: Probe | None = None
    ridge: Ridge | None = None
    knn: Knn | None = None
    zeroshot: ZeroShot | None = None
    finetune: Finetune | None = None
    lpft: LpFt | None = None

    @model_validator(mode="after")
    def _at_least_one(self) -> Protocols:
        if not list(self.items()):
            raise ValueError(f"give at least one of {', '.join(type(self).model_fields)}")
        if self.lpft is not None and self.lpft.head_init != "probe":
            raise Misplaced(
                ("lpft", "head_init"), "lpft starts from the probe; `finetune` has the other starts"
            )
        return self

    def items(self) -> Iterator[tuple[ProtocolName, AnyProtocol]]:
        """(name, words) of the protocols that are asked for."""
        for name in type(self).model_fields:
            words = getattr(self, name)
            if words is not None:
                yield name, words  # type: ignore[misc]

    def named(self, name: str) -> AnyProtocol:
        """The words of a protocol that is asked for."""
        words: AnyProtocol = getattr(self, name)
        return words
