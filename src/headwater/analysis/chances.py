"""How probable it is that each of several arms is the best, and what choosing it costs."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

GRID = np.sinh(np.linspace(-9.0, 9.0, 601))
"""Where integrals over means are taken, in scales: dense in the middle, and 4,000 wide."""

_FEWEST_DF = 3.0
"""With one or two, a mean hangs on tails that no share can have: it grows with the grid [ours]."""


def chances_of(means: Floats, scales: Floats, df: Floats) -> tuple[Floats, Floats]:
    """(chance of being the best [k], expected regret [k]) of independent t variables. The regret
    takes them to have `_FEWEST_DF` degrees of freedom or more.
    """
    from scipy.special import stdtr

    unit = float(np.median(scales))
    if unit <= 0:
        best = means == means.max()
        return best / best.sum(), means.max() - means
    grid = np.unique(np.concatenate([mean + unit * GRID for mean in (means.max(), means.mean())]))
    below = stdtr(df, (grid[:, None] - means) / np.maximum(scales, 1e-9 * unit))
    middle = (below[1:] + below[:-1]) / 2
    everyone = np.prod(middle, axis=1, keepdims=True)
    with np.errstate(divide="ignore", invalid="ignore"):
        others = np.where(middle > 0, everyone / middle, 0.0)
    chances = (others * np.diff(below, axis=0)).sum(axis=0)
    chances = chances / chances.sum()
    if df.min() < _FEWEST_DF:
        steady = np.maximum(df, _FEWEST_DF)
        below = stdtr(steady, (grid[:, None] - means) / np.maximum(scales, 1e-9 * unit))
    largest = np.prod(below, axis=1)
    centres = (grid[1:] + grid[:-1]) / 2
    expected = float((centres * np.diff(largest)).sum())
    return chances, np.maximum(expected - means, 0.0)
