"""What `headwater tasks` shows, as text."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from rich.table import Table as TextTable

from headwater import plain
from headwater.show.console import console, name_of
from headwater.tasks import SPLITS

_console = console(soft_wrap=True, highlight=False)


def print_list(facts: Mapping[str, Any]) -> None:
    """The list in text."""
    table = TextTable(box=None, header_style="bold", pad_edge=False)
    for column in (
        "task",
        "classes",
        "train",
        "val",
        "test",
        "metric",
        "on disk",
        "licence",
        "where to get it",
    ):
        wraps = column in ("licence", "where to get it")
        table.add_column(
            column,
            justify="right" if column in ("classes", *SPLITS) else "left",
            no_wrap=not wraps,
            overflow="fold",
        )
    for row in facts["tasks"]:
        there = (
            "no"
            if not row["on_disk"]
            else {True: "yes, sizes fit", False: "yes, DAMAGED", None: "yes"}[row.get("verified")]
        )
        table.add_row(
            row["task"],
            f"{row['classes']:,}",
            *(_number(row[split]) for split in SPLITS),
            row["metric"],
            there,
            name_of(row["licence"]),
            name_of(row["home"]),
        )
    _console.print(table)
    for row in facts["tasks"]:
        if row.get("problem"):
            _console.print(plain.line(row["problem"]), markup=False, style="red")
    if facts["data_root"] is None:
        _console.print(
            "\nNo data root is given: --data-root DIR or HEADWATER_DATA=DIR names the folder in "
            "which sets are looked for.",
            markup=False,
        )
        return
    _console.print(
        f"\nFolders under {facts['data_root']}:"
        if facts["folders"]
        else f"\nNo folder of images under {facts['data_root']}.",
        markup=False,
    )
    for row in facts["folders"]:
        _console.print(f"  {plain.name(row['folder'])}: {plain.line(_contents(row))}", markup=False)


def _number(value: int | None) -> str:
    return "" if value is None else f"{value:,}"


def _contents(row: Mapping[str, Any]) -> str:
    if row["problem"]:
        return f"cannot be read: {row['problem']}"
    if row["images"] is None:
        return "folders of images (--verify counts them)"
    classes = " / ".join(f"{count:,}" for count in row["classes"])
    clauses = [f"{row['images']:,} images", f"{classes} classes" if classes else "no classes"]
    for column, counts in row["splits"].items():
        splits = ", ".join(f"{n:,} {split}" for split, n in counts.items())
        clauses.append(splits if column == "split" else f"{column}: {splits}")
    return "; ".join(clauses)


def print_task(facts: Mapping[str, Any]) -> None:
    """One task in text."""
    title = facts.get("title") or facts["source"]
    _console.print(plain.name(title), style="bold", markup=False)
    for key, label in (
        ("task", "name"),
        ("metric", "metric"),
        ("licence", "licence"),
        ("home", "where to get it"),
        ("sizes_from", "split"),
    ):
        if facts.get(key):
            _console.print(f"{label:16} {plain.line(facts[key])}", markup=False)
    if "layout" in facts:
        _console.print(
            f"{'on disk':16} {'yes' if facts['on_disk'] else 'no; expected under the data root:'}",
            markup=False,
        )
        for line in () if facts["on_disk"] else facts["layout"]:
            _console.print(f"{'':16} {line}", markup=False)
    if "images" in facts:
        _console.print(
            f"{'images':16} {plain.line(_contents({**facts, 'problem': None}))}", markup=False
        )
        for column, splits in facts["images_per_class"].items():
            for split, sizes in splits.items():
                small, large = sizes["smallest"], sizes["largest"]
                heading = split if column == "split" else f"{column} {split}"
                _console.print(
                    f"{plain.name(heading):16} smallest class {plain.name(small['class'])} "
                    f"({small['images']:,}), largest {plain.name(large['class'])} "
                    f"({large['images']:,}, {large['share']:.1%})",
                    markup=False,
                )
    else:
        counts = ", ".join(f"{facts[split]:,} {split}" for split in SPLITS if facts.get(split))
        _console.print(f"{'published':16} {facts['classes']:,} classes; {counts}", markup=False)
        for option, images in facts.get("variants", {}).items():
            counts = ", ".join(f"{number:,} {split}" for split, number in images.items())
            _console.print(f"{'split: ' + option:16} {counts}", markup=False)
    if facts.get("groups"):
        groups = ", ".join(
            name if count is None else f"{name} ({count:,})"
            for name, count in facts["groups"].items()
        )
        _console.print(f"{'groups':16} {groups}", markup=False)
    if facts.get("class_names"):
        names = facts["class_names"]
        more = f" and {len(names) - 12:,} more" if len(names) > 12 else ""
        _console.print(
            f"{'classes':16} {', '.join(map(plain.name, names[:12]))}{more}", markup=False
        )
    for sentence in facts.get("conversions", ()):
        _console.print(f"{'converted':16} {plain.line(sentence)}", markup=False)
    if facts.get("unreadable"):
        bad = f"{sum(facts['unreadable'].values()):,} images; {facts['unreadable_images']}"
        _console.print(f"{'cannot be read':16} {plain.line(bad)}", markup=False, style="red")
    if facts.get("unopened"):
        _console.print(
            f"{'not opened':16} {facts['unopened']:,} images (--verify opens them)", markup=False
        )
    for note in (*facts.get("notes", ()), *([facts["note"]] if "note" in facts else [])):
        _console.print(f"{'note':16} {plain.line(note)}", markup=False)


def print_split(facts: Mapping[str, Any]) -> None:
    """What an index file holds, in text."""
    counts = ", ".join(f"{n:,} {split}" for split, n in facts["images"].items() if n)
    grouped = (
        f"; {facts['groups']:,} groups of {facts['group']!r}, none in two splits"
        if facts["group"]
        else ""
    )
    _console.print(f"wrote {facts['wrote']}: {counts}{grouped}", markup=False)
    for split, count in facts["missing_classes"].items():
        _console.print(f"{count} of {facts['classes']} classes have no {split} image", markup=False)
    kind = (
        f"published, name: {facts['source']}"
        if facts["published"]
        else f"folder, path: {_quoted(facts['folder'])}"
    )
    name = re.sub(r"[^A-Za-z0-9]", "-", str(facts["source"]))
    _console.print(
        f"use it: data: {{{_quoted(name)}: {{kind: {kind}, split_file: "
        f"{_quoted(str(Path(facts['wrote']).resolve()))}}}}}",
        markup=False,
    )


def _quoted(text: str) -> str:
    """As YAML reads it, whatever is in it."""
    return plain.json_text(text)
