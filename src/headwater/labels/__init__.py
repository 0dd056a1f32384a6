"""What the images are called: label views, which are pure functions of a table and a seed and never
touch an image.

A view is named by a short text (views.py lists the forms) or defined in a study. A new kind of view
is one new file in `kinds`. The labels of a view are over the images that it is given: its classes
are those that occur among them, sorted by name. Splits of one task that must share a class index
are given together and cut apart afterwards. Clusters need features of the images, which only a
trained encoder or a file has: `partition` says all that is known of them before, `cluster_targets`
makes them.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.labels.captions import caption_lists, choose, parse_captions
from headwater.labels.kinds import Request
from headwater.labels.partitions import Partition, partition
from headwater.labels.targets import LabelSets, Targets, distinct_sets, targets_of_sets
from headwater.labels.views import View, distinct_views, parse_view, resolve_view
from headwater.registry import LABEL_VIEWS
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
    kind = LABEL_VIEWS.named(view.kind, where=where)
    request = Request(
        view, table, positions, seed if view.seed is None else view.seed, where, hashes
    )
    targets: Targets = kind.labels(request)
    if view.merge or view.subset:
        from headwater.labels.selection import selected

        targets = selected(targets, view, where)
    if view.noise is not None:
        from headwater.labels.noise import noisy

        targets = noisy(targets, request)
    return replace(targets, view=view.name, codes=targets.codes.astype(np.int32, copy=False))


def cluster_targets(
    view: View, parts: Partition, features: NDArray[np.float32], seed: int, where: str
) -> tuple[Targets, float]:
    """(targets, within-cluster sum of squares) of a view that needs features.

    `features` is float32 [num_images, d], rows in the order of the partition's images (sorted by
    id). `seed` is the arm's, for a view without a seed of its own. Raises InputError for a view
    whose labels need no features.
    """
    kind = LABEL_VIEWS.named(view.kind, where=where)
    if kind.from_features is None:
        raise InputError(f"{where}: {view.name!r} is not made from features")
    seed = seed if view.seed is None else view.seed
    targets: tuple[Targets, float] = kind.from_features(view, parts, features, seed, where)
    return targets


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
