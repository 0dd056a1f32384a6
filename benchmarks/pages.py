"""Pages of measured tables: what a benchmark in parts prints, writes and holds to its limits."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np


@dataclass
class Page:
    """What was found, as Markdown, and which limits were missed."""

    lines: list[str] = field(default_factory=list)
    missed: list[str] = field(default_factory=list)

    def say(self, *lines: str) -> None:
        self.lines += lines
        print("\n".join(lines), flush=True)

    def limit(self, name: str, met: bool) -> None:
        if not met:
            self.missed.append(name)
            self.say(f"- MISSED: {name}")

    def end(self, path: Path | None) -> int:
        """Says which limits were missed and writes the page, where there is a path; the exit code,
        1 where a limit is missed.
        """
        self.say("", f"Limits missed: {len(self.missed)}.", *(f"- {name}" for name in self.missed))
        if path is not None:
            path.write_text("\n".join(self.lines) + "\n", encoding="utf-8")
        return int(bool(self.missed))


def share(hits: Any) -> str:
    """'4.7 ± 0.3': percent, and its Monte-Carlo error."""
    rate = float(np.mean(hits))
    return f"{100 * rate:.1f} ± {100 * (rate * (1 - rate) / len(hits)) ** 0.5:.1f}"


def table(head: list[str], body: list[list[str]]) -> list[str]:
    rule = ["---", *["---:"] * (len(head) - 1)]
    return ["| " + " | ".join(row) + " |" for row in (head, rule, *body)]


def run_parts(
    parts: Mapping[str, Callable[[Page, int], None]],
    path: Path,
    *,
    title: str,
    command: str,
    tables: int,
) -> int:
    """Runs the parts that the command line names, all when it names none, and writes the page where
    it says so; the exit code, 1 where a limit is missed.
    """
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--only", nargs="+", choices=parts, default=list(parts))
    parser.add_argument("--tables", type=int, default=tables, help="in each cell")
    parser.add_argument("--write", action="store_true", help=f"write benchmarks/{path.name}")
    given = parser.parse_args()
    page = Page()
    page.say(f"# {title}", "")
    page.say(f"`{command} --write`: {given.tables:,} simulated tables a cell.")
    for part in given.only:
        parts[part](page, given.tables)
    return page.end(path if given.write else None)
