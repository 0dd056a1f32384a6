"""`hw.figure`: any chart by its name, from rows or from a study."""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.errors import InputError
from headwater.store import Store
from headwater.study import Study

if TYPE_CHECKING:
    import pandas as pd

    from headwater.plan import Plan
    from headwater.report.inline import Figure

OF_STUDIES = ("labels", "curves")
"""Charts of a study and its store; all others are of rows."""


def figure(
    name: str,
    of: pd.DataFrame | Study | Plan | Mapping[str, Any] | str | Path,
    *,
    protocol: str | None = None,
    shots: int | str | None = None,
    tasks: Sequence[str] | None = None,
    store: str | Path = "headwater-store",
    data_root: str | Path | None = None,
) -> Figure:
    """One chart, which shows itself in a notebook; `.spec` is plain Vega-Lite, `.save` writes it.

    Of rows (a DataFrame, or a .csv, .parquet or .jsonl file, or a store): `accuracy`,
    `granularity`, `gap`, `shots`, and what analyses of other packages add. `protocol` is
    fine-tuning (or the first one) when left out, `shots` the largest count (`"all"` is the full
    split), `tasks` every task. Of a study (words, a file, a plan): `labels`, the classes of its
    label views, and `curves`, how its arms have learned, from `store`; both also take what
    `hw.labels_facts` or `headwater curves --json` say.

    Raises InputError for an unknown name, and where there is no such chart to draw.
    """
    from headwater.report.charts import charts
    from headwater.report.inline import Figure

    names = [*charts(), *OF_STUDIES]
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"figure: {name!r} is none of {', '.join(names)}{hint}")
    if name in OF_STUDIES:
        return Figure(_of_study(name, of, Path(store), data_root))
    from headwater.report.figures import figure as of_rows

    return Figure(of_rows(_rows(name, of), name, protocol=protocol, shots=shots, tasks=tasks))


def _rows(name: str, of: Any) -> pd.DataFrame:
    import pandas as pd

    from headwater.rows import read_rows

    if isinstance(of, pd.DataFrame):
        return of
    if isinstance(of, Store):
        return read_rows(of.root)
    if isinstance(of, str | Path):
        if Path(of).suffix in (".yaml", ".yml"):
            raise InputError(
                f"figure: {name!r} is drawn from rows, and {of} is a study; give hw.run of it, its "
                "store or a table of rows"
            )
        return read_rows(of)
    raise InputError(
        f"figure: {name!r} is drawn from rows (a DataFrame, a table or a store), not from a "
        f"{type(of).__name__}"
    )


def _of_study(name: str, of: Any, store: Path, data_root: str | Path | None) -> dict[str, Any]:
    from headwater.report.curves import curves_chart
    from headwater.report.label_chart import label_chart

    chart = label_chart if name == "labels" else curves_chart
    if isinstance(of, Mapping):
        return chart(dict(of))
    from headwater import api
    from headwater.plan import Plan

    if not isinstance(of, Study | Plan | str | Path):
        raise InputError(f"figure: {name!r} is drawn from a study, not from a {type(of).__name__}")
    if name == "labels":
        words = of.study if isinstance(of, Plan) else of
        return chart(api.labels_facts(words, store=store, data_root=data_root))
    from headwater.facts.curves import curves_facts

    plan = of if isinstance(of, Plan) else api.make_plan(of, store=store, data_root=data_root)
    return chart(curves_facts(plan, Store(store)))
