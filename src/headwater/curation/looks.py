"""What a search for copies knows of images: hashes, squares and coefficients, each worked out once
where there is room.
"""

from __future__ import annotations

import threading
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.curation.hashing import perceptual_hashes, pixel_hashes
from headwater.curation.squares import SIDE, squares
from headwater.curation.threads import in_threads
from headwater.curation.windows import Coefficients, coefficients
from headwater.sources.pixels import Images

MOST_SQUARES = 16_384
"""A set of no more images keeps its squares (157 MB); those of a larger one are made anew whenever
they are asked for.
"""
MOST_LOOKS = 8192
"""A set of no more images keeps its coefficients too (115 MB, and as much again while they are
worked out).
"""


@dataclass(frozen=True, eq=False)
class Look:
    """What is known of some images."""

    pixels: NDArray[np.uint64]
    hashes: NDArray[np.uint64]
    mirrored: NDArray[np.uint64]
    wholes: Coefficients
    banks: Coefficients

    def __getitem__(self, which: slice) -> Look:
        return Look(
            self.pixels[which],
            self.hashes[which],
            self.mirrored[which],
            self.wholes[which],
            self.banks[which],
        )

    def room_for(self, num: int) -> Look:
        """As of `num` images, of which nothing is known yet."""
        pixels, hashes, mirrored = np.zeros((3, num), dtype=np.uint64)
        wholes, banks = self.wholes.room_for(num), self.banks.room_for(num)
        return Look(pixels, hashes, mirrored, wholes, banks)

    def take(self, other: Look) -> None:
        """Takes over what is known of as many images."""
        self.pixels[:], self.hashes[:], self.mirrored[:] = (
            other.pixels,
            other.hashes,
            other.mirrored,
        )
        self.wholes.take(other.wholes)
        self.banks.take(other.banks)


class Looks:
    """Images with what is known of them so far. May be asked from several threads at once: two that
    work out the same come to the same.
    """

    def __init__(self, images: Images) -> None:
        self.images = images
        kept = len(images) if len(images) <= MOST_SQUARES else 0
        self._squares = torch.empty((kept, 3, SIDE, SIDE), dtype=torch.int16)
        self._made = np.zeros(kept, dtype=bool)
        self._look: Look | None = None
        self._looked = np.zeros(len(images) if len(images) <= MOST_LOOKS else 0, dtype=bool)
        self._lock = threading.Lock()

    def __len__(self) -> int:
        return len(self.images)

    def squares(self, rows: NDArray[np.int64]) -> torch.Tensor:
        """As headwater.curation.squares.squares."""
        if not len(self._made):
            return squares(self.images, rows)
        missing = rows[~self._made[rows]]
        if len(missing):
            self._squares[missing] = squares(self.images, missing)
            self._made[missing] = True
        return self._squares[rows]

    def banks(self, rows: NDArray[np.int64]) -> Coefficients | None:
        """Of all windows of some images, as headwater.curation.windows.coefficients; None where
        they are not kept.
        """
        look = self._kept(rows)
        return None if look is None else look.banks.of(rows)

    def wholes(self, rows: NDArray[np.int64]) -> Coefficients | None:
        """Of some images as they are, likewise."""
        look = self._kept(rows)
        return None if look is None else look.wholes.of(rows)

    def at(self, start: int, end: int, block: int) -> Look:
        """Of rows `start` to `end` - 1, worked out `block` rows at a time."""
        rows = np.arange(start, end, dtype=np.int64)
        look = self._kept(rows)
        if look is not None:
            return look[start:end]
        blocks = [rows[first : first + block] for first in range(0, len(rows), block)]
        looks = list(in_threads(self._of_rows, blocks))
        if not len(self._looked):
            return _joined(looks)
        with self._lock:
            if self._look is None:
                self._look = looks[0].room_for(len(self))
        for some, of_some in zip(blocks, looks, strict=True):
            self._look[some[0] : some[-1] + 1].take(of_some)
            self._looked[some] = True
        return self._look[start:end]

    def _kept(self, rows: NDArray[np.int64]) -> Look | None:
        return self._look if len(self._looked) and self._looked[rows].all() else None

    def _of_rows(self, rows: NDArray[np.int64]) -> Look:
        small = self.squares(rows)
        hashes, mirrored = perceptual_hashes(small)
        return Look(
            pixel_hashes(self.images, rows),
            hashes,
            mirrored,
            coefficients(small, whole_only=True),
            coefficients(small),
        )


def looks_of(images: Images | Looks) -> Looks:
    return images if isinstance(images, Looks) else Looks(images)


def _joined(looks: list[Look]) -> Look:
    if len(looks) == 1:
        return looks[0]
    return Look(
        np.concatenate([look.pixels for look in looks]),
        np.concatenate([look.hashes for look in looks]),
        np.concatenate([look.mirrored for look in looks]),
        _together([look.wholes for look in looks]),
        _together([look.banks for look in looks]),
    )


def _together(blocks: list[Coefficients]) -> Coefficients:
    return Coefficients(
        torch.cat([block.even for block in blocks]), torch.cat([block.odd for block in blocks])
    )
