"""Claims: on one thread, SimCLR's views at 32 px at 20,000 a second or more and at 8 x lightly's
speed or more; at 224 px at 3 x lightly's or more.

    python benchmarks/views.py [--sizes 32 64 96 224] [--times 5] [--images 256] [--quick] [--json]

Every contender starts from the same decoded uint8 images and ends with normalised float32 views in
memory: ours from the batch as the pixel cache hands it over (padded to a common size, in
channels_last), the others from one PIL image (lightly, torchvision) or array (albumentations) each,
made beforehand, one view after the other, stacked at the end. The images are photos of caltech101
under HEADWATER_DATA at a short side of 1.25 x the size; without them noise, of 5 : 4 and 4 : 5 in
turns.

The recipes are ours (headwater.recipes), and the others are given the same parameters: for SimCLR
crop 0.2 to 1, jitter of strength 0.5 with probability 0.8, grey 0.2, flip, no blur. At 224 px
SimCLR stands with lightly's own defaults instead: crop from 0.08, strength 1, blur 0.5. lightly has
no transform for supervised and CLIP arms; torchvision's stands there. albumentations crops without
antialiasing, which is less work.

One process, one thread, all contenders in turns, `--times` rounds after one that does not count;
medians of views per second, and medians of the ratios within a round. On glibc the process starts
itself anew with the allocator's settings that Headwater's workers have (engines/local.py), for all
contenders alike. Cost: about 2 minutes; --quick takes 20 s and shows nothing but that it runs.
"""

from __future__ import annotations

import argparse
import importlib.util
import json
import os
import statistics
import sys
import time
import warnings
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from headwater import keys
from headwater.engines.pool import ALLOCATOR
from headwater.registry import METHODS
from headwater.sources import pixels
from headwater.study import Augmentation
from headwater.views import MEAN, STD, ViewMaker

Photos = list[NDArray[np.uint8]]
LIGHTLY_AT_224 = {
    "crop_min": 0.08,
    "flip": 0.5,
    "jitter": 1.0,
    "jitter_probability": 0.8,
    "grey": 0.2,
    "blur": 0.5,
}


def photos(count: int, size: int) -> tuple[Photos, str]:
    """`count` decoded images, and what they are."""
    folder = Path(os.environ.get("HEADWATER_DATA", ""), "caltech101", "images")
    files = sorted(folder.rglob("*.jpg")) if os.environ.get("HEADWATER_DATA") else []
    if len(files) >= count:
        picked = [
            files[i] for i in np.random.default_rng(0).choice(len(files), count, replace=False)
        ]
        return [pixels.decode(file.read_bytes(), size, str(file)) for file in picked], "caltech101"
    side, random = pixels.short_side(size), np.random.default_rng(0)
    shapes = [(side, side * 5 // 4, 3), (side * 5 // 4, side, 3)]
    return [random.integers(0, 256, shapes[i % 2], dtype=np.uint8) for i in range(count)], "noise"


def ours(words: dict[str, Any], size: int, images: Photos) -> Callable[[int], torch.Tensor]:
    sizes = torch.tensor([image.shape[:2] for image in images])
    batch = torch.zeros(len(images), *sizes.amax(dim=0).tolist(), 3, dtype=torch.uint8)
    for row, image in zip(batch, images, strict=True):
        row[: image.shape[0], : image.shape[1]] = torch.from_numpy(image)
    maker, hashes = (
        ViewMaker(Augmentation(**words), size, 0),
        keys.sample_hashes([str(i) for i in range(len(images))]),
    )
    return lambda epoch: maker(batch, sizes, hashes, np.full(len(images), epoch), 0)


def lightly(words: dict[str, Any], size: int, images: Photos) -> Callable[[int], torch.Tensor]:
    from lightly.transforms.simclr_transform import SimCLRViewTransform

    transform = SimCLRViewTransform(
        input_size=size,
        min_scale=words["crop_min"],
        hf_prob=words["flip"],
        cj_prob=words["jitter_probability"],
        cj_strength=words["jitter"],
        random_gray_scale=words["grey"],
        gaussian_blur=words["blur"],
    )
    made = [Image.fromarray(image) for image in images]
    return lambda _: torch.stack([transform(image) for image in made])


def torchvision(words: dict[str, Any], size: int, images: Photos) -> Callable[[int], torch.Tensor]:
    from torchvision import transforms

    s = words["jitter"]
    steps = [
        transforms.RandomResizedCrop(size, (words["crop_min"], 1.0)),
        transforms.RandomHorizontalFlip(words["flip"]),
    ]
    if s:
        steps.append(
            transforms.RandomApply(
                [transforms.ColorJitter(0.8 * s, 0.8 * s, 0.8 * s, 0.2 * s)],
                words["jitter_probability"],
            )
        )
    if words["grey"]:
        steps.append(transforms.RandomGrayscale(words["grey"]))
    if words["blur"]:
        steps.append(
            transforms.RandomApply(
                [
                    transforms.GaussianBlur(
                        max(3, size // 10 | 1), (0.1 * size / 224, 2 * size / 224)
                    )
                ],
                words["blur"],
            )
        )
    transform = transforms.Compose([*steps, transforms.ToTensor(), transforms.Normalize(MEAN, STD)])
    made = [Image.fromarray(image) for image in images]
    return lambda _: torch.stack([transform(image) for image in made])


def albumentations(
    words: dict[str, Any], size: int, images: Photos
) -> Callable[[int], torch.Tensor]:
    os.environ["NO_ALBUMENTATIONS_UPDATE"] = "1"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        import albumentations as a
        import cv2
        from albumentations.pytorch import ToTensorV2
    cv2.setNumThreads(0)
    s = words["jitter"]
    steps: list[Any] = [
        a.RandomResizedCrop((size, size), scale=(words["crop_min"], 1.0)),
        a.HorizontalFlip(p=words["flip"]),
    ]
    if s:
        spread = (max(0.0, 1 - 0.8 * s), 1 + 0.8 * s)
        steps.append(
            a.ColorJitter(
                spread, spread, spread, (-0.2 * s, 0.2 * s), p=words["jitter_probability"]
            )
        )
    if words["grey"]:
        steps.append(a.ToGray(p=words["grey"]))
    if words["blur"]:
        steps.append(
            a.GaussianBlur(
                blur_limit=0, sigma_limit=(0.1 * size / 224, 2 * size / 224), p=words["blur"]
            )
        )
    transform = a.Compose([*steps, a.Normalize(MEAN, STD), ToTensorV2()])
    return lambda _: torch.stack([transform(image=image)["image"] for image in images])


PEERS = {"lightly": lightly, "torchvision": torchvision, "albumentations": albumentations}


def peers_of(method: str) -> list[str]:
    return [
        name
        for name in PEERS
        if importlib.util.find_spec(name) and (name != "lightly" or method == "simclr")
    ]


def measure(method: str, size: int, count: int, times: int) -> dict[str, Any]:
    """Views per second of ours and of every peer, and the ratios of ours to theirs."""
    words = (
        LIGHTLY_AT_224
        if (method, size) == ("simclr", 224)
        else METHODS[method].recipe().augmentation.words()
    )
    images, source = photos(count, size)
    contenders = {
        "headwater": ours(words, size, images),
        **{name: PEERS[name](words, size, images) for name in peers_of(method)},
    }
    seconds: dict[str, list[float]] = {name: [] for name in contenders}
    for round_ in range(times + 1):
        for name, views in contenders.items():
            began = time.perf_counter()
            made = views(round_)
            seconds[name].append(time.perf_counter() - began)
            assert made.shape == (count, 3, size, size)
            assert made.dtype == torch.float32
    kept = {name: spent[1:] for name, spent in seconds.items()}
    ratio = {}
    for name in [name for name in kept if name != "headwater"]:
        pairs = zip(kept["headwater"], kept[name], strict=True)
        ratio[name] = statistics.median(theirs / ours for ours, theirs in pairs)
    return {
        "method": method,
        "size": size,
        "images": source,
        "views_per_s": {name: count / statistics.median(spent) for name, spent in kept.items()},
        "ratio": ratio,
        "load": os.getloadavg()[0],
    }


def table(rows: list[dict[str, Any]]) -> str:
    measured = set().union(*[row["ratio"] for row in rows])
    names = [name for name in PEERS if name in measured]
    lines = [
        "| views | size | images | headwater, views/s | "
        + " | ".join(f"{name}, views/s | ours to {name}'s" for name in names)
        + " | load |"
    ]
    lines.append("|---|--:|---|--:|" + "--:|--:|" * len(names) + "--:|")
    for row in rows:
        theirs = [
            f"{row['views_per_s'][n]:,.0f} | {row['ratio'][n]:.1f} x"
            if n in row["ratio"]
            else "– | –"
            for n in names
        ]
        own = f"{row['views_per_s']['headwater']:,.0f}"
        lines.append(
            f"| {row['method']} | {row['size']} px | {row['images']} | {own} | "
            f"{' | '.join(theirs)} | {row['load']:.1f} |"
        )
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sizes", type=int, nargs="+", default=[32, 64, 96, 224])
    parser.add_argument(
        "--methods",
        nargs="+",
        choices=("supervised", "clip", "simclr"),
        default=["simclr", "supervised", "clip"],
    )
    parser.add_argument("--times", type=int, default=5)
    parser.add_argument("--images", type=int, default=256)
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--json", action="store_true")
    chosen = parser.parse_args()
    if sys.platform == "linux" and any(
        os.environ.get(name) != value for name, value in ALLOCATOR.items()
    ):
        os.execve(sys.executable, [sys.executable, *sys.argv], {**os.environ, **ALLOCATOR})
    torch.set_num_threads(1)
    count, times = (16, 1) if chosen.quick else (chosen.images, chosen.times)
    rows = [
        measure(method, size, count, times) for method in chosen.methods for size in chosen.sizes
    ]
    versions = {name: version(name) for name in ("torch", *PEERS) if importlib.util.find_spec(name)}
    if chosen.json:
        print(json.dumps({"rows": rows, "versions": versions, "batch": count, "rounds": times}))
        return
    print(table(rows))
    print(
        f"\nOne thread, batches of {count}, medians of {times}; "
        + ", ".join(f"{name} {number}" for name, number in versions.items())
        + "."
    )


if __name__ == "__main__":
    main()
