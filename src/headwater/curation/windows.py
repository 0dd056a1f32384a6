"""Which pairs may be copies: each image's windows against the other's whole, all pairs, by a
product of small whole numbers.

A window keeps at least KEPT of each side. A grid of windows (GRID steps along each axis, 36
windows) is near enough to any of them that the coarse coefficients of a copy and of the nearest
window agree; `aligning` then looks for the window itself. A mirrored image has the same
coefficients with the sign of its odd columns changed, so one product of the even columns and one of
the odd serve both: even + |odd|.

Coefficients are scaled to a common length and rounded so that products stay below 2^24: float32
holds them exactly.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.curation.squares import LEVELS, SIDE, UNIT, cosines, frequencies, in_units

KEPT = 0.8
"""A copy keeps at least this much of each side. [the issue's]"""
GRID = 0.1
"""The step of the windows' edges, as a fraction of the side. Ours."""
_LUMA, _COLOUR = 8, 4
"""Coefficients per axis."""
_LENGTH = 2048
_QUIET = 0.3
"""Levels: the contrast at which coefficients count for less than their direction says; what is
flatter is like nothing. Ours.
"""


@functools.cache
def windows() -> NDArray[np.float64]:
    """[num_windows, 2]: start and end of the windows of the grid, along one axis; the first is the
    whole.
    """
    cuts = np.arange(0, 1 - KEPT + 1e-9, GRID)
    return np.array([(a, 1 - b) for a in cuts for b in cuts if a + b <= 1 - KEPT + 1e-9])


@functools.cache
def _weights() -> torch.Tensor:
    # The spectrum of photos falls as 1 / f: times f, each coefficient says as much as another
    # [recalled: Field 1987].
    f = frequencies(_LUMA)
    luma, colour = f.clone(), 1.5 * f[:_COLOUR, :_COLOUR]
    return torch.cat([luma.reshape(-1), colour.reshape(-1), colour.reshape(-1)])


@functools.cache
def _columns() -> tuple[torch.Tensor, torch.Tensor]:
    """int64 each: where the coefficients of even and of odd columns are, but for those that count
    nothing.
    """

    def odd(num: int) -> torch.Tensor:
        return (torch.arange(num) % 2 == 1).expand(num, num).reshape(-1)

    odds = torch.cat([odd(_LUMA), odd(_COLOUR), odd(_COLOUR)])
    return torch.nonzero(~odds & (_weights() > 0))[:, 0], torch.nonzero(odds)[:, 0]


@dataclass(frozen=True, eq=False)
class Coefficients:
    """Of some images, each with as many windows: whole numbers, held as float32."""

    even: torch.Tensor
    """[num_images, num_windows, dim]"""
    odd: torch.Tensor
    """[num_images, num_windows, dim]"""

    def __getitem__(self, which: slice) -> Coefficients:
        return Coefficients(self.even[which], self.odd[which])

    def of(self, rows: NDArray[np.int64]) -> Coefficients:
        """Those of some images, copied."""
        which = torch.from_numpy(rows)
        return Coefficients(self.even.index_select(0, which), self.odd.index_select(0, which))

    def room_for(self, num: int) -> Coefficients:
        """As of `num` images, of which nothing is known yet."""
        return Coefficients(
            self.even.new_empty((num, *self.even.shape[1:])),
            self.odd.new_empty((num, *self.odd.shape[1:])),
        )

    def take(self, other: Coefficients) -> None:
        """Takes over those of as many images."""
        self.even.copy_(other.even)
        self.odd.copy_(other.odd)

    def __len__(self) -> int:
        return len(self.even)


@functools.cache
def _each_window(kept: int, whole_only: bool) -> torch.Tensor:
    """[num_windows * kept, SIDE]: the first cosines of every window along one axis."""
    spans = windows()[:1] if whole_only else windows()
    return in_units(
        np.concatenate([cosines(kept, SIDE, start, end) for start, end in spans.tolist()])
    )


def coefficients(squares: torch.Tensor, *, whole_only: bool = False) -> Coefficients:
    """Of int16 [num_images, 3, SIDE, SIDE]: windows() x windows() of each, vertical first; or the
    whole image as one window.
    """
    num = 1 if whole_only else len(windows())
    parts = []
    for channel, kept in ((0, _LUMA), (1, _COLOUR), (2, _COLOUR)):
        each = _each_window(kept, whole_only)
        made = each @ squares[:, channel].double() @ each.T
        made = made.view(-1, num, kept, num, kept).permute(0, 1, 3, 2, 4)
        parts.append(made.reshape(len(squares), num * num, kept * kept))
    values = torch.cat(parts, dim=-1).mul_(_weights() / UNIT**2).round_()
    quiet = LEVELS * SIDE * _QUIET
    length = values.square().sum(dim=-1, keepdim=True).add_(quiet**2).sqrt_()
    values = values.mul_(_LENGTH).div_(length).round_().float()
    even, odd = _columns()
    return Coefficients(values.index_select(-1, even), values.index_select(-1, odd))


def alike(windowed: Coefficients, wholes: Coefficients) -> torch.Tensor:
    """float32 [num_windowed, num_wholes], -1 to 1: how alike the best window of one image and the
    whole other are, mirrored or not. Exact.
    """
    even = windowed.even.flatten(0, 1) @ wholes.even[:, 0].T
    odd = windowed.odd.flatten(0, 1) @ wholes.odd[:, 0].T
    best = even.add_(odd.abs_()).view(len(windowed), -1, len(wholes)).amax(dim=1)
    return best / float(_LENGTH**2)
