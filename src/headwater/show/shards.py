"""What `headwater shard` shows, as text."""

from __future__ import annotations

from typing import Any

from headwater import plain
from headwater.analysis.words import count
from headwater.show.console import console

_console = console(soft_wrap=True, highlight=False, width=140)


def print_packed(facts: dict[str, Any]) -> None:
    """What was packed where, and how a study reads it."""
    for each in facts["packed"]:
        left_out = each["left_out"]
        lost = f"; left out, since there are no bytes of them: {left_out:,}" if left_out else ""
        size = f"{count(each['shards'], 'shard')}, {each['bytes'] / 1e6:,.1f} MB"
        samples = count(each["samples"], "image")
        _print(f"packed {each['data']}: {samples} in {size}, {each['folder']}{lost}")
    for entry, why in facts["passed_over"].items():
        _print(f"not packed: {entry} {why}")
    _print("a study reads them so:")
    for each in facts["packed"]:
        _print(f"  {each['data']}: {{kind: shards, path: {each['entry']['path']}}}")


def _print(line: str) -> None:
    _console.print(plain.shown(line), markup=False)
