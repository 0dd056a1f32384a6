"""Draws docs/views.png, the contact sheet of the views: python tools/make_views.py"""

from pathlib import Path

import numpy as np
import torch
from PIL import Image, ImageDraw

from headwater import keys
from headwater.registry import METHODS
from headwater.sources.pixels import short_side
from headwater.sources.world import WorldData, WorldSource
from headwater.study import Augmentation
from headwater.views import MEAN, STD, ViewMaker

SIZE, ACROSS, LEFT = 64, 9, 112
ROWS = {
    "none: the centre": {},
    "crop": {"crop_min": 0.2},
    "flip": {"flip": 1.0},
    "RandAugment, 1 op": {"randaugment": 1},
    "RandAugment, 2 ops": {"randaugment": 2},
    "jitter 0.5": {"jitter": 0.5, "jitter_probability": 1.0},
    "jitter 1": {"jitter": 1.0, "jitter_probability": 1.0},
    "grey": {"grey": 1.0},
    "blur": {"blur": 1.0},
    "solarise": {"solarise": 1.0},
    "cutout": {"cutout": 1.0},
    "supervised": METHODS["supervised"].recipe().augmentation.words(),
    "clip": METHODS["clip"].recipe().augmentation.words(),
    "simclr": METHODS["simclr"].recipe().augmentation.words(),
}
"""One operation a row, with nothing else on; then the default views of each method."""


def sheet() -> Image.Image:
    """A row per operation, each of the same images."""
    source = WorldSource("views", WorldData(train=400, val=0, test=0, resolution=short_side(SIZE)))
    content = np.array([c[0] for c in source.table.texts["content"]])
    creatures = np.flatnonzero(content == "creature")
    picked = creatures[:: len(creatures) // ACROSS][:ACROSS]
    images = torch.from_numpy(np.stack(list(source.images(picked))))
    sizes = torch.tensor([images.shape[1:3]]).expand(ACROSS, 2)
    hashes, epochs = (
        keys.sample_hashes([source.table.ids[i] for i in picked]),
        np.zeros(ACROSS, dtype=np.int64),
    )
    page = Image.new("RGB", (LEFT + ACROSS * SIZE, len(ROWS) * SIZE), "white")
    pen = ImageDraw.Draw(page)
    for row, (name, words) in enumerate(ROWS.items()):
        views = ViewMaker(Augmentation(**words), SIZE, seed=1)(images, sizes, hashes, epochs, 0)
        colours = views.permute(0, 2, 3, 1) * torch.tensor(STD) + torch.tensor(MEAN)
        strip = (
            (colours * 255)
            .round()
            .clamp(0, 255)
            .to(torch.uint8)
            .permute(1, 0, 2, 3)
            .reshape(SIZE, -1, 3)
        )
        page.paste(Image.fromarray(strip.numpy()), (LEFT, row * SIZE))
        pen.text((4, row * SIZE + SIZE // 2 - 6), name, fill="black")
    return page


if __name__ == "__main__":
    sheet().quantize(256, dither=Image.Dither.NONE).save(
        Path(__file__).parents[1] / "docs" / "views.png", optimize=True
    )
