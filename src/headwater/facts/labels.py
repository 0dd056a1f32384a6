"""The labels of a study's sources under its views, as plain values.

Tables alone are read, no image is decoded.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import nullcontext
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError, blamed_on
from headwater.facts.copies import copy_facts, copy_notes
from headwater.facts.folders import opened_folder
from headwater.facts.texts import class_notes, field_facts, folder_texts
from headwater.labels import (
    Targets,
    View,
    distinct_views,
    label_view,
    parse_view,
    partition,
    resolve_view,
)
from headwater.labels.describe import against, describe, expected_direction
from headwater.plan import Plan
from headwater.plan.images import images_of
from headwater.plan.texts import fields_read
from headwater.sources import Positions, Table
from headwater.store import Store
from headwater.study import Arm


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
            asked = [arm.labels for arm in arms if arm.method == "supervised" and arm.labels]
            title = name if size in (None, "all") else f"{name}, {size} images"
            targets = list(_targets(plan, use.data, source.table, positions))
            entry = _entry(
                title,
                use.data,
                positions,
                arms[0].seed,
                targets or _own_levels(source.table, positions, name),
                list(plan.tasks),
                [*source.notes, *copy_notes(copy_facts(source, positions))],
            )
            entry["texts"] = [
                field_facts(field, source.table, positions, context)
                for field, context in fields_read(study, arms)
            ]
            for view in views or asked or _default_views(source.table):
                with nullcontext() if views else blamed_on(*study.place(name, "labels", view)):
                    meant = resolve_view(view, study.views, plan.data_root)
                    made = _made_clusters(plan, store, arms[0], view) if meant.clustered else None
                    entry["views"].append(
                        _view_facts(entry, meant, source.table, positions, f"sources.{name}", made)
                    )
            sources.append(_without_codes(entry))
    return {"study": study.study, "folder": None, "sources": sources}


def folder_facts(
    folder: Path,
    views: Sequence[str] | None = None,
    *,
    layout: str | None = None,
    follow_links: bool = False,
) -> dict[str, Any]:
    """All images of a folder under `views` (its levels and `instance` when left out), against its
    own levels, and its text fields.

    Raises InputError for a folder that is none, is empty or has neither levels nor texts where no
    view is named, and for a view that it cannot give.
    """
    if not folder.is_dir():
        raise InputError(f"{folder}: there is no such folder")
    distinct_views(views or (), ("--views",))
    name = folder.resolve().name
    source = opened_folder(folder, layout=layout, follow_links=follow_links)
    table = source.table
    if not views and not table.levels and not table.texts:
        raise InputError(
            f"{folder}: there are {len(table):,} images and no levels of labels or texts; put the "
            "images into class folders or write a labels.csv, "
            "or name views that need no labels (--views instance,random:10)"
        )
    positions = np.arange(len(table), dtype=np.int64)
    notes = [*source.notes, *copy_notes(copy_facts(source))]
    entry = _entry(name, name, positions, 0, _own_levels(table, positions, name), notes=notes)
    entry["texts"] = folder_texts(table, positions)
    entry["notes"] += class_notes(table, positions, name)
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
    index = {name: code for code, name in enumerate(names)}
    for level in table.levels:
        classes = level[positions].tolist()
        if set(classes) == set(names):
            return np.array([index[name] for name in classes], dtype=np.int64)
    return np.full(len(positions), -1, dtype=np.int64)


def _own_levels(table: Table, positions: Positions, where: str) -> list[_Target]:
    """The levels of a table as what one may want to tell apart, coarsest first; those that say
    nothing are left out.
    """
    levels = []
    for level in reversed(range(len(table.levels))):
        try:
            targets = label_view(f"level:{level}", table, positions, 0, where)
        except InputError:
            continue
        if targets.single and targets.num_classes > 1:
            levels.append(
                _Target(targets.view, targets.view, targets.num_classes, "levels", targets.indices)
            )
    return levels


def _entry(
    title: str,
    data: str,
    positions: Positions,
    seed: int,
    targets: list[_Target],
    tasks: Sequence[str] = (),
    notes: Sequence[str] = (),
) -> dict[str, Any]:
    shown = [
        {"target": t.name, "labels": t.labels, "classes": t.classes, "by": t.by} for t in targets
    ]
    met = {target.name for target in targets}
    return {
        "source": title,
        "data": data,
        "images": len(positions),
        "notes": list(notes),
        "seed": seed,
        "targets": shown,
        "unmet": [task for task in tasks if task not in met],
        "texts": [],
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
