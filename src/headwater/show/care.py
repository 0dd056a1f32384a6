"""What is wrong in a store, as text."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from headwater import plain
from headwater.show.console import console, now_and_then, size_words
from headwater.store.care import DAMAGED, KINDS, STRAY, Looked

_console = console(soft_wrap=True, highlight=False)
_MOST = 20
"""Findings of a kind that are named [ours]; --json has all."""


def counting(*, quiet: bool) -> Callable[[int], None]:
    """Says every few seconds on stderr how many files were compared."""
    say = now_and_then(quiet=quiet)
    return lambda checked: say(lambda: f"{checked:,} files compared")


def print_look(store: Path, looked: Looked) -> None:
    """What `headwater doctor` says."""
    _print_findings(looked)
    sizes = ", ".join(f"{name} {size_words(size)}" for name, size in looked.sizes.items() if size)
    _console.print(plain.line(f"{looked.checked:,} files compared; {sizes or 'empty'}"))
    damaged = sum(found.kind == DAMAGED for found in looked.findings)
    free = sum(found.bytes for found in looked.findings if found.kind != STRAY)
    if not looked.findings:
        _console.print("nothing is wrong")
    elif free or damaged:
        more = " and the next run makes what was damaged again" if damaged else ""
        _console.print(
            plain.line(f"`headwater gc {store}` frees {size_words(free)}{more}"), markup=False
        )


def print_freed(looked: Looked, size: int, dry_run: bool) -> None:
    """What `headwater gc` says."""
    _print_findings(looked)
    _console.print(f"{'would free' if dry_run else 'freed'} {size_words(size)}")


def _print_findings(looked: Looked) -> None:
    for kind, meaning in KINDS.items():
        found = [each for each in looked.findings if each.kind == kind]
        if not found:
            continue
        _console.print(f"\n{len(found):,} {kind}: {meaning}", style="bold", markup=False)
        for each in found[:_MOST]:
            text = f"  {each.path}: {each.what}, {size_words(each.bytes)}"
            _console.print(plain.line(text), markup=False)
        if len(found) > _MOST:
            _console.print(f"  and {len(found) - _MOST:,} more (--json has all)")
