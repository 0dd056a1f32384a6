"""Classes that owe nothing to the levels of a table: one per image, drawn at random, or whole
classes shuffled, merged or left out.

The functions after the first two know no table: they take numbers and names of classes and give
numbers of new classes.
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.keys import key, permutation, sample_hashes
from headwater.sources import Positions, Table


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
    width = len(str(num_classes - 1))
    return indices, tuple(f"random {at:0{width}d}" for at in range(num_classes))


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
        own = quotas // images
        own[np.argsort(-remainders, kind="stable")[: parts - int(own.sum())]] += 1
        out[large] = own
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


def merged(
    names: Sequence[str],
    merge: Mapping[str, Sequence[str]],
    rest: Literal["keep", "drop", "error"],
    where: str,
) -> tuple[NDArray[np.int64], tuple[str, ...]]:
    """(new index of each class, int64 [num_classes], -1 = dropped; new names, sorted): the classes
    listed under a new name become one.

    Classes that `merge` does not list keep their names, are dropped, or are an error, as `rest`
    says. Raises InputError for an unknown class, a class that is listed twice, a new name without
    classes or equal to an unlisted class's name, and where no class is left.
    """
    target: dict[str, str] = {}
    for new, olds in merge.items():
        if not olds:
            raise InputError(f"{where}: {new!r} lists no class")
        for old in olds:
            if old in target:
                raise InputError(
                    f"{where}: the class {old!r} is listed under {target[old]!r} and under "
                    f"{new!r}; list it once"
                )
            target[old] = new
    require_classes(target, names, where)
    unlisted = [name for name in names if name not in target]
    for name in unlisted:
        if name in merge:
            raise InputError(
                f"{where}: {name!r} is the name of a class that is not merged; list it under "
                f"{name!r} too, or choose another name"
            )
    if rest == "error" and unlisted:
        raise InputError(
            f"{where}: {len(unlisted)} of {len(names)} classes are not listed, the first is "
            f"{unlisted[0]!r}; list them, or say keep or drop"
        )
    kept = tuple(sorted({*merge, *(unlisted if rest == "keep" else ())}))
    if not kept:
        raise InputError(f"{where}: no class is left")
    index = {name: at for at, name in enumerate(kept)}
    return np.array([index.get(target.get(name, name), -1) for name in names], dtype=np.int64), kept


def subset(names: Sequence[str], wanted: Sequence[str], where: str) -> NDArray[np.int64]:
    """int64 [num_classes]: the new index of each class, -1 where it is not wanted.

    The wanted ones keep the order that they have in `names`.

    Raises InputError for an unknown class, one that is listed twice, and an empty list.
    """
    if not wanted:
        raise InputError(f"{where}: the list of classes is empty")
    chosen: set[str] = set()
    for name in wanted:
        if name in chosen:
            raise InputError(f"{where}: the class {name!r} is listed twice")
        chosen.add(name)
    require_classes(wanted, names, where)
    keep = np.array([name in chosen for name in names])
    return np.where(keep, np.cumsum(keep) - 1, -1).astype(np.int64)


def require_classes(
    given: Mapping[str, object] | Sequence[str], names: Sequence[str], where: str
) -> None:
    """Raises InputError, with the nearest name there is, for the first of `given` that is none of
    `names`.
    """
    known = set(names)
    for name in given:
        if name not in known:
            near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = (
                f"; did you mean {near[0]!r}?"
                if near
                else f"; there are {len(names)} classes, from {names[0]!r} to {names[-1]!r}"
            )
            raise InputError(f"{where}: there is no class {name!r}{hint}")
