"""Tables with a column for each rank (kingdom ... species): one row for each class, or for each
image.

The columns are, in this order of choice: those that the reference names (`FILE#genus>species`,
coarsest first); the Linnaean ranks among the columns, in whatever order they stand (`cls` is
another word for `class`, and where both are there `class` is no rank); `level1` (coarsest) ...
`levelN`; else all columns, coarsest on the left. A `common_name` column gives titles.

A row links each name to the one to its left; blanks are skipped. How nodes are called:

- A species that is written as an epithet (`tuberculata`) is called by its genus and it (`Cyclonaias
  tuberculata`), as its folder is.
- A name under two parents, of any rank but the finest, means two nodes, called `parent/name` each:
  genera of animals and of plants share names. At the finest rank it is an error, for there it is
  the name of a folder, which has one parent.
- A name at several ranks (the kingdom and the supercategory Fungi) is called `rank:name` at each
  but the finest.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path

from headwater.errors import InputError
from headwater.labels.hierarchies.edges import separator_of
from headwater.labels.hierarchies.reading import read_cells, read_head, shown
from headwater.labels.hierarchy import Hierarchy

LINNAEAN = (
    "domain",
    "superkingdom",
    "kingdom",
    "phylum",
    "class",
    "order",
    "family",
    "subfamily",
    "tribe",
    "genus",
    "species",
)
_WORDS = {
    **{rank: rank for rank in LINNAEAN},
    "cls": "class",
    "species_name": "species",
    "specific_epithet": "species",
    "division": "phylum",
}

_Node = tuple[int, str, "_Node | None"]
"""(rank, name, the node above)."""


def rank_columns(header: Sequence[str]) -> dict[str, int]:
    """The Linnaean columns of a header, coarsest first: rank -> column; empty where fewer than two
    are there.
    """
    names = [name.casefold().replace(" ", "_") for name in header]
    columns: dict[str, int] = {}
    for column, name in enumerate(names):
        rank = _WORDS.get(name)
        if rank is not None and not (
            name == rank and any(other != name and _WORDS.get(other) == rank for other in names)
        ):
            columns.setdefault(rank, column)
    if len(columns) < 2:
        return {}
    return {rank: columns[rank] for rank in LINNAEAN if rank in columns}


def read_taxonomy(path: Path, chosen: Sequence[str] = ()) -> Hierarchy:
    """The tree of a table with rank columns; `chosen` names them, coarsest first.

    Rows that are there twice count once.

    Raises InputError, with the line, for a header without such columns, a row with another number
    of cells or no name at all, and a class of the finest rank under two parents.
    """
    rows = read_cells(path, separator_of(read_head(path).lstrip()) or ",")
    line, header = next(rows)
    ranks = _columns(path, line, header, chosen)
    plain = [name.casefold().replace(" ", "_") for name in header]
    common = plain.index("common_name") if "common_name" in plain else None
    lines: dict[tuple[str, ...], int] = {}
    titles: dict[tuple[str, ...], str] = {}
    for number, cells in rows:
        if len(cells) != len(header):
            raise InputError(
                f"{path}, line {number}: the row has {len(cells)} cells, the header has "
                f"{len(header)}; quote names that hold commas"
            )
        names = tuple(cells[column] for column in ranks.values())
        if names not in lines:
            if not any(names):
                raise InputError(
                    f"{path}, line {number}: no class is named in the columns {', '.join(ranks)}"
                )
            lines[names] = number
            if common is not None and cells[common]:
                titles[names] = cells[common]
    if not lines:
        raise InputError(f"{path}: there is a header but no row; list at least one class")
    if "species" in ranks and "genus" in ranks:
        species, genus = list(ranks).index("species"), list(ranks).index("genus")
        lines = {_binomial(names, genus, species): number for names, number in lines.items()}
        titles = {_binomial(names, genus, species): title for names, title in titles.items()}
    return ranked(list(ranks), lines, path, titles=titles)


def ranked(
    ranks: Sequence[str],
    rows: Mapping[tuple[str, ...], int],
    path: Path,
    *,
    titles: Mapping[tuple[str, ...], str],
    aliases: Mapping[str, str] | None = None,
    beside: Mapping[str, str] | None = None,
    beside_rank: str = "",
    place: str = "line {}",
) -> Hierarchy:
    """The tree of rows of names (one for each of `ranks`, coarsest first, "" for none; the value is
    the row's place, `place` how messages write it).

    `titles` are by row, `aliases` from another word to a name of the finest rank. `beside` gives,
    by a name of the finest rank, the group of a rank (`beside_rank`) that does not nest between the
    others: it goes above every node below the coarsest rank whose classes all share it, for rank
    views only, and below the coarsest node that holds it all, where one does.
    """
    leaves: dict[tuple[str, ...], _Node] = {}
    for row in rows:
        node: _Node | None = None
        for rank, name in enumerate(row):
            node = (rank, name, node) if name else node
        if node is None:
            raise InputError(f"{path}, {place.format(rows[row])}: there is no name in this row")
        leaves[row] = node
    nodes = _with_ancestors(leaves.values())
    _refuse_two_parents(nodes, leaves, rows, ranks, lambda row: f"{path}, {place.format(row)}")
    groups = sorted({beside[row[-1]] for row in rows}) if beside else []
    ids, group_ids = _ids(nodes, ranks, groups, beside_rank)
    edges = [(ids[node[2]], child) for node, child in ids.items() if node[2] is not None]
    aside: list[tuple[str, str]] = []
    if beside:
        group_of = {row: beside[row[-1]] for row in leaves}
        aside, above = _group_edges(leaves, group_of, ids, group_ids)
        edges += above
    rank_of = {name: ranks[node[0]] for node, name in ids.items()}
    rank_of |= dict.fromkeys(group_ids.values(), beside_rank)
    hierarchy = Hierarchy.from_edges(
        edges,
        nodes=rank_of,
        where=str(path),
        titles={ids[leaves[row]]: title for row, title in titles.items()},
        ranks=rank_of,
        beside=aside,
        aliases=aliases,
    )
    if len(hierarchy) != len(ids) + len(group_ids):
        raise InputError(
            f"{path}: two classes come out under one name; a name holds '/' or ':' so that it "
            "equals another's path"
        )
    return hierarchy


def _group_edges(
    leaves: Mapping[tuple[str, ...], _Node],
    group_of: Mapping[tuple[str, ...], str],
    ids: Mapping[_Node, str],
    group_ids: Mapping[str, str],
) -> tuple[list[tuple[str, str]], list[tuple[str, str]]]:
    """((group, node) for rank views alone, (node, group)) of a rank that does not nest between the
    others.

    A group is above every node below the coarsest rank whose classes all share it, and below the
    coarsest node that holds it all.
    """
    groups_in: dict[_Node, set[str]] = defaultdict(set)
    tops: dict[str, set[_Node]] = defaultdict(set)
    for row, leaf in leaves.items():
        for node in _chain(leaf):
            groups_in[node].add(group_of[row])
        tops[group_of[row]].add(_chain(leaf)[-1])
    aside = []
    for node, groups in groups_in.items():
        if len(groups) == 1 and node[2] is not None:
            aside.append((group_ids[next(iter(groups))], ids[node]))
    above = []
    for group, nodes in tops.items():
        if len(nodes) == 1:
            above.append((ids[next(iter(nodes))], group_ids[group]))
    return aside, above


def _columns(path: Path, line: int, header: Sequence[str], chosen: Sequence[str]) -> dict[str, int]:
    """Rank -> column, coarsest first."""
    if twice := [name for name in header if name and header.count(name) > 1]:
        raise InputError(f"{path}, line {line}: the column {shown(twice[0])} is there twice")
    if chosen:
        for name in chosen:
            if name not in header:
                raise InputError(
                    f"{path}, line {line}: there is no column {shown(name)}; the header has "
                    f"{', '.join(map(shown, header[:12]))}"
                )
        return {name: header.index(name) for name in chosen}
    levels = sorted(
        (int(name[5:]), column)
        for column, name in enumerate(header)
        if re.fullmatch(r"level[1-9][0-9]{0,2}", name)
    )
    columns = rank_columns(header) or {header[column]: column for _, column in levels}
    if not columns:
        columns = dict(zip(header, range(len(header)), strict=True))
        if "" in columns or len(columns) < 2:
            raise InputError(
                f"{path}, line {line}: a taxonomy has a header with two named columns or more, "
                f"coarsest first; this is {shown(','.join(header))}"
            )
    return columns


def _binomial(row: tuple[str, ...], genus: int, species: int) -> tuple[str, ...]:
    """The row with its species spelled out, where it has an epithet only (it does not begin with
    the genus).
    """
    epithet = row[species]
    if not epithet or not row[genus] or epithet.casefold().startswith(f"{row[genus]} ".casefold()):
        return row
    return (*row[:species], f"{row[genus]} {epithet}", *row[species + 1 :])


def _chain(node: _Node | None) -> list[_Node]:
    """A node and those above it, upwards."""
    chain = []
    while node is not None:
        chain.append(node)
        node = node[2]
    return chain


def _with_ancestors(leaves: Iterable[_Node]) -> list[_Node]:
    """All nodes once, each after the one above it."""
    nodes: dict[_Node, None] = {}
    for leaf in leaves:
        missing = []
        node: _Node | None = leaf
        while node is not None and node not in nodes:
            missing.append(node)
            node = node[2]
        nodes.update(dict.fromkeys(reversed(missing)))
    return list(nodes)


def _refuse_two_parents(
    every: Sequence[_Node],
    leaves: Mapping[tuple[str, ...], _Node],
    rows: Mapping[tuple[str, ...], int],
    ranks: Sequence[str],
    where: Callable[[int], str],
) -> None:
    """InputError for a name of the finest rank under two parents, and for one that is below another
    of its parents for want of a rank.
    """
    known: dict[tuple[int, str], _Node] = {}
    for node in every:
        other = known.setdefault(node[:2], node)
        if other is node:
            continue
        finest = node[0] == len(ranks) - 1
        skipped = node[2] in _chain(other[2]) or other[2] in _chain(node[2])
        if finest or skipped or node[2] is None or other[2] is None:
            first, second = _first_row(other, leaves, rows), _first_row(node, leaves, rows)
            one = shown(other[2][1]) if other[2] else "nothing"
            two = shown(node[2][1]) if node[2] else "nothing"
            rule = (
                "write which it is into the name, or mend the row"
                if finest
                else "a rank between them is blank in one of the two: fill it in"
            )
            name = f"the {ranks[node[0]]} {shown(node[1])}"
            raise InputError(
                f"{where(max(first, second))}: {name} is under {two}, but in "
                f"{where(min(first, second))} under {one}; {rule}"
            )


def _first_row(
    node: _Node, leaves: Mapping[tuple[str, ...], _Node], rows: Mapping[tuple[str, ...], int]
) -> int:
    """The place of the first row in which a node is."""
    return min(rows[row] for row, leaf in leaves.items() if node in _chain(leaf))


def _ids(
    every: Sequence[_Node], ranks: Sequence[str], groups: Sequence[str], group_rank: str
) -> tuple[dict[_Node, str], dict[str, str]]:
    """Node ids, by the rules at the head of this file, of the nodes and of the groups beside
    them.
    """
    parents: dict[tuple[int, str], int] = defaultdict(int)
    at_ranks: dict[str, set[str]] = defaultdict(set)
    for rank, name, _ in every:
        parents[rank, name] += 1
        at_ranks[name].add(ranks[rank])
    for group in groups:
        at_ranks[group].add(group_rank)
    ids: dict[_Node, str] = {}
    for node in every:
        rank, name, above = node
        unique = len(at_ranks[name]) == 1 or rank == len(ranks) - 1
        ids[node] = name if unique else f"{ranks[rank]}:{name}"
        if parents[rank, name] > 1 and above is not None:
            ids[node] = f"{ids[above]}/{ids[node]}"
    return ids, {
        group: group if len(at_ranks[group]) == 1 else f"{group_rank}:{group}" for group in groups
    }
