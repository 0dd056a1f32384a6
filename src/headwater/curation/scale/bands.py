"""How hashes are cut into bands so that no near pair is missed.

Two hashes of distance r or less agree in one of m bands to r_1, ..., r_m bits where the sum of all
r_i + 1 is r + 1: were each further apart in its band, the sum of distances would be r + 1 or more
(Norouzi, Punjani, Fleet 2012, multi-index hashing [recalled]). All values within r_i of a band's
value are looked up in a table of that band.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_WIDEST = 22
"""Bits of a band: a table of it takes 17 MB [ours]."""
_LOOKED_UP, _COMPARED = 1.0, 2.0
"""Relative costs of one look into a table and of one pair that it gives [ours]."""


@dataclass(frozen=True)
class Band:
    """Bits `shift` ... `shift` + `width` - 1; pairs are looked for that differ there in `radius`
    bits or less.
    """

    shift: int
    width: int
    radius: int

    def of(self, hashes: NDArray[np.uint64]) -> NDArray[np.int64]:
        """int64 [num]: the band's bits."""
        bits = (hashes >> np.uint64(self.shift)) & np.uint64((1 << self.width) - 1)
        return bits.astype(np.int64)

    def masks(self) -> list[int]:
        """What a band's value can differ by: 0 first, then by rising number of bits."""
        numbers: list[int] = []
        for count in range(self.radius + 1):
            for places in itertools.combinations(range(self.width), count):
                numbers.append(sum(1 << place for place in places))
        return numbers


def bands_of(bits: int, radius: int, num: int) -> list[Band]:
    """Of hashes of `bits` bits, where `num` are in the table: the cheapest way to cut them.

    Bands that need no look (radius -1) are left out.
    """
    least = math.ceil(bits / _WIDEST)
    ways = [_cut(bits, radius, count) for count in range(least, max(least, radius + 1) + 1)]
    return min(ways, key=lambda bands: _cost(bands, num))


def _cut(bits: int, radius: int, count: int) -> list[Band]:
    bands, shift = [], 0
    for at in range(count):
        width = bits // count + (at < bits % count)
        reach = (radius + 1) // count + (at < (radius + 1) % count) - 1
        if reach >= 0:
            bands.append(Band(shift, width, min(reach, width)))
        shift += width
    return bands


def _cost(bands: Sequence[Band], num: int) -> float:
    cost = 0.0
    for band in bands:
        looks = sum(math.comb(band.width, bits) for bits in range(band.radius + 1))
        cost += looks * (_LOOKED_UP + _COMPARED * num / 2**band.width)
    return cost
