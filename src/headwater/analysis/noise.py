"""Noise below a seed's mean: few-shot draws, fine-tuning, and scores task by task."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from headwater.analysis.moments import within_blocks

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from headwater.analysis.evidence import Evidence, Line

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Cells:
    """Variances of one seed's weighted mean over settings, of one arm."""

    draw: float
    tuning: float
    num_draws: float
    """Of a seed, the harmonic mean over settings that have several; 1 where none has."""
    repeated: bool
    few_shot: bool


def cells_of(line: Line, found: Evidence, places: list[int], shares: Floats) -> Cells:
    """Of the arms at these places of a line; `shares` are what settings count for."""
    settings = found.places_of(line)
    arms = [found.place_of(line.arms[place]) for place in places]
    few_shot = any(setting.shots != -1 for setting in line.settings)
    tuning = np.zeros(len(settings))
    repeats = None if found.spent is None else found.spent.repeats
    df = 0.0 if repeats is None else float(repeats.df[settings].sum())
    counts = np.ones(len(settings))
    if repeats is not None and df > 0:
        one = float(repeats.squares[settings].sum()) / df
        cells = repeats.df[settings] / np.maximum(repeats.places[settings], 1) + 1
        tuning = one / cells
    draw, tuned = np.zeros(len(settings)), tuning.copy()
    if found.draws is not None:
        table = found.draws[settings][:, :, :, arms]
        for at in range(len(settings)):
            several = within_blocks(table[at])
            there = np.isfinite(table[at]).sum(axis=1)
            if several.df < 1:
                continue
            counts[at] = 1 / (1 / there[there > 0]).mean()
            draw[at] = max(several.mean_square - tuning[at], 0.0) / counts[at]
            tuned[at] = tuning[at] / counts[at]
    several_draws = counts[counts > 1]
    return Cells(
        draw=float((shares**2 * draw).sum()),
        tuning=float((shares**2 * tuned).sum()),
        num_draws=float(1 / (1 / several_draws).mean()) if len(several_draws) else 1.0,
        repeated=df > 0,
        few_shot=few_shot,
    )


def by_task(line: Line, scores: Floats, shares: Floats) -> tuple[tuple[str, ...], Floats, Floats]:
    """(tasks, their weights [tasks], scores [tasks, seeds, arms])."""
    tasks = line.tasks
    of_setting = np.array([setting.task for setting in line.settings])
    of_task = np.array(tasks)[:, None] == of_setting
    parts = of_task * shares
    weights = parts.sum(axis=1)
    return tasks, weights, np.tensordot(parts / weights[:, None], scores, axes=1)
