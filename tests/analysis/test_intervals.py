from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from headwater.analysis.intervals import Interval, seeds_needed, t_interval, t_quantile

numbers = st.lists(st.floats(-1, 1, allow_nan=False), min_size=2, max_size=12)


@given(numbers)
def test_the_interval_is_students_as_scipy_computes_it(values: list[float]) -> None:
    found = t_interval(values)
    sd = np.std(values, ddof=1)
    low, high = (
        stats.t.interval(
            0.95, len(values) - 1, loc=np.mean(values), scale=sd / math.sqrt(len(values))
        )
        if sd > 0
        else (np.mean(values),) * 2
    )
    assert found.low == pytest.approx(low, abs=1e-9)
    assert found.high == pytest.approx(high, abs=1e-9)


def test_bonferroni_of_m_comparisons_is_the_interval_at_one_minus_alpha_over_m() -> None:
    values = [0.1, 0.14, 0.05, 0.2]
    expected = stats.ttest_1samp(values, 0).confidence_interval(1 - 0.05 / 7)
    found = t_interval(values, comparisons=7)
    assert (found.low, found.high) == (pytest.approx(expected.low), pytest.approx(expected.high))


def test_one_seed_has_a_mean_and_no_interval_and_none_has_nothing() -> None:
    assert t_interval([0.5]) == Interval(0.5, None, None, None, 1)
    assert t_interval([]) == Interval(None, None, None, None, 0)
    assert not t_interval([0.5]).excludes_zero


def test_seeds_needed_is_the_first_count_at_which_the_interval_excludes_zero() -> None:
    found = t_interval([0.01, 0.05, -0.01])
    more = seeds_needed(found)
    assert more is not None and more > 0
    n, sd = found.num_seeds + more, found.sd or 0
    assert t_quantile(n - 1) * sd / math.sqrt(n) < abs(found.mean or 0)
    assert t_quantile(n - 2) * sd / math.sqrt(n - 1) >= abs(found.mean or 0)


def test_seeds_needed_is_not_identifiable_at_one_seed_at_a_tie_and_beyond_reach() -> None:
    assert seeds_needed(t_interval([0.5])) is None
    assert seeds_needed(t_interval([0.1, -0.1])) is None
    assert seeds_needed(t_interval([0.5, -0.499])) is None
    assert seeds_needed(t_interval([0.5, 0.51, 0.49])) == 0
