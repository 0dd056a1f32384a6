"""The scores of one arm at several sizes, seed by seed."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.curves.curve import Curve, curve_of
from headwater.errors import InputError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headwater.analysis.curves.curve import Floats


@dataclass(frozen=True)
class Seeds:
    """Errors [seeds, sizes] of one arm; NaN is a gap. A size has at least one."""

    name: str
    n: Floats
    """Ascending, above 0, each once."""
    errors: Floats
    seeds: tuple[int, ...]
    """What each row is called; equal ones of two arms are pairs."""

    @classmethod
    def of(cls, name: str, scores: Mapping[tuple[float, int], float]) -> Seeds:
        """From (n, seed) -> error."""
        if not scores:
            raise InputError(f"{name}: has no scores")
        sizes = sorted({n for n, _ in scores})
        seeds = sorted({seed for _, seed in scores})
        errors = np.full((len(seeds), len(sizes)), np.nan)
        for (n, seed), error in scores.items():
            errors[seeds.index(seed), sizes.index(n)] = error
        return cls(name, np.array(sizes, dtype=np.float64), errors, tuple(seeds))

    @property
    def left(self) -> Floats:
        """[seeds, sizes]: errors less the mean of their size."""
        return np.asarray(self.errors - np.nanmean(self.errors, axis=0))

    @property
    def spare(self) -> NDArray[np.int64]:
        """[sizes]: seeds beyond the first."""
        return np.asarray(np.maximum(np.isfinite(self.errors).sum(axis=0) - 1, 0))

    @property
    def curve(self) -> Curve:
        """Its means over seeds."""
        seed, size = np.nonzero(np.isfinite(self.errors))
        return curve_of(self.name, self.n[size], self.errors[seed, size])

    def rows_of(self, seeds: NDArray[np.int64] | list[int]) -> Floats:
        """The rows of some seeds, in that order."""
        return self.errors[[self.seeds.index(int(seed)) for seed in seeds]]
