"""The Python face of running a study; the command line is a thin layer on the same functions."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.engines.engine import DEFAULT
from headwater.engines.engine import run as run_plan
from headwater.engines.schedule import Event
from headwater.plan import Plan
from headwater.store import Store
from headwater.study import Study

if TYPE_CHECKING:
    import pandas as pd


def make_plan(
    study: Study | str | Path,
    *,
    store: str | Path = "headwater-store",
    data_root: str | Path | None = None,
) -> Plan:
    """A study resolved against its data: arms, cells, ids.

    Decodes and trains nothing. Raises InputError for a wrong study or wrong data.

    `data_root` is HEADWATER_DATA's folder when left out. Byte hashes are remembered in `store`
    where it exists.
    """
    words = study if isinstance(study, Study) else Study.load(study)
    root = _root(data_root)
    return Plan.make(
        words, data_root=root, cache=Path(store) / "cache" if Path(store).exists() else None
    )


def run(
    study: Study | str | Path,
    *,
    store: str | Path = "headwater-store",
    data_root: str | Path | None = None,
    device: str = "auto",
    engine: str = DEFAULT,
    workers: int | None = None,
    checkpoint_every_s: float = 20.0,
    compiled: bool = False,
    watch: Callable[[Event], None] = lambda event: None,
) -> pd.DataFrame:
    """Compute what the store lacks of a study and return its rows (docs/rows.md).

    Cells that failed are rows of status failed.

    `engine` is local (worker processes, `workers` of them) or inline (this process alone, so that a
    debugger sees everything); both give the same bits. An arm in training writes a checkpoint every
    `checkpoint_every_s` seconds, from which a run that was killed goes on; the interval does not
    change the weights. `compiled` trains through torch.compile: other kernels, so other bits, which
    rows say. Worker processes need no main guard in the calling script. Raises InputError for a
    wrong study, wrong data, an unknown engine or a device that is not
    there.
    """
    words = study if isinstance(study, Study) else Study.load(study)
    opened = Store(store, create=True)
    plan = Plan.make(words, data_root=_root(data_root), cache=opened.cache)
    run_plan(
        plan,
        opened,
        engine=engine,
        device=device,
        workers=workers,
        checkpoint_every_s=checkpoint_every_s,
        compiled=compiled,
        watch=watch,
    )
    return plan.rows(opened)


def _root(data_root: str | Path | None) -> Path | None:
    given = data_root if data_root is not None else os.environ.get("HEADWATER_DATA")
    return Path(given) if given else None
