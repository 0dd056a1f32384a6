"""What `headwater labels` shows, as text."""

from __future__ import annotations

from functools import partial
from typing import Any

from rich.table import Table as TextTable

from headwater import plain
from headwater.labels.describe import FEW_IMAGES, Direction
from headwater.show.console import console, name_of

_MEANINGS: dict[Direction, str] = {
    "too coarse": "cannot tell the task's classes apart: features that only these need may be lost",
    "matches": "the task's own classes: the arm that others are compared with",
    "finer": "nested in the task, images enough in each class: expected to help, hard images most",
    "too fine": f"most images are in classes of fewer than {FEW_IMAGES}: memorised rather than "
    "learned",
    "not aligned": "labels cut across the task's classes, or drawn at random: expected to do worst",
}
_BY = {
    "images": "on these images",
    "names": "on other images, met by class names",
    "levels": "taken as the task",
}
_console = console(soft_wrap=True, highlight=False, width=100)


# text
def print_labels(facts: dict[str, Any], argument: str) -> None:
    """The facts as tables.

    `argument` is how the study or the folder was named, for the commands to run next.
    """
    for entry in facts["sources"]:
        _print_source(entry)
    _print_words(facts, argument)


def _print_source(entry: dict[str, Any]) -> None:
    _console.print(f"\n[bold]{name_of(entry['source'])}[/bold]: {entry['images']:,} images")
    for note in entry.get("notes", ()):
        _console.print(plain.line(f"note: {note}"), markup=False, soft_wrap=False)
    known = [view for view in entry["views"] if view["note"] is None]
    optional = {
        f"images in\nclasses < {FEW_IMAGES}": [view["small_share"] for view in known],
        "of more than\none label": [view["multi_label_share"] for view in known],
        "changed\nby noise": [view["noise"] for view in known],
    }
    optional = {heading: values for heading, values in optional.items() if any(values)}
    if not known:
        _console.print("no view is known before training")
    table = _text_table(
        "\nclasses",
        "fewest\nimages",
        "median\nimages",
        "most\nimages",
        "classes of\none image",
        *optional,
    )
    counted = ("classes", "smallest", "median", "largest", "singletons")
    for row, view in enumerate(known):
        numbers = [f"{view[count]:,.0f}" for count in counted]
        shares = [values[row] for values in optional.values()]
        table.add_row(
            name_of(view["view"]),
            *numbers,
            *("-" if share is None else _percent(share) for share in shares),
        )
    if known:
        _console.print(table)
    for view in entry["views"]:
        if view["note"] is not None:
            _console.print(f"{view['view']}: {view['note']}", markup=False)
    for texts in entry["texts"]:
        _print_texts(texts, entry["images"])
    if entry["unmet"]:
        _console.print(
            "tasks on other data, with other class names, where only a run can tell: "
            f"{', '.join(entry['unmet'])}",
            markup=False,
        )
    if len(entry["targets"]) > 1 and known:
        _print_overview(entry["targets"], known)
    for same in _same_targets(entry["targets"], known) if known else ():
        _print_target(same, known)


def _print_texts(texts: dict[str, Any], images: int) -> None:
    """One text field, as CLIP would read it."""
    missing = images - texts["images"]
    said = list(texts["notes"]) or [f"{texts['texts']:,} texts, all read and told apart by CLIP"]
    if missing:
        said.append(f"{missing:,} of {images:,} images have none")
    _console.print(f"texts {plain.name(texts['field'])}: {'; '.join(said)}", markup=False)


def _expectations(view: dict[str, Any]) -> list[str]:
    """What to expect of a view for each task."""
    return [target["expected"] for target in view["against"]]


def _print_overview(targets: list[dict[str, Any]], views: list[dict[str, Any]]) -> None:
    """What to expect of each view for each task, the shorter of the two across."""
    rows, columns = [view["view"] for view in views], [target["target"] for target in targets]
    cells = [_expectations(view) for view in views]
    down, across = "views", "tasks"
    if len(columns) > len(rows):
        rows, columns, cells = columns, rows, [list(column) for column in zip(*cells, strict=True)]
        down, across = across, down
    table = TextTable("", *map(name_of, columns), box=None, header_style="bold", pad_edge=False)
    for name, expected in zip(rows, cells, strict=True):
        table.add_row(name_of(name), *expected)
    _console.print(f"\n[bold]expected[/bold]: {down} down, {across} across")
    _console.print(table)


def _same_targets(
    targets: list[dict[str, Any]], views: list[dict[str, Any]]
) -> list[list[dict[str, Any]]]:
    """Targets to which every view lies in the same way, together."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for number, target in enumerate(targets):
        nested = [{**view["against"][number], "target": None} for view in views]
        groups.setdefault(repr((target["by"], target["classes"], nested)), []).append(target)
    return list(groups.values())


def _print_target(same: list[dict[str, Any]], views: list[dict[str, Any]]) -> None:
    target = same[0]
    names = ", ".join(name_of(each["target"]) for each in same)
    _console.print(
        f"\nagainst [bold]{names}[/bold]: {target['classes']:,} classes, {_BY[target['by']]}"
    )
    table = _text_table(
        "nested\n(by chance)", "classes\nnested", "task nested\n(by chance)", "NMI\n(by chance)"
    )
    table.add_column("\nexpected", no_wrap=True)
    for view in views:
        a = next(a for a in view["against"] if a["target"] == target["target"])
        table.add_row(
            name_of(view["view"]),
            f"{_percent(a['nesting'])} ({_percent(a['nesting_by_chance'])})",
            _percent(a["classes_nested"]),
            f"{_percent(a['reverse_nesting'])} ({_percent(a['reverse_by_chance'])})",
            f"{a['nmi']:.2f} ({a['nmi_by_chance']:.2f})",
            a["expected"],
        )
    _console.print(table)


def _text_table(*numbers: str) -> TextTable:
    table = TextTable("\nview", box=None, header_style="bold", pad_edge=False)
    for heading in numbers:
        table.add_column(heading, justify="right")
    table.columns[0].no_wrap = True
    return table


def _percent(share: float) -> str:
    """0.413 -> '41 %'; what is not all is not shown as 100 %."""
    return ">99 %" if 0.995 <= share < 1 - 1e-9 else f"{100 * share:.0f} %"


def _print_words(facts: dict[str, Any], argument: str) -> None:
    """What the columns mean, what the directions mean, and what to do next."""
    views = [view for entry in facts["sources"] for view in entry["views"]]
    directions = {a["expected"] for view in views for a in view["against"]}
    say = partial(_console.print, highlight=False)
    if directions:
        say(
            "\n[bold]nested[/bold]: images whose task class is the most frequent one among the "
            "images of their label."
        )
        say("[bold]classes nested[/bold]: labels all of whose images are of one task class.")
        say(
            "[bold]task nested[/bold]: the first, the other way round: 100 % where labels say no "
            "more than the task does."
        )
        say("[bold]expected[/bold]: what Hong et al. 2023 lead one to expect, not a measurement:")
        for direction, meaning in _MEANINGS.items():
            if direction in directions:
                say(f"  {direction:12} {meaning}")
    if facts["study"] is not None:
        say(
            f"\n[bold]next[/bold]: headwater run {name_of(argument)} measures it (plan instead of "
            "run: what it costs)"
        )
    else:
        labels = ", ".join(view["view"] for view in views)
        say(
            "\n[bold]next[/bold]: a study measures it. `headwater init THIS_FOLDER --task "
            "ANOTHER_FOLDER` writes one;"
        )
        say("  there, the views that are worth an arm are a key of the source:")
        say(f"  labels: [{labels}]", markup=False)
    if "plot" in facts:
        say(f"chart: {name_of(facts['plot'])}")
