"""What `headwater sources` shows, as text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from rich.table import Table as TextTable

from headwater import plain
from headwater.show.console import console, name_of

_console = console(soft_wrap=True, highlight=False)


def print_list(facts: Mapping[str, Any]) -> None:
    """The list as a table."""
    table = TextTable(box=None, header_style="bold", pad_edge=False)
    for column in ("set", "images", "GB", "classes", "captions", "form", "licence"):
        right = column in ("images", "GB", "classes")
        table.add_column(column, justify="right" if right else "left", no_wrap=column != "licence")
    for row in facts["sets"]:
        table.add_row(
            row["name"],
            f"{row['images']:,}",
            "" if row["gb"] is None else f"{row['gb']:,}",
            "" if row["classes"] is None else f"{row['classes']:,}",
            "yes" if row["captions"] else "",
            row["form"],
            name_of(row["licence"]),
        )
    _console.print(table)
    _console.print(
        "\n`headwater sources NAME` says where its list is had and how a copy is made, `headwater "
        "sources check NAME --path DIR` whether a copy is whole.",
        markup=False,
    )


def print_recipe(facts: Mapping[str, Any]) -> None:
    """One recipe."""
    _console.print(f"[bold]{name_of(facts['title'])}[/bold] ({name_of(facts['name'])})")
    _console.print(plain.line(facts["what"]), markup=False)
    table = TextTable(box=None, show_header=False, pad_edge=False)
    table.add_column(no_wrap=True)
    table.add_column(justify="right", no_wrap=True)
    table.add_column()
    for what, number, text in _lines(facts):
        table.add_row(name_of(what), number, name_of(text))
    _console.print(table)
    _console.print("how a copy is made:", markup=False)
    for line in facts["get"].splitlines():
        _console.print(f"  {plain.line(line)}", markup=False)
    for note in facts["notes"]:
        _console.print(plain.line(f"note: {note}"), markup=False)


def _lines(facts: Mapping[str, Any]) -> Iterator[tuple[str, str, str]]:
    """(what, number, text): the text says where a number is from."""
    citation = "; ".join(filter(None, (facts["citation"], facts["arxiv"])))
    yield from _said("paper", citation)
    yield from _said("licence", facts["licence"])
    yield from _number("images", facts["images"])
    for split, count in facts["splits"].items():
        yield from _number(f"  {split}", count)
    for used in facts["used"]:
        yield from _number(f"  in arXiv {used['paper']}", used)
    yield from _number("classes", facts["classes"])
    for level in facts["levels"]:
        parts = [f"level:{level['level']}" if level["level"] is not None else "", level["rank"]]
        yield from _number("  " + " ".join(filter(None, parts)), level["classes"])
    yield from _said("captions", ", ".join(facts["captions"]))
    for column, meaning in facts["columns"].items():
        yield from _said(f"  {column}", meaning)
    yield from _said("had at", facts["list_at"])
    yield from _said("form", facts["form"])
    yield from _number("bytes an image", facts["bytes_per_image"])
    yield from _number("dead links", facts["dead_links"], share=True)
    for what in ("images", "shards", "classes"):
        yield from _number(f"a whole copy: {what}", facts["whole"][what])
    yield from _number("  may be missing", facts["whole"]["tolerance"], share=True)


def _said(what: str, text: str) -> Iterator[tuple[str, str, str]]:
    if text:
        yield what, "", text


def _number(
    what: str, count: Mapping[str, Any] | None, *, share: bool = False
) -> Iterator[tuple[str, str, str]]:
    """A number with where it is from; nothing where there is none."""
    if count is not None:
        how = f": {count['how']}" if count["how"] else ""
        number = f"{count['value']:.1%}" if share else f"{count['value']:,.0f}"
        yield what, number, f"{count['source']}{how}"


def print_check(facts: Mapping[str, Any]) -> None:
    """What a copy holds, and the verdict."""
    for line in _check_lines(facts):
        _console.print(plain.line(line), markup=False)
    for note in facts["notes"]:
        _console.print(plain.line(f"note: {note}"), markup=False)
    if facts["whole"]:
        _console.print(f"whole: a copy of {facts['name']}", markup=False, style="green")
        return
    _console.print("not whole:", markup=False, style="red")
    for reason in facts["reasons"]:
        _console.print(plain.line(f"  {reason}"), markup=False)


def _check_lines(facts: Mapping[str, Any]) -> Iterator[str]:
    expected = facts["expected"]
    shards = f" in {facts['shards']:,} shards" if facts["shards"] else ""
    yield (
        f"{facts['images']:,} images{shards}, {facts['bytes'] / 1e9:,.1f} GB in "
        f"{facts['files']:,} files; {expected['images']:,} are published, "
        f"{expected['without_dead_links']:,} expected"
    )
    if facts["classes"]:
        yield f"{facts['classes']:,} classes"
    texts = facts["captions"]
    if texts:
        words = ", ".join(f"{float(q):.0%} {value:.0f}" for q, value in texts["words"].items())
        yield (
            f"captions: {texts['without'] / texts['images']:.2%} of {texts['images']:,} images "
            f"have none; words: {words}; {texts['duplicates']:,} are exact duplicates"
        )
    sampled = facts["sampled"]
    if sampled:
        bad = sum(sampled["bad"].values())
        yield f"{sampled['images'] - bad} of {sampled['images']} sampled images can be read"
    yield f"manifest (names and sizes): {facts['manifest']}"
