"""Decisions: of a study or of a table of rows, as plain values."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.errors import InputError
from headwater.plan import Plan
from headwater.steps import looks_error
from headwater.store import Store
from headwater.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis import Aim

TABLES = (".csv", ".parquet", ".jsonl")


def is_table(path: Path) -> bool:
    """Whether something that a person names is a table of rows (or a store) and no study."""
    return path.suffix in TABLES or path.is_dir()


def aim_of(study: Study, store: Store | None = None) -> Aim:
    """What a study is to decide; of one that was run by steps in a store, as carefully as looking
    after every step asks for.
    """
    from headwater.analysis import Aim, Prices

    words = study.decide
    prices = None if words.prices is None else Prices(**words.prices.model_dump())
    shots = words.shots
    return Aim(
        protocol=words.protocol,
        shots=None if shots is None else tuple(-1 if each == "full" else each for each in shots),
        weights=dict(words.weights),
        tolerance=words.tolerance / 100,
        prices=prices,
        target=words.target,
        error=None if store is None else looks_error(store, study.study),
    )


def read_table(path: Path) -> pd.DataFrame:
    """The rows of a table or a store. Raises InputError where there are none."""
    from headwater.rows import read_rows

    rows = read_rows(path)
    if not len(rows):
        raise InputError(f"{path}: has no rows, so there is nothing to decide")
    return rows


def decided_by() -> set[str]:
    """The columns of rows that `decision_so_far` is made from, beside the required ones."""
    from headwater.analysis.configurations import PREPARED_FROM
    from headwater.analysis.evidence import NEEDED

    return {*NEEDED, *PREPARED_FROM}


def decision_so_far(plan: Plan, store: Store, rows: pd.DataFrame) -> dict[str, Any] | None:
    """What `headwater decide` says of the cells that are done, as plain values, with the mean of
    each arm at the headline's setting; None where nothing is done. `rows` are the plan's, with the
    columns `decided_by`; `headline` is the answer in a sentence, or why there is none.
    """
    from headwater.analysis import decide, prepare
    from headwater.analysis.evidence import NEEDED

    if not len(rows) or not (rows["status"] == "done").any():
        return None
    table = prepare(rows, only=NEEDED)
    try:
        decision = decide(table, aim_of(plan.study, store), answers=store.read_answers)
    except InputError as error:  # what the study decides by is not there yet
        return {"best": None, "means": {}, "headline": f"nothing can be decided yet: {error}"}
    return {**decision.to_dict(), "headline": decision.headline}
