"""Copies inside a study's own data: test images among a task's own train or val images, one picture
in several files, and one picture under two classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headwater.plan.images import of_splits
from headwater.plan.planned import PlannedArm
from headwater.plan.resolved import Resolved
from headwater.sources import Positions, Source
from headwater.sources.copies import (
    copies_sentence,
    pictures_of,
    two_classes_sentence,
    under_two_classes,
)
from headwater.sources.digest_sets import among
from headwater.sources.positions import ascending
from headwater.tasks import Task


def own_copies(task: Task) -> NDArray[np.bool_]:
    """bool [n_test]: test images of a task whose bytes are among its own train or val images.

    Generated worlds draw each image by itself.
    """
    if task.source.generated:
        return np.zeros(len(task.test), dtype=bool)
    own = np.concatenate([task.source.digests(split) for split in (task.train, task.val)])
    return among(task.source.digests(task.test), own)


def own_copies_of(resolved: Resolved) -> dict[str, int]:
    """How many such test images each task has."""
    return {name: int(own_copies(task).sum()) for name, task in resolved.tasks.items()}


def notes_on_copies(resolved: Resolved, arms: Sequence[PlannedArm]) -> Iterator[str]:
    """What a person should know of copies inside the study's data."""
    for task in resolved.tasks.values():
        yield from _notes_on_task(task)
    one_arm_each = {arm.words.source: arm for arm in arms if arm.source is not None}
    for name, arm in one_arm_each.items():
        assert name is not None and arm.source is not None
        files = of_splits(resolved, name)
        pictures = arm.source.num_pictures(files)
        if pictures < len(files):
            yield (
                f"source {name}: {copies_sentence(len(files), pictures)}; unique_images and "
                "epochs count pictures"
            )
    for name, source in resolved.sources.items():
        if source.generated or not source.table.levels:
            continue
        positions = _used(resolved, source)
        pictures_of_files = pictures_of(source.digests(positions))
        found = under_two_classes(source.table, positions, pictures_of_files)
        if found:
            yield f"data {name}: {two_classes_sentence(found)}"


def _used(resolved: Resolved, source: Source) -> Positions:
    """What a study uses of a data set, ascending."""
    used = [
        of_splits(resolved, name)
        for name in resolved.study.sources
        if resolved.source_of(name) is source
    ]
    for task in resolved.tasks.values():
        if task.source is source:
            used += [task.train, task.val, task.test]
    return ascending(np.concatenate([np.empty(0, dtype=np.int64), *used]))


def _notes_on_task(task: Task) -> Iterator[str]:
    copied = own_copies(task)
    if copied.any():
        what = (
            f"{int(copied.sum()):,} of the {len(copied):,} test images of task {task.name!r} are "
            "copies of its own train or val images, byte for byte"
        )
        if copied.all():
            yield f"{what}: no test image is left, and its scores decide nothing"
        else:
            yield f"{what}; scores are also given without them (subset unleaked)"
    if task.source.generated:
        return
    chosen_on = among(task.source.digests(task.val), task.source.digests(task.train))
    if chosen_on.any():
        yield (
            f"{int(chosen_on.sum()):,} of the {len(chosen_on):,} val images of task "
            f"{task.name!r} are copies of its training images, byte for byte: what is chosen on "
            "them was fitted to them"
        )
