"""Trees that are written as such: indented text (`hierarchy.txt` of semantic-embeddings) and nested
JSON (OpenImages).

Indented text: the root on the first line, below it every node after two dashes a step (`-- birds`,
`---- finches`); a remark in brackets at the end of a line is no part of the name. JSON: an object
with `LabelName` and `Subcategory` (OpenImages' own file; what is under `Part` is no kind of it and
is left out) or with `name` and `children`. Titles of OpenImages' MIDs are read from `dict.csv` or
`class-descriptions.csv` beside it.

In JSON a name that is there in several places is one class with several parents: OpenImages has 72
such in its `bbox_hierarchy.json`.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.labels.hierarchies.edges import unique_aliases
from headwater.labels.hierarchies.reading import (
    parse_json,
    read_cells,
    read_lines,
    read_text,
    shown,
    tidied,
)
from headwater.labels.hierarchy import Hierarchy

_KEYS = (("LabelName", "Subcategory"), ("name", "children"))
_TITLES = ("dict.csv", "class-descriptions.csv", "class-descriptions-boxable.csv")


def read_indented(path: Path) -> Hierarchy:
    """The tree of an indented text.

    Raises InputError for a line that is indented by an odd number of dashes, or two steps below the
    one before it, and for a name that is there twice.
    """
    edges: list[tuple[str, str]] = []
    above: list[str] = []
    lines: dict[str, int] = {}
    for number, line in read_lines(path):
        match = re.fullmatch(r"\s*((?:--)*)(?!-)\s*(\S.*?)(?:\s+\([^()]*\))?\s*", line)
        if match is None:
            raise InputError(
                f"{path}, line {number}: a class comes after two dashes a step, this is "
                f"{shown(line)}"
            )
        depth, name = len(match[1]) // 2, tidied(match[2])
        if depth > len(above):
            raise InputError(
                f"{path}, line {number}: {shown(name)} is {depth} steps below the top, the class "
                f"before it {len(above) - 1}; a step is missing"
            )
        if name in lines:
            raise InputError(
                f"{path}, line {number}: the class {shown(name)} is on line {lines[name]} already; "
                "a tree has each class once"
            )
        lines[name] = number
        if depth:
            edges.append((above[depth - 1], name))
        above[depth:] = [name]
    return Hierarchy.from_edges(edges, nodes=lines, where=str(path))


def read_nested(path: Path, tree: Any) -> Hierarchy:
    """The hierarchy of nested objects, already parsed from `path`.

    Raises InputError for a node without a name, or with children that are no list of nodes.
    """
    keys = next((keys for keys in _KEYS if isinstance(tree, dict) and keys[0] in tree), None)
    if keys is None:
        raise InputError(
            f"{path}: this JSON is no class hierarchy; it needs LabelName and Subcategory, name "
            "and children, or categories (iNaturalist)"
        )
    names, edges = [], []
    for parent, name in _walk(tree, *keys, path):
        names.append(name)
        if parent is not None:
            edges.append((parent, name))
    titles = _titles(path, set(names)) if keys[0] == "LabelName" else {}
    return Hierarchy.from_edges(
        edges, nodes=names, where=str(path), titles=titles, aliases=unique_aliases(titles)
    )


def _walk(
    tree: Any, name_key: str, children_key: str, path: Path
) -> Iterator[tuple[str | None, str]]:
    """(name of the node above, name) of every node."""
    waiting: list[tuple[str | None, Any]] = [(None, tree)]
    while waiting:
        parent, node = waiting.pop()
        name = node.get(name_key) if isinstance(node, dict) else None
        below = node.get(children_key, []) if isinstance(node, dict) else None
        if not isinstance(name, str) or not name.strip() or not isinstance(below, list):
            place = "at the top" if parent is None else f"below {shown(parent)}"
            raise InputError(
                f"{path}: a node {place} has no text under {name_key!r} or no list under "
                f"{children_key!r}"
            )
        yield parent, tidied(name)
        waiting.extend((tidied(name), child) for child in below)


def _titles(path: Path, names: set[str]) -> dict[str, str]:
    for beside in (path.parent / name for name in _TITLES):
        if beside.is_file():
            titles = {}
            for number, cells in read_cells(beside, ","):
                if len(cells) != 2:
                    raise InputError(
                        f"{beside}, line {number}: an id and its name should be here, there are "
                        f"{len(cells)} cells; mend it or take the file away"
                    )
                titles[cells[0]] = cells[1]
            return {name: title for name, title in titles.items() if name in names}
    return {}


def read_json(path: Path) -> Any:
    """A whole JSON file."""
    return parse_json(read_text(path), path)
