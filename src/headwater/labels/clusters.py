"""Classes found in features: k-means or Ward clusters of embeddings, over all images or inside each
class of a level.

A clustering is a pure function of (features in their order, groups, numbers of parts, seed): it
runs on one thread, draws by key, and numbers its parts by their first image, so that the same call
gives the same codes on any number of threads. The order of the rows is part of the input, because
sums of floats depend on it: callers pass rows sorted by sample id.
"""

from __future__ import annotations

import heapq
import math
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.keys import generator, key

WARD_LIMIT = 20_000
"""Images in one group that Ward's method takes: it holds all pairwise distances twice, 3.2 GB of
float64 at this size.
"""

_STEPS = 25
"""Lloyd iterations of k-means (faiss's default)."""
_RESTARTS, _CHEAP = 3, 2**31
"""Times that k-means starts anew where images x clusters x width is at most _CHEAP (seconds), of
which the best is kept; beyond, it runs once.
"""
_SAMPLE = 128
"""Images per cluster that seeding looks at; all images take part in the iterations."""
_SEED_ROUNDS = 256
"""Rounds in which large numbers of seeds are drawn; up to twice as many clusters, one seed is drawn
a round, as in k-means++.
"""
_BALANCED_STEPS = 10
"""Most iterations of balanced k-means."""
_EXACT = 500
"""Images in one group up to which balanced assignments are the best possible ones; beyond, they are
near it.
"""
_PRICE_SAMPLE = 64
"""Images per cluster that the prices of a balanced assignment look at, and never fewer than
_CHUNK.
"""
_FIRST_MOVES, _LATER_MOVES = (
    tuple(0.9**turn for turn in range(30)),
    tuple(0.9**turn for turn in range(15, 23)),
)
"""Steps of the prices, in the first iteration and, from where the last one left them, in the
others. [ours] On four clouds of 400 and 3,000 points, assignments cost 0.5 to 2.2 % more than the
best ones, with 0.7 to 9.7 % without prices.
"""
_CHUNK = 16_384
"""Rows that are summed in float64 at a time."""

Points = NDArray[np.float32]
Codes = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Clustering:
    """Which cluster each image is in."""

    codes: Codes
    """int64 [num_images]: 0 to sum(parts) - 1, group after group, and inside a group in the order
    of each cluster's first image.
    """
    inertia: float
    """Within-cluster sum of squares: squared distances of the L2-normalised features to the mean of
    their cluster, summed over all images.
    """


def cluster(
    features: Points,
    groups: Codes | None,
    parts: Codes,
    *,
    seed: int,
    algorithm: Literal["kmeans", "ward"],
    balanced: bool,
    where: str,
) -> Clustering:
    """Splits each group of images into `parts[group]` clusters, none of which is empty.

    `features` is float32 [num_images, width], sorted by sample id; `groups` the images' groups
    (int64 [num_images], 0 to num_groups - 1, each of which occurs; None: one group of all); `parts`
    how many clusters each group gets (int64 [num_groups], at least 1).

    Features are L2-normalised first, a zero vector stays zero [ours: embeddings of CLIP and SimCLR
    are compared by their cosine].
    - kmeans: greedy k-means++ seeds (Arthur and Vassilvitskii 2007) keyed by (seed, group number),
      then 25 Lloyd iterations of faiss over all images; the best of three such runs, or one run
      where that takes minutes. A cluster that ends empty takes the image farthest from the mean of
      the largest one. `balanced`: sizes in a group differ by at most one.
    - ward: the tree of Ward's method, cut where it has as many clusters as asked for; fewer parts
      coarsen more. It has no randomness.

    Raises InputError for features that are not finite, more parts than images in a group, balanced
    Ward clusters, and a group of more than WARD_LIMIT images for Ward.
    """
    group_of = np.zeros(len(features), dtype=np.int64) if groups is None else groups
    sizes = np.bincount(group_of, minlength=len(parts))
    _check(features, sizes, parts, algorithm, balanced, where)
    codes = np.empty(len(features), dtype=np.int64)
    inertia, first_code, start = 0.0, 0, 0
    order = np.argsort(group_of, kind="stable")
    for group, (size, num_parts) in enumerate(zip(sizes.tolist(), parts.tolist(), strict=True)):
        rows = order[start : start + size]
        points = _normalised(features[rows])
        if num_parts in (1, size):
            members = np.arange(size, dtype=np.int64) % num_parts
        elif algorithm == "ward":
            members = _ward(points, num_parts)
        else:
            with _one_thread() as faiss:
                members = _kmeans(faiss, points, num_parts, seed, group)
                if balanced:
                    random = generator(seed, "labels/cluster", group, "prices")
                    members = _balance(faiss, points, members, num_parts, random)
        codes[rows] = _by_first_member(members) + first_code
        inertia += _inertia(points, members, num_parts)
        first_code, start = first_code + num_parts, start + size
    return Clustering(codes, inertia)


def _check(
    features: Points, sizes: Codes, parts: Codes, algorithm: str, balanced: bool, where: str
) -> None:
    broken = sum(
        int((~np.isfinite(features[at : at + _CHUNK]).all(axis=1)).sum())
        for at in range(0, len(features), _CHUNK)
    )
    if broken:
        raise InputError(
            f"{where}: the features of {broken} of {len(features)} images hold NaN or infinity; "
            "make them anew, or filter these images"
        )
    short = np.flatnonzero(parts > sizes)
    if len(short):
        raise InputError(
            f"{where}: {parts[short[0]]} clusters are more than there are images in their group "
            f"({sizes[short[0]]})"
        )
    if algorithm == "ward" and balanced:
        raise InputError(
            f"{where}: Ward's clusters have the sizes that the tree gives them; use kmeans for "
            "balanced ones"
        )
    if algorithm == "ward" and sizes.max(initial=0) > WARD_LIMIT:
        raise InputError(
            f"{where}: Ward's method takes at most {WARD_LIMIT:,} images a group, and one has "
            f"{sizes.max():,}; "
            "cluster within a finer level, use fewer images, or use kmeans"
        )


def _normalised(points: Points) -> Points:
    """Rows of length one, float32 and contiguous; zero rows stay zero.

    Scaled by the largest entry first, so that no square overflows.
    """
    unit = np.array(points, dtype=np.float32, order="C")
    largest = np.abs(unit).max(axis=1, keepdims=True)
    unit /= np.where(largest > 0, largest, 1)
    lengths = np.sqrt(np.einsum("nd,nd->n", unit, unit))[:, None]
    unit /= np.where(lengths > 0, lengths, 1)
    return unit


def _by_first_member(codes: Codes) -> Codes:
    """The same clusters, numbered in the order in which rows first show them."""
    _, first, dense = np.unique(codes, return_index=True, return_inverse=True)
    rank = np.empty(len(first), dtype=np.int64)
    rank[np.argsort(first)] = np.arange(len(first), dtype=np.int64)
    return rank[dense]


def _means(points: Points, codes: Codes, num_parts: int) -> tuple[NDArray[np.float64], Codes]:
    """(means float64 [num_parts, width], sizes int64 [num_parts]), summed in float64 in the order
    of the rows.
    """
    from scipy.sparse import csr_array

    sums = np.zeros((num_parts, points.shape[1]))
    for at in range(0, len(points), _CHUNK):
        some = codes[at : at + _CHUNK]
        member = csr_array(
            (np.ones(len(some)), (some, np.arange(len(some)))), shape=(num_parts, len(some))
        )
        sums += member @ points[at : at + _CHUNK].astype(np.float64)
    sizes = np.bincount(codes, minlength=num_parts)
    return sums / np.maximum(sizes, 1)[:, None], sizes


def _inertia(points: Points, codes: Codes, num_parts: int) -> float:
    """The sum of |x|^2 less that of size x |mean|^2."""
    means, sizes = _means(points, codes, num_parts)
    squares = sum(
        float(np.square(points[at : at + _CHUNK], dtype=np.float64).sum())
        for at in range(0, len(points), _CHUNK)
    )
    return max(0.0, squares - float((sizes * np.square(means).sum(axis=1)).sum()))


# k-means


@contextmanager
def _one_thread() -> Iterator[Any]:
    """faiss on one thread, so that results do not depend on how many there are; its number of
    threads is put back afterwards.
    """
    with warnings.catch_warnings():
        # Its generated bindings and its use of numpy's internals warn at import.
        warnings.simplefilter("ignore", DeprecationWarning)
        import faiss

    threads = faiss.omp_get_max_threads()
    faiss.omp_set_num_threads(1)
    try:
        yield faiss
    finally:
        faiss.omp_set_num_threads(threads)


def _kmeans(faiss: Any, points: Points, num_parts: int, seed: int, group: int) -> Codes:
    """int64 [num_images]: clusters 0 to num_parts - 1, for 1 < num_parts < num_images."""
    random = generator(seed, "labels/cluster", group)
    best, least = np.empty(0, dtype=np.int64), math.inf
    for _ in range(_RESTARTS if points.size * num_parts <= _CHEAP else 1):
        lloyd = faiss.Kmeans(
            points.shape[1],
            num_parts,
            niter=_STEPS,
            nredo=1,
            seed=key(seed, "labels/cluster", group) & 0x7FFFFFFF,
            min_points_per_centroid=1,
            max_points_per_centroid=len(points),
        )
        lloyd.train(points, init_centroids=_seeds(faiss, points, num_parts, random))
        codes = _filled(points, lloyd.index.search(points, 1)[1][:, 0].astype(np.int64), num_parts)
        inertia = _inertia(points, codes, num_parts)
        if inertia < least:
            best, least = codes, inertia
    return best


def _seeds(faiss: Any, points: Points, num_parts: int, random: np.random.Generator) -> Points:
    """float32 [num_parts, width]: rows of `points` that are far apart.

    Each is drawn with a probability proportional to its squared distance from those before it; of 2
    + log(num_parts) drawn, the one that helps most is kept (greedy k-means++). With many clusters,
    seeds are drawn in _SEED_ROUNDS rounds, those of one round at once [ours].
    """
    if len(points) > _SAMPLE * num_parts:
        points = points[np.sort(random.choice(len(points), _SAMPLE * num_parts, replace=False))]
    batch, tries = max(1, num_parts // _SEED_ROUNDS), 2 + int(math.log(num_parts))
    chosen = [int(random.integers(len(points)))]
    far = faiss.pairwise_distances(points, points[chosen])[:, 0]
    while len(chosen) < num_parts:
        far[chosen] = 0
        weights = np.cumsum(np.maximum(far, 0), dtype=np.float64)
        if weights[-1] <= 0:  # fewer distinct points than clusters
            chosen.extend(
                np.setdiff1d(np.arange(len(points)), chosen)[: num_parts - len(chosen)].tolist()
            )
            break
        count = tries if batch == 1 else min(batch, num_parts - len(chosen))
        drawn = np.unique(
            np.minimum(
                np.searchsorted(weights, random.random(count) * weights[-1], side="right"),
                len(points) - 1,
            )
        )
        if batch == 1:
            near = np.minimum(far[:, None], faiss.pairwise_distances(points, points[drawn]))
            best = int(near.sum(axis=0, dtype=np.float64).argmin())
            drawn, far = drawn[[best]], near[:, best]
        else:
            far = np.minimum(far, faiss.knn(points, points[drawn], 1)[0][:, 0])
        chosen.extend(drawn.tolist())
    return points[chosen]


def _filled(points: Points, codes: Codes, num_parts: int) -> Codes:
    """The same clusters, where each empty one has taken an image from the largest: the farthest
    from its mean as it was before.

    Ties go to the lower number and the earlier row.
    """
    means, sizes = _means(points, codes, num_parts)
    empty = np.flatnonzero(sizes == 0).tolist()
    if not empty:
        return codes
    codes = codes.copy()
    largest = [(-size, number) for number, size in enumerate(sizes.tolist())]
    heapq.heapify(largest)
    leaving: dict[int, list[int]] = {}
    for number in empty:
        size, giver = largest[0]
        if giver not in leaving:
            rows = np.flatnonzero(codes == giver)
            leaving[giver] = rows[
                np.argsort(np.square(points[rows] - means[giver]).sum(axis=1), kind="stable")
            ][::-1].tolist()
        codes[leaving[giver].pop(0)] = number
        heapq.heapreplace(largest, (size + 1, giver))
    return codes


# Balanced k-means


def _balance(
    faiss: Any, points: Points, codes: Codes, num_parts: int, random: np.random.Generator
) -> Codes:
    """int64 [num_images]: clusters near `codes` whose sizes differ by at most one.

    Means and assignments under the sizes take turns, as in Lloyd's algorithm, _BALANCED_STEPS times
    or until nothing changes; the best is kept. Prices look at a random sample: one at regular
    distances could beat with a rhythm in the order of the rows.
    """
    looked_at = max(_CHUNK, _PRICE_SAMPLE * num_parts)
    sample = (
        np.sort(random.choice(len(points), looked_at, replace=False))
        if len(points) > looked_at
        else np.arange(len(points))
    )
    best, least = codes, math.inf
    prices = np.zeros(num_parts)
    for turn in range(_BALANCED_STEPS):
        means = _means(points, codes, num_parts)[0]
        before = codes
        if len(points) <= _EXACT:
            codes = _assign(points, means)
        else:
            codes = _auction(
                faiss, points, means, prices, sample, _LATER_MOVES if turn else _FIRST_MOVES
            )
        if np.array_equal(codes, before):
            break
        inertia = _inertia(points, codes, num_parts)
        if inertia < least:
            best, least = codes, inertia
    return best


def _assign(points: Points, means: NDArray[np.float64]) -> Codes:
    """The balanced assignment with the least sum of squared distances (linear assignment; every
    cluster is as many columns as it has places).

    Where the sizes do not come out even, each cluster has one more column, and the others are
    cheaper by more than any distances could make up for, so that they are filled first.
    """
    from scipy.optimize import linear_sum_assignment
    from scipy.spatial.distance import cdist

    num_parts = len(means)
    floor, extra = divmod(len(points), num_parts)
    cost = cdist(points, means, "sqeuclidean")
    columns = np.repeat(np.arange(num_parts, dtype=np.int64), floor)
    table = cost[:, columns]
    if extra:
        table = np.hstack([table - (4.0 * len(points) + 1), cost])
        columns = np.concatenate([columns, np.arange(num_parts, dtype=np.int64)])
    return columns[linear_sum_assignment(table)[1]]


def _auction(
    faiss: Any,
    points: Points,
    means: NDArray[np.float64],
    prices: NDArray[np.float64],
    sample: Codes,
    moves: Sequence[float],
) -> Codes:
    """A balanced assignment near the best [ours]: clusters have prices, and places go to those who
    would lose most elsewhere.

    First the prices (float64 [num_parts], changed in place), which are the dual variables of the
    assignment, move by subgradient steps of relative lengths `moves` on the rows `sample`, until
    clusters are about equally sought after. Then all images bid for their cheapest open cluster
    (squared distance plus price); each takes those with the largest regret, the difference to the
    next cheapest, until it is full, and the others bid again.
    """
    num_parts = len(means)
    queries = np.hstack([points, np.ones((len(points), 1), dtype=np.float32)])
    some = queries[sample]
    gains = _bids(faiss, some, means, prices, 2)[0]
    length = float((gains[:, 0] - gains[:, 1]).mean())
    for move in moves:
        sought = np.bincount(_bids(faiss, some, means, prices, 1)[1][:, 0], minlength=num_parts)
        prices += length * move * np.clip(sought * num_parts / len(sample) - 1, -1, 1)
    floor, extra = divmod(len(points), num_parts)
    codes = np.full(len(points), -1, dtype=np.int64)
    sizes = np.zeros(num_parts, dtype=np.int64)
    left = np.arange(len(points))
    while len(left):  # each turn fills a cluster or gives every bidder a place
        is_open = np.flatnonzero((sizes < floor) | ((sizes == floor) & (extra > 0)))
        gains, nearest = _bids(
            faiss, queries[left], means[is_open], prices[is_open], min(2, len(is_open))
        )
        bids, regrets = is_open[nearest[:, 0]], gains[:, 0] - gains[:, -1]
        asked = np.bincount(bids, minlength=num_parts)
        places = np.maximum(floor - sizes, 0)
        excess = asked - places
        # One place more for each of the clusters that most images would go without.
        granted = np.argsort(-excess, kind="stable")[:extra]
        granted = granted[excess[granted] > 0]
        places[granted] += 1
        extra -= len(granted)
        order = np.lexsort((-regrets, bids))
        ranks = np.arange(len(left)) - np.repeat(np.cumsum(asked) - asked, asked)
        taken = order[ranks < places[bids[order]]]
        codes[left[taken]] = bids[taken]
        sizes += np.bincount(bids[taken], minlength=num_parts)
        left = left[codes[left] < 0]
    return codes


def _bids(
    faiss: Any, queries: Points, means: NDArray[np.float64], prices: NDArray[np.float64], count: int
) -> tuple[Points, Codes]:
    """(gains float32 [n, count], clusters int64 [n, count]), best first: a gain is |x|^2 less
    squared distance and price.

    `queries` are the points with a column of ones, which makes 2 x.m - |m|^2 - price an inner
    product: no matrix of distances is held.
    """
    offers = np.hstack([2 * means, -(np.square(means).sum(axis=1) + prices)[:, None]]).astype(
        np.float32
    )
    gains, clusters = faiss.knn(queries, offers, count, metric=faiss.METRIC_INNER_PRODUCT)
    return gains, clusters


# Ward's method


def _ward(points: Points, num_parts: int) -> Codes:
    """int64 [num_images]: what all but the last num_parts - 1 merges of Ward's tree join, so that
    there are as many parts even under ties.
    """
    from scipy.cluster.hierarchy import linkage
    from scipy.sparse import csr_array
    from scipy.sparse.csgraph import connected_components
    from scipy.spatial.distance import pdist

    n = len(points)
    merges = linkage(pdist(points), method="ward")[: n - num_parts, :2].astype(np.int64)
    nodes = np.repeat(np.arange(n, n + len(merges)), 2)
    links = csr_array(
        (np.ones(len(nodes), dtype=np.int8), (nodes, merges.ravel())), shape=(n + len(merges),) * 2
    )
    return connected_components(links, directed=False)[1][:n].astype(np.int64)
