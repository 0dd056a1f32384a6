"""Errors of simulated networks, against scipy's figures and tables made by hand."""

from __future__ import annotations

import itertools
import math

import numpy as np
import pytest
from scipy import stats

from headwater.errors import InputError
from headwater.theory.analysis import (
    errors,
    findings,
    phase,
)
from headwater.theory.analysis.error_rates import exact_interval
from headwater.theory.analysis.settings import tied, varying
from tests.theory.simulated_table import line, only, table


def test_errors_are_means_with_students_interval_as_scipy_has_it_cut_to_shares() -> None:
    hard = [0.9, 0.95, 1.0, 0.85]
    row = only(
        errors(table(line(16, "coarse", seed, hard=value) for seed, value in enumerate(hard))),
        samples="hard",
    )
    expected = stats.ttest_1samp(hard, 0).confidence_interval()
    assert (row["error"], row["num_seeds"], row["agree"]) == (pytest.approx(0.925), 4, False)
    assert row["low"] == pytest.approx(expected.low)
    assert expected.high > 1 and row["high"] == 1.0


@pytest.mark.parametrize(
    ("hits", "trials"), [(0, 1000), (3, 1000), (500, 1000), (1000, 1000), (1, 1)]
)
def test_the_exact_interval_is_scipys_clopper_pearson(hits: int, trials: int) -> None:
    expected = stats.binomtest(hits, trials).proportion_ci(0.95, method="exact")
    assert exact_interval(hits / trials, trials) == (
        pytest.approx(expected.low, abs=1e-12),
        pytest.approx(expected.high, abs=1e-12),
    )


@pytest.mark.parametrize("error", [0.0, 1.0])
def test_where_every_seed_agrees_the_interval_is_not_sold_as_sure(error: float) -> None:
    row = only(
        errors(table(line(32, "fine", seed, hard=error, test_samples=500) for seed in range(5))),
        samples="hard",
    )
    assert row["low"] == row["high"] == error and row["agree"]
    within = stats.binomtest(int(500 * error), 500).proportion_ci(0.95, method="exact")
    assert (row["within_low"], row["within_high"]) == (
        pytest.approx(within.low),
        pytest.approx(within.high),
    )
    beyond = stats.binomtest(int(5 * error), 5).proportion_ci(0.95, method="exact")
    assert (row["beyond_low"], row["beyond_high"]) == (
        pytest.approx(beyond.low),
        pytest.approx(beyond.high),
    )


def test_the_bound_beyond_the_seeds_covers_the_worst_mixture_of_seeds() -> None:
    """A share q of seeds errs always, the others never: were q above the bound, all seeds at 0
    would come up less than once in 40.
    """
    row = only(errors(table(line(8, "fine", seed) for seed in range(4))), samples="hard")
    bound = float(row["beyond_high"])
    assert (1 - bound) ** 4 == pytest.approx(0.025)
    rng = np.random.default_rng(0)
    draws = rng.random((200_000, 4)) < bound
    assert (~draws).all(axis=1).mean() == pytest.approx(0.025, abs=0.002)


def test_looks_enter_no_error_and_what_was_not_measured_or_did_not_converge_is_counted() -> None:
    lines = [
        line(4, "coarse", 0, hard=0.2),
        line(4, "coarse", 0, hard=0.9, final=False, steps=10),
        line(4, "coarse", 1, hard=0.4, converged=False),
    ]
    row = only(errors(table([*lines, line(4, "coarse", 2, hard=math.nan)])), samples="hard")
    assert row["error"] == pytest.approx(0.3)
    assert (row["num_seeds"], row["num_unmeasured"], row["num_unconverged"]) == (2, 1, 1)


def test_one_network_in_two_sweeps_is_one_seed() -> None:
    lines = [
        line(4, "coarse", seed, hard=0.1 * seed, sweep=sweep)
        for seed in range(3)
        for sweep in ("a", "b")
    ]
    row = only(errors(table(lines)), samples="hard")
    assert row["num_seeds"] == 3
    assert row["high"] == pytest.approx(
        min(1, stats.ttest_1samp([0, 0.1, 0.2], 0).confidence_interval().high)
    )


def test_constants_that_vary_are_settings_and_those_that_follow_the_labels_are_tied() -> None:
    lines = [
        line(4, labels, 0, d=d, lr=lr)
        for labels, lr in (("coarse", 0.5), ("fine", 2.0))
        for d in (64, 128)
    ]
    found = table([*lines, *(one | {"train_samples": 100.0} for one in lines)])
    assert varying(found) == ["d", "train_samples"]
    assert tied(found) == ["lr"]
    assert len(errors(found)) == 2 * 2 * 2 * 2, "fresh batches (NaN) are a setting too"


def test_a_column_that_is_missing_and_an_error_that_is_no_share_are_said() -> None:
    whole = table([line(4, "coarse", 0)])
    with pytest.raises(InputError, match="no column hard_error"):
        errors(whole.drop(columns="hard_error"))
    with pytest.raises(InputError, match=r"easy_error = 12\.0"):
        findings(whole.assign(easy_error=12.0))


def test_the_phase_holds_hard_errors_over_k_and_noise_for_coarse_and_fine() -> None:
    lines = []
    for k, sigma in itertools.product((1, 2), (0.5, 1.0)):
        for labels, seed in itertools.product(("coarse", "fine", "merge:2"), range(2)):
            hard = 0.1 * k * sigma if labels == "coarse" else 0.0
            lines.append(line(k, labels, seed, hard=hard, easy=0.5, sigma_star=sigma))
    found = phase(table(lines))
    assert len(found) == 8
    assert only(found, subclasses=2, sigma_star=0.5, labels="coarse")["error"] == pytest.approx(0.1)
    assert not len(phase(table(line(k, "coarse", 0) for k in (1, 2))))
