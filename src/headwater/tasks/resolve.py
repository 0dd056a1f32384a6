"""From a source, a label view and a split column to a task, and the cut of val from train where
there is no val split.
"""

from __future__ import annotations

import shlex

import numpy as np
from numpy.typing import NDArray

from headwater import keys
from headwater.errors import InputError, blamed_on
from headwater.labels import Targets, View, label_view
from headwater.sources import Positions, Source
from headwater.sources.splitting import first_of_each
from headwater.tasks.groups import carve_groups, check_apart, group_codes
from headwater.tasks.task import Task

VAL_SHARE = 0.15
"""Share of train that becomes val where a task has none [ours]."""
SPLITS = ("train", "val", "test")


def resolve_task(
    name: str, source: Source, view: str | View, *, split_column: str, group: str | None = None
) -> Task:
    """A task from a source, a label view and a split column; images that the view leaves out are
    not in it.

    The classes of all three splits are indexed once, together. `group` names a group column of the
    table: its values never lie in train or val and in test, and val is cut from train by whole
    groups. Raises InputError for an empty split, one class, several labels on an image, a test
    class that train lacks, an unknown group column, and groups that straddle given splits.
    """
    where = f"task {name!r}"
    with blamed_on("tasks", name, "split_column"):
        splits = {split: source.split(split_column, split) for split in SPLITS}
    empty = f"{source.name} has no {{}} images under the split column {split_column!r}"
    _check_filled(name, splits, empty + _how_to_split(source), "split_column")
    positions = np.sort(np.concatenate(list(splits.values())))
    with blamed_on("tasks", name, "labels"):
        targets = label_view(view, source.table, positions, 0, where, hashes=lambda: source.hashes)
        _check_targets(where, targets)
    if targets.rows is not None:
        positions = positions[targets.rows]
        splits = {split: np.intersect1d(given, positions) for split, given in splits.items()}
        empty = f"{targets.view} leaves no {{}} image of {source.name}"
        _check_filled(name, splits, empty, "labels")
    labels = np.full(len(source.table), -1, dtype=np.int64)
    labels[positions] = targets.indices
    _check_closed(name, labels, splits, targets)
    groups = None
    if group is not None:
        with blamed_on("tasks", name, "group"):
            groups = group_codes(source, group, positions, where)
            check_apart(source, group, groups, splits, where)
    if len(splits["val"]):
        train, val = splits["train"], splits["val"]
    elif groups is None:
        train, val = _carve(source, labels, splits["train"])
    else:
        train, val = carve_groups(labels, groups, source, group or "", splits["train"], VAL_SHARE)
    if not len(val):
        few = "images" if groups is None else f"groups of {group!r}"
        raise InputError(
            f"{where}: has no val split and too few training {few} to cut one from train",
            at=("tasks", name),
        )
    return Task(
        name,
        source,
        targets.view,
        targets.names,
        labels,
        train,
        val,
        splits["test"],
        carved=not len(splits["val"]),
        groups=groups,
    )


def _how_to_split(source: Source) -> str:
    """What to do about a set without a split, for one that lies in a folder."""
    root = getattr(source, "root", None)
    if root is None:
        return ""
    file = f"{source.name}.splits.csv"
    command = shlex.join(["headwater", "tasks", "split", str(root), "--out", file])
    asked = command.replace("{", "{{").replace("}", "}}")
    return (
        f"; `{asked}` draws one from all images (beside the study file), and "
        f"`split_file: ./{file}` in data.{source.name} uses it"
    )


def _check_targets(where: str, targets: Targets) -> None:
    """Raises InputError for labels that no task can have."""
    if targets.noise is not None:
        raise InputError(
            f"{where}: {targets.view} has label noise, which is for pre-training; what is measured "
            "should be true"
        )
    if not targets.single:
        share = f"{targets.multi_label_share:.1%}"
        raise InputError(
            f"{where}: at {targets.view} {share} of the images have several labels; a task needs "
            "one class an image"
        )
    if targets.num_classes < 2:
        only = f"{targets.names[0]!r} at {targets.view}"
        raise InputError(
            f"{where}: has only one class ({only}), so there is nothing to tell apart; choose a "
            "finer level"
        )


def _check_filled(name: str, splits: dict[str, Positions], why: str, key: str) -> None:
    for split in ("train", "test"):
        if not len(splits[split]):
            raise InputError(f"task {name!r}: {why.format(split)}", at=("tasks", name, key))


def _check_closed(
    name: str, labels: NDArray[np.int64], splits: dict[str, Positions], targets: Targets
) -> None:
    known = np.unique(labels[splits["train"]])
    for split in ("val", "test"):
        strange = np.setdiff1d(labels[splits[split]], known)
        if len(strange):
            more = f" and {len(strange) - 1} more" if len(strange) > 1 else ""
            raise InputError(
                f"task {name!r}: class {targets.names[strange[0]]!r}{more} of its {split} split "
                "has no training image; name another split column or level",
                at=("tasks", name),
            )


def _carve(
    source: Source, labels: NDArray[np.int64], train: Positions
) -> tuple[Positions, Positions]:
    """(train, val): 15 % of each class by key, rounded, at least one where a class has two; the
    same cut for every arm, seed and study.
    """
    counts = np.bincount(labels[train])
    take = np.where(counts >= 2, np.maximum(1, np.round(VAL_SHARE * counts)), 0)
    is_val = first_of_each(
        labels[train],
        source.hashes[train],
        keys.key(0, "val carved from train"),
        take.astype(np.int64),
    )
    return np.sort(train[~is_val]), np.sort(train[is_val])
