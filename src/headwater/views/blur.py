"""Gaussian blur of single views of a batch, each with its own sigma."""

from __future__ import annotations

import math

import torch

from headwater.views.crops import bag, on_host

SIGMA = (0.1, 2.0)
"""In pixels at 224 px. [paper] Chen et al. 2020."""
_TAIL = 5.2
"""Sigmas after which the kernel is cut: 2e-7 of its mass lie beyond, less than float32 tells."""
_LARGE = 128
"""Pixels from which views are blurred one by one on a processor: there taps cost more than calls
[ours].
"""


def blur(x: torch.Tensor, u: torch.Tensor, *, on: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of views [n, 3, s, s] where `on` (bool [n]): sigma uniform (u [n]) in [0.1, 2]
    px at 224 px, scaled with the image size.
    """
    return torch.where(
        on[:, None, None, None], blur_(x.clone(memory_format=torch.contiguous_format), u), x
    )


def blur_(x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """The same of all views or planes, in place.

    At the borders the kernel sees the view alone and is renormalised, so flat stays flat.
    """
    if x.shape[-1] < _LARGE or not on_host(x):
        return _blurred_(x, u, SIGMA[1])
    for i, drawn in enumerate(u.tolist()):  # each with no more taps than its own sigma asks for
        _blurred_(x[i : i + 1], u[i : i + 1], SIGMA[0] + (SIGMA[1] - SIGMA[0]) * drawn)
    return x


def _blurred_(x: torch.Tensor, u: torch.Tensor, largest: float) -> torch.Tensor:
    n, _, size, _ = x.shape
    low, high = (value * size / 224 for value in SIGMA)
    sigma = (low + (high - low) * u).clamp(min=1e-3)
    reach = min(size - 1, math.ceil(_TAIL * largest * size / 224))
    offset = torch.arange(-reach, reach + 1, device=x.device, dtype=torch.int32)
    pixel = torch.arange(size, device=x.device, dtype=torch.int32)[:, None] + offset
    inside = (pixel >= 0) & (pixel < size)
    weight = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)[:, None] * inside
    weight /= weight.sum(dim=2, keepdim=True)
    weight = weight[:, None].repeat(1, 3, 1, 1)
    index = pixel.clamp_(0, size - 1) + torch.arange(
        0, 3 * n * size, size, device=x.device, dtype=torch.int32
    ).view(n, 3, 1, 1)
    once = (
        bag(x.view(-1, size), index, weight).view_as(x).transpose(2, 3).contiguous()
    )  # along the first axis of a plane, then the other
    return x.copy_(bag(once.view(-1, size), index, weight).view_as(x).transpose(2, 3))
