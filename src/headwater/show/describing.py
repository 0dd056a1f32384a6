"""What `headwater sources describe` shows, as text."""

from __future__ import annotations

from typing import Any

from rich.table import Table

from headwater import plain
from headwater.show.console import console, name_of, size_words

_console = console(soft_wrap=True, highlight=False, width=100)
_MOST = 8
"""Scripts and languages that are named [ours]; --json has all."""
_WORDS = (
    "Sizes are those of the files, as stored. Scripts are those of most letters of a text, "
    "languages the guesses of a model of short texts, where it is sure. Copies that look the same "
    "have near perceptual hashes and agree once aligned; crops are not looked for here: `headwater "
    "tasks leaks` does that."
)


def print_description(facts: dict[str, Any]) -> None:
    for entry in facts["sources"]:
        _print_source(entry)
    _console.print(f"\n{_WORDS}")


def _print_source(entry: dict[str, Any]) -> None:
    images, looked = entry["images"], entry["looked_at"]
    _console.print(f"\n[bold]{name_of(entry['source'])}[/bold]: {images:,} images")
    if looked < images:
        more = "" if entry["generated"] else "; copies and leaks among all images are more"
        _console.print(
            f"What follows is of a sample of {looked:,} images, drawn by key (--sample N){more}."
        )
    if entry["unreadable"]:
        _console.print(
            f"{entry['unreadable']:,} cannot be read (`headwater plan --verify` says why)"
        )
    formats = ", ".join(f"{plain.name(name)} {count:,}" for name, count in entry["formats"].items())
    whole = size_words(entry["bytes"] * images / looked) if looked else ""
    about = f" (about {whole} in all)" if looked < images else ""
    _console.print(f"{size_words(entry['bytes'])}{about}; {formats}", markup=False)
    table = Table(box=None, header_style="bold", pad_edge=False)
    table.add_column("")
    shares = list(entry["width"] or ())
    for share in shares:
        table.add_column(_share_name(share), justify="right")
    for name in ("width", "height"):
        _add(table, name, entry[name])
    for captions in entry["captions"]:
        for name in ("words", "characters"):
            _add(table, f"{plain.name(captions['field'])}: {name}", captions[name])
    if shares:
        _console.print(table)
    for captions in entry["captions"]:
        _print_captions(captions)
    _print_copies(entry)
    for note in entry["notes"]:
        _console.print(f"note: {plain.line(note)}", markup=False)


def _add(table: Table, name: str, values: dict[str, float] | None) -> None:
    if values is not None:
        table.add_row(name_of(name), *(f"{value:,.0f}" for value in values.values()))


def _share_name(share: str) -> str:
    return {"0": "least", "0.5": "median", "1": "most"}.get(share, f"{float(share):.0%}")


def _print_captions(captions: dict[str, Any]) -> None:
    images, texts = captions["images"], captions["texts"]
    without = captions["without"] / images if images else 0.0
    _console.print(
        f"{plain.name(captions['field'])}: {without:.1%} of the images have none; {texts:,} texts, "
        f"{captions['different']:,} different; scripts: {_shares(captions['scripts'], texts)}; "
        f"languages: {_shares(captions['languages'], texts)}",
        markup=False,
    )


def _shares(counts: dict[str, int], of: int) -> str:
    """The most frequent ones and their shares, and how many others there are."""
    told = [f"{name} {count / of:.1%}" for name, count in list(counts.items())[:_MOST]]
    more = [f"{len(counts) - _MOST} more"] if len(counts) > _MOST else []
    return ", ".join([*told, *more]) or "none"


def _print_copies(entry: dict[str, Any]) -> None:
    copies = entry["copies"]
    if copies is None:
        _console.print("generated: no image is a copy of another")
        return
    _console.print(
        f"copies: {copies['equal_files']:,} files equal an earlier one, {copies['near']:,} images "
        "look the same as an earlier one"
    )
    for record in entry["tasks"]:
        of = f"{record['test_images']:,}"
        if record["looked_at"] < record["test_images"]:
            of = f"a sample of {record['looked_at']:,} of {of}"
        _console.print(
            f"task {plain.name(record['task'])}: {record['flagged']:,} of {of} test images are "
            f"shown, {record['equal_files']:,} as equal files",
            markup=False,
        )
