"""How often a U is told, and how often where there is none."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from headwater.analysis.granularity import _above, _shape

CURVES = 500


def share_of_us(heights: list[float], seeds: int) -> float:
    """Share of curves in points, with own noise of 1, that are told to be a U."""
    rng = np.random.default_rng(len(heights) + 10 * seeds)
    settings = [("task", "probe", 5, seed, 0) for seed in range(seeds)]
    index = pd.MultiIndex.from_tuples(settings, names=["task", "protocol", "shots", "seed", "draw"])
    last, told = len(heights) - 1, 0
    for _ in range(CURVES):
        values = np.array(heights) + rng.normal(size=(seeds, len(heights)))
        scores = pd.DataFrame(values, index=index, columns=[f"v{n}" for n in range(len(heights))])
        top = int(values.mean(axis=0).argmax())
        gaps = {
            name: _above(scores, top, end, 0.95)
            for name, end in (("coarse", 0), ("fine", last))
            if 0 < top < last
        }
        told += 0 < top < last and _shape(top, last + 1, gaps) == "U"
    return told / CURVES


@pytest.mark.parametrize("heights", [[-3, 0, -3], [-3, -1.5, 0, -1.5, -3], [-3, 0, -1, -3]])
def test_a_u_three_points_high_is_told_with_three_seeds(heights: list[float]) -> None:
    """With own t-intervals it was told in 31 %."""
    assert share_of_us(heights, 3) > 0.70 - 2 * (0.7 * 0.3 / CURVES) ** 0.5


@pytest.mark.parametrize("seeds", [3, 5, 10])
@pytest.mark.parametrize(
    "heights", [[-5, 0, 0], [-5, 0, 0, 0, 0], [0, 0, 0, 0, 0], [-3, -2, -1, 0]]
)
def test_a_curve_without_a_fall_is_seldom_told_to_be_a_u(heights: list[float], seeds: int) -> None:
    assert share_of_us(heights, seeds) < 0.05 + 3 * (0.05 * 0.95 / CURVES) ** 0.5
