"""The test images of a study's tasks that its sources, or the tasks' own train and val, show
too, as plain values.
"""

from __future__ import annotations

import base64
from collections.abc import Callable
from pathlib import Path
from typing import Any

from headwater.curation import draw_pairs, drawn_pairs
from headwater.device import resolve
from headwater.errors import InputError
from headwater.facts.tasks import write_index
from headwater.files import make_folder
from headwater.plan import Plan, PlannedArm
from headwater.plan.within import own_images
from headwater.store import Store
from headwater.work import Session
from headwater.work.cleaning import Cleaned, cleaned
from headwater.work.leaks import (
    Looked,
    embedding_facts,
    largest_arm,
    leak_facts,
    look,
    look_within,
)


def leaks_facts(
    plan: Plan,
    store: Store,
    *,
    sheets: Path | None = None,
    pictures: int = 0,
    arm: str | None = None,
    clean: Path | None = None,
    device: str = "auto",
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """`pairs`, a record for each source and task; `own`, one for each task and its own train and
    val; `told`, what the plan says; the sheets that were drawn; what an arm's features say. With
    `pictures`, each record has up to so many of its pairs in `shown`, the doubtful first: ids, and
    PNG files as base64.

    `clean` is a folder in which an index file is written for every data set that is pre-trained on,
    without the images that a test set shows and without copies of one another (`cleaned`, a record
    each).

    `tell` hears of what is being looked at.

    Raises InputError for an arm that is not there, and for an index file that is there already and
    says otherwise.
    """
    if plan.study.leakage == "bytes":
        raise InputError(
            f"{plan.study.study}: the study says `leakage: bytes`; take that out to have copies "
            "looked for"
        )
    asked = None if arm is None else _arm(plan, store, arm)
    session = Session(plan, store, resolve(device, plan.study.precision))
    pairs, own = leak_facts(session, tell)
    facts: dict[str, Any] = {
        "study": plan.study.study,
        "pairs": pairs,
        "own": own,
        "told": [*plan.faults, *plan.notes],
    }
    if sheets is not None:
        make_folder(sheets)
    for record in (*facts["pairs"], *facts["own"]):
        if record.get("num_pairs"):
            if sheets is not None:
                path = sheets / f"{' and '.join(_names(record))}.png"
                _draw(_looked(session, record), path, record)
            if pictures:
                record["shown"] = _shown(session, record, pictures)
    if asked is not None:
        tasks = [
            record["task"]
            for record in facts["pairs"]
            if record["source"] == asked.words.source and "num_pairs" in record
        ]
        facts["embedding"] = [embedding_facts(session, asked, task) for task in tasks]
    if clean is not None:
        facts["cleaned"] = [_written(each, clean) for each in cleaned(session, tell)]
    return facts


def _written(one: Cleaned, folder: Path) -> dict[str, Any]:
    """Write the index file of a data set; what it leaves out."""
    path = folder / f"{one.data}.csv"
    write_index(path, one.csv().encode())
    return {**one.summary(), "wrote": str(path)}


def _names(record: dict[str, Any]) -> list[str]:
    return [record[name] for name in ("source", "task") if name in record]


def _looked(session: Session, record: dict[str, Any]) -> Looked:
    if "source" not in record:
        return look_within(session, record["task"])
    return look(session, largest_arm(session.plan, record["source"]), record["task"])


def _shown(session: Session, record: dict[str, Any], most: int) -> list[dict[str, Any]]:
    """Pairs of a record, as plain values."""
    plan, task = session.plan, session.plan.tasks[record["task"]]
    if "source" in record:
        arm = largest_arm(plan, record["source"])
        table, rows = plan.sources[plan.study.sources[record["source"]].data].table, arm.positions
    else:
        table, rows = task.source.table, own_images(task)
    looked = _looked(session, record)
    pairs = drawn_pairs(looked.matches, looked.source_images, looked.test_images, most=most)
    return [
        {
            "test": str(task.source.table.ids[task.test[pair.test_row]]),
            "source": str(table.ids[rows[pair.source_row]]),
            "kind": pair.kind,
            "similarity": pair.similarity,
            "mirrored": pair.mirrored,
            "pngs": list(map(_as_text, pair.pngs)),
        }
        for pair in pairs
    ]


def _as_text(png: bytes) -> str:
    return base64.b64encode(png).decode()


def _draw(looked: Looked, path: Path, record: dict[str, Any]) -> None:
    draw_pairs(looked.matches, looked.source_images, looked.test_images, path)
    record["sheet"] = str(path)


def _arm(plan: Plan, store: Store, start: str) -> PlannedArm:
    meant = {
        arm.id: arm
        for arm in plan.arms
        if arm.id.startswith(start) and len(start) >= 6 and arm.words.source is not None
    }
    if len(meant) != 1:
        raise InputError(
            f"--arm {start}: {len(meant)} arms of the study with a source have an id that starts "
            "like this (6 characters at least)"
        )
    (arm,) = meant.values()
    if not store.has_arm(arm.id) or store.read_arm(arm.id)["status"] != "done":
        raise InputError(f"--arm {start}: this arm is not trained yet; `headwater run` does it")
    return arm
