"""Tables drawn from a known truth, for the tests and for benchmarks/footing.py: scores of sources
and of label views, and answers of models, image by image.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray
from scipy.special import ndtr, ndtri

Floats = NDArray[np.float64]


def scores(values: Floats, shots: int, name: str = "source") -> pd.DataFrame:
    """A score matrix of one task, (seeds, columns), as `compare.wide` gives it."""
    index = pd.MultiIndex.from_tuples(
        [("t", "p", shots, seed, -1) for seed in range(len(values))],
        names=["task", "protocol", "shots", "seed", "draw"],
    )
    return pd.DataFrame(
        values, index=index, columns=[f"{name} {k}" for k in range(values.shape[1])]
    )


def ends_of_a_trend(
    means: Floats, seeds: int, rng: np.random.Generator, own: float = 1.0
) -> tuple[pd.DataFrame, pd.DataFrame]:
    """Scores of sources at few and at many images, where their differences are a third of those at
    few; own noise of `own` at both.
    """
    few, many = (means / part + own * rng.normal(size=(seeds, len(means))) for part in (1, 3))
    return scores(few, 5), scores(many, -1)


def noisy_ends(seeds: int, rng: np.random.Generator) -> tuple[Floats, pd.DataFrame, pd.DataFrame]:
    """(true means at few images, scores there, scores at many): four sources, a third of their
    differences left at many images, more noise and a seed effect that all share at few.
    """
    means = np.array([0.0, 0.01, 0.02, 0.03])
    few = 0.5 + means + rng.normal(0, 0.01, (seeds, 4)) + rng.normal(0, 0.01, (seeds, 1))
    many = 0.7 + means / 3 + rng.normal(0, 0.005, (seeds, 4))
    return means, scores(few, 5), scores(many, -1)


# answers, image by image
@dataclass(frozen=True)
class Noise:
    """Variances of what moves one model's answer to one image, 1 in all: who shares it."""

    seed_class: float = 0.03
    """Both arms of a seed, all images of a class."""
    arm_class: float = 0.12
    """All draws of an arm at a seed, all images of a class."""
    arm_image: float = 0.40
    """All draws of an arm at a seed, one image."""
    draw_image: float = 0.15
    """Both arms of a draw, one image."""
    model_image: float = 0.30
    """One model, one image."""

    def __post_init__(self) -> None:
        parts = self.seed_class, self.arm_class, self.arm_image, self.draw_image, self.model_image
        assert abs(sum(parts) - 1) < 1e-9


@dataclass(frozen=True)
class Images:
    """A test set and what two arms make of it."""

    chance: Floats
    """[2 arms, n_test]: how probable it is that a new model of the coarse and of the fine arm is
    right.
    """
    classes: NDArray[np.int64]
    """[n_test]"""
    noise: Noise


GAINS = ("none", "equal", "hard")
"""True gains of fine labels: none; 5 points on every image that has room for them; 15 points where
no coarse model is right, falling to 0 where all are.
"""


def images(
    rng: np.random.Generator,
    n_test: int,
    *,
    gain: str = "none",
    own: float = 0.5,
    ease: float = 1.2,
    spread: float = 2.0,
    noise: Noise | None = None,
) -> Images:
    """A test set of 20 classes. An image is right where its ease, N(`ease`, `spread`^2), plus what
    an arm thinks of it whatever the seed, N(0, `own`^2), plus `Noise` is above 0. As in
    docs/hardness.md about two thirds of the images are right in nearly all models, and a fifth in
    nearly none.
    """
    eases = rng.normal(ease, spread, n_test) + rng.normal(0, own, (2, n_test))
    chance = ndtr(eases)
    if gain == "equal":
        chance[1] = np.minimum(chance[1] + 0.05, np.maximum(chance[1], 0.999))
    elif gain == "hard":
        chance[1] += 0.15 * (1 - chance[1])
    return Images(np.clip(chance, 1e-4, 1 - 1e-4), rng.integers(0, 20, n_test), noise or Noise())


def answered(
    test: Images, tables: int, seeds: int, draws: int, rng: np.random.Generator
) -> NDArray[np.bool_]:
    """bool [tables, seeds, 2 arms, draws, n_test]: which images the models of new studies get
    right; each is right with the image's chance.
    """
    n_test, noise = len(test.classes), test.noise

    def normal(variance: float, *shape: int) -> NDArray[np.float32]:
        drawn = rng.standard_normal((tables, seeds, *shape), dtype=np.float32)
        return np.asarray(np.float32(variance**0.5) * drawn)

    ease = normal(noise.seed_class, 1, 1, 20)[..., test.classes]
    ease = ease + normal(noise.arm_class, 2, 1, 20)[..., test.classes]
    ease = ease + normal(noise.arm_image, 2, 1, n_test)
    ease = ease + normal(noise.draw_image, 1, draws, n_test)
    ease = ease + normal(noise.model_image, 2, draws, n_test)
    return np.asarray(ease + ndtri(test.chance)[:, None].astype(np.float32) > 0)


def gain_of(test: Images) -> Floats:
    """[n_test]: what fine labels gain on each image, over infinitely many new seeds."""
    return np.asarray(test.chance[1] - test.chance[0])


def curve(heights: Sequence[float], seeds: int, rng: np.random.Generator) -> pd.DataFrame:
    """Scores of label views in points, coarse to fine, with own noise of 1."""
    return scores(np.array(heights) + rng.normal(size=(seeds, len(heights))), 5, "view")
