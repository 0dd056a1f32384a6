"""The test images of a study's tasks that its sources, or the tasks' own train and val, show
too, as plain values.
"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

from headwater.curation import draw_pairs
from headwater.device import resolve
from headwater.errors import InputError
from headwater.plan import Plan, PlannedArm
from headwater.store import Store
from headwater.work import Session
from headwater.work.leaks import (
    Looked,
    embedding_facts,
    largest_arm,
    leak_facts,
    look,
    look_within,
    own_facts,
)


def leaks_facts(
    plan: Plan,
    store: Store,
    *,
    sheets: Path | None = None,
    arm: str | None = None,
    device: str = "auto",
    tell: Callable[[str], None] = lambda line: None,
) -> dict[str, Any]:
    """`pairs`, a record for each source and task; `own`, one for each task and its own train and
    val; the sheets that were drawn; what an arm's features say.

    `tell` hears of what is being looked at.

    Raises InputError for an arm that is not there.
    """
    if plan.study.leakage == "bytes":
        raise InputError(
            f"{plan.study.study}: the study says `leakage: bytes`; take that out to have copies "
            "looked for"
        )
    asked = None if arm is None else _arm(plan, store, arm)
    session = Session(plan, store, resolve(device, plan.study.precision))
    facts: dict[str, Any] = {
        "study": plan.study.study,
        "pairs": leak_facts(session, tell),
        "own": own_facts(session, tell),
    }
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        for record in facts["pairs"]:
            if record.get("num_pairs"):
                looked = look(session, largest_arm(plan, record["source"]), record["task"])
                _draw(looked, sheets / f"{record['source']} and {record['task']}.png", record)
        for record in facts["own"]:
            if record.get("num_pairs"):
                _draw(
                    look_within(session, record["task"]), sheets / f"{record['task']}.png", record
                )
    if asked is not None:
        tasks = [
            record["task"]
            for record in facts["pairs"]
            if record["source"] == asked.words.source and "num_pairs" in record
        ]
        facts["embedding"] = [embedding_facts(session, asked, task) for task in tasks]
    return facts


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
