"""Ridge against scikit-learn's at every strength, and its choice against a loop."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sklearn.linear_model import Ridge as Theirs
from sklearn.preprocessing import StandardScaler

from headwater.transfer import NotFinite
from headwater.transfer import ridge as room
from headwater.transfer.linear import LinearHead
from headwater.transfer.probe import Fit
from headwater.transfer.protocols.ridge import Ridge
from headwater.transfer.ridge import ridges
from tests.transfer.test_probe import blobs, with_constants, with_copies

L2S = (1e-6, 1e-3, 0.1, 1.0, 30.0, 1e5)


def only(x: np.ndarray, labels: np.ndarray, num_classes: int, l2: float) -> LinearHead:
    """The head at one l2."""
    return ridges([Fit(x, labels, x, labels)], num_classes, (l2,))[0].head


def one_hot(labels: np.ndarray, num_classes: int) -> np.ndarray:
    return np.eye(num_classes)[labels]


LACKING = blobs(90, 12, 3)
CASES = {
    "more images than features": (*blobs(400, 20, 5), 5),
    "more features than images": (*blobs(40, 120, 5), 5),
    "as many images as features": (*blobs(30, 30, 3), 3),
    "two classes": (*blobs(200, 10, 2), 2),
    "classes that train lacks": (LACKING[0], LACKING[1] + 2, 7),
    "collinear features": (with_copies(blobs(200, 20, 4)[0]), blobs(200, 20, 4)[1], 4),
    "constant features": (with_constants(blobs(200, 10, 4)[0]), blobs(200, 10, 4)[1], 4),
    "one image per class": (*blobs(5, 30, 5), 5),
    "one image": (*blobs(1, 6, 1), 3),
}


@pytest.mark.parametrize("case", CASES)
def test_every_strength_is_scikit_learns_ridge_on_one_hot_labels(case):
    """The loss is a mean over images and theirs a sum, so that alpha is n * l2.

    Constant features are 0 in their scaler, as here.
    """
    x, labels, num_classes = CASES[case]
    others = blobs(60, x.shape[1], 5, seed=5)[0]
    if case == "constant features":
        others[:, 10:] = x[:1, 10:]
    if case == "collinear features":
        others = with_copies(blobs(60, 20, 4, seed=5)[0])
    scaler = StandardScaler().fit(x.astype(np.float64))
    for l2 in L2S:
        theirs = Theirs(alpha=len(x) * l2, solver="svd").fit(
            scaler.transform(x.astype(np.float64)), one_hot(labels, num_classes)
        )
        head = only(x, labels, num_classes, l2)
        for some in (x, others):
            expected = theirs.predict(scaler.transform(some.astype(np.float64)))
            if case == "one image":
                expected = np.broadcast_to(one_hot(labels, num_classes), expected.shape)
            assert head.logits(some) == pytest.approx(
                expected, abs=2e-3 if case == "collinear features" else 2e-4
            ), l2
        if case not in ("one image", "collinear features"):
            assert head.weight == pytest.approx(theirs.coef_.T, abs=2e-4)


def test_classes_that_train_lacks_are_never_predicted():
    x, labels, num_classes = CASES["classes that train lacks"]
    assert set(only(x, labels, num_classes, 0.1).logits(x).argmax(1)) <= {2, 3, 4}


def by_loop(fit: Fit, num_classes: int, l2s: tuple[float, ...]) -> tuple[float, float]:
    """(l2, accuracy) by the rule in words: accuracy, then the lower squared error, then the
    stronger l2.
    """
    found = []
    for l2 in l2s:
        scores = (
            only(fit.train, fit.train_labels, num_classes, l2).logits(fit.val).astype(np.float64)
        )
        right = float((scores.argmax(1) == fit.val_labels).mean())
        found.append((right, -np.square(scores - one_hot(fit.val_labels, num_classes)).sum(), l2))
    right, _, l2 = max(found)
    return l2, right


@given(st.integers(0, 10_000), st.integers(1, 6), st.sampled_from([3, 40]))
def test_the_choice_is_that_of_a_loop_over_the_grid(seed, shots, d):
    train, val = blobs(shots * 3, d, 3, seed=seed), blobs(30, d, 3, seed=seed + 1)
    fit = Fit(*train, *val)
    found = ridges([fit], 3, L2S)[0]
    l2, right = by_loop(fit, 3, L2S)
    assert found.val_value == right
    assert found.l2 == l2


def test_of_equally_accurate_strengths_the_lower_squared_error_wins_of_equal_ones_the_stronger():
    x = np.array([[-1.0], [1.0]], dtype=np.float32)
    labels = np.array([0, 1])
    assert ridges([Fit(x, labels, x, labels)], 2, (0.1, 10.0))[0].l2 == 0.1, (
        "both are right, the weaker one is nearer to one-hot"
    )
    far = 5 * x
    assert ridges([Fit(x, labels, far, labels)], 2, (1e-6, 4.0))[0].l2 == 4.0, (
        "far out the weaker one overshoots"
    )
    same = np.full((4, 2), 3.0, dtype=np.float32)
    assert (
        ridges(
            [Fit(same, np.array([0, 0, 1, 2]), same, np.array([0, 1, 1, 2]))], 3, (0.1, 10.0, 1.0)
        )[0].l2
        == 10.0
    )


def test_validation_in_parts_is_validation_whole(monkeypatch):
    fit = Fit(*blobs(60, 20, 4), *blobs(53, 20, 4, seed=1))
    whole = ridges([fit], 4, Ridge().l2)[0]
    for rows in (1, 10, 52):
        monkeypatch.setattr(room, "_ROWS", rows)
        part = ridges([fit], 4, Ridge().l2)[0]
        assert (part.l2, part.val_value) == (whole.l2, whole.val_value)


def test_selection_is_handed_train_and_val_only_and_no_l2_sees_another():
    assert not any("test" in name for name in inspect.signature(ridges).parameters)
    fit = Fit(*blobs(60, 20, 4), *blobs(53, 20, 4, seed=1))
    chosen = ridges([fit], 4, Ridge().l2)[0]
    assert np.array_equal(
        chosen.head.weight, only(fit.train, fit.train_labels, 4, chosen.l2).weight
    )


def test_a_ridge_is_deterministic_and_the_same_whatever_stands_beside_it():
    fits = [Fit(*blobs(n, 30, 3, seed=n), *blobs(20, 30, 3, seed=99)) for n in (9, 40, 200)]
    together = ridges(fits, 3, Ridge().l2)
    for fit, among in zip(fits, together, strict=True):
        alone = ridges([fit], 3, tuple(reversed(Ridge().l2)))[0]
        assert (alone.l2, alone.val_value) == (among.l2, among.val_value)
        assert np.array_equal(alone.head.weight, among.head.weight)
        assert np.array_equal(alone.head.bias, among.head.bias)


@pytest.mark.parametrize("n", [30, 5000])
def test_features_in_a_file_that_cannot_be_written_give_the_same_bits(tmp_path: Path, n: int):
    """5000 images are more than are standardised at a time."""
    x, labels = blobs(n, 40, 4)
    np.save(tmp_path / "x.npy", x)
    mapped = np.load(tmp_path / "x.npy", mmap_mode="r")
    before = (tmp_path / "x.npy").read_bytes()
    a, b = (ridges([Fit(some, labels, some, labels)], 4, L2S)[0] for some in (x, mapped))
    assert (a.l2, a.val_value) == (b.l2, b.val_value)
    assert np.array_equal(a.head.weight, b.head.weight)
    assert (tmp_path / "x.npy").read_bytes() == before


@pytest.mark.parametrize("bad", [np.nan, np.inf])
def test_features_that_are_not_finite_are_refused(bad):
    train, val = blobs(30, 4, 3), blobs(30, 4, 3, seed=1)
    for broken in (0, 2):
        parts = [*train, *val]
        parts[broken] = parts[broken].copy()
        parts[broken][7, 1] = bad
        with pytest.raises(NotFinite, match="features of 1 of 30 images"):
            ridges([Fit(*parts)], 3, L2S)
