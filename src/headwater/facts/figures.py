"""Charts by their names, from rows or from facts of a study: what `hw.figure` gives."""

from __future__ import annotations

import difflib
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from headwater.errors import InputError
from headwater.store import Store

if TYPE_CHECKING:
    import pandas as pd

    from headwater.report.inline import Figure

OF_STUDIES = ("labels", "curves")
"""Charts of a study and its store; all others are of rows."""


def check_name(name: str) -> None:
    """Raises InputError for a name that no chart has."""
    from headwater.report.charts import charts

    names = [*charts(), *OF_STUDIES]
    if name not in names:
        near = difflib.get_close_matches(str(name), names, n=1)
        hint = f"; did you mean {near[0]!r}?" if near else ""
        raise InputError(f"figure: {name!r} is none of {', '.join(names)}{hint}")


def of_facts(name: str, facts: dict[str, Any]) -> Figure:
    """`labels` or `curves`, from what headwater.facts tells of a study."""
    from headwater.report.curves import curves_chart
    from headwater.report.inline import Figure
    from headwater.report.label_chart import label_chart

    return Figure((label_chart if name == "labels" else curves_chart)(facts))


def of_rows(
    name: str,
    of: Any,
    *,
    protocol: str | None,
    shots: int | str | None,
    tasks: Sequence[str] | None,
) -> Figure:
    """A chart of rows: a DataFrame, a table's file, or a store."""
    from headwater.report.figures import figure
    from headwater.report.inline import Figure

    return Figure(figure(_rows(name, of), name, protocol=protocol, shots=shots, tasks=tasks))


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
