"""Claim: the generated world draws at least 2,000 images of 40 x 40 px a second on one thread, in
every domain.

    python benchmarks/world_speed.py

Cost: 10 s. Result (one core of a shared 2-core server CPU, median of 5, images/s): 40 px paint
7811, sketch 7977, night 7051, mosaic 7923; 80 px 2297, 2424, 2394, 2498. With four busy processes
on the two cores 1,700 to 3,800 at 40 px (before mosaics were sped up).
"""

from __future__ import annotations

import time
from typing import get_args

import numpy as np

from headwater.sources.world import Domain, WorldData, WorldSource


def images_per_second(domain: Domain, resolution: int, count: int) -> float:
    """Median of five timings."""
    source = WorldSource(
        "world", WorldData(domain=domain, resolution=resolution, test=count, train=0, val=0)
    )
    spent = []
    for _ in range(5):
        start = time.perf_counter()
        source.images(np.arange(count))
        spent.append(time.perf_counter() - start)
    return count / float(np.median(spent))


if __name__ == "__main__":
    for name in get_args(Domain):
        print(
            f"{name:7} 40 px {images_per_second(name, 40, 2000):7.0f}   80 px "
            f"{images_per_second(name, 80, 500):7.0f}"
        )
