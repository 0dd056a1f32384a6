"""A task, resolved against its data: its splits, what its classes are called, and the draws of its
few-shot cells.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from headwater import keys
from headwater.errors import InputError
from headwater.labels import label_view, parse_view
from headwater.labels.prompts import Prompts, parents_of, prompts_of
from headwater.sources import Metric, Positions, Source
from headwater.sources.splitting import first_of_each


@dataclass(frozen=True)
class Draw:
    """What one cell trains and selects on: positions in the task's source."""

    train: Positions
    val: Positions
    val_missing_classes: int


@dataclass(frozen=True)
class Task:
    """A task, resolved against its data.

    `labels` int64 [len(source.table)] holds the class of every sample of the three splits, -1
    elsewhere.
    """

    name: str
    source: Source
    view: str
    class_names: tuple[str, ...]
    labels: NDArray[np.int64]
    train: Positions
    val: Positions
    test: Positions
    carved: bool
    """True where val was cut from train."""
    groups: NDArray[np.int64] | None = None
    """int64 [len(source.table)]: the number of each sample's group, -1 outside the three splits;
    None where the task names no group.
    """

    @property
    def metric(self) -> Metric:
        """What the task's field measures: `top1`, or `mean_per_class` (the mean over classes of the
        share of their images that are right).
        """
        return self.source.metric

    @property
    def templates(self) -> tuple[str, ...]:
        """Prompts of the task's field, `{}` where the class name goes; empty where it has none of
        its own.
        """
        return self.source.templates

    @property
    def prompt_names(self) -> tuple[str, ...]:
        """What people call each class, in the order of `class_names`. Two classes may have one
        word where nothing tells them apart.
        """
        return self.prompts.names

    @cached_property
    def prompts(self) -> Prompts:
        """The names of the classes in prompts: the set's own words, WordNet's for a synset id, or
        else the name itself, without the path of the class that it lies in and with spaces for
        underscores and hyphens. Equal names are told apart by what the classes lie in, by the
        levels of the table or by WordNet (headwater.labels.prompts).
        """
        table = self.source.table
        return prompts_of(self.class_names, parents_of(table), table.spoken)

    @property
    def superclasses(self) -> NDArray[np.int64] | None:
        """int64 [num_classes]: the class that each class lies in on the next coarser level, as an
        index of `superclass_names`. None where the view is no plain level, there is no coarser one,
        or a class does not lie in exactly one class of it.
        """
        return None if self._coarser is None else self._coarser[0]

    @property
    def superclass_names(self) -> tuple[str, ...] | None:
        """Names of the superclasses, sorted; None where there are none."""
        return None if self._coarser is None else self._coarser[1]

    @cached_property
    def _coarser(self) -> tuple[NDArray[np.int64], tuple[str, ...]] | None:
        """(superclass of each class, names of the superclasses); None where there are none."""
        positions = np.flatnonzero(self.labels >= 0).astype(np.int64)
        try:
            view = parse_view(self.view)
            if view.kind != "level":
                return None
            coarser = f"level:{view.number + 1}"
            coarse = label_view(coarser, self.source.table, positions, 0, self.name)
        except InputError:
            # a view with a name of its own, the top level, or images without a coarser class
            return None
        if not coarse.single or coarse.num_classes < 2:
            return None
        parents = np.full(self.num_classes, -1, dtype=np.int64)
        parents[self.labels[positions]] = coarse.indices
        if not np.array_equal(parents[self.labels[positions]], coarse.indices):
            return None
        return parents, coarse.names

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def majority(self) -> float:
        """Share of the test set that its most frequent class has."""
        return float(np.bincount(self.labels[self.test]).max() / len(self.test))

    def check_shots(self, shots: int, *, cap: bool) -> None:
        """Raises InputError where a class has fewer training images than shots and the task does
        not say `cap: true`.
        """
        counts = np.bincount(self.labels[self.train], minlength=self.num_classes)
        if not cap and counts.min() < shots:
            worst = int(counts.argmin())
            raise InputError(
                f"task {self.name!r}: {shots} shots, but class {self.class_names[worst]!r} has "
                f"{counts[worst]} training images"
                f"{' after validation was cut from train' if self.carved else ''}; ask for fewer "
                "shots, or set `cap: true` to take what there is"
            )

    def draw(self, shots: int | None, draw: int | None, *, seed: int, val: str) -> Draw:
        """The images of one cell.

        `shots` None means all of train and val; `val` is matched (as many a class as shots) or
        full.
        """
        if shots is None or draw is None:
            return Draw(self.train, self.val, self._missing(self.val))
        train = self._first_of_each_class(self.train, keys.key(seed, "few-shot train", draw), shots)
        chosen = (
            self._first_of_each_class(self.val, keys.key(seed, "few-shot val", draw), shots)
            if val == "matched"
            else self.val
        )
        return Draw(train, chosen, self._missing(chosen))

    def _missing(self, positions: Positions) -> int:
        return self.num_classes - len(np.unique(self.labels[positions]))

    def _first_of_each_class(self, positions: Positions, key: int, count: int) -> Positions:
        """The `count` samples of each class that come first in a keyed order; all of a class that
        has fewer.
        """
        chosen = first_of_each(
            self.labels[positions],
            self.source.hashes[positions],
            key,
            np.full(self.num_classes, count),
        )
        return np.sort(positions[chosen])
