"""Decoded images of a plan's data sets, each opened once in a process."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.plan import Plan
from headwater.sources.pixels import PixelCache
from headwater.store import Store


def pixels(plan: Plan, data: str, store: Store) -> tuple[PixelCache, NDArray[np.int64]]:
    """Decoded images of one data set (all that the plan uses of it), and the table position of each cached row, ascending."""
    if data in plan.pixel_caches:
        return plan.pixel_caches[data]  # type: ignore[no-any-return]
    source = plan.sources[data]
    used = [positions for arm in (*plan.arms, *plan.supports) if arm.source is source for positions in (arm.positions, arm.held_out)]
    used += [np.concatenate([task.train, task.val, task.test]) for task in plan.tasks.values() if task.source is source]
    positions = np.unique(np.concatenate(used))
    fingerprint = source.fingerprint(positions)
    path = store.cache / "pixels" / f"{fingerprint}-{plan.study.image_size}"
    plan.pixel_caches[data] = PixelCache.build(source, positions, plan.study.image_size, path, fingerprint=fingerprint), positions
    return plan.pixel_caches[data]  # type: ignore[no-any-return]
