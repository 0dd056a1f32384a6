"""Groups of images that a subset of any size holds in given shares."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Positions = NDArray[np.int64]
Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Division:
    """Which group each sample is in, and the share of each group in what is drawn."""

    of: NDArray[np.int64]
    """int64 [num_samples]: each sample's group, -1 where it is in none and is never drawn."""
    shares: Floats
    """float64 [num_groups], above 0: each group's share, of the group around it where there is
    one.
    """
    names: tuple[str, ...]
    """What messages call each group."""
    of_those_there: NDArray[np.bool_]
    """bool [num_groups]: whether its share is one of the groups that have images; otherwise the
    group must have some.
    """

    @classmethod
    def made(
        cls,
        of: NDArray[np.int64],
        shares: Floats,
        names: tuple[str, ...],
        *,
        of_those_there: bool = False,
    ) -> Division:
        """One whose groups are all of one kind."""
        return cls(of, shares, names, np.full(len(shares), of_those_there))


@dataclass(frozen=True, eq=False)
class Strata:
    """Divisions of a source, each one within the groups of the one before: the parts of a mix, then
    the classes of each part.
    """

    divisions: tuple[Division, ...]

    def most(self, positions: Positions) -> int:
        """The most images of `positions` that have the shares, to within an image a group; 0 where
        a group that must have some has none.
        """
        inside = positions[self._drawable(positions)]
        if not len(inside) or self.absent(positions):
            return 0
        share = np.ones(len(inside))
        for division, shares in zip(self.divisions, self._shares(inside), strict=True):
            share *= shares[division.of[inside]]
        inner = self.divisions[-1]
        counts = np.bincount(inner.of[inside], minlength=len(inner.shares))
        return int(np.floor(np.min(counts[inner.of[inside]] / share) + 1e-9))

    def absent(self, positions: Positions) -> list[str]:
        """Groups that must have images, and have none among these."""
        inside = positions[self._drawable(positions)]
        names = []
        for division in self.divisions:
            counts = np.bincount(division.of[inside], minlength=len(division.shares))
            empty = (counts == 0) & ~division.of_those_there
            names += [division.names[group] for group in np.flatnonzero(empty)]
        return names

    def left_out(self, drawn: Positions) -> list[str]:
        """The outermost groups of which nothing was drawn, though they have a share."""
        outer = self.divisions[0]
        counts = np.bincount(outer.of[drawn], minlength=len(outer.shares))
        empty = (counts == 0) & ~outer.of_those_there
        return [outer.names[group] for group in np.flatnonzero(empty)]

    def drawn(self, positions: Positions, order: NDArray[np.int64], size: int) -> Positions:
        """`size` images of `positions` in the shares, ascending, `order` int64 [len(positions)]
        being the order in which each group's are taken. A larger size holds a smaller.

        This is systematic sampling: the n-th image of a group of share s comes at (n - u) / s, and
        the u of the groups lie evenly in (0, 1), in the order in which their first images come. So
        small groups do not all come at one moment.
        """
        taken = positions[order]
        taken = taken[self._drawable(taken)]
        first_seen, shares = taken, self._shares(taken)
        outer_of: NDArray[np.int64] = np.zeros(len(taken), dtype=np.int64)
        starts = []
        for division in self.divisions:
            of = division.of[first_seen]
            starts.append(_offsets(of, outer_of, len(division.shares)))
            outer_of = of
        for division, of_groups, start in reversed(
            list(zip(self.divisions, shares, starts, strict=True))
        ):
            of = division.of[taken]
            turn = (_ranks(of) + start[of]) / of_groups[of]
            taken = taken[np.argsort(turn, kind="stable")]
        return np.sort(taken[:size])

    def _shares(self, inside: Positions) -> list[Floats]:
        """The shares of each division among the groups that have images."""
        found = []
        outer: NDArray[np.int64] = np.zeros(len(inside), dtype=np.int64)
        for division in self.divisions:
            of = division.of[inside]
            groups, at = np.unique(of, return_index=True)
            around = outer[at]
            total = np.bincount(around, division.shares[groups])
            shares = division.shares.copy()
            relative = division.of_those_there[groups]
            shares[groups[relative]] /= total[around[relative]]
            found.append(shares)
            outer = of
        return found

    def _drawable(self, positions: Positions) -> NDArray[np.bool_]:
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


def _offsets(of: NDArray[np.int64], outer: NDArray[np.int64], num: int) -> Floats:
    """float64 [num]: of each group, evenly in (0, 1) among those of the same outer group, in the
    order in which they first come.
    """
    groups, first = np.unique(of, return_index=True)
    order = np.lexsort((first, outer[first]))
    around = outer[first][order]
    ranks = _ranks(around)
    counts = np.bincount(around)
    offsets = np.full(num, 0.5)
    offsets[groups[order]] = (ranks + 0.5) / counts[around]
    return offsets
