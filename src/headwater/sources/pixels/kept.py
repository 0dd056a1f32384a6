"""Pixels that were decoded on the way to something else, and wait on disk to be taken up."""

from __future__ import annotations

import zlib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater.sources import Positions, Source
from headwater.sources.pixels.decoding import decode_some


def checksum(pixels: NDArray[np.uint8]) -> int:
    """CRC-32 of pixels, in their order."""
    return zlib.crc32(np.ascontiguousarray(pixels).data)


@dataclass(frozen=True)
class Kept:
    """Where the pixels of an image are: uint8 [height, width, 3], from a byte of a file on."""

    file: Path
    offset: int
    height: int
    width: int
    sum: int
    """`checksum` of the pixels."""

    def read(self) -> NDArray[np.uint8] | None:
        """uint8 [height, width, 3]; None where they are not there, or not what was kept."""
        count = 3 * self.height * self.width
        try:
            pixels = np.fromfile(self.file, np.uint8, count, offset=self.offset)
        except (OSError, ValueError):
            return None
        if len(pixels) != count or checksum(pixels) != self.sum:
            return None
        return pixels.reshape(self.height, self.width, 3)


def kept_or_decoded(
    source: Source, positions: Positions, image_size: int, kept: Mapping[int, Kept]
) -> list[NDArray[np.uint8]]:
    """As `decode_some`; what is kept is read, and the others are decoded."""
    if not kept:
        return decode_some(source, positions, image_size)
    found: dict[int, NDArray[np.uint8]] = {}
    for position in positions.tolist():
        pixels = kept[position].read() if position in kept else None
        if pixels is not None:
            found[position] = pixels
    missing = positions[[position not in found for position in positions.tolist()]]
    decoded = decode_some(source, missing, image_size) if len(missing) else []
    found |= dict(zip(missing.tolist(), decoded, strict=True))
    return [found[position] for position in positions.tolist()]
