"""The transition and what moves it, against tables whose answer was written down."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pytest
from scipy import stats

from headwater.theory.analysis import (
    dependence,
    findings,
    transition,
)
from tests.theory.simulated_table import line, only, table


def coarse(
    places: list[float], ks: tuple[int, ...] = (1, 2, 4, 8, 16, 32), **more: Any
) -> list[dict[str, Any]]:
    """Networks whose hard error is a line in log2 k through one half at each seed's place."""
    return [
        line(k, "coarse", seed, hard=float(np.clip(0.5 + 0.2 * math.log2(k / at), 0, 1)), **more)
        for seed, at in enumerate(places)
        for k in ks
    ]


def test_the_transition_is_found_where_it_was_put_and_its_interval_is_students_in_octaves() -> None:
    places = [5.0, 6.0, 7.5]
    row = only(transition(table(coarse(places))))
    octaves = np.log2(places)
    expected = stats.ttest_1samp(octaves, 0).confidence_interval()
    assert row["answer"] == "crosses"
    assert (row["transition"], row["low"], row["high"]) == (
        pytest.approx(2 ** octaves.mean()),
        pytest.approx(2**expected.low),
        pytest.approx(2**expected.high),
    )
    assert (row["below"], row["above"], row["num_crosses"]) == (4, 8, 3)


def test_a_jump_between_two_k_says_that_only_the_gap_is_known() -> None:
    row = only(
        transition(
            table(
                line(k, "coarse", seed, hard=float(k > 4))
                for seed in range(5)
                for k in (1, 4, 16, 32)
            )
        )
    )
    assert row["transition"] == 8, "seeds agree on the middle"
    assert (row["low"], row["high"]) == (row["below"], row["above"]) == (4, 16), (
        "which is not known better than the gap"
    )


def test_the_interval_holds_the_truth_on_any_grid_of_k_and_no_shift_within_its_gaps_is_told() -> (
    None
):
    """The error is a steep curve that is one half at k = 10.4; grids of k give other points, and
    intervals that agree.
    """
    at = {8: 0.24, 12: 0.66, 16: 0.85, 2: 0.0, 4: 0.0, 32: 0.98, 64: 0.99}
    for grid in ((2, 16), (4, 16), (8, 16), (8, 32), (2, 4, 8, 12, 16, 32)):
        row = only(
            transition(
                table(
                    line(k, "coarse", seed, hard=at[k] + 0.001 * seed)
                    for seed in range(3)
                    for k in grid
                )
            )
        )
        assert row["low"] <= 10.4 <= row["high"]
    moved = [
        line(k, "coarse", seed, hard=at[4 * k] + 0.001 * seed, d=256)
        for seed in range(3)
        for k in (1, 2, 4, 8, 16)
    ]
    nudged = [
        line(k, "coarse", seed, hard=max(at[k] - 0.02, 0) + 0.001 * seed, d=1024)
        for seed in range(3)
        for k in (4, 8, 16, 32)
    ]
    base = [
        line(k, "coarse", seed, hard=at[k] + 0.001 * seed)
        for seed in range(3)
        for k in (2, 4, 8, 16, 32)
    ]
    found = dependence(table([*base, *moved, *nudged])).set_index("value")
    assert found.loc[1024, "shift_low"] > 0 and not found.loc[1024, "told"], (
        "a shift of a few hundredths of an octave in gaps of one"
    )
    assert abs(found.loc[256, "shift"] + 2) < 0.3 and found.loc[256, "told"]


@pytest.mark.parametrize(("hard", "answer"), [(0.3, "never"), (0.7, "already at the smallest k")])
def test_never_and_already_are_answers(hard: float, answer: str) -> None:
    row = only(
        transition(table(line(k, "coarse", seed, hard=hard) for seed in range(3) for k in (2, 8)))
    )
    assert row["answer"] == answer
    assert math.isnan(row["transition"]) and math.isnan(row["median"])
    assert (
        (row["below"] == 8 and math.isnan(row["above"]))
        if answer == "never"
        else (row["above"] == 2 and math.isnan(row["below"]))
    )


def test_seeds_that_never_cross_are_counted_and_leave_a_median_and_no_mean() -> None:
    lines = [
        *coarse([4.0, 6.0]),
        *(line(k, "coarse", 2, hard=0.1) for k in (1, 32)),
        line(4, "coarse", 3, hard=0.6),
        line(4, "coarse", 4, hard=math.nan),
    ]
    row = only(transition(table(lines)))
    assert row["answer"] == "some seeds only"
    assert math.isnan(row["transition"])
    assert (row["num_seeds"], row["num_crosses"], row["num_never"], row["num_unmeasured"]) == (
        5,
        2,
        1,
        2,
    )
    assert row["median"] == pytest.approx(6.0), "of 4, 6 and never"
    assert "no mean" in findings(table(lines))["answers"]["transition"]["sentence"]


def test_an_error_that_falls_again_is_said_and_the_first_crossing_counts() -> None:
    row = only(
        transition(
            table(
                line(k, "coarse", 0, hard=hard)
                for k, hard in ((1, 0.0), (2, 1.0), (4, 0.2), (8, 1.0))
            )
        )
    )
    assert (row["num_returns"], row["transition"]) == (1, pytest.approx(2**0.5))


def test_dependence_gives_shifts_in_octaves_paired_by_seed_and_corrected_for_all_of_them() -> None:
    spread = np.array([0.9, 1.0, 1.15, 1.05])
    lines = (
        coarse(list(6 * spread))
        + coarse(list(12 * spread**1.5), d=2048)
        + coarse(list(3 * spread), sigma_zeta=0.5)
    )
    lines += coarse(
        [6.0, 7.0], ks=(1, 16), d=1024, sigma_zeta=1.0
    )  # differs in two constants at once
    found = dependence(table(lines))
    assert set(found["constant"]) == {"d", "sigma_zeta"}
    assert len(found) == 4
    row = only(found, constant="d", value=2048)
    gaps = np.log2(12 * spread**1.5) - np.log2(6 * spread)
    expected = stats.ttest_1samp(gaps, 0).confidence_interval(1 - 0.05 / 2)
    assert (row["base"], row["shift_seeds"], row["num_comparisons"]) == (512, 4, 2)
    assert (row["shift"], row["shift_low"], row["shift_high"]) == (
        pytest.approx(gaps.mean()),
        pytest.approx(expected.low),
        pytest.approx(expected.high),
    )
    assert only(found, constant="sigma_zeta", value=0.5)["shift"] == pytest.approx(-1)
    assert math.isnan(only(found, constant="d", value=512)["shift"])


def test_dependence_on_training_samples_holds_fresh_batches() -> None:
    found = dependence(table(coarse([6.0, 6.5]) + coarse([3.0, 3.2], train_samples=1000.0)))
    assert [math.isnan(value) for value in found["value"]] == [False, True]
    assert (
        "fresh batches"
        in findings(table(coarse([6.0, 6.5]) + coarse([3.0, 3.2], train_samples=1000.0)))[
            "answers"
        ]["dependence"]["sentence"]
    )
