"""How often a U is told, and how often where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from headwater.analysis.granularity import _above, _shape

from .simulated import curve

CURVES = 500


def share_of_us(heights: list[float], seeds: int) -> float:
    """Share of curves in points, with own noise of 1, that are told to be a U."""
    rng = np.random.default_rng(len(heights) + 10 * seeds)
    return sum(told_u(curve(heights, seeds, rng)) for _ in range(CURVES)) / CURVES


def told_u(views: pd.DataFrame) -> bool:
    top, last = int(views.to_numpy().mean(axis=0).argmax()), views.shape[1] - 1
    if not 0 < top < last:
        return False
    gaps = {name: _above(views, top, end, 0.95) for name, end in (("coarse", 0), ("fine", last))}
    return _shape(top, last + 1, gaps) == "U"


# what is slow here and in test_questions.py, benchmarks/footing.py measures with more tables
_SLOW = pytest.mark.slow


@pytest.mark.slow
@pytest.mark.parametrize(
    "heights",
    [
        [-3, 0, -3],
        pytest.param([-3, -1.5, 0, -1.5, -3], marks=_SLOW),
        pytest.param([-3, 0, -1, -3], marks=_SLOW),
    ],
)
def test_a_u_three_points_high_is_told_with_three_seeds(heights: list[float]) -> None:
    """With own t-intervals it was told in 31 %."""
    assert share_of_us(heights, 3) > 0.70 - 2 * (0.7 * 0.3 / CURVES) ** 0.5


@pytest.mark.slow
@pytest.mark.parametrize("seeds", [3, *(pytest.param(more, marks=_SLOW) for more in (5, 10))])
@pytest.mark.parametrize(
    "heights",
    [
        [-5, 0, 0],
        pytest.param([-5, 0, 0, 0, 0], marks=_SLOW),
        [0, 0, 0, 0, 0],
        pytest.param([-3, -2, -1, 0], marks=_SLOW),
    ],
)
def test_a_curve_without_a_fall_is_seldom_told_to_be_a_u(heights: list[float], seeds: int) -> None:
    assert share_of_us(heights, seeds) < 0.05 + 3 * (0.05 * 0.95 / CURVES) ** 0.5
