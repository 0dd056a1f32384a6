"""A hierarchy of classes, a directed acyclic graph, and the label views that it gives: `level:k`,
`depth:d` and `rank:NAME`.

A class may have several parents, so a view gives every class a SET of nodes. All the work is on
index arrays: 82,115 nouns of WordNet and 21,843 classes take some tens of milliseconds.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from itertools import chain

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.labels.class_names import clipped, nearest, shown
from headwater.labels.set_arrays import (
    Indices,
    cycle_from,
    owners,
    parents_from_pairs,
    sets_from_keys,
    singles,
    spread,
)
from headwater.labels.targets import Codes, LabelSets, Targets, targets_of_sets
from headwater.sources.positions import ascending

FORMS = (
    "level:k (k steps up), depth:d (the cut d steps below the roots), rank:NAME (the ancestors of "
    "that rank)"
)
STRAYS = 0.01
"""Share of the classes that a list of relations may leave out; they have none, and are roots
[ours]. Of ImageNet-21k's it is 4 in 21,843.
"""


@dataclass(frozen=True)
class LevelCount:
    """What a view makes of some classes, as numbers."""

    view: str
    classes: int
    labels: int
    """Different labels over all classes."""
    several: int
    """Classes with more than one label."""
    most: int
    """The most labels that one class has."""
    orphans: tuple[str, ...]
    """Nodes of the classes that have no parent: they are their own label at every level."""


@dataclass(frozen=True, eq=False, repr=False)
class Hierarchy:
    """Classes and their parents.

    Make one with `from_edges` or `from_indices`, which check it, or with
    `hierarchies.open_hierarchy`.
    """

    names: tuple[str, ...]
    """Node ids, each there once."""
    parents: LabelSets
    """The parents of each node, as node indices; nodes without parents (several are allowed) have
    an empty set.
    """
    titles: Mapping[str, str] = field(default_factory=dict)
    """Readable names by node id, where there are any."""
    ranks: tuple[str, ...] | None = None
    """The rank of each node ("" for none), where nodes have ranks."""
    beside: LabelSets | None = None
    """Further parents of each node that rank views follow and levels and depths do not: for a rank
    that does not nest between two others.
    """
    aliases: Mapping[str, int] = field(default_factory=dict)
    """Other words under which `index_of` finds a node."""
    relations_only: bool = False
    """Whether it was read from a list of relations, which cannot say that there is a class without
    any (`covering`).
    """

    def __len__(self) -> int:
        return len(self.names)

    def __repr__(self) -> str:
        return f"<Hierarchy of {len(self)} classes, {len(self.parents.labels)} relations>"

    @classmethod
    def from_edges(
        cls,
        edges: Iterable[tuple[str, str]],
        *,
        where: str,
        nodes: Iterable[str] = (),
        titles: Mapping[str, str] | None = None,
        ranks: Mapping[str, str] | None = None,
        beside: Iterable[tuple[str, str]] = (),
        aliases: Mapping[str, str] | None = None,
    ) -> Hierarchy:
        """The hierarchy of (parent, child) pairs of node ids; node indices follow the sorted ids,
        so the order of the pairs does not matter.

        A pair that comes twice counts once. `nodes` may name classes without any relation; several
        roots are allowed, and a node without parents stays where it is at every level. `titles` and
        `ranks` are by node id, `aliases` from another word to a node id, `beside` (node above,
        node) as in the field. Raises InputError for no node at all, an empty id, a class that is
        its own parent, and a cycle.
        """
        pairs, further = list(edges), list(beside)
        names = sorted({*chain.from_iterable(pairs), *chain.from_iterable(further), *nodes})
        if names and not names[0]:
            raise InputError(f"{where}: a class has an empty name")
        index = {name: at for at, name in enumerate(names)}

        def indexed(some: Sequence[tuple[str, str]]) -> NDArray[np.int64]:
            return np.fromiter(
                (index[name] for name in chain.from_iterable(some)), np.int64, 2 * len(some)
            ).reshape(-1, 2)

        above, aside = indexed(pairs), indexed(further)
        return cls.from_indices(
            names,
            above[:, 0],
            above[:, 1],
            where=where,
            titles=titles,
            ranks=None if ranks is None else tuple(ranks.get(name, "") for name in names),
            beside=parents_from_pairs(aside[:, 0], aside[:, 1], len(names)) if further else None,
            aliases={word: index[name] for word, name in (aliases or {}).items() if name in index},
        )

    @classmethod
    def from_indices(
        cls,
        names: Sequence[str],
        parents: Indices,
        children: Indices,
        *,
        where: str,
        titles: Mapping[str, str] | None = None,
        ranks: tuple[str, ...] | None = None,
        beside: LabelSets | None = None,
        aliases: Mapping[str, int] | None = None,
    ) -> Hierarchy:
        """The hierarchy over `names` in which parents[i] is above children[i] (node indices, ints
        [num_edges] each); checks as `from_edges` does.
        """
        if not len(names):
            raise InputError(f"{where}: there is no class in this hierarchy")
        loops = np.flatnonzero(parents == children)
        if len(loops):
            raise InputError(
                f"{where}: the class {shown(names[int(children[loops[0]])])} is its own parent"
            )
        hierarchy = cls(
            tuple(names),
            parents_from_pairs(parents, children, len(names)),
            titles or {},
            ranks,
            beside,
            aliases or {},
        )
        hierarchy._refuse_cycles(where)
        if beside is not None:
            cls(hierarchy.names, hierarchy._above_in_ranks)._refuse_cycles(where)
        return hierarchy

    @cached_property
    def index(self) -> dict[str, int]:
        """Node indices by id."""
        return {name: at for at, name in enumerate(self.names)}

    @cached_property
    def orphans(self) -> NDArray[np.int64]:
        """int64 [number of roots]: nodes without parents."""
        return np.flatnonzero(self.parents.sizes == 0)

    @cached_property
    def children(self) -> LabelSets:
        """The children of each node."""
        below = np.repeat(np.arange(len(self)), self.parents.sizes)
        return parents_from_pairs(below, self.parents.labels, len(self))

    @cached_property
    def leaves(self) -> NDArray[np.int64]:
        """int64 [number of leaves]: nodes without children, and beside no other."""
        childless = self.children.sizes == 0
        if self.beside is not None:
            childless[self.beside.labels] = False
        return np.flatnonzero(childless)

    @cached_property
    def is_tree(self) -> bool:
        """Whether no node has two parents: every class has one label at every level and depth."""
        return bool((self.parents.sizes <= 1).all())

    @cached_property
    def depths(self) -> NDArray[np.int32]:
        """int32 [num_nodes]: the LONGEST path from a root, roots 0, as BREEDS counts
        (robustness.tools.breeds_helpers, "keep longest path"); -1 for nodes on or below a cycle, of
        which a checked hierarchy has none.

        Nodes are taken off the top, a layer at a time; the layer in which a node's last parent went
        is its longest path.
        """
        children, waiting = self.children, self.parents.sizes.copy()
        depths = np.full(len(self), -1, dtype=np.int32)
        layer, depth = self.orphans, 0
        while len(layer):
            depths[layer] = depth
            below = spread(children, layer)[0].astype(np.int64)
            np.subtract.at(waiting, below, 1)
            layer, depth = ascending(below[waiting[below] == 0]), depth + 1
        return depths

    @cached_property
    def rank_names(self) -> tuple[str, ...]:
        """The ranks that there are, coarsest first (by the mean depth of their nodes)."""
        if self.ranks is None:
            return ()
        there = np.array(self.ranks, dtype=object)
        means = {
            rank: float(self.depths[there == rank].mean())
            for rank in sorted(set(self.ranks) - {""})
        }
        return tuple(sorted(means, key=lambda rank: means[rank]))

    def covering(self, classes: Sequence[str]) -> Hierarchy:
        """This hierarchy with a node, without parents, for each class that a list of relations
        leaves out for having none.

        Only for such lists, and while no more than STRAYS of the classes are left out: more are a
        sign of another list of classes, and `index_of` says so. ImageNet's wordnet.is_a.txt lacks
        four classes of ImageNet-21k in this way.
        """
        if not self.relations_only:
            return self
        new = [
            name
            for name in dict.fromkeys(classes)
            if name not in self.index and name not in self.aliases
        ]
        if not 0 < len(new) <= STRAYS * len(classes):
            return self
        starts = np.concatenate([self.parents.starts, np.full(len(new), self.parents.starts[-1])])
        return replace(
            self,
            names=(*self.names, *new),
            parents=LabelSets(starts, self.parents.labels),
            relations_only=False,
        )

    def index_of(self, classes: Sequence[str], where: str) -> NDArray[np.int32]:
        """int32 [num_classes]: the node of each class, by id or, where no node has that id, by
        alias.

        Raises InputError that counts the unknown classes, names the first, and the id or alias
        nearest to it.
        """
        index = self.index
        nodes = np.fromiter((index.get(name, -1) for name in classes), np.int32, len(classes))
        for row in np.flatnonzero(nodes < 0):
            nodes[row] = self.aliases.get(classes[int(row)], -1)
        unknown = np.flatnonzero(nodes < 0)
        if len(unknown):
            first = classes[int(unknown[0])]
            near = nearest(first, chain(self.names, self.aliases))
            hint = f"; the nearest name there is {shown(near)}" if near else ""
            raise InputError(
                f"{where}: {len(unknown)} of {len(classes)} classes are not in the hierarchy, the "
                f"first is {shown(first)}{hint}"
            )
        return nodes

    def _distinct_nodes(self, classes: Sequence[str], where: str) -> NDArray[np.int32]:
        """`index_of`, where each class has a node to itself; InputError that names two that have
        not (one is another word for the other).
        """
        nodes = self.index_of(classes, where)
        order = np.argsort(nodes, kind="stable")
        twice = np.flatnonzero(nodes[order][1:] == nodes[order][:-1])
        if len(twice):
            one, other = (shown(classes[int(order[at])]) for at in (twice[0], twice[0] + 1))
            raise InputError(
                f"{where}: {one} and {other} are the same class of the hierarchy; write it in one "
                "way"
            )
        return nodes

    def level_sets(self, nodes: Indices, k: int) -> LabelSets:
        """The nodes exactly k steps above each of `nodes` (ints [num_classes]), where a node
        without parents stays in its place.

        L0(c) = {c}; L(k+1)(c) = union over x in Lk(c) of (parents(x) if x has any, else {x}): the
        rule that gives the class counts of Hong et al. (arXiv 2303.16887) on WordNet. Node indices,
        ascending in each set.
        """
        sets = singles(nodes)
        for _ in range(k):
            labels, sizes = spread(self._up, sets.labels)
            higher = sets_from_keys(
                np.repeat(owners(sets), sizes) * len(self) + labels, len(sets), len(self)
            )
            if np.array_equal(higher.labels, sets.labels) and np.array_equal(
                higher.starts, sets.starts
            ):
                break  # everything has reached a root
            sets = higher
        return sets

    def depth_sets(self, nodes: Indices, d: int) -> LabelSets:
        """The cut at depth d: of each node's ancestors and itself, those at most d below the roots
        that have no other such one below them.

        Depth is the longest path from a root (`depths`), so in a tree this is the one ancestor at
        depth d, or the node itself where it lies higher. A set may have several nodes, and of
        different depths: a parent whose other line of descent is shorter. Indices ascending.
        """
        every = self._ancestors(nodes, self.parents)
        kept = every[self.depths[every % len(self)] <= d]
        inner = kept[self.parents.sizes[kept % len(self)] > 0]
        labels, sizes = spread(self._up, inner % len(self))
        # An edge suffices, because what is between two nodes is there as well.
        covered = np.repeat(inner // len(self), sizes) * len(self) + labels
        return sets_from_keys(
            np.setdiff1d(kept, ascending(covered), assume_unique=True), len(nodes), len(self)
        )

    def rank_sets(self, nodes: Indices, rank: str, where: str = "hierarchy") -> LabelSets:
        """The ancestors of that rank of each node, itself included. Indices ascending.

        Raises InputError for an unknown rank, with those that there are, and for nodes without an
        ancestor of that rank, with their number.
        """
        if rank not in self.rank_names:
            have = (
                f"the ranks are {', '.join(self.rank_names)}"
                if self.rank_names
                else "its nodes have no ranks; use level:k or depth:d"
            )
            raise InputError(f"{where}: there is no rank {shown(rank)} in this hierarchy; {have}")
        of_rank = np.array(self.ranks, dtype=object) == rank
        every = self._ancestors(nodes, self._above_in_ranks)
        sets = sets_from_keys(every[of_rank[every % len(self)]], len(nodes), len(self))
        without = np.flatnonzero(sets.sizes == 0)
        if len(without):
            first = self.names[int(nodes[without[0]])]
            raise InputError(
                f"{where}: {len(without)} of {len(nodes)} classes have no ancestor of rank {rank}, "
                f"the first is {shown(first)}"
            )
        return sets

    def sets(self, view: str, nodes: Indices, where: str = "hierarchy") -> LabelSets:
        """The labels of each node under `level:k`, `depth:d` or `rank:NAME`.

        Raises InputError for another view, and as `rank_sets` does.
        """
        kind, argument = parse_hierarchy_view(view)
        if kind == "rank":
            return self.rank_sets(nodes, argument, where)
        return (self.level_sets if kind == "level" else self.depth_sets)(nodes, int(argument))

    def targets(
        self, codes: Codes, classes: Sequence[str], view: str, where: str = "hierarchy"
    ) -> Targets:
        """The labels of images: `codes` (int32 or int64 [num_images]) index `classes`.

        Names are node ids; labels on no image are dropped.

        Raises InputError for codes beyond `classes`, for classes that the hierarchy lacks and for a
        view that it cannot give.
        """
        kind, argument = parse_hierarchy_view(view)
        if len(codes) and not (
            np.issubdtype(codes.dtype, np.integer)
            and int(codes.min()) >= 0
            and int(codes.max()) < len(classes)
        ):
            raise InputError(
                f"{where}: class codes are whole numbers from 0 to {len(classes) - 1}, the classes "
                "that are given"
            )
        whole = self.covering(classes)
        sets = whole.sets(view, whole._distinct_nodes(classes, where), where)
        return targets_of_sets(codes, sets, whole.names, f"{kind}:{argument}")

    def counts(self, classes: Sequence[str], view: str, where: str = "hierarchy") -> LevelCount:
        """How many labels a view gives these classes, and who has several."""
        whole = self.covering(classes)
        nodes = whole._distinct_nodes(classes, where)
        sets = whole.sets(view, nodes, where)
        without = np.unique(nodes[whole.parents.sizes[nodes] == 0])
        return LevelCount(
            view,
            len(classes),
            len(np.unique(sets.labels)),
            int((sets.sizes > 1).sum()),
            int(sets.sizes.max(initial=0)),
            tuple(whole.names[at] for at in without),
        )

    def conflict(
        self, classes: Sequence[str], fine: str, coarse: str, where: str = "hierarchy"
    ) -> str | None:
        """None where the view `coarse` coarsens the view `fine` for these classes: who has the same
        fine labels has the same coarse ones.

        Otherwise a sentence with two classes for which it does not, and how many sets of fine
        labels are split.
        """
        whole = self.covering(classes)
        nodes = whole.index_of(classes, where)
        low, high = whole.sets(fine, nodes, where), whole.sets(coarse, nodes, where)
        first: dict[bytes, int] = {}
        split: dict[bytes, tuple[int, int]] = {}
        for row in range(len(nodes)):
            labels = low[row].tobytes()
            other = first.setdefault(labels, row)
            if labels not in split and not np.array_equal(high[row], high[other]):
                split[labels] = (other, row)
        if not split:
            return None
        one, other = next(iter(split.values()))
        shared = whole._listed(low[one])
        return (
            f"{coarse} does not coarsen {fine}: {shown(classes[one])} and "
            f"{shown(classes[other])} are both under {shared} of {fine}, but under "
            f"{whole._listed(high[one])} and {whole._listed(high[other])} of {coarse}; "
            f"{len(split)} of {len(first)} classes of {fine} are split so"
        )

    def _listed(self, nodes: Indices) -> str:
        return shown(", ".join(self.names[node] for node in nodes))

    @cached_property
    def _up(self) -> LabelSets:
        """The parents of each node, or itself where it has none."""
        children = np.concatenate([owners(self.parents), self.orphans])
        return sets_from_keys(
            children * len(self) + np.concatenate([self.parents.labels, self.orphans]),
            len(self),
            len(self),
        )

    @cached_property
    def _above_in_ranks(self) -> LabelSets:
        """The nodes above each node that rank views follow: its parents and those beside."""
        if self.beside is None:
            return self.parents
        children = np.concatenate([owners(self.parents), owners(self.beside)])
        return parents_from_pairs(
            np.concatenate([self.parents.labels, self.beside.labels]), children, len(self)
        )

    def _ancestors(self, nodes: Indices, above: LabelSets) -> NDArray[np.int64]:
        """int64 [total], ascending: place * num_nodes + ancestor, for every ancestor of the node at
        each place and the node itself.
        """
        frontier: NDArray[np.int64] = np.arange(len(nodes), dtype=np.int64) * len(self) + nodes
        reached = [frontier]
        while len(frontier):
            labels, sizes = spread(above, frontier % len(self))
            frontier = ascending(np.repeat(frontier // len(self), sizes) * len(self) + labels)
            reached.append(frontier)
        return ascending(np.concatenate(reached))

    def _refuse_cycles(self, where: str) -> None:
        looping = np.flatnonzero(self.depths < 0)
        if not len(looping):
            return
        cycle = [self.names[node] for node in cycle_from(int(looping[0]), self.parents, looping)]
        shown = " -> ".join(
            clipped(name)
            for name in (cycle if len(cycle) <= 12 else [*cycle[:10], "...", cycle[-1]])
        )
        raise InputError(
            f"{where}: classes are their own ancestors, from parent to child: {shown}; take out "
            "one of these relations"
        )


def parse_hierarchy_view(view: str) -> tuple[str, str]:
    """(kind, argument) of `level:k`, `depth:d` (numbers of at most 9 digits, without leading zeros)
    or `rank:NAME`; InputError for all else.
    """
    match = re.fullmatch(r"\s*(?:(level|depth)\s*:\s*([0-9]{1,9})|rank\s*:\s*(\S.*?))\s*", view)
    if match is None:
        raise InputError(f"{shown(view)} is no view of a hierarchy; the views are {FORMS}")
    return ("rank", match[3]) if match[3] else (match[1], str(int(match[2])))
