"""Arithmetic on sets of node indices, all on index arrays.

A set per class is a `LabelSets`. While sets are worked on, a member of a set is one number,
set * num_nodes + node, so that joining sets is sorting numbers.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.labels.targets import LabelSets
from headwater.sources.positions import ascending

Indices = NDArray[np.int32] | NDArray[np.int64]


def parents_from_pairs(parents: Indices, children: Indices, num_nodes: int) -> LabelSets:
    """The parents of each node from pairs of indices; a pair that comes twice counts once."""
    return sets_from_keys(children.astype(np.int64) * num_nodes + parents, num_nodes, num_nodes)


def singles(nodes: Indices) -> LabelSets:
    """A set of its own for each of `nodes` (ints [num_nodes])."""
    return LabelSets(np.arange(len(nodes) + 1, dtype=np.int64), nodes.astype(np.int32))


def owners(sets: LabelSets) -> NDArray[np.int64]:
    """int64 [total]: the set of each label."""
    return np.repeat(np.arange(len(sets), dtype=np.int64), sets.sizes)


def spread(sets: LabelSets, rows: Indices) -> tuple[NDArray[np.int32], NDArray[np.int64]]:
    """(labels of the sets at `rows` one after another, sizes of these sets); a set may be empty."""
    sizes = sets.sizes[rows]
    ends = np.cumsum(sizes)
    within = np.arange(ends[-1] if len(ends) else 0) + np.repeat(
        sets.starts[rows] - ends + sizes, sizes
    )
    return sets.labels[within], sizes


def sets_from_keys(keys: NDArray[np.int64], num_sets: int, num_nodes: int) -> LabelSets:
    """Sets from set * num_nodes + label (int64 [any], any order, doubles counted once)."""
    keys = ascending(keys)
    starts = np.searchsorted(keys, np.arange(num_sets + 1, dtype=np.int64) * num_nodes)
    return LabelSets(starts.astype(np.int64), (keys % num_nodes).astype(np.int32))


def cycle_from(node: int, parents: LabelSets, looping: Indices) -> list[int]:
    """A cycle on or above `node`, from parent to child, its first node there again at its end.

    `looping` (ints [any]) are the nodes on and below cycles; each has a parent that is one too.
    """
    members = set(looping.tolist())
    path: list[int] = []
    place: dict[int, int] = {}
    while node not in place:
        place[node] = len(path)
        path.append(node)
        node = next(parent for parent in parents[node].tolist() if parent in members)
    return [*path[place[node] :], node][::-1]
