"""Pre-training methods: encode(views) -> embeddings, loss(embeddings, batch, ranks), heads and
hooks; nothing else. The loop is headwater.pretrain.

A method is one file in this folder: it declares its recipe (with defaults and where each comes
from), what it needs, what it costs, how it is shown, and how it is built. Importing it imports no
torch, which is imported where something is built or computed. Encoding and loss are kept apart, so
that embeddings can be gathered from other processes, cached and computed again in parts.

    class Mine(Method):
        name, title, version, order = "mine", "Mine", 1, 60
        needs, recipe = "images", MineRecipe

        def __init__(self, encoder, inputs):
            from torch import nn

            super().__init__(encoder, inputs)
            self.net.head = nn.Linear(encoder.num_features, inputs.recipe.embedding)

        def encode(self, views, batch): ...
        def loss(self, embeddings, batch, ranks=ALONE): ...


    ENTRY = Mine
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Literal, Self

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.ranks import ALONE, Ranks
from headwater.registry import METHODS
from headwater.study.recipe import Augmentation, Recipe

if TYPE_CHECKING:
    import torch
    from torch import nn

    from headwater.labels import Targets

SHARED = ("contrastive", "text", "tiles")
"""Modules of this folder that are no methods."""
Needs = Literal["labels", "captions", "images", "nothing"]


@dataclass(frozen=True)
class Mix:
    """Two images blended into one (mixup, CutMix): the partner's labels count `share`, the image's
    own the rest.
    """

    partners: NDArray[np.int64]
    """int64 [b]: positions of the images that are mixed in."""
    partner_epochs: NDArray[np.int64]
    share: float
    """In [0, 1]."""

    def part(self, part: slice) -> Mix:
        return Mix(self.partners[part], self.partner_epochs[part], self.share)


@dataclass(frozen=True)
class Batch:
    """The images of a step, or some of them, by position and epoch: what finds their targets and
    captions. int64 [b] each.
    """

    positions: NDArray[np.int64]
    epochs: NDArray[np.int64]
    mix: Mix | None = None

    def __len__(self) -> int:
        return len(self.positions)

    def part(self, part: slice) -> Batch:
        return Batch(
            self.positions[part], self.epochs[part], self.mix.part(part) if self.mix else None
        )


@dataclass(frozen=True)
class Crop:
    """Random views of one size."""

    count: int = 1
    """Views of each image."""
    image_size: int | None = None
    """Their side in pixels; the study's where it is None."""
    augmentation: Augmentation | None = None
    """How they are made; the recipe's where it is None."""


@dataclass(frozen=True)
class Mixing:
    """How images are blended: Beta's alpha of mixup and of CutMix, None for none. With both each
    step takes one of the two at random.
    """

    mixup: float | None = None
    cutmix: float | None = None


@dataclass(frozen=True, kw_only=True)
class Inputs:
    """What a method is built from, beside the encoder."""

    recipe: Any
    """The method's own recipe."""
    seed: int
    hashes: NDArray[np.int64]
    """int64 [num_images]: the keyed hash of each image's id, for draws that belong to an image."""
    targets: Targets | None = None
    """Labels of the images; of a method that needs labels alone."""
    captions: Sequence[list[str]] | None = None
    """One list for each image; of a method that needs captions alone."""


class Method(ABC):
    """A declaration, as a class, and what is trained, as an instance.

    `net` is the torch module that holds everything with weights or state: `net.encoder`, which maps
    images [n, 3, s, s] to features [n, d], and what the method puts beside it. All of it is in
    checkpoints; parameters with requires_grad are trained. A name that the method lacks is looked
    up in `net`.
    """

    name: ClassVar[str]
    title: ClassVar[str]
    """What people call it."""
    version: ClassVar[int]
    """Raised by hand when the behaviour of this method changes; enters the identity of its arms
    alone.
    """
    order: ClassVar[float]
    colour: ClassVar[str | None] = None
    """In charts, as #RRGGBB; None takes a spare one."""
    needs: ClassVar[Needs]
    """labels (a label view of the source), captions (a text field), images, or nothing."""
    recipe: ClassVar[type[Recipe] | None]
    """The words of its recipe; None for a method that trains nothing."""
    trains: ClassVar[bool] = True
    """Whether there is anything to train: only then a source, a size and a budget mean anything."""
    text_tower: ClassVar[bool] = False
    """Whether its arms keep a text tower, which can turn class names into a head."""
    contrastive: ClassVar[bool] = False
    """Whether the loss compares the images of a batch with one another, so that it is not a mean
    over images of what each costs by itself.
    """
    kept: ClassVar[str] = "encoder"
    """The encoder in `net` that is kept at the end: another than the trained one where a method
    trains an average of it beside it.
    """
    num_views: ClassVar[int] = 1
    """Random views of each image in a batch, where all are of one size."""

    net: nn.Module

    def __init__(self, encoder: nn.Module, inputs: Inputs) -> None:
        """The method of an arm around its encoder. A subclass puts its heads into `net`, drawn
        from the key of the seed.
        """
        from torch import nn

        self.net = nn.Module()
        self.net.encoder = encoder

    # what can be known before anything is built
    @classmethod
    def crops(cls, recipe: Any, image_size: int) -> tuple[Crop, ...]:
        """The views of each image, by size: one tensor of `encode`'s views for each."""
        return (Crop(cls.num_views),)

    @classmethod
    def mixing(cls, recipe: Any) -> Mixing:
        """How images are blended before the network sees them; not at all by default."""
        return Mixing()

    @classmethod
    def image_flops(cls, recipe: Any, encoder: nn.Module, image_size: int) -> float:
        """FLOPs (multiply-add = 2) that one image costs in training: by default three forward
        passes of the encoder (forward, and backward twice that) for each view; small heads are not
        counted.
        """
        from headwater.models import forward_flops

        crops = cls.crops(recipe, image_size)
        return sum(
            3.0 * crop.count * forward_flops(encoder, crop.image_size or image_size)
            for crop in crops
        )

    @classmethod
    def caption_flops(cls, recipe: Any) -> float:
        """FLOPs that the caption of one image costs in training beside `image_flops`, at the whole
        context; 0 for a method that reads none.
        """
        return 0.0

    @classmethod
    def context(cls, recipe: Any) -> int | None:
        """Tokens of CLIP's tokenizer that it reads of a caption, start and end counted; None for a
        method that reads captions in another way, or none.
        """
        return None

    @classmethod
    def split_note(cls, recipe: Any) -> str | None:
        """What a person should know where a batch is split over ranks or micro-batches; None where
        nothing but the encoder feels it.
        """
        return None

    @classmethod
    def loss_name(cls, recipe: Any, *, single: bool) -> str | None:
        """How rows name the loss on labels; `single` says whether every image has exactly one.
        None where there are no labels.
        """
        return None

    @classmethod
    def settled(cls, recipe: Any, *, single: bool) -> Any:
        """The recipe once its labels are known: without words that only say what the rule for such
        labels says anyway.
        """
        return recipe

    @classmethod
    def prepared(cls, encoder: nn.Module, recipe: Any, image_size: int) -> nn.Module:
        """The encoder, able to do what this method asks of it.

        Raises InputError, blamed on the study's `backbone` or on a word of the recipe, for one that
        cannot.
        """
        return encoder

    # what is trained
    @abstractmethod
    def encode(self, views: Sequence[torch.Tensor], batch: Batch) -> tuple[torch.Tensor, ...]:
        """Embeddings of a batch, each [b, ...]: of its views, and of its captions.

        `views` has one tensor for each of `crops`, float32 [count * b, 3, s, s]: view 0 of all
        images comes first, then view 1.
        """

    @abstractmethod
    def loss(
        self, embeddings: tuple[torch.Tensor, ...], batch: Batch, ranks: Ranks = ALONE
    ) -> torch.Tensor:
        """The scalar loss (float32, mean over this process's images, in nats) of a batch's
        embeddings, which contrastive methods compare with those of all ranks.
        """

    def loss_parameters(self) -> list[nn.Parameter]:
        """Parameters that only the loss reads, when embeddings are given: a temperature, not a
        head.
        """
        return []

    def before_step(self, step: int, steps: int) -> None:
        """Called before the gradient of a step (0-based) of `steps` is computed: for schedules."""
        return

    def after_step(self, step: int, steps: int, ranks: Ranks = ALONE) -> None:
        """Called when the optimiser has taken a step: for averages of weights and the like, which
        belong into `net` so that a checkpoint holds them.
        """
        return

    def at_chance(self, loss: float, batch: int) -> str | None:
        """What a person should hear where a mean loss at this batch is that of embeddings which
        tell nothing; None where all is well.
        """
        return None

    def compile(self) -> None:
        """Send what costs most through torch.compile: by default the encoder, where training calls
        it as a whole.
        """
        # so that the kernels of a step do not depend on where a run went on
        self.encoder.compile(dynamic=False)

    def save_heads(self, folder: Path) -> None:
        """Write to an arm's folder what it needs to keep beside the encoder: a text tower, nothing
        for most.
        """
        return

    # as a torch module
    @property
    def encoder(self) -> nn.Module:
        return self.net.encoder  # type: ignore[return-value]

    def train(self, mode: bool = True) -> Self:
        self.net.train(mode)
        return self

    def eval(self) -> Self:
        return self.train(False)

    def to(self, *args: Any, **kwargs: Any) -> Self:
        self.net.to(*args, **kwargs)
        return self

    def __getattr__(self, name: str) -> Any:
        if name == "net" or name.startswith("__"):
            raise AttributeError(name)
        return getattr(self.net, name)


def build(
    method: str,
    encoder: nn.Module,
    *,
    recipe: Recipe,
    seed: int,
    targets: Targets | None = None,
    captions: Sequence[list[str]] | None = None,
    hashes: NDArray[np.int64],
    image_size: int = 32,
) -> Method:
    """The method of an arm around its encoder: see `Inputs`. Raises InputError for a name that is
    no method.
    """
    entry = METHODS[method]
    inputs = Inputs(recipe=recipe, seed=seed, targets=targets, captions=captions, hashes=hashes)
    return entry(entry.prepared(encoder, recipe, image_size), inputs)


def check_encoder(encoder: nn.Module, image_size: int, recipes: Mapping[str, Any]) -> None:
    """Raises InputError, blamed on its place in the study, for an encoder that one of these methods
    cannot train on images of this size; `recipes` are by method.
    """
    for method, recipe in recipes.items():
        if recipe is None:
            continue
        entry = METHODS[method]
        prepared = entry.prepared(encoder, recipe, image_size)
        try:  # passes an image through what the method asks of it
            entry.image_flops(recipe, prepared, image_size)
        except (RuntimeError, AssertionError, AttributeError, TypeError) as error:
            reason = (str(error).splitlines() or [type(error).__name__])[0]
            raise InputError(
                f"backbone: {method} cannot train this one on images of {image_size} px "
                f"({reason[:200]}); choose another",
                at=("backbone",),
            ) from None
