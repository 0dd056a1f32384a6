"""The processes of one training run (torchrun's ranks): who this is, its part of a batch, and what
the others computed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import torch


@dataclass(frozen=True)
class Ranks:
    """One process among `size`, the `rank`-th. `ALONE` is the only one there is.

    All methods but `part` are collective: every rank calls them, in the same order. They use
    torch.distributed's default group, of any backend (gloo on CPUs, NCCL on GPUs); a process that
    is alone needs none.
    """

    rank: int = 0
    size: int = 1

    @staticmethod
    def current() -> Ranks:
        """Who this process is in the process group that was initialised; ALONE where none was."""
        from torch import distributed

        if distributed.is_available() and distributed.is_initialized():
            return Ranks(distributed.get_rank(), distributed.get_world_size())
        return ALONE

    def part(self, n: int) -> slice:
        """This rank's contiguous part of n images; the parts of all ranks, in order, make up the
        whole and differ by one image at most.
        """
        return slice(self.rank * n // self.size, (self.rank + 1) * n // self.size)

    def rows(self, own: torch.Tensor) -> tuple[torch.Tensor, int]:
        """(the rows of all ranks in rank order, where this rank's begin), with gradients: what the
        others' losses ask of these rows comes back to them.

        `own` is float [b, e]; b may differ between ranks, and may be 0. The gradient of `own` is
        the sum over all ranks of the gradients of their copies of it, so that every rank has to run
        the backward pass too.
        """
        from headwater.ranks.gathering import Gather

        if self.size == 1:
            return own, 0
        counts = self._counts(len(own), own.device)
        gathered: torch.Tensor = Gather.apply(own, self, counts)
        return gathered, sum(counts[: self.rank])

    def _counts(self, own: int, device: torch.device) -> list[int]:
        """How many rows each rank has."""
        import torch
        from torch import distributed

        counts = torch.empty(self.size, dtype=torch.int64, device=device)
        distributed.all_gather_into_tensor(counts, torch.tensor([own], device=device))
        listed: list[int] = counts.tolist()
        return listed

    def total(self, value: float) -> float:
        """The sum of the ranks' values, in double precision: the same float on every rank."""
        import torch
        from torch import distributed

        if self.size == 1:
            return value
        on_gpu = distributed.get_backend() == "nccl"
        summed = torch.tensor(
            value,
            dtype=torch.float64,
            device=torch.device("cuda", torch.cuda.current_device()) if on_gpu else "cpu",
        )
        distributed.all_reduce(summed)
        return float(summed)

    def average_(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` itself, which now holds the mean of the ranks' tensors; no gradients go through
        it.
        """
        from torch import distributed

        if self.size > 1:
            distributed.all_reduce(tensor)
            tensor.div_(self.size)
        return tensor

    def summed_(self, tensor: torch.Tensor) -> torch.Tensor:
        """`tensor` itself, which now holds the sum of the ranks' tensors; no gradients go through
        it, and nothing waits for a GPU.
        """
        from torch import distributed

        if self.size > 1:
            distributed.all_reduce(tensor)
        return tensor

    def agreed(self, values: list[int]) -> list[int]:
        """What the first rank says, 64-bit integers, as many on every rank."""
        import torch
        from torch import distributed

        if self.size == 1:
            return values
        on_gpu = distributed.get_backend() == "nccl"
        said = torch.tensor(
            values,
            dtype=torch.int64,
            device=torch.device("cuda", torch.cuda.current_device()) if on_gpu else "cpu",
        )
        distributed.broadcast(said, 0)
        listed: list[int] = said.tolist()
        return listed

    def barrier(self) -> None:
        """Wait until every rank is here."""
        from torch import distributed

        if self.size > 1:
            distributed.barrier()


ALONE = Ranks()
