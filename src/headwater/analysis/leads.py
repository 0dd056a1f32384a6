"""What a lead is worth: its p, the width of its interval and what it may cost, with seeds alone or
with other test images as well.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LEVEL = 0.95


@dataclass(frozen=True)
class ImageError:
    """What other test images of the same kind would do to differences of arms' means, as answers
    image by image tell it (images.py); T tables of k arms, in the unit of the scores.
    """

    variance: Floats
    """[T, k, k]: of arm a minus arm b, beside what the seeds do."""
    df: Floats
    """[T, k, k]: degrees of freedom of that variance."""

    @classmethod
    def summed(cls, parts: Sequence[ImageError]) -> ImageError:
        """Of sums over sets of images that have nothing to do with each other."""
        variance = np.sum([part.variance for part in parts], axis=0)
        noise = np.sum([part.variance**2 / part.df for part in parts], axis=0)
        with np.errstate(divide="ignore", invalid="ignore"):
            df = np.where(noise > 0, variance**2 / noise, parts[0].df)
        return cls(variance, df)

    def own(self) -> Floats:
        """[T, k]: a variance for each arm by itself, so that those of two arms add up to that of
        their difference as nearly as can be (Grubbs, JASA 43, 1948).
        """
        num_arms = self.variance.shape[1]
        if num_arms == 2:
            return np.repeat(self.variance[:, :1, 1] / 2, 2, axis=1)
        sums = self.variance.sum(axis=2)
        shared = sums.sum(axis=1, keepdims=True) / (2 * (num_arms - 1))
        return np.asarray(np.maximum((sums - shared) / (num_arms - 2), 0.0), dtype=np.float64)

    def against(self, best: NDArray[np.int64]) -> tuple[Floats, Floats]:
        """([T, k] variance, [T, k] df) of each arm's difference from the leader."""
        place = best[:, None, None]
        variance = np.take_along_axis(self.variance, place, axis=1)[:, 0]
        return variance, np.take_along_axis(self.df, place, axis=1)[:, 0]


Errors = list[tuple[Floats, Floats]]
"""Standard errors and degrees of freedom, [T, k] each: of seeds alone and, where it is asked, of
seeds and images. The first are exact about small chances, the second larger: both have to hold, so
that images never make anything surer.
"""


def errors_of(
    variance: Floats, df: Floats, best: NDArray[np.int64], images: ImageError | None
) -> Errors:
    """Of each difference from the leader, whose variance due to seeds is given."""
    of_seeds = (np.sqrt(variance), df)
    if images is None:
        return [of_seeds]
    total, joint = with_images(variance, df, *images.against(best))
    return [of_seeds, (np.sqrt(total), joint)]


def widest(errors: Errors) -> tuple[Floats, Floats]:
    """Those that make the widest interval at `LEVEL`."""
    from scipy.special import stdtrit

    (se, df), (other_se, other_df) = errors[0], errors[-1]
    tail = (1 - LEVEL) / 2
    wider = stdtrit(other_df, tail) * other_se <= stdtrit(df, tail) * se
    return np.where(wider, other_se, se), np.where(wider, other_df, df)


def hardest(leads: Floats, errors: Errors) -> Floats:
    """[T, k]: the largest two-sided p of leads."""
    return np.asarray(np.max([_two_sided(leads, se, df) for se, df in errors], axis=0))


def with_images(
    variance: Floats, df: Floats, of_images: Floats, df_of_images: Floats
) -> tuple[Floats, Floats]:
    """The sum of two variances, and its degrees of freedom (Satterthwaite, Biometrics 2, 1946)."""
    total = variance + of_images
    with np.errstate(divide="ignore", invalid="ignore"):
        joint = total**2 / (variance**2 / df + of_images**2 / df_of_images)
    return total, np.asarray(np.where(of_images > 0, joint, df), dtype=np.float64)


def _two_sided(leads: Floats, se: Floats, df: Floats) -> Floats:
    """Student's two-sided p of leads; 0 for a lead without any noise, 1 for none."""
    from scipy.special import stdtr

    with np.errstate(divide="ignore", invalid="ignore"):
        t = np.where(leads > 0, leads / se, 0.0)
    return np.asarray(2 * stdtr(df, -t), dtype=np.float64)


def regret_bounds(
    leads: Floats,
    errors: Errors,
    is_best: NDArray[np.bool_],
    share: float,
    known: NDArray[np.bool_],
) -> Floats:
    """[T]: the most that the leader costs, where each arm gets the error `share`; infinite where an
    arm has a single seed, which says nothing of its noise.
    """
    from scipy.special import stdtrit

    halves = np.max([-stdtrit(df, share) * se for se, df in errors], axis=0)
    costs = np.where(known, halves - leads, np.inf)
    return np.asarray(np.maximum(np.where(is_best, 0.0, costs).max(axis=1), 0.0), dtype=np.float64)
