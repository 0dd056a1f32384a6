"""What `headwater curves` shows, as text."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from headwater.facts.curves import FILE
from headwater.show.console import console, name_of

_console = console(soft_wrap=True, highlight=False, width=140)


def print_curves(facts: dict[str, Any]) -> None:
    """A line an arm and seed."""
    table = Table("arm", box=None, header_style="bold", pad_edge=False)
    for heading in ("seed", "steps", "last loss", "last kNN", "images/s"):
        table.add_column(heading, justify="right")
    table.add_column("")
    table.columns[0].no_wrap = True
    for arm in facts["arms"]:
        step = "-" if arm["step"] is None else f"{arm['step']:,.0f}"
        knn = "-" if arm["knn"] is None else f"{100 * arm['knn']:.1f} %"
        loss = "-" if arm["loss"] is None else f"{arm['loss']:.4g}"
        speed = "-" if arm["images_per_s"] is None else f"{arm['images_per_s']:,.0f}"
        status = "" if arm["status"] == "done" else arm["status"]
        table.add_row(
            name_of(arm["title"]),
            str(arm["seed"]),
            f"{step} of {arm['steps']:,}",
            loss,
            knn,
            speed,
            status,
        )
    if facts["arms"]:
        _console.print(table)
    else:
        _console.print("no arm of this study is trained: it has scratch arms alone")
    for arm in facts["arms"]:
        if arm["unreadable_lines"]:
            count = arm["unreadable_lines"]
            lines = "a line" if count == 1 else f"{count} lines"
            _console.print(
                f"note: {lines} of {arm['arm']}/{FILE} could not be read, as a kill leaves them; "
                "left out",
                markup=False,
            )
    if "chart" in facts:
        _console.print(f"chart: {facts['chart']}", markup=False)
