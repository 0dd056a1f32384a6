"""Downstream tasks and their fixed splits: train, val and test positions with classes, and few-shot draws.

The test set is the same at every shot count. A task without a val split gives 15 % of train to it, stratified and keyed. Few-shot draws come from
train only, are keyed by (seed, draw) and nested: the first image of a class in the 1-shot draw is in the 5-shot draw too. Validation of a few-shot
cell is few-shot sized.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater import keys
from headwater.errors import InputError, blamed_on
from headwater.labels import Targets, View, label_view
from headwater.sources import Positions, Source

VAL_SHARE = 0.15
"""Share of train that becomes val where a task has none (DESIGN)."""
SPLITS = ("train", "val", "test")


@dataclass(frozen=True)
class Draw:
    """What one cell trains and selects on: positions in the task's source."""

    train: Positions
    val: Positions
    val_missing_classes: int


@dataclass(frozen=True)
class Task:
    """A task, resolved against its data. `labels` int64 [len(source.table)] holds the class of every sample of the three splits, -1 elsewhere."""

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

    @property
    def num_classes(self) -> int:
        return len(self.class_names)

    @property
    def majority(self) -> float:
        """Share of the test set that its most frequent class has."""
        return float(np.bincount(self.labels[self.test]).max() / len(self.test))

    def check_shots(self, shots: int, *, cap: bool) -> None:
        """Raises InputError where a class has fewer training images than shots and the task does not say `cap: true`."""
        counts = np.bincount(self.labels[self.train], minlength=self.num_classes)
        if not cap and counts.min() < shots:
            worst = int(counts.argmin())
            raise InputError(
                f"task {self.name!r}: {shots} shots, but class {self.class_names[worst]!r} has {counts[worst]} training images"
                f"{' after validation was cut from train' if self.carved else ''}; ask for fewer shots, or set `cap: true` to take what there is"
            )

    def draw(self, shots: int | None, draw: int | None, *, seed: int, val: str) -> Draw:
        """The images of one cell. `shots` None means all of train and val; `val` is matched (as many a class as shots) or full."""
        if shots is None or draw is None:
            return Draw(self.train, self.val, self._missing(self.val))
        train = self._first_of_each_class(self.train, keys.key(seed, "few-shot train", draw), shots)
        chosen = self._first_of_each_class(self.val, keys.key(seed, "few-shot val", draw), shots) if val == "matched" else self.val
        return Draw(train, chosen, self._missing(chosen))

    def _missing(self, positions: Positions) -> int:
        return self.num_classes - len(np.unique(self.labels[positions]))

    def _first_of_each_class(self, positions: Positions, key: int, count: int) -> Positions:
        """The `count` samples of each class that come first in a keyed order; all of a class that has fewer."""
        order = positions[keys.permutation(key, self.source.hashes[positions])]
        return np.sort(order[_rank_within_class(self.labels[order]) < count])


def _rank_within_class(labels: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64 [n]: how many samples of the same class stand before each."""
    by_class = np.argsort(labels, kind="stable")
    ordered = labels[by_class]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    rank = np.empty(len(labels), dtype=np.int64)
    rank[by_class] = np.arange(len(labels)) - np.repeat(starts, np.diff(np.r_[starts, len(labels)]))
    return rank


def resolve_task(name: str, source: Source, view: str | View, *, split_column: str) -> Task:
    """A task from a source, a label view and a split column; images that the view leaves out are not in it.

    Raises InputError for an empty split, one class, several labels on an image, or a test class that train lacks.
    """
    with blamed_on("tasks", name, "split_column"):
        found = {split: source.split(split_column, split) for split in SPLITS}
    _check_filled(name, found, f"{source.name} has no {{}} images under the split column {split_column!r}", "split_column")
    positions = np.sort(np.concatenate(list(found.values())))
    with blamed_on("tasks", name, "labels"):
        targets = label_view(view, source.table, positions, 0, f"task {name!r}", hashes=lambda: source.hashes)
        if targets.noise is not None:
            raise InputError(f"task {name!r}: {targets.view} has label noise, which is for pre-training; what is measured should be true")
        if not targets.single:
            share = f"{targets.multi_label_share:.1%}"
            raise InputError(f"task {name!r}: at {targets.view} {share} of the images have several labels; a task needs one class an image")
        if targets.num_classes < 2:
            only = f"{targets.names[0]!r} at {targets.view}"
            raise InputError(f"task {name!r}: has only one class ({only}), so there is nothing to tell apart; choose a finer level")
    if targets.rows is not None:
        positions = positions[targets.rows]
        found = {split: np.intersect1d(own, positions) for split, own in found.items()}
        _check_filled(name, found, f"{targets.view} leaves no {{}} image of {source.name}", "labels")
    labels = np.full(len(source.table), -1, dtype=np.int64)
    labels[positions] = targets.indices
    _check_closed(name, labels, found, targets)
    train, val = (found["train"], found["val"]) if len(found["val"]) else _carve(source, labels, found["train"])
    if not len(val):
        raise InputError(f"task {name!r}: has no val split and too few training images to cut one from train", at=("tasks", name))
    return Task(name, source, targets.view, targets.names, labels, train, val, found["test"], carved=not len(found["val"]))


def _check_filled(name: str, found: dict[str, Positions], why: str, key: str) -> None:
    for split in ("train", "test"):
        if not len(found[split]):
            raise InputError(f"task {name!r}: {why.format(split)}", at=("tasks", name, key))


def _check_closed(name: str, labels: NDArray[np.int64], found: dict[str, Positions], targets: Targets) -> None:
    known = np.unique(labels[found["train"]])
    for split in ("val", "test"):
        strange = np.setdiff1d(labels[found[split]], known)
        if len(strange):
            more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
            raise InputError(
                f"task {name!r}: class {targets.names[strange[0]]!r}{more} of its {split} split has no training image; name another split column or level",
                at=("tasks", name),
            )


def _carve(source: Source, labels: NDArray[np.int64], train: Positions) -> tuple[Positions, Positions]:
    """(train, val): 15 % of each class by key, rounded, at least one where a class has two; the same cut for every arm, seed and study."""
    order = train[keys.permutation(keys.key(0, "val carved from train"), source.hashes[train])]
    counts = np.bincount(labels[train])
    take = np.where(counts >= 2, np.maximum(1, np.round(VAL_SHARE * counts)), 0)
    is_val = _rank_within_class(labels[order]) < take[labels[order]]
    return np.sort(order[~is_val]), np.sort(order[is_val])
