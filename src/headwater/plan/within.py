"""Where the changed copies inside a task are kept, and what an earlier search of them found."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as pq

from headwater import digests, recipes
from headwater.files import file_sha256
from headwater.plan.overlaps import too_many
from headwater.plan.plan import Plan
from headwater.sources import Positions
from headwater.sources.pixels import RECIPE as PIXELS
from headwater.store import Store
from headwater.study import identity
from headwater.tasks import Task

AT_SCALE = 1
"""Version of the search where there are too many pairs to look at all."""
PAIRS, ABOUT = "pairs.parquet", "about.json"


def own_images(task: Task) -> Positions:
    """A task's train and val images, ascending."""
    return np.union1d(task.train, task.val)


def pairs_folder(
    plan: Plan, store: Store, kind: str, fingerprint: str | None, images: int, task_name: str
) -> Path:
    """Where the pairs of some images (so many) and a task's test images are kept; `kind` is a
    folder of the store's cache.
    """
    task = plan.tasks[task_name]
    words: dict[str, Any] = {
        "source": fingerprint,
        "test": task.source.fingerprint(task.test),
        "image_size": plan.study.image_size,
        "rooms": recipes.versions_of(("pixels", "leaks"), pixels=PIXELS),
    }
    if too_many(images, len(task.test)):
        words["search"] = AT_SCALE
    return store.cache / kind / identity(words)


def within_folder(plan: Plan, store: Store, task_name: str) -> Path:
    """Where the pairs inside a task are kept."""
    task = plan.tasks[task_name]
    own = own_images(task)
    fingerprint = task.source.fingerprint(own)
    return pairs_folder(plan, store, "leaks-within", fingerprint, len(own), task_name)


def known_within(plan: Plan, store: Store, task_name: str) -> int | None:
    """How many test images have such pairs, where an earlier run has looked; None where none has,
    where what it kept is damaged, or where it is not looked for.
    """
    if not plan.looks_within(task_name):
        return None
    folder = within_folder(plan, store, task_name)
    with suppress(FileNotFoundError, digests.Damaged):
        return digests.reading(lambda: _num_test(folder))
    return None


def _num_test(folder: Path) -> int:
    about = digests.read_record(folder / ABOUT)
    if about["sha256"] != file_sha256(folder / PAIRS):
        raise digests.Damaged("these pairs are not what was written")
    table: Any = pq.read_table(folder / PAIRS, columns=["test_row"], partitioning=None)
    return len(set(table["test_row"].to_pylist()))
