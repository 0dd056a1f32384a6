"""A source in memory, for tests of decoding: random pixels of given shapes, or broken bytes."""

from __future__ import annotations

import numpy as np

from headwater.sources import Source, Table


class Drawn(Source):
    """Random pixels of given shapes, or broken bytes."""

    def __init__(self, shapes, broken=()):
        self.name, self.shapes, self.broken, self.asked = "drawn", shapes, broken, []
        self.table = Table(
            ids=np.array([f"{at}.png" for at in range(len(shapes))], dtype=object), splits={}
        )

    def image(self, position):
        self.asked.append(position)
        if position in self.broken:
            return b"broken"
        return np.random.default_rng(position).integers(
            0, 256, (*self.shapes[position], 3), dtype=np.uint8
        )

    def byte_hashes(self, positions):
        return [str(at) for at in positions]


MIXED = [(20, 20), (10, 30), (30, 10), (5, 7), (20, 21)] * 40
EQUAL = [(12, 18)] * 200
