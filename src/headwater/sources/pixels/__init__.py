"""Decoded images: one rule from a file's bytes to pixels, and two ways to have them by row.

decoding.py   the rule
judging.py    whether a file can be read, and what is wrong with it, in a process of its own
kept.py       pixels that were decoded on the way to something else
cache.py      decoded once, memory-mapped: where the set fits on the disk
streamed.py   decoded on demand, by threads: where it does not
images.py     what training asks of either
"""

from headwater.sources.pixels.cache import PixelCache, estimated_bytes
from headwater.sources.pixels.decoding import (
    FORMATS,
    MAX_ASPECT,
    MAX_PIXELS,
    RECIPE,
    decode,
    short_side,
)
from headwater.sources.pixels.images import Images, MemoryImages, Subset
from headwater.sources.pixels.streamed import StreamedImages

__all__ = [
    "FORMATS",
    "MAX_ASPECT",
    "MAX_PIXELS",
    "RECIPE",
    "Images",
    "MemoryImages",
    "PixelCache",
    "StreamedImages",
    "Subset",
    "decode",
    "estimated_bytes",
    "short_side",
]
