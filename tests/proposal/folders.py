"""Small folders in the layouts that people have."""

from __future__ import annotations

import csv
import json
import tarfile
import zlib
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from PIL import Image

from tests.sources.shards.tars import add

CLASSES = ("cat", "dog")


def picture(path: Path, number: int, colour: int = 0) -> None:
    """A PNG of noise, redder for another class."""
    random = np.random.default_rng(zlib.crc32(f"{path.parent.parent.name} {path.name}".encode()))
    pixels = random.integers(0, 156, (12, 12, 3), dtype=np.uint8)
    pixels[..., colour % 3] += 80
    path.parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(pixels).save(path)


def with_splits(root: Path, train: int = 12, test: int = 6) -> Path:
    """An ImageFolder with train and test."""
    for split, count in (("train", train), ("test", test)):
        for colour, name in enumerate(CLASSES):
            for i in range(count):
                picture(root / split / name / f"{split}{name}{i}.png", i, colour)
    return root


def without_splits(root: Path, count: int = 15) -> Path:
    """An ImageFolder of classes alone."""
    for colour, name in enumerate(CLASSES):
        for i in range(count):
            picture(root / name / f"{root.name}{name}{i}.png", i, colour)
    return root


def bare(root: Path, count: int = 24) -> Path:
    """Images, and nothing beside."""
    for i in range(count):
        picture(root / f"{root.name}{i}.png", i)
    return root


def with_table(root: Path, count: int = 24, *, header: tuple[str, str] = ("file", "label")) -> Path:
    """A labels.csv as others spell it."""
    bare(root / "photos", count)
    names = sorted(path.name for path in (root / "photos").iterdir())
    with (root / "labels.csv").open("w", newline="") as file:
        writer = csv.writer(file)
        writer.writerow((header[0], "split", header[1]))
        for i, name in enumerate(names):
            writer.writerow((f"photos/{name}", "test" if i % 4 == 0 else "train", CLASSES[i % 2]))
    return root


def with_captions(root: Path, count: int = 24) -> Path:
    """Bare images with a captions.jsonl."""
    bare(root, count)
    lines = [
        json.dumps({"path": path.name, "captions": [f"a {path.stem} of colour {i}"]})
        for i, path in enumerate(sorted(root.glob("*.png")))
    ]
    (root / "captions.jsonl").write_text("\n".join(lines) + "\n")
    return root


def of_hugging_face(root: Path, count: int = 12) -> Path:
    """An image folder with a metadata.jsonl in each split."""
    for split in ("train", "test"):
        lines = []
        for i in range(count):
            picture(root / split / f"{split}{i}.png", i, i % 2)
            row = {"file_name": f"{split}{i}.png", "text": f"number {i} of {split}", "label": i % 2}
            lines.append(json.dumps(row))
        (root / split / "metadata.jsonl").write_text("\n".join(lines) + "\n")
    return root


def of_parquet(root: Path, count: int = 12) -> Path:
    """Parquet files with a column of images, as `datasets` stores them."""
    root.mkdir(parents=True)
    for split in ("train", "test"):
        images = []
        for i in range(count):
            path = root.parent / "drawn" / f"{root.name}{split}{i}.png"
            picture(path, i, i % 2)
            images.append({"bytes": path.read_bytes(), "path": path.name})
        table = pa.table({"image": images, "label": [CLASSES[i % 2] for i in range(count)]})
        pq.write_table(table, root / f"{split}-00000-of-00001.parquet")
    return root


def of_shards(root: Path, count: int = 12) -> Path:
    """Tars as webdataset writes them, a shard for each split."""
    root.mkdir(parents=True)
    for split in ("train", "test"):
        with tarfile.open(root / f"{split}-000.tar", "w") as tar:
            for i in range(count):
                path = root.parent / "drawn" / f"{root.name}{split}{i}.png"
                picture(path, i, i % 2)
                tar.add(path, f"{i:04d}.png")
                add(tar, f"{i:04d}.cls", CLASSES[i % 2].encode())
    return root


def of_arrow(root: Path, count: int = 12) -> Path:
    """A folder as `datasets` saves it: Arrow files, a folder for each split."""
    for split in ("train", "test"):
        images = []
        for i in range(count):
            path = root.parent / "drawn" / f"{root.name}{split}{i}.png"
            picture(path, i, i % 2)
            images.append({"bytes": path.read_bytes(), "path": path.name})
        table = pa.table({"image": images, "label": [CLASSES[i % 2] for i in range(count)]})
        (root / split).mkdir(parents=True)
        file = root / split / "data-00000-of-00001.arrow"
        with pa.ipc.new_stream(str(file), table.schema) as out:
            out.write_table(table)
    return root


def of_torchvision(root: Path, count: int = 8) -> Path:
    """food-101 as torchvision's Food101 reads it, of two classes."""
    base = root / "food-101"
    lists: dict[str, dict[str, list[str]]] = {"train": {}, "test": {}}
    for colour, name in enumerate(("apple_pie", "baklava")):
        for i in range(2 * count):
            picture(base / "images" / name / f"{i}.jpg", i, colour)
            lists["train" if i < count else "test"].setdefault(name, []).append(f"{name}/{i}")
    (base / "meta").mkdir()
    for split, names in lists.items():
        (base / "meta" / f"{split}.json").write_text(json.dumps(names))
    return root
