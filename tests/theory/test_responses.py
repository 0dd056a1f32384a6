"""The ratio of responses and the course of training, against scipy's own regression."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from headwater.theory.analysis import (
    findings,
    gradual,
    response_exponent,
    response_ratio,
)
from tests.theory.simulated_table import line, only, table


def answering(k: int, seed: int, ratio: float, **more: Any) -> dict[str, Any]:
    return line(k, "coarse", seed, common_aligned_mean=0.5, fine_aligned_mean=0.5 * ratio, **more)


def test_the_exponent_is_that_of_scipys_regression_for_each_seed() -> None:
    rng = np.random.default_rng(0)
    ks = [1, 2, 4, 8, 16, 32]
    ratios: dict[int, list[float]] = {}
    for seed in range(4):
        ratios[seed] = [float(0.9 * k**-1.1 * rng.lognormal(0, 0.1)) for k in ks]
    found = response_exponent(
        table(
            answering(k, seed, value)
            for seed, values in ratios.items()
            for k, value in zip(ks, values, strict=True)
        )
    )
    row = only(found, from_k=1)
    fits = [stats.linregress(np.log(ks), np.log(values)) for values in ratios.values()]
    slopes = [-fit.slope for fit in fits]
    expected = stats.ttest_1samp(slopes, 0).confidence_interval()
    assert (row["exponent"], row["low"], row["high"]) == (
        pytest.approx(np.mean(slopes)),
        pytest.approx(expected.low),
        pytest.approx(expected.high),
    )
    assert row["r2"] == pytest.approx(np.mean([fit.rvalue**2 for fit in fits]))
    assert row["factor"] == pytest.approx(math.exp(np.mean([fit.intercept for fit in fits])))
    off = [
        abs(math.log(v / math.exp(f.intercept) * k**-f.slope))
        for f, vs in zip(fits, ratios.values(), strict=True)
        for k, v in zip(ks, vs, strict=True)
    ]
    assert row["worst"] == pytest.approx(math.exp(max(off)))
    assert only(found, from_k=8)["num_k"] == 3


def test_ratios_of_zero_or_less_are_in_the_mean_and_counted_where_they_have_no_logarithm() -> None:
    lines = [
        answering(k, seed, -0.01 if (k, seed) == (16, 1) else 1 / k)
        for k in (1, 4, 16)
        for seed in range(3)
    ]
    lines.append(line(4, "coarse", 3, common_aligned_mean=-0.1))
    row = only(response_ratio(table(lines)), subclasses=16)
    assert row["ratio"] == pytest.approx((2 / 16 - 0.01) / 3)
    assert row["num_not_positive"] == 1
    assert only(response_ratio(table(lines)), subclasses=4)["num_undefined"] == 1
    fit = only(response_exponent(table(lines)), from_k=1)
    assert (fit["num_left_out"], fit["exponent"]) == (2, pytest.approx(1))
    assert "2 ratios of 0 or less" in findings(table(lines))["answers"]["ratio"]["sentence"]


def test_tests_and_read_outs_do_not_multiply_networks_where_training_has_no_hard_samples() -> None:
    def lines(hard_share: float) -> pd.DataFrame:
        kinds = [(sigma, read_out) for sigma in (0.0, 1.0) for read_out in ("max", "tuned")]
        return table(
            answering(k, s, 1 / k, sigma_star=sigma, read_out=r, hard_share=hard_share)
            for k in (2, 8)
            for s in range(3)
            for sigma, r in kinds
        )

    assert list(response_ratio(lines(0.0))["num_seeds"]) == [3, 3]
    assert "sigma_star" not in response_ratio(lines(0.0))
    assert list(response_ratio(lines(0.1))["sigma_star"]) == [0.0, 0.0, 1.0, 1.0]


def test_a_course_meets_on_straight_lines_and_a_network_that_has_ended_stays() -> None:
    def look(seed: int, step: int, value: float, *, final: bool = False) -> dict[str, Any]:
        return line(
            4, "coarse", seed, steps=step, final=final, common_aligned_mean=value, hard=value / 10
        )

    lines = [
        look(0, 0, 0.0),
        look(0, 10, 1.0),
        look(0, 20, 2.0, final=True),
        look(1, 0, 0.0),
        look(1, 20, 4.0),
        look(1, 40, 6.0, final=True),
    ]
    lines += [look(2, 0, 0.0), look(2, 10, 1.0)]  # not seen to its end
    found = gradual(table(lines))
    course = found[found["quantity"] == "common_aligned_mean"].set_index("steps")
    assert course["mean"].to_dict() == {0: 0.0, 10: pytest.approx(4 / 3), 20: 3.0, 40: 4.0}
    assert course["num_seeds"].to_dict() == {0: 3, 10: 3, 20: 2, 40: 2}
    assert course["num_stopped"].to_dict() == {0: 0, 10: 0, 20: 1, 40: 2}
    assert only(found, quantity="hard_error", steps=40)["mean"] == pytest.approx(0.4)
    assert not len(gradual(table([look(0, 10, 1.0, final=True)])))
