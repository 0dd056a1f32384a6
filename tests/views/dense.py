"""Another way to the same views: one dense matrix per sample and axis, all operations on all
samples, in float64.

The boxes are the views' own: how these are drawn has its tests against torchvision.
"""

from __future__ import annotations

import math

import torch

from headwater.study import Augmentation
from headwater.views import random_boxes
from tests.views.batches import MEAN, STD

LUMA = torch.tensor([0.299, 0.587, 0.114], dtype=torch.float64).view(3, 1, 1)


def dense_views(
    augmentation: Augmentation,
    images: torch.Tensor,
    sizes: torch.Tensor,
    u: torch.Tensor,
    size: int,
) -> torch.Tensor:
    """float64 [b, 3, size, size] from the 31 uniforms of crop, flip, jitter, grey and blur; all
    these words of the augmentation are set.
    """
    a = augmentation
    boxes = random_boxes(u[:, :22], sizes, crop_min=a.crop_min)
    u, s = u[:, 22:].double(), a.jitter
    rows, columns = (
        axis(boxes[:, 0], boxes[:, 2], images.shape[1], size),
        axis(boxes[:, 1], boxes[:, 3], images.shape[2], size),
    )
    columns = torch.where((u[:, 0] < a.flip)[:, None, None], columns.flip(1), columns)
    x = torch.einsum("bih,bhwc,bjw->bcij", rows, images.double() / 255, columns)
    low, high = max(0.0, 1 - 0.8 * s), 1 + 0.8 * s
    bright, contrast, saturation = (
        (low + (high - low) * u[:, i]).view(-1, 1, 1, 1) for i in (2, 3, 4)
    )
    y = (x * bright).clamp(0, 1)
    y = (contrast * y + (1 - contrast) * (y * LUMA).sum(1).mean((1, 2)).view(-1, 1, 1, 1)).clamp(
        0, 1
    )
    y = (saturation * y + (1 - saturation) * (y * LUMA).sum(1, keepdim=True)).clamp(0, 1)
    y = torch.stack(
        [
            hue(float(turn)) @ view.flatten(1)
            for turn, view in zip(2 * math.pi * 0.2 * s * (2 * u[:, 5] - 1), y, strict=True)
        ]
    ).view_as(x)
    x = where(u[:, 1] < a.jitter_probability, y.clamp(0, 1), x)
    x = where(u[:, 6] < a.grey, (x * LUMA).sum(1, keepdim=True).expand_as(x), x)
    sigma = (0.1 + 1.9 * u[:, 8]) * size / 224
    distance = torch.arange(size)[:, None] - torch.arange(size)[None]
    kernel = torch.exp(-0.5 * (distance / sigma[:, None, None]) ** 2)
    kernel = kernel / kernel.sum(2, keepdim=True)
    x = where(u[:, 7] < a.blur, torch.einsum("bij,bcjk,blk->bcil", kernel, x, kernel), x)
    return (x - MEAN) / STD


def where(on: torch.Tensor, a: torch.Tensor, b: torch.Tensor) -> torch.Tensor:
    return torch.where(on[:, None, None, None], a, b)


def axis(start: torch.Tensor, length: torch.Tensor, full: int, size: int) -> torch.Tensor:
    """float64 [b, size, full]: a triangle of half-width max(scale, 1) about each output pixel's
    centre, over the crop alone.
    """
    start, length = start.double(), length.double()
    scale = (length / size)[:, None]
    centre = start[:, None] + (torch.arange(size) + 0.5) * scale
    pixel = torch.arange(full) + 0.5
    inside = (pixel > start[:, None]) & (pixel < (start + length)[:, None])
    weight = (1 - (pixel - centre[:, :, None]).abs() / scale.clamp(min=1.0)[:, :, None]).clamp(
        min=0
    ) * inside[:, None]
    return weight / weight.sum(2, keepdim=True)


def hue(angle: float) -> torch.Tensor:
    to_yiq = torch.tensor(
        [[0.299, 0.587, 0.114], [0.5959, -0.2746, -0.3213], [0.2115, -0.5227, 0.3112]],
        dtype=torch.float64,
    )
    turn = torch.tensor(
        [[1, 0, 0], [0, math.cos(angle), -math.sin(angle)], [0, math.sin(angle), math.cos(angle)]],
        dtype=torch.float64,
    )
    return torch.linalg.solve(to_yiq, turn @ to_yiq)
