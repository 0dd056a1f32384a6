"""The two-layer ReLU patch network of Hong et al. 2023, many at once, with gradients by hand.

    F_c(x) = 1 / m * sum over the m neurons r of head c and the patches p of ReLU(<w_cr, x_p> + b)

The second layer is frozen (to 1 / m here, to ones in the paper: a factor of the learning rate), the
bias is small, negative and frozen. The loss is softmax cross-entropy over heads. Networks of one
shape stand side by side in the first axis and are advanced by batched matrix products; none sees
another, and each gets the bits that it would get alone.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

TILE = 1 << 20
"""Bytes of neurons that are in work at once, a core's second-level cache [ours]: sums and masks of
larger ones wait for memory. A tile is several small networks, or some samples of a large one; how
many samples hangs on the network alone, so that its bits do not hang on its company.
"""


def initial(
    keys: Sequence[int], d: int, neurons: int, *, dtype: torch.dtype = torch.float32
) -> Tensor:
    """Standard normal weights [networks, d, neurons], one 64-bit key each.

    Neurons of a head are neighbours.
    """
    made = torch.empty(len(keys), d, neurons, dtype=dtype)
    for weight, key in zip(made, keys, strict=True):
        weight.normal_(generator=torch.Generator().manual_seed(key))
    return made


def networks_in_a_tile(n: int, patches: int, neurons: int, dtype: torch.dtype) -> int:
    """How many networks of a shape are worth one call of `gradients`, 1 or more."""
    return max(1, TILE // (n * patches * neurons * dtype.itemsize))


def outputs(x: Tensor, weight: Tensor, heads: int, *, width: int, bias: float) -> Tensor:
    """F [n, heads] of samples x [n, P, d] from one network's weights [d, neurons].

    `width` is the m that divides.
    """
    n, patches, d = x.shape
    f = torch.empty(n, heads, dtype=x.dtype)
    at_once = max(1, TILE // (patches * weight.shape[1] * x.dtype.itemsize))
    for start in range(0, n, at_once):
        tile = x[start : start + at_once]
        active = (tile.reshape(-1, d) @ weight).clamp_min_(-bias)
        f[start : start + at_once] = _heads(active[None], len(tile), patches, heads, width, bias)[0]
    return f


def gradients(
    x: Tensor,
    weight: Tensor,
    labels: Tensor,
    heads: int,
    *,
    width: int,
    bias: float,
    out: Tensor | None = None,
) -> tuple[Tensor, Tensor]:
    """(mean loss [networks] in nats, its gradient by the weights, of their shape).

    x [networks, n, P, d]; labels int64 [networks, n]; weight [networks, d, neurons]. `width` is the
    m that divides F, and a head may have more neurons than that (a sum of heads). `out`, of the
    weights' shape, is written and returned as the gradient.
    """
    networks, n, patches, d = x.shape
    neurons = weight.shape[2]
    loss = torch.zeros(networks, dtype=x.dtype)
    slope = torch.empty_like(weight) if out is None else out
    at_once = min(n, max(1, TILE // (patches * neurons * x.dtype.itemsize)))
    together = networks_in_a_tile(n, patches, neurons, x.dtype) if at_once == n else 1
    active = x.new_empty(together, at_once * patches, neurons)
    error = torch.empty_like(active)
    for first in range(0, networks, together):
        nets = slice(first, first + together)
        for start in range(0, n, at_once):
            tile = x[nets, start : start + at_once]
            g, count = tile.shape[:2]
            if (g, count) != (active.shape[0], active.shape[1] // patches):
                active = x.new_empty(g, count * patches, neurons)
                error = torch.empty_like(active)
            rows = tile.reshape(g, count * patches, d)
            torch.bmm(rows, weight[nets], out=active)
            active.clamp_min_(-bias)  # ReLU(h + b) - b: the constant is added to the sum
            log_p = _heads(active, count, patches, heads, width, bias).log_softmax(dim=2)
            right = labels[nets, start : start + at_once, None]
            loss[nets] -= log_p.gather(2, right)[:, :, 0].sum(dim=1)
            minus_one = log_p.new_full((g, count, 1), -1.0)
            by_head = log_p.exp_().scatter_add_(2, right, minus_one).div_(n * width)
            by_neuron = by_head[..., None].expand(g, count, heads, neurons // heads)
            by_neuron = by_neuron.reshape(g, count, 1, neurons)
            shape = (g, count, patches, neurons)
            # the slope of each sample and head, where a neuron is active on a patch
            torch.ops.aten.threshold_backward.grad_input(
                by_neuron.expand(shape), active.view(shape), -bias, grad_input=error.view(shape)
            )
            beta = 0 if start == 0 else 1
            torch.baddbmm(slope[nets], rows.transpose(1, 2), error, beta=beta, out=slope[nets])
    return loss.div_(n), slope


def _heads(active: Tensor, count: int, patches: int, heads: int, width: int, bias: float) -> Tensor:
    """F [networks, count, heads] from max(h, -b) [networks, count * P, neurons]."""
    networks, _, neurons = active.shape
    by_neuron = active.view(networks, count, patches, neurons).sum(dim=2)
    f = by_neuron.view(networks, count, heads, neurons // heads).sum(dim=3)
    return f.add_(bias * patches * (neurons // heads)).div_(width)
