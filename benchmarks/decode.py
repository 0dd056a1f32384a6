"""Question: what do streamed images cost beside cached ones, and beside a plain PIL loader?

    python benchmarks/decode.py [--data-root DIR] [--sets caltech101 caltech101@375] [--sizes 32 64
    224] [--rounds 5] [--quick] [--json]

For each set of real photos and image size, in one process, images per second of batches of 64
random rows: the cache's gather, streamed images with one and with two threads (both give the same
pixels, which is checked), and torchvision: the files opened by PIL as its ImageFolder's loader
opens them, and resized by its v2.Resize to the same short side, by one thread. torch has one thread
throughout. The rounds go in turns, so that a busy minute falls on all; medians, and ratios of
medians. Files were read once before: what is timed is decoding, not the disk.

NAME@SIDE are the photos of NAME enlarged to that short side, as JPEG of quality 90: the size of
photos as they are found, at which JPEG is decoded to a fraction of it, though with less detail in
them than a camera's.

Cost: about 3 minutes.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torchvision.datasets.folder import default_loader
from torchvision.transforms import v2

from headwater.sources.folder import FolderSource
from headwater.sources.pixels import PixelCache, StreamedImages, short_side

BATCH = 64


def rate(gather: Callable[[np.ndarray], object], batches: np.ndarray) -> float:
    """Images per second over all batches of rows [n, BATCH]."""
    began = time.perf_counter()
    for rows in batches:
        gather(rows)
    return batches.size / (time.perf_counter() - began)


def measured(source: FolderSource, image_size: int, images: int, rounds: int) -> dict[str, Any]:
    """Images per second by way, medians over rounds."""
    random = np.random.default_rng(0)
    train = source.split("split", "train")
    positions = np.sort(random.choice(train, min(images, len(train)), replace=False))
    paths = [source.root / name for name in source.table.ids[positions]]
    resize = v2.Resize(short_side(image_size), antialias=True)

    def by_torchvision(rows: np.ndarray) -> list[torch.Tensor]:
        return [
            v2.functional.pil_to_tensor(resize(default_loader(str(paths[row]))))
            for row in rows.tolist()
        ]

    with tempfile.TemporaryDirectory(prefix="headwater-decode-") as folder:
        cache = PixelCache.build(
            source, positions, image_size, Path(folder) / "cache", fingerprint="benchmark"
        )
        streams = {
            threads: StreamedImages(source, positions, image_size, threads=threads)
            for threads in (1, 2)
        }
        batches = random.integers(0, len(positions), (max(1, images // BATCH), BATCH))
        for stream in streams.values():
            for mine, theirs in zip(
                stream.gather(batches[0]), cache.gather(batches[0]), strict=True
            ):
                if not np.array_equal(mine, theirs):
                    raise SystemExit(
                        f"{source.name} at {image_size} px: streamed and cached pixels differ"
                    )
        ways: dict[str, Callable[[np.ndarray], object]] = {
            "cache": cache.gather,
            "streamed, 1 thread": streams[1].gather,
            "streamed, 2 threads": streams[2].gather,
            "torchvision (PIL)": by_torchvision,
        }
        rates: dict[str, list[float]] = {name: [] for name in ways}
        for _ in range(rounds):
            for name, gather in ways.items():
                rates[name].append(rate(gather, batches))
    return {
        "set": source.name,
        "image_size": image_size,
        "images": len(positions),
        "images_per_s": {name: statistics.median(own) for name, own in rates.items()},
        "load": os.getloadavg()[0],
    }


def opened(name: str, root: Path, images: int, folder: Path) -> FolderSource:
    """The source of one of `--sets`; enlarged photos are written to a folder of their own."""
    name, _, side = name.partition("@")
    source = FolderSource(name, root / name)
    if not side:
        return source
    target = folder / f"{name}@{side}"
    (target / "train" / "all").mkdir(parents=True)
    train = source.split("split", "train")
    for position in (
        np.random.default_rng(1).choice(train, min(images, len(train)), replace=False).tolist()
    ):
        image = default_loader(str(source.root / source.table.ids[position]))
        v2.Resize(int(side), antialias=True)(image).save(
            target / "train" / "all" / f"{position}.jpg", quality=90
        )
    return FolderSource(f"{name}@{side}", target)


def table(results: list[dict[str, Any]]) -> str:
    lines = [
        "| photos | image size | cache, images/s | streamed, 1 thread | 2 threads | torchvision "
        "(PIL) | 2 threads over 1 | streamed over torchvision | "
        "cache over streamed | load |",
        "|---|---|---|---|---|---|---|---|---|---|",
    ]
    for one in results:
        cache, single, double, peer = one["images_per_s"].values()
        lines.append(
            f"| {one['set']} | {one['image_size']} | {cache:,.0f} | {single:,.0f} | {double:,.0f} "
            f"| {peer:,.0f} | {double / single:.2f} | "
            f"{single / peer:.2f} | {cache / single:.0f} | {one['load']:.1f} |"
        )
    return "\n".join(lines)


def main(arguments: list[str] | None = None) -> int:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--data-root", default=os.environ.get("HEADWATER_DATA"))
    parser.add_argument(
        "--sets",
        nargs="+",
        default=["caltech101", "caltech101@375"],
        help="NAME, or NAME@SIDE: enlarged to a short side of SIDE",
    )
    parser.add_argument("--sizes", nargs="+", type=int, default=[32, 64, 224])
    parser.add_argument("--images", type=int, default=1024, help="of each set")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--quick", action="store_true", help="128 images of each set, 2 rounds")
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    if not options.data_root:
        print(
            "benchmarks/decode.py: the photos are looked for under the data root; name it with "
            "--data-root or HEADWATER_DATA",
            file=sys.stderr,
        )
        return 2
    torch.set_num_threads(1)
    sets, images, rounds = (
        (options.sets, 128, 2) if options.quick else (options.sets, options.images, options.rounds)
    )
    with tempfile.TemporaryDirectory(prefix="headwater-decode-") as folder:
        sources = [opened(name, Path(options.data_root), images, Path(folder)) for name in sets]
        results = [
            measured(source, image_size, images, rounds)
            for source in sources
            for image_size in options.sizes
        ]
    print(json.dumps(results, indent=1) if options.json else table(results))
    return 0


if __name__ == "__main__":
    sys.exit(main())
