"""Clusters of features: what is found, against planted answers and scikit-learn; and that it is
found again on any thread, in any process.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys

import numpy as np
import pytest
import torch  # first, as in a run: faiss must live beside its OpenMP
from hypothesis import given
from hypothesis import strategies as st
from sklearn.cluster import AgglomerativeClustering, KMeans
from sklearn.metrics import adjusted_rand_score
from sklearn.preprocessing import normalize

from headwater.errors import InputError
from headwater.labels import clusters, nesting
from headwater.labels.clusters import cluster


def found(features, parts, groups=None, *, seed=0, algorithm="kmeans", balanced=False):
    return cluster(
        features.astype(np.float32),
        groups,
        np.array(parts),
        seed=seed,
        algorithm=algorithm,
        balanced=balanced,
        where="set",
    )


def cloud(size, width, centres, spread=1.0, seed=0):
    """(features, true centre): blobs of unequal sizes, at least 3 each, which overlap where the
    spread is near 1.
    """
    random = np.random.default_rng(seed)
    rest = size - 3 * centres
    member = random.permutation(
        np.r_[
            np.repeat(np.arange(centres), 3),
            random.choice(centres, rest, p=random.dirichlet(np.full(centres, 2.0))),
        ]
    )
    return (
        random.normal(size=(centres, width))[member] + spread * random.normal(size=(size, width))
    ).astype(np.float32), member


def same(a, b):
    """Whether two clusterings are the same up to numbering."""
    return adjusted_rand_score(a, b) == 1.0


@pytest.mark.parametrize("algorithm", ["kmeans", "ward"])
@pytest.mark.parametrize(
    ("size", "centres"), [(200, 5), (2_000, 40), pytest.param(6_000, 150, marks=pytest.mark.slow)]
)
def test_planted_blobs_are_found_exactly(algorithm, size, centres):
    features, planted = cloud(size, 32, centres, spread=0.05)
    for seed in range(3 if algorithm == "kmeans" and centres < 100 else 1):
        assert same(found(features, [centres], algorithm=algorithm, seed=seed).codes, planted)


@pytest.mark.parametrize(
    ("size", "width", "centres"), [(400, 16, 7), (3_000, 16, 10), (4_000, 32, 200)]
)
def test_inertia_is_scikit_learns_within_a_few_per_cent(size, width, centres):
    features = cloud(size, width, centres)[0]
    theirs = KMeans(centres, n_init=3, random_state=0).fit(normalize(features)).inertia_
    assert found(features, [centres]).inertia < 1.04 * theirs


@pytest.mark.parametrize(
    ("algorithm", "balanced"), [("kmeans", False), ("kmeans", True), ("ward", False)]
)
def test_inertia_is_the_sum_of_squares_within_clusters_of_normalised_features(algorithm, balanced):
    features = cloud(300, 8, 6)[0]
    result = found(features, [4, 3], np.arange(300) % 2, algorithm=algorithm, balanced=balanced)
    unit = normalize(features.astype(np.float64))
    expected = sum(
        ((unit[result.codes == code] - unit[result.codes == code].mean(axis=0)) ** 2).sum()
        for code in range(7)
    )
    assert result.inertia == pytest.approx(expected, rel=1e-5)


def test_ward_agrees_with_scikit_learn():
    features = cloud(400, 8, 12)[0]
    for parts in (2, 9, 60, 399):
        theirs = AgglomerativeClustering(parts, linkage="ward").fit_predict(
            normalize(features.astype(np.float64))
        )
        assert same(found(features, [parts], algorithm="ward").codes, theirs)


def test_wards_fewer_parts_coarsen_more_in_every_group():
    features, groups = cloud(300, 8, 12)[0], np.arange(300) % 3
    fine, middle, coarse = (
        found(features, parts, groups, algorithm="ward").codes
        for parts in ([30, 20, 100], [7, 20, 31], [1, 4, 2])
    )
    assert nesting(fine, middle) == nesting(middle, coarse) == nesting(fine, coarse) == 1


@given(
    st.lists(st.integers(0, 3), min_size=1, max_size=60),
    st.sampled_from(["kmeans", "balanced", "ward"]),
    st.integers(1, 9),
    st.data(),
)
def test_every_part_has_images_of_one_group_and_parts_are_numbered_by_their_first(
    drawn, algorithm, distinct, data
):
    """Also where a group has fewer distinct points than parts."""
    groups = np.unique(drawn, return_inverse=True)[1]
    sizes = np.bincount(groups)
    parts = np.array([data.draw(st.integers(1, int(size))) for size in sizes])
    points = np.random.default_rng(0).normal(size=(distinct, 3))
    points[0] = 0
    result = found(
        points[np.arange(len(groups)) % distinct],
        parts,
        groups,
        algorithm="ward" if algorithm == "ward" else "kmeans",
        balanced=algorithm == "balanced",
    )
    first = 0
    for group, number in enumerate(parts.tolist()):
        own = result.codes[groups == group] - first
        assert sorted(set(own)) == list(range(number))
        assert np.unique(own, return_index=True)[1].tolist() == sorted(
            np.unique(own, return_index=True)[1]
        )
        if algorithm == "balanced":
            assert np.ptp(np.bincount(own)) <= 1
        first += number


@pytest.mark.parametrize("balanced", [False, True])
def test_many_copies_of_few_points_make_as_many_parts_as_asked_for(balanced):
    features = np.repeat(cloud(40, 16, 10)[0], 50, axis=0)
    sizes = np.bincount(found(features, [300], balanced=balanced).codes, minlength=300)
    assert sizes.min() >= 1
    assert not balanced or np.ptp(sizes) == 1


def test_one_part_and_one_part_an_image():
    features = cloud(50, 4, 3)[0]
    for algorithm in ("kmeans", "ward"):
        assert found(features, [1], algorithm=algorithm).codes.tolist() == [0] * 50
        assert found(features, [50], algorithm=algorithm).codes.tolist() == list(range(50))
        assert found(features, [50], algorithm=algorithm).inertia == pytest.approx(0, abs=1e-5)


@pytest.mark.slow
@pytest.mark.parametrize(("size", "centres"), [(450, 7), (3_001, 10), (6_000, 300)])
def test_balanced_clusters_differ_by_one_at_most_and_cost_little_inertia(size, centres):
    """Of blobs that overlap and are of one size; blobs of unequal sizes have to be cut, at any
    price.
    """
    random = np.random.default_rng(0)
    features = random.normal(size=(centres, 16))[np.arange(size) % centres] + random.normal(
        size=(size, 16)
    )
    free, even = (found(features, [centres], balanced=balanced) for balanced in (False, True))
    assert np.ptp(np.bincount(even.codes)) == (1 if size % centres else 0)
    assert np.ptp(np.bincount(free.codes)) > 5
    assert 0.98 * free.inertia < even.inertia < 1.02 * free.inertia


def test_balanced_blobs_of_equal_size_are_found_exactly():
    planted = np.arange(4_000) % 20
    random = np.random.default_rng(0)
    features = random.normal(size=(20, 16))[planted] + 0.1 * random.normal(size=(4_000, 16))
    assert same(found(features, [20], balanced=True).codes, planted)


@pytest.mark.parametrize(("size", "parts"), [(1_003, 20), (1_200, 150)])
def test_large_balanced_assignments_are_near_the_best(size, parts):
    """The auction against linear assignment, for the same means; the assignment against all others
    on a toy.
    """
    points = clusters._normalised(cloud(size, 16, parts)[0])
    with clusters._one_thread() as faiss:
        means = clusters._means(points, clusters._kmeans(faiss, points, parts, 0, 0), parts)[0]
        near = clusters._auction(
            faiss, points, means, np.zeros(parts), np.arange(size), clusters._FIRST_MOVES
        )
    best = clusters._assign(points, means)

    def cost(codes):
        return np.square(points - means[codes]).sum()

    assert np.ptp(np.bincount(best)) == np.ptp(np.bincount(near)) == (1 if size % parts else 0)
    assert cost(best) * (1 - 1e-6) <= cost(near) < 1.02 * cost(best)


def test_zero_vectors_stay_and_lengths_do_not_matter():
    features = cloud(200, 8, 5)[0]
    features[::50] = 0
    stretched = features * np.random.default_rng(1).choice(
        [2.0**-100, 1.0, 2.0**100], size=(200, 1)
    ).astype(np.float32)
    plain = found(features, [6])
    assert np.array_equal(found(stretched, [6]).codes, plain.codes)
    assert len(set(plain.codes[::50])) == 1


def test_what_cannot_be_clustered_says_why():
    features = np.ones((10, 3))
    features[2, 1], features[7, 0] = np.nan, np.inf
    with pytest.raises(
        InputError, match="set: the features of 2 of 10 images hold NaN or infinity"
    ):
        found(features, [2])
    with pytest.raises(
        InputError, match=r"set: 4 clusters are more than there are images in their group \(3\)"
    ):
        found(np.ones((5, 2)), [1, 4], np.array([0, 0, 1, 1, 1]))
    with pytest.raises(InputError, match="use kmeans for balanced"):
        found(np.ones((5, 2)), [2], algorithm="ward", balanced=True)
    with pytest.raises(
        InputError,
        match=r"at most 20,000 images a group, and one has 20,001; cluster within a finer level",
    ):
        found(np.ones((20_001, 1)), [2], algorithm="ward")


def test_a_seed_and_a_groups_number_decide_the_draws():
    features = cloud(2_000, 16, 3)[0]
    assert np.array_equal(found(features, [30]).codes, found(features, [30]).codes)
    assert not same(found(features, [30]).codes, found(features, [30], seed=1).codes)


def test_other_groups_do_not_matter():
    features, groups = cloud(1_000, 16, 9)[0], np.arange(1_000) % 2
    both = found(features, [20, 10], groups).codes
    assert np.array_equal(both[groups == 0], found(features[groups == 0], [20]).codes)


def test_rows_in_another_order_give_as_good_clusters():
    """The order of rows is part of the input; only planted answers survive it exactly."""
    order = np.random.default_rng(0).permutation(1_000)
    clear, loose = cloud(1_000, 16, 12, spread=0.05)[0], cloud(1_000, 16, 12)[0]
    assert same(found(clear, [12]).codes[order], found(clear[order], [12]).codes)
    assert found(loose[order], [12]).inertia == pytest.approx(found(loose, [12]).inertia, rel=0.05)


SCRIPT = """
import hashlib, sys
if sys.argv[1] == "torch first":
    import torch
    torch.mm(torch.ones(300, 300), torch.ones(300, 300))
import numpy as np
from headwater.labels.clusters import cluster
features = np.random.default_rng(5).normal(size=(4000, 24)).astype(np.float32)
codes = b""
for algorithm, balanced in (("kmeans", False), ("kmeans", True), ("ward", False)):
    words = {"seed": 3, "algorithm": algorithm, "balanced": balanced, "where": "set"}
    groups = np.arange(2500) % 2
    codes += cluster(features[:2500], groups, np.array([90, 7]), **words).codes.tobytes()
words = {"seed": 3, "algorithm": "kmeans", "balanced": False, "where": "set"}
codes += cluster(features, None, np.array([400]), **words).codes.tobytes()
print(hashlib.sha256(codes).hexdigest())
"""


@pytest.mark.slow
def test_fresh_processes_with_other_threads_find_the_same_to_the_bit():
    import faiss

    before = torch.get_num_threads(), faiss.omp_get_max_threads()
    outputs = set()
    for threads, order in (("1", "no torch"), ("2", "no torch"), ("3", "torch first")):
        run = subprocess.run(
            [sys.executable, "-W", "error", "-c", SCRIPT, order],
            env={**os.environ, "OMP_NUM_THREADS": threads},
            capture_output=True,
            text=True,
            check=True,
        )
        assert run.stderr == ""
        outputs.add(run.stdout)
    features = np.random.default_rng(5).normal(size=(4000, 24)).astype(np.float32)
    codes = b"".join(
        found(
            features[:2500],
            [90, 7],
            np.arange(2500) % 2,
            seed=3,
            algorithm=algorithm,
            balanced=balanced,
        ).codes.tobytes()
        for algorithm, balanced in (("kmeans", False), ("kmeans", True), ("ward", False))
    )
    codes += found(features, [400], seed=3).codes.tobytes()
    assert outputs == {hashlib.sha256(codes).hexdigest() + "\n"}
    assert (torch.get_num_threads(), faiss.omp_get_max_threads()) == before


def test_clustering_says_nothing(capfd):
    found(cloud(600, 8, 3)[0], [300])
    found(np.ones((600, 8)), [300], balanced=True)
    assert capfd.readouterr() == ("", "")
