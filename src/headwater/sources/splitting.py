"""Keyed ways to divide images among splits: stratified by class to the image, or by whole groups,
stratified as well as these allow.

All of them are pure functions of class codes and keyed hashes, so the same images are divided alike
on every machine, in whatever order they came.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headwater import keys

Codes = NDArray[np.int64]


def rank_within_class(codes: Codes) -> Codes:
    """int64 [n]: how many samples of the same class stand before each."""
    by_class = np.argsort(codes, kind="stable")
    ordered = codes[by_class]
    starts = np.flatnonzero(np.r_[True, ordered[1:] != ordered[:-1]])
    rank = np.empty(len(codes), dtype=np.int64)
    rank[by_class] = np.arange(len(codes)) - np.repeat(starts, np.diff(np.r_[starts, len(codes)]))
    return rank


def proportional(counts: Codes, total: int) -> Codes:
    """int64 [classes]: `total` shared out in proportion to `counts`, by largest remainder (ties to
    the first class); never more than a class has.
    """
    exact = counts * (total / max(1, int(counts.sum())))
    take = np.floor(exact + 1e-9).astype(np.int64)
    order = np.argsort(-(exact - take), kind="stable")
    take[order[: total - int(take.sum())]] += 1
    shared: Codes = np.minimum(take, counts)
    return shared


def first_of_each(codes: Codes, hashes: Codes, key: int, take: Codes) -> NDArray[np.bool_]:
    """bool [n]: the `take[c]` samples of each class c (int64 [n] in `codes`) that come first in a
    keyed order.
    """
    order = keys.permutation(key, hashes)
    chosen = np.zeros(len(codes), dtype=bool)
    chosen[order] = rank_within_class(codes[order]) < take[codes[order]]
    return chosen


def stratified_parts(codes: Codes, hashes: Codes, key: int, shares: Sequence[float]) -> Codes:
    """int64 [n]: which part each image goes to: 0 is what is left, part i has about `shares[i - 1]`
    of every class.

    A class gives each part its share, rounded, and at least one image where it has one for every
    part; one always stays in part 0.
    """
    counts = np.bincount(codes)
    parts = np.zeros(len(codes), dtype=np.int64)
    order = keys.permutation(key, hashes)
    rank = rank_within_class(codes[order])
    start = np.zeros(len(counts), dtype=np.int64)
    for part, share in enumerate(shares, start=1):
        take = np.where(share > 0, np.maximum(1, np.round(share * counts)), 0).astype(np.int64)
        take = np.minimum(take, np.maximum(0, counts - 1 - start))
        inside = (rank >= start[codes[order]]) & (rank < (start + take)[codes[order]])
        parts[order[inside]] = part
        start += take
    return parts


def grouped_parts(
    codes: Codes, groups: Codes, group_hashes: Codes, key: int, shares: Sequence[float]
) -> Codes:
    """int64 [n]: which part each image goes to, as in `stratified_parts`, no group in two parts.

    `groups` int64 [n] numbers each image's group, `group_hashes` int64 [num_groups] keys it. Groups
    are taken from large to small (by powers of two, in a keyed order among these), each for the
    part in which its classes and the images as a whole are fullest after it by the least: chi
    squared against the wanted counts [ours]. Then a part that got nothing takes the smallest group
    that part 0 can spare, and a class that part 0 lacks gets its largest group back. A part stays
    empty only where there is no such group.
    """
    num_groups = len(group_hashes)
    pairs, sizes = np.unique(np.stack([groups, codes]), axis=1, return_counts=True)
    ends = np.searchsorted(pairs[0], np.arange(num_groups + 1))
    of_group = np.bincount(groups, minlength=num_groups)
    totals = np.bincount(codes)
    wanted = np.array([1 - sum(shares), *shares])
    open_parts = [part for part in range(len(wanted)) if wanted[part] > 0]
    have = np.zeros((len(wanted), len(totals)), dtype=np.int64)
    filled = np.zeros(len(wanted), dtype=np.int64)
    part_of = np.zeros(num_groups, dtype=np.int64)
    order = keys.permutation(key, group_hashes)
    order = order[np.argsort(-np.floor(np.log2(of_group[order])), kind="stable")]

    def put(group: int, part: int, sign: int = 1) -> None:
        rows = slice(ends[group], ends[group + 1])
        have[part, pairs[1, rows]] += sign * sizes[rows]
        filled[part] += sign * of_group[group]

    for group in order.tolist():
        rows = slice(ends[group], ends[group + 1])
        classes, n = pairs[1, rows], sizes[rows]
        cost = []
        for part in open_parts:
            own = n * (2 * have[part, classes] + n) / (wanted[part] * totals[classes])
            whole = (
                of_group[group] * (2 * filled[part] + of_group[group]) / (wanted[part] * len(codes))
            )
            cost.append(
                math.fsum((*own.tolist(), float(whole)))
            )  # correctly rounded, so that no machine's order of adding decides
        part_of[group] = open_parts[int(np.argmin(cost))]
        put(group, int(part_of[group]))

    def move(group: int, part: int) -> None:
        put(group, int(part_of[group]), -1)
        put(group, part)
        part_of[group] = part

    def spare(group: int) -> bool:
        rows = slice(ends[group], ends[group + 1])
        return bool((have[0, pairs[1, rows]] > sizes[rows]).all())

    for part in open_parts[1:]:
        if not filled[part]:
            free = [group for group in order[::-1].tolist() if part_of[group] == 0 and spare(group)]
            if free:
                move(min(free, key=lambda group: int(of_group[group])), part)
    for lacking in np.flatnonzero(have[0] == 0).tolist():
        having = np.flatnonzero(pairs[1] == lacking)
        if have[0, lacking] == 0:
            move(int(pairs[0, having[np.argmax(sizes[having])]]), 0)
    parts: Codes = part_of[groups]
    return parts
