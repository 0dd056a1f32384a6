"""What the command line shows, as facts (plain values, also its --json) and as text."""

from __future__ import annotations

import contextlib
import sys
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from headwater import wings
from headwater.engines.schedule import Event, Pending, pending
from headwater.errors import InputError, blamed_on
from headwater.plan import Plan
from headwater.store import Store

SHORTEST_ID = 6
"""How much of an id `--redo` asks for: what it forgets may have taken hours."""
_console = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 160)


def check_backbone(plan: Plan) -> None:
    """Raises InputError, with the study's line, for a backbone that timm lacks or that does not
    take such images. It loads torch.
    """
    from headwater import models

    with (
        plan.study.located(),
        blamed_on("backbone" if plan.study.patch_size is None else "patch_size"),
    ):
        models.build_encoder(
            plan.study.backbone, plan.study.image_size, seed=0, patch_size=plan.study.patch_size
        )


def _backbone_notes(plan: Plan) -> list[str]:
    from headwater import models

    study = plan.study
    split = [arm for arm in plan.arms if arm.recipe is not None and arm.recipe.micro_batch]
    of_heads = dict.fromkeys(arm.method.split_note(arm.recipe) for arm in split)
    return [
        *models.notes(
            study.backbone, study.image_size, study.patch_size, batch_is_split=bool(split)
        ),
        *(note for note in of_heads if note is not None),
    ]


def plan_facts(plan: Plan, store: Store | None, *, device: str, workers: int) -> dict[str, Any]:
    """Arms, cells, what is done, shared and orphaned, and the cost of the rest."""
    from headwater.cost import estimate

    study = plan.study
    finished = store.finished_cells() if store else set()
    todo = pending(plan, store)
    cost = estimate(plan, todo.arms, todo.cells, device_name=device, workers=workers)
    cells_of = Counter(cell.arm.id for cell in plan.cells)
    done_of = Counter(cell.arm.id for cell in plan.cells if cell.id in finished)
    return {
        "study": study.study,
        "question": study.question,
        "tasks": [
            {
                "task": t.name,
                "classes": t.num_classes,
                "train": len(t.train),
                "val": len(t.val),
                "test": len(t.test),
                "val_from": "train" if t.carved else "split",
            }
            for t in plan.tasks.values()
        ],
        "protocols": {
            name: words.model_dump(mode="json", exclude_none=True)
            for name, words in study.protocols.items()
        },
        "arms": [
            {
                "arm": arm.id,
                **arm.words.words(),
                "images": len(arm.positions),
                "classes": arm.num_labels,
                "images_seen": arm.images_seen,
                "steps": arm.steps,
                "trained": bool(store and store.has_arm(arm.id)),
                "cells": cells_of[arm.id],
                "cells_done": done_of[arm.id],
                **({"labels_from": arm.clusters.origin} if arm.clusters else {}),
            }
            for arm in (*plan.supports, *plan.arms)
        ],
        "cells": {
            "total": len({c.id for c in plan.cells}),
            "kept": len({c.id for c in plan.cells} & finished),
            "new": len(todo.cells),
            "orphaned": _orphans(plan, store),
        },
        "shared": len(plan.cells) - len({c.id for c in plan.cells}),
        "notes": [*plan.notes, *_backbone_notes(plan)],
        "workers": workers,
        "cost": cost.as_dict(),
    }


def _orphans(plan: Plan, store: Store | None) -> int:
    """Finished cells of a study of this name that it no longer asks for."""
    if store is None:
        return 0
    ours = {cell.id for cell in plan.cells}
    return sum(
        1
        for cell in store.finished_cells() - ours
        if any(row["study"] == plan.study.study for row in store.read_cell(cell)[:1])
    )


def print_plan(facts: dict[str, Any]) -> None:
    """The plan as tables, seeds folded together."""
    _console.print(
        f"[bold]{facts['study']}[/bold]"
        + (f": {_plain(facts['question'])}" if facts["question"] else "")
    )
    table = Table("arm", box=None, header_style="bold")
    for heading in (
        "images",
        "classes",
        "images seen",
        "steps",
        "seeds",
        "trained",
        "cells",
        "done",
    ):
        table.add_column(heading, justify="right")
    table.columns[0].no_wrap = True
    folded: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    for arm in facts["arms"]:
        folded.setdefault(
            (arm["method"], arm.get("source"), arm.get("size"), arm.get("labels")), []
        ).append(arm)
    for (method, source, size, labels), arms in folded.items():
        title = " · ".join(
            str(p)
            for p in (method, source, labels, None if size in (None, "all") else f"{size} images")
            if p
        )
        first = arms[0]
        numbers = [
            first["images"] or None,
            first["classes"],
            first["images_seen"] or None,
            first["steps"] or None,
            len(arms),
        ]
        done = [
            sum(a["trained"] for a in arms),
            sum(a["cells"] for a in arms),
            sum(a["cells_done"] for a in arms),
        ]
        table.add_row(
            _plain(title),
            *["-" if n is None else f"{n:,}" for n in numbers],
            *[str(n) for n in done],
        )
    _console.print(table)
    tasks = Table("task", "classes", "train", "val", "test", "", box=None, header_style="bold")
    for t in facts["tasks"]:
        tasks.add_row(
            _plain(t["task"]),
            *[f"{t[k]:,}" for k in ("classes", "train", "val", "test")],
            "val is cut from train" if t["val_from"] == "train" else "",
        )
    _console.print(tasks)
    cells, cost = facts["cells"], facts["cost"]
    _console.print(
        f"cells: {cells['total']} ({cells['new']} new, {cells['kept']} kept, {cells['orphaned']} "
        f"orphaned); {facts['shared']} shared by equal arms"
    )
    for note in facts["notes"]:
        _console.print(f"note: {note}", markup=False)
    _console.print(
        f"to do: {cost['pretrain_images']:,} images of pre-training, {cost['finetune_images']:,} "
        f"of fine-tuning, {cost['flops']:.2e} FLOPs, about "
        f"{_hours(cost['hours'])} with {facts['workers']} workers at {cost['images_per_s']:,.0f} "
        f"images/s each, {cost['disk_mb']:,.0f} MB of disk"
    )


def _hours(hours: float) -> str:
    return f"{hours * 60:.0f} minutes" if hours < 2 else f"{hours:.1f} hours"


def _plain(text: str) -> str:
    """Text from a study, so that rich does not take brackets for markup."""
    from rich.markup import escape

    return escape(text)


@contextlib.contextmanager
def watched(todo: Pending, *, quiet: bool) -> Iterator[Callable[[Event], None]]:
    """A display of a run."""
    from headwater.show.display import RunDisplay

    if not todo.cells:
        yield lambda event: None
        return
    with RunDisplay(
        arms=len(todo.arms), cells=len(todo.cells), console=Console(stderr=True), quiet=quiet
    ) as display:
        yield display


def forget(plan: Plan, store: Store, ids: list[str]) -> None:
    """Drop the arms and cells whose ids begin so; an arm takes its cells along, and the arms that
    are labelled by its features with their labels.

    Raises InputError, before anything is dropped, for an id that is too short, means nothing here,
    or could mean two things.
    """
    doomed: list[tuple[set[str], set[str]]] = []
    for prefix in ids:
        if len(prefix) < SHORTEST_ID:
            raise InputError(
                f"--redo {prefix!r}: give at least the first {SHORTEST_ID} characters of an id "
                "(`headwater plan --json` lists arms, `rows` cells)"
            )
        arms = {arm.id for arm in (*plan.supports, *plan.arms) if arm.id.startswith(prefix)}
        meant = arms | {cell.id for cell in plan.cells if cell.id.startswith(prefix)}
        if not meant:
            raise InputError(
                f"--redo {prefix!r}: no arm or cell of this study has an id that begins so "
                "(`headwater plan --json` lists arms, `rows` cells)"
            )
        if len(meant) > 1:
            raise InputError(
                f"--redo {prefix!r}: {len(meant)} arms and cells have ids that begin so "
                f"({', '.join(sorted(meant)[:3])}, ...); give more of it"
            )
        doomed.append((arms | labelled_by(plan, arms), meant - arms))
    labels = {
        arm.clusters.id
        for arm in plan.arms
        for doomed_arms, _ in doomed
        if arm.id in doomed_arms and arm.clusters
    }
    doomed = [
        (arms, cells | {cell.id for cell in plan.cells if cell.arm.id in arms})
        for arms, cells in doomed
    ]
    for (
        doomed_arms,
        doomed_cells,
    ) in doomed:  # cells first: were this stopped half-way, the next run would measure them again
        for cell_id in doomed_cells:
            store.drop_cell(cell_id)
        for arm_id in doomed_arms:
            store.drop_arm(arm_id)
    for labels_id in labels:
        store.drop_labels(labels_id)


def labelled_by(plan: Plan, arms: set[str]) -> set[str]:
    """Ids of the arms whose labels are made from the features of these, at whatever remove."""
    found: set[str] = set()
    for arm in (*plan.supports, *plan.arms):
        above = arm.needs
        while above is not None:
            if above.id in arms:
                found.add(arm.id)
            above = above.needs
    return found


def _counts(plan: Plan, store: Store) -> dict[str, int]:
    ids = {cell.id for cell in plan.cells}
    finished = ids & store.finished_cells()
    diverged = sum(1 for cell in finished if store.read_cell(cell)[0]["status"] == "diverged")
    failed = len(ids & store.failed_cells())
    return {
        "cells": len(ids),
        "done": len(finished) - diverged,
        "diverged": diverged,
        "failed": failed,
        "to_do": len(ids) - len(finished) - failed,
    }


def run_facts(plan: Plan, store: Store, todo: Pending, report_path: Path | None) -> dict[str, Any]:
    """What a run did, its verdict, and where the report is."""
    facts = report_facts(plan, store, report_path, None)
    return {
        "study": plan.study.study,
        "ran_arms": len(todo.arms),
        "ran_cells": len(todo.cells),
        **_counts(plan, store),
        **facts,
    }


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
    )


def table_report(table: Path, out: Path | None, figures: Path | None) -> dict[str, Any]:
    """Write the report of a table of rows."""
    from headwater.rows import read_rows

    rows = read_rows(table)
    for wing in wings.opened():
        reason = wing.not_to_report(table, rows)
        if reason is not None:
            raise InputError(reason)
    return _report(
        rows, out or table.with_suffix(".html"), figures, title=table.stem, question=None, notes=[]
    )


def _report(
    rows: Any,
    out: Path,
    figures: Path | None,
    *,
    title: str,
    question: str | None,
    notes: list[str],
) -> dict[str, Any]:
    from headwater.report import save_figures, verdict_lines, write_report

    try:
        path = write_report(rows, out, title=title, question=question, notes=notes)
        saved = save_figures(rows, figures) if figures else []
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from None
    return {"report": str(path), "figures": [str(f) for f in saved], "verdict": verdict_lines(rows)}


def say_verdict(plan: Plan, store: Store, facts: dict[str, Any]) -> None:
    """The end of a run, in text."""
    did = (
        f"{facts['ran_arms']} arms trained, {facts['ran_cells']} cells measured"
        if facts["ran_cells"]
        else "nothing to do: every cell is in the store"
    )
    _console.print(f"\n{did}; {facts['done']} of {facts['cells']} cells done", markup=False)
    if facts["diverged"]:
        _console.print(
            f"{facts['diverged']} cells diverged (final; the reasons are in the rows)", markup=False
        )
    if facts["failed"]:
        reasons = sorted(
            {
                str(row["reason"])
                for cell in store.failed_cells() & {c.id for c in plan.cells}
                for row in store.read_cell(cell)
            }
        )
        _console.print(
            f"{facts['failed']} cells FAILED; the next run tries them again. "
            f"{'; '.join(reasons[:3])}",
            markup=False,
        )
    _console.print("\nVerdict", style="bold")
    for line in facts["verdict"]:
        _console.print(f"  {line}", markup=False)
    _console.print(f"\nreport: {facts['report']}", markup=False)


def status_facts(plan: Plan, store: Store | None) -> dict[str, Any]:
    """Counts, and how far each unfinished arm is."""
    if store is None:
        ids = {cell.id for cell in plan.cells}
        all_arms = len({a.id for a in (*plan.supports, *plan.arms)})
        counts = {
            "cells": len(ids),
            "done": 0,
            "diverged": 0,
            "failed": 0,
            "to_do": len(ids),
            "arms": all_arms,
            "arms_done": 0,
        }
        return {"study": plan.study.study, **counts, "in_progress": [], "failures": []}
    arms = list({a.id: a for a in (*plan.supports, *plan.arms)}.values())
    in_progress = []
    for arm in arms:
        steps = sorted(
            int(p.stem.split("-")[1]) for p in store.checkpoints(arm.id).glob("step-*.json")
        )
        if steps and not store.has_arm(arm.id):
            in_progress.append(
                {
                    "arm": arm.id,
                    "title": arm.words.title,
                    "seed": arm.words.seed,
                    "step": steps[-1],
                    "steps": arm.steps,
                }
            )
    failed = store.failed_cells() & {cell.id for cell in plan.cells}
    return {
        "study": plan.study.study,
        **_counts(plan, store),
        "arms": len(arms),
        "arms_done": sum(store.has_arm(arm.id) for arm in arms),
        "in_progress": in_progress,
        "failures": sorted(
            {str(row["reason"]) for cell in failed for row in store.read_cell(cell)}
        ),
    }


def print_status(facts: dict[str, Any]) -> None:
    """The status in text."""
    _console.print(
        f"{facts['study']}: {facts['arms_done']} of {facts['arms']} arms trained; {facts['done']} "
        f"of {facts['cells']} cells done",
        markup=False,
    )
    _console.print(
        f"{facts['to_do']} to do, {facts['failed']} failed, {facts['diverged']} diverged",
        markup=False,
    )
    for arm in facts["in_progress"]:
        _console.print(
            f"in progress: {arm['title']} · seed {arm['seed']}: step {arm['step']} of "
            f"{arm['steps']}",
            markup=False,
        )
    for reason in facts["failures"]:
        _console.print(f"failed: {reason}", markup=False)
