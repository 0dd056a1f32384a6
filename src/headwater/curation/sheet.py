"""Pairs side by side, because people want to look."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headwater.curation.matches import Matches
from headwater.errors import InputError
from headwater.sources.pixels import Images

_TILE, _TEXT, _GAP = 96, 26, 8


def draw_pairs(
    matches: Matches, source: Images, test: Images, path: Path, *, most: int = 60, across: int = 4
) -> int:
    """Draws the first `most` pairs, the most similar one of each test image and the least similar
    of those first, into a PNG at `path`; how many.

    Each cell: the test image, the source image, and under them rows, kind and similarity. A frame
    on one shows which part of it the other shows. The doubtful pairs come first because they are
    the ones to look at. Raises InputError where `matches` were made of other sets.
    """
    if (matches.num_test, matches.num_source) != (len(test), len(source)):
        raise InputError(
            f"these pairs are of {matches.num_test} test and {matches.num_source} source images, "
            f"not of {len(test)} and {len(source)}"
        )
    _, first = np.unique(matches.test_row, return_index=True)
    shown = first[np.argsort(matches.similarity[first], kind="stable")][:most]
    down = max(1, -(-len(shown) // across))
    width, height = 2 * _TILE + _GAP, _TILE + _TEXT
    page = Image.new(
        "RGB", (across * (width + _GAP) + _GAP, down * (height + _GAP) + _GAP), "white"
    )
    pen = ImageDraw.Draw(page)
    for at, pair in enumerate(shown.tolist()):
        x, y = _GAP + at % across * (width + _GAP), _GAP + at // across * (height + _GAP)
        for of_source, images, row, left in (
            (False, test, matches.test_row[pair], x),
            (True, source, matches.source_row[pair], x + _TILE),
        ):
            tile = _tile(images, int(row))
            page.paste(tile, (left, y))
            if bool(matches.window_of_source[pair]) == of_source:
                x0, y0, x1, y1 = matches.window[pair].tolist()
                pen.rectangle(
                    (
                        left + x0 * tile.width,
                        y + y0 * tile.height,
                        left + x1 * tile.width - 1,
                        y + y1 * tile.height - 1,
                    ),
                    outline="red",
                )
        mirrored = ", mirrored" if matches.flipped[pair] else ""
        pen.text(
            (x, y + _TILE + 1),
            f"test {matches.test_row[pair]}  source {matches.source_row[pair]}",
            fill="black",
        )
        pen.text(
            (x, y + _TILE + 13),
            f"{matches.kind[pair]} {matches.similarity[pair]:.3f}{mirrored}",
            fill="black",
        )
    page.save(path, format="PNG", optimize=True)
    return len(shown)


def _tile(images: Images, row: int) -> Image.Image:
    pixels, sizes = images.gather(np.array([row], dtype=np.int64))
    height, width = sizes[0].tolist()
    shown: NDArray[np.uint8] = pixels[0, :height, :width]
    tile = Image.fromarray(shown)
    scale = (_TILE - 4) / max(height, width)
    return tile.resize(
        (max(1, round(width * scale)), max(1, round(height * scale))), Image.Resampling.BICUBIC
    )
