"""What arms took: hours of a seed, of its pre-training and of each cell, and images."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.registry import METHODS

if TYPE_CHECKING:
    import pandas as pd
    from numpy.typing import NDArray

    from headwater.analysis.configurations import Configuration

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Repeats:
    """Cells that repeat others: the same arm, seed and draw in the same setting, so that they
    differ by fine-tuning alone. Arrays [settings].
    """

    squares: Floats
    """Sum of squares around the means of cells that repeat each other."""
    df: Floats
    """Its degrees of freedom."""
    places: Floats
    """Different (arm, seed, draw)."""


@dataclass(frozen=True)
class Spent:
    """Means over seeds; NaN where rows do not say."""

    training: Floats
    """[arms]: hours of the pre-training of one seed."""
    images: Floats
    """[arms]: distinct images in pre-training."""
    cells: Floats
    """[settings, arms]: hours of one cell (a draw of a seed)."""
    n_test: Floats
    """[settings]: test images, the fewest of its cells."""
    repeats: Repeats | None = None
    """None where no cell repeats another one."""


def hours_of_seeds(table: pd.DataFrame, arms: tuple[Configuration, ...]) -> Floats:
    """[arms]: mean hours of a seed, pre-training and all cells, over seeds of which all of that is
    known; NaN where there is none. A failed cell without a time counts as 0, as does the
    pre-training of arms that have none.
    """
    columns = ["configuration", "seed", "arm", "cell", "status", "seconds", "pretrain_seconds"]
    if not len(table):
        return np.full(len(arms), np.nan)
    seed = ["configuration", "seed"]
    cells = table[columns].drop_duplicates("cell")
    of_cell = cells["seconds"].astype("float64")
    cells = cells.assign(seconds=of_cell.mask(of_cell.isna() & cells["status"].eq("failed"), 0.0))
    of_arms = cells.groupby([*seed, "arm"])["pretrain_seconds"].max().astype("float64")
    untrained = [arm.id for arm in arms if not trains(arm)]
    free = of_arms.index.get_level_values("configuration").isin(untrained)
    of_arms = of_arms.mask(of_arms.isna() & free, 0.0)
    both = _sum_of_known(cells.groupby(seed)["seconds"]) + _sum_of_known(of_arms.groupby(seed))
    return _of(arms, both.groupby(level="configuration").mean() / 3600)


def trains(arm: Configuration) -> bool:
    """Whether an arm has a pre-training."""
    return METHODS[arm.method].trains if arm.method in METHODS else arm.source is not None


def _sum_of_known(groups: Any) -> pd.Series[float]:
    """Sums of a grouped column; NaN where one of them is missing."""
    sums: pd.Series[float] = groups.sum().where(groups.count() == groups.size())
    return sums


def spent_by(
    table: pd.DataFrame,
    arms: tuple[Configuration, ...],
    *,
    cells: Floats,
    n_test: Floats,
    repeats: Repeats | None,
) -> Spent:
    """What the arms of a prepared table took. `cells`, `n_test` and `repeats` are as in `Spent`."""
    trained = table.drop_duplicates("arm").groupby("configuration")
    seconds = trained["pretrain_seconds"].mean().astype("float64")
    return Spent(
        training=_of(arms, seconds / 3600),
        images=_of(arms, trained["unique_images"].mean().astype("float64")),
        cells=cells,
        n_test=np.where(np.isfinite(n_test), n_test, np.nan),
        repeats=repeats,
    )


def _of(arms: tuple[Configuration, ...], by_id: pd.Series[float]) -> Floats:
    values = by_id.to_dict()
    return np.array([values.get(arm.id, np.nan) for arm in arms], dtype=np.float64)


def repeats_of(
    places: tuple[NDArray[np.int64], ...], shape: tuple[int, ...], values: Floats
) -> Repeats | None:
    """Repeats among cells at `places` of a table of this shape, whose first axis are settings."""
    known = ~np.isnan(values)
    flat = np.ravel_multi_index(tuple(place[known] for place in places), shape)
    counts = np.bincount(flat)
    if counts.max(initial=0) < 2:
        return None
    means = np.bincount(flat, weights=values[known]) / np.maximum(counts, 1)
    setting, number = places[0][known], shape[0]
    squares = np.zeros(number)
    np.add.at(squares, setting, (values[known] - means[flat]) ** 2)
    first = np.flatnonzero(counts)
    there = np.bincount(np.unravel_index(first, shape)[0], minlength=number).astype(np.float64)
    cells = np.bincount(setting, minlength=number)
    return Repeats(squares=squares, df=cells - there, places=there)
