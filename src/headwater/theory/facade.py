"""The Python face of the wing: `headwater.run_theory`."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.store import Store, store_path
from headwater.theory.study import TheoryStudy

if TYPE_CHECKING:
    import pandas as pd

    from headwater.theory.engine import Event


def run_theory(
    study: TheoryStudy | str | Path,
    *,
    store: str | Path | None = None,
    workers: int | None = None,
    watch: Callable[[Event], None] = lambda event: None,
) -> pd.DataFrame:
    """Train what the store lacks of a study of the theory (docs/theory.md) and return its rows;
    networks that failed are rows of status failed.

    `networks_table(rows)` makes a line of each network, `theory_findings(table)` says what it
    shows. Raises InputError for a wrong study.
    """
    from headwater.theory import engine  # torch takes seconds
    from headwater.theory.work import network_rows

    words = study if isinstance(study, TheoryStudy) else TheoryStudy.load(study)
    opened = Store(store_path(store), create=True)
    engine.run(words, opened, workers=workers, watch=watch)
    return network_rows(words, opened)
