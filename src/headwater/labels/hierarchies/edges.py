"""Lists of (parent, child): ImageNet's `wordnet.is_a.txt`, BREEDS' `class_hierarchy.txt`, NABirds'
`hierarchy.txt`, tieredImageNet's splits.

One relation on a line, between tabs or commas (with CSV's quotes) or else white space, as the first
line has it. Parent first, unless a header says `child,parent` or the reader is told so: NABirds and
tieredImageNet write the child first. Which it is cannot be read off a list; but one that would have
more classes without parents than classes without children is refused until its order is given.

Where a data set ships readable names in a file of its own beside the list, they become titles, and
aliases where only one node has them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from headwater.errors import InputError
from headwater.labels.hierarchies.reading import (
    parse_json,
    read_cells,
    read_head,
    read_lines,
    read_text,
    shown,
    tidied,
)
from headwater.labels.hierarchy import Hierarchy

ORDERS = ("parent-child", "child-parent")
_TITLES = {
    "class_hierarchy.txt": "node_names.txt",  # BREEDS
    "hierarchy.txt": "classes.txt",  # NABirds
    "cifar.parent-child.txt": "class_names.txt",  # semantic-embeddings
    "cub_wikispecies.parent-child.txt": "classes_wikispecies.txt",
    # Its numbers are those of iNaturalist 2018; the list of 2019 has other ones
    "hierarchy_inat.txt": "inat_class_index.json",
    "wordnet.parent-child.mintree.txt": "imagenet_class_index.json",
}
"""The file of readable names that belongs to a list, by the list's name."""


def read_edges(path: Path, order: str | None = None) -> Hierarchy:
    """The hierarchy of a list of relations.

    `order`: "parent-child", "child-parent", or None for what the header says, else parent first.

    A relation that is there twice counts once. Raises InputError for a row that has not two names,
    a header against `order`, a list that looks turned round while nothing says so, and what no
    hierarchy may have.
    """
    separator = separator_of(read_head(path).lstrip())
    edges: list[tuple[str, str]] = []
    first: int | None = None
    for number, cells in read_cells(path, separator):
        if len(cells) != 2 or not all(cells):
            apart = {"\t": "a tab", ",": "a comma", None: "white space"}[separator]
            raise InputError(
                f"{path}, line {number}: a relation is two names with {apart} between them, here "
                f"are {sum(map(bool, cells))}"
            )
        words = [cell.casefold() for cell in cells]
        if first is None and sorted(words) == ["child", "parent"]:
            if order is not None and order != "-".join(words):
                raise InputError(
                    f"{path}, line {number}: the header says {'-'.join(words)}, it was to be read "
                    f"as {order}"
                )
            order = "-".join(words)
        elif cells[0] == cells[1]:
            raise InputError(
                f"{path}, line {number}: the class {shown(cells[0])} is its own parent"
            )
        else:
            edges.append((cells[0], cells[1]))
        first = number if first is None else first
    if not edges:
        raise InputError(f"{path}: there is a header but no relation")
    if order is None:
        _refuse_doubtful(edges, path, first or 1, separator)
    if order == "child-parent":
        edges = [(parent, child) for child, parent in edges]
    titles = _titles(path)
    return replace(
        Hierarchy.from_edges(edges, where=str(path), titles=titles, aliases=unique_aliases(titles)),
        relations_only=True,
    )


def separator_of(head: str) -> str | None:
    """What is between the cells, by the first line: a tab, a comma, or (None) white space."""
    line = head.split("\n", 1)[0]
    return "\t" if "\t" in line.strip() else "," if "," in line else None


def unique_aliases(titles: Mapping[str, str]) -> dict[str, str]:
    """Node ids by title, for the titles that one node alone has."""
    times = Counter(titles.values())
    return {title: name for name, title in titles.items() if times[title] == 1}


def _refuse_doubtful(
    edges: list[tuple[str, str]], path: Path, line: int, separator: str | None
) -> None:
    """InputError where the order of the names was not given and the other order is the likelier
    one, or where line 1 is like a header.
    """
    parents, children = {parent for parent, _ in edges}, {child for _, child in edges}
    roots, leaves = len(parents - children), len(children - parents)
    advice = "say which it is with #child-parent or #parent-child after the file's name"
    if roots > leaves:
        raise InputError(
            f"{path}: read as parent and child, {roots} classes have no parent and {leaves} no "
            f"child, so it may be child and parent; {advice}"
        )
    times = Counter(name for edge in edges for name in edge)
    if separator == "," and len(edges) > 1 and times[edges[0][0]] == times[edges[0][1]] == 1:
        one, other = map(shown, edges[0])
        raise InputError(
            f"{path}, line {line}: {one} and {other} are nowhere else in the list, so this may be "
            f"a header; if it is a relation, {advice}"
        )


def _titles(path: Path) -> dict[str, str]:
    """Readable names by node id from the file beside a list that is known to belong to it, where it
    is there.
    """
    beside = path.parent / _TITLES.get(path.name, "")
    if path.name not in _TITLES or not beside.is_file():
        return {}
    if beside.suffix == ".json":
        table = parse_json(read_text(beside), beside)
        rows = list(table.values()) if isinstance(table, dict) else []
        if not rows or not all(_is_pair(row) for row in rows):
            raise InputError(
                f'{beside}: this is no table of names, {{"0": ["id", "name"], ...}}; mend it or '
                "take it away"
            )
        return {row[0]: tidied(row[1]) for row in rows}
    titles = {}
    for number, line in read_lines(beside):
        name, _, title = line.strip().partition("\t" if "\t" in line else " ")
        if not title:
            raise InputError(
                f"{beside}, line {number}: a node's id and its name should be here, this is "
                f"{shown(line)}; mend it or take the file away"
            )
        titles[tidied(name)] = tidied(title)
    return titles


def _is_pair(row: object) -> bool:
    """Whether a value of a JSON file is a list of two texts."""
    return isinstance(row, list) and len(row) == 2 and all(isinstance(cell, str) for cell in row)
