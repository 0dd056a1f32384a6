"""Gaussian blur of single views of a batch, each with its own sigma."""

from __future__ import annotations

import math

import torch

from headwater.views.crops import bag

SIGMA = (0.1, 2.0)
"""In pixels at 224 px. [paper] Chen et al. 2020."""
_TAIL = 5.2
"""Sigmas after which the kernel is cut: 2e-7 of its mass lie beyond, less than float32 tells."""


def blur(x: torch.Tensor, u: torch.Tensor, *, on: torch.Tensor) -> torch.Tensor:
    """Gaussian blur of views [n, 3, s, s] where `on` (bool [n]): sigma uniform (u [n]) in [0.1, 2] px at 224 px, scaled with the image size."""
    return torch.where(on[:, None, None, None], blur_(x, u), x)


def blur_(x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """The same of all views or planes; a new tensor. At the borders the kernel sees the view alone and is renormalised, so flat stays flat."""
    n, _, size, _ = x.shape
    low, high = (value * size / 224 for value in SIGMA)
    sigma = (low + (high - low) * u).clamp(min=1e-3)
    reach = min(size - 1, math.ceil(_TAIL * high))
    offset = torch.arange(-reach, reach + 1, device=x.device)
    pixel = torch.arange(size, device=x.device)[:, None] + offset
    inside = (pixel >= 0) & (pixel < size)
    weight = torch.exp(-0.5 * (offset / sigma[:, None]) ** 2)[:, None] * inside
    weight = (weight / weight.sum(dim=2, keepdim=True))[:, None].expand(-1, 3, -1, -1).contiguous()
    plane = torch.arange(3 * n, device=x.device).view(n, 3, 1, 1) * size
    index = (plane + pixel.clamp(0, size - 1)).int()
    for _ in range(2):  # along the first axis of a plane, then the other
        x = bag(x.reshape(-1, size), index, weight).view(n, 3, size, size).transpose(2, 3)
    return x.contiguous()
