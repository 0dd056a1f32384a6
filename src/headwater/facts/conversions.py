"""What is done to the images of a data set when they are decoded, as plain values."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np

from headwater.errors import InputError
from headwater.sources import Positions, Source
from headwater.sources.pixels.conversions import conversions_of, counted


def conversion_facts(source: Source, positions: Positions) -> dict[str, int]:
    """How many of some images of a source are turned, have a palette and so on
    (headwater.sources.pixels.conversions), by word.

    Every file is opened, and few are decoded. A file that cannot be read is passed over.
    """
    with ThreadPoolExecutor(max_workers=4) as pool:
        return counted(pool.map(lambda position: _of_one(source, position), positions.tolist()))


def _of_one(source: Source, position: int) -> tuple[str, ...]:
    try:
        image = source.image(position)
    except InputError:
        return ()
    return () if isinstance(image, np.ndarray) else conversions_of(image)
