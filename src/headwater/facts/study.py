"""What a study will compute, has computed and found out, as plain values."""

from __future__ import annotations

import contextlib
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headwater import files
from headwater.analysis.words import count, hours_word
from headwater.cost import estimate, measured, remembered
from headwater.engines.cores import default_workers
from headwater.engines.schedule import pending
from headwater.errors import InputError, blamed_on
from headwater.plan import Plan
from headwater.plan.outline import OutlinedTask
from headwater.plan.within import known_within
from headwater.store import Store, is_folder, is_there
from headwater.tasks import Task


def check_backbone(plan: Plan) -> None:
    """Raises InputError, with the study's line, for a backbone that timm lacks or that does not
    take such images. It loads torch.
    """
    from headwater import models
    from headwater.methods import check_encoder

    with (
        plan.study.located(),
        blamed_on("backbone" if plan.study.patch_size is None else "patch_size"),
    ):
        encoder = models.build_encoder(
            plan.study.backbone, plan.study.image_size, seed=0, patch_size=plan.study.patch_size
        )
        check_encoder(encoder, plan.study.image_size, _recipes(plan))


def _recipes(plan: Plan) -> dict[str, Any]:
    """The recipes of a plan's arms, by method."""
    return {arm.words.method: arm.recipe for arm in (*plan.supports, *plan.arms)}


def _head_notes(plan: Plan) -> list[str]:
    """What methods say of batches that are split, each once."""
    split = [arm for arm in plan.arms if arm.recipe is not None and arm.recipe.micro_batch]
    notes = dict.fromkeys(arm.method.split_note(arm.recipe) for arm in split)
    return [note for note in notes if note is not None]


def plan_facts(
    plan: Plan,
    store: Store | None,
    *,
    device: str = "auto",
    workers: int | None = None,
    fresh: bool = False,
    place: Path | None = None,
) -> dict[str, Any]:
    """Arms, cells, what is done, shared and orphaned, and the cost of the rest, beside what is free
    on the disk of the store, or of `place`, where it would be made.

    `workers` is one per core of this machine, or one on a GPU, where it is None. `fresh` measures
    this machine's rate anew; without it a rate that nobody has measured yet is a guess. Raises
    InputError, with the study's line, for a backbone that cannot be, and for a device that is not
    there.
    """
    study, encoder = plan.study, measured(plan, device, fresh=fresh, guessed=True)
    workers = workers or default_workers(encoder.device)
    todo = pending(plan, store)
    finished = store.finished_cells() if store else set()
    cells = {cell.id for cell in plan.cells}
    cost = estimate(plan, todo.arms, todo.cells, encoder, workers=workers)
    return {
        "study": study.study,
        "store": None if store is None else str(store.root),
        "question": study.question,
        "tasks": [_task_facts(plan, task) for task in plan.tasks.values()],
        "protocols": {
            name: words.model_dump(mode="json", exclude_none=True)
            for name, words in study.protocols.items()
        },
        "arms": _arms_facts(plan, store, finished),
        "cells": {
            "total": len(cells),
            "kept": len(cells & finished),
            "new": len(todo.cells),
            "orphaned": _orphans(plan, store),
        },
        "shared": len(plan.cells) - len(cells),
        "faults": plan.faults,
        "notes": [
            *plan.notes,
            *_notes_on_changed_copies(plan, store),
            *encoder.notes,
            *_head_notes(plan),
        ],
        "workers": workers,
        "cost": {**cost.as_dict(), "disk_free_mb": _free_mb(store, place)},
    }


def _free_mb(store: Store | None, place: Path | None) -> float | None:
    """What is free on the disk of a store; None where nobody knows where it will be."""
    folder = place if store is None else store.root
    if folder is None or (store is None and not is_folder(folder)):
        return None
    return files.free_bytes(folder) / 1e6


def progress_facts(
    plan: Plan, *, store: Path, device: str = "auto", workers: int | None = None
) -> dict[str, str]:
    """What is done of a plan, and what the rest will cost where this machine's rate is known: short
    words. Nothing is measured.
    """
    opened = Store(store) if is_there(store) else None
    todo = pending(plan, opened)
    total = len({cell.id for cell in plan.cells})
    done = total - len(todo.cells)
    said = {"done": f"{done:,} of {total:,} cells", "to train": count(len(todo.arms), "arm")}
    encoder = remembered(plan, device)
    if encoder is not None and todo.cells:
        workers = workers or default_workers(encoder.device)
        cost = estimate(plan, todo.arms, todo.cells, encoder, workers=workers)
        said["cost"] = f"about {hours_word(cost.hours)} with {count(workers, 'worker')}"
    return said


def task_facts(task: Task | OutlinedTask) -> dict[str, Any]:
    """A task's sizes, and where its validation split comes from."""
    return {
        "task": task.name,
        "classes": task.num_classes,
        "train": len(task.train),
        "val": len(task.val),
        "test": len(task.test),
        "val_from": "train" if task.carved else "split",
    }


def _task_facts(plan: Plan, task: Task) -> dict[str, Any]:
    return {**task_facts(task), "own_copies": plan.own_copies.get(task.name, 0)}


def _notes_on_changed_copies(plan: Plan, store: Store | None) -> Iterator[str]:
    """What an earlier run found of copies inside tasks that are not equal files."""
    for name, task in plan.tasks.items():
        found = known_within(plan, store, name) if store else None
        if found is not None and found > plan.own_copies.get(name, 0):
            yield (
                f"{found:,} of the {len(task.test):,} test images of task {name!r} are copies of "
                "its own train or val images, equal or changed, as an earlier run found "
                "(`headwater tasks leaks` shows them); scores are also given without them (subset "
                "unleaked)"
            )


def _arms_facts(plan: Plan, store: Store | None, finished: set[str]) -> list[dict[str, Any]]:
    """A record of each arm, those for features alone first."""
    cells_of = Counter(cell.arm.id for cell in plan.cells)
    done_of = Counter(cell.arm.id for cell in plan.cells if cell.id in finished)
    records = []
    for arm in (*plan.supports, *plan.arms):
        record = {
            "arm": arm.id,
            **arm.words.words(),
            "images": len(arm.positions),
            "classes": arm.num_labels,
            "images_seen": arm.images_seen,
            "steps": arm.steps,
            "trained": bool(store and store.has_arm(arm.id)),
            "cells": cells_of[arm.id],
            "cells_done": done_of[arm.id],
        }
        if arm.clusters:
            record["labels_from"] = arm.clusters.origin
        records.append(record)
    return records


def _orphans(plan: Plan, store: Store | None) -> int:
    """Finished cells of a study of this name that it no longer asks for."""
    if store is None:
        return 0
    others = store.finished_cells() - {cell.id for cell in plan.cells}
    orphans = 0
    for cell in others:
        with contextlib.suppress(InputError):  # what is damaged and not asked for is nobody's
            rows = store.read_cell(cell)
            orphans += bool(rows) and rows[0]["study"] == plan.study.study
    return orphans
