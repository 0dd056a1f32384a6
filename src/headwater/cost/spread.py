"""What is left of a plan, arm by arm, and how it spreads over workers."""

from __future__ import annotations

import heapq
import math
from collections.abc import Sequence
from dataclasses import dataclass

from headwater.cost.encoder import Measured
from headwater.cost.expected import Expected, expected
from headwater.plan import Plan, PlannedArm, PlannedCell

DOUBLED = 1.8
"""How much faster twice as many GPUs train one arm [ours]: gradients are averaged at every step,
and each GPU has half of a batch.
"""
WORTH = 0.9
"""More GPUs for each arm are chosen where all takes this share of the time, or less [ours]."""


@dataclass(frozen=True)
class Load:
    """An arm's work, seconds of one worker; `before` is what it needs first, of another arm."""

    training: float
    measuring: float
    before: float = 0.0

    @property
    def whole(self) -> float:
        return self.before + self.training + self.measuring


@dataclass(frozen=True)
class Spread:
    """What is left, by arm."""

    start_s: float
    """Until a worker's first unit is under way."""
    loads: tuple[Load, ...]

    @classmethod
    def of(
        cls,
        plan: Plan,
        arms: Sequence[PlannedArm],
        cells: Sequence[PlannedCell],
        measured: Measured,
    ) -> Spread:
        """Of training `arms` and measuring `cells`; no image is decoded yet."""
        images = sum(len(source.table) for source in plan.sources.values())
        pieces = expected(plan, arms, cells, measured, undecoded=images)
        training = {arm: piece.seconds for arm, piece in pieces.arms.items()}
        measuring = _measuring(cells, pieces)

        def chain(arm: PlannedArm | None) -> float:
            return 0.0 if arm is None else chain(arm.needs) + training.get(arm.id, 0.0)

        every = {arm.id: arm for arm in arms} | {cell.arm.id: cell.arm for cell in cells}
        loads = [
            Load(training.get(name, 0.0), measuring.get(name, 0.0), chain(arm.needs))
            for name, arm in every.items()
        ]
        return cls(pieces.start_s + pieces.first.seconds, tuple(loads))

    @property
    def work_s(self) -> float:
        """Of one worker, in all."""
        return sum(load.training + load.measuring for load in self.loads)

    @property
    def longest_s(self) -> float:
        """The longest arm with what it needs and all that is measured on it."""
        return max((load.whole for load in self.loads), default=0.0)

    def takes_s(self, workers: int, faster: float = 1.0) -> float:
        """Seconds on so many workers, each of which trains so much faster than one GPU: whoever is
        free takes the longest arm that is left, and measures it.
        """
        free = [0.0] * workers
        for load in sorted(self.loads, key=lambda load: -load.whole):
            begins = max(heapq.heappop(free), load.before / faster)
            heapq.heappush(free, begins + load.training / faster + load.measuring)
        return max(free)

    def gpus_per_arm(
        self, gpus_of_nodes: Sequence[int], most: int, workers: int | None = None
    ) -> int:
        """How many GPUs of a node should train one arm together so that all is done soonest: 1, or
        a power of two up to `most` where fewer arms than GPUs are left, or the last ones would have
        some for themselves. `workers`: no more than so many train arms at a time.
        """
        found, takes_s, number, faster = 1, math.inf, 1, 1.0
        while number <= most:
            room = sum(gpus // number for gpus in gpus_of_nodes)
            seconds = self.takes_s(min(room, workers or room), faster) if room else math.inf
            if seconds < WORTH * takes_s:
                found, takes_s = number, seconds
            number, faster = 2 * number, DOUBLED * faster
        return found


def _measuring(cells: Sequence[PlannedCell], pieces: Expected) -> dict[str, float]:
    """By arm's id, seconds of all that is measured on it."""
    found: dict[str, float] = {}
    for cell in cells:
        found[cell.arm.id] = found.get(cell.arm.id, 0.0) + pieces.cells[cell.id].seconds
    for (arm, task), opened in pieces.opened.items():
        searches = sum(piece.seconds for piece in pieces.searched[arm, task])
        found[arm] = found.get(arm, 0.0) + opened.seconds + searches
    return found
