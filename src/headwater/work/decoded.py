"""Decoded images of a data set: from a cache where the set fits, streamed where it does not.

Both give the same pixels, so which one it is changes no bit of a result and is part of no identity.
"""

from __future__ import annotations

import errno
from collections.abc import Mapping
from pathlib import Path

import torch

from headwater.digests import tell
from headwater.errors import InputError
from headwater.files import blamed_on_file, cache_room
from headwater.sources import Positions, Source
from headwater.sources.pixels import PixelCache, StreamedImages, estimated_bytes
from headwater.sources.pixels.decoding import decode_some
from headwater.sources.pixels.kept import Kept
from headwater.store import Store

CACHE_LIMIT = 32 * 10**9
"""Bytes that the cache of one set may take at most (as estimated before decoding), unless
HEADWATER_CACHE_GB says otherwise [ours].
"""
CACHE_SHARE = 0.5
"""And at most this share of what is free on the store's disk: the estimate can be three times too
low, and others write there too [ours].
"""


def decoded(
    source: Source,
    positions: Positions,
    image_size: int,
    store: Store,
    kept: Mapping[int, Kept] | None = None,
) -> PixelCache | StreamedImages:
    """The images of some positions: from their cache where there is one or where it fits
    `cache_limit`, streamed otherwise. What is `kept` by position is not decoded again for a cache.

    Streams decode with as many threads as torch was given. Raises InputError for a
    HEADWATER_CACHE_GB that is no number of gigabytes, and for an image that cannot be decoded (a
    stream raises it when a batch asks for that image).
    """
    limit = cache_limit(store.cache)
    if limit > 0:
        fingerprint = source.fingerprint(positions)
        path = store.cache / "pixels" / f"{fingerprint}-{image_size}"
        try:
            return PixelCache.open(
                path,
                image_size=image_size,
                fingerprint=fingerprint,
                again=lambda rows: decode_some(source, positions[rows], image_size),
            )
        except InputError as error:
            damage = error
        if estimated_bytes(len(positions), image_size) <= limit:
            try:
                with blamed_on_file(path):
                    return PixelCache.build(
                        source, positions, image_size, path, fingerprint=fingerprint, kept=kept
                    )
            except OSError as error:
                # where the disk is full after all, what was written is gone again
                if error.errno not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
                    raise
        if path.exists():
            tell(f"{damage}; there is no room to make it again, images are decoded for every batch")
    return StreamedImages(source, positions, image_size, threads=torch.get_num_threads())


def cache_limit(folder: Path) -> float:
    """Bytes that a cache in `folder` may take: HEADWATER_CACHE_GB x 10^9 where it is set (0: never
    cache, not even from one that is there), otherwise CACHE_LIMIT or CACHE_SHARE of the free disk,
    whichever is less.
    """
    return cache_room(folder, CACHE_LIMIT, CACHE_SHARE)
