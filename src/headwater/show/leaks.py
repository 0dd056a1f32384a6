"""What `headwater tasks leaks` shows, as text."""

from __future__ import annotations

import sys
from typing import Any

from rich.table import Table

from headwater import plain
from headwater.show.console import console, name_of

_console = console(soft_wrap=True, highlight=False)
_WORDS = (
    "pixels: equal once decoded; hash and crop: copies after compression, resizing, mirroring or "
    "a crop; flagged: test images in any pair"
)


def tell(line: str) -> None:
    """Say what is being looked at."""
    print(plain.line(f"looking: {line}"), file=sys.stderr, flush=True)


def print_leaks(facts: dict[str, Any]) -> None:
    table = Table(box=None, header_style="bold", pad_edge=False)
    for name in ("source", "task"):
        table.add_column(name)
    for name in (
        "images",
        "test images",
        "equal files",
        "pixels",
        "hash",
        "crop",
        "flagged",
        "share",
    ):
        table.add_column(name, justify="right")
    for record in (*facts["pairs"], *facts["own"]):
        kinds = record.get("by_kind")
        counts = ["-"] * 5
        if kinds is not None:
            counts = [
                *(f"{kinds[kind]:,}" for kind in ("pixels", "hash", "crop")),
                f"{record['num_flagged']:,}",
                f"{record['share_flagged']:.2%}",
            ]
        table.add_row(
            name_of(record["source"]) if "source" in record else "its own train and val",
            name_of(record["task"]),
            f"{record['images']:,}",
            f"{record['test_images']:,}",
            f"{record['equal_files']:,}",
            *counts,
        )
    _console.print(table)
    _console.print(_WORDS)
    for line in facts["told"]:
        _console.print(f"note: {plain.line(line)}", markup=False)
    for record in (*facts["pairs"], *facts["own"]):
        if "sheet" in record:
            first = record.get("source", "its own train and val")
            pair = plain.name(f"{first} and {record['task']}: {record['sheet']}")
            _console.print(f"pairs of {pair}", markup=False)
    for record in facts.get("embedding", ()):
        cosines = ", ".join(
            f"{float(share):.0%} of them at most {cosine:.3f}"
            for share, cosine in record["nearest_cosine"].items()
        )
        _console.print(
            f"arm {record['arm'][:8]} on {record['task']}: cosine of each test image with its "
            f"nearest source image: {cosines}"
        )
        _console.print(
            f"  of its nearest 3, {record['confirmed']} test images are confirmed as copies, "
            f"{record['confirmed_by_embedding_alone']} by this alone"
        )
    for record in facts.get("cleaned", ()):
        _console.print(
            f"{plain.name(record['wrote'])}: {record['kept']:,} of {record['images']:,} images of "
            f"{name_of(record['data'])}; left out are {record['leaking']:,} that a test set shows "
            f"and {record['copies']:,} copies. In the study: "
            f"data: {{{name_of(record['data'])}: {{split_file: {plain.name(record['wrote'])}}}}}",
            markup=False,
        )
    if "page" in facts:
        _console.print(f"page: {plain.name(facts['page'])}", markup=False)
