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
    words = [name.casefold().replace(" ", "_") for name in header]
    found: dict[str, int] = {}
    for at, word in enumerate(words):
        rank = _WORDS.get(word)
        if rank is not None and not (
            word == rank and any(other != word and _WORDS.get(other) == rank for other in words)
        ):
            found.setdefault(rank, at)
    return {rank: found[rank] for rank in LINNAEAN if rank in found} if len(found) > 1 else {}


def read_taxonomy(path: Path, chosen: Sequence[str] = ()) -> Hierarchy:
    """The tree of a table with rank columns; `chosen` names them, coarsest first.

    Rows that are there twice count once.

    Raises InputError, with the line, for a header without such columns, a row with another number
    of cells or no name at all, and a class of the finest rank under two parents.
    """
    rows = read_cells(path, separator_of(read_head(path).lstrip()) or ",")
    line, header = next(rows)
    ranks = _columns(path, line, header, chosen)
    common = next(
        (
            at
            for at, name in enumerate(header)
            if name.casefold().replace(" ", "_") == "common_name"
        ),
        None,
    )
    lines: dict[tuple[str, ...], int] = {}
    titles: dict[tuple[str, ...], str] = {}
    for number, cells in rows:
        if len(cells) != len(header):
            raise InputError(
                f"{path}, line {number}: the row has {len(cells)} cells, the header has "
                f"{len(header)}; quote names that hold commas"
            )
        own = tuple(cells[at] for at in ranks.values())
        if own not in lines:
            if not any(own):
                raise InputError(
                    f"{path}, line {number}: no class is named in the columns {', '.join(ranks)}"
                )
            lines[own] = number
            if common is not None and cells[common]:
                titles[own] = cells[common]
    if not lines:
        raise InputError(f"{path}: there is a header but no row; list at least one class")
    species, genus = (
        list(ranks).index(rank) if rank in ranks else None for rank in ("species", "genus")
    )
    if species is not None and genus is not None:
        lines = {_binomial(own, genus, species): number for own, number in lines.items()}
        titles = {_binomial(own, genus, species): title for own, title in titles.items()}
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
    every = _with_ancestors(leaves.values())
    _refuse_two_parents(every, leaves, rows, ranks, lambda at: f"{path}, {place.format(at)}")
    groups = sorted({beside[row[-1]] for row in rows}) if beside else []
    ids, group_ids = _ids(every, ranks, groups, beside_rank)
    edges = [(ids[node[2]], own) for node, own in ids.items() if node[2] is not None]
    aside: list[tuple[str, str]] = []
    if beside:
        held: dict[_Node, set[str]] = defaultdict(set)
        tops: dict[str, set[_Node]] = defaultdict(set)
        for row, leaf in leaves.items():
            for node in _chain(leaf):
                held[node].add(beside[row[-1]])
            tops[beside[row[-1]]].add(_chain(leaf)[-1])
        aside = [
            (group_ids[next(iter(own))], ids[node])
            for node, own in held.items()
            if len(own) == 1 and node[2] is not None
        ]
        edges += [
            (ids[next(iter(own))], group_ids[group]) for group, own in tops.items() if len(own) == 1
        ]
    rank_of = {own: ranks[node[0]] for node, own in ids.items()} | dict.fromkeys(
        group_ids.values(), beside_rank
    )
    own_titles = {ids[leaves[row]]: title for row, title in titles.items()}
    made = Hierarchy.from_edges(
        edges,
        nodes=rank_of,
        where=str(path),
        titles=own_titles,
        ranks=rank_of,
        beside=aside,
        aliases=aliases,
    )
    if len(made) != len(ids) + len(group_ids):
        raise InputError(
            f"{path}: two classes come out under one name; a name holds '/' or ':' so that it "
            "equals another's path"
        )
    return made


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
        (int(name[5:]), at)
        for at, name in enumerate(header)
        if re.fullmatch(r"level[1-9][0-9]{0,2}", name)
    )
    found = rank_columns(header) or {header[at]: at for _, at in levels}
    if not found:
        found = dict(zip(header, range(len(header)), strict=True))
        if "" in found or len(found) < 2:
            raise InputError(
                f"{path}, line {line}: a taxonomy has a header with two named columns or more, "
                f"coarsest first; this is {shown(','.join(header))}"
            )
    return found


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
    found = []
    while node is not None:
        found.append(node)
        node = node[2]
    return found


def _with_ancestors(leaves: Iterable[_Node]) -> list[_Node]:
    """All nodes once, each after the one above it."""
    found: dict[_Node, None] = {}
    for leaf in leaves:
        missing = []
        node: _Node | None = leaf
        while node is not None and node not in found:
            missing.append(node)
            node = node[2]
        found.update(dict.fromkeys(reversed(missing)))
    return list(found)


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
            first, second = (
                min(rows[row] for row, leaf in leaves.items() if at in _chain(leaf))
                for at in (other, node)
            )
            one, two = (shown(at[2][1]) if at[2] else "nothing" for at in (other, node))
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
        own = (
            name if len(at_ranks[name]) == 1 or rank == len(ranks) - 1 else f"{ranks[rank]}:{name}"
        )
        ids[node] = f"{ids[above]}/{own}" if parents[rank, name] > 1 and above is not None else own
    return ids, {
        group: group if len(at_ranks[group]) == 1 else f"{group_rank}:{group}" for group in groups
    }
