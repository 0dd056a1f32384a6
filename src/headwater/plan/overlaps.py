"""What pre-training and a task have in common: test images among a source's, and labels that both
use.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError, blamed_on
from headwater.labels import classes_of, label_view, nesting, parse_captions, parse_view
from headwater.plan.copies import own_copies
from headwater.plan.images import of_splits
from headwater.plan.memo import Memo
from headwater.plan.planned import Overlap, PlannedArm
from headwater.plan.resolved import Resolved
from headwater.sources import Positions
from headwater.sources.digest_sets import among
from headwater.tasks import Task

REUSE_SHARE = 0.01
"""Share of a task's training images that an arm must have been trained on before label reuse is
asked about [ours].
"""
REUSE_AGREEMENT = 0.95
"""Share of the common images on which one labelling must follow from the other for reuse:
duplicates and slips break exact nesting [ours].
"""
_NAMED = 3
LEAK_LIMIT = 0.01
"""Above this share of a task's test images among an arm's training images the study is refused;
below, they are counted and scored apart.
"""
LOOK_LIMIT = 5 * 10**8
"""Pairs of a source and a test image up to which changed copies are looked for without being asked,
and all pairs are looked at: about ten minutes of one core, once [ours].
"""


def too_many(images: int, test_images: int) -> bool:
    """Whether there are too many pairs to look at all: likely ones are looked up
    (headwater.curation.scale).
    """
    return images * test_images > LOOK_LIMIT


def check_overlaps(resolved: Resolved, arms: Sequence[PlannedArm]) -> list[str]:
    """Notes on what arms and tasks have in common.

    Raises InputError where an arm is trained on the validation or test images of a task that it is
    measured on.
    """
    notes = _notes_on_batches(arms)
    if resolved.study.leakage == "auto":
        for task in resolved.tasks.values():
            if not task.source.generated and not looks_within(resolved, task):
                notes.append(
                    f"copies of test images of task {task.name!r} among its own train and val "
                    "images are looked for as equal files only, as there are many; `leakage: near` "
                    "looks for changed copies too (docs/leakage.md says what that costs)"
                )
    one_arm_each = {arm.words.source: arm for arm in arms if arm.source is not None}
    for name, arm in one_arm_each.items():
        assert name is not None
        images = of_splits(resolved, name)
        measured_on = tasks_of(resolved, arm)
        if not measured_on:
            notes.append(f"no task measures the arms of source {name}")
        for task in measured_on:
            if resolved.study.leakage == "auto" and too_many(len(images), len(task.test)):
                notes.append(
                    f"test images of task {task.name!r} are looked for as equal files only in "
                    f"source {name!r}, which is large; `leakage: near` looks for changed copies "
                    "too (docs/leakage.md says what that costs)"
                )
        for task in measured_on:
            notes += _notes_on_splits(arm, images, task)
    return notes


def tasks_of(resolved: Resolved, arm: PlannedArm) -> list[Task]:
    """The tasks that an arm is measured on, in the study's order."""
    measured_on = resolved.study.tasks_of(arm.words)
    return [task for name, task in resolved.tasks.items() if name in measured_on]


def _notes_on_batches(arms: Sequence[PlannedArm]) -> list[str]:
    notes = []
    for title, arm in {arm.words.title: arm for arm in arms}.items():
        if arm.recipe is None or not arm.method.contrastive:
            continue
        if arm.recipe.batch > len(arm.positions):
            notes.append(
                f"{title}: a batch of {arm.recipe.batch} holds its {len(arm.positions)} images "
                "more than once, as negatives of themselves"
            )
    return notes


def _notes_on_splits(arm: PlannedArm, images: Positions, task: Task) -> list[str]:
    """Notes on a task's held-out images among the images of an arm's source."""
    splits = {"test": task.test} if task.carved else {"val": task.val, "test": task.test}
    notes = []
    if task.carved and arm.source is not None and arm.source.shows(task.source):
        notes.append(
            f"the validation split of task {task.name} is cut from train, which source "
            f"{arm.words.source} pre-trains on"
        )
    for split, positions in splits.items():
        notes += _notes_on_split(arm, images, task, split, positions)
    return notes


def _notes_on_split(
    arm: PlannedArm,
    images: Positions,
    task: Task,
    split: str,
    positions: Positions,
) -> list[str]:
    assert arm.source is not None
    shared = among(task.source.digests(positions), arm.source.digests(images))
    same_files = arm.source is task.source and len(np.intersect1d(images, positions)) > 0
    what = (
        f"{int(shared.sum())} of the {len(positions)} {split} images of task {task.name!r} are "
        f"among the training images of source {arm.words.source!r}"
    )
    with blamed_on("sources", arm.words.source or "", "splits"):
        if same_files:
            raise InputError(f"sources.{arm.words.source}: {what}; pre-train on other splits")
        if shared.mean() > LEAK_LIMIT:
            raise InputError(
                f"sources.{arm.words.source}: {what}, byte for byte "
                f"({_some_names(task, positions[shared])}); remove them from one of the two"
            )
    if not shared.any():
        return []
    more = "; scores are also given without them (subset unleaked)" if split == "test" else ""
    return [f"{what}, byte for byte{more}"]


def _some_names(task: Task, positions: Positions) -> str:
    """The first images of a task at some positions."""
    ids = [str(sample_id) for sample_id in task.source.table.ids[positions[:_NAMED]]]
    more = len(positions) - len(ids)
    return f"{', '.join(ids)}{f' and {more:,} more' if more else ''}"


def looks_for_copies(resolved: Resolved, source: str, task: Task) -> bool:
    """Whether test images of a task are looked for among the images of a source, changed or not.

    Generated worlds draw each image by itself.
    """
    if resolved.source_of(source).generated:
        return False
    return _looks(resolved, len(of_splits(resolved, source)), task)


def looks_within(resolved: Resolved, task: Task) -> bool:
    """Whether test images of a task are looked for among its own train and val images, changed or
    not.
    """
    return _looks(resolved, len(task.train) + len(task.val), task)


def looks_within_unasked(task: Task) -> bool:
    """`looks_within` of a study that does not say `leakage`."""
    images = len(task.train) + len(task.val)
    return not task.source.generated and not too_many(images, len(task.test))


def _looks(resolved: Resolved, images: int, task: Task) -> bool:
    leakage = resolved.study.leakage
    if leakage == "bytes" or task.source.generated:
        return False
    return leakage == "near" or not too_many(images, len(task.test))


class Overlaps:
    """What arms and tasks have in common, each pair found out once."""

    def __init__(self, resolved: Resolved) -> None:
        self._resolved = resolved
        self._overlaps: Memo[Overlap] = Memo()
        self._own: Memo[NDArray[np.bool_]] = Memo()
        self._known: Memo[NDArray[np.int64]] = Memo()

    def of(self, arm: PlannedArm, task_name: str) -> Overlap:
        """Label reuse and leaked test images of an arm and a task."""
        task = self._resolved.tasks[task_name]
        return self._overlaps.get((arm.id, task_name), lambda: self._overlap(arm, task))

    def own(self, task_name: str) -> NDArray[np.bool_]:
        """bool [n_test]: test images whose bytes are among the task's own train or val images."""
        task = self._resolved.tasks[task_name]
        return self._own.get(task_name, lambda: own_copies(task))

    def _overlap(self, arm: PlannedArm, task: Task) -> Overlap:
        if arm.source is None:
            return Overlap(False, np.zeros(len(task.test), dtype=bool))
        trained_on = arm.source.digests(arm.positions)
        leaked = among(task.source.digests(task.test), trained_on)
        return Overlap(self._reuses_labels(arm, task, trained_on), leaked)

    def _reuses_labels(self, arm: PlannedArm, task: Task, trained_on: NDArray[np.bytes_]) -> bool:
        """Whether the task's classes are, coarsen to, or are coarsened from the arm's manual labels
        on images that both have.

        A few images in common, or a few labels that disagree, do not decide it: see REUSE_SHARE and
        REUSE_AGREEMENT.
        """
        needed = arm.needs
        if (
            needed is not None
            and needed.source is not None
            and self.of(needed, task.name).label_reuse
        ):
            return True
        known = self._known_labels(arm)
        if known is None:
            return False
        labelled = np.concatenate([task.train, task.val])
        hashes = task.source.digests(labelled)
        distinct, first = np.unique(trained_on, return_index=True)
        nearest = np.searchsorted(distinct, hashes).clip(max=len(distinct) - 1)
        shared = distinct[nearest] == hashes
        if shared.mean() < REUSE_SHARE:
            return False
        of_arm, of_task = known[first[nearest[shared]]], task.labels[labelled[shared]]
        return max(nesting(of_arm, of_task), nesting(of_task, of_arm)) >= REUSE_AGREEMENT

    def _known_labels(self, arm: PlannedArm) -> NDArray[np.int64] | None:
        """int64 [images of the arm]: the manual classes that its labels tell; None where they tell
        none.

        Of noisy labels it is the classes that they were made from; of a class that was split at
        random or into clusters, the class.
        """
        assert arm.source is not None
        view = arm.view
        if (
            arm.method.needs == "captions"
            and arm.words.labels
            and parse_captions(arm.words.labels)[0] == "template"
        ):
            view = parse_view("level:0")  # its captions are the names of the finest classes
        if view is None or not view.manual:
            return None
        manual = view.within if view.within is not None else view.clean
        source, where = arm.source, f"sources.{arm.words.source}"

        def classes() -> NDArray[np.int64]:
            targets = label_view(
                manual,
                source.table,
                arm.positions,
                arm.words.seed,
                where,
                hashes=lambda: source.hashes,
            )
            return classes_of(targets)

        return self._known.get(arm.id, classes)
