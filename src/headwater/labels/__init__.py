"""What the images are called: label views, which are pure functions of a table and a seed and never
touch an image.

A view is named by a short text (views.py lists the forms) or defined in a study. The labels of a
view are over the images that it is given: classes are those that occur among them, sorted by name.
Splits of one task that must share a class index are given together and cut apart afterwards.
Clusters need features of the images, which only a trained encoder or a file has: `partition` says
all that is known of them before, `cluster_targets` makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.keys import sample_hashes
from headwater.labels.captions import caption_lists, choose, parse_captions
from headwater.labels.columns import class_targets
from headwater.labels.partitions import (
    instance_targets,
    merged,
    random_targets,
    random_within,
    shares,
    shuffled_classes,
    subset,
)
from headwater.labels.targets import LabelSets, Targets, distinct_sets, targets_of_sets
from headwater.labels.views import View, distinct_views, parse_view, resolve_view
from headwater.sources import Positions, Table

__all__ = [
    "LabelSets",
    "Partition",
    "Targets",
    "View",
    "caption_lists",
    "choose",
    "classes_of",
    "cluster_targets",
    "distinct_views",
    "label_view",
    "nesting",
    "parse_captions",
    "parse_view",
    "partition",
    "resolve_view",
    "targets_of_sets",
]


def label_view(
    view: str | View,
    table: Table,
    positions: Positions,
    seed: int,
    where: str,
    *,
    hashes: Callable[[], NDArray[np.int64]] | None = None,
) -> Targets:
    """The labels of the images at `positions` (int64 [num_images]) under a view.

    `seed` is the arm's; it matters for views that draw and have no seed of their own. `where` names
    the source in messages. A view that leaves images out says which ones it kept in `Targets.rows`.
    `hashes` gives the table's (`Source.hashes`, int64 [len(table)]) and is asked only by views that
    draw: hashing ten million ids anew takes seconds. Raises InputError for an unknown view, for a
    table that cannot give it, and for clusters, which need features.
    """
    view = view if isinstance(view, View) else parse_view(view)
    seed = seed if view.seed is None else view.seed
    own = _NO_HASHES
    if view.kind == "random" or view.noise is not None:
        own = (
            sample_hashes(table.ids[positions].tolist()) if hashes is None else hashes()[positions]
        )
    targets = _classes(view, table, positions, own, seed, where)
    if view.merge or view.subset:
        targets = _selected(targets, view, where)
    if view.noise is not None:
        targets = _noisy(targets, view, table, positions, own, seed, where)
    return replace(targets, view=view.name, codes=targets.codes.astype(np.int32, copy=False))


_NO_HASHES = np.empty(0, dtype=np.int64)


def _classes(
    view: View, table: Table, positions: Positions, hashes: NDArray[np.int64], seed: int, where: str
) -> Targets:
    if view.kind in ("level", "depth", "rank"):
        return class_targets(table, positions, view, where)
    if view.kind == "instance":
        return Targets(*instance_targets(table, positions), view.name)
    if view.clustered:
        raise InputError(
            f"{where}: {view.name!r} needs features of the images, so it is known only when the "
            "arm that they come from is trained"
        )
    if view.kind == "shuffle":
        finest = class_targets(table, positions, parse_view("level:0"), where)
        count = _count(view, table, positions, where)
        groups = shuffled_classes(finest.num_classes, finest.names, count, seed, where)
        return Targets(groups[finest.indices], numbered("shuffle", count), view.name)
    if view.within is None:
        return Targets(
            *random_targets(hashes, _count(view, table, positions, where), seed, where), view.name
        )
    parts = partition(view, table, positions, where)
    assert parts.groups is not None
    return Targets(random_within(hashes, parts.groups, parts.parts, seed), parts.names, view.name)


@dataclass(frozen=True, eq=False)
class Partition:
    """How many classes a `random` or `cluster` view makes, and of which images."""

    groups: NDArray[np.int64] | None
    """int64 [num_images]: class of the `within` level that each image is in; None where all images
    are split together.
    """
    parts: NDArray[np.int64]
    """int64 [num_groups]: classes made of each group."""
    names: tuple[str, ...]
    """Names of the classes, group after group."""


def partition(view: View, table: Table, positions: Positions, where: str) -> Partition:
    """What is known of a `random` or `cluster` view without features: groups, class counts and
    names.

    K classes within a level are shared out in proportion to the sizes of its classes; with `like`,
    each class is split into as many as that level has in it. Raises InputError where the count does
    not fit the images, or the levels do not nest.
    """
    word = view.kind
    if view.within is None:
        count = _count(view, table, positions, where)
        if count > len(positions):
            raise InputError(
                f"{where}: {view.name} asks for more classes than there are images "
                f"({len(positions)})"
            )
        return Partition(None, np.array([count], dtype=np.int64), numbered(word, count))
    within = _single(class_targets(table, positions, view.within, where), where)
    if view.like is None:
        parts = shares(within.counts, view.number, f"{where}: {view.name}")
    else:
        like = _single(class_targets(table, positions, view.like, where), where)
        parts = np.bincount(
            _parents(like.indices, within.indices, view, where), minlength=within.num_classes
        )
    names = tuple(
        f"{group}/{name}"
        for group, count in zip(within.names, parts.tolist(), strict=True)
        for name in numbered(word, count)
    )
    return Partition(within.indices, parts, names)


def cluster_targets(
    view: View, parts: Partition, features: NDArray[np.float32], seed: int, where: str
) -> tuple[Targets, float]:
    """(targets, within-cluster sum of squares) of features float32 [num_images, d], rows in the
    order of the partition's images (sorted by id).
    """
    from headwater.labels.clusters import cluster

    own = seed if view.seed is None else view.seed
    found = cluster(
        features,
        parts.groups,
        parts.parts,
        seed=own,
        algorithm=view.algorithm,
        balanced=view.balanced,
        where=where,
    )
    return Targets(found.codes, parts.names, view.name), found.inertia


def numbered(word: str, count: int) -> tuple[str, ...]:
    """`word 0` ... with as many digits as the last one needs, so that they sort."""
    width = len(str(count - 1))
    return tuple(f"{word} {at:0{width}d}" for at in range(count))


def _count(view: View, table: Table, positions: Positions, where: str) -> int:
    return (
        view.number
        if view.like is None
        else class_targets(table, positions, view.like, where).num_classes
    )


def _single(targets: Targets, where: str) -> Targets:
    if not targets.single:
        share = f"{targets.multi_label_share:.1%}"
        raise InputError(
            f"{where}: at {targets.view} {share} of the images have several labels, so it does not "
            "divide them; choose a level that does"
        )
    return targets


def _parents(
    fine: NDArray[np.int64], coarse: NDArray[np.int64], view: View, where: str
) -> NDArray[np.int64]:
    """int64 [classes of fine]: the class of `coarse` that each lies in.

    Raises InputError where one lies in several.
    """
    parents = np.zeros(int(fine.max()) + 1, dtype=np.int64)
    parents[fine] = coarse
    if not np.array_equal(parents[fine], coarse):
        raise InputError(f"{where}: {view.name}: the one level does not lie within the other")
    return parents


def _selected(targets: Targets, view: View, where: str) -> Targets:
    """`merge` or `subset` of a view's classes."""
    targets = _single(targets, where)
    if view.merge:
        new, names = merged(targets.names, dict(view.merge), view.rest, where)
    else:
        new, names = (
            subset(targets.names, view.subset, where),
            tuple(name for name in targets.names if name in view.subset),
        )
    codes = new[targets.indices]
    kept = np.flatnonzero(codes >= 0)
    return Targets(codes[kept], names, view.name, rows=None if len(kept) == len(codes) else kept)


def _noisy(
    targets: Targets,
    view: View,
    table: Table,
    positions: Positions,
    hashes: NDArray[np.int64],
    seed: int,
    where: str,
) -> Targets:
    """Noise over the view's classes; where images have several labels, every distinct set of labels
    is a class.
    """
    from headwater.labels import noise

    words = view.noise
    assert words is not None
    kept = positions if targets.rows is None else positions[targets.rows]
    sets = None if targets.sets is None else distinct_sets(targets.sets, targets.codes)[0]
    codes = classes_of(targets)
    num_classes = targets.num_classes if sets is None else len(sets)
    hashes = hashes if targets.rows is None else hashes[targets.rows]
    if words.rate and num_classes < 2:
        raise InputError(f"{where}: {view.name}: there is only one class, so no label can be wrong")
    if words.kind == "symmetric":
        changed = noise.symmetric(codes, num_classes, words.rate, hashes, seed)
    else:
        if words.within is not None:
            parents = _single(class_targets(table, kept, words.within, where), where)
            transition: noise.Transition = noise.sibling_transition(
                _parents(codes, parents.indices, view, where)
            )
        else:
            assert words.matrix is not None
            if sets is not None:
                raise InputError(
                    f"{where}: a confusion matrix is over classes, and here images have several"
                )
            transition = noise.read_matrix(words.matrix, targets.names, where)
        changed = noise.confusion(codes, transition, words.rate, hashes, seed)
    return replace(targets, codes=changed, sets=sets, noise=noise.realised(codes, changed))


def nesting(a: NDArray[np.int64], b: NDArray[np.int64]) -> float:
    """How far `a` determines `b` (int64 [num_images] each): the share of images whose class of `b`
    is the most frequent one in their class of `a`.

    1.0 where each class of `a` lies within one class of `b` (b coarsens a, or equals it).
    """
    pairs, counts = np.unique(np.stack([a, b], axis=1), axis=0, return_counts=True)
    most = np.zeros(int(a.max()) + 1, dtype=np.int64)
    np.maximum.at(most, pairs[:, 0], counts)
    return float(most.sum() / len(a))


def classes_of(targets: Targets) -> NDArray[np.int64]:
    """int64 [num_images]: one number for each image's label, or set of labels."""
    return (
        targets.indices
        if targets.sets is None
        else distinct_sets(targets.sets, targets.codes)[1].astype(np.int64)
    )
