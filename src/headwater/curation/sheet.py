"""Pairs side by side, because people want to look."""

from __future__ import annotations

import io
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headwater.curation.matches import Matches
from headwater.errors import InputError
from headwater.sources.pixels import Images

_TILE, _TEXT, _GAP = 96, 26, 8


@dataclass(frozen=True)
class Pair:
    """Two images that show the same, drawn."""

    test_row: int
    source_row: int
    kind: str
    """One of headwater.curation.KINDS."""
    similarity: float
    """0 to 1, as Matches.similarity."""
    mirrored: bool
    test: Image.Image
    source: Image.Image
    """RGB, 92 pixels on the longer side: a frame on one shows which part of it the other shows."""

    @property
    def pngs(self) -> tuple[bytes, bytes]:
        """The test and the source image, as the bytes of PNG files."""
        return _png(self.test), _png(self.source)


def drawn_pairs(matches: Matches, source: Images, test: Images, *, most: int) -> list[Pair]:
    """The first `most` pairs: the most similar one of each test image, and the least similar of
    those first, because the doubtful ones are the ones to look at.

    Raises InputError where `matches` were made of other sets.
    """
    if (matches.num_test, matches.num_source) != (len(test), len(source)):
        raise InputError(
            f"these pairs are of {matches.num_test} test and {matches.num_source} source images, "
            f"not of {len(test)} and {len(source)}"
        )
    _, first = np.unique(matches.test_row, return_index=True)
    shown = first[np.argsort(matches.similarity[first], kind="stable")][:most]
    pairs = []
    for at in shown.tolist():
        rows = int(matches.test_row[at]), int(matches.source_row[at])
        tiles = _tile(test, rows[0]), _tile(source, rows[1])
        _frame(tiles[bool(matches.window_of_source[at])], matches.window[at].tolist())
        kind, similarity = str(matches.kind[at]), float(matches.similarity[at])
        pairs.append(Pair(*rows, kind, similarity, bool(matches.flipped[at]), *tiles))
    return pairs


def draw_pairs(
    matches: Matches, source: Images, test: Images, path: Path, *, most: int = 60, across: int = 4
) -> int:
    """Draws `drawn_pairs` into a PNG at `path`; how many.

    Each cell: the test image, the source image, and under them rows, kind and similarity. Raises
    InputError where `matches` were made of other sets.
    """
    pairs = drawn_pairs(matches, source, test, most=most)
    down = max(1, -(-len(pairs) // across))
    width, height = 2 * _TILE + _GAP, _TILE + _TEXT
    page = Image.new(
        "RGB", (across * (width + _GAP) + _GAP, down * (height + _GAP) + _GAP), "white"
    )
    pen = ImageDraw.Draw(page)
    for at, pair in enumerate(pairs):
        x, y = _GAP + at % across * (width + _GAP), _GAP + at // across * (height + _GAP)
        page.paste(pair.test, (x, y))
        page.paste(pair.source, (x + _TILE, y))
        mirrored = ", mirrored" if pair.mirrored else ""
        for line, text in (
            (1, f"test {pair.test_row}  source {pair.source_row}"),
            (13, f"{pair.kind} {pair.similarity:.3f}{mirrored}"),
        ):
            pen.text((x, y + _TILE + line), text, fill="black")
    page.save(path, format="PNG", optimize=True)
    return len(pairs)


def _frame(tile: Image.Image, window: list[float]) -> None:
    """A frame around a part of a tile: left, top, right, bottom as fractions of its sides."""
    left, top, right, bottom = window
    ImageDraw.Draw(tile).rectangle(
        (
            left * tile.width,
            top * tile.height,
            right * tile.width - 1,
            bottom * tile.height - 1,
        ),
        outline="red",
    )


def _tile(images: Images, row: int) -> Image.Image:
    pixels, sizes = images.gather(np.array([row], dtype=np.int64))
    height, width = sizes[0].tolist()
    shown: NDArray[np.uint8] = pixels[0, :height, :width]
    tile = Image.fromarray(shown)
    scale = (_TILE - 4) / max(height, width)
    return tile.resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC
    )


def _png(image: Image.Image) -> bytes:
    stored = io.BytesIO()
    image.save(stored, format="PNG", optimize=True)
    return stored.getvalue()
