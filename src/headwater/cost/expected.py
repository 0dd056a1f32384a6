"""Seconds of each piece of a run on one worker, before any of it was seen: what its forecast starts
from (headwater.engines.forecast).

The pieces are those of `estimate`, one by one, with what every piece takes besides [ours, from runs
on two cores]: a worker process starts, a batch of its first kernels is slow, a file is decoded.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from headwater.cost.encoder import Measured, by_recipe
from headwater.cost.estimate import (
    BACKWARD,
    FEATURED,
    FIRST_S,
    PROBE_FLOPS_PER_S,
    START_S,
    TUNED,
    distinct_words,
    expense_of,
    first_cells,
    images_of,
    pair_seconds,
)
from headwater.plan import Plan, PlannedArm, PlannedCell

DECODED_PER_S = 5000.0
"""Images that are decoded and kept before anything is trained."""
_TRAIN_S, _OPEN_S, _CELL_S = 0.1, 0.13, 0.02
"""What a training, a task that is opened, and a cell take whatever their size."""
_TOKENS_PER_S = 25_000.0
"""Of captions that a text tower of two layers is trained on, all as long as the longest."""


@dataclass(frozen=True)
class Piece:
    """Work of one kind: what was seen of a kind tells of the rest of it."""

    kind: tuple[str, str]
    """A group (train, open, cell) and what it is in it: a method, a task, a protocol."""
    seconds: float


@dataclass(frozen=True)
class Expected:
    """What each piece of a run takes, before any of it was seen."""

    start_s: float
    """Until the first unit begins: images are decoded, workers start."""
    first: Piece
    """What the first unit of a worker takes besides."""
    arms: dict[str, Piece]
    """By arm's id, its training."""
    opened: dict[tuple[str, str], Piece]
    """By arm's id and task: until the first cell is measured, with features, without the search."""
    searched: dict[tuple[str, str], tuple[Piece, ...]]
    """By arm's id and task: the searches for copies of test images. Those of the same images have
    the same kind, and are done once.
    """
    cells: dict[str, Piece]
    """By cell's id."""


def expected(
    plan: Plan,
    arms: Sequence[PlannedArm],
    cells: Sequence[PlannedCell],
    measured: Measured,
    *,
    undecoded: int = 0,
) -> Expected:
    """Of training `arms` and measuring `cells`; `undecoded` images are not in the cache yet."""
    rate, forward = measured.images_per_s, measured.forward_flops
    trained, opened, searched = {}, {}, {}
    keys = {arm.id: key for key, arm in by_recipe(arms)}
    for arm in arms:
        seconds = _TRAIN_S
        if arm.recipe is not None:
            flops = arm.images_seen * measured.image_flops[keys[arm.id]]
            seconds += flops / (BACKWARD * forward * rate) + arm.images_seen * _text_seconds(arm)
        trained[arm.id] = Piece(("train", arm.words.method), seconds)
    for cell in first_cells(cells):
        arm, task = cell.arm, cell.words.task
        if (arm.id, task) in opened:
            continue
        images = images_of(plan.tasks[task])
        opened[arm.id, task] = Piece(("open", task), _OPEN_S + images / (FEATURED * rate))
        searched[arm.id, task] = tuple(_searches(plan, cell))
    pieces: dict[int, Piece] = {}
    for words in distinct_words(cells):
        cost = expense_of(plan, words, measured.num_features)
        seconds = _CELL_S + TUNED * cost.images / rate + cost.flops / PROBE_FLOPS_PER_S
        pieces[id(words)] = Piece(("cell", words.protocol), seconds)
    measuring = {cell.id: pieces[id(cell.words)] for cell in cells}
    start = START_S + undecoded / DECODED_PER_S
    first = Piece(("first", ""), FIRST_S)
    return Expected(start, first, trained, opened, searched, measuring)


def _text_seconds(arm: PlannedArm) -> float:
    """Of the caption of one image in training."""
    if not arm.captions or not arm.method.text_tower:
        return 0.0
    words = max(text.count(" ") for text in itertools.chain.from_iterable(arm.captions)) + 3
    return min(words, arm.method.context(arm.recipe) or words) / _TOKENS_PER_S


def _searches(plan: Plan, cell: PlannedCell) -> Iterator[Piece]:
    arm, name = cell.arm, cell.words.task
    task = plan.tasks[name]
    if plan.looks_for_copies(arm.words.source, name):
        kind = ("search", f"{arm.source_fingerprint} {name}")
        yield Piece(kind, pair_seconds(len(arm.positions), len(task.test)))
    if plan.looks_within(name):
        own = len(task.train) + len(task.val)
        yield Piece(("search", f"within {name}"), pair_seconds(own, len(task.test)))
