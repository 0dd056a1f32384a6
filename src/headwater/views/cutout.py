"""Cutout: one random box of a view is erased, drawn as torchvision's RandomErasing draws it (Zhong
et al. 2020; DeVries and Taylor 2017).
"""

from __future__ import annotations

import math

import torch

_TRIES = 10
AREA = (0.02, 0.33)
RATIO = (0.3, 3.3)
CUTOUT_DRAWS = 1 + 2 * _TRIES + 2
"""Uniforms: a gate, area and aspect of 10 candidates, two offsets."""


def erased_boxes(u: torch.Tensor, size: int) -> torch.Tensor:
    """int64 [n, 4] boxes (top, left, height, width) of square views, from uniforms [n, 22]; zeros
    where no candidate fits, which erases nothing.

    Area is uniform in 2..33 % of the view, the logarithm of height / width uniform in [0.3, 3.3];
    the first of 10 candidates that is smaller than the view both ways is taken.
    """
    area = size * size * (AREA[0] + (AREA[1] - AREA[0]) * u[:, :_TRIES])
    low, high = (math.log(r) for r in RATIO)
    ratio = torch.exp(low + (high - low) * u[:, _TRIES : 2 * _TRIES])
    h, w = torch.sqrt(area * ratio).round(), torch.sqrt(area / ratio).round()
    fits = (h < size) & (w < size)
    first = fits.to(torch.int8).argmax(dim=1, keepdim=True)
    h, w = h.gather(1, first), w.gather(1, first)
    top = torch.floor(u[:, 2 * _TRIES : 2 * _TRIES + 1] * (size - h + 1))
    left = torch.floor(u[:, 2 * _TRIES + 1 : 2 * _TRIES + 2] * (size - w + 1))
    return (torch.cat([top, left, h, w], dim=1) * fits.any(dim=1, keepdim=True)).long()


def cutout_(x: torch.Tensor, u: torch.Tensor) -> torch.Tensor:
    """Normalised views [n, s, s, 3] with one box each set to 0, the mean colour, in place.

    `u` [n, 22] on the host.
    """
    size = x.shape[1]
    top, left, h, w = (v.to(x.device)[:, None] for v in erased_boxes(u, size).unbind(dim=1))
    pixel = torch.arange(size, device=x.device)
    rows, columns = (pixel >= top) & (pixel < top + h), (pixel >= left) & (pixel < left + w)
    return x.masked_fill_((rows[:, :, None] & columns[:, None, :])[..., None], 0)
