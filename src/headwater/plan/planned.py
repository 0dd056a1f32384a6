"""What a plan consists of: arms and cells with their ids, and what their words mean on the data."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headwater.labels import Partition, Targets, View
from headwater.labels.tokens import Reading
from headwater.registry import METHODS
from headwater.rows import NOISY, SUBSET, WITHIN
from headwater.sources import Positions, Source
from headwater.study import Arm, Cell, Recipe

if TYPE_CHECKING:
    from headwater.methods import Method


@dataclass(frozen=True, eq=False)
class Clusters:
    """Labels of an arm that are clusters of features: known when these features are."""

    id: str
    """Digest of all that they depend on: images, features, counts, algorithm, seed."""
    view: View
    partition: Partition
    arm: PlannedArm | None = None
    """The arm whose encoder makes the features; None for a timm model and for a file."""
    timm: str | None = None
    weights: Path | None = None
    file: Path | None = None
    digest: str | None = None
    """SHA-256 of the weights or of the file."""

    @property
    def origin(self) -> str:
        """What the features come from, for a row: an arm's id, timm:NAME or timm:weights and file
        with the beginning of their SHA-256.
        """
        if self.arm is not None:
            return self.arm.id
        return (
            f"timm:{self.timm}" + (f"@{self.digest[:12]}" if self.digest else "")
            if self.timm
            else f"file:{(self.digest or '')[:12]}"
        )


@dataclass(frozen=True)
class PlannedArm:
    """An arm and what its words mean on the data.

    Positions index the source's table; targets and captions follow positions.
    """

    id: str
    words: Arm
    recipe: Recipe | None = None
    source: Source | None = None
    positions: Positions = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    source_fingerprint: str | None = None
    targets: Targets | None = None
    captions: Sequence[list[str]] | None = None
    images_seen: int = 0
    clusters: Clusters | None = None
    """What the labels will be, where they are clusters; `targets` is None then."""
    view: View | None = None
    reading: Reading | None = None
    """What the text tower reads of the captions; None without them, and for a method that does not
    say.
    """
    caption_noise: float | None = None
    """Realised share of images with captions of another; None where no swaps were asked for."""
    held_out: Positions = field(default_factory=lambda: np.empty(0, dtype=np.int64))
    """Images of the source that no arm is trained on: the online probe's."""

    @cached_property
    def unique_images(self) -> int:
        """Different pictures among its images, by their bytes."""
        return 0 if self.source is None else self.source.num_pictures(self.positions)

    @property
    def steps(self) -> int:
        return -(-self.images_seen // self.recipe.batch) if self.recipe else 0

    @property
    def method(self) -> type[Method]:
        """The declaration of its method."""
        return METHODS[self.words.method]

    @property
    def loss_name(self) -> str | None:
        """The loss on labels, as rows name it; clusters give every image one label."""
        if self.recipe is None or (self.targets is None and self.clusters is None):
            return None
        single = self.targets is None or self.targets.single
        return self.method.loss_name(self.recipe, single=single)

    @property
    def multi_label_share(self) -> float | None:
        """Share of the images with several labels; clusters give every image one."""
        return 0.0 if self.clusters else self.targets.multi_label_share if self.targets else None

    @property
    def label_kind(self) -> str | None:
        """Kind of its labels, as rows name it (docs/rows.md); None without labels."""
        view = self.view
        if view is None:
            return None
        if view.noise is not None:
            return NOISY
        if view.subset or view.rest == "drop":
            return SUBSET
        return view.kind if view.within is None else f"{view.kind}{WITHIN}"

    @property
    def label_level(self) -> int | None:
        """k of level:k; None for any other view."""
        return None if self.view is None else self.view.level

    @property
    def label_noise(self) -> float | None:
        """Realised share of wrong labels or swapped captions; None where no noise was asked for."""
        return self.targets.noise if self.targets else self.caption_noise

    @property
    def needs(self) -> PlannedArm | None:
        """The arm that must be trained before this one."""
        return self.clusters.arm if self.clusters else None

    @cached_property
    def num_labels(self) -> int | None:
        if self.targets is not None:
            return self.targets.num_classes
        if self.clusters is not None:
            return len(self.clusters.partition.names)
        if self.reading is not None:
            return self.reading.told_apart
        return (
            len({text for own in self.captions for text in own})
            if self.captions is not None
            else None
        )


@dataclass(frozen=True, slots=True)
class PlannedCell:
    id: str
    words: Cell
    arm: PlannedArm


@dataclass(frozen=True)
class Overlap:
    """What an arm's pre-training images and labels have in common with a task's."""

    label_reuse: bool
    leaked_test: NDArray[np.bool_]
    """bool [n_test]: test images whose bytes the arm was trained on."""
