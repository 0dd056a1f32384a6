"""What pre-training and a task have in common: test images among a source's, and labels that both
use.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError, blamed_on
from headwater.labels import classes_of, label_view, nesting, parse_captions, parse_view
from headwater.plan.planned import Overlap, PlannedArm
from headwater.sources import Positions
from headwater.tasks import Task

if TYPE_CHECKING:
    from headwater.plan import Plan

REUSE_SHARE = 0.01
"""Share of a task's training images that an arm must have been trained on before label reuse is
asked about [ours].
"""
REUSE_AGREEMENT = 0.95
"""Share of the common images on which one labelling must follow from the other for reuse:
duplicates and slips break exact nesting [ours].
"""
LEAK_LIMIT = 0.01
"""Above this share of a task's test images among an arm's training images the study is refused;
below, they are counted and scored apart.
"""
LOOK_LIMIT = 5 * 10**8
"""Pairs of a source and a test image up to which changed copies are looked for without being asked:
about ten minutes of one core, once [ours].
"""


def check_overlaps(plan: Plan) -> None:
    """No arm may be trained on the validation or test images of a task that it is measured on."""
    for title, arm in {arm.words.title: arm for arm in plan.arms}.items():
        if (
            arm.method.contrastive
            and arm.recipe is not None
            and arm.recipe.batch > len(arm.positions)
        ):
            plan.notes.append(
                f"{title}: a batch of {arm.recipe.batch} holds its {len(arm.positions)} images "
                "more than once, as negatives of themselves"
            )
    one_arm_each = {arm.words.source: arm for arm in plan.arms if arm.source is not None}
    for arm in one_arm_each.values():
        measured_on = dict.fromkeys(cell.task for cell in plan.study.cells(arm.words))
        if not measured_on:
            plan.notes.append(f"no task measures the arms of source {arm.words.source}")
        for name in measured_on:
            if (
                plan.study.leakage == "auto"
                and len(plan.of_splits(arm.words.source or "")) * len(plan.tasks[name].test)
                > LOOK_LIMIT
            ):
                what = (
                    f"test images of task {name!r} are looked for as equal files only in source "
                    f"{arm.words.source!r}"
                )
                plan.notes.append(
                    f"{what}, which is large; `leakage: near` looks for changed copies too "
                    "(docs/leakage.md says what that costs)"
                )
        for task in (task for name, task in plan.tasks.items() if name in measured_on):
            if task.carved and arm.source is task.source:
                plan.notes.append(
                    f"the validation split of task {task.name} is cut from train, which source "
                    f"{arm.words.source} pre-trains on"
                )
            for split, positions in (("val", task.val), ("test", task.test)):
                if split == "test" or not task.carved:
                    _check_overlap(plan, arm, task, split, positions)


def _check_overlap(
    plan: Plan, arm: PlannedArm, task: Task, split: str, positions: Positions
) -> None:
    assert arm.source is not None
    every = plan.of_splits(arm.words.source or "")
    shared = np.isin(plan.byte_hashes(task.source, positions), plan.byte_hashes(arm.source, every))
    same_files = arm.source is task.source and len(np.intersect1d(every, positions)) > 0
    what = (
        f"{int(shared.sum())} of the {len(positions)} {split} images of task {task.name!r} are "
        f"among the training images of source {arm.words.source!r}"
    )
    with blamed_on("sources", arm.words.source or "", "splits"):
        if same_files:
            raise InputError(f"sources.{arm.words.source}: {what}; pre-train on other splits")
        if shared.mean() > LEAK_LIMIT:
            raise InputError(
                f"sources.{arm.words.source}: {what}, byte for byte; remove them from one of the "
                "two"
            )
    if shared.any():
        plan.notes.append(
            f"{what}, byte for byte"
            + ("; scores are also given without them (subset unleaked)" if split == "test" else "")
        )


def looks_for_copies(plan: Plan, source: str | None, task: str) -> bool:
    """Whether test images of a task are looked for among the images of a source, changed or not.

    Generated worlds draw each image by itself.
    """
    if (
        source is None
        or plan.study.leakage == "bytes"
        or plan.sources[plan.study.sources[source].data].generated
        or plan.tasks[task].source.generated
    ):
        return False
    return (
        plan.study.leakage == "near"
        or len(plan.of_splits(source)) * len(plan.tasks[task].test) <= LOOK_LIMIT
    )


def overlap(plan: Plan, arm: PlannedArm, task_name: str) -> Overlap:
    """Label reuse and leaked test images of an arm and a task."""
    task = plan.tasks[task_name]
    if arm.source is None:
        return Overlap(False, np.zeros(len(task.test), dtype=bool))
    trained_on = plan.byte_hashes(arm.source, arm.positions)
    leaked = np.isin(plan.byte_hashes(task.source, task.test), trained_on)
    return Overlap(_reuses_labels(plan, arm, task, trained_on), leaked)


def _reuses_labels(plan: Plan, arm: PlannedArm, task: Task, trained_on: NDArray[np.bytes_]) -> bool:
    """Whether the task's classes are, coarsen to, or are coarsened from the arm's manual labels on
    images that both have.

    A few images in common, or a few labels that disagree, do not decide it: see REUSE_SHARE and
    REUSE_AGREEMENT.
    """
    assert arm.source is not None
    if (
        arm.needs is not None
        and arm.needs.source is not None
        and plan.overlap(arm.needs, task.name).label_reuse
    ):
        return True
    known = _known_labels(plan, arm)
    if known is None:
        return False
    own = np.concatenate([task.train, task.val])
    own_hashes = plan.byte_hashes(task.source, own)
    first, where = np.unique(trained_on, return_index=True)
    at = np.searchsorted(first, own_hashes).clip(max=len(first) - 1)
    shared = first[at] == own_hashes
    if shared.mean() < REUSE_SHARE:
        return False
    a, b = known[where[at[shared]]], task.labels[own[shared]]
    return max(nesting(a, b), nesting(b, a)) >= REUSE_AGREEMENT


def _known_labels(plan: Plan, arm: PlannedArm) -> NDArray[np.int64] | None:
    """int64 [images of the arm]: the manual classes that its labels tell; None where they tell
    none.

    Of noisy labels it is the classes that they were made from; of a class that was split at random
    or into clusters, the class.
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
    told = view.within if view.within is not None else view.clean
    source, where = arm.source, f"sources.{arm.words.source}"
    return plan.once(  # type: ignore[no-any-return]
        ("known", arm.id),
        lambda: classes_of(
            label_view(
                told,
                source.table,
                arm.positions,
                arm.words.seed,
                where,
                hashes=lambda: source.hashes,
            )
        ),
    )
