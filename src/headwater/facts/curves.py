"""How the arms of a study learn or have learned, as plain values."""

from __future__ import annotations

import json
import math
from typing import Any

from headwater.plan import Plan, PlannedArm
from headwater.store import Store

METRICS = ("step", "images", "loss", "lr", "grad_norm", "images_per_s", "knn")
"""What a line of metrics.jsonl may tell: optimiser steps and images until then, mean loss and
learning rate, norm of the gradient before clipping, speed, online accuracy in [0, 1], wall time in
s. Other keys are passed over.
"""
FILE = "metrics.jsonl"


def curves_facts(plan: Plan, store: Store) -> dict[str, Any]:
    """Every arm of the study that is trained, those for features alone among them: how far it is,
    its last numbers and its points.

    status is done, diverged, unfinished (in training, or to be gone on with) or waiting. A number
    that is not known is None.
    """
    trained = [arm for arm in plan.every_arm if arm.recipe is not None]
    return {"study": plan.study.study, "arms": [_arm_facts(arm, store) for arm in trained]}


def _arm_facts(arm: PlannedArm, store: Store) -> dict[str, Any]:
    points, unreadable = _points(arm, store)
    record = store.read_arm(arm.id) if store.has_arm(arm.id) else None
    begun = points or store.checkpoints(arm.id).is_dir()
    words = arm.words
    return {
        "arm": arm.id,
        "title": words.title,
        "method": words.method,
        "source": words.source,
        "size": words.size,
        "labels": words.labels,
        "label_kind": arm.label_kind,
        "label_level": arm.label_level,
        "classes": arm.num_labels,
        "seed": words.seed,
        "status": record["status"] if record else "unfinished" if begun else "waiting",
        "step": record.get("steps") if record and record.get("steps") else _last(points, "step"),
        "steps": arm.steps,
        "images": _last(points, "images"),
        "images_seen": arm.images_seen,
        "loss": _last(points, "loss"),
        "knn": _last(points, "knn"),
        "images_per_s": _speed(points, record),
        "unreadable_lines": unreadable,
        "points": points,
    }


def arm_points(arm: PlannedArm, store: Store) -> list[dict[str, float]]:
    """The points of an arm's curve so far, ascending in images."""
    return _points(arm, store)[0]


def _points(arm: PlannedArm, store: Store) -> tuple[list[dict[str, float]], int]:
    assert arm.recipe is not None and arm.recipe.batch is not None
    return read_metrics(_text(arm, store), batch=arm.recipe.batch, images_seen=arm.images_seen)


def _text(arm: PlannedArm, store: Store) -> bytes:
    """The metrics of an arm: the finished one's, else those so far; empty where there are none.

    An arm may be finished while we look.
    """
    done, live = store.arm_folder(arm.id) / FILE, store.checkpoints(arm.id) / FILE
    for path in (done, live, done):
        try:
            if path == done and store.has_arm(arm.id):
                return store.arm_file(arm.id, FILE)
            return path.read_bytes()
        except (FileNotFoundError, NotADirectoryError):
            continue
    return b""


def read_metrics(
    text: bytes, *, batch: int, images_seen: int
) -> tuple[list[dict[str, float]], int]:
    """(points, ascending in images; lines that could not be read) of a file of JSON lines.

    Lines at the same place add to each other, a later one wins: a run that was killed and went on
    from its checkpoint tells some steps twice. The end of the file may be half a line, which is
    being written and does not count as unreadable; a line inside that a kill cut off does. A number
    that is not finite is left out. Where `images` is missing it follows from the step and the
    batch.
    """
    lines = text.split(b"\n")
    points: dict[float, dict[str, float]] = {}
    unreadable = 0
    for number, line in enumerate(lines):
        if not line.strip():
            continue
        point = _point(line)
        if point is not None and "images" not in point and "step" in point:
            point["images"] = min(point["step"] * batch, images_seen)
        if point is None or "images" not in point:
            unreadable += number < len(lines) - 1
            continue
        points.setdefault(point["images"], {}).update(point)
    return [points[images] for images in sorted(points)], unreadable


def _point(line: bytes) -> dict[str, float] | None:
    """The known finite numbers of a line; None for what is no JSON object."""
    try:
        value = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(value, dict):
        return None
    return {
        name: value[name]
        for name in METRICS
        if isinstance(value.get(name), int | float)
        and not isinstance(value[name], bool)
        and _finite(value[name])
    }


def _finite(value: float) -> bool:
    try:
        return math.isfinite(value)
    except OverflowError:  # an integer of hundreds of digits
        return False


def _last(points: list[dict[str, float]], name: str) -> float | None:
    return next((point[name] for point in reversed(points) if name in point), None)


def _speed(points: list[dict[str, float]], record: dict[str, Any] | None) -> float | None:
    """Images per second: as it was told last, else all images over all seconds."""
    last = _last(points, "images_per_s")
    if last is not None:
        return last
    if record and record.get("images_seen") and record.get("seconds"):
        return float(record["images_seen"] / record["seconds"])
    return None
