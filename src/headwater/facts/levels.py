"""How many classes each level of a hierarchy makes of a list of classes, or of a study's source, as
plain values.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any, Literal

import numpy as np

from headwater.errors import InputError
from headwater.facts.folders import opened_folder
from headwater.labels import Targets, label_view
from headwater.labels.hierarchies import class_list, missing, open_hierarchy, synset_titles
from headwater.labels.hierarchy import Hierarchy
from headwater.plan import Plan
from headwater.plan.images import images_of
from headwater.sources import Table

By = Literal["level", "depth", "rank"]
MAX_LEVEL = 1000
"""No hierarchy is as deep; a larger number is a slip of the pen."""
FULL_LIST = "imagenet21k"
"""ImageNet's other lists are looked for in this one."""


def parse_levels(text: str) -> list[int]:
    """`0-10`, `0,2,4` or both: the numbers, ascending, each once.

    Raises InputError for anything else.
    """
    levels: set[int] = set()
    for part in text.split(","):
        match = re.fullmatch(r"\s*(\d{1,9})\s*(?:-\s*(\d{1,9})\s*)?", part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if not first <= last <= MAX_LEVEL:
            raise InputError(
                f"--levels {text!r} is no list of levels; write 0-10 or 0,2,4 (at most {MAX_LEVEL})"
            )
        levels.update(range(first, last + 1))
    return sorted(levels)


def list_facts(
    classes: str | None, hierarchy: str, by: By, levels: Sequence[int] | None
) -> dict[str, Any]:
    """The levels of a list of classes (a name that timm knows, or a file) in a hierarchy; of the
    hierarchy's own leaves where no list is named.

    Raises InputError for an unknown list or hierarchy, and for classes that the hierarchy lacks.
    """
    tree = open_hierarchy(hierarchy, where="--hierarchy")
    names = (
        [tree.names[leaf] for leaf in tree.leaves.tolist()]
        if classes is None
        else class_list(classes, where="--classes")
    )
    tree = tree.covering(names)
    classes = classes or f"the leaves of {Path(hierarchy).name}"
    counts = [tree.counts(names, view, where=classes) for view in _views(tree, by, levels, names)]
    strangers = (
        missing(names, class_list(FULL_LIST, where="--classes"))
        if classes.startswith("imagenet") and classes != FULL_LIST
        else ()
    )
    return {
        "classes": classes,
        "num_classes": len(names),
        "hierarchy": hierarchy,
        "orphans": _titled(counts[0].orphans, tree),
        "missing_from_imagenet21k": _titled(strangers, tree),
        "levels": [
            {
                "view": c.view,
                "classes": c.labels,
                "with_several_labels": c.several,
                "most_labels": c.most,
            }
            for c in counts
        ],
        **_nesting(tree, names, by, [c.view for c in counts]),
    }


def source_facts(
    plan: Plan, source: str | None, by: By, levels: Sequence[int] | None
) -> dict[str, Any]:
    """The levels of a study's source: of its hierarchy where it has one, else of its columns; with
    the images of each class.

    Raises InputError for a source that the study does not have and for a level that it cannot give.
    """
    sources = list(plan.study.sources)
    if source is None and len(sources) != 1:
        raise InputError(
            f"--source: the study has the sources {', '.join(sources) or 'none'}; name one"
        )
    if source is not None and source not in sources:
        raise InputError(
            f"--source {source!r}: the study has no such source; it has {', '.join(sources)}"
        )
    name = source or sources[0]
    arm = next(arm for arm in plan.study.arms() if arm.source == name)
    return _table_facts(
        plan.sources[plan.study.sources[name].data].table,
        images_of(plan.resolved, arm),
        name,
        by,
        levels,
    )


def folder_facts(
    folder: Path,
    by: By,
    levels: Sequence[int] | None,
    *,
    layout: str | None = None,
    follow_links: bool = False,
) -> dict[str, Any]:
    """The same of all images of a folder, which is read as `opened_folder` reads it."""
    name = folder.resolve().name
    table = opened_folder(folder, layout=layout, follow_links=follow_links).table
    return _table_facts(table, np.arange(len(table), dtype=np.int64), name, by, levels)


def _table_facts(
    table: Table, positions: Any, name: str, by: By, levels: Sequence[int] | None
) -> dict[str, Any]:
    if not table.levels:
        raise InputError(f"{name}: has no class names; levels are of classes")
    finest = label_view("level:0", table, positions, 0, name)
    tree = (
        None
        if table.hierarchy is None
        else open_hierarchy(table.hierarchy, where=name).covering(finest.names)
    )
    if tree is not None:
        views = _views(tree, by, levels, finest.names)
    elif by == "rank":
        raise InputError(
            f"{name}: its levels are columns without ranks; give the data set a `hierarchy`"
        )
    else:
        asked = (
            range(int(by == "depth"), len(table.levels) + int(by == "depth"))
            if levels is None
            else levels
        )
        views = [f"{by}:{k}" for k in asked]
    return {
        "classes": name,
        "num_classes": finest.num_classes,
        "hierarchy": table.hierarchy or "columns",
        "orphans": []
        if tree is None
        else _titled(tree.counts(finest.names, "level:0").orphans, tree),
        "images": len(positions),
        "levels": [
            _level_facts(label_view(view, table, positions, 0, name), finest) for view in views
        ],
        **({} if tree is None else _nesting(tree, finest.names, by, views)),
    }


def _nesting(
    tree: Hierarchy, classes: Sequence[str], by: By, views: Sequence[str]
) -> dict[str, list[str]]:
    """Where ranks do not nest: a sentence for each rank that does not coarsen the next finer one.

    Levels do so by their rule.
    """
    if by != "rank":
        return {}
    conflicts = (tree.conflict(classes, fine, coarse) for coarse, fine in pairwise(views))
    return {"not_nested": [conflict for conflict in conflicts if conflict is not None]}


def _level_facts(targets: Targets, finest: Targets) -> dict[str, Any]:
    several, most = 0, 1
    if targets.sets is not None:
        sizes = np.zeros(finest.num_classes, dtype=np.int64)
        sizes[finest.indices] = targets.sets.sizes[targets.codes]
        several, most = int((sizes > 1).sum()), int(sizes.max())
    counts = np.sort(targets.counts)
    images = {
        "smallest": int(counts[0]),
        "median": float(np.median(counts)),
        "largest": int(counts[-1]),
    }
    return {
        "view": targets.view,
        "classes": targets.num_classes,
        "with_several_labels": several,
        "most_labels": most,
        "images_per_class": images,
    }


def _views(
    tree: Hierarchy, by: By, levels: Sequence[int] | None, classes: Sequence[str]
) -> list[str]:
    """The views asked for; all levels up to the first at which nothing changes any more, all
    depths, all ranks, where none are.
    """
    if by == "rank":
        if not tree.rank_names:
            raise InputError(
                "--by rank: this hierarchy has no named ranks; use --by level or --by depth"
            )
        return [f"rank:{rank}" for rank in tree.rank_names]
    if levels is None:
        top = int(tree.depths[tree.index_of(classes, "classes")].max(initial=0))
        levels = range(top + 1)
    return [f"{by}:{k}" for k in levels]


def _titled(names: Sequence[str], tree: Hierarchy) -> list[dict[str, str]]:
    """Classes with what they are called, where that is known."""
    titles: Mapping[str, str] = tree.titles
    if not titles and names and all(re.fullmatch(r"n\d{8}", name) for name in names):
        titles = synset_titles()
    return [{"class": name, "title": titles.get(name, "")} for name in names]
