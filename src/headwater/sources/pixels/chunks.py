"""Checksums of the parts of a cache's pixels: each part is checked when it is first read, and
decoded again in place where it is damaged.

CRC-32: it finds every damage of up to 32 bits side by side, and misses one in four billion of the
others. SHA-256 took three times as long, 3 % of a study that trains nothing (benchmarks/bit_flips).
"""

from __future__ import annotations

import os
import zlib
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater.digests import tell
from headwater.errors import InputError

CHUNK = 1 << 20
"""Bytes of pixels under one checksum [ours]: a batch reads little more than it needs."""
Decode = Callable[[NDArray[np.int64]], Sequence[NDArray[np.uint8]]]
"""The images of some rows, decoded: uint8 [height, width, 3] each."""


class Checksums:
    """Checksums of bytes that come one after another."""

    def __init__(self) -> None:
        self._done: list[int] = []
        self._sum, self._held = 0, 0

    def add(self, data: memoryview) -> None:
        while len(data):
            part = data[: CHUNK - self._held]
            self._sum = zlib.crc32(part, self._sum)
            self._held += len(part)
            data = data[len(part) :]
            if self._held == CHUNK:
                self._end()

    def all(self) -> NDArray[np.uint32]:
        """uint32 [num_chunks]"""
        if self._held:
            self._end()
        return np.array(self._done, dtype=np.uint32)

    def _end(self) -> None:
        self._done.append(self._sum)
        self._sum, self._held = 0, 0


class Chunks:
    """What is known of the parts of a cache's pixels in this process.

    `pixels` is mapped from `file`; `sums` uint32 [num_chunks]; `again` decodes images, None where
    nobody can.
    """

    def __init__(
        self,
        file: Path,
        pixels: NDArray[np.uint8],
        index: NDArray[np.int64],
        sums: NDArray[np.uint32],
        again: Decode | None,
    ) -> None:
        self._file, self._pixels, self._index, self._again = file, pixels, index, again
        self._sums = sums
        self._good = np.zeros(-(-len(pixels) // CHUNK), dtype=bool)
        if sums.shape != self._good.shape:
            raise InputError(f"{file}: there is not one checksum for each of its chunks")
        ends = index[:, 0] + 3 * index[:, 1] * index[:, 2]
        self._first, self._last = index[:, 0] // CHUNK, (ends - 1) // CHUNK
        self._all_good = not len(self._good)

    def check(self, rows: NDArray[np.int64]) -> None:
        """Checks the chunks of some rows that were not checked yet. May be called from several
        threads at once. Raises InputError for one that is damaged and cannot be made again.
        """
        if self._all_good or not len(rows):
            return
        first, last = self._first[rows], self._last[rows]
        longest = int((last - first).max())
        wanted = np.unique(np.minimum(first[:, None] + np.arange(longest + 1), last[:, None]))
        for chunk in wanted[~self._good[wanted]].tolist():
            if not self._is_good(chunk):
                self._mend(chunk)
            self._good[chunk] = True
        self._all_good = bool(self._good.all())

    def _is_good(self, chunk: int) -> bool:
        return self._is(chunk, self._pixels[chunk * CHUNK : (chunk + 1) * CHUNK].data)

    def _is(self, chunk: int, data: bytes | memoryview) -> bool:
        return zlib.crc32(data) == int(self._sums[chunk])

    def _mend(self, chunk: int) -> None:
        """Decodes the chunk's images anew, and where they are those that were written writes the
        chunk into the file, which all who have mapped it then see.
        """
        refusal = f"{self._file}: bytes {chunk * CHUNK} and on are damaged"
        if self._again is None:
            raise InputError(f"{refusal}; {_ADVICE}")
        rows = np.flatnonzero((self._first <= chunk) & (chunk <= self._last))
        data = self._decoded(chunk, rows, self._again)
        if not self._is(chunk, data):
            raise InputError(f"{refusal}, and its images decode to other pixels now; {_ADVICE}")
        try:
            with self._file.open("rb+") as file:
                begin = os.fstat(file.fileno()).st_size - len(self._pixels)
                file.seek(begin + chunk * CHUNK)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
        except OSError as error:
            raise InputError(f"{refusal} ({error}); {_ADVICE}") from None
        tell(f"{refusal}; {len(rows)} images are decoded again")

    def _decoded(self, chunk: int, rows: NDArray[np.int64], again: Decode) -> bytes:
        """The chunk as the images of these rows make it."""
        begin = chunk * CHUNK
        data = bytearray(self._pixels[begin : begin + CHUNK].tobytes())
        for row, image in zip(rows.tolist(), again(rows), strict=True):
            at = int(self._index[row, 0]) - begin
            pixels = np.ascontiguousarray(image).tobytes()[max(0, -at) :]
            at = max(0, at)
            pixels = pixels[: len(data) - at]
            data[at : at + len(pixels)] = pixels
        return bytes(data)


_ADVICE = "remove its folder, and the next run decodes the images again"
