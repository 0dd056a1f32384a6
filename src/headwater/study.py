"""The words of a study: what is varied, what is held equal, what is measured. Frozen, validated, canonical; needs no data.

A study file is YAML in the closed schema below (docs/study.md shows all of it). `Study.arms()` crosses the axes

    sources x sizes x methods x (labels | captions) x seeds        plus one `scratch` arm a seed

and every arm is transferred to every task under every protocol, at every shot count and draw. An axis that means nothing to a method
(labels to SimCLR) is not crossed with it. All else (budget, backbone, image size, recipe, grids) is one value for the study: arms differ
only in what the study varies.
"""

from __future__ import annotations

import difflib
import hashlib
import json
from collections.abc import Iterator, Mapping
from functools import cached_property
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

METHODS = ("scratch", "supervised", "clip", "simclr")
Method = Literal["scratch", "supervised", "clip", "simclr"]
Size = Literal["all"] | Annotated[int, Field(ge=1)]
Shots = Literal["full"] | Annotated[int, Field(ge=1)]
Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+@-]{0,63}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, and nothing that is None, so that a field added later does not change an old id."""
    return json.dumps(_without_none(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(v) for v in value]
    return value


def identity(value: Any) -> str:
    """The id of something: 16 hex digits (64 bits) of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def _one_as_list(value: Any) -> Any:
    return [value] if isinstance(value, str | int | float) else value


class Misplaced(ValueError):
    """Something wrong at a known place of the study, so that the file's line can be named."""

    def __init__(self, location: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.location = location


class Words(BaseModel):
    """Base of all parts of a study: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def words(self) -> dict[str, Any]:
        """The fields as plain JSON values, for canonical hashing."""
        return self.model_dump(mode="json", exclude_none=True)


class FolderData(Words):
    """Images in a folder: an ImageFolder, a folder with labels.csv (and captions.jsonl), or bare images."""

    kind: Literal["folder"]
    path: Annotated[str, Field(min_length=1)]
    """The folder, absolute, or relative to the data root (`--data-root` or HEADWATER_DATA)."""


class WorldData(Words):
    kind: Literal["world"]
    domain: str = "paint"


Data = Annotated[FolderData | WorldData, Field(discriminator="kind")]


class Budget(Words):
    """How long an arm is pre-trained: exactly one of epochs, images_seen, steps."""

    epochs: Positive | None = None
    """Passes over the arm's images; may be a fraction."""
    images_seen: Annotated[int, Field(ge=1)] | None = None
    """Images (not views) that pass through training."""
    steps: Annotated[int, Field(ge=1)] | None = None
    """Optimiser steps."""

    @model_validator(mode="after")
    def _exactly_one(self) -> Budget:
        given = [name for name in ("epochs", "images_seen", "steps") if getattr(self, name) is not None]
        if len(given) != 1:
            raise ValueError(f"give exactly one of epochs, images_seen, steps, not {' and '.join(given) if given else 'none'}")
        return self

    def images(self, unique_images: int, batch: int) -> int:
        """Images seen by an arm of `unique_images` images at this batch (at least 1)."""
        if self.epochs is not None:
            return max(1, round(self.epochs * unique_images))
        if self.images_seen is not None:
            return self.images_seen
        assert self.steps is not None
        return self.steps * batch


class Augmentation(Words):
    """Random views of an image. None takes the method's default (headwater.recipes)."""

    crop_min: Annotated[float, Field(gt=0, le=1)] | None = None
    """Smallest area of a random resized crop, as a share of the image."""
    flip: Fraction | None = None
    """Probability of a horizontal flip."""
    jitter: Annotated[float, Field(ge=0, le=2)] | None = None
    """Strength s of colour jitter: brightness, contrast, saturation 0.8 s, hue 0.2 s (SimCLR's s)."""
    jitter_probability: Fraction | None = None
    grey: Fraction | None = None
    """Probability of turning a view grey."""
    blur: Fraction | None = None
    """Probability of a Gaussian blur, sigma in [0.1, 2] px at 224 px, scaled with the image size."""


class Recipe(Words):
    """How an arm is trained. None takes the method's default (headwater.recipes lists them with their sources)."""

    batch: Annotated[int, Field(ge=2, le=65536)] | None = None
    optimiser: Literal["adamw", "sgd"] | None = None
    lr: Positive | None = None
    weight_decay: NonNegative | None = None
    momentum: Fraction | None = None
    """SGD's momentum, or AdamW's beta1."""
    beta2: Fraction | None = None
    warmup: Fraction | None = None
    """Warm-up as a fraction of the steps."""
    schedule: Literal["cosine", "constant", "linear"] | None = None
    clip_norm: Positive | None = None
    label_smoothing: Annotated[float, Field(ge=0, lt=1)] | None = None
    temperature: Positive | None = None
    """SimCLR's temperature; for CLIP the initial one, which is learned."""
    embedding: Annotated[int, Field(ge=2)] | None = None
    """Width of the contrastive embedding (SimCLR, CLIP)."""
    head_layers: Annotated[int, Field(ge=1, le=4)] | None = None
    """Layers of SimCLR's projection head."""
    head_width: Annotated[int, Field(ge=2)] | None = None
    text_width: Annotated[int, Field(ge=8)] | None = None
    text_layers: Annotated[int, Field(ge=1)] | None = None
    text_heads: Annotated[int, Field(ge=1)] | None = None
    augmentation: Augmentation | None = None


class Recipes(Recipe):
    """The study's `recipe:` block: fields for all methods, and under a method's name those for it alone (these win)."""

    supervised: Recipe | None = None
    clip: Recipe | None = None
    simclr: Recipe | None = None

    def of(self, method: Method) -> dict[str, Any]:
        """What the study says of one method's recipe, as nested plain values."""
        own: Recipe | None = getattr(self, method, None)
        common = self.model_dump(mode="json", exclude_none=True, exclude={"supervised", "clip", "simclr"})
        special = own.words() if own else {}
        both = {**common, **special}
        if "augmentation" in common and "augmentation" in special:
            both["augmentation"] = {**common["augmentation"], **special["augmentation"]}
        return both


class SourceUse(Words):
    """A data set used for pre-training. `methods`, `labels` and `sizes` narrow the study's axes for this source."""

    data: Name
    splits: Annotated[tuple[str, ...], BeforeValidator(_one_as_list), Field(min_length=1)] = ("train",)
    """Splits whose images are pre-trained on."""
    split_column: str = "split"
    methods: Annotated[tuple[Method, ...], BeforeValidator(_one_as_list)] | None = None
    labels: Annotated[tuple[str, ...], BeforeValidator(_one_as_list)] | None = None
    captions: str | None = None
    sizes: Annotated[tuple[Size, ...], BeforeValidator(_one_as_list)] | None = None


class TaskUse(Words):
    """A downstream task: a data set, a label view of it and its splits."""

    data: Name
    labels: str = "level:0"
    split_column: str = "split"
    cap: bool = False
    """Where a class has fewer images than shots: take what there is (recorded) instead of an error."""


def _default_l2() -> tuple[float, ...]:
    return tuple(10.0**e for e in range(-6, 3))


class Probe(Words):
    """Frozen encoder, multinomial logistic regression, l2 chosen on validation."""

    shots: Annotated[tuple[Shots, ...], BeforeValidator(_one_as_list), Field(min_length=1)] = ("full",)
    draws: Annotated[int, Field(ge=1, le=1000)] = 1
    """Few-shot draws per seed; the full training split has one."""
    tasks: Annotated[tuple[Name, ...], BeforeValidator(_one_as_list)] | None = None
    """Tasks under this protocol; all when left out."""
    val: Literal["matched", "full"] = "matched"
    """Validation of a few-shot cell: as many images per class as shots, or the whole validation split."""
    l2: Annotated[tuple[Positive, ...], BeforeValidator(_one_as_list), Field(min_length=1)] = Field(default_factory=_default_l2)
    """Strengths of the l2 penalty: the loss is mean cross-entropy + l2 / 2 * ||W||^2 on standardised features."""


class Finetune(Words):
    """The whole network, one optimiser grid for all arms, learning rate and stopping point chosen on validation."""

    shots: Annotated[tuple[Shots, ...], BeforeValidator(_one_as_list), Field(min_length=1)] = ("full",)
    draws: Annotated[int, Field(ge=1, le=1000)] = 1
    tasks: Annotated[tuple[Name, ...], BeforeValidator(_one_as_list)] | None = None
    val: Literal["matched", "full"] = "matched"
    steps: Annotated[int, Field(ge=1)] = 300
    lr: Annotated[tuple[Positive, ...], BeforeValidator(_one_as_list), Field(min_length=1)] = (3e-4, 3e-3)
    batch: Annotated[int, Field(ge=2)] = 64
    weight_decay: NonNegative = 0.05
    warmup: Fraction = 0.1
    clip_norm: Positive = 1.0
    looks: Annotated[int, Field(ge=1, le=100)] = 3
    """How often validation is looked at, at equal distances, the last at the end."""
    crop_min: Annotated[float, Field(gt=0, le=1)] = 0.5
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


class Arm(Words):
    """One pre-training run, in words. Its id also takes in the images and labels that the words point to (headwater.plan)."""

    method: Method
    source: str | None = None
    size: Size | None = None
    labels: str | None = None
    """Label view for supervised, caption field for clip."""
    seed: int

    @property
    def title(self) -> str:
        """How a person calls it, without the seed."""
        parts = [self.method, self.source, self.labels, None if self.size in (None, "all") else f"{self.size} images"]
        return " · ".join(str(p) for p in parts if p is not None)


class Cell(Words):
    """One measurement, in words: an arm on a task under a protocol, at a shot count (None = full) and a draw (None at full)."""

    task: str
    protocol: Literal["probe", "finetune"]
    shots: int | None
    draw: int | None


def _source_shorthand(value: Any) -> Any:
    """`sources: [a, b]` means each of these data sets, with nothing narrowed."""
    if isinstance(value, str):
        value = [value]
    if isinstance(value, list):
        for i, name in enumerate(value):
            if not isinstance(name, str):
                raise ValueError(f"a list of sources holds names of data sets, not {name!r}")
            if name in value[:i]:
                raise ValueError(f"{name!r} is listed twice")
        return {name: {"data": name} for name in value}
    if isinstance(value, dict):
        return {name: {"data": name} if use is None else {"data": name, **use} if isinstance(use, dict) else use for name, use in value.items()}
    return value


def _seed_shorthand(value: Any) -> Any:
    """`seeds: 3` means seeds 0, 1, 2."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= 10_000:
            raise ValueError("a number of seeds is between 1 and 10000")
        return list(range(value))
    return value


class Study(Words):
    """A whole study. `Study.load(path)` reads a file; errors name the line, the key and the nearest valid one."""

    study: Name
    """Its name."""
    question: str | None = None
    """What it is to answer, shown at the top of the report."""
    data: Annotated[dict[Name, Data], Field(min_length=1)]
    """Data sets by name."""
    sources: Annotated[dict[Name, SourceUse], BeforeValidator(_source_shorthand)] = Field(default_factory=dict)
    """What is pre-trained on: names of data sets, or a mapping with narrowed axes."""
    methods: Annotated[tuple[Method, ...], BeforeValidator(_one_as_list), Field(min_length=1)] = ("scratch", "supervised")
    labels: Annotated[tuple[str, ...], BeforeValidator(_one_as_list)] = ("level:0",)
    """Label views that the supervised arms are trained on."""
    captions: str = "captions"
    """Text field that the CLIP arms are trained on, or `template` (class names in templates)."""
    sizes: Annotated[tuple[Size, ...], BeforeValidator(_one_as_list), Field(min_length=1)] = ("all",)
    """How many of a source's images are used, drawn by key: nested, so that a larger size holds the smaller one."""
    seeds: Annotated[tuple[Annotated[int, Field(ge=0, lt=2**31)], ...], BeforeValidator(_seed_shorthand), Field(min_length=1)] = (0, 1, 2)
    budget: Budget
    backbone: Annotated[str, Field(pattern=r"^[A-Za-z0-9_.]{1,80}$")] = "tiny"
    """A timm architecture (from scratch, never downloaded), or `tiny`: timm's test_resnet."""
    image_size: Annotated[int, Field(ge=8, le=1024)] = 32
    recipe: Recipes = Field(default_factory=Recipes)
    tasks: Annotated[dict[Name, TaskUse], Field(min_length=1)]
    protocols: Protocols = Field(default_factory=lambda: Protocols(probe=Probe()))
    precision: Literal["auto", "fp32", "bf16"] = "auto"

    @model_validator(mode="after")
    def _names_exist(self) -> Study:
        for name, use in self.sources.items():
            _known(("sources", name, "data"), use.data, self.data)
        for name, task in self.tasks.items():
            _known(("tasks", name, "data"), task.data, self.data)
        for protocol, words in self.protocols.items():
            for task_name in words.tasks or ():
                _known(("protocols", protocol, "tasks"), task_name, self.tasks)
        if not self.sources and set(self.methods) != {"scratch"}:
            raise Misplaced(("sources",), "none is named, and every method but scratch pre-trains on one")
        for axis in ("methods", "labels", "sizes", "seeds"):
            values = getattr(self, axis)
            for i, value in enumerate(values):
                if value in values[:i]:
                    raise Misplaced((axis,), f"{value!r} is listed twice")
        return self

    @classmethod
    def load(cls, path: str | Path) -> Study:
        """Read and validate a study file. Raises InputError with file, line, key and the nearest valid key."""
        from headwater.study_file import load_study

        return load_study(Path(path))

    def arms(self) -> list[Arm]:
        """All arms, each once, in the order of the axes."""
        arms: dict[Arm, None] = {}
        for seed in self.seeds:
            if "scratch" in self.methods:
                arms[Arm(method="scratch", seed=seed)] = None
            for name, use in self.sources.items():
                for size in use.sizes or self.sizes:
                    for method in use.methods or self.methods:
                        for labels in self._views(use, method):
                            arms[Arm(method=method, source=name, size=size, labels=labels, seed=seed)] = None
        return list(arms)

    def _views(self, use: SourceUse, method: Method) -> tuple[str | None, ...]:
        if method == "supervised":
            return use.labels or self.labels
        if method == "clip":
            return (use.captions or self.captions,)
        return () if method == "scratch" else (None,)

    def cells(self) -> list[Cell]:
        """What is measured of every arm, in words."""
        cells: list[Cell] = []
        for protocol, words in self.protocols.items():
            for task in words.tasks or tuple(self.tasks):
                for shots in words.shots:
                    for draw in range(words.draws) if shots != "full" else (None,):
                        cells.append(Cell(task=task, protocol=protocol, shots=None if shots == "full" else shots, draw=draw))
        return cells

    @cached_property
    def digest(self) -> str:
        """Hash of the whole study's words: tells whether two study files mean the same."""
        return identity(self.words())


def _known(at: tuple[str | int, ...], name: str, valid: Mapping[str, Any]) -> None:
    if name not in valid:
        near = difflib.get_close_matches(name, list(valid), n=1)
        raise Misplaced(at, f"{name!r} is not defined" + (f"; did you mean {near[0]!r}?" if near else f"; defined are {', '.join(valid)}"))
