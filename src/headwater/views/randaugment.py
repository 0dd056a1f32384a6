"""RandAugment (Cubuk et al. 2020) on batches: some operations of a list, one after the other, all
at one magnitude.

Magnitudes are on timm's scale of 0 to 10 with the ranges of its "increasing" operations
(timm.data.auto_augment, `inc1`), where 0 changes least. Left out of timm's list: invert and
solarise-add; added, as in the paper: identity. Every drawn operation is applied, as in the paper
(timm: with probability 0.5). Geometry is bilinear and fills with the mean colour of ImageNet; what
lies outside weighs in at the border, as in torchvision.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import torch
import torch.nn.functional as F

from headwater.views.colour import MEAN, contrast_, saturation_matrices

OPERATIONS = (
    "identity",
    "autocontrast",
    "equalise",
    "posterise",
    "solarise",
    "brightness",
    "contrast",
    "saturation",
    "sharpness",
    "rotate",
    "shear x",
    "shear y",
    "translate x",
    "translate y",
)
"""Drawn with equal probabilities; the order is part of what a uniform means."""
GEOMETRY = OPERATIONS.index("rotate")
MAGNITUDE = 9.0
"""Where a recipe leaves it out: timm's `rand-m9`, the usual one."""
SLOT_DRAWS = 2
"""Uniforms of each operation: which, and which way."""


def randaugment(x: torch.Tensor, u: torch.Tensor, *, magnitude: float) -> torch.Tensor:
    """Views [n, 3, s, s] in [0, 1] after `slots` operations each; `u` float32 [n, 2 * slots], on
    the host. A new tensor.
    """
    x = x.clone(memory_format=torch.contiguous_format)
    for slot in range(u.shape[1] // SLOT_DRAWS):
        which = (u[:, SLOT_DRAWS * slot] * len(OPERATIONS)).long()
        negative = u[:, SLOT_DRAWS * slot + 1] < 0.5
        for number in torch.unique(which).tolist():
            rows = (which == number).nonzero()[:, 0]
            at = rows.to(x.device)
            x[at] = operate(
                OPERATIONS[number], x[at], magnitude=magnitude, negative=negative[rows].to(x.device)
            )
    return x


def operate(
    name: str, x: torch.Tensor, *, magnitude: float, negative: torch.Tensor
) -> torch.Tensor:
    """One operation of the list on views [n, 3, s, s] in [0, 1], contiguous; `negative` bool [n]
    turns the direction, where there is one.
    """
    share = magnitude / 10
    sign = 1 - 2 * negative.float()
    if name in _PLAIN:
        return _PLAIN[name](x)
    if name in _TO_BITS:
        return _TO_BITS[name](x, share)
    if name in _ENHANCERS:
        return _ENHANCERS[name](x, (1 + 0.9 * share * sign).clamp(min=0.1))
    return _affine(x, _AFFINE[name](share * sign))


def _bytes(x: torch.Tensor) -> torch.Tensor:
    """int64: the nearest of 256 levels. Posterise and equalise are defined on bytes."""
    return (x * 255).round().long()


def _autocontrast(x: torch.Tensor) -> torch.Tensor:
    low, high = x.amin(dim=(2, 3), keepdim=True), x.amax(dim=(2, 3), keepdim=True)
    flat = high <= low
    return torch.where(flat, x, ((x - low) / torch.where(flat, 1.0, high - low)).clamp(0, 1))


def _equalise(x: torch.Tensor) -> torch.Tensor:
    """PIL's: each channel through its own cumulative histogram, in whole steps of pixels; a channel
    of too few levels stays.
    """
    n, c, h, w = x.shape
    levels = _bytes(x).view(n * c, h * w)
    counts = torch.zeros(n * c, 256, dtype=torch.int64, device=x.device).scatter_add_(
        1, levels, torch.ones_like(levels)
    )
    last = counts.gather(1, levels.amax(dim=1, keepdim=True))
    step = (h * w - last) // 255
    table = (counts.cumsum(dim=1) - counts + step // 2) // step.clamp(min=1)
    equal = table.clamp(0, 255).gather(1, levels).float() / 255
    return torch.where(step == 0, x.reshape(n * c, h * w), equal).view_as(x)


def _posterise(x: torch.Tensor, share: float) -> torch.Tensor:
    bits = max(
        1, 4 - int(share * 4)
    )  # timm keeps none at 10, a black view, which newer Pillows refuse
    return (_bytes(x) & (256 - (1 << (8 - bits)))).float() / 255


def _solarise(x: torch.Tensor, share: float) -> torch.Tensor:
    threshold = 256 - min(256, int(share * 256))
    return torch.where(x > (threshold - 0.5) / 255, 1 - x, x)


def _brightness(x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return (x * factor[:, None, None, None]).clamp_(0, 1)


def _contrast(x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return contrast_(x.reshape(len(x), -1).clone(), factor[:, None]).view_as(x)


def _saturation(x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    return torch.bmm(saturation_matrices(factor), x.reshape(len(x), 3, -1)).clamp_(0, 1).view_as(x)


def _sharpness(x: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Mixed with the view smoothed by PIL's kernel, ones around a 5, over 13; the outermost pixels
    are not smoothed.
    """
    smooth = x.clone()
    smooth[:, :, 1:-1, 1:-1] = (9 * F.avg_pool2d(x, 3, stride=1) + 4 * x[:, :, 1:-1, 1:-1]) / 13
    return torch.lerp(smooth, x, factor[:, None, None, None]).clamp_(0, 1)


def _affine(x: torch.Tensor, maps: torch.Tensor) -> torch.Tensor:
    """Views seen through maps [n, 2, 3] from output to input coordinates, in which a view goes from
    -1 to 1.
    """
    fill = torch.tensor(MEAN, device=x.device).view(1, 3, 1, 1)
    grid = F.affine_grid(maps, list(x.shape), align_corners=False)
    return (
        F.grid_sample(x - fill, grid, mode="bilinear", padding_mode="zeros", align_corners=False)
        + fill
    )


def _maps(
    a: torch.Tensor,
    b: torch.Tensor,
    c: torch.Tensor,
    d: torch.Tensor,
    e: torch.Tensor,
    f: torch.Tensor,
) -> torch.Tensor:
    return torch.stack([a, b, c, d, e, f], dim=1).view(-1, 2, 3)


def _rotation(share: torch.Tensor) -> torch.Tensor:
    """By up to 30 degrees about the centre, counter-clockwise where positive."""
    angle, zero = share * math.radians(30), torch.zeros_like(share)
    cos, sin = torch.cos(angle), torch.sin(angle)
    return _maps(cos, -sin, zero, sin, cos, zero)


def _shear_x(share: torch.Tensor) -> torch.Tensor:
    """By up to 0.3, from the top left corner, as PIL's affine transform counts."""
    shear, zero, one = 0.3 * share, torch.zeros_like(share), torch.ones_like(share)
    return _maps(one, shear, shear, zero, one, zero)


def _shear_y(share: torch.Tensor) -> torch.Tensor:
    shear, zero, one = 0.3 * share, torch.zeros_like(share), torch.ones_like(share)
    return _maps(one, zero, zero, shear, one, shear)


def _translation_x(share: torch.Tensor) -> torch.Tensor:
    """By up to 0.45 of the view."""
    zero, one = torch.zeros_like(share), torch.ones_like(share)
    return _maps(one, zero, 0.9 * share, zero, one, zero)


def _translation_y(share: torch.Tensor) -> torch.Tensor:
    zero, one = torch.zeros_like(share), torch.ones_like(share)
    return _maps(one, zero, zero, zero, one, 0.9 * share)


_PLAIN: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "identity": lambda x: x,
    "autocontrast": _autocontrast,
    "equalise": _equalise,
}
_TO_BITS: dict[str, Callable[[torch.Tensor, float], torch.Tensor]] = {
    "posterise": _posterise,
    "solarise": _solarise,
}
_ENHANCERS: dict[str, Callable[[torch.Tensor, torch.Tensor], torch.Tensor]] = {
    "brightness": _brightness,
    "contrast": _contrast,
    "saturation": _saturation,
    "sharpness": _sharpness,
}
_AFFINE: dict[str, Callable[[torch.Tensor], torch.Tensor]] = {
    "rotate": _rotation,
    "shear x": _shear_x,
    "shear y": _shear_y,
    "translate x": _translation_x,
    "translate y": _translation_y,
}
