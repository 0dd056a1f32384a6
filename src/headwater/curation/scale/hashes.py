"""Perceptual hashes of a stream of images, and all pairs of hashes that differ by few bits.

Memory: 16 bytes a hash while they are looked up, a table of 17 MB and the pairs that one look gives
(_AT_ONCE) in each thread, and the pairs that are listed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.curation.hashing import perceptual_hashes
from headwater.curation.scale.bands import Band, bands_of
from headwater.curation.scale.pairs import PER_ROW, Collector, Pairs, Rows, distinct
from headwater.curation.squares import squares
from headwater.curation.threads import in_threads
from headwater.errors import InputError
from headwater.sources.pixels import Images

BITS = 63
"""Of a perceptual hash: 64 coefficients without the mean."""
RADIUS = 8
"""Bits by which near hashes differ at most, as in headwater.curation.leakage."""
_AT_ONCE = 1 << 21
_BLOCK = 512

Progress = Callable[[str, int, int], object]
Codes = NDArray[np.uint64]


@dataclass(frozen=True, eq=False)
class Hashes:
    """Perceptual hashes of images and of their mirror images, uint64 [num] each; 0 of nearly flat
    images, which have none.
    """

    plain: Codes
    mirrored: Codes


def hashes_of(images: Images, progress: Progress | None = None) -> Hashes:
    """The hashes of images that are decoded as they are asked for (StreamedImages), a block at a
    time; 16 bytes an image are kept.
    """
    num = len(images)
    made = np.zeros((2, num), dtype=np.uint64)

    def hashed(start: int) -> tuple[int, tuple[Codes, Codes]]:
        rows = np.arange(start, min(start + _BLOCK, num), dtype=np.int64)
        with torch.no_grad():
            return start, perceptual_hashes(squares(images, rows))

    for start, (plain, mirrored) in in_threads(hashed, range(0, num, _BLOCK)):
        made[:, start : start + len(plain)] = plain, mirrored
        if progress is not None:
            progress("hashing", start + len(plain), num)
    return Hashes(made[0], made[1])


def near_hashes(
    hashes: Codes,
    *,
    radius: int = RADIUS,
    bits: int = BITS,
    per_row: int = PER_ROW,
    progress: Progress | None = None,
) -> Pairs:
    """All pairs of one set whose hashes differ by `radius` bits or less, and the groups they
    connect. `hashes` uint64 [num], of `bits` bits; 0 is near nothing. No pair is missed. Raises
    InputError for a radius or hashes that make no sense.
    """
    _check(hashes, radius, bits, "near_hashes")
    collector = Collector(len(hashes), per_row=per_row, grouped=True)
    _within(hashes, radius, bits, collector, progress)
    return collector.pairs()


def near_hashes_mirrored(
    hashes: Hashes,
    *,
    radius: int = RADIUS,
    per_row: int = PER_ROW,
    progress: Progress | None = None,
) -> Pairs:
    """As near_hashes, of images or their mirror images: of a pair that is near in both ways the
    score is of the image as it is, and mirrored pairs come after those.
    """
    plain = hashes.plain
    collector = Collector(len(plain), per_row=per_row, grouped=True)
    rows = _within(plain, radius, BITS, collector, progress)

    def mirrored(a: Rows, b: Rows, score: NDArray[np.float32]) -> None:
        a, b = rows[a], rows[b]
        apart = np.bitwise_count(plain[a] ^ plain[b]) > radius
        # Near both ways round, as it mostly is: the pair is taken in one of them.
        back = np.bitwise_count(hashes.mirrored[b] ^ plain[a]) <= radius
        chosen = apart & (a != b) & ((a > b) | ~back)
        a, b, score = a[chosen], b[chosen], score[chosen]
        collector.add(np.maximum(a, b), np.minimum(a, b), score)

    _look_up(hashes.mirrored[rows], plain[rows], radius, BITS, mirrored, progress)
    return collector.pairs()


def near_hash_tests(
    source: Hashes,
    tests: Mapping[str, Hashes],
    *,
    radius: int = RADIUS,
    per_row: int = PER_ROW,
    progress: Progress | None = None,
) -> dict[str, Pairs]:
    """By test set, all pairs of its images (`row`) and the source's (`other`) whose hashes, or that
    of one and of the other's mirror image, differ by `radius` bits or less. Of equal source
    hashes the first stands for all.
    """
    limits = np.cumsum([0, *(len(test.plain) for test in tests.values())]).tolist()
    none = np.zeros(0, dtype=np.uint64)
    plain = np.concatenate([none, *(test.plain for test in tests.values())])
    flipped = np.concatenate([none, *(test.mirrored for test in tests.values())])
    _, first = np.unique(source.plain, return_index=True)
    rows = np.sort(first).astype(np.int64)
    asked = source.plain[rows]
    collector = Collector(limits[-1], per_row=per_row)

    def straight(a: Rows, b: Rows, score: NDArray[np.float32]) -> None:
        collector.add(b, rows[a], score)

    def mirrored(a: Rows, b: Rows, score: NDArray[np.float32]) -> None:
        apart = np.bitwise_count(asked[a] ^ plain[b]) > radius
        collector.add(b[apart], rows[a[apart]], score[apart])

    _check(plain, radius, BITS, "near_hash_tests")
    _look_up(asked, plain, radius, BITS, straight, progress)
    _look_up(asked, np.where(plain == 0, 0, flipped), radius, BITS, mirrored, progress)
    pairs = collector.pairs()
    return {name: pairs.between(*limits[at : at + 2]) for at, name in enumerate(tests)}


def _check(hashes: Codes, radius: int, bits: int, name: str) -> None:
    if hashes.ndim != 1 or hashes.dtype != np.uint64:
        raise InputError(
            f"{name}: hashes should be uint64 [num], not {hashes.dtype} {list(hashes.shape)}"
        )
    if not 1 <= bits <= 64 or not 0 <= radius < bits:
        raise InputError(
            f"{name}: a radius of {radius} of {bits} bits makes no sense; 0 to {bits - 1} of 1 to "
            "64 bits do"
        )
    if bits < 64 and len(hashes) and int(hashes.max()) >> bits:
        raise InputError(f"{name}: some hashes have more than {bits} bits")


_Take = Callable[[Rows, Rows, NDArray[np.float32]], None]


def _within(
    hashes: Codes, radius: int, bits: int, collector: Collector, progress: Progress | None
) -> Rows:
    """The different hashes' first rows, whose near pairs are given to the collector, as the equal
    ones are.
    """
    some = np.flatnonzero(hashes)
    rows = distinct(hashes[some], some, collector, 0.0)
    codes = hashes[rows]

    def take(a: Rows, b: Rows, score: NDArray[np.float32]) -> None:
        collector.add(rows[np.maximum(a, b)], rows[np.minimum(a, b)], score)

    _look_up(codes, None, radius, bits, take, progress)
    return rows


@dataclass(frozen=True, eq=False)
class _Table:
    """Hashes by the value of one band."""

    band: Band
    rows: Rows
    codes: Codes
    starts: NDArray[np.int32]

    @staticmethod
    def of(band: Band, codes: Codes) -> _Table:
        values = band.of(codes)
        rows = np.argsort(values, kind="stable")
        counts = np.bincount(values, minlength=1 << band.width)
        starts = np.concatenate([[0], np.cumsum(counts)]).astype(np.int32)
        return _Table(band, rows, codes[rows], starts)


def _look_up(
    asked: Codes,
    known: Codes | None,
    radius: int,
    bits: int,
    take: _Take,
    progress: Progress | None,
) -> None:
    """Gives all near pairs (row of `asked`, row of `known`) to `take`, each once; where `known` is
    None, pairs inside `asked`, one way round. Hashes of 0 are near nothing.
    """
    table_codes = asked if known is None else known
    if not len(asked) or not len(table_codes):
        return
    bands = bands_of(bits, radius, len(table_codes))
    total = sum(len(band.masks()) for band in bands)
    done = 0
    for at, band in enumerate(bands):
        table = _Table.of(band, table_codes)
        # Asked in the order of the band's values, so that looks into the table are near each other.
        order = table.rows if known is None else np.argsort(band.of(asked), kind="stable")
        look = _Look(table, order, asked[order], known is None, radius, bands[:at], take)
        for _ in in_threads(look, band.masks()):
            done += 1
            if progress is not None:
                progress("comparing", len(asked) * done // total, len(asked))


@dataclass(frozen=True, eq=False)
class _Look:
    """One band's table, and what is looked up in it."""

    table: _Table
    order: Rows
    codes: Codes
    same: bool
    radius: int
    before: Sequence[Band]
    take: _Take

    def __call__(self, mask: int) -> None:
        values = self.table.band.of(self.codes)
        places = np.arange(len(values), dtype=np.int64)
        if self.same and mask:
            top = 1 << (mask.bit_length() - 1)  # each pair of values is looked at one way round
            places = places[(values & top) == 0]
        wanted = values[places] ^ mask
        starts, ends = self.table.starts[wanted], self.table.starts[wanted + 1]
        if self.same and not mask:
            starts = (places + 1).astype(np.int32)
        some = np.flatnonzero(ends > starts)
        for a, b in _spread(places[some], starts[some], ends[some]):
            self._compare(a, b)

    def _compare(self, a: Rows, b: Rows) -> None:
        differ = self.codes[a] ^ self.table.codes[b]
        bits = np.bitwise_count(differ)
        near = np.flatnonzero(bits <= self.radius)
        a, b, differ = a[near], b[near], differ[near]
        fresh = (self.codes[a] != 0) & (self.table.codes[b] != 0)
        for band in self.before:  # an earlier band has given these
            fresh &= np.bitwise_count(band.of(differ)) > band.radius
        score = -bits[near][fresh].astype(np.float32)
        self.take(self.order[a[fresh]], self.table.rows[b[fresh]], score)


def _spread(
    places: Rows, starts: NDArray[np.int32], ends: NDArray[np.int32]
) -> Iterator[tuple[Rows, Rows]]:
    """Every place with each number from its start to its end - 1, about _AT_ONCE at a time."""
    counts = (ends - starts).astype(np.int64)
    sums = np.cumsum(counts)
    at = 0
    while at < len(places):
        before = int(sums[at - 1]) if at else 0
        stop = max(at + 1, int(np.searchsorted(sums, before + _AT_ONCE, side="right")))
        some = counts[at:stop]
        begins = np.cumsum(some) - some
        shifts = np.repeat(starts[at:stop] - begins, some)
        yield np.repeat(places[at:stop], some), np.arange(int(some.sum())) + shifts
        at = stop
