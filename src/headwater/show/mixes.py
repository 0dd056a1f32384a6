"""What `headwater mixes` shows, as text."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from headwater import plain
from headwater.analysis.words import count
from headwater.show.console import console, name_of

_console = console(soft_wrap=True, highlight=False, width=140)


def print_mix(facts: dict[str, Any]) -> None:
    """The mixes that were run, the best first, and the answer in sentences."""
    heading = f"{facts['name']}, {facts['where']}, {count(facts['num_seeds'], 'seed')}"
    _console.print(plain.line(heading), markup=False)
    table = Table(box=None, pad_edge=False, header_style="bold")
    table.add_column("mix")
    for part in facts["parts"]:
        table.add_column(name_of(part), justify="right")
    for column in ("score", "by the fit"):
        table.add_column(column, justify="right")
    for mix in sorted(facts["mixes"], key=lambda one: -float(one["mean"])):
        weights = [f"{100 * mix['weights'][part]:.0f} %" for part in facts["parts"]]
        scores = f"{mix['mean']:.1f}", f"{mix['fitted']:.1f}"
        table.add_row(name_of(mix["name"]), *weights, *scores)
    _console.print(table)
    for sentence in facts["sentences"]:
        _console.print(plain.line(sentence), markup=False)
    _console.print("in parentheses: 95 % intervals", markup=False)
