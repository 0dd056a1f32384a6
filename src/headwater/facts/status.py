"""How far a study is, as plain values."""

from __future__ import annotations

import os
from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

from headwater.engines.progress import runs_of
from headwater.facts.kept import said, said_before
from headwater.plan import Plan
from headwater.registry import ENGINES
from headwater.store import Standing, Store

if TYPE_CHECKING:
    import pandas as pd

_MOST_DECIDED = 10_000
"""Cells of which a decision takes a moment: 0.4 seconds [ours]."""
_MOST_READ = 500
"""Files of rows that are read in a moment: a quarter of a second [ours]."""


def status_facts(plan: Plan, store: Store | None, *, decide: bool = False) -> dict[str, Any]:
    """Counts, how far each unfinished arm is, what runs say of the time that is left, the scores so
    far and what would be decided now.

    Where a decision takes more than a moment, as there are many cells or many files of rows to
    read, there is none unless it is known from before, and `undecided` says why: `decide` waits for
    it all the same.
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
        "undecided": None,
        "failures": [],
        "faults": plan.faults,
    }
    if store is None:
        facts |= counts(plan, None)
    else:
        facts |= _said_of_cells(plan, store, decide=decide)
        facts["arms_done"] = len({arm.id for arm in plan.every_arm} & store.all_arms())
        facts["in_progress"] = list(_in_progress(plan, store))
        facts["running"] = _running(plan, store)
        facts["left_s"] = facts["running"][0]["left_s"] if facts["running"] else None
        facts["queue"] = queue_facts(store)
    return facts


def _said_of_cells(plan: Plan, store: Store, *, decide: bool) -> dict[str, Any]:
    """What the status says of a study's cells: of their rows, or, where that takes long, of their
    files.
    """
    if decide:
        return said(plan, store, lambda: _said_of_rows(plan, store))
    known = said_before(plan, store) if store.rows_are_here else None
    if known is not None:
        return known
    stand = store.standing({cell.id for cell in plan.cells})
    if len(stand.unread) <= _MOST_READ:
        if len(stand.finished) + len(stand.failed) <= _MOST_DECIDED:
            return said(plan, store, lambda: _said_of_rows(plan, store))
        if not store.rows_are_here:  # its few new rows come here first
            known = said_before(plan, store)
    return _said_of_files(stand, store) if known is None else known


def _said_of_files(stand: Standing, store: Store) -> dict[str, Any]:
    """What the status says of a study's cells from the names of their files and a few of their
    rows, and why it was not decided.
    """
    too_many = len(stand.unread) > _MOST_READ
    read = set[str]() if too_many else stand.unread
    failed = sorted(stand.failed)[:_MOST_READ]
    asked = sorted({*read, *failed})
    if asked:
        store.bring_rows(asked)
    ends = store.read_ends(asked)
    diverged = stand.diverged | {cell for cell in read if ends.get(cell, ("",))[0] == "diverged"}
    reasons = sorted({ends[cell][1] for cell in failed if cell in ends} - {""})
    if len(stand.failed) > len(failed):
        reasons.append(
            f"({len(stand.failed) - len(failed):,} cells more, whose reasons are not read)"
        )
    why = f"a decision of {len(stand.finished):,} cells takes seconds"
    if too_many:
        why = (
            f"the rows of {len(stand.unread):,} cells have to be read first (those of "
            "them that diverged are counted as done)"
        )
    return {
        "cells": stand.asked,
        "done": len(stand.finished) - len(diverged),
        "diverged": len(diverged),
        "failed": len(stand.failed),
        "to_do": stand.asked - len(stand.finished) - len(stand.failed),
        "undecided": why,
        "failures": reasons,
    }


def _said_of_rows(plan: Plan, store: Store) -> dict[str, Any]:
    """What the status says of a study's rows."""
    from headwater.facts.decisions import decided_by, decision_so_far  # only a decision needs them

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
