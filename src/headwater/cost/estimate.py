"""The cost of what is to do, from what was measured of the encoder."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from headwater.cost.encoder import Measured, by_recipe
from headwater.plan import Plan, PlannedArm, PlannedCell
from headwater.registry import PROTOCOLS
from headwater.study import Cell
from headwater.tasks import Task

if TYPE_CHECKING:
    from headwater.transfer.protocols import Expense

BACKWARD = 3.0
"""Forward and backward against forward alone."""
PROBE_FLOPS_PER_S = 1e11
"""Of a probe's fits on one core, as the probe counts them [ours, from runs on two cores]."""
_PAIRS_PER_S, _ALIGNED_PER_S = 5e6, 2000.0
"""Pairs compared and images aligned by one core in search of copies of test images
(docs/leakage.md) [ours].
"""
FEATURED = 6.0
"""Images whose features are taken in the time of one in training: there are no views to draw [ours,
from runs on two cores].
"""
TUNED = 1.1
"""An image of fine-tuning against one of training: validation images are looked at besides."""
START_S, FIRST_S = 2.5, 1.8
"""Of a worker process, from nothing to its first unit, while others start beside it; and what its
first unit takes besides: libraries are loaded, kernels are made ready.
"""
ROW_BYTES = 3e3
"""Of the rows of a cell."""


@dataclass(frozen=True)
class Cost:
    """What is still to be done."""

    pretrain_images: int
    """Images through pre-training (not views)."""
    finetune_images: int
    flops: float
    hours: float
    """With all workers at work."""
    disk_mb: float
    images_per_s: float
    """Training images per second of one worker, as measured or guessed."""
    measured: str | None
    """The day on which this machine's rate was measured, ISO 8601; None where it is a guess."""

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


def estimate(
    plan: Plan,
    arms: Sequence[PlannedArm],
    cells: Sequence[PlannedCell],
    measured: Measured,
    *,
    workers: int,
) -> Cost:
    """The cost of training `arms` and measuring `cells`."""
    rate, forward = measured.images_per_s, measured.forward_flops
    trained = sum(arm.images_seen * measured.image_flops[key] for key, arm in by_recipe(arms))
    known = {
        id(words): expense_of(plan, words, measured.num_features) for words in distinct_words(cells)
    }
    expenses = [known[id(cell.words)] for cell in cells]
    finetuned = sum(expense.images for expense in expenses)
    fitted = sum(expense.flops for expense in expenses)
    first = first_cells(cells)
    measured_on = {(cell.arm.id, cell.words.task) for cell in first}
    extracted = sum(images_of(plan.tasks[task]) for _, task in measured_on)
    clustered = [_feature_cost(arm, measured) for arm in arms if arm.clusters]
    clustered_flops = sum(cost.flops for cost in clustered)
    seconds = (
        _search_seconds(plan, first)
        + (trained / (BACKWARD * forward) + TUNED * finetuned) / rate
        + (extracted + clustered_flops / forward) / (FEATURED * rate)
        + fitted / PROBE_FLOPS_PER_S
    )
    return Cost(
        pretrain_images=sum(arm.images_seen for arm in arms),
        finetune_images=finetuned,
        flops=trained + forward * (BACKWARD * finetuned + extracted) + clustered_flops + fitted,
        hours=(seconds / workers + START_S + FIRST_S) / 3600 if cells else 0.0,
        disk_mb=_disk_bytes(plan, arms, first, len(cells), clustered, measured) / 1e6,
        images_per_s=rate,
        measured=measured.date,
    )


@dataclass(frozen=True)
class _FeatureCost:
    """Of the features that an arm's clusters are made from."""

    flops: float
    source: str | None
    """Fingerprint of the images."""
    decoded_bytes: float
    """Of decoded images to keep, the same for all arms of these images."""


def _feature_cost(arm: PlannedArm, measured: Measured) -> _FeatureCost:
    """A timm model has an image size of its own, so its images are decoded for it."""
    assert arm.clusters is not None
    images = len(arm.positions)
    if arm.clusters.file is not None:
        return _FeatureCost(0.0, arm.source_fingerprint, 0.0)
    if arm.clusters.timm is None:
        return _FeatureCost(measured.forward_flops * images, arm.source_fingerprint, 0.0)
    flops, side = measured.timm[arm.clusters.timm]
    return _FeatureCost(flops * images, arm.source_fingerprint, images * (1.25 * side) ** 2 * 3)


def distinct_words(cells: Sequence[PlannedCell]) -> list[Cell]:
    """What cells measure in words, each once; that is few things, whatever the number of arms."""
    return list({id(cell.words): cell.words for cell in cells}.values())


def first_cells(cells: Sequence[PlannedCell]) -> list[PlannedCell]:
    """The first cell of each arm on each task under each protocol."""
    first: dict[tuple[str, int], PlannedCell] = {}
    kinds: dict[int, int] = {}
    numbers: dict[tuple[str, str], int] = {}
    for words in distinct_words(cells):
        kind = (words.task, words.protocol)
        kinds[id(words)] = numbers.setdefault(kind, len(numbers))
    for cell in cells:
        first.setdefault((cell.arm.id, kinds[id(cell.words)]), cell)
    return list(first.values())


def _search_seconds(plan: Plan, cells: Sequence[PlannedCell]) -> float:
    """Of the search for copies of test images, once for each source and test set, and once inside
    each task; of the first cells of arms on tasks.
    """
    looked = [
        cell for cell in cells if plan.looks_for_copies(cell.arm.words.source, cell.words.task)
    ]
    tests: dict[str, str] = {}
    for name in {cell.words.task for cell in looked}:
        task = plan.tasks[name]
        tests[name] = task.source.fingerprint(task.test)
    sizes: dict[tuple[str | None, str], tuple[int, int]] = {}
    for cell in looked:
        pair = (cell.arm.source_fingerprint, tests[cell.words.task])
        sizes[pair] = (len(cell.arm.positions), len(plan.tasks[cell.words.task].test))
    for name in dict.fromkeys(cell.words.task for cell in cells):
        if plan.looks_within(name):
            task = plan.tasks[name]
            sizes[(None, name)] = (len(task.train) + len(task.val), len(task.test))
    return sum(pair_seconds(images, n_test) for images, n_test in sizes.values())


def pair_seconds(images: int, n_test: int) -> float:
    """Of the search for copies of `n_test` test images among `images`."""
    return images * n_test / _PAIRS_PER_S + (images + n_test) / _ALIGNED_PER_S


def _disk_bytes(
    plan: Plan,
    arms: Sequence[PlannedArm],
    first: Sequence[PlannedCell],
    num_cells: int,
    clustered: Sequence[_FeatureCost],
    measured: Measured,
) -> float:
    """Weights, kept features, decoded images and rows."""
    frozen = {
        (cell.arm.id, cell.words.task) for cell in first if not PROTOCOLS[cell.words.protocol].tuned
    }
    features = 4 * measured.num_features * sum(images_of(plan.tasks[task]) for _, task in frozen)
    decoded = {(cost.source, cost.decoded_bytes) for cost in clustered}
    side = round(1.25 * plan.study.image_size)
    images = sum(len(source.table) for source in plan.sources.values()) if num_cells else 0
    return (
        len(arms) * measured.weight_bytes
        + features
        + images * side * side * 3 * 1.1
        + sum(size for _, size in decoded)
        + ROW_BYTES * num_cells
    )


def images_of(task: Task) -> int:
    return len(task.train) + len(task.val) + len(task.test)


def expense_of(plan: Plan, cell: Cell, num_features: int) -> Expense:
    """What a cell costs beside the features of its task's images."""
    words, task = plan.study.protocols.asked(cell.protocol), plan.tasks[cell.task]
    return PROTOCOLS[cell.protocol].cost(words, task, cell.shots, num_features)
