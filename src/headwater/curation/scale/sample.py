"""A sample of a source's images: what their headers say, and their perceptual hashes.

Sizes are read from headers, and images are decoded small, a block at a time.
"""

from __future__ import annotations

import io
import os
import warnings
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headwater import keys
from headwater.curation.hashing import perceptual_hashes
from headwater.curation.scale.hashes import Hashes
from headwater.curation.squares import squares
from headwater.errors import InputError
from headwater.sources import Positions, Source
from headwater.sources.pixels import FORMATS, StreamedImages

Watch = Callable[[str, int, int, int], object]
"""Called with a name, how many images are done, of how many, and how many cannot be read."""

_IMAGE_SIZE = 32
"""At which copies are looked for [ours]."""
_BLOCK = 256


@dataclass(frozen=True, eq=False)
class Header:
    """What a file says of itself."""

    format: str
    width: int
    height: int
    size: int


@dataclass(frozen=True, eq=False)
class Seen:
    """Some images of a source that were looked at."""

    source: Source
    num: int
    """Images that there are."""
    looked: Positions
    """Those that were looked at, ascending."""
    headers: list[Header]
    """Of those whose header can be read."""
    readable: Positions
    """Those that can be decoded."""
    hashes: Hashes
    """Of these."""

    @property
    def images(self) -> StreamedImages:
        """Those that can be decoded, small."""
        return StreamedImages(self.source, self.readable, _IMAGE_SIZE)


def seen_of(
    name: str,
    source: Source,
    positions: Positions,
    sample: int,
    seed: int,
    watch: Watch | None,
) -> Seen:
    """Up to `sample` images of some, drawn by key: their headers and their hashes. `name` is what
    `watch` is told.

    Raises InputError for a sample of less than 1.
    """
    if sample < 1:
        raise InputError(f"--sample {sample}: at least 1 image should be looked at")
    looked = positions
    if len(positions) > sample:
        order = keys.permutation(keys.key(seed, "describe"), source.hashes[positions])
        looked = np.sort(positions[order[:sample]])
    headers: list[Header] = []
    readable, codes = [np.zeros(0, dtype=np.int64)], [np.zeros((2, 0), dtype=np.uint64)]
    bad = 0
    for at in range(0, len(looked), _BLOCK):
        block = looked[at : at + _BLOCK]
        headers += filter(None, [_header(source, position) for position in block.tolist()])
        good, made = _hashed(source, block)
        bad += len(block) - len(good)
        readable.append(good)
        codes.append(made)
        if watch is not None:
            watch(name, at + len(block), len(looked), bad)
    hashes = Hashes(*np.concatenate(codes, axis=1))
    return Seen(source, len(positions), looked, headers, np.concatenate(readable), hashes)


def _header(source: Source, position: int) -> Header | None:
    """None of what is no image that is read."""
    try:
        path = source.file(position)
        given = path if path is not None else source.image(position)
        if isinstance(given, np.ndarray):
            return Header("made", given.shape[1], given.shape[0], given.nbytes)
        size = os.stat(given).st_size if isinstance(given, str) else len(given)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of large images, which are not decoded here
            opened = given if isinstance(given, str) else io.BytesIO(given)
            with Image.open(opened, formats=FORMATS) as image:
                return Header(str(image.format), image.width, image.height, size)
    except (InputError, OSError, ValueError, SyntaxError, Image.DecompressionBombError):
        return None


def _hashed(source: Source, positions: Positions) -> tuple[Positions, NDArray[np.uint64]]:
    """(those that can be decoded, their hashes and those of their mirror images [2, num])."""
    try:
        images = StreamedImages(source, positions, _IMAGE_SIZE)
        return positions, np.stack(perceptual_hashes(squares(images, np.arange(len(positions)))))
    except InputError:
        if len(positions) == 1:
            return positions[:0], np.zeros((2, 0), dtype=np.uint64)
    halves = [_hashed(source, half) for half in np.array_split(positions, 2)]
    return (
        np.concatenate([good for good, _ in halves]),
        np.concatenate([made for _, made in halves], axis=1),
    )
