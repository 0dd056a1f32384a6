"""Would the order of arms at a small size have told that at a large one?

For every two arms that were run at both sizes, alike in all else, the order of their mean scores is
asked at each; the share of pairs with the same order is the decision accuracy (the measure of
DataDecide, Magnusson et al. 2025, arXiv 2504.11393), by what the small runs are judged by: a
setting (task, protocol, shots), or the mean over tasks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import combinations
from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.evidence import Evidence, Line, evidence_of
from headwater.analysis.exchange.families import Family, families
from headwater.analysis.exchange.seeds import Seeds
from headwater.analysis.words import count, shots_words

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis.curves.curve import Floats

_SAME = 1.1
"""Sizes of two arms this near each other (a ratio) are one size: copies count once."""
LEVEL = 0.95
COLUMNS = (
    "criterion", "target", "small", "large", "pairs", "right", "told", "told_right", "reversed",
)  # fmt: skip


@dataclass(frozen=True)
class Pair:
    """Two arms at two sizes; gaps are the first's error minus the second's, percent."""

    small: float
    large: float
    near: float
    """The gap at the small size."""
    far: float
    near_told: bool
    """Whether seeds tell the sign of the gap at the small size."""
    far_told: bool


def backtest(rows: pd.DataFrame | Evidence) -> pd.DataFrame:
    """A line for each criterion and each pair of sizes, with the columns COLUMNS.

    `criterion` is what small runs are judged by, `target` what large ones are: the same setting, or
    the mean over all tasks of a protocol and number of shots. `pairs` are those whose order at the
    large size seeds tell (at 95 %): of the others nobody knows which answer is right. `right` is
    the share with that order at the small size; `told` and `told_right` are the same where seeds
    tell the order at the small size, too; `reversed` is the share of all pairs whose order is told
    at both sizes and is another one.
    """
    import pandas as pd

    found = rows if isinstance(rows, Evidence) else evidence_of(rows)
    body = []
    for line in found.lines():
        measured = [one.measured(line) for one in families(line.arms)]
        every = [one for one in measured if one is not None and len(one.arms) > 1]
        if len(every) < 2:
            continue
        target = [one.seeds(line) for one in every]
        whole = f"{line.protocol}, {shots_words(line.shots)}"
        ways = [(f"{whole}, mean over tasks", target)]
        if len(line.tasks) > 1:
            ways += [(f"{whole}, {task}", _of_task(line, every, task)) for task in line.tasks]
        for criterion, near in ways:
            body += list(_scored(criterion, f"{whole}, mean over tasks", near, target))
    return pd.DataFrame(body, columns=list(COLUMNS))


def _of_task(line: Line, every: list[Family], task: str) -> list[Seeds]:
    weights = {other: float(other == task) for other in line.tasks}
    return [one.seeds(line, weights) for one in every]


def _scored(
    criterion: str, target: str, near: list[Seeds], far: list[Seeds]
) -> Iterator[dict[str, object]]:
    pairs = list(_pairs(near, far, _sizes(near)))
    for small, large in sorted({(pair.small, pair.large) for pair in pairs}):
        of = [pair for pair in pairs if (pair.small, pair.large) == (small, large)]
        known = [pair for pair in of if pair.far_told]
        right = [bool(np.sign(pair.near) == np.sign(pair.far)) for pair in known]
        told = [ok for ok, pair in zip(right, known, strict=True) if pair.near_told]
        yield {
            "criterion": criterion,
            "target": target,
            "small": small,
            "large": large,
            "pairs": len(known),
            "right": float(np.mean(right)) if right else float("nan"),
            "told": len(told),
            "told_right": float(np.mean(told)) if told else float("nan"),
            "reversed": (len(told) - sum(told)) / len(of),
        }


def _sizes(curves: list[Seeds]) -> list[float]:
    """The sizes of all curves, ascending; of some that are one (_SAME), the largest."""
    found: list[float] = []
    for n in sorted({float(n) for one in curves for n in one.n}, reverse=True):
        if not found or found[-1] / n >= _SAME:
            found.append(n)
    return found[::-1]


def _pairs(near: list[Seeds], far: list[Seeds], sizes: list[float]) -> Iterator[Pair]:
    """All pairs of arms at all pairs of sizes that both arms have."""
    for one, other in combinations(range(len(near)), 2):
        both = _common(near[one].n, near[other].n, sizes)
        for (small, a, b), (large, c, d) in combinations(both, 2):
            gap, told = _gap(near[one], a, near[other], b)
            later, later_told = _gap(far[one], c, far[other], d)
            yield Pair(small, large, gap, later, told, later_told)


def _common(one: Floats, other: Floats, sizes: list[float]) -> list[tuple[float, int, int]]:
    """(size, its place in each) of the sizes that two arms share, ascending."""
    found: list[tuple[float, int, int]] = []
    for size in sizes:
        places = [int(np.argmin(np.abs(np.log(n / size)))) for n in (one, other)]
        nearest = (one[places[0]], other[places[1]])
        if all(max(n / size, size / n) < _SAME for n in nearest):
            found.append((round(size), places[0], places[1]))
    return found


def _gap(one: Seeds, a: int, other: Seeds, b: int) -> tuple[float, bool]:
    """(the mean gap over paired seeds, whether they tell its sign)."""
    from scipy.special import stdtrit

    pairs = sorted(set(one.seeds) & set(other.seeds))
    gaps = one.rows_of(pairs)[:, a] - other.rows_of(pairs)[:, b]
    gaps = gaps[np.isfinite(gaps)]
    if not len(gaps):
        return float("nan"), False
    mean = float(gaps.mean())
    if len(gaps) < 2:
        return mean, False
    half = float(stdtrit(len(gaps) - 1, (1 + LEVEL) / 2) * gaps.std(ddof=1) / np.sqrt(len(gaps)))
    return mean, abs(mean) > half


def backtest_sentences(table: pd.DataFrame) -> list[str]:
    """What a backtest says, of all criteria together."""
    if not len(table) or not table["pairs"].sum():
        return [
            "No two arms were run at two sizes with an order that seeds tell at the larger one."
        ]
    said = []
    for small, large in sorted(set(zip(table["small"], table["large"], strict=True))):
        of = table[(table["small"] == small) & (table["large"] == large) & (table["pairs"] > 0)]
        if not len(of):
            continue
        right = (of["right"] * of["pairs"]).sum() / of["pairs"].sum()
        said.append(
            f"From {small:,.0f} to {large:,.0f} images: {100 * right:.0f} % of orders right, over "
            f"{count(len(of), 'way')} to judge them."
        )
    return said
