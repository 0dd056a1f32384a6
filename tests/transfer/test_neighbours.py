"""The neighbours' vote against scikit-learn, against a loop over the definition, and where
definitions leave things open.
"""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from sklearn.neighbors import KNeighborsClassifier

from headwater.transfer import NotFinite
from headwater.transfer import neighbours as room
from headwater.transfer.neighbours import choose_knn, knn_accuracy

Features = NDArray[np.float32]


def clouds(
    n: int, num_classes: int, d: int = 8, *, seed: int = 0, spread: float = 1.5
) -> tuple[Features, NDArray[np.int64]]:
    """Points around one centre a class, near enough that many are misclassified."""
    rng = np.random.default_rng(seed)
    centres = np.random.default_rng(99).normal(size=(num_classes, d))
    labels = rng.integers(0, num_classes, n)
    return (centres[labels] + spread * rng.normal(size=(n, d))).astype(np.float32), labels


def by_hand(
    bank: Features,
    bank_labels: NDArray[np.int64],
    query: Features,
    k: int,
    temperature: float,
    num_classes: int,
) -> int:
    """The class that wins the vote on one query, in float64, one neighbour at a time."""

    def cosine(a: Features, b: Features) -> float:
        return float(
            np.dot(a.astype(float), b.astype(float))
            / (np.linalg.norm(a.astype(float)) * np.linalg.norm(b.astype(float)))
        )

    similarity = [cosine(query, known) for known in bank]
    votes = [0.0] * num_classes
    for i in sorted(range(len(bank)), key=lambda i: -similarity[i])[:k]:
        votes[bank_labels[i]] += math.exp(similarity[i] / temperature)
    return votes.index(max(votes))


@pytest.mark.parametrize(
    ("k", "temperature"), [(1, 0.07), (5, 0.07), (20, 0.07), (20, 1.0), (200, 0.5)]
)
def test_the_vote_is_that_of_the_definition(k, temperature):
    (bank, known), (queries, wanted) = clouds(200, 5), clouds(60, 5, seed=1)
    right = np.mean(
        [
            by_hand(bank, known, q, k, temperature, 5) == w
            for q, w in zip(queries, wanted, strict=True)
        ]
    )
    assert 0.3 < right < 0.95
    assert (
        knn_accuracy(
            bank, known, queries, wanted, neighbours=k, temperature=temperature, num_classes=5
        )
        == right
    )


@pytest.mark.parametrize("k", [1, 7, 20])
def test_the_accuracy_is_that_of_scikit_learn(k):
    (bank, known), (queries, wanted) = clouds(500, 7), clouds(300, 7, seed=1)
    theirs = KNeighborsClassifier(
        k,
        metric="cosine",
        weights=lambda distance: np.exp((1 - distance) / 0.07),
        algorithm="brute",
    )
    expected = theirs.fit(bank.astype(np.float64), known).score(queries.astype(np.float64), wanted)
    assert 0.3 < expected < 0.95
    assert knn_accuracy(bank, known, queries, wanted, neighbours=k, num_classes=7) == pytest.approx(
        expected, abs=1e-12
    )


def test_the_temperature_weighs_near_against_many():
    """Two near images of class 0, three farther ones of class 1: a low temperature hears the near
    ones, a high one counts heads.
    """
    angles, known = np.array([0.1, 0.1, 0.8, 0.8, 0.8]), np.array([0, 0, 1, 1, 1])
    bank, query = (
        np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32),
        np.array([[1.0, 0.0]], dtype=np.float32),
    )
    assert (
        knn_accuracy(
            bank, known, query, np.array([0]), neighbours=5, temperature=0.07, num_classes=2
        )
        == 1.0
    )
    assert (
        knn_accuracy(
            bank, known, query, np.array([1]), neighbours=5, temperature=10.0, num_classes=2
        )
        == 1.0
    )


def test_queries_in_many_chunks_are_counted_as_in_one(monkeypatch):
    (bank, known), (queries, wanted) = clouds(100, 4), clouds(53, 4, seed=1)
    whole = knn_accuracy(bank, known, queries, wanted, num_classes=4)
    for at_once in (1, 250, 1000):
        monkeypatch.setattr(room, "_AT_ONCE", at_once)
        assert knn_accuracy(bank, known, queries, wanted, num_classes=4) == whole


@given(st.integers(-60, 60), st.integers(0, 3))
def test_neither_the_length_of_features_nor_their_number_of_digits_matters(exponent, seed):
    (bank, known), (queries, wanted) = clouds(40, 3, seed=seed), clouds(20, 3, seed=seed + 10)
    expected = knn_accuracy(bank, known, queries, wanted, neighbours=5, num_classes=3)
    scaled = np.ldexp(bank, exponent).astype(np.float32)
    assert (
        knn_accuracy(
            scaled,
            known,
            np.ldexp(queries, -exponent).astype(np.float32),
            wanted,
            neighbours=5,
            num_classes=3,
        )
        == expected
    )


def test_of_equal_votes_the_lowest_class_wins_and_of_equally_near_images_the_earlier_counts():
    same = np.ones((6, 4), dtype=np.float32)
    query = np.ones((1, 4), dtype=np.float32)
    for known, k, winner in (
        ([2, 1, 0, 0, 0, 0], 2, 1),
        ([2, 2, 0, 0, 0, 0], 2, 2),
        ([2, 2, 0, 0, 0, 0], 6, 0),
        ([1, 2, 1, 2, 1, 2], 6, 1),
    ):
        assert (
            knn_accuracy(
                same, np.array(known), query, np.array([winner]), neighbours=k, num_classes=3
            )
            == 1.0
        )
    rng = np.random.default_rng(0)
    many, known = np.ones((5000, 16), dtype=np.float32), rng.integers(0, 3, 5000)
    winner = int(np.bincount(known[:20], minlength=3).argmax())
    assert (
        knn_accuracy(many, known, query.repeat(4, axis=1), np.array([winner]), num_classes=3) == 1.0
    )


def test_a_small_bank_votes_whole_and_a_feature_of_zeros_is_like_nothing():
    (bank, known) = clouds(3, 3)
    most = np.array([[0.0] * 8], dtype=np.float32)
    assert (
        knn_accuracy(bank, np.array([2, 1, 2]), most, np.array([2]), neighbours=20, num_classes=3)
        == 1.0
    )
    assert (
        knn_accuracy(bank[:1], known[:1], bank[:1], known[:1], neighbours=20, num_classes=3) == 1.0
    )


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_no_numbers_give_no_number(bad):
    (bank, known), (queries, wanted) = clouds(30, 3), clouds(10, 3, seed=1)
    for broken in (0, 1):
        pair = [bank.copy(), queries.copy()]
        pair[broken][3, 2] = bad
        assert math.isnan(knn_accuracy(pair[0], known, pair[1], wanted, num_classes=3))
    assert math.isnan(knn_accuracy(bank, known, queries[:0], wanted[:0], num_classes=3))
    assert math.isnan(knn_accuracy(bank[:0], known[:0], queries, wanted, num_classes=3))


def test_tensors_and_arrays_that_cannot_be_written_give_the_same_and_stay_as_they_are():
    (bank, known), (queries, wanted) = clouds(50, 3), clouds(20, 3, seed=1)
    before = bank.copy()
    for array in (bank, known, queries, wanted):
        array.flags.writeable = False
    expected = knn_accuracy(bank, known, queries, wanted, num_classes=3)
    assert np.array_equal(bank, before)
    tensors = [torch.tensor(x.copy()) for x in (bank, known, queries, wanted)]
    assert knn_accuracy(*tensors, num_classes=3) == expected


# the protocol
GRID = {"neighbours": (1, 4, 25), "temperatures": (0.02, 0.5)}


def votes_by_hand(
    bank: Features,
    known: NDArray[np.int64],
    queries: Features,
    k: int,
    temperature: float,
    num_classes: int,
) -> NDArray[np.float64]:
    """Shares of the votes, float64 [m, classes], by the definition; of equally near images the
    earlier.
    """
    unit, asked = (
        x.astype(np.float64) / np.linalg.norm(x.astype(np.float64), axis=1, keepdims=True)
        for x in (bank, queries)
    )
    votes = np.zeros((len(queries), num_classes))
    for row, similarity in enumerate(asked @ unit.T):
        for i in np.argsort(-similarity, kind="stable")[:k]:
            votes[row, known[i]] += math.exp(similarity[i] / temperature)
    return votes / votes.sum(axis=1, keepdims=True)


@pytest.mark.parametrize("seed", range(4))
def test_the_choice_is_that_of_a_loop_over_the_grid(seed):
    (bank, known), (val, wanted), (test, _) = (
        clouds(60, 4, seed=seed),
        clouds(40, 4, seed=seed + 50),
        clouds(30, 4, seed=seed + 90),
    )
    found = choose_knn(bank, known, val, wanted, 4, **GRID)
    tried = []
    for k in GRID["neighbours"]:
        for temperature in GRID["temperatures"]:
            votes = votes_by_hand(bank, known, val, k, temperature, 4)
            right = float((votes.argmax(1) == wanted).mean())
            tried.append((right, float(votes[np.arange(40), wanted].mean()), -k, -temperature))
    right, _, k, temperature = max(tried)
    assert (found.val_value, found.neighbours, found.temperature) == (right, -k, -temperature)
    votes = found.votes(test)
    assert votes == pytest.approx(
        votes_by_hand(bank, known, test, found.neighbours, found.temperature, 4), abs=1e-5
    )
    assert votes.sum(axis=1) == pytest.approx(1, abs=1e-12)
    assert votes.min() >= 0
    assert (
        knn_accuracy(
            bank,
            known,
            val,
            wanted,
            neighbours=found.neighbours,
            temperature=found.temperature,
            num_classes=4,
        )
        == found.val_value
    )


def test_of_equally_good_ones_fewer_neighbours_and_the_lower_temperature_are_chosen():
    """All images of a class are alike: every number of neighbours up to the class's size, and every
    temperature, say the same.
    """
    bank, known = np.eye(3, dtype=np.float32).repeat(5, axis=0), np.arange(3).repeat(5)
    found = choose_knn(bank, known, bank, known, 3, (5, 2), (1.0, 0.1))
    assert (found.neighbours, found.temperature, found.val_value) == (2, 0.1, 1.0)


def test_equal_accuracy_is_decided_by_the_share_of_votes_for_the_right_class():
    angles, known = np.array([0.1, 0.5, 0.5]), np.array([0, 1, 1])
    bank, query = (
        np.stack([np.cos(angles), np.sin(angles)], 1).astype(np.float32),
        np.array([[1.0, 0.0]], dtype=np.float32),
    )
    found = choose_knn(bank, known, query, np.array([0]), 2, (3,), (0.01, 0.05))
    assert (found.neighbours, found.temperature) == (3, 0.01), "both are right, the lower one surer"


def test_more_neighbours_than_images_are_all_of_them():
    (bank, known), (val, wanted) = clouds(12, 3), clouds(20, 3, seed=1)
    many, whole = (choose_knn(bank, known, val, wanted, 3, (k,), (0.1,)) for k in (100_000, 12))
    assert many.val_value == whole.val_value
    assert np.array_equal(many.votes(val), whole.votes(val))
    one = choose_knn(bank[:1], known[:1], val, wanted, 3, (1, 20), (0.1,))
    assert (one.votes(val).argmax(1) == known[0]).all()
    assert one.neighbours == 1


def test_the_choice_in_many_parts_is_the_choice_whole(monkeypatch):
    (bank, known), (val, wanted) = clouds(60, 4), clouds(41, 4, seed=1)
    whole = choose_knn(bank, known, val, wanted, 4, **GRID)
    votes = whole.votes(val)
    for at_once in (1, 200):
        monkeypatch.setattr(room, "_AT_ONCE", at_once)
        part = choose_knn(bank, known, val, wanted, 4, **GRID)
        assert (part.neighbours, part.temperature, part.val_value) == (
            whole.neighbours,
            whole.temperature,
            whole.val_value,
        )
        assert part.votes(val) == pytest.approx(votes, abs=1e-6)


def test_temperatures_at_the_ends_of_what_is_allowed_neither_overflow_nor_vanish():
    (bank, known), (val, wanted) = clouds(30, 3), clouds(20, 3, seed=1)
    for temperature in (1e-3, 1e3):
        votes = choose_knn(bank, known, val, wanted, 3, (20,), (temperature,)).votes(val)
        assert np.isfinite(votes).all()
        assert votes.sum(axis=1) == pytest.approx(1)


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_a_choice_among_features_that_are_no_numbers_is_refused(bad):
    (bank, known), (val, wanted) = clouds(30, 3), clouds(10, 3, seed=1)
    for broken in (0, 1):
        pair = [bank.copy(), val.copy()]
        pair[broken][3, 2] = bad
        with pytest.raises(NotFinite, match=r"features of 1 of \d+ images are not finite"):
            choose_knn(pair[0], known, pair[1], wanted, 3, (1,), (0.1,))
    found = choose_knn(bank, known, val, wanted, 3, (1,), (0.1,))
    val[3, 2] = bad
    with pytest.raises(NotFinite):
        found.votes(val)
