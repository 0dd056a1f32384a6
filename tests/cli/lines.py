"""Where in a study file something stands."""

from __future__ import annotations

from pathlib import Path


def line_of(study: Path, block: str, begins: str) -> str:
    """`study.yaml, line N:`, counted by hand: the first line after `block` (or itself) that begins
    so.
    """
    lines = study.read_text().splitlines()
    start = next(i for i, line in enumerate(lines) if line.startswith(block))
    return (
        f"{study}, line "
        f"{next(i for i in range(start, len(lines)) if lines[i].strip().startswith(begins)) + 1}: "
    )
