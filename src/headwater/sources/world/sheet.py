"""A contact sheet of the generated world: families, hard and empty images down, domains across."""

from __future__ import annotations

from typing import get_args

import numpy as np
from numpy.typing import NDArray
from PIL import Image, ImageDraw

from headwater.sources.kinds.world import Domain, WorldData
from headwater.sources.world.source import WorldSource


def contact_sheet(per_domain: int = 4, zoom: int = 3, seed: int = 0) -> NDArray[np.uint8]:
    """uint8 [height, width, 3]: a row per family, one of hard and one of empty images; `per_domain`
    images of each of the four domains.
    """
    columns = []
    for domain in get_args(Domain):
        source = WorldSource(
            "sheet",
            WorldData(
                domain=domain, train=400, val=0, test=400, hard_test=1, dilution=1.5, seed=seed
            ),
        )
        content = np.array([c[0] for c in source.table.texts["content"]])
        train, family = source.table.splits["split"] == "train", source.table.levels[1]
        rows = [
            train & (content == "creature") & (family == name) for name in dict.fromkeys(family)
        ]
        rows += [~train, train & (content == "clutter")]
        picked = [
            source.images(np.flatnonzero(row)[:: max(1, int(row.sum()) // per_domain)][:per_domain])
            for row in rows
        ]
        columns.append(np.concatenate([np.concatenate(list(images), axis=1) for images in picked]))
    labels = [*dict.fromkeys(family), "hard", "empty"]
    sheet = Image.fromarray(np.concatenate(columns, axis=1))
    sheet = sheet.resize((sheet.width * zoom, sheet.height * zoom), Image.Resampling.NEAREST)
    left, top = 72, 16
    page = Image.new("RGB", (sheet.width + left, sheet.height + top), "white")
    page.paste(sheet, (left, top))
    pen = ImageDraw.Draw(page)
    for i, label in enumerate(labels):
        pen.text((4, top + int((i + 0.45) * sheet.height / len(labels))), label, fill="black")
    for i, domain in enumerate(get_args(Domain)):
        pen.text((left + 4 + i * sheet.width // 4, 2), domain, fill="black")
    return np.asarray(page)
