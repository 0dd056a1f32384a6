"""What the first directory of a TIFF file says of how its samples are to be read, without decoding
it.

TIFF 6.0, sections 2 and 8; BigTIFF's header. Nothing is trusted: a header that makes no sense says
nothing.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import IO

SUFFIXES = (".tif", ".tiff")
_BITS, _ORIENTATION, _MAX_SAMPLE, _SMAX_SAMPLE = 258, 274, 281, 341
_FORMATS = {3: "H", 4: "I", 16: "Q"}
"""Struct's letters for SHORT, LONG and LONG8."""
_RANGES = frozenset(2**bits - 1 for bits in range(9, 17))
_MOST_ENTRIES = 4096


@dataclass(frozen=True)
class TiffHeader:
    """Tags of the first image; the standard's defaults where a tag is not there."""

    orientation: int = 1
    """1 to 8, as EXIF's."""
    bits: int = 1
    """Bits of a sample; of several samples 0."""
    max_value: int | None = None
    """The largest value that a sample may have, where a tag says so."""

    @property
    def full_scale(self) -> int:
        """The value of white in samples of 9 to 16 bits, as Pillow gives them: 2^bits - 1, or what
        the file says where that is a power of two less one, which is a range and not the brightest
        pixel of this image.
        """
        white = 2**self.bits - 1 if 9 <= self.bits <= 16 else 65535
        said = self.max_value or white
        return min(said, white) if said in _RANGES else white

    @property
    def mark(self) -> str:
        """What enters a fingerprint, so that results of images that were read wrongly before
        (turned twice, or 12 bits as if they were 16) are not taken for what they are now; empty
        for others.
        """
        marks = []
        if self.orientation != 1:
            marks.append(f"turned {self.orientation}")
        if self.full_scale != 65535:
            marks.append(f"white {self.full_scale}")
        return ", ".join(marks)


def read_header(file: IO[bytes]) -> TiffHeader:
    """The header of a file that is open at its start; the defaults where it is no TIFF or is
    damaged.
    """
    try:
        return _read(file)
    except (struct.error, OSError, ValueError, OverflowError):
        return TiffHeader()


def _read(file: IO[bytes]) -> TiffHeader:
    start = file.read(16)
    order = {b"II": "<", b"MM": ">"}.get(start[:2])
    if order is None:
        return TiffHeader()
    version = struct.unpack(order + "H", start[2:4])[0]
    if version == 43:
        (offset,), count_format, value = struct.unpack(order + "Q", start[8:16]), "Q", 8
    elif version == 42:
        (offset,), count_format, value = struct.unpack(order + "I", start[4:8]), "H", 4
    else:
        return TiffHeader()
    file.seek(offset)
    size = struct.calcsize(order + count_format)
    (entries,) = struct.unpack(order + count_format, file.read(size))
    if entries > _MOST_ENTRIES:
        return TiffHeader()
    entry = 4 + 2 * value
    data = file.read(entries * entry)
    found: dict[int, int] = {}
    for at in range(0, len(data) - entry + 1, entry):
        tag, kind = struct.unpack_from(order + "HH", data, at)
        if tag not in (_BITS, _ORIENTATION, _MAX_SAMPLE, _SMAX_SAMPLE) or kind not in _FORMATS:
            continue
        (count,) = struct.unpack_from(order + ("Q" if value == 8 else "I"), data, at + 4)
        (first,) = struct.unpack_from(order + _FORMATS[kind], data, at + 4 + value)
        found[tag] = int(first) if count == 1 else 0
    turn = found.get(_ORIENTATION, 1)
    limit = found.get(_MAX_SAMPLE) or found.get(_SMAX_SAMPLE)
    return TiffHeader(turn if 1 <= turn <= 8 else 1, found.get(_BITS, 1), limit)
