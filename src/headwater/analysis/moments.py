"""Variances of tables with gaps, by the method of moments."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Residual:
    """What is left of a table when rows and columns are fitted."""

    mean_square: float
    df: float


def within_blocks(values: Floats) -> Residual:
    """Of blocks [blocks, rows, arms]: the residual of arm + row within each block, all together.
    NaN is a gap.
    """
    there = np.isfinite(values)
    squares = df = 0.0
    for block, known in zip(values, there, strict=True):
        rows = known.any(axis=1)
        if rows.sum() < 2:
            continue
        if known[rows].all():
            table = block[rows]
            left = table - table.mean(axis=0) - table.mean(axis=1, keepdims=True) + table.mean()
            squares += float((left**2).sum())
            df += (table.shape[0] - 1.0) * (table.shape[1] - 1)
            continue
        row, arm = np.nonzero(known)
        basis = _basis(row, arm)
        y = block[known]
        squares += float(((y - basis @ (basis.T @ y)) ** 2).sum())
        df += len(y) - basis.shape[1]
    return Residual(squares / df if df > 0 else 0.0, df)


@dataclass(frozen=True)
class Interaction:
    """Variances of arm x task in a table of tasks x seeds x arms."""

    effect: float
    """Of arm x task, not below 0."""
    residual: float
    """Of arm x task x seed."""
    df: float
    """Degrees of freedom of the first."""
    most: float
    """The first is at most this, at 95 % (chi-squared of its mean square, the residual as it
    is).
    """


def arm_by_task(values: Floats) -> Interaction:
    """Of scores [tasks, seeds, arms]: each task has seeds of its own ease, and arms differ, by task
    and by seed. NaN is a gap.
    """
    there = np.isfinite(values)
    rows = there.all(axis=(0, 2))
    if rows.sum() > 1 and not there[:, ~rows].any():
        return by_mean_squares(values[:, rows])
    return by_fitting_constants(values)


def by_fitting_constants(values: Floats) -> Interaction:
    """Henderson's third method: what arm x task explains beyond everything else, against what that
    expects.
    """
    there = np.isfinite(values)
    task, seed, arm = np.nonzero(there)
    y = values[there]
    block, of_task, of_seed = (
        np.unique(pair, axis=0, return_inverse=True)[1].ravel()
        for pair in (
            np.column_stack([task, seed]),
            np.column_stack([task, arm]),
            np.column_stack([seed, arm]),
        )
    )
    without = _basis(block, arm, of_seed)
    full = _basis(block, arm, of_seed, of_task)
    left = float(((y - full @ (full.T @ y)) ** 2).sum())
    explained = float(((y - without @ (without.T @ y)) ** 2).sum()) - left
    df, residual_df = full.shape[1] - without.shape[1], len(y) - full.shape[1]
    residual = left / residual_df if residual_df > 0 else 0.0
    dummies = np.eye(of_task.max() + 1)[of_task]
    expects = len(y) - float(((without.T @ dummies) ** 2).sum())
    return _interaction(explained, float(df), residual, expects)


def by_mean_squares(values: Floats) -> Interaction:
    """Of a table without gaps: mean squares against what they expect."""
    tasks, seeds, arms = values.shape
    centred = values - values.mean(axis=2, keepdims=True)
    centred = centred - centred.mean(axis=(0, 1))
    by_task, by_seed = centred.mean(axis=1), centred.mean(axis=0)
    left = centred - by_task[:, None, :] - by_seed[None]
    df = (tasks - 1.0) * (arms - 1)
    residual = float((left**2).sum()) / (df * (seeds - 1))
    return _interaction(seeds * float((by_task**2).sum()), df, residual, seeds * df)


def _interaction(explained: float, df: float, residual: float, expects: float) -> Interaction:
    """Of a sum of squares that expects `expects` times the effect and `df` times the residual."""
    from scipy.special import chdtri

    if expects < 1e-9 or df < 1:
        return Interaction(0.0, residual, 1.0, math.inf)
    most = (explained * df / float(chdtri(df, 0.95)) - residual * df) / expects
    effect = (explained - residual * df) / expects
    return Interaction(max(effect, 0.0), residual, df, max(most, 0.0))


def _basis(*factors: NDArray[np.int64]) -> Floats:
    """An orthonormal basis of the columns of the dummies of some factors: float64 [n, rank]."""
    dummies = np.concatenate([np.eye(factor.max() + 1)[factor] for factor in factors], axis=1)
    left, values, _ = np.linalg.svd(dummies, full_matrices=False)
    return np.asarray(left[:, values > 1e-9 * values[0]], dtype=np.float64)
