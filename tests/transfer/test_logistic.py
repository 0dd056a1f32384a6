"""Logistic regression along a path: scikit-learn's optima, for what real encoders give, and at a
cost that stays bounded.
"""

from __future__ import annotations

import numpy as np
import pytest
from scipy.special import logsumexp
from sklearn.linear_model import LogisticRegression
from sklearn.preprocessing import StandardScaler

from headwater.transfer import logistic as room
from headwater.transfer.linear import LinearHead, Span
from headwater.transfer.logistic import fit_paths
from headwater.transfer.probe import fit_path
from tests.transfer.test_probe import blobs

WIDE = tuple(float(x) for x in np.logspace(-6, 1, 13))


def like_an_encoders(
    n: int, d: int, num_classes: int, *, seed: int = 0, distance: float = 2.0
) -> tuple[np.ndarray, np.ndarray]:
    """Features after a ReLU and average pooling: not negative, correlated, with a spectrum that
    falls by four orders of magnitude.
    """
    rng = np.random.default_rng(seed)
    mix = (
        np.linalg.qr(np.random.default_rng(7).normal(size=(d, d)))[0]
        * np.logspace(0, -2, d)[:, None]
    )
    labels = np.arange(n) % num_classes
    hidden = rng.normal(size=(n, d)) + distance * np.random.default_rng(8).normal(
        size=(num_classes, d)
    )[labels] * np.logspace(0, -1, d)
    return np.maximum(hidden @ mix + 0.1, 0).astype(np.float32), labels


def loss(logits: np.ndarray, labels: np.ndarray, weight: np.ndarray, l2: float) -> float:
    logits = logits.astype(np.float64)
    return float(
        (logsumexp(logits, axis=1) - logits[np.arange(len(labels)), labels]).mean()
        + l2 / 2 * np.square(weight).sum()
    )


def of_head(head: LinearHead, x: np.ndarray, labels: np.ndarray, l2: float) -> float:
    """In float64: what rounding of logits to float32 adds is not the fit's."""
    return loss(
        (x.astype(np.float64) - head.mean) / head.deviation @ head.weight + head.bias,
        labels,
        head.weight,
        l2,
    )


def of_scikit_learn(x: np.ndarray, labels: np.ndarray, l2: float, *, max_iter: int = 3000) -> float:
    standard = StandardScaler().fit_transform(x.astype(np.float64))
    theirs = LogisticRegression(
        C=1 / (l2 * len(x)),
        tol=1e-9,
        max_iter=max_iter,
        solver="newton-cg" if len(x) < 300 else "lbfgs",
    ).fit(standard, labels)
    return loss(standard @ theirs.coef_.T + theirs.intercept_, labels, theirs.coef_, l2)


CASES = {
    "blobs": blobs(300, 12, 4),
    "separable": blobs(120, 20, 4, distance=10),
    "few shots": blobs(15, 60, 5),
    "like an encoder's": like_an_encoders(300, 32, 6),
}


@pytest.mark.parametrize("case", CASES)
def test_the_optimum_is_scikit_learns_down_to_an_l2_of_a_millionth(case):
    x, labels = CASES[case]
    heads = fit_path(x, labels, int(labels.max()) + 1, WIDE)
    assert sorted(heads) == sorted(WIDE)
    for l2 in WIDE[::2]:
        assert of_head(heads[l2], x, labels, l2) == pytest.approx(
            of_scikit_learn(x, labels, l2), abs=1e-3
        ), l2


def test_of_separable_classes_the_weights_grow_as_the_penalty_falls_and_the_loss_goes_to_0():
    x, labels = CASES["separable"]
    heads = fit_path(x, labels, 4, WIDE)
    found = [of_head(heads[l2], x, labels, l2) for l2 in WIDE]
    assert found == sorted(found)
    assert found[0] < 1e-3
    norms = [float(np.square(heads[l2].weight).sum()) for l2 in WIDE]
    assert norms == sorted(norms, reverse=True)


@pytest.mark.parametrize(
    "l2s", [(1e-5, 3e-5, 0.7, 0.71, 50.0), (0.3, 1e-6), (1e-6, 10.0, 1e-3), (0.02,)]
)
def test_unequal_steps_along_the_path_lead_to_the_same_optima(l2s):
    """Each start is a line through the two optima before in log l2, which unequal steps stretch."""
    x, labels = like_an_encoders(200, 24, 5)
    for l2, head in fit_path(x, labels, 5, l2s).items():
        alone = fit_path(x, labels, 5, (l2,))[l2]
        assert of_head(head, x, labels, l2) == pytest.approx(
            of_head(alone, x, labels, l2), rel=3e-4, abs=2e-5
        )


def test_one_strength_is_one_fit_from_zero():
    x, labels = blobs(60, 8, 3)
    (one,) = fit_paths([Span.of(x)], [labels], 3, (0.1,))
    assert (one.l2, one.weight.shape, one.bias.shape) == (0.1, (1, 8, 3), (1, 3))


def test_problems_of_a_batch_are_each_the_one_alone():
    data = [blobs(33, 20, 3, seed=seed) for seed in range(4)]
    spans, l2s = [Span.of(x) for x, _ in data], (1.0, 1e-2, 1e-4)
    alone = [
        list(fit_paths([span], [labels], 3, l2s))
        for span, (_, labels) in zip(spans, data, strict=True)
    ]
    for step, together in enumerate(fit_paths(spans, [labels for _, labels in data], 3, l2s)):
        assert together.weight.shape == (4, 20, 3)
        for at, own in enumerate(alone):
            assert np.array_equal(together.weight[at], own[step].weight[0])
            assert np.array_equal(together.bias[at], own[step].bias[0])


def test_a_class_without_images_has_no_weights_and_is_all_but_never_said():
    x, labels = blobs(60, 8, 3)
    for l2, head in fit_path(x, 2 * labels, 6, WIDE).items():
        assert np.abs(head.weight[:, [1, 3, 5]]).max() < 1e-9
        assert head.bias[[1, 3, 5]] == pytest.approx(np.log(3 / 120))
        present = fit_path(x, labels, 3, (l2,))[l2]
        assert head.weight[:, ::2] == pytest.approx(present.weight, abs=0.05)


@pytest.mark.parametrize(("limit", "value"), [("_TOGETHER", 2), ("_TWICE", 0)])
def test_more_classes_or_larger_features_than_the_limits_end_at_the_same_optimum(
    monkeypatch, limit, value
):
    """Above 256 classes the preconditioner takes each by itself; features too large are held in one
    order and not squared.
    """
    x, labels = like_an_encoders(200, 24, 5)
    below = fit_path(x, labels, 5, WIDE)
    monkeypatch.setattr(room, limit, value)
    for l2, head in fit_path(x, labels, 5, WIDE).items():
        assert of_head(head, x, labels, l2) == pytest.approx(
            of_head(below[l2], x, labels, l2), rel=3e-4, abs=2e-5
        )


@pytest.mark.parametrize("kind", ["spikes", "heavy tails", "one outlier"])
@pytest.mark.parametrize("num_classes", [2, 4])
def test_outliers_do_not_end_a_fit_before_its_optimum(kind, num_classes):
    """Of an outlier the curvature is not the mean's: conjugate gradients that are misled by it
    report that little is left where much is.
    """
    rng = np.random.default_rng(5)
    labels = np.arange(60) % num_classes
    x = rng.normal(size=(60, 20)) + 0.5 * rng.normal(size=(num_classes, 20))[labels]
    if kind == "spikes":
        x = np.maximum(x - 2, 0)
    elif kind == "heavy tails":
        x = x**5
    else:
        x[0] *= 300
    x = x.astype(np.float32)
    for l2, head in fit_path(x, labels, num_classes, tuple(np.logspace(-5, 1, 5))).items():
        two = 2 if num_classes == 2 else 1
        standard = StandardScaler().fit_transform(x.astype(np.float64))
        theirs = LogisticRegression(
            C=two / (l2 * 60), tol=1e-12, max_iter=5000, solver="newton-cholesky"
        ).fit(standard, labels)
        weight, bias = theirs.coef_.T, theirs.intercept_
        if two == 2:
            weight, bias = (
                np.hstack([-weight / 2, weight / 2]),
                np.array([-bias[0] / 2, bias[0] / 2]),
            )
        best = loss(standard @ weight + bias, labels, weight, l2)
        assert of_head(head, x, labels, l2) == pytest.approx(best, rel=1e-3, abs=1e-4), l2


@pytest.mark.parametrize("scale", [1e-20, 1.0, 1e15])
def test_huge_features_and_a_weak_penalty_end_at_the_optimum(scale):
    """Outliers of a thousand deviations: whole Newton steps overshoot, and are halved."""
    x, labels = blobs(90, 10, 3)
    x[::17] *= 1000
    x = (x * scale).astype(np.float32)
    for l2, head in fit_path(x, labels, 3, (1e-6, 1e-3, 1.0)).items():
        assert np.isfinite(head.logits(x)).all()
        own = of_head(head, x, labels, l2)
        assert own < np.log(3)
        if scale == 1.0:
            assert own == pytest.approx(of_scikit_learn(x, labels, l2), abs=1e-3)


@pytest.mark.parametrize("far", [1.0, 3.0, 5.0])
@pytest.mark.parametrize("l2", [1e-6, 1e-2])
def test_from_a_start_that_is_sure_and_wrong_the_loss_only_falls_and_ends_at_the_optimum(
    monkeypatch, far, l2
):
    """There probabilities are 0 or 1, the loss is all but straight, and a whole Newton step is up
    to 1 / l2 times too long.
    """
    x, labels = blobs(60, 10, 3, distance=3)
    problems, span = room._Problems.of([Span.of(x)], [labels], 3), Span.of(x)
    losses: list[float] = []
    search = room._Problems.line_search

    def watched(self, at, before, *rest):
        found = search(self, at, before, *rest)
        losses.extend([float(before[0]), float((found[1] + self.penalty(found[0], l2))[0])])
        return found

    monkeypatch.setattr(room._Problems, "line_search", watched)
    start = far * np.random.default_rng(0).normal(size=(1, 3, 10)).astype(np.float32)
    start = np.concatenate([np.zeros((1, 3, 1), np.float32), start], axis=2)
    weight = problems.solve(start, *problems.data_loss(start), l2)[0][0].T
    assert losses == sorted(losses, reverse=True)
    best = fit_path(x, labels, 3, (l2,))[l2]
    assert losses[0] > 1 > of_head(best, x, labels, l2)
    assert of_head(span.head(weight[1:], weight[0]), x, labels, l2) == pytest.approx(
        of_head(best, x, labels, l2), abs=1e-3
    )


@pytest.mark.parametrize(
    ("n", "d", "num_classes", "limit"), [(600, 64, 10, 25), (50, 128, 10, 25), (300, 64, 4, 25)]
)
def test_a_path_costs_a_bounded_number_of_products_with_the_data(
    monkeypatch, n, d, num_classes, limit
):
    """Products of the Hessian with a direction, and losses, per strength on average: what the time
    of a probe is made of.
    """
    products = [0]
    for name in ("bent", "data_loss"):
        plain = getattr(room._Problems, name)

        def counted(self, *args, plain=plain):
            products[0] += 1
            return plain(self, *args)

        monkeypatch.setattr(room._Problems, name, counted)
    x, labels = like_an_encoders(n, d, num_classes)
    list(fit_paths([Span.of(x)], [labels], num_classes, WIDE))
    assert products[0] <= limit * len(WIDE)


def test_a_constant_on_all_logits_does_not_wander():
    """Nothing bounds it but rounding; a path that let it grow would lose the digits of float32."""
    x, labels = np.full((600, 3), 2.5, dtype=np.float32), np.arange(600) % 3
    for one in fit_paths([Span.of(x)], [labels], 3, WIDE):
        assert np.abs(one.bias).max() < 1e-3
    for one in fit_paths([Span.of(blobs(60, 8, 3)[0])], [blobs(60, 8, 3)[1]], 3, WIDE):
        assert np.abs(one.bias.mean()) < 1
