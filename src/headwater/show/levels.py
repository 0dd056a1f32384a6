"""What `headwater labels levels` shows, as text."""

from __future__ import annotations

from typing import Any

from rich.table import Table as TextTable

from headwater import plain
from headwater.show.console import console, name_of

_console = console(soft_wrap=True, highlight=False, width=100)


def print_levels(facts: dict[str, Any]) -> None:
    """The facts as a table."""
    images = f", {facts['images']:,} images" if "images" in facts else ""
    _console.print(
        f"[bold]{name_of(facts['classes'])}[/bold]: {facts['num_classes']:,} classes{images}; "
        f"hierarchy: {name_of(facts['hierarchy'])}"
    )
    table = TextTable(
        "view",
        "classes",
        "classes with\nseveral labels",
        "most labels\nof a class",
        box=None,
        header_style="bold",
        pad_edge=False,
    )
    if images:
        table.add_column("images a class\nfewest / median / most", justify="right")
    for column in table.columns[1:]:
        column.justify = "right"
    for row in facts["levels"]:
        cells = [
            f"{row['classes']:,}",
            f"{row['with_several_labels']:,}",
            f"{row['most_labels']:,}",
        ]
        if images:
            per = row["images_per_class"]
            cells.append(f"{per['smallest']:,} / {per['median']:,.0f} / {per['largest']:,}")
        table.add_row(name_of(row["view"]), *cells)
    _console.print(table)
    for key, meaning in (
        ("orphans", "without a parent, so their own class at every level"),
        ("missing_from_imagenet21k", "not among ImageNet-21k's classes"),
    ):
        classes = facts.get(key) or []
        if classes:
            shown = ", ".join(map(_class_name, classes[:8]))
            more = f" and {len(classes) - 8} more" if len(classes) > 8 else ""
            _console.print(plain.line(f"{meaning}: {shown}{more}"), markup=False)
    for conflict in facts.get("not_nested", []):
        _console.print(plain.line(f"not nested: {conflict}"), markup=False)


def _class_name(facts: dict[str, Any]) -> str:
    title = f" ({facts['title']})" if facts["title"] else ""
    return plain.name(f"{facts['class']}{title}")
