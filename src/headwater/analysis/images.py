"""What other test images of the same kind would do to a comparison: from the answers that each
network gave, image by image.

Seeds and images are crossed: every network answers every image. A difference of two arms, a mean
over S seeds and n images, then has three sources of error: seeds, images, and both together (a
network's own luck with an image). Scores by seed show the first and the third. Answers show the
rest: with B the variance of the difference of an image (a mean over seeds) and C that of what is
left after arm, seed and image, the images' own part is B / n - C / (S n), and the whole is

    what the seeds show + B / n - C / (S n)

(a two-way analysis of variance with random seeds and random images; degrees of freedom by
Satterthwaite, Biometrics 2, 1946). `benchmarks/decide.py` measures what it covers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from headwater.analysis.configurations import prepare
from headwater.analysis.leads import ImageError
from headwater.analysis.words import missing
from headwater.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

    from headwater.analysis.evidence import Line, Setting

Floats = NDArray[np.float64]
Answers = Callable[[str, int], NDArray[np.bool_] | None]
"""(id of a cell, its test images) -> bool [n_test], which it got right; None where nobody kept
them. `Store.read_answers` is one.
"""


@dataclass(frozen=True)
class ImageNoise:
    """The images' part in the error of every difference of a line's arms."""

    arms: tuple[str, ...]
    """Ids."""
    variance: Floats
    """[arms, arms]: of the difference of two arms' means (shares, squared)."""
    df: Floats
    num_images: Mapping[str, int]
    """Task -> test images."""

    def among(self, arms: Sequence[str]) -> ImageError:
        """Of some arms, by id, in their order, as the rule of certainty takes it."""
        places = [self.arms.index(arm) for arm in arms]
        chosen = np.ix_(places, places)
        return ImageError(self.variance[chosen][None], self.df[chosen][None])


def image_noise(
    rows: pd.DataFrame, line: Line, answers: Answers, weights: Mapping[str, float] | None = None
) -> ImageNoise | str:
    """What other test images would do to the means of a line, tasks weighted by `weights`; a
    sentence that says why, where the answers do not tell: none were kept, they are damaged, or
    they are not those that a row was counted from. Answers tell top1.

    Tasks with as many test images as each other may show the same images (one data set, two label
    levels): their answers are added up image by image, which is right for other images as well.
    Tasks with other numbers of images are taken to have nothing to do with each other. Where a
    score leaves out leaked images, all answers tell how images differ, and those that are left
    how many there are.
    """
    table = prepare(rows, only=("subset", "shots", "draw", "n_test"))
    entering = np.isfinite(line.means(weights))
    compared = entering.any(axis=0)
    answered = entering.copy()
    values: dict[int, Floats] = {}
    num_images: dict[str, int] = {}
    for setting, share in zip(line.settings, line.shares(weights), strict=True):
        try:
            right = _right(table, line, setting, answers)
        except InputError as error:
            return str(error)
        if not right.shares:
            return f"there are no answers to {setting.title} (they tell top1 alone)"
        for seed, arm in zip(*np.nonzero(entering), strict=True):
            answered[seed, arm] &= (int(seed), int(arm)) in right.shares
        lacking = compared & ~answered.any(axis=0)
        if lacking.any():
            name = line.arms[int(lacking.argmax())].name
            return f"no answers image by image were kept of {name} in {setting.title}"
        sizes = {len(each) for each in right.shares.values()}
        if len(sizes) != 1 or min(right.num_scored, *sizes) < 2:
            return f"networks answered different numbers of test images in {setting.title}, or one"
        n = sizes.pop()
        num_images[setting.task] = min(right.num_scored, n)
        block = values.setdefault(n, np.zeros((len(line.seeds), n, len(line.arms))))
        for (seed, arm), each in right.shares.items():
            block[seed, :, arm] += share * (n / num_images[setting.task]) ** 0.5 * each
    there = answered[:, compared]
    whole = ImageError.summed([crossed(block[:, :, compared], there) for block in values.values()])
    return ImageNoise(
        arms=tuple(line.arms[arm].id for arm in np.flatnonzero(compared)),
        variance=whole.variance[0],
        df=whole.df[0],
        num_images=num_images,
    )


@dataclass(frozen=True)
class _Right:
    """What a setting's networks got right."""

    shares: Mapping[tuple[int, int], Floats]
    """(seed's place, arm's place) -> float64 [n_test]: share of draws that are right."""
    num_scored: int
    """Test images of the score that enters: fewer where leaked ones are left out."""


def _right(table: pd.DataFrame, line: Line, setting: Setting, answers: Answers) -> _Right:
    """Raises InputError for answers that are damaged or not those of their row."""
    arms = {arm.id: place for place, arm in enumerate(line.arms)}
    seeds = {seed: place for place, seed in enumerate(line.seeds)}
    here = table[
        (table["task"] == setting.task)
        & (table["protocol"] == setting.protocol)
        & (table["shots"].fillna(-1) == setting.shots)
        & (table["metric"] == "top1")
        & table["subset"].isin(("all", "unleaked"))
        & table["usable"]
        & table["configuration"].isin(arms)
    ]
    every: dict[tuple[int, int], list[NDArray[np.bool_]]] = {}
    columns = ["cell", "configuration", "seed", "n_test", "value"]
    cells = here.loc[here["subset"] == "all", columns].drop_duplicates("cell")
    for cell, arm, seed, n_test, value in cells.itertuples(index=False, name=None):
        right = None if missing(n_test) or n_test < 1 else answers(str(cell), int(n_test))
        if right is None:
            continue
        # half an image: a table may have been rounded
        if abs(float(right.mean()) - float(value)) > max(0.5 / n_test, 1e-6):
            raise InputError(
                f"the answers that were kept of cell {cell} are not those of its rows "
                f"(`headwater run --redo {cell}` measures it again)"
            )
        every.setdefault((seeds[int(seed)], arms[str(arm)]), []).append(right)
    shares = {place: np.mean(each, axis=0) for place, each in every.items()}
    return _Right(shares, int(here["n_test"].min()) if shares else 0)


def crossed(values: Floats, there: NDArray[np.bool_]) -> ImageError:
    """The images' part in differences of arms, from answers float64 [seeds, n_test, arms] to the
    same images (shares of draws that are right), of which `there` bool [seeds, arms] says what
    enters; each arm has a seed. [1, arms, arms].
    """
    n = values.shape[1]
    here = there[:, None, :]
    values = np.where(here, values, 0.0)
    counts = there.sum(axis=0)
    means = values.sum(axis=0) / counts
    means -= means.mean(axis=0)
    between = _of_differences(means.T @ means / (n - 1)) / n
    left = np.where(here, values - values.mean(axis=1, keepdims=True) - means[None], 0.0)
    present = there.astype(np.float64)
    both = present.T @ present
    seeds = np.maximum(both - 1, 1.0)
    shared = np.tensordot(left, left, axes=([0, 1], [0, 1])) / seeds / (n - 1)
    within = _of_differences(shared * both / np.outer(counts, counts)) / n
    variance = np.maximum(between - within, 0.0)
    noise = between**2 / (n - 1) + within**2 / (n - 1) / seeds
    with np.errstate(divide="ignore", invalid="ignore"):
        df = np.where(noise > 0, variance**2 / noise, n - 1.0)
    return ImageError(variance[None], np.maximum(df, 1.0)[None])


def _of_differences(covariance: Floats) -> Floats:
    """Variances of all differences."""
    own = np.diag(covariance)
    return np.asarray(own[:, None] + own[None, :] - 2 * covariance, dtype=np.float64)
