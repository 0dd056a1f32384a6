"""Tars for tests, as others write them, and as nobody should."""

from __future__ import annotations

import io
import json
import tarfile
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image


def jpeg(number: int, side: int = 16) -> bytes:
    """A small photo of noise, another one for every number."""
    file = io.BytesIO()
    pixels = np.random.default_rng(number).integers(0, 256, (side, side, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG")
    return file.getvalue()


def add(tar: tarfile.TarFile, name: str, data: bytes, **changed: Any) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    for word, value in changed.items():
        setattr(member, word, value)
    tar.addfile(member, io.BytesIO(data))


def write(
    path: Path,
    members: list[tuple[str, bytes]],
    form: int = tarfile.PAX_FORMAT,
    mtime: float = 1.5,
) -> Path:
    """A tar of members; by default as webdataset writes it, a pax header for the time of each."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with tarfile.open(path, "w", format=form) as tar:
        for name, data in members:
            add(tar, name, data, mtime=mtime)
    return path


def samples(first: int, count: int, **fields: Any) -> list[tuple[str, bytes]]:
    """Members of samples as img2dataset writes them: an image, its caption, JSON."""
    found = []
    for number in range(first, first + count):
        key = f"{number:09d}"
        said = {"key": key, "caption": f"caption {number}", "url": f"http://a/{number}", **fields}
        found += [
            (f"{key}.jpg", jpeg(number)),
            (f"{key}.txt", f"caption {number}".encode()),
            (f"{key}.json", json.dumps(said).encode()),
        ]
    return found


def corpus(root: Path, shards: int = 3, each: int = 5) -> Path:
    """A folder of shards, numbered as img2dataset numbers them."""
    for shard in range(shards):
        write(root / f"{shard:05d}.tar", samples(shard * each, each))
    return root


def photos(folder: Path, count: int, side: int = 20) -> Path:
    """A folder of photos of two classes with captions: train, val and test."""
    rows, captions = [("path", "split", "level1")], []
    for number in range(count):
        path = f"{'ab'[number % 2]}/{number}.jpg"
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_bytes(jpeg(number, side))
        split = "test" if number % 6 == 5 else "val" if number % 6 == 4 else "train"
        rows.append((path, split, "ab"[number % 2]))
        captions.append({"path": path, "captions": [f"photo {number} of it", f"seen {number}"]})
    (folder / "labels.csv").write_text("".join(",".join(row) + "\n" for row in rows))
    (folder / "captions.jsonl").write_text("\n".join(map(json.dumps, captions)))
    return folder
