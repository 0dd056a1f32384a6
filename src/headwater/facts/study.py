"""What a study will compute, has computed and found out, as plain values."""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater import files
from headwater.analysis.words import count, hours_word
from headwater.cost import estimate, measured, remembered
from headwater.engines.cores import default_workers
from headwater.engines.progress import runs_of
from headwater.engines.schedule import pending
from headwater.errors import InputError, blamed_on
from headwater.facts.decisions import decided_by, decision_so_far
from headwater.facts.kept import said
from headwater.plan import Plan
from headwater.plan.outline import OutlinedTask
from headwater.plan.within import known_within
from headwater.registry import ENGINES
from headwater.store import Store, is_folder, is_there
from headwater.tasks import Task

if TYPE_CHECKING:
    import pandas as pd


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


def status_facts(plan: Plan, store: Store | None) -> dict[str, Any]:
    """Counts, how far each unfinished arm is, what runs say of the time that is left, the scores so
    far and what would be decided now.
    """
    facts: dict[str, Any] = {
        "study": plan.study.study,
        "store": None if store is None else str(store.root),
        **dict.fromkeys(("cells", "done", "diverged", "failed", "to_do"), 0),
        "arms": len(plan.every_arm),
        "arms_done": 0,
        "in_progress": [],
        "running": [],
        "queue": [],
        "left_s": None,
        "decision": None,
        "failures": [],
        "faults": plan.faults,
    }
    if store is None:
        facts |= counts(plan, None)
    else:
        facts |= said(plan, store, lambda: _said_of_rows(plan, store))
        facts["arms_done"] = len({arm.id for arm in plan.every_arm} & store.all_arms())
        facts["in_progress"] = list(_in_progress(plan, store))
        facts["running"] = _running(plan, store)
        facts["left_s"] = facts["running"][0]["left_s"] if facts["running"] else None
        facts["queue"] = queue_facts(store)
    return facts


def _said_of_rows(plan: Plan, store: Store) -> dict[str, Any]:
    """What the status says of a study's rows."""
    rows = plan.rows(store, only={"status", "reason", *decided_by()})
    return {
        **counts(plan, rows),
        "decision": decision_so_far(plan, store, rows),
        "failures": failures(rows),
    }


def queue_facts(store: Store) -> list[dict[str, Any]]:
    """What batch systems and clusters say of a store's workers: `engine`, `worker`, `state` and
    what else the engine tells.
    """
    found = []
    for engine in ENGINES:
        if engine.queue is not None:
            found += [{"engine": engine.name, **each} for each in engine.queue(store)]
    return found


def _running(plan: Plan, store: Store) -> list[dict[str, Any]]:
    """What runs of the study have told last, with the words of the arms that are not done."""
    arms = {arm.id: arm.words for arm in plan.every_arm}
    runs = runs_of(plan, store)
    for run in runs:
        run["arms_left"] = [
            {"arm": arm, "title": arms[arm].title, "seed": arms[arm].seed, "left_s": left}
            for arm, left in sorted(run.pop("arms").items(), key=lambda item: item[1])
            if arm in arms
        ]
    return runs


def _in_progress(plan: Plan, store: Store) -> Iterator[dict[str, Any]]:
    """Arms with a checkpoint that are not finished."""
    begun = set(os.listdir(store.partial)) if store.partial.is_dir() else set[str]()
    for arm in plan.every_arm:
        if arm.id not in begun:
            continue
        checkpoints = store.checkpoints(arm.id).glob("step-*.json")
        steps = [int(path.stem.split("-")[1]) for path in checkpoints]
        if steps and not store.has_arm(arm.id):
            yield {
                "arm": arm.id,
                "title": arm.words.title,
                "seed": arm.words.seed,
                "step": max(steps),
                "steps": arm.steps,
            }


def failures(rows: pd.DataFrame) -> list[str]:
    """Why cells failed, each reason once."""
    return sorted(set(rows["reason"][rows["status"] == "failed"].dropna()))


def counts(plan: Plan, rows: pd.DataFrame | None) -> dict[str, int]:
    """Cells of a study: how many there are, are done, have diverged or failed, and are to do; of
    the plan's rows.
    """
    number = len({cell.id for cell in plan.cells})
    statuses: dict[str, int] = {}
    if rows is not None:
        each = rows["status"][~rows["cell"].duplicated()]
        statuses = {str(word): int(n) for word, n in each.value_counts().items()}
    return {
        "cells": number,
        "done": statuses.get("done", 0),
        "diverged": statuses.get("diverged", 0),
        "failed": statuses.get("failed", 0),
        "to_do": number - sum(statuses.values()),
    }
