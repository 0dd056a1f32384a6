"""Rows of all ranks with gradients: what the others' losses ask of a rank's rows comes back."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch
from torch import distributed

if TYPE_CHECKING:
    from headwater.ranks import Ranks


class Gather(torch.autograd.Function):
    """All ranks' rows; backward, each rank gets the sum of what all ranks ask of its own.

    Shorter parts travel padded to the longest.
    """

    @staticmethod
    def forward(ctx: Any, own: torch.Tensor, ranks: Ranks, counts: list[int]) -> torch.Tensor:
        ctx.ranks, ctx.counts = ranks, counts
        most = max(counts)
        gathered = own.new_empty(ranks.size * most, *own.shape[1:])
        distributed.all_gather_into_tensor(gathered, _padded(own, most))
        if min(counts) == most:
            return gathered
        return torch.cat(
            [gathered[rank * most : rank * most + count] for rank, count in enumerate(counts)]
        )

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> tuple[torch.Tensor, None, None]:
        (asked,), ranks, counts = gradients, ctx.ranks, ctx.counts
        start = sum(counts[: ranks.rank])
        if (
            distributed.get_backend() != "nccl"
        ):  # gloo had no reduce-scatter in the oldest torch that we allow
            summed = asked.clone(memory_format=torch.contiguous_format)
            distributed.all_reduce(summed)
            return summed[start : start + counts[ranks.rank]], None, None
        most = max(counts)
        parts = (
            asked.contiguous()
            if min(counts) == most
            else torch.cat([_padded(part, most) for part in torch.split(asked, counts)])
        )
        summed = asked.new_empty(most, *asked.shape[1:])
        distributed.reduce_scatter_tensor(summed, parts)
        return summed[: counts[ranks.rank]], None, None


def _padded(rows: torch.Tensor, n: int) -> torch.Tensor:
    """Rows [b, e] as n rows, zeros below."""
    if len(rows) == n:
        return rows.contiguous()
    return torch.cat([rows, rows.new_zeros(n - len(rows), *rows.shape[1:])])
