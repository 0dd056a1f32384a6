"""A kind of data of another package: striped images, whose class is the width of the stripes."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from headwater.sources import Positions, Source, Table
from headwater.sources.kinds import SourceKind, SourceWords
from headwater.study.words import Whole

SIDE = 40


class StripesData(SourceWords):
    """Stripes of one width for each class, in a random phase and tint."""

    kind: Literal["stripes"]
    classes: Annotated[Whole, Field(ge=2, le=8)] = 4
    """Widths of stripes."""
    images: Annotated[Whole, Field(ge=2)] = 24
    """Images of each class and split."""


class StripesSource(Source):
    generated = True

    def __init__(self, name: str, words: StripesData) -> None:
        self.name = name
        splits = np.repeat(["train", "val", "test"], words.classes * words.images).astype(object)
        self._classes = np.tile(np.arange(words.classes), 3 * words.images)
        ids = [f"{i:06}.png" for i in range(len(splits))]
        names = np.array([f"width-{c}" for c in self._classes], dtype=object)
        self.table = Table(
            ids=np.array(ids, dtype=object), splits={"split": splits}, levels=(names,)
        )

    def image(self, position: int) -> NDArray[np.uint8]:
        rng = np.random.default_rng(position)
        period = 3 * 1.8 ** self._classes[position]
        wave = np.sin(2 * np.pi * (np.arange(SIDE) / period + rng.uniform()))
        tint = rng.uniform(0.6, 1, 3)
        pixels = (128 + 90 * wave[:, None, None]) * tint + rng.normal(0, 20, (SIDE, SIDE, 3))
        return pixels.clip(0, 255).astype(np.uint8)

    def byte_hashes(self, positions: Positions) -> list[str]:
        return [hashlib.sha256(self.image(p).tobytes()).hexdigest() for p in positions.tolist()]


def _make(name: str, words: StripesData, data_root: Path | None, cache: Path | None) -> Source:
    return StripesSource(name, words)


ENTRY = SourceKind(
    name="stripes",
    version=1,
    order=90,
    title="striped images",
    words=StripesData,
    needs="nothing",
    offers=("classes", "splits"),
    make=_make,
)
