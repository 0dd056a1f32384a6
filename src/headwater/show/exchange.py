"""What `headwater exchange` shows, as text."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from headwater import plain
from headwater.analysis.words import count
from headwater.show.console import console, name_of

_console = console(soft_wrap=True, highlight=False, width=140)


def print_curves(facts: dict[str, Any]) -> None:
    """A line for each curve and n."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("curve", "n", "prediction", "95 % interval", "by", "told"):
        table.add_column(heading, justify="left" if heading in ("curve", "by", "told") else "right")
    for one in facts["predictions"]:
        table.add_row(
            name_of(one["curve"]),
            f"{one['n']:,.6g}",
            f"{one['prediction']:.4g}",
            f"{one['low']:.4g} to {one['high']:.4g}",
            one["form"],
            "yes" if one["told"] else f"no: {one['why']}",
        )
    _console.print(table)
    hidden = count(facts["hidden"], "prediction")
    _console.print(
        f"intervals: of a new measurement; from {hidden} of ends that were hidden, of "
        f"{count(facts['curves'], 'curve')}, and of public curves where these are few"
    )
    for line in facts["told"]:
        _console.print(plain.line(f"note: {line}"), markup=False)


def print_rate(facts: dict[str, Any]) -> None:
    """The answer in sentences."""
    _console.print(
        plain.line(f"{facts['where']}, {count(facts['num_seeds'], 'seed')}"), markup=False
    )
    for sentence in facts["sentences"]:
        _console.print(plain.line(sentence), markup=False)
    _console.print("in parentheses: 95 % intervals, each by itself, over seeds", markup=False)
    if "chart" in facts:
        _console.print(plain.line(f"chart: {plain.name(facts['chart'])}"), markup=False)


def print_budgets(facts: dict[str, Any]) -> None:
    """The rate under each budget, and over all of them."""
    first = facts["budgets"][0]
    seeds = count(first["num_seeds"], "seed")
    _console.print(plain.line(f"{first['where']}, {seeds}"), markup=False)
    for sentence in facts["sentences"]:
        _console.print(plain.line(sentence), markup=False)
    _console.print("in parentheses: 95 % intervals, each by itself, over seeds", markup=False)


def print_names(names: list[dict[str, Any]], rows: str) -> None:
    """The curves that can be named."""
    table = Table(box=None, pad_edge=False, header_style="bold")
    for heading in ("curve", "sizes"):
        table.add_column(heading)
    for one in names:
        sizes = ", ".join(f"{n:,.0f}" for n in one["sizes"])
        table.add_row(name_of(one["name"]), sizes)
    _console.print(table)
    _console.print(plain.line(f"ask with: headwater exchange {rows} A B"), markup=False)
