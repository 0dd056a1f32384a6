"""Reports: written, and their verdict as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater import wings
from headwater.engines.schedule import Pending
from headwater.errors import InputError
from headwater.facts.decisions import aim_of
from headwater.facts.shelf import Place, claim, place_of
from headwater.facts.status import counts, failures
from headwater.machine import uncollected
from headwater.plan import Plan
from headwater.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis import Aim
    from headwater.analysis.images import Answers


def run_facts(
    plan: Plan,
    store: Store,
    todo: Pending,
    report_path: Path | None,
    *,
    by_steps: bool = False,
) -> dict[str, Any]:
    """What a run did, its verdict, and where the report is.

    `todo` is what the store lacked before; what is there now was done since. A run `by_steps` does
    not mean to do all of it.
    """
    store.refresh()
    ended = [arm for arm in todo.arms if store.has_arm(arm.id)]
    diverged = sum(store.read_arm(arm.id)["status"] == "diverged" for arm in ended)
    finished, rows = store.finished_cells(), plan.rows(store)
    beware = arm_warnings(plan, store)
    return {
        "study": plan.study.study,
        "by_steps": by_steps,
        "asked_arms": len(todo.arms),
        "asked_cells": len(todo.cells),
        "ran_arms": len(ended) - diverged,
        "diverged_arms": diverged,
        "ran_cells": sum(cell.id in finished for cell in todo.cells),
        **counts(plan, rows),
        "failures": failures(rows),
        "faults": plan.faults,
        "beware": beware,
        **_report_facts(plan, store, rows, beware, report_path, None),
    }


def arm_warnings(plan: Plan, store: Store) -> list[str]:
    """What was found wrong with arms when their training had ended, each once."""
    told: dict[str, None] = {}
    for arm in plan.arms:
        if store.has_arm(arm.id):
            told |= dict.fromkeys(map(str, store.read_arm(arm.id).get("beware") or ()))
    return list(told)


def report_facts(
    plan: Plan, store: Store, out: Path | None, figures: Path | None
) -> dict[str, Any]:
    """Write the report of a study's rows; its path and the verdict.

    In a store that may only be read there is the verdict, no report, and why. Raises InputError
    where `out` cannot be written.
    """
    rows, beware = plan.rows(store), arm_warnings(plan, store)
    return _report_facts(plan, store, rows, beware, out, figures)


@uncollected()
def _report_facts(
    plan: Plan,
    store: Store,
    rows: pd.DataFrame,
    beware: list[str],
    out: Path | None,
    figures: Path | None,
) -> dict[str, Any]:
    study = plan.study
    cells = {cell.id for cell in plan.cells}
    place = Place(out, None) if out is not None else place_of(store, study.study, cells)
    facts: dict[str, Any] = {"report": None, "figures": [], "kept_report": place.kept}
    try:
        if out is None:
            claim(place.path, cells)
        return facts | _report(
            rows,
            place.path,
            figures,
            title=study.study,
            question=study.question,
            notes=list(plan.notes),
            beware=[*plan.faults, *beware],
            aim=aim_of(study, store),
            answers=store.read_answers,
        )
    except OSError as error:
        if out is not None or figures is not None:
            where = error.filename or place.path
            raise InputError(f"{where}: cannot be written ({error.strerror})") from None
        verdict = _verdict(rows, aim_of(study, store), store.read_answers)
        return facts | {
            "no_report": f"{place.path}: cannot be written ({error.strerror})",
            "verdict": verdict,
        }


@uncollected()
def table_report(table: Path, out: Path | None, figures: Path | None) -> dict[str, Any]:
    """Write the report of a table of rows."""
    from headwater.rows import read_rows

    rows = read_rows(table)
    for wing in wings.opened():
        reason = wing.not_to_report(table, rows)
        if reason is not None:
            raise InputError(reason)
    out = out or table.with_suffix(".html")
    if out.resolve() == table.resolve():
        raise InputError(f"--out {out}: is the table itself; name another file")
    try:
        return _report(
            rows,
            out,
            figures,
            title=table.stem,
            question=None,
            notes=[],
            beware=[],
            aim=None,
            answers=None,
        )
    except OSError as error:
        where = error.filename or out
        raise InputError(f"{where}: cannot be written ({error.strerror})") from None


def _report(
    rows: Any,
    out: Path,
    figures: Path | None,
    *,
    title: str,
    question: str | None,
    notes: list[str],
    beware: list[str],
    aim: Aim | None,
    answers: Answers | None,
) -> dict[str, Any]:
    from headwater.analysis import prepare
    from headwater.analysis.kept import keeping
    from headwater.report import save_figures, verdict_lines, write_report

    table = prepare(rows)
    with keeping(table):
        path = write_report(
            table,
            out,
            title=title,
            question=question,
            notes=notes,
            beware=beware,
            aim=aim,
            answers=answers,
        )
        saved = save_figures(table, figures) if figures else []
        lines = verdict_lines(table, aim, answers=answers)
    return {"report": str(path), "figures": [str(f) for f in saved], "verdict": lines}


def _verdict(rows: Any, aim: Aim | None, answers: Answers | None) -> list[str]:
    from headwater.analysis import prepare
    from headwater.analysis.kept import keeping
    from headwater.report import verdict_lines

    table = prepare(rows)
    with keeping(table):
        return verdict_lines(table, aim, answers=answers)
