"""Every image as a square of few pixels, and its coefficients: what all comparisons of this room
are made of, in whole numbers.

An image of any shape becomes luma and two colour differences on a grid of SIDE x SIDE. A copy that
is a crop of the image, however its width and height were cut, is then a window of the square, so
its own shape does not matter.

All arithmetic is on whole numbers that float64 holds exactly (below 2^53), with filters and cosines
rounded once to 1/4096. Sums of whole numbers come out the same in any order, so results are
bit-equal whatever the number of threads, the size of blocks and the device.
"""

from __future__ import annotations

import functools

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.sources.pixels import Images

SIDE = 40
"""Pixels on a side of the square: the short side of images that are stored for 32 px
(sources.pixels.short_side), which then are not resampled. Ours.
"""
UNIT = 4096
"""1 as whole numbers: filters and cosines are rounded to 1 / 4096."""
LEVELS = 16
"""Of a square's values: 1 level of 255 is 16."""
_YCC = torch.tensor([[77, 150, 29], [-43, -85, 128], [128, -107, -21]], dtype=torch.float64)
"""JPEG's luma, Cb and Cr over 256 (ITU-R BT.601, rounded so that grey has no colour)."""


@functools.cache
def resampling(num: int, side: int, start: float = 0.0, end: float = 1.0) -> NDArray[np.float64]:
    """[num, side]: what takes `side` pixels to `num` pixels of the window from `start` to `end`,
    fractions of the side: a triangle as wide as a step (bilinear with antialiasing, Pillow's).
    """
    step = (end - start) * side / num
    centres = start * side + (np.arange(num) + 0.5) * step
    weights = np.clip(
        1 - np.abs(centres[:, None] - (np.arange(side) + 0.5)) / max(step, 1.0), 0, None
    )
    filters: NDArray[np.float64] = weights / weights.sum(axis=1, keepdims=True)
    return filters


@functools.cache
def cosines(num: int, side: int, start: float = 0.0, end: float = 1.0) -> NDArray[np.float64]:
    """[num, side]: the first `num` coefficients (DCT-II, orthonormal) of a window of a square's
    row.
    """
    grid = np.arange(side)
    waves = np.sqrt(2 / side) * np.cos(np.pi * np.arange(num)[:, None] * (grid + 0.5) / side)
    waves[0] /= np.sqrt(2)
    product: NDArray[np.float64] = waves @ resampling(side, side, start, end)
    return product


def in_units(matrix: NDArray[np.float64]) -> torch.Tensor:
    """A matrix of filters or cosines in UNITs, whole numbers held as float64."""
    return torch.from_numpy(np.rint(matrix * UNIT))


def squares(images: Images, rows: NDArray[np.int64]) -> torch.Tensor:
    """int16 [num_rows, 3, SIDE, SIDE]: luma and colour differences, LEVELS to a level: luma 0 to
    4080, differences -2040 to 2040.
    """
    pixels, sizes = images.gather(rows)
    made = torch.empty((len(rows), 3, SIDE, SIDE), dtype=torch.int16)
    for height, width in np.unique(sizes, axis=0).tolist():
        which = np.flatnonzero((sizes == (height, width)).all(axis=1))
        some = torch.from_numpy(
            np.ascontiguousarray(pixels[which, :height, :width].reshape(-1, 3))
        ).double()
        planes = (some @ _YCC.T).mul_(LEVELS / 256).round_().T.reshape(3, len(which), height, width)
        if width != SIDE:
            planes = (
                (planes.reshape(-1, width) @ in_units(resampling(SIDE, width)).T)
                .div_(UNIT)
                .round_()
                .view(3, len(which), height, SIDE)
            )
        if height != SIDE:
            planes = (in_units(resampling(SIDE, height)) @ planes).div_(UNIT).round_()
        made[which] = planes.transpose(0, 1).to(torch.int16)
    return made


def frequencies(num: int) -> torch.Tensor:
    """float64 [num, num]: half waves across the square, of each coefficient."""
    k = torch.arange(num, dtype=torch.float64)
    return (k[:, None] ** 2 + k[None, :] ** 2).sqrt()
