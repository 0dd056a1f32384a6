"""The linear probe against scikit-learn's LogisticRegression, and against what a probe must never
do: look at the test set.
"""

from __future__ import annotations

import inspect
import math

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from headwater.transfer import Choice, NotFinite
from headwater.transfer.linear import cross_entropy
from headwater.transfer.metrics import accuracy, mean_per_class_accuracy
from headwater.transfer.probe import Fit, Probed, fit_path, probe, probes, score
from headwater.transfer.protocols.probe import Probe

L2S = (1e-4, 1e-2, 1.0)


def blobs(
    n: int, d: int, num_classes: int, *, distance: float = 0.5, seed: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """float32 [n, d] features, classes in turn with normal noise about a centre each, and int64 [n]
    labels.
    """
    rng = np.random.default_rng(seed)
    labels = np.arange(n) % num_classes
    centres = np.random.default_rng(99).normal(size=(num_classes, d)) * distance
    return (centres[labels] + rng.normal(size=(n, d))).astype(np.float32), labels


def with_copies(x: np.ndarray) -> np.ndarray:
    mixed = x @ np.random.default_rng(1).normal(size=(x.shape[1], 10))
    return np.hstack([x, 3 * x[:, :5], mixed]).astype(np.float32)


def with_constants(x: np.ndarray) -> np.ndarray:
    return np.hstack(
        [x, np.full((len(x), 2), 7.0), np.zeros((len(x), 1)), np.full((len(x), 1), 1e6)]
    ).astype(np.float32)


def with_one_huge_direction(x: np.ndarray) -> np.ndarray:
    return (x + 1e3 * np.random.default_rng(2).normal(size=(len(x), 1))).astype(np.float32)


def opened(found: Probed, test: np.ndarray) -> Choice:
    """The test set, opened once with what was chosen."""
    return Choice.of_logits({"l2": found.l2}, found.val_value, found.head.logits(test))


def penalised(logits: np.ndarray, labels: np.ndarray, weight: np.ndarray, l2: float) -> float:
    return float(
        (logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]).mean()
        + l2 / 2 * (weight**2).sum()
    )


CASES = {
    "more images than features": blobs(400, 20, 5),
    "more features than images": blobs(40, 120, 5),
    "two classes": blobs(200, 10, 2),
    "30 classes": blobs(600, 40, 30),
    "collinear features": (with_copies(blobs(200, 20, 4)[0]), blobs(200, 20, 4)[1]),
    "constant features": (with_constants(blobs(200, 10, 4)[0]), blobs(200, 10, 4)[1]),
    "one direction that dwarfs the rest": (
        with_one_huge_direction(blobs(200, 30, 4)[0]),
        blobs(200, 30, 4)[1],
    ),
    "separable classes": blobs(120, 20, 4, distance=10),
    "one image per class": blobs(5, 30, 5),
}


@pytest.mark.parametrize("case", CASES)
def test_the_optimum_is_scikit_learns_at_every_l2(case):
    """Ours may be no more than 1e-3 above scikit-learn's loss, nor may it be below: that would be
    another problem's optimum.
    """
    x, labels = CASES[case]
    n, num_classes = len(labels), int(labels.max()) + 1
    standard = StandardScaler().fit_transform(x.astype(np.float64))
    for l2, head in fit_path(x, labels, num_classes, L2S).items():
        two = num_classes == 2
        theirs = LogisticRegression(C=(2 if two else 1) / (l2 * n), tol=1e-8, max_iter=20_000).fit(
            standard, labels
        )
        weight, bias = theirs.coef_.T, theirs.intercept_
        if two:
            weight, bias = (
                np.hstack([-weight / 2, weight / 2]),
                np.array([-bias[0] / 2, bias[0] / 2]),
            )
        best = penalised(standard @ weight + bias, labels, weight, l2)
        ours = penalised(head.logits(x), labels, head.weight, l2)
        assert best - 1e-5 < ours < best + 1e-3
        if l2 >= 1e-2:
            assert (
                np.abs(
                    head.logits(x)
                    - head.logits(x).mean(1, keepdims=True)
                    - (standard @ weight + bias)
                ).max()
                < 0.05
            )


def test_features_that_are_all_constant_give_the_frequencies_of_the_classes():
    labels = np.array([0, 0, 0, 1])
    head = fit_path(np.full((4, 3), 2.5, dtype=np.float32), labels, 2, (1e-3,))[1e-3]
    logits = head.logits(np.array([[2.5, 2.5, 2.5], [99.0, -99.0, 0.0]], dtype=np.float32))
    assert logits[:, 0] - logits[:, 1] == pytest.approx([math.log(3)] * 2, abs=1e-3)


@pytest.mark.parametrize(("scale", "shift"), [(1e-10, 0.0), (1e10, 0.0), (1e-3, 0.1), (1.0, 1e3)])
def test_rescaling_and_shifting_features_does_not_change_the_logits(scale, shift):
    """Up to the rounding of float32, which a shift of 1000 deviations makes about 1e-4 of a
    deviation.
    """
    x, labels = blobs(200, 10, 3)
    per_feature = scale * np.linspace(0.5, 3, 10)
    moved = (x * per_feature + shift).astype(np.float32)
    for l2 in L2S:
        plain, other = (
            fit_path(x, labels, 3, (l2,))[l2].logits(x),
            fit_path(moved, labels, 3, (l2,))[l2].logits(moved),
        )
        assert np.abs(plain - other).max() < 1e-2


def test_one_feature_may_be_a_billion_times_smaller_than_another():
    x, labels = blobs(200, 10, 3)
    mixed = x.copy()
    mixed[:, ::2] *= 1e-9
    mixed[:, 1] = 1e6 * x[:, 1]
    assert (
        np.abs(
            fit_path(x, labels, 3, (0.01,))[0.01].logits(x)
            - fit_path(mixed, labels, 3, (0.01,))[0.01].logits(mixed)
        ).max()
        < 1e-2
    )


def test_stronger_penalties_give_smaller_weights():
    x, labels = blobs(200, 10, 3)
    norms = [
        float(np.square(head.weight).sum())
        for _, head in sorted(fit_path(x, labels, 3, Probe().l2).items())
    ]
    assert norms == sorted(norms, reverse=True)
    assert norms[-1] < 0.01 * norms[0]


def test_selection_is_handed_train_and_val_only():
    for function in (fit_path, probes, probe):
        assert not any("test" in name for name in inspect.signature(function).parameters)


def test_mutating_the_test_set_changes_neither_l2_nor_weights():
    train, val, test = (blobs(n, 10, 3, seed=seed) for n, seed in ((90, 0), (60, 1), (300, 2)))
    results = []
    for other in (test[0], test[0][::-1] * -50):
        found = probe(*train, *val, 3, L2S)
        choice = opened(found, np.ascontiguousarray(other))
        results.append(
            (
                choice.chosen,
                choice.val_value,
                found.head.weight.tobytes(),
                found.head.bias.tobytes(),
                choice.predictions,
            )
        )
    assert results[0][:4] == results[1][:4]
    assert not np.array_equal(results[0][4], results[1][4])


def test_val_chooses_the_penalty_and_never_moves_the_weights():
    train, val = blobs(60, 40, 3), blobs(60, 40, 3, seed=1)
    heads = fit_path(*train, 3, L2S)
    found = probe(*train, *val, 3, L2S)
    by_hand = {each: float((heads[each].logits(val[0]).argmax(1) == val[1]).mean()) for each in L2S}
    assert found.val_value == by_hand[found.l2] == max(by_hand.values())
    assert np.array_equal(found.head.weight, heads[found.l2].weight)


def test_validation_prefers_accuracy_then_the_lower_cross_entropy():
    labels = np.array([0, 1])
    right, surer, wrong = (
        np.array([[1.0, -1.0], [-1.0, 1.0]]),
        np.array([[2.0, -2.0], [-2.0, 2.0]]),
        np.array([[9.0, 0.0], [0.1, 0.0]]),
    )
    assert score(surer, labels) > score(right, labels) > score(wrong, labels)


def test_true_labels_are_learned_and_permuted_ones_are_not():
    """1200 test images of 6 classes: chance is 16.7 % with a standard error of 1.1."""
    train, val, test = (
        blobs(n, 16, 6, distance=1.0, seed=seed) for n, seed in ((300, 0), (120, 1), (1200, 2))
    )

    def score(labels: np.ndarray) -> float:
        return accuracy(opened(probe(train[0], labels, *val, 6, L2S), test[0]).predictions, test[1])

    assert score(train[1]) > 0.85
    permuted = [score(np.random.default_rng(seed).permutation(train[1])) for seed in range(5)]
    assert np.mean(permuted) == pytest.approx(1 / 6, abs=0.06)


@pytest.mark.parametrize("prepare", [lambda x: x, with_constants, lambda x: x * 1e-4 + 0.01])
def test_the_folded_head_gives_the_same_logits_on_raw_features(prepare):
    x, labels = blobs(200, 10, 3)
    x = prepare(x).astype(np.float32)
    head = fit_path(x, labels, 3, (0.01,))[0.01]
    weight, bias = head.folded()
    assert weight.dtype == bias.dtype == np.float32
    assert weight.shape == (3, x.shape[1])
    assert np.isfinite(weight).all()
    assert np.abs(x.astype(np.float64) @ weight.T + bias - head.logits(x)).max() < 1e-2


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_features_that_are_not_finite_are_refused_in_every_split(bad):
    train, val = (blobs(30, 4, 3, seed=seed) for seed in range(2))
    broken = train[0].copy()
    broken[[3, 7], 1] = bad
    message = "features of 2 of 30 images are not finite"
    with pytest.raises(NotFinite, match=message):
        probe(broken, train[1], *val, 3, L2S)
    with pytest.raises(NotFinite, match=message):
        probe(*train, broken, val[1], 3, L2S)
    with pytest.raises(NotFinite, match=message):
        opened(probe(*train, *val, 3, L2S), broken)


def test_classes_that_train_lacks_are_never_predicted():
    x, labels = blobs(60, 5, 3)
    predictions = fit_path(x, labels, 5, (0.01,))[0.01].logits(x).argmax(1)
    assert predictions.max() <= 2


def test_a_probe_is_deterministic():
    train, val = blobs(100, 20, 4), blobs(50, 20, 4, seed=1)
    a, b = (probe(*train, *val, 4, L2S).head for _ in range(2))
    assert np.array_equal(a.weight, b.weight)
    assert np.array_equal(a.bias, b.bias)


@pytest.mark.parametrize("sizes", [(40, 40, 40), (40, 12, 90), (3, 200, 5)])
def test_a_probe_is_the_same_bits_whatever_is_fitted_beside_it(sizes):
    fits = [
        Fit(*blobs(n, 30, 3, seed=n + at), *blobs(20, 30, 3, seed=99)) for at, n in enumerate(sizes)
    ]
    l2s = tuple(np.logspace(-5, 1, 13))
    for alone, among in zip(
        (probes([fit], 3, l2s)[0] for fit in fits), probes(fits, 3, l2s), strict=True
    ):
        assert (alone.l2, alone.val_value) == (among.l2, among.val_value)
        assert np.array_equal(alone.head.weight, among.head.weight)
        assert np.array_equal(alone.head.bias, among.head.bias)


def test_cross_entropy_survives_large_logits():
    logits = np.array([[1e4, 0.0], [0.0, 1e4], [-1e4, -1e4]])
    assert cross_entropy(logits, np.array([0, 0, 1])) == pytest.approx((0 + 1e4 + math.log(2)) / 3)


def test_mean_per_class_accuracy_weighs_classes_alike_and_skips_absent_ones():
    predictions, labels = np.array([0, 0, 0, 4, 2, 1]), np.array([0, 0, 0, 0, 2, 2])
    assert accuracy(predictions, labels) == pytest.approx(4 / 6)
    assert mean_per_class_accuracy(predictions, labels) == pytest.approx((3 / 4 + 1 / 2) / 2)
