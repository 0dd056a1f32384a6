"""Part `images` of benchmarks/decide.py: statements for other test images of the same kind.

Answers are made up image by image: a network is right where its luck with an image (SD 1) is less
than how easy the image is (SD 1 for all, SD 0.5 for each arm by itself) plus how good the network
is (SD 0.04 over seeds, about 1 point). The truth is the mean over all such images and seeds.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from scipy.special import ndtr, stdtrit

from headwater.analysis.certainty import Certainty, ImageError, certainty_of
from headwater.analysis.decision import threshold_of
from headwater.analysis.images import crossed

Floats = NDArray[np.float64]
EASE, OWN, SEEDS = 1.0, 0.5, 0.04
LEAD = 0.8
"""Of arm 0, where it leads: 18 points, so that it is the leader in every table."""
CELLS = [(arms, seeds, n) for n in (200, 1000) for arms in (2, 5, 25) for seeds in (3, 5, 10)]


def answers(rng: np.random.Generator, arms: int, seeds: int, n: int, lead: float) -> Floats:
    """float32 [seeds, n, arms]: 1 where a network is right."""
    ease = EASE * rng.standard_normal((1, n, 1), dtype=np.float32)
    ease = ease + OWN * rng.standard_normal((1, n, arms), dtype=np.float32)
    good = SEEDS * rng.standard_normal((seeds, 1, arms), dtype=np.float32)
    good[:, :, 0] += lead
    luck = rng.standard_normal((seeds, n, arms), dtype=np.float32)
    return np.asarray(luck < ease + good, dtype=np.float64)


def true_lead(lead: float) -> float:
    return float(ndtr(lead / (1 + EASE**2 + OWN**2 + SEEDS**2) ** 0.5) - 0.5)


def told(values: Floats, images: ImageError | None) -> Certainty:
    n = values.shape[1]
    threshold = threshold_of(values.shape[2], values.shape[0])
    return certainty_of(values.mean(axis=1)[None], step=1 / n, level=1 - threshold, images=images)


def covered(certainty: Certainty, truth: float) -> float:
    """Share of the intervals for the leader over each other arm that hold the truth."""
    leads = certainty.means[0, 0] - certainty.means[0, 1:]
    halves = -stdtrit(certainty.df[0, 1:], 0.025) * certainty.se[0, 1:]
    return float(np.mean(np.abs(leads - truth) <= halves))


def cell(arms: int, seeds: int, n: int, tables: int) -> dict[str, Floats]:
    """Per table: what intervals for these and for other images cover, and whether one of equal
    arms is called the best on other images.
    """
    rng = np.random.default_rng([arms, seeds, n])
    these, other, before, wrong = [], [], [], []
    everything = np.ones((seeds, arms), dtype=bool)
    for _ in range(tables):
        values = answers(rng, arms, seeds, n, LEAD)
        these.append(covered(told(values, None), true_lead(LEAD)))
        other.append(covered(told(values, crossed(values, everything)), true_lead(LEAD)))
        equal = answers(rng, arms, seeds, n, 0.0)
        threshold = 1 - threshold_of(arms, seeds)
        before.append(bool(told(equal, None).sure(threshold)[0]))
        wrong.append(bool(told(equal, crossed(equal, everything)).sure(threshold)[0]))
    return {
        "these": np.array(these),
        "other": np.array(other),
        "before": np.array(before, dtype=np.float64),
        "wrong": np.array(wrong, dtype=np.float64),
    }


def mean(values: Floats) -> str:
    return f"{100 * values.mean():.1f} ± {100 * values.std() / len(values) ** 0.5:.1f}"


def body(tables: int) -> tuple[list[list[str]], list[tuple[str, bool]]]:
    """(lines of the table, limits: name and whether it is met)."""
    lines, limits = [], []
    for arms, seeds, n in CELLS:
        found = cell(arms, seeds, n, tables)
        lines.append([f"{n:,} images, {arms} arms, {seeds} seeds", *map(mean, found.values())])
        error = 2 * found["other"].std() / tables**0.5
        rate = found["other"].mean()
        limits.append(
            (f"other images, {lines[-1][0]}: 93 to 97 %", 0.93 - error <= rate <= 0.97 + error)
        )
        bar = 0.06 + 2 * (0.06 * 0.94 / tables) ** 0.5
        limits.append(
            (f"other images, {lines[-1][0]}: sure and wrong", found["wrong"].mean() <= bar)
        )
    return lines, limits
