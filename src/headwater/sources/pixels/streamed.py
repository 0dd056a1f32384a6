"""Decoded images that are kept nowhere: each is read and decoded when a batch asks for it, for sets
whose cache would not fit.
"""

from __future__ import annotations

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.sources import Positions, Source
from headwater.sources.pixels.decoding import decode_some
from headwater.sources.pixels.images import Subset

_MOST = 64
"""Images per task at most, as in the cache: enough to make the cost of a task small."""


class StreamedImages:
    """Images of a source by row, decoded on demand.

    The pixels are those that a cache of the same positions holds, to the bit.

    `positions` int64 [num_images]: the source's position of each row. `threads` decode at a time,
    whoever asks and however many ask at once; with one, the thread that asks decodes. Between
    batches nothing is held but the positions; during one, its images twice (one by one, and
    padded).

    A file that changes while it is streamed changes what later batches hold; a cache keeps what it
    saw.
    """

    def __init__(
        self, source: Source, positions: Positions, image_size: int, *, threads: int = 1
    ) -> None:
        self._source, self._positions, self._image_size, self._threads = (
            source,
            positions,
            image_size,
            threads,
        )
        self._pool = (
            ThreadPoolExecutor(threads, thread_name_prefix="decode") if threads > 1 else None
        )  # its threads end with it

    def __len__(self) -> int:
        return len(self._positions)

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        """(images uint8 [batch, h_max, w_max, 3], sizes int64 [batch, 2]), as Images.gather.

        Raises InputError for an image that cannot be read or decoded: the first of the batch, with
        the words that building a cache would use.
        """
        images = self._decoded(self._positions[rows])
        sizes = np.array([image.shape[:2] for image in images], dtype=np.int64).reshape(-1, 2)
        height, width = sizes.max(axis=0).tolist() if images else (0, 0)
        padded: NDArray[np.uint8] = np.zeros((len(images), height, width, 3), dtype=np.uint8)
        for at, image in enumerate(images):
            padded[at, : image.shape[0], : image.shape[1]] = image
        return padded, sizes

    def subset(self, rows: NDArray[np.int64]) -> Subset:
        """The images of some rows, int64 [num_images], in that order; they share this object's
        threads.
        """
        return Subset(self, rows)

    def _decoded(self, positions: Positions) -> list[NDArray[np.uint8]]:
        if self._pool is None:
            return decode_some(self._source, positions, self._image_size)
        each = min(
            _MOST, max(1, -(-len(positions) // (2 * self._threads)))
        )  # two tasks a thread: large photos come in no order
        parts = [positions[at : at + each] for at in range(0, len(positions), each)]
        tasks: list[Future[Any]] = [
            self._pool.submit(decode_some, self._source, part, self._image_size) for part in parts
        ]
        try:
            return [image for task in tasks for image in task.result()]
        finally:
            for task in tasks:
                task.cancel()
