"""Classes that owe nothing to the levels of a table: one per image, drawn at random, or whole
classes shuffled.

`partition` says how many classes a view makes, and of which images. The functions after it know
neither table nor view: they take numbers and names of classes and give numbers of new classes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.keys import key, permutation, sample_hashes
from headwater.labels.kinds import Request
from headwater.labels.targets import Targets
from headwater.labels.views import View
from headwater.sources import Positions, Table


@dataclass(frozen=True, eq=False)
class Partition:
    """How many classes a view with a count makes, and of which images."""

    groups: NDArray[np.int64] | None
    """int64 [num_images]: class of the `within` level that each image is in; None where all images
    are split together.
    """
    parts: NDArray[np.int64]
    """int64 [num_groups]: classes made of each group."""
    names: tuple[str, ...]
    """Names of the classes, group after group."""


def partition(view: View, table: Table, positions: Positions, where: str) -> Partition:
    """What is known of a view with a count without features: groups, class counts and names.

    K classes within a level are shared out in proportion to the sizes of its classes; with `like`,
    each class is split into as many as that level has in it. Raises InputError where the count does
    not fit the images, or the levels do not nest.
    """
    request = Request(view, table, positions, 0, where)
    if view.within is None:
        count = request.count()
        if count > len(positions):
            raise InputError(
                f"{where}: {view.name} asks for more classes than there are images "
                f"({len(positions)})"
            )
        return Partition(None, np.array([count], dtype=np.int64), numbered(view.kind, count))
    within = dividing(request.under(view.within), where)
    if view.like is None:
        parts = shares(within.counts, view.number, f"{where}: {view.name}")
    else:
        like = dividing(request.under(view.like), where)
        parents = parents_of(like.indices, within.indices, view, where)
        parts = np.bincount(parents, minlength=within.num_classes)
    names: list[str] = []
    for group, count in zip(within.names, parts.tolist(), strict=True):
        names.extend(f"{group}/{name}" for name in numbered(view.kind, count))
    return Partition(within.indices, parts, tuple(names))


def numbered(word: str, count: int) -> tuple[str, ...]:
    """`word 0` ... with as many digits as the last one needs, so that they sort."""
    width = len(str(count - 1))
    return tuple(f"{word} {number:0{width}d}" for number in range(count))


def dividing(targets: Targets, where: str) -> Targets:
    """The labels themselves, if they divide the images. Raises InputError where images have several
    labels.
    """
    if not targets.single:
        share = f"{targets.multi_label_share:.1%}"
        raise InputError(
            f"{where}: at {targets.view} {share} of the images have several labels, so it does not "
            "divide them; choose a level that does"
        )
    return targets


def parents_of(
    fine: NDArray[np.int64], coarse: NDArray[np.int64], view: View, where: str
) -> NDArray[np.int64]:
    """int64 [classes of fine]: the class of `coarse` that each class of `fine` lies in. Both are
    the images' classes, int64 [num_images].

    Raises InputError where one lies in several.
    """
    parents = np.zeros(int(fine.max()) + 1, dtype=np.int64)
    parents[fine] = coarse
    if not np.array_equal(parents[fine], coarse):
        raise InputError(f"{where}: {view.name}: the one level does not lie within the other")
    return parents


def instance_targets(
    table: Table, positions: Positions
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(indices int64 [num_images], class names): every image is a class of its own, called by its
    id.
    """
    return np.arange(len(positions), dtype=np.int64), tuple(table.ids[positions].tolist())


def random_targets(
    hashes: NDArray[np.int64], num_classes: int, seed: int, where: str
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(indices int64 [num_images], class names): classes whose sizes differ by at most one, drawn
    at random.

    `hashes` are the images' (keys.sample_hashes of their ids, int64 [num_images]). The images are
    put in an order keyed by (seed, their ids) and dealt out like cards, so that the partition is a
    function of the seed and the set of images, in whatever order they come. The number of classes
    does not enter the key: where K divides L, random:K coarsens random:L of the same seed, as a
    level coarsens a finer one, so that a sweep over K varies granularity and nothing else.

    Raises InputError for more classes than images.
    """
    if num_classes > len(hashes):
        raise InputError(
            f"{where}: random:{num_classes} asks for more classes than there are images "
            f"({len(hashes)})"
        )
    order = permutation(key(seed, "labels/random"), hashes)
    indices = np.empty(len(hashes), dtype=np.int64)
    indices[order] = np.arange(len(hashes), dtype=np.int64) % num_classes
    return indices, numbered("random", num_classes)


def shares(sizes: NDArray[np.int64], total: int, where: str) -> NDArray[np.int64]:
    """int64 [num_groups]: how many of `total` parts each group gets, where group i has `sizes[i]`
    >= 1 images (int64 [num_groups]).

    Proportional to size, with at least one part a group [ours]: the group's quota is max(1, scale x
    size), with the one scale at which quotas add up to `total`; parts left over by rounding down go
    to the largest remainders, and among equal ones to the earlier group (Hamilton's method). No
    group gets more parts than images, because the scale is at most 1. All in integers, so there is
    no rounding that a machine could decide.

    Raises InputError for fewer parts than groups or more than images.
    """
    images = int(sizes.sum())
    if not len(sizes) <= total <= images:
        what = (
            f"fewer than one for each of {len(sizes)} groups"
            if total < len(sizes)
            else f"more than there are images ({images})"
        )
        raise InputError(f"{where}: {total} parts are {what}; ask for {len(sizes)} to {images}")
    out = np.ones(len(sizes), dtype=np.int64)
    large = np.ones(len(sizes), dtype=np.bool_)
    parts = total
    while True:  # a group whose quota is below one takes one, which lowers the quotas of the others
        small = large & (sizes * parts < images)
        if not small.any():
            break
        large &= ~small
        parts -= int(small.sum())
        images -= int(sizes[small].sum())
    if images:
        quotas = sizes[large] * parts
        remainders = quotas % images
        whole = quotas // images
        whole[np.argsort(-remainders, kind="stable")[: parts - int(whole.sum())]] += 1
        out[large] = whole
    return out


def random_within(
    hashes: NDArray[np.int64], groups: NDArray[np.int64], parts: NDArray[np.int64], seed: int
) -> NDArray[np.int64]:
    """int64 [num_images]: a random part of its group for each image; parts are numbered group after
    group, 0 to sum(parts) - 1.

    `hashes` are the images' (int64 [num_images], keys.sample_hashes), `groups` their groups (int64
    [num_images], 0 to num_groups - 1, each of which occurs), `parts` how many parts each group has
    (int64 [num_groups], from 1 to the group's size).

    In each group the images are put in an order keyed by (seed, hash) and dealt out like cards, as
    `random_targets` does with all of them: sizes within a group differ by at most one, and an
    image's part of its group depends on the seed and that group's images alone.
    """
    order = permutation(key(seed, "labels/random"), hashes)
    order = order[np.argsort(groups[order], kind="stable")]
    sizes = np.bincount(groups, minlength=len(parts))
    ranks = np.arange(len(groups), dtype=np.int64) - np.repeat(np.cumsum(sizes) - sizes, sizes)
    codes = np.empty(len(groups), dtype=np.int64)
    codes[order] = ranks % np.repeat(parts, sizes) + np.repeat(np.cumsum(parts) - parts, sizes)
    return codes


def shuffled_classes(
    num_classes: int, names: Sequence[str], parts: int, seed: int, where: str
) -> NDArray[np.int64]:
    """int64 [num_classes]: the part of each class, where whole classes are regrouped at random into
    `parts` parts.

    The classes are put in an order keyed by (seed, their names) and dealt out like cards: parts
    hold equally many classes, give or take one, and a class's images stay together. As with
    random_targets, fewer parts coarsen more where they divide them.

    Raises InputError for more parts than classes.
    """
    if parts > num_classes:
        raise InputError(
            f"{where}: shuffle:{parts} asks for more parts than there are classes ({num_classes})"
        )
    out = np.empty(num_classes, dtype=np.int64)
    out[permutation(key(seed, "labels/shuffle"), sample_hashes(names))] = (
        np.arange(num_classes, dtype=np.int64) % parts
    )
    return out
