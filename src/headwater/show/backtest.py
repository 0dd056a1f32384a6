"""What `headwater backtest` shows, as text."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from headwater import plain
from headwater.show.console import console, name_of

_console = console(soft_wrap=True, highlight=False, width=140)


def print_backtest(facts: dict[str, Any]) -> None:
    """A line for each criterion and pair of sizes, and all of them in sentences."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("judged by", "sizes", "pairs", "right", "told", "of these right"):
        table.add_column(heading, justify="left" if heading in ("judged by", "sizes") else "right")
    for line in facts["lines"]:
        table.add_row(
            name_of(line["criterion"]),
            f"{line['small']:,.0f} to {line['large']:,.0f}",
            f"{line['pairs']}",
            _share(line["right"]),
            f"{line['told']}",
            _share(line["told_right"]),
        )
    if facts["lines"]:
        _console.print(table)
    for sentence in facts["sentences"]:
        _console.print(plain.line(sentence), markup=False)


def _share(value: float | None) -> str:
    return "-" if value is None else f"{100 * value:.0f} %"
