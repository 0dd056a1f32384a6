"""What `headwater tasks leaks` shows: the test images of a study's tasks that its sources show
too.
"""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from headwater.curation import draw_pairs
from headwater.device import resolve
from headwater.errors import InputError
from headwater.plan import Plan, PlannedArm
from headwater.store import Store
from headwater.work import Session
from headwater.work.leaks import embedding_facts, largest_arm, leak_facts, look

_console = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 160)
_WORDS = (
    "pixels: equal once decoded; hash and crop: copies after compression, resizing, mirroring or "
    "a crop; flagged: test images in any pair"
)


def leaks_facts(
    plan: Plan, store: Store, *, sheets: Path | None, arm: str | None, device: str, quiet: bool
) -> dict[str, Any]:
    """A record for each source and task; the sheets that were drawn; what an arm's features say.

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
        "pairs": leak_facts(session, (lambda line: None) if quiet else _tell),
    }
    if sheets is not None:
        sheets.mkdir(parents=True, exist_ok=True)
        for record in facts["pairs"]:
            if record.get("num_pairs"):
                looked = look(session, largest_arm(plan, record["source"]), record["task"])
                path = sheets / f"{record['source']} and {record['task']}.png"
                draw_pairs(looked.matches, looked.source_images, looked.test_images, path)
                record["sheet"] = str(path)
    if asked is not None:
        tasks = [
            record["task"]
            for record in facts["pairs"]
            if record["source"] == asked.words.source and "num_pairs" in record
        ]
        facts["embedding"] = [embedding_facts(session, asked, task) for task in tasks]
    return facts


def _tell(line: str) -> None:
    print(f"looking: {line}", file=sys.stderr, flush=True)


def _arm(plan: Plan, store: Store, start: str) -> PlannedArm:
    found = {
        arm.id: arm
        for arm in plan.arms
        if arm.id.startswith(start) and len(start) >= 6 and arm.words.source is not None
    }
    if len(found) != 1:
        raise InputError(
            f"--arm {start}: {len(found)} arms of the study with a source have an id that starts "
            "like this (6 characters at least)"
        )
    (arm,) = found.values()
    if not store.has_arm(arm.id) or store.read_arm(arm.id)["status"] != "done":
        raise InputError(f"--arm {start}: this arm is not trained yet; `headwater run` does it")
    return arm


def print_leaks(facts: dict[str, Any]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("source", "task"):
        table.add_column(name)
    for name in (
        "images",
        "test images",
        "equal files",
        "pixels",
        "hash",
        "crop",
        "flagged",
        "share",
    ):
        table.add_column(name, justify="right")
    for record in facts["pairs"]:
        kinds = record.get("by_kind")
        counts = ["-"] * 5
        if kinds is not None:
            counts = [
                *(f"{kinds[kind]:,}" for kind in ("pixels", "hash", "crop")),
                f"{record['num_flagged']:,}",
                f"{record['share_flagged']:.2%}",
            ]
        table.add_row(
            record["source"],
            record["task"],
            f"{record['images']:,}",
            f"{record['test_images']:,}",
            f"{record['equal_files']:,}",
            *counts,
        )
    _console.print(table)
    _console.print(_WORDS)
    for record in facts["pairs"]:
        if "sheet" in record:
            _console.print(f"pairs of {record['source']} and {record['task']}: {record['sheet']}")
    for record in facts.get("embedding", ()):
        told = ", ".join(
            f"{float(q):.0%} of them at most {value:.3f}"
            for q, value in record["nearest_cosine"].items()
        )
        _console.print(
            f"arm {record['arm'][:8]} on {record['task']}: cosine of each test image with its "
            f"nearest source image: {told}"
        )
        _console.print(
            f"  of its nearest 3, {record['confirmed']} test images are confirmed as copies, "
            f"{record['confirmed_by_embedding_alone']} by this alone"
        )
