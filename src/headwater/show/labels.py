"""What `headwater labels` shows, as facts (plain values, also its --json) and as text: tables alone
are read, no image is decoded.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from functools import partial
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.markup import escape
from rich.table import Table as TextTable

from headwater.errors import InputError, blamed_on
from headwater.labels import (
    Targets,
    View,
    distinct_views,
    label_view,
    parse_view,
    partition,
    resolve_view,
)
from headwater.labels.describe import FEW_IMAGES, Direction, against, describe, expected_direction
from headwater.plan import Plan
from headwater.plan.images import images_of
from headwater.sources import Positions, Table
from headwater.sources.folder import FolderSource
from headwater.store import Store
from headwater.study import Arm

_MEANINGS: dict[Direction, str] = {
    "too coarse": "cannot tell the task's classes apart: features that only these need may be lost",
    "matches": "the task's own classes: the arm that others are compared with",
    "finer": "nested in the task, images enough in each class: expected to help, hard images most",
    "too fine": f"most images are in classes of fewer than {FEW_IMAGES}: memorised rather than "
    "learned",
    "not aligned": "labels cut across the task's classes, or drawn at random: expected to do worst",
}
_console = Console(soft_wrap=True, highlight=False, width=None if sys.stdout.isatty() else 100)


@dataclass(frozen=True)
class _Target:
    """Classes that views are held against."""

    name: str
    labels: str
    classes: int
    by: str
    """How images come to have them: `images` (the task has these images), `names` (a level has the
    task's class names), `levels` (the source's own).
    """
    codes: NDArray[np.int64]
    """int64 [num_images]: -1 where an image has none."""


def study_facts(
    plan: Plan, views: Sequence[str] | None = None, store: Store | None = None
) -> dict[str, Any]:
    """Each source of an opened study, its label views (or `views`) and how these lie to the study's
    tasks.

    Seeded views and sizes are drawn with the first seed of the source. Raises InputError for a view
    that the data cannot give. Clusters are described where the store has them and the plan knows
    its arms (Plan.make); they are a note where they are not made yet.
    """
    study = plan.study
    distinct_views(views or (), ("--views",), study.views)
    sources = []
    with study.located():
        for (name, size), arms in _arms_by_source(plan):
            use = study.sources[name]
            source = plan.sources[use.data]
            positions = images_of(plan.resolved, arms[0])
            own = [arm.labels for arm in arms if arm.method == "supervised" and arm.labels]
            title = name if size in (None, "all") else f"{name}, {size} images"
            targets = list(_targets(plan, use.data, source.table, positions))
            entry = _entry(
                title,
                use.data,
                positions,
                arms[0].seed,
                targets or _own_levels(source.table, positions, name),
                list(plan.tasks),
            )
            for view in views or own or _default_views(source.table):
                with nullcontext() if views else blamed_on(*study.place(name, "labels", view)):
                    meant = resolve_view(view, study.views, plan.data_root)
                    made = _made_clusters(plan, store, arms[0], view) if meant.clustered else None
                    entry["views"].append(
                        _view_facts(entry, meant, source.table, positions, f"sources.{name}", made)
                    )
            sources.append(_without_codes(entry))
    return {"study": study.study, "folder": None, "sources": sources}


def folder_facts(folder: Path, views: Sequence[str] | None = None) -> dict[str, Any]:
    """All images of a folder under `views` (its levels and `instance` when left out), against its
    own levels.

    Raises InputError for a folder that is none, is empty or has no levels where no view is named,
    and for a view that it cannot give.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    distinct_views(views or (), ("--views",))
    name = folder.resolve().name
    table = FolderSource(name, folder).table
    if not views and not table.levels:
        raise InputError(
            f"{folder}: there are {len(table):,} images and no levels of labels; put the images "
            "into class folders or write a labels.csv, "
            "or name views that need no labels (--views instance,random:10)"
        )
    positions = np.arange(len(table), dtype=np.int64)
    entry = _entry(name, name, positions, 0, _own_levels(table, positions, name))
    for view in views or _default_views(table):
        entry["views"].append(_view_facts(entry, parse_view(view), table, positions, name))
    return {"study": None, "folder": str(folder), "sources": [_without_codes(entry)]}


def _arms_by_source(plan: Plan) -> Iterator[tuple[tuple[str, Any], list[Arm]]]:
    """((source, size), its arms of its first seed), in the study's order."""
    first: dict[str | None, int] = {}
    arms = [
        arm
        for arm in plan.study.arms()
        if arm.source is not None and arm.seed == first.setdefault(arm.source, arm.seed)
    ]
    for (source, size), group in groupby(arms, lambda arm: (arm.source, arm.size)):
        assert source is not None
        yield (source, size), list(group)


def _default_views(table: Table) -> list[str]:
    return [*(f"level:{level}" for level in reversed(range(len(table.levels)))), "instance"]


def _targets(plan: Plan, data: str, table: Table, positions: Positions) -> Iterator[_Target]:
    """The study's tasks that these images have classes of: because they are the task's images, or
    because a level has the task's class names.
    """
    for task in plan.tasks.values():
        same = plan.study.tasks[task.name].data == data
        codes, by = (
            (task.labels[positions], "images")
            if same
            else (_by_names(task.class_names, table, positions), "names")
        )
        if (codes >= 0).any():
            yield _Target(task.name, task.view, task.num_classes, by, codes)


def _by_names(names: tuple[str, ...], table: Table, positions: Positions) -> NDArray[np.int64]:
    """int64 [num_images]: a task's classes where one level has exactly these names on these images,
    else -1.
    """
    index = {name: at for at, name in enumerate(names)}
    for level in table.levels:
        own = level[positions]
        if set(own.tolist()) == set(names):
            return np.array([index[name] for name in own.tolist()], dtype=np.int64)
    return np.full(len(positions), -1, dtype=np.int64)


def _own_levels(table: Table, positions: Positions, where: str) -> list[_Target]:
    """The levels of a table as what one may want to tell apart, coarsest first; those that say
    nothing are left out.
    """
    found = []
    for level in reversed(range(len(table.levels))):
        try:
            targets = label_view(f"level:{level}", table, positions, 0, where)
        except InputError:
            continue
        if targets.single and targets.num_classes > 1:
            found.append(
                _Target(targets.view, targets.view, targets.num_classes, "levels", targets.indices)
            )
    return found


def _entry(
    title: str,
    data: str,
    positions: Positions,
    seed: int,
    targets: list[_Target],
    tasks: Sequence[str] = (),
) -> dict[str, Any]:
    shown = [
        {"target": t.name, "labels": t.labels, "classes": t.classes, "by": t.by} for t in targets
    ]
    unmet = [task for task in tasks if task not in {t.name for t in targets}]
    return {
        "source": title,
        "data": data,
        "images": len(positions),
        "seed": seed,
        "targets": shown,
        "unmet": unmet,
        "views": [],
        "codes": targets,
    }


def _without_codes(entry: dict[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in entry.items() if key != "codes"}


def _made_clusters(plan: Plan, store: Store | None, like: Arm, view: str) -> Targets | None:
    """The clusters of the arm of this view beside another (of the same source, size and seed),
    where the store has them.
    """
    for arm in plan.arms if store else ():
        words = arm.words
        if arm.clusters and (words.source, words.size, words.labels, words.seed) == (
            like.source,
            like.size,
            view,
            like.seed,
        ):
            codes = store.read_labels(arm.clusters.id, len(arm.positions)) if store else None
            return None if codes is None else Targets(codes, arm.clusters.partition.names, view)
    return None


def _view_facts(
    entry: dict[str, Any],
    view: View,
    table: Table,
    positions: Positions,
    where: str,
    made: Targets | None = None,
) -> dict[str, Any]:
    if view.clustered and made is None:
        parts = partition(view, table, positions, where)
        detail = (
            f"{len(parts.names)} clusters of {len(positions)} images; which ones is known when "
            "their features are"
        )
        return {
            "view": view.name,
            "note": "known after its features are trained",
            "detail": detail,
            "against": [],
        }
    targets = made or label_view(view, table, positions, entry["seed"], where)
    return {
        **describe(targets).as_dict(),
        "note": None,
        "against": [_against(targets, target, view) for target in entry["codes"]],
    }


def _against(targets: Targets, target: _Target, view: View) -> dict[str, Any]:
    facts = against(targets, target.codes if targets.rows is None else target.codes[targets.rows])
    expected = expected_direction(facts, drawn=view.kind == "random")
    return {
        "target": target.name,
        **facts.as_dict(),
        "expected": expected.direction,
        "reason": expected.reason,
    }


# text
def print_labels(facts: dict[str, Any], argument: str) -> None:
    """The facts as tables.

    `argument` is how the study or the folder was named, for the commands to run next.
    """
    for entry in facts["sources"]:
        _print_source(entry)
    _print_words(facts, argument)


def _print_source(entry: dict[str, Any]) -> None:
    _console.print(f"\n[bold]{escape(entry['source'])}[/bold]: {entry['images']:,} images")
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
    for at, view in enumerate(known):
        numbers = [
            f"{view[k]:,.0f}" for k in ("classes", "smallest", "median", "largest", "singletons")
        ]
        table.add_row(
            escape(view["view"]),
            *numbers,
            *("-" if values[at] is None else _percent(values[at]) for values in optional.values()),
        )
    if known:
        _console.print(table)
    for view in entry["views"]:
        if view["note"] is not None:
            _console.print(f"{view['view']}: {view['note']}", markup=False)
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


def _print_overview(targets: list[dict[str, Any]], views: list[dict[str, Any]]) -> None:
    """What to expect of each view for each task, the shorter of the two across."""
    rows, columns = [view["view"] for view in views], [target["target"] for target in targets]
    cells = [[a["expected"] for a in view["against"]] for view in views]
    down, across = "views", "tasks"
    if len(columns) > len(rows):
        rows, columns, cells = columns, rows, [list(column) for column in zip(*cells, strict=True)]
        down, across = across, down
    table = TextTable("", *map(escape, columns), box=None, header_style="bold", pad_edge=False)
    for name, words in zip(rows, cells, strict=True):
        table.add_row(escape(name), *words)
    _console.print(f"\n[bold]expected[/bold]: {down} down, {across} across")
    _console.print(table)


def _same_targets(
    targets: list[dict[str, Any]], views: list[dict[str, Any]]
) -> list[list[dict[str, Any]]]:
    """Targets to which every view lies in the same way, together."""
    groups: dict[str, list[dict[str, Any]]] = {}
    for at, target in enumerate(targets):
        told = [{**view["against"][at], "target": None} for view in views]
        groups.setdefault(repr((target["by"], target["classes"], told)), []).append(target)
    return list(groups.values())


_BY = {
    "images": "on these images",
    "names": "on other images, met by class names",
    "levels": "taken as the task",
}


def _print_target(same: list[dict[str, Any]], views: list[dict[str, Any]]) -> None:
    target = same[0]
    names = ", ".join(escape(each["target"]) for each in same)
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
            escape(view["view"]),
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
    found = {a["expected"] for view in views for a in view["against"]}
    say = partial(_console.print, highlight=False)
    if found:
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
            if direction in found:
                say(f"  {direction:12} {meaning}")
    if facts["study"] is not None:
        say(
            f"\n[bold]next[/bold]: headwater run {escape(argument)} measures it (plan instead of "
            "run: what it costs)"
        )
    else:
        labels = ", ".join(view["view"] for view in views)
        say(
            "\n[bold]next[/bold]: a study measures it. `headwater init study.yaml` writes one to "
            "edit: put this folder"
        )
        say(
            "  under data, the tasks that matter to you under tasks, and the views that are worth "
            "an arm:"
        )
        say(f"  labels: [{labels}]", markup=False)
    if "plot" in facts:
        say(f"chart: {escape(facts['plot'])}")
