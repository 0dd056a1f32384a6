"""A learning curve: how an error falls as a number of images grows.

Everything in this room works on errors, so that a lower value is better. A table of accuracies is
turned over when it comes in and back when it goes out (`Unit`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Unit:
    """What the scores of a table are."""

    rising: bool
    """True where a higher score is better."""
    best: float | None
    """The best score there can be, 1 or 100 for shares; 0 for an error or a loss; None where none
    is known.
    """

    def error(self, score: Floats) -> Floats:
        """Scores as errors, in the same unit; 0 is the best where it is known."""
        if not self.rising:
            return score
        return (self.best or 0.0) - score

    def score(self, error: Floats) -> Floats:
        """Errors as scores again."""
        return self.error(error)

    @property
    def least(self) -> float | None:
        """The least error there can be; None where it is not known."""
        return None if self.best is None else 0.0


@dataclass(frozen=True)
class Curve:
    """One curve. Arrays are float64 of one length, at least 1, ordered by `n`."""

    name: str
    group: str
    """Curves of one group are more alike than others: one test set, say. '' where nobody said."""
    n: Floats
    """Images (or images seen, or cost); above 0, each once."""
    error: Floats
    """Mean error there, in the table's unit."""
    se: Floats
    """Standard error of that mean; NaN where it is not known."""
    repeats: NDArray[np.int64]
    """How many scores (seeds) the mean is of."""

    def upto(self, count: int) -> Curve:
        """Its first `count` points."""
        return self._part(slice(0, count))

    def upto_end(self, first: int) -> Curve:
        """Its points from the one with the number `first` on."""
        return self._part(slice(first, None))

    def _part(self, part: slice) -> Curve:
        return Curve(
            self.name,
            self.group,
            self.n[part],
            self.error[part],
            self.se[part],
            self.repeats[part],
        )


def curve_of(
    name: str,
    n: Sequence[float] | Floats,
    error: Sequence[float] | Floats,
    *,
    se: Sequence[float] | Floats | None = None,
    group: str = "",
) -> Curve:
    """A curve from points in any order. Points of one `n` are seeds: their mean is the point, and
    its standard error is sd / sqrt(seeds), or the given ones put together where those are known.
    """
    sizes = np.asarray(n, dtype=np.float64)
    errors = np.asarray(error, dtype=np.float64)
    given = np.full(len(sizes), np.nan) if se is None else np.asarray(se, dtype=np.float64)
    unique, place, counts = np.unique(sizes, return_inverse=True, return_counts=True)
    mean = np.bincount(place, errors) / counts
    spread = np.bincount(place, (errors - mean[place]) ** 2)
    with np.errstate(divide="ignore", invalid="ignore"):
        of_seeds = np.sqrt(spread / (counts - 1) / counts)
    of_given = np.sqrt(np.bincount(place, given**2)) / counts
    return Curve(
        name,
        group,
        unique,
        mean,
        np.where(counts > 1, of_seeds, of_given),
        counts.astype(np.int64),
    )
