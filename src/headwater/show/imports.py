"""What `headwater import` shows, as text."""

from __future__ import annotations

from typing import Any

from headwater import plain
from headwater.analysis.words import count
from headwater.show.console import console

_console = console(soft_wrap=True, highlight=False, width=140)


def print_import(facts: dict[str, Any]) -> None:
    """How many rows, what was left out, and what is known to be wrong."""
    lines = [
        f"wrote {count(facts['rows'], 'row')} of {count(facts['arms'], 'arm')} on "
        f"{count(len(facts['tasks']), 'task')} to {facts['out']}",
        *(f"told: {line}" for line in facts["told"]),
        *(f"defect, {count(rows, 'row')}: {said}" for said, rows in facts["defects"].items()),
    ]
    for line in lines:
        _console.print(plain.line(line), markup=False)
