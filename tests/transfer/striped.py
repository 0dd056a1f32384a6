"""Folders of striped photos, and small studies on them from the data to the rows: what tests of
whole cells share.

Four classes by the period of their stripes, two superclasses. The source's captions name the
period; its images and a task's are never the same.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from PIL import Image

from headwater import work
from headwater.plan import Plan, PlannedCell
from headwater.store import Store
from headwater.study import Study
from tests.toy import FP32, stripes

NAMES = ("dense", "fine", "loose", "wide")
"""By period, in alphabetical order, so that a class is its number."""
SUPERCLASSES = ("busy", "busy", "calm", "calm")
COUNTS = {"train": 20, "val": 8, "test": 30}
"""Images of each class in each split of a task."""
GRID = {"l2": [1e-4, 1e-2, 1.0]}
SHORT = {"steps": 24, "lr": [3e-3], "looks": 2, "batch": 16}
"""A fine-tuning of seconds."""
STRIPED: dict[str, Any] = {
    "study": "striped",
    "data": {
        "source": {"kind": "folder", "path": "source"},
        "task": {"kind": "folder", "path": "task"},
    },
    "sources": ["source"],
    "methods": ["scratch"],
    "labels": ["class"],
    "seeds": 1,
    "budget": {"steps": 2},
    "recipe": {"batch": 32, "text_width": 32, "text_layers": 1, "text_heads": 2, "embedding": 16},
    "precision": "fp32",
    "leakage": "bytes",  # stripes of one kind are copies of each other, changed
    "tasks": {"task": {"data": "task"}},
    "protocols": {"probe": {**GRID}},
}
"""A frozen network that was never trained already tells stripes apart, so that most tests need to
train nothing.
"""
WIDELY = {"shots": [1, 3, "full"], "draws": 2}
FITTED: dict[str, Any] = {
    "probe": {**WIDELY, **GRID},
    "ridge": {**WIDELY},
    "knn": {**WIDELY, "neighbours": [1, 3, 9], "temperature": [0.02, 0.2]},
    "finetune": {**WIDELY, "draws": 1, **SHORT},
    "lpft": {**WIDELY, "draws": 1, **SHORT},
}
"""All protocols but that of class names."""


def write_source(root: Path, *, per_class: int = 24) -> None:
    """The folder `source`: images with captions, all of them for pre-training."""
    images, labels = _images(per_class, seed=1)
    splits = np.array(["train"] * len(labels), dtype=object)
    _write(
        root / "source",
        images,
        splits,
        labels,
        captions=[f"a photo of {NAMES[c]} stripes" for c in labels],
    )


def write_task(
    root: Path,
    *,
    names: Sequence[str] = NAMES,
    shuffled: Sequence[str] = (),
    other: Sequence[str] = (),
    counts: Mapping[str, int] | None = None,
    folder: str = "task",
) -> None:
    """A folder of a task: train, val and test.

    Labels of the splits in `shuffled` are permuted over their images; images of those in `other`
    are others.

    `names[c]` is what images of period c are called.
    """
    images, labels, splits = [], [], []
    for i, (split, per_class) in enumerate((counts or COUNTS).items()):
        own, classes = _images(per_class, seed=10 + i + (50 if split in other else 0))
        if split in shuffled:
            classes = np.random.default_rng(i).permutation(classes)
        images.append(own)
        labels.append(classes)
        splits.append(np.array([split] * len(classes), dtype=object))
    _write(
        root / folder,
        np.concatenate(images),
        np.concatenate(splits),
        np.concatenate(labels),
        names=names,
    )


def _images(per_class: int, *, seed: int) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
    images, labels = stripes(per_class, seed=seed)
    return images.gather(np.arange(len(labels)))[0], labels


def _write(
    folder: Path,
    images: NDArray[np.uint8],
    splits: NDArray[np.object_],
    labels: NDArray[np.int64],
    *,
    names: Sequence[str] = NAMES,
    captions: Sequence[str] | None = None,
) -> None:
    folder.mkdir(parents=True)
    paths = [f"{split}-{i:04d}.png" for i, split in enumerate(splits)]
    for path, image in zip(paths, images, strict=True):
        Image.fromarray(image).save(folder / path, compress_level=1)
    superclass = dict(zip(NAMES, SUPERCLASSES, strict=True))
    lines = [
        f"{path},{split},{superclass[names[c]]},{names[c]}"
        for path, split, c in zip(paths, splits, labels, strict=True)
    ]
    (folder / "labels.csv").write_text("\n".join(["path,split,level1,level2", *lines]) + "\n")
    if captions is not None:
        told = [
            json.dumps({"path": path, "captions": [text]})
            for path, text in zip(paths, captions, strict=True)
        ]
        (folder / "captions.jsonl").write_text("\n".join(told) + "\n")


def planned(root: Path, **changes: Any) -> Plan:
    return Plan.make(Study.model_validate({**STRIPED, **changes}), data_root=root)


def trained(plan: Plan, store: Store) -> None:
    for arm in plan.arms:
        work.run_arm(work.Session(plan, store, FP32), arm)


def cells_of(plan: Plan, arm: str, task: str = "task") -> list[PlannedCell]:
    return [cell for cell in plan.cells if cell.arm.id == arm and cell.words.task == task]


def measured(plan: Plan, store: Store) -> pd.DataFrame:
    """Train what is not trained, measure, and give the rows."""
    trained(plan, store)
    for arm in plan.arms:
        for task in plan.tasks:
            work.run_cells(work.Session(plan, store, FP32), arm, task, cells_of(plan, arm.id, task))
    return plan.rows(store)


def run(root: Path, **changes: Any) -> pd.DataFrame:
    """The rows of a study on the folders in `root`; arms are trained once for all studies on it."""
    return measured(planned(root, **changes), Store(root / "store", create=True))


def scores(rows: pd.DataFrame, metric: str = "top1", subset: str = "all") -> pd.DataFrame:
    """The rows of one metric, by method, protocol, shots (0 for all) and draw."""
    own = rows[(rows["metric"] == metric) & (rows["subset"] == subset)].fillna(
        {"shots": 0, "draw": 0}
    )
    return own.set_index(["method", "protocol", "shots", "draw"]).sort_index()
