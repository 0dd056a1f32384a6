"""Groups of images that a subset of any size holds in given shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, eq=False)
class Division:
    """Which group each sample is in, and the share of each group in what is drawn."""

    of: NDArray[np.int64]
    """int64 [num_samples]: each sample's group, -1 where it is in none and is never drawn."""
    shares: NDArray[np.float64]
    """float64 [num_groups], above 0: each group's share, of the group around it where there is
    one.
    """


@dataclass(frozen=True, eq=False)
class Strata:
    """Divisions of a source, each one within the groups of the one before: the parts of a mix, then
    the classes of each part.
    """

    divisions: tuple[Division, ...]

    @classmethod
    def of(cls, groups: NDArray[np.int64], shares: NDArray[np.float64]) -> Strata:
        """One division."""
        return cls((Division(groups, shares),))

    def most(self, positions: NDArray[np.int64]) -> int:
        """The most images of `positions` that have the shares, to within an image a group."""
        inside = positions[self._drawable(positions)]
        if not len(inside):
            return 0
        share = np.ones(len(inside))
        for division in self.divisions:
            share *= division.shares[division.of[inside]]
        inner = self.divisions[-1]
        counts = np.bincount(inner.of[inside], minlength=len(inner.shares))
        if not counts.all():
            return 0
        return int(np.floor(np.min(counts[inner.of[inside]] / share) + 1e-9))

    def drawn(
        self, positions: NDArray[np.int64], order: NDArray[np.int64], size: int
    ) -> NDArray[np.int64]:
        """`size` images of `positions` in the shares, ascending, `order` int64 [len(positions)]
        being the order in which each group's are taken. A larger size holds a smaller.

        The n-th image of a group of share s comes at (n - 1/2) / s: Webster's method of dividing
        seats, which favours neither large groups nor small ones.
        """
        taken = positions[order]
        taken = taken[self._drawable(taken)]
        for division in reversed(self.divisions):
            of = division.of[taken]
            turn = (_ranks(of) + 0.5) / division.shares[of]
            taken = taken[np.argsort(turn, kind="stable")]
        return np.sort(taken[:size])

    def _drawable(self, positions: NDArray[np.int64]) -> NDArray[np.bool_]:
        inside: NDArray[np.bool_] = np.ones(len(positions), dtype=bool)
        for division in self.divisions:
            inside &= division.of[positions] >= 0
        return inside


def _ranks(of: NDArray[np.int64]) -> NDArray[np.int64]:
    """int64: how many of the same group come before each."""
    by_group = np.argsort(of, kind="stable")
    counts = np.bincount(of)
    starts = np.cumsum(counts) - counts
    ranks = np.empty(len(of), dtype=np.int64)
    ranks[by_group] = np.arange(len(of)) - np.repeat(starts, counts)
    return ranks
