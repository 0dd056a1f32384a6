"""A session: a plan, the store that it is computed into, a machine, and what is open meanwhile."""

from __future__ import annotations

import dataclasses
import math
import threading
from dataclasses import dataclass, field
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np

from headwater.curation import Looks
from headwater.device import Compute
from headwater.plan import Overlaps, Plan, PlannedArm
from headwater.plan.memo import Memo
from headwater.sources import Positions
from headwater.sources.pixels import PixelCache, StreamedImages
from headwater.sources.pixels.images import Subset
from headwater.store import Store
from headwater.work.decoded import decoded

if TYPE_CHECKING:
    from headwater.work.leaks import Looked


@dataclass(frozen=True)
class Decoded:
    """The decoded images of one data set."""

    images: PixelCache | StreamedImages
    positions: Positions
    """The table position of each image, ascending."""

    def rows(self, positions: Positions) -> Positions:
        """Where among the images these table positions are."""
        return np.searchsorted(self.positions, positions)

    def subset(self, positions: Positions) -> Subset:
        """The images of these table positions, in their order."""
        return self.images.subset(self.rows(positions))


@dataclass(frozen=True, eq=False)
class Session:
    """A plan that is being computed: every arm and cell in a process asks the same one, so that
    images are opened once.
    """

    plan: Plan
    store: Store
    compute: Compute
    checkpoint_every_s: float = 20.0
    """Seconds between the checkpoints of an arm in training; changes no weight."""
    ranks: int = 1
    """Processes that train an arm together (headwater.engines.together); cells are measured by one.
    """
    idle_s: float = math.inf
    """What others have is left to them after so long with nothing to take."""
    looked: Memo[Looked] = field(default_factory=Memo, repr=False)
    """Pairs of test images and their copies that were found or read (work/leaks.py)."""
    test_looks: Memo[Looks] = field(default_factory=Memo, repr=False)
    """What is known of the test images of a task while copies of them are looked for."""
    stop: threading.Event = field(default_factory=threading.Event, repr=False)
    """Set by whoever wants that what is computed ends soon, with what was done kept."""
    _decoded: Memo[Decoded] = field(default_factory=Memo, repr=False)

    @cached_property
    def measuring(self) -> Session:
        """This session without torch.compile, which only pays for training; what is open is
        shared.
        """
        return dataclasses.replace(self, compute=dataclasses.replace(self.compute, compiled=False))

    def pixels(self, data: str) -> Decoded:
        """Decoded images of one data set, all that the plan uses of it.

        Raises InputError for an image that cannot be decoded.
        """
        return self._decoded.get(data, lambda: self._decode(data))

    def source_pixels(self, arm: PlannedArm) -> Decoded:
        """Decoded images of the data set that an arm is trained on."""
        assert arm.words.source is not None
        return self.pixels(self.plan.study.sources[arm.words.source].data)

    def _decode(self, data: str) -> Decoded:
        plan, source = self.plan, self.plan.sources[data]
        used = []
        for arm in plan.every_arm:
            if arm.source is source:
                used += [arm.positions, arm.held_out]
        for task in plan.tasks.values():
            if task.source is source:
                used += [task.train, task.val, task.test]
        positions = np.unique(np.concatenate(used))
        kept = plan.resolved.seen.kept.get(data)
        size = plan.study.image_size
        return Decoded(decoded(source, positions, size, self.store, kept), positions)

    @cached_property
    def overlaps(self) -> Overlaps:
        """What arms and tasks have in common."""
        return Overlaps(self.plan.resolved)
