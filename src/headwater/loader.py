"""Order and batches: one keyed permutation per epoch, concatenated, no sample dropped, the same however many workers or restarts there are."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from headwater import keys


@dataclass(frozen=True)
class Order:
    """Which samples the steps of a run see. `hashes` int64 [n] are the keyed hashes of the sample ids; positions index them.

    A run sees `images` images in ceil(images / batch) steps. Batches are as equal as can be (they differ by one image at most), so that no
    run ends in a batch of one sample, which batch normalisation cannot take (an odd number of images in batches of two still has one).
    """

    hashes: NDArray[np.int64]
    images: int
    batch: int
    seed: int
    purpose: str = "order"
    _remembered: dict[int, NDArray[np.int64]] = field(default_factory=dict, init=False, repr=False, compare=False)

    @property
    def steps(self) -> int:
        return -(-self.images // self.batch)

    def at(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(positions int64 [b], epochs int64 [b]) of one step."""
        drawn = np.arange(step * self.images // self.steps, (step + 1) * self.images // self.steps)
        epochs, within = np.divmod(drawn, len(self.hashes))
        positions = np.empty_like(drawn)
        for epoch in np.unique(epochs):
            of_epoch = epochs == epoch
            positions[of_epoch] = self._permutation(int(epoch))[within[of_epoch]]
        return positions, epochs

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        """The order of one epoch; the last two are remembered, since a batch may straddle them."""
        if epoch not in self._remembered:
            for old in sorted(self._remembered)[:-1]:
                del self._remembered[old]
            self._remembered[epoch] = keys.permutation(keys.key(self.seed, self.purpose, epoch), self.hashes)
        return self._remembered[epoch]
