"""What a copy of a set holds, as it is counted image by image."""

from __future__ import annotations

import hashlib
import heapq
from array import array
from collections import Counter
from dataclasses import dataclass, field

import numpy as np

from headwater.sources.recipes import Form

QUANTILES = (0.0, 0.1, 0.5, 0.9, 0.99, 1.0)
_DECODED_AT = 32
"""Pixels at which sampled images are decoded: whether they can be is what is asked."""
_MOST_SAMPLED = 1 << 26
"""64 MiB: a larger image is not sampled, since a sample is held in memory [ours]."""


@dataclass(frozen=True)
class TextStatistics:
    """Of the captions of a copy."""

    images: int
    without: int
    """Images with no text but blanks."""
    words: dict[str, float]
    """Quantiles of the number of words."""
    duplicates: int
    """Captions that an earlier image has too, letter for letter."""


class Captions:
    """Takes the captions of images one by one: 12 bytes each."""

    def __init__(self) -> None:
        self._images = self._without = 0
        self._digests, self._words = array("Q"), array("L")

    def add(self, text: str | None) -> None:
        """The caption of an image; None where it has none."""
        self._images += 1
        if text is None or not text.strip():
            self._without += 1
            return
        digest = hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        self._digests.append(int.from_bytes(digest, "little"))
        self._words.append(len(text.split()))

    def statistics(self) -> TextStatistics | None:
        """None where no image has a text."""
        if not self._digests:
            return None
        digests = np.frombuffer(self._digests, dtype=np.uint64)
        words = np.quantile(np.array(self._words), QUANTILES, method="inverted_cdf")
        return TextStatistics(
            self._images,
            self._without,
            {
                f"{quantile:g}": float(value)
                for quantile, value in zip(QUANTILES, words, strict=True)
            },
            len(digests) - len(np.unique(digests)),
        )


@dataclass(frozen=True)
class Sampled:
    """Images that were decoded."""

    images: int
    bad: dict[str, int]
    """What is wrong with those that cannot be, counted."""
    names: tuple[str, ...]
    """The first of these."""


class Sample:
    """The `most` images of the smallest keyed digests of their names: the same images in whatever
    order they come.
    """

    def __init__(self, most: int, seed: int) -> None:
        self._most, self._seed = most, seed
        self._kept: list[tuple[int, str, bytes]] = []

    def wants(self, name: str, size: int) -> bool:
        """Whether an image is among them so far."""
        if not self._most or size > _MOST_SAMPLED:
            return False
        return len(self._kept) < self._most or self._rank(name) < -self._kept[0][0]

    def add(self, name: str, data: bytes) -> None:
        entry = (-self._rank(name), name, data)
        if len(self._kept) < self._most:
            heapq.heappush(self._kept, entry)
        else:
            heapq.heappushpop(self._kept, entry)

    def _rank(self, name: str) -> int:
        digest = hashlib.blake2b(f"{self._seed}\x1f{name}".encode("utf-8", "surrogatepass"))
        return int.from_bytes(digest.digest()[:8], "little")

    def decoded(self) -> Sampled:
        """Decodes them as training would."""
        from headwater.sources.pixels.judging import judge_bytes

        bad: Counter[str] = Counter()
        names = []
        for _, name, data in sorted(self._kept, reverse=True):
            kind = judge_bytes(data, _DECODED_AT).kind
            if kind is not None:
                bad[kind] += 1
                names.append(name)
        return Sampled(len(self._kept), dict(bad), tuple(names[:3]))


@dataclass
class Found:
    """What a copy holds."""

    form: Form
    files: int
    bytes: int
    manifest: str
    """SHA-256 over the sorted names and sizes of its files."""
    images: int = 0
    classes: int = 0
    captions: TextStatistics | None = None
    sampled: Sampled | None = None
    shards: int = 0
    missing_shards: int = 0
    """Numbers that are passed over, and shards of which only img2dataset's statistics are there."""
    first_missing: tuple[str, ...] = ()
    tried: int | None = None
    """Lines of its list that img2dataset tried, as its statistics say; None without them."""
    faults: list[str] = field(default_factory=list)
    """What is broken, a sentence each."""
    passed_over: dict[str, int] = field(default_factory=dict)
    """Members that are not read, by the reason."""
