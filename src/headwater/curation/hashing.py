"""Two hashes of an image: of its decoded pixels, equal for equal pixels; and of what it looks like,
near for images that look alike.
"""

from __future__ import annotations

import hashlib

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.curation.squares import LEVELS, SIDE, UNIT, cosines, in_units
from headwater.sources.pixels import Images

_PER_AXIS = 8
_FLAT = 1.0
"""Levels of 255: an image of less contrast has no perceptual hash (0): its bits would be noise."""


def pixel_hashes(images: Images, rows: NDArray[np.int64]) -> NDArray[np.uint64]:
    """uint64 [num_rows]: a BLAKE2b of each image's decoded pixels and size. Two of a million
    images are equal by chance once in 4 * 10^7 runs."""
    pixels, sizes = images.gather(rows)
    made = [
        hashlib.blake2b(
            np.ascontiguousarray(image[:height, :width]).data,
            digest_size=8,
            person=f"{height}x{width}".encode(),
        ).digest()
        for image, (height, width) in zip(pixels, sizes.tolist(), strict=True)
    ]
    return np.frombuffer(b"".join(made), dtype="<u8").astype(np.uint64)


def perceptual_hashes(squares: torch.Tensor) -> tuple[NDArray[np.uint64], NDArray[np.uint64]]:
    """(of each image, of its mirror image) uint64 [num_images]: which of the 64 lowest coefficients
    of luma lie above their median.

    `squares` int16 [num_images, 3, SIDE, SIDE]. The pHash of imagehash and Zauner 2010 [recalled]:
    copies that were only compressed or resized differ by a few bits of 64, unrelated images by 32
    on average. 0 for an image that is nearly flat.
    """
    lowest = in_units(cosines(_PER_AXIS, SIDE))
    made = (lowest @ squares[:, 0].double() @ lowest.T).numpy()
    mirrored = made * np.where(np.arange(_PER_AXIS) % 2 == 1, -1, 1)
    made, mirrored = (
        x.reshape(-1, _PER_AXIS**2)[:, 1:] for x in (made, mirrored)
    )  # without the mean
    flat = np.abs(made).max(axis=1, initial=0) < _FLAT * LEVELS * SIDE * UNIT**2
    return _bits(made, flat), _bits(mirrored, flat)


def _bits(values: NDArray[np.float64], flat: NDArray[np.bool_]) -> NDArray[np.uint64]:
    if not len(values):
        return np.zeros(0, dtype=np.uint64)
    above = values > np.median(values, axis=1, keepdims=True)
    powers = np.left_shift(np.uint64(1), np.arange(values.shape[1], dtype=np.uint64))
    packed: NDArray[np.uint64] = np.where(above, powers, np.uint64(0)).sum(axis=1, dtype=np.uint64)
    return np.where(flat, np.uint64(0), packed)


def hash_distances(
    a: NDArray[np.uint64], mirrored: NDArray[np.uint64], b: NDArray[np.uint64]
) -> NDArray[np.uint8]:
    """uint8 [len(a), len(b)]: bits by which hashes differ, the image's or its mirror image's,
    whichever is nearer; 64 where one has no hash.
    """
    distance: NDArray[np.uint8] = np.minimum(
        np.bitwise_count(a[:, None] ^ b[None, :]), np.bitwise_count(mirrored[:, None] ^ b[None, :])
    )
    distance[(a == 0)[:, None] | (b == 0)[None, :]] = 64
    return distance
