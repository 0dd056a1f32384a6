"""A store of rows that a run could have written, for benchmarks/scale.py: nothing is trained.

    python benchmarks/scale_store.py STUDY DATA_ROOT STORE MISSING    all cells but the last ones
    python benchmarks/scale_store.py STUDY DATA_ROOT STORE again      one cell once more

It is a program of its own, since Linux counts what a parent held to its children's largest memory.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import numpy as np

from headwater import digests
from headwater.plan import Plan
from headwater.rows import cell_file_text, check_row
from headwater.store import Store
from headwater.study import Study
from headwater.work.fields import arm_fields, cell_fields, draw_fields


def fill(store: Store, plan: Plan, missing: int) -> None:
    """Writes what a run of the plan could have written, but for the last cells."""
    rng = np.random.default_rng(0)
    versions = '{"headwater": "0.1.0", "torch": "2.8.0"}'
    records: dict[str, dict[str, Any]] = {}
    for arm in plan.arms:
        record = {
            "id": arm.id,
            "words": arm.words.words(),
            "status": "done",
            "loss": 1.0,
            "recipe": None if arm.recipe is None else arm.recipe.words(),
            "seconds": 3.0,
            "fingerprint": "cpu fp32",
            "versions": versions,
            "flops": 1e9,
        }
        records[arm.id] = record
        with store.writing_arm(arm.id) as folder:
            (folder / "encoder.safetensors").write_bytes(b"no weights")
            store.write_record(folder, record)
    for folder in (store.rows, store.answers):
        folder.mkdir()
    drawn: dict[tuple[str, str, int | None], dict[str, Any]] = {}
    done = plan.cells[: len(plan.cells) - missing]
    for cell in done:
        words, task = cell.words, plan.tasks[cell.words.task]
        key = (words.task, words.protocol, words.shots)
        if key not in drawn:
            draw = task.draw(words.shots, words.draw, seed=0, val="matched")
            drawn[key] = draw_fields(plan, draw, cell)
        value = float(np.clip(0.5 + 0.02 * rng.normal() + len(cell.arm.words.title) / 200, 0, 1))
        common = {
            **cell_fields(plan, cell),
            **arm_fields(records[cell.arm.id], plan),
            **drawn[key],
            "fingerprint": "cpu fp32",
            "versions": versions,
            "label_reuse": False,
            "leaked_test_images": 0,
            "similar_test_images": 0,
            "own_test_copies": 0,
            "host": "made",
            "attempt": 1,
            "seconds": 0.01,
            "chosen": '{"l2":0.1}',
            "finished": "2026-01-01T00:00:00+00:00",
            "val_value": 0.5,
            "subset": "all",
            "status": "done",
            "value": value,
            "n_test": len(task.test),
        }
        metrics = ("top1", "mean_per_class", *(("ece",) if words.protocol == "probe" else ()))
        rows = [check_row({**common, "metric": metric}) for metric in metrics]
        (store.rows / f"{cell.id}.json").write_text(cell_file_text(rows))
        with (store.answers / f"{cell.id}.npy").open("wb") as file:
            digests.write_array(file, np.packbits(rng.random(len(task.test)) < value))


def write_again(store: Store) -> None:
    """Writes the rows of one cell once more, as a run does."""
    cell = min(store.finished_cells())
    store.write_rows(cell, store.read_cell(cell))


def main() -> None:
    study, folder, where, what = sys.argv[1:]
    store = Store(where, create=True)
    if what == "again":
        write_again(store)
        return
    fill(store, Plan.make(Study.load(study), data_root=Path(folder)), int(what))


if __name__ == "__main__":
    main()
