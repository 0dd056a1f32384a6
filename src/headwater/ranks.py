"""The processes of one training run (torchrun's ranks): who this is, its part of a batch, and what the others computed."""

from __future__ import annotations

from dataclasses import dataclass

import torch


@dataclass(frozen=True)
class Ranks:
    """One process among `size`, the `rank`-th. `ALONE` is the only one there is."""

    rank: int = 0
    size: int = 1

    def part(self, n: int) -> slice:
        """This rank's contiguous part of n images; the parts of all ranks, in order, make up the whole and differ by one image at most."""
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def rows(self, own: torch.Tensor) -> tuple[torch.Tensor, int]:
        """(the rows of all ranks in rank order, where this rank's begin), with gradients: what the others' losses ask of these rows comes back to them.

        `own` is float [b, e]; b may differ between ranks.
        """
        if self.size == 1:
            return own, 0
        raise NotImplementedError


ALONE = Ranks()
