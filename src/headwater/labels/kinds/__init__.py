"""Kinds of label views: what the images of a source may be called, one file each.

A file says how a view of its kind is written, how charts show it, and how its labels are made. It
is imported whenever a view is parsed or a chart is drawn, so it imports what makes the labels only
when they are made.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.keys import sample_hashes
from headwater.registry import LABEL_VIEWS

if TYPE_CHECKING:
    from headwater.labels.partitions import Partition
    from headwater.labels.targets import Targets
    from headwater.labels.views import View
    from headwater.sources import Positions, Table


@dataclass(frozen=True, eq=False)
class Request:
    """What a view is asked: the labels of some images of a table."""

    view: View
    table: Table
    positions: Positions
    """int64 [num_images]: which images of the table."""
    seed: int
    """The view's own seed, or the arm's."""
    where: str
    """What messages call the source."""
    table_hashes: Callable[[], NDArray[np.int64]] | None = None
    """Gives the keyed hash of each of the table's ids, int64 [len(table)], where they are known."""

    @cached_property
    def hashes(self) -> NDArray[np.int64]:
        """int64 [num_images]: the keyed hash of each image's id. Only views that draw ask for it,
        because hashing ten million ids takes seconds.
        """
        if self.table_hashes is None:
            return sample_hashes(self.table.ids[self.positions].tolist())
        return self.table_hashes()[self.positions]

    def under(self, view: View) -> Targets:
        """The labels of the same images under another view, without its noise."""
        return LABEL_VIEWS[view.kind].labels(replace(self, view=view))  # type: ignore[no-any-return]

    def count(self) -> int:
        """The number of classes that a view with a count asks for: K, or as many as the level
        has that it is `like`.
        """
        like = self.view.like
        return self.view.number if like is None else self.under(like).num_classes


Make = Callable[[Request], "Targets"]
MakeFromFeatures = Callable[
    ["View", "Partition", NDArray[np.float32], int, str], "tuple[Targets, float]"
]


@dataclass(frozen=True, kw_only=True)
class Shown:
    """How charts show a kind of labels."""

    order: float
    """Where it stands among the others, ascending."""
    colour: str


@dataclass(frozen=True, kw_only=True)
class ViewKind:
    """One kind of label view, as it declares itself. It has exactly one of `make` and
    `from_features`.
    """

    name: str
    """The first word of its views."""
    version: int
    """Raised by hand when its views would give other classes. Labels enter an arm's identity by
    their content. Only labels made from features, whose content is not known before, enter it by
    this number.
    """
    order: float
    colour: str | None
    """Its colour in charts, #RRGGBB. None takes one from the blue ramp that runs from coarse to
    fine.
    """
    title: str
    """What its classes are, for people."""
    form: str
    """How it is written, with the argument's letter or name: `level:k`."""
    argument: Literal["number", "name", "count", ""]
    """What follows the colon; a count is a number of classes from 2, or `like` a level."""
    seeded: bool = False
    """Whether its classes depend on a seed."""
    within: Shown | None = None
    """How it is shown where it splits the classes of a level. None where `within` may not follow
    it.
    """
    hierarchical: bool = False
    """Whether its classes are those of one level of the source's hierarchy. Such a view may stand
    after `like` and `within`.
    """
    own_labels: bool = False
    """Whether its classes are made of the source's own labels."""
    granular: bool = False
    """Whether it is a point on the curve that shows accuracy over the number of classes."""
    make: Make | None = None
    """Gives the labels of a request. Raises InputError where the table cannot give them."""
    from_features: MakeFromFeatures | None = None
    """(view, partition, features, seed, where) -> (labels, within-cluster sum of squares).
    `features` is float32 [num_images, width], in the order of the partition's images.
    """

    def __post_init__(self) -> None:
        if (self.make is None) == (self.from_features is None):
            raise TypeError(f"the label view {self.name!r} needs one of make and from_features")

    @property
    def needs_features(self) -> bool:
        """Whether its labels are known only when features of the images are there."""
        return self.from_features is not None

    def labels(self, request: Request) -> Targets:
        """The labels of a request.

        Raises InputError where the table cannot give them, and for a view that needs features.
        """
        if self.make is None:
            raise InputError(
                f"{request.where}: {request.view.name!r} needs features of the images, so it is "
                "known only when the arm that they come from is trained"
            )
        return self.make(request)
