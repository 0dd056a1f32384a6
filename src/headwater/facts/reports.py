"""Reports: written, and their verdict as plain values."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater import wings
from headwater.engines.schedule import Pending
from headwater.errors import InputError
from headwater.facts.decisions import aim_of
from headwater.facts.study import counts, failures
from headwater.plan import Plan
from headwater.store import Store

if TYPE_CHECKING:
    from headwater.analysis import Aim
    from headwater.analysis.images import Answers


@contextlib.contextmanager
def _uncollected() -> Iterator[None]:
    """Without Python's search for cycles of dead objects: over the texts of a million rows it takes
    a tenth of a report's time and finds nothing.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()


def run_facts(plan: Plan, store: Store, todo: Pending, report_path: Path | None) -> dict[str, Any]:
    """What a run did, its verdict, and where the report is."""
    return {
        "study": plan.study.study,
        "ran_arms": len(todo.arms),
        "ran_cells": len(todo.cells),
        **counts(plan, store),
        "failures": failures(plan, store),
        **report_facts(plan, store, report_path, None),
    }


@_uncollected()
def report_facts(
    plan: Plan, store: Store, out: Path | None, figures: Path | None
) -> dict[str, Any]:
    """Write the report of a study's rows; its path and the verdict."""
    out = out or store.root / "reports" / f"{plan.study.study}.html"
    return _report(
        plan.rows(store),
        out,
        figures,
        title=plan.study.study,
        question=plan.study.question,
        notes=list(plan.notes),
        aim=aim_of(plan.study, store),
        answers=store.read_answers,
    )


@_uncollected()
def table_report(table: Path, out: Path | None, figures: Path | None) -> dict[str, Any]:
    """Write the report of a table of rows."""
    from headwater.rows import read_rows

    rows = read_rows(table)
    for wing in wings.opened():
        reason = wing.not_to_report(table, rows)
        if reason is not None:
            raise InputError(reason)
    return _report(
        rows,
        out or table.with_suffix(".html"),
        figures,
        title=table.stem,
        question=None,
        notes=[],
        aim=None,
        answers=None,
    )


def _report(
    rows: Any,
    out: Path,
    figures: Path | None,
    *,
    title: str,
    question: str | None,
    notes: list[str],
    aim: Aim | None,
    answers: Answers | None,
) -> dict[str, Any]:
    from headwater.analysis import prepare
    from headwater.analysis.kept import keeping
    from headwater.report import save_figures, verdict_lines, write_report

    table = prepare(rows)
    try:
        with keeping(table):
            path = write_report(
                table, out, title=title, question=question, notes=notes, aim=aim, answers=answers
            )
            saved = save_figures(table, figures) if figures else []
            lines = verdict_lines(table, aim, answers=answers)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from None
    return {"report": str(path), "figures": [str(f) for f in saved], "verdict": lines}
