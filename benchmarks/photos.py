"""The photos that both sides of a benchmark train on: the same files, read from disk as anybody
would read them.
"""

from __future__ import annotations

import csv
import hashlib
import json
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from headwater.sources import Positions, Source, Table


@dataclass(frozen=True)
class Listing:
    """Image files with their classes and, where there are any, their captions; one entry per
    image.
    """

    files: list[str]
    labels: list[int]
    captions: list[list[str]]

    def __len__(self) -> int:
        return len(self.files)

    @property
    def num_classes(self) -> int:
        return max(self.labels) + 1

    def write(self, path: Path) -> Path:
        path.write_text(json.dumps(asdict(self)))
        return path

    @classmethod
    def read(cls, path: str | Path) -> Listing:
        return cls(**json.loads(Path(path).read_text()))


def real(data_root: Path, names: tuple[str, ...]) -> Listing:
    """The training images of some data sets (folders with a labels.csv), classes by their finest
    level, captions where a captions.jsonl has them.
    """
    files, classes, captions = [], [], []
    for name in names:
        root = data_root / name
        texts = {}
        if (root / "captions.jsonl").is_file():
            texts = {
                line["path"]: line["captions"]
                for line in map(json.loads, (root / "captions.jsonl").read_text().splitlines())
            }
        with (root / "labels.csv").open(newline="") as file:
            rows: list[dict[str, str]] = list(csv.DictReader(file))
        finest = max(column for column in rows[0] if column.startswith("level"))
        for row in rows:
            if row["split"] == "train":
                files.append(str(root / row["path"]))
                classes.append(f"{name}/{row[finest]}")
                captions.append(texts.get(row["path"], []))
    return Listing(files, np.unique(classes, return_inverse=True)[1].tolist(), captions)


def made(folder: Path, count: int, *, side: int = 48) -> Listing:
    """JPEG files of stripes, two classes, with captions: for trying a benchmark out where there are
    no photos. They measure nothing.
    """
    rng = np.random.default_rng(0)
    files, labels, captions = [], [], []
    for i in range(count):
        label = i % 2
        wave = 128 + 90 * np.sin(np.arange(side) * (0.3 if label else 1.2) + rng.uniform(0, 6))
        image = (
            np.broadcast_to(
                wave[:, None, None] + rng.normal(0, 20, (side, side, 3)), (side, side, 3)
            )
            .clip(0, 255)
            .astype(np.uint8)
        )
        files.append(str(folder / f"{i}.jpg"))
        Image.fromarray(image).save(files[-1])
        labels.append(label)
        captions.append(
            [
                f"{('narrow', 'wide')[label]} stripes, number {i % 7}",
                f"stripes that are {('narrow', 'wide')[label]}",
            ]
        )
    return Listing(files, labels, captions)


class PhotoFiles(Source):
    """A listing as a source of Headwater, so that a benchmark decodes by the rule that studies
    decode by.
    """

    def __init__(self, listing: Listing) -> None:
        self.name = "photos"
        self._files = listing.files
        self.table = Table(
            ids=np.array(listing.files, dtype=object),
            splits={"split": np.full(len(listing), "train", dtype=object)},
        )

    def image(self, position: int) -> bytes | NDArray[np.uint8]:
        return Path(self._files[position]).read_bytes()

    def byte_hashes(self, positions: Positions) -> list[str]:
        return [
            hashlib.blake2b(Path(self._files[position]).read_bytes(), digest_size=16).hexdigest()
            for position in positions.tolist()
        ]


def of_method(method: str, data_root: Path) -> Listing:
    """What the speed of a method is measured on: grocery and caltech101 (8,134 photos), for CLIP
    ucm_captions (1,680).
    """
    return real(data_root, ("ucm_captions",) if method == "clip" else ("grocery", "caltech101"))


def about(listing: Listing) -> dict[str, Any]:
    return {
        "images": len(listing),
        "classes": listing.num_classes,
        "captions": len({text for own in listing.captions for text in own}),
    }
