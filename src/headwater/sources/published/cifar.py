"""CIFAR-100, binary version: records of 3,074 bytes (coarse label, fine label, 1,024 red, 1,024
green, 1,024 blue), memory-mapped.

The python version holds the same images in pickles, which are never read here.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Positions, Source, Table
from headwater.sources.published.reading import Request, text_lines

SIDE = 32
RECORD = 2 + 3 * SIDE * SIDE
"""Bytes of one record."""


class CifarSource(Source):
    """The records of train.bin and test.bin.

    Ids are `train/00000`, ... in the order of the files; level:0 is the fine class, level:1 the
    coarse one.
    """

    def __init__(self, request: Request) -> None:
        self.name = request.name
        base = request.base
        fine = [name for _, name in text_lines(base / "fine_label_names.txt")]
        coarse = [name for _, name in text_lines(base / "coarse_label_names.txt")]
        self._records = {
            split: _mapped(base / f"{split}.bin") for split in ("test", "train")
        }  # sorted, as ids are
        request.check({split: len(records) for split, records in self._records.items()}, len(fine))
        self._starts = dict(zip(self._records, (0, len(self._records["test"])), strict=True))
        ids = [
            f"{split}/{row:05d}"
            for split, records in self._records.items()
            for row in range(len(records))
        ]
        splits = np.repeat(
            np.array(list(self._records), dtype=object),
            [len(records) for records in self._records.values()],
        )
        levels = tuple(
            self._names(column, names, base) for column, names in ((1, fine), (0, coarse))
        )
        self.table = Table(ids=np.array(ids, dtype=object), splits={"split": splits}, levels=levels)

    def _names(self, column: int, names: Sequence[str], base: Path) -> NDArray[np.object_]:
        codes = np.concatenate(
            [np.asarray(records[:, column]) for records in self._records.values()]
        )
        if len(codes) and int(codes.max()) >= len(names):
            row = int(np.argmax(codes))
            split = "test" if row < self._starts["train"] else "train"
            at = row - self._starts[split]
            raise InputError(
                f"{base / split}.bin, record {at}: label {codes[row]} of {len(names)} classes; the "
                "file is damaged, get it again"
            )
        found: NDArray[np.object_] = np.array(names, dtype=object)[codes]
        return found

    def image(self, position: int) -> NDArray[np.uint8]:
        """uint8 [32, 32, 3], RGB."""
        pixels: NDArray[np.uint8] = (
            np.array(self._record(position)[2:]).reshape(3, SIDE, SIDE).transpose(1, 2, 0)
        )
        return np.ascontiguousarray(pixels)

    def images(self, positions: Positions) -> NDArray[np.uint8]:
        """uint8 [num_images, 32, 32, 3], RGB."""
        return (
            np.stack([self.image(position) for position in positions.tolist()])
            if len(positions)
            else np.empty((0, SIDE, SIDE, 3), dtype=np.uint8)
        )

    def byte_hashes(self, positions: Positions) -> list[str]:
        """Hex BLAKE2b-128 of each image's pixels, labels left out: equal digests are equal
        images.
        """
        return [
            hashlib.blake2b(self._record(position)[2:].tobytes(), digest_size=16).hexdigest()
            for position in positions.tolist()
        ]

    def _record(self, position: int) -> NDArray[np.uint8]:
        split = "test" if position < self._starts["train"] else "train"
        record: NDArray[np.uint8] = self._records[split][position - self._starts[split]]
        return record


def _mapped(path: Path) -> NDArray[np.uint8]:
    try:
        size = path.stat().st_size
        if not size or size % RECORD:
            raise InputError(
                f"{path}: {size:,} bytes are not a whole number of records of {RECORD:,}; the file "
                "is damaged, get it again"
            )
        return np.memmap(path, dtype=np.uint8, mode="r", shape=(size // RECORD, RECORD))
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror})") from None


def read(request: Request) -> CifarSource:
    """The source.

    Raises InputError for files of another length, labels out of range, and sizes that are not the
    published ones.
    """
    return CifarSource(request)
