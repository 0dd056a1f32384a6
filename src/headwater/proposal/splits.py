"""Index files for folders whose own splits cannot serve."""

from __future__ import annotations

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.plan.overlaps import LEAK_LIMIT
from headwater.proposal.folders import Seen
from headwater.sources.copies import pictures_of
from headwater.sources.formats import counted
from headwater.tasks import Task, resolve_task, split_index

TEST_SHARE = 0.2
"""Of each class's images, where a task has no test split [ours]."""


@dataclass(frozen=True)
class IndexFile:
    """A file to be written beside the study."""

    name: str
    text: str
    told: str
    """Why it is there, a sentence."""


@dataclass(frozen=True)
class SeenTask:
    """A folder as a task."""

    seen: Seen
    task: Task
    index: IndexFile | None
    """Its new splits, where its own cannot serve."""


def as_task(seen: Seen) -> SeenTask:
    """A folder as a task: its finest classes, in its own splits or in new ones.

    Raises InputError where it has no two classes, or too few images of them.
    """
    name, source = seen.name, seen.source
    if not source.table.levels:
        raise InputError(
            f"{seen.path}: a task needs classes, and this folder has {len(source.table):,} images "
            "without any; put them into class folders or write a labels.csv (path, split, level1), "
            "or name it as a source instead"
        )
    _take_out(seen)
    why = "has no test split"
    if {"train", "val"} <= set(seen.splits) and "test" not in seen.splits:
        return _tested_on_val(seen)
    if "train" not in seen.splits:
        why = "has no train split"
    if set(seen.splits) >= {"train", "test"}:
        try:
            return SeenTask(seen, resolve_task(name, source, "level:0", split_column="split"), None)
        except InputError as error:
            why = f"cannot be measured in its own splits ({error})"
    index = split_index(source, labels="level:0", test=TEST_SHARE, val=0.0, seed=0)
    split = _together(index.split, source.digests(np.arange(len(source.table))))
    _give(seen, split)
    task = resolve_task(name, source, "level:0", split_column="split")
    told = (
        f"{seen.path} {why}: {len(task.test):,} of its images ({TEST_SHARE:.0%} of each class, "
        "drawn by key, copies of one picture together) are held out for the test"
    )
    return SeenTask(seen, task, _file(seen, split, told))


def _tested_on_val(seen: Seen) -> SeenTask:
    """A folder of train and val: its val images are the test, as most people report them."""
    split = seen.source.table.splits["split"].copy()
    split[split == "val"] = "test"
    _give(seen, split)
    task = resolve_task(seen.name, seen.source, "level:0", split_column="split")
    told = (
        f"{seen.path} has train and val and no test split: its {len(task.test):,} val images are "
        "the test, and validation is cut from train"
    )
    return SeenTask(seen, task, _file(seen, split, told))


def without_test_images(seen: Seen, tasks: Sequence[SeenTask]) -> IndexFile | None:
    """An index file that leaves out of a source the pictures of tasks' test sets, byte for byte,
    where there are so many that no study would be planned; None where it is not needed.
    """
    apart = [each for each in tasks if each.seen is not seen]
    own = seen.source.digests(seen.train)
    shown = np.zeros(len(own), dtype=bool)
    for each in apart:
        test = each.seen.source.digests(each.task.test)
        if np.isin(test, own).mean() > LEAK_LIMIT:
            shown |= np.isin(own, test)
    if not shown.any():
        return None
    if shown.all():
        raise InputError(
            f"{seen.path}: each of its images is a test image of a task, byte for byte; name "
            "another source"
        )
    split = seen.source.table.splits["split"].copy()
    split[seen.train[shown]] = ""
    names = " and ".join(each.seen.name for each in apart)
    told = (
        f"{counted(int(shown.sum()), 'image')} of {seen.path}: left out of pre-training, as test "
        f"images of {names}, byte for byte"
    )
    _give(seen, split)
    return _file(seen, split, told)


def shared(sources: Sequence[Seen], tasks: Sequence[SeenTask]) -> list[str]:
    """What folders have in common, byte for byte, a sentence each: one source with another, and
    with the training images of a task of another folder.
    """
    told = []
    own = {seen.name: seen.source.digests(seen.train) for seen in sources}
    for number, one in enumerate(sources):
        for other in sources[number + 1 :]:
            both = int(np.isin(own[one.name], own[other.name]).sum())
            if both:
                told.append(f"{counted(both, 'image')} of {one.path}: also in {other.path}")
        for each in tasks:
            if each.seen is not one:
                train = each.seen.source.digests(each.task.train)
                both = int(np.isin(own[one.name], train).sum())
                if both:
                    images = counted(both, "image")
                    told.append(f"{images} of {one.path}: also among the training images of the "
                                f"task {each.seen.name}")  # fmt: skip
    return told


def _take_out(seen: Seen) -> None:
    """Takes images that cannot be read out of the splits, as a study with `on_bad_images: skip`
    does.
    """
    split = seen.source.table.splits["split"].copy()
    split[np.fromiter(seen.looked.bad, dtype=np.int64)] = ""
    _give(seen, split)


def _give(seen: Seen, split: NDArray[np.object_]) -> None:
    table = seen.source.table
    seen.source.table = replace(table, splits={**table.splits, "split": split})


def _together(split: NDArray[np.object_], digests: NDArray[np.bytes_]) -> NDArray[np.object_]:
    """The split with all copies of a picture where its first one is."""
    pictures = pictures_of(digests)
    first = np.full(int(pictures.max()) + 1, -1, dtype=np.int64)
    for position, picture in enumerate(pictures.tolist()):
        if first[picture] < 0:
            first[picture] = position
    together = split[first[pictures]]
    together[split == ""] = ""
    return together


def _file(seen: Seen, split: NDArray[np.object_], told: str) -> IndexFile:
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("path", "split"))
    writer.writerows(zip(seen.source.table.ids.tolist(), split.tolist(), strict=True))
    return IndexFile(f"{seen.name}.splits.csv", out.getvalue(), told)
