"""Copies inside a study's own data: test images among a task's own train or val images, one picture
in several files, and one picture under two classes.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from headwater.plan.images import of_splits
from headwater.plan.memo import Memo
from headwater.plan.planned import PlannedArm
from headwater.plan.resolved import Resolved
from headwater.sources import Positions, Source
from headwater.sources.copies import (
    copies_sentence,
    pictures_of,
    two_classes_sentence,
    under_two_classes,
)
from headwater.tasks import Task


class ByteHashes:
    """Digests of images' bytes, each asked for once."""

    def __init__(self) -> None:
        self._hashes: Memo[NDArray[np.bytes_]] = Memo()

    def of(self, source: Source, positions: Positions) -> NDArray[np.bytes_]:
        """bytes [images]"""
        return self._hashes.get(
            (source.name, positions.tobytes()),
            lambda: np.array(source.byte_hashes(positions), dtype="S"),
        )


def own_copies(task: Task, hashes: ByteHashes) -> NDArray[np.bool_]:
    """bool [n_test]: test images of a task whose bytes are among its own train or val images.

    Generated worlds draw each image by itself.
    """
    if task.source.generated:
        return np.zeros(len(task.test), dtype=bool)
    own = np.concatenate([hashes.of(task.source, split) for split in (task.train, task.val)])
    return np.isin(hashes.of(task.source, task.test), own)


def own_copies_of(resolved: Resolved, hashes: ByteHashes) -> dict[str, int]:
    """How many such test images each task has."""
    return {name: int(own_copies(task, hashes).sum()) for name, task in resolved.tasks.items()}


def notes_on_copies(
    resolved: Resolved, arms: Sequence[PlannedArm], hashes: ByteHashes
) -> Iterator[str]:
    """What a person should know of copies inside the study's data."""
    for task in resolved.tasks.values():
        yield from _notes_on_task(task, hashes)
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
        positions = _used(resolved, source)
        if source.generated or source.num_pictures(positions) == len(positions):
            continue
        found = under_two_classes(
            source.table, positions, pictures_of(hashes.of(source, positions))
        )
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
    return np.unique(np.concatenate(used))


def _notes_on_task(task: Task, hashes: ByteHashes) -> Iterator[str]:
    copied = own_copies(task, hashes)
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
    chosen_on = np.isin(hashes.of(task.source, task.val), hashes.of(task.source, task.train))
    if chosen_on.any():
        yield (
            f"{int(chosen_on.sum()):,} of the {len(chosen_on):,} val images of task "
            f"{task.name!r} are copies of its training images, byte for byte: what is chosen on "
            "them was fitted to them"
        )
