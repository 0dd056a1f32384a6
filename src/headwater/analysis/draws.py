"""Means over few-shot draws, fair to arms that lack some of them."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


def over_draws(values: Floats) -> Floats:
    """[settings, seeds, arms]: the mean over draws. Where an arm lacks draws that others have, a
    fit of arm + (seed, draw) tells what the lacking ones are worth, so that easy draws favour
    nobody.
    """
    there = ~np.isnan(values)
    counts = there.sum(axis=2)
    sums = np.where(there, values, 0.0).sum(axis=2)
    means: Floats = np.divide(sums, counts, out=np.full(counts.shape, np.nan), where=counts > 0)
    # draws that some arm has
    exists: NDArray[np.bool_] = np.asarray(there.any(axis=3, keepdims=True), dtype=np.bool_)
    ragged = np.logical_and(counts > 0, counts < exists.sum(axis=2))
    for setting in np.flatnonzero(ragged.any(axis=(1, 2))):
        blocks = _block_effects(values[setting])
        offset = np.where(there[setting], blocks[:, :, None], 0.0).sum(axis=1)
        offset = np.divide(
            offset, counts[setting], out=np.zeros_like(offset), where=counts[setting] > 0
        )
        known = exists[setting][:, :, 0]
        level = np.where(known, blocks, 0.0).sum(axis=1) / np.maximum(known.sum(axis=1), 1)
        means[setting] += np.where(counts[setting] > 0, level[:, None] - offset, 0.0)
    return means


def _block_effects(values: Floats, rounds: int = 200) -> Floats:
    """[seeds, draws]: effects of blocks in a fit of arm + block to values [seeds, draws, arms]."""
    there = ~np.isnan(values)
    known = np.where(there, values, 0.0)
    in_block = np.maximum(there.sum(axis=2), 1)
    of_arm = np.maximum(there.sum(axis=(0, 1)), 1)
    arms = np.zeros(values.shape[2])
    blocks: Floats = known.sum(axis=2) / in_block
    for _ in range(rounds):
        arms = np.where(there, known - blocks[:, :, None], 0.0).sum(axis=(0, 1)) / of_arm
        before = blocks
        blocks = np.where(there, known - arms, 0.0).sum(axis=2) / in_block
        if np.abs(blocks - before).max(initial=0.0) < 1e-13:
            break
    return blocks
