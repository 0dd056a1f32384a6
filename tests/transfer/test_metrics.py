"""Metrics against counts by hand and against the definition in words, one sample at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from headwater.transfer import Choice
from headwater.transfer.metrics import (
    BINS,
    accuracy,
    calibration_error,
    mean_per_class_accuracy,
    metrics,
    superclass_errors,
)


def by_loop(confidence: list[float], right: list[bool], bins: int = BINS) -> float:
    """Guo et al. 2017, as written: bins ((m - 1) / M, m / M], |acc - conf| of each, weighted by its
    share of the samples.
    """
    error = 0.0
    for m in range(1, bins + 1):
        own = [i for i, c in enumerate(confidence) if (m - 1) < c * bins <= m]
        if own:
            gap = sum(right[i] for i in own) / len(own) - sum(confidence[i] for i in own) / len(own)
            error += len(own) / len(confidence) * abs(gap)
    return error


def ece(confidence: list[float], right: list[bool], **more: int) -> float:
    return calibration_error(np.array(confidence), np.array(right), **more)


def test_the_calibration_error_of_four_samples_is_what_a_hand_computes():
    """Two bins: (0, 1/2] holds 0.3 wrong and 0.5 right, (1/2, 1] holds 0.6 right and 0.9 wrong:
    |0.5 - 0.4| / 2 + |0.5 - 0.75| / 2.
    """
    assert ece([0.3, 0.5, 0.6, 0.9], [False, True, True, False], bins=2) == pytest.approx(
        0.05 + 0.125
    )


@given(st.lists(st.tuples(st.floats(0.001, 1.0), st.booleans()), min_size=1, max_size=60))
def test_the_calibration_error_is_that_of_the_definition(samples):
    confidence, right = [list(column) for column in zip(*samples, strict=True)]
    assert ece(confidence, right) == pytest.approx(by_loop(confidence, right), abs=1e-9)


def test_perfect_calibration_is_0_and_sure_mistakes_are_1():
    assert ece([0.75] * 8, [True] * 6 + [False] * 2) == pytest.approx(0, abs=1e-12)
    assert ece([1.0, 1.0], [True, True]) == 0
    assert ece([1.0, 1.0], [False, False]) == 1.0
    assert ece([1.0, 1.0], [True, False]) == 0.5


def test_confidences_at_the_ends_have_a_bin():
    """1.0 is in the last bin and not beyond it; 0.0, which softmax can round to with many classes,
    in the first; 1 + rounding too.
    """
    for end in (1.0, np.nextafter(1.0, 2.0), 0.0, 1e-300):
        assert ece([end, 0.5], [True, True]) == pytest.approx((abs(1 - end) + 0.5) / 2)


def test_over_and_under_confidence_in_different_bins_do_not_cancel():
    assert ece(
        [0.9] * 10 + [0.5] * 10, [True] * 5 + [False] * 5 + [True] * 9 + [False]
    ) == pytest.approx(0.4)


@given(st.integers(0, 1000), st.integers(2, 12), st.integers(1, 50))
def test_mistakes_within_and_across_superclasses_and_what_is_right_sum_to_1(seed, num_classes, n):
    rng = np.random.default_rng(seed)
    predictions, labels = rng.integers(0, num_classes, (2, n))
    superclasses = rng.integers(0, 3, num_classes)
    within, across = superclass_errors(predictions, labels, superclasses)
    assert within + across + accuracy(predictions, labels) == pytest.approx(1)
    pairs = list(zip(predictions.tolist(), labels.tolist(), strict=True))
    assert within == pytest.approx(
        sum(p != w and superclasses[p] == superclasses[w] for p, w in pairs) / n
    )


def test_a_cat_taken_for_a_dog_is_within_and_for_an_oak_across():
    animal_animal_plant = np.array([0, 0, 1])
    assert superclass_errors(
        np.array([1, 2, 0, 2]), np.array([0, 0, 0, 2]), animal_animal_plant
    ) == (0.25, 0.25)


CHOICE = Choice({}, 0.5, np.array([0, 1, 1, 2]), np.array([0.9, 0.8, 0.7, 0.6]))
LABELS: NDArray[np.int64] = np.array([0, 0, 1, 2])
EVERY = np.ones(4, dtype=bool)


def test_metrics_are_those_that_can_be_told():
    full = dict(metrics(CHOICE, LABELS, EVERY, np.array([0, 0, 1])))
    assert list(full) == ["top1", "mean_per_class", "ece", "error_within", "error_across"]
    assert full["top1"] == 0.75
    assert full["mean_per_class"] == pytest.approx((0.5 + 1 + 1) / 3)
    assert (full["error_within"], full["error_across"]) == (0.25, 0.0)
    assert "ece" not in dict(metrics(Choice({}, 0.5, CHOICE.predictions), LABELS, EVERY, None))
    assert list(dict(metrics(CHOICE, LABELS, EVERY, None))) == ["top1", "mean_per_class", "ece"]


def test_metrics_of_a_part_of_the_test_set_look_at_that_part_alone():
    part = dict(metrics(CHOICE, LABELS, np.array([False, True, False, True]), np.array([0, 0, 1])))
    assert part["top1"] == part["mean_per_class"] == 0.5
    assert part["ece"] == pytest.approx((0.8 + 0.4) / 2)
    assert all(math.isfinite(value) and 0 <= value <= 1 for value in part.values())


def test_the_confidence_of_logits_is_the_softmax_of_the_predicted_class():
    logits = np.array([[1.0, 3.0, 2.0], [5.0, 5.0, 0.0], [1000.0, -1000.0, 0.0]], dtype=np.float32)
    choice = Choice.of_logits({}, None, logits)
    assert choice.predictions.tolist() == [1, 0, 0]
    assert choice.confidence == pytest.approx(
        [math.exp(3) / (math.e + math.exp(2) + math.exp(3)), 1 / (2 + math.exp(-5)), 1.0]
    )
    assert Choice.of_logits({}, None, logits, probabilities=False).confidence is None


def test_mean_per_class_accuracy_is_recall_averaged_over_the_classes_that_occur():
    assert mean_per_class_accuracy(np.array([0, 0, 3, 3]), np.array([0, 3, 3, 3])) == pytest.approx(
        (1 + 2 / 3) / 2
    )
