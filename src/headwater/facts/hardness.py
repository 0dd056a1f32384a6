"""Whether fine labels help on hard samples, as plain values.

a study and its store      answers_of, hardness_facts
an exported table          table_facts: no data, store or checkpoint is needed
"""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.analysis.hardness import refused_pairs
from headwater.analysis.order import tuned_protocols
from headwater.analysis.samples import conform_answers, read_answers, write_answers
from headwater.errors import InputError
from headwater.report.hardness import hardness_settings

if TYPE_CHECKING:
    import pandas as pd

    from headwater.plan import Plan, PlannedCell
    from headwater.store import Store


def hardness_facts(
    plan: Plan, store: Store, *, coarse: str | None, fine: str | None, hard_share: float | None
) -> dict[str, Any]:
    """Gains of fine over coarse labels on hard and on easy samples of every task of a study that
    can tell.

    coarse and fine are label views; left out, the finest level is set against the level of the task
    itself, or the coarsest. Raises InputError where no cell has kept answers, for a view that no
    arm has, and where no two arms share enough seeds.
    """
    answers, without = answers_of(plan, store)
    return {
        "without_answers": without,
        **_facts(plan.study.study, answers, coarse, fine, hard_share),
    }


def table_facts(
    path: Path, *, coarse: str | None, fine: str | None, hard_share: float | None
) -> dict[str, Any]:
    """The same from a table that `save_answers` wrote.

    Raises InputError for a file that is none, too.
    """
    return {"without_answers": 0, **_facts(path.stem, read_answers(path), coarse, fine, hard_share)}


def save_answers(plan: Plan, store: Store, path: Path) -> Path:
    """Write which test samples every supervised model of a study got right, as Parquet.

    Raises InputError where none were kept.
    """
    return write_answers(answers_of(plan, store)[0], path)


def _facts(
    study: str,
    answers: pd.DataFrame,
    coarse: str | None,
    fine: str | None,
    hard_share: float | None,
) -> dict[str, Any]:
    settings = hardness_settings(answers, coarse=coarse, fine=fine, hard_share=hard_share)
    return {
        "study": study,
        "hard_share": hard_share,
        "settings": settings,
        "refused": refused_pairs(answers, coarse=coarse, fine=fine),
    }


def answers_of(plan: Plan, store: Store) -> tuple[pd.DataFrame, int]:
    """(table of `analysis.samples.ANSWERS` of the study's supervised arms, number of their done
    cells that have kept none).

    Raises InputError where no cell has any, and for a damaged file, which it names.
    """
    import pandas as pd

    finished = store.finished_cells()
    cells = {
        (cell.id, cell.words, cell.arm.words): cell
        for cell in plan.cells
        if cell.arm.words.method == "supervised" and cell.id in finished
    }
    tables, without = [], 0
    for cell in cells.values():
        rows = store.read_cell(cell.id)
        if rows[0]["status"] != "done":
            continue
        right = store.read_answers(cell.id, len(plan.tasks[cell.words.task].test))
        if right is None:
            without += 1
            continue
        _check_share_right(store, cell, rows, float(right.mean()))
        tables.append(
            pd.DataFrame(
                _columns(plan, cell, label_reuse=bool(rows[0]["label_reuse"]))
                | {"sample": np.arange(len(right)), "right": right}
            )
        )
    if not tables:
        raise InputError(_nothing(plan, store, without))
    return conform_answers(pd.concat(tables), "answers"), without


def _nothing(plan: Plan, store: Store, without: int) -> str:
    if without:
        return (
            f"{store.root}: its {without} finished cells of supervised arms were measured before "
            f"answers were kept; {again(plan.study.study)}"
        )
    return (
        f"{store.root}: no cell of a supervised arm of {plan.study.study} is done; `headwater "
        "run` measures them"
    )


def again(study: str) -> str:
    return (
        f"`headwater run` of {study} with another --store measures them again, or with --redo ID "
        "those of an arm"
    )


def _check_share_right(
    store: Store, cell: PlannedCell, rows: list[dict[str, Any]], share: float
) -> None:
    """The answers are those that the row's accuracy was counted from."""
    counted = next(
        (row["value"] for row in rows if row["metric"] == "top1" and row["subset"] == "all"), None
    )
    if counted is None or abs(counted - share) > 1e-6:
        path = store.answers / f"{cell.id}.npy"
        raise InputError(
            f"{path}: these answers are not those of the cell's rows; `headwater run --redo "
            f"{cell.id}` measures the cell again"
        )


def _columns(plan: Plan, cell: PlannedCell, *, label_reuse: bool) -> dict[str, Any]:
    """What a table of answers says of a model, the same for all its samples but for the mark of
    hard ones.
    """
    arm, task, words = cell.arm, plan.tasks[cell.words.task], cell.words
    hard = task.source.table.hard
    names = plan.names(cell)
    return {
        "task": words.task,
        "protocol": words.protocol,
        "shots": words.shots,
        "draw": words.draw,
        "source": arm.words.source,
        "size": None if arm.words.size in (None, "all") else str(arm.words.size),
        "labels": names["labels"],
        "label_kind": names["label_kind"],
        "num_labels": arm.num_labels,
        "seed": arm.words.seed,
        "target": arm.targets is not None and set(arm.targets.names) == set(task.class_names),
        "decides": words.protocol in tuned_protocols() or not label_reuse,
        "hard": None if hard is None else hard[task.test],
    }
