"""What happens to the colours of views: jitter, grey, solarise, normalisation.

All maps are of single pixels, but contrast, which asks for the mean.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
import torch
from numpy.typing import NDArray

MEAN = (0.485, 0.456, 0.406)
STD = (0.229, 0.224, 0.225)
"""Channel statistics of ImageNet: timm's default, so that encoders load there without a word about
normalisation.
"""
LUMA = (0.299, 0.587, 0.114)
_SHIFT = tuple(torch.tensor(-mean / std) for mean, std in zip(MEAN, STD, strict=True))
_TO_YIQ = ((0.299, 0.587, 0.114), (0.5959, -0.2746, -0.3213), (0.2115, -0.5227, 0.3112))


def normalise(x: torch.Tensor) -> torch.Tensor:
    """(x - mean) / std per channel of views [b, 3, h, w] in [0, 1], in channels_last memory
    format.
    """
    mean, std = (torch.tensor(v, device=x.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return ((x - mean) / std).contiguous(memory_format=torch.channels_last)


def write_normalised(x: torch.Tensor, out: torch.Tensor) -> torch.Tensor:
    """The same of planes [n, 3, s, s] (column, then row), written to `out` [n, s, s, 3] (row, then
    column) while the data is turned; gives `out`.
    """
    for plane, written, shift, std in zip(
        x.transpose(2, 3).unbind(1), out.unbind(3), _SHIFT, STD, strict=True
    ):
        torch.add(shift, plane, alpha=1 / std, out=written)
    return out


def luma(x: torch.Tensor) -> torch.Tensor:
    """float32 [n, h, w]: the Y of NTSC's YIQ, of views [n, 3, h, w]."""
    red, green, blue = x.unbind(1)
    return (red * LUMA[0]).add_(green, alpha=LUMA[1]).add_(blue, alpha=LUMA[2])


def grey_(x: torch.Tensor) -> torch.Tensor:
    """Views [n, 3, h, w] as their luma, in place."""
    return x.copy_(luma(x)[:, None])


def solarise_(x: torch.Tensor) -> torch.Tensor:
    """Values above one half inverted, in place: PIL's solarize at its threshold of 128, which lies
    between 127/255 and 128/255.
    """
    return torch.minimum(x, 1 - x, out=x)


@dataclass(frozen=True)
class Jitter:
    """Colour jitter of n views: brightness, contrast, saturation, hue in this order, with a clamp
    to [0, 1] after each.

    Brightness scales; contrast mixes with the mean luma of the view, saturation with the luma of
    the pixel (both are torchvision's); hue turns the chroma plane of YIQ, a linear map that keeps
    luma, where torchvision shifts the H of HSV. torchvision also shuffles the order of the four.
    """

    factors: tuple[torch.Tensor, ...]
    """float32 [n, 1] each: brightness, contrast."""
    maps: tuple[torch.Tensor, ...]
    """float32 [n, 3, 3] each, of a pixel's RGB: saturation, hue, and both, saturation first."""
    mixes: NDArray[np.bool_]
    """[n]: saturations of at most 1.

    They mix a colour in [0, 1] with its luma, so nothing is clamped, and hue may follow at once.
    """

    @classmethod
    def drawn(cls, u: torch.Tensor, strength: float, device: torch.device | None = None) -> Jitter:
        """Factors uniform in 1 +- 0.8 strength (from 0 where that is negative), hue in +- 0.2
        strength turns, from uniforms [n, 4] on the host.
        """
        low, high = max(0.0, 1 - 0.8 * strength), 1 + 0.8 * strength
        factors = (low + high) / 2 + (high - low) / 2 * (2 * u[:, :3] - 1)
        hue, saturation = (
            _hue_matrices(2 * math.pi * 0.2 * strength * (2 * u[:, 3] - 1)),
            saturation_matrices(factors[:, 2]),
        )
        maps = torch.stack([saturation, hue, hue @ saturation]).to(device)
        return cls(
            factors[:, :2, None].to(device).unbind(1),
            maps.unbind(0),
            (factors[:, 2] <= 1).cpu().numpy(),
        )

    def rows(self, rows: slice | torch.Tensor) -> Jitter:
        """Of some views; `rows` is a slice, or int64 [m] on the host."""
        if isinstance(rows, slice):
            return Jitter(
                tuple(t[rows] for t in self.factors),
                tuple(t[rows] for t in self.maps),
                self.mixes[rows],
            )
        at = rows.to(self.maps[0].device)
        return Jitter(
            tuple(t[at] for t in self.factors),
            tuple(t[at] for t in self.maps),
            self.mixes[rows.numpy()],
        )

    def __call__(self, x: torch.Tensor) -> torch.Tensor:
        """The jittered views of x [n, 3, h, w] in [0, 1], contiguous, which is overwritten."""
        (brightness, contrast), (saturation, hue, both) = self.factors, self.maps
        pixels, flat = x.flatten(2), x.flatten(1)
        flat.mul_(brightness).clamp_(max=1)
        contrast_(flat, contrast)
        if self.mixes.all():
            return torch.bmm(both, pixels).clamp_(0, 1).view_as(x)
        saturated = torch.bmm(saturation, pixels).clamp_(0, 1)
        torch.bmm(hue, saturated, out=pixels)
        return x.clamp_(0, 1)


def jitter(x: torch.Tensor, u: torch.Tensor, *, strength: float, on: torch.Tensor) -> torch.Tensor:
    """Colour jitter of views [n, 3, h, w] in [0, 1] where `on` (bool [n]), from uniforms [n, 4],
    all on the host; see `Jitter`. A new tensor.
    """
    x = x.contiguous()
    return torch.where(on[:, None, None, None], Jitter.drawn(u, strength)(x.clone()), x)


def contrast_(flat: torch.Tensor, factor: torch.Tensor) -> torch.Tensor:
    """Contiguous views as rows [n, 3 * pixels], mixed by `factor` [n, 1] with the mean of their
    luma in place, clamped.
    """
    mean = flat.view(len(flat), 3, -1).mean(dim=2) @ luma_weights(flat.device)
    return flat.mul_(factor).add_((1 - factor) * mean).clamp_(0, 1)


@lru_cache(maxsize=8)
def luma_weights(device: torch.device) -> torch.Tensor:
    """float32 [3, 1]."""
    return torch.tensor(LUMA, device=device)[:, None]


def saturation_matrices(factor: torch.Tensor) -> torch.Tensor:
    """float32 [n, 3, 3]: mix a colour with its luma, as a map from RGB to RGB."""
    to_luma = torch.tensor(LUMA, device=factor.device).expand(3, 3)
    return (
        factor[:, None, None] * torch.eye(3, device=factor.device)
        + (1 - factor)[:, None, None] * to_luma
    )


def _hue_matrices(angle: torch.Tensor) -> torch.Tensor:
    """float32 [n, 3, 3]: turn I and Q of NTSC's YIQ by `angle` (radians), as a map from RGB to
    RGB.
    """
    keep, same, across = _hue_basis()
    cos, sin = torch.cos(angle)[:, None, None], torch.sin(angle)[:, None, None]
    turned: torch.Tensor = keep + cos * same + sin * across
    return turned


@lru_cache(maxsize=1)
def _hue_basis() -> tuple[torch.Tensor, ...]:
    """What of a hue's map is constant, goes with the cosine of its angle, and with the sine: the
    turn of the chroma plane, seen from RGB.
    """
    to_yiq = torch.tensor(_TO_YIQ, dtype=torch.float64)
    turns = (
        ((1, 0, 0), (0, 0, 0), (0, 0, 0)),
        ((0, 0, 0), (0, 1, 0), (0, 0, 1)),
        ((0, 0, 0), (0, 0, -1), (0, 1, 0)),
    )
    return tuple(
        (torch.linalg.inv(to_yiq) @ torch.tensor(turn, dtype=torch.float64) @ to_yiq).float()
        for turn in turns
    )
