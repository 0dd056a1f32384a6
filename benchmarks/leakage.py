"""Near-duplicates between a source and test images: how many planted copies are found, how many
unrelated images are flagged, and at what cost.

    python benchmarks/leakage.py [--sets ...] [--image-size 32 64] [--seeds 1 2] [--per-set 100]
    [--others 1200]

Copies are made from the original file of a test image (cropped, mirrored, resized, stored anew),
put into a source among other images of all sets, and decoded as a study decodes them. A pair of
different data sets of which none was planted and that is flagged is a false positive; inside one
set there are true near-duplicates (frames of one rotating fruit), so those flags are counted apart.
Thresholds were set by hand with seed 0, mostly on CHOSEN_ON; scores of the other sets ("held out")
were seen too, so only other seeds are new.
"""

from __future__ import annotations

import argparse
import csv
import io
import os
import resource
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from PIL import Image

from headwater.curation import Matches, near_duplicates
from headwater.curation.hashing import hash_distances, perceptual_hashes
from headwater.curation.squares import squares
from headwater.device import commit
from headwater.sources.pixels import decode

SETS = (
    "grocery",
    "trashnet",
    "plantvillage15",
    "ucm_captions",
    "crawl_tiles",
    "caltech101",
    "noto_emoji",
    "eurosat",
)
CHOSEN_ON = ("caltech101", "noto_emoji", "eurosat")
KINDS = (
    "crop",
    "flip",
    "jpeg30",
    "resize50",
    "resize75",
    "crop+flip+jpeg30",
    "crop+resize+flip+jpeg30",
)
KEPT = (0.8, 1.0)
"""Of each side, by itself."""


@dataclass(frozen=True, eq=False)
class Pictures:
    """Decoded images of any size, in memory: headwater.sources.pixels.Images."""

    images: Sequence[NDArray[np.uint8]]

    def __len__(self) -> int:
        return len(self.images)

    def gather(self, rows: NDArray[np.int64]) -> tuple[NDArray[np.uint8], NDArray[np.int64]]:
        some = [self.images[row] for row in rows.tolist()]
        sizes = np.array([image.shape[:2] for image in some], dtype=np.int64).reshape(-1, 2)
        padded = np.zeros((len(some), *sizes.max(axis=0, initial=0).tolist(), 3), dtype=np.uint8)
        for at, image in enumerate(some):
            padded[at, : image.shape[0], : image.shape[1]] = image
        return padded, sizes


def files(
    data: Path, name: str, splits: Sequence[str], count: int, seed: int, column: str = "split"
) -> list[bytes]:
    """The bytes of `count` images of some splits of a set, drawn by the seed."""
    with (data / name / "labels.csv").open(newline="") as file:
        paths = [row["path"] for row in csv.DictReader(file) if row[column] in splits]
    chosen = np.random.default_rng(seed).permutation(len(paths))[:count]
    return [(data / name / paths[at]).read_bytes() for at in chosen]


def copy(data: bytes, kind: str, rng: np.random.Generator) -> bytes:
    """A file made from an image's file: `kind` names what was done, joined by +.

    Stored as JPEG of quality 90, or PNG where the original is.
    """
    with Image.open(io.BytesIO(data)) as opened:
        png = opened.format == "PNG"
        image = Image.alpha_composite(
            Image.new("RGBA", opened.size, "white"), opened.convert("RGBA")
        ).convert("RGB")
    done = kind.split("+")
    if "crop" in done:
        width, height = (
            int(np.ceil(f * side))
            for f, side in zip(rng.uniform(*KEPT, 2), image.size, strict=True)
        )
        left, top = (
            int(rng.integers(0, image.width - width + 1)),
            int(rng.integers(0, image.height - height + 1)),
        )
        image = image.crop((left, top, left + width, top + height))
    scale = {"resize50": 0.5, "resize75": 0.75, "resize": float(rng.choice([0.5, 0.75]))}
    for part in done:
        if part in scale:
            image = image.resize(
                (
                    max(1, round(image.width * scale[part])),
                    max(1, round(image.height * scale[part])),
                ),
                Image.Resampling.BICUBIC,
            )
    if "flip" in done:
        image = image.transpose(Image.Transpose.FLIP_LEFT_RIGHT)
    stored = io.BytesIO()
    if "jpeg30" in done or not png:
        image.save(stored, "JPEG", quality=30 if "jpeg30" in done else 90)
    else:
        image.save(stored, "PNG")
    return stored.getvalue()


@dataclass(frozen=True, eq=False)
class Counted:
    """Of one image size and seed, by set."""

    recall: dict[tuple[str, str], tuple[int, int]]
    """(set, kind): copies found and planted"""
    by_hash: dict[tuple[str, str], int]
    """(set, kind): copies whose perceptual hash differs by 8 bits or less, for comparison"""
    false_pairs: dict[str, tuple[int, int]]
    """set of the test image: pairs with another set's images, flagged and all"""
    false_tests: dict[str, tuple[int, int]]
    """set: test images flagged with another set's images, and all"""
    own_tests: dict[str, int]
    """set: test images flagged with other images of their own set, none planted"""
    num_source: int
    seconds: float


def count(
    data: Path,
    sets: Sequence[str],
    size: int,
    seed: int,
    per_set: int,
    others: int,
    progress: Callable[[str], None],
) -> Counted:
    rng = np.random.default_rng(seed)
    test: list[NDArray[np.uint8]] = []
    source: list[NDArray[np.uint8]] = []
    test_set: list[str] = []
    source_set: list[str] = []
    of: list[int] = []
    kinds: list[str] = []
    for name in sets:
        originals = files(data, name, ("test",), max(per_set, others // 4), seed)
        for at, original in enumerate(originals):
            if at < per_set:
                source += [decode(copy(original, kind, rng), size, name) for kind in KINDS]
                source_set += [name] * len(KINDS)
                of += [len(test)] * len(KINDS)
                kinds += KINDS
            test.append(decode(original, size, name))
            test_set.append(name)
        rest = [
            decode(image, size, name) for image in files(data, name, ("train", "val"), others, seed)
        ]
        source += rest
        source_set += [name] * len(rest)
        of += [-1] * len(rest)
        kinds += [""] * len(rest)
        progress(f"{name}: decoded")
    began = time.perf_counter()
    matches = near_duplicates(Pictures(source), Pictures(test))
    seconds = time.perf_counter() - began
    progress(f"{len(source):,} x {len(test):,} images in {seconds:.1f} s")
    return _counted(
        matches,
        Pictures(source),
        Pictures(test),
        np.array(source_set),
        np.array(test_set),
        np.array(of),
        np.array(kinds),
        seconds,
    )


def _counted(
    matches: Matches,
    source: Pictures,
    test: Pictures,
    source_set: NDArray[np.str_],
    test_set: NDArray[np.str_],
    of: NDArray[np.int64],
    kinds: NDArray[np.str_],
    seconds: float,
) -> Counted:
    rows, images = matches.source_row, matches.test_row
    found = np.zeros(len(source), dtype=bool)
    found[rows[of[rows] == images]] = True
    planted = np.flatnonzero(of >= 0)
    a, mirrored = perceptual_hashes(squares(test, of[planted]))
    b, _ = perceptual_hashes(squares(source, planted))
    near = np.zeros(len(source), dtype=bool)
    near[planted] = [
        bool(hash_distances(a[i : i + 1], mirrored[i : i + 1], b[i : i + 1])[0, 0] <= 8)
        for i in range(len(planted))
    ]
    natural = of[rows] < 0
    apart = natural & (source_set[rows] != test_set[images])
    names = list(dict.fromkeys(test_set.tolist()))
    which = {
        (name, kind): (source_set == name) & (kinds == kind) for name in names for kind in KINDS
    }
    others = {name: int(((of < 0) & (source_set != name)).sum()) for name in names}
    in_set = {name: int((test_set == name).sum()) for name in names}
    return Counted(
        recall={at: (int(found[some].sum()), int(some.sum())) for at, some in which.items()},
        by_hash={at: int(near[some].sum()) for at, some in which.items()},
        false_pairs={
            name: (int((apart & (test_set[images] == name)).sum()), others[name] * in_set[name])
            for name in names
        },
        false_tests={
            name: (len(set(images[apart & (test_set[images] == name)].tolist())), in_set[name])
            for name in names
        },
        own_tests={
            name: len(set(images[natural & ~apart & (test_set[images] == name)].tolist()))
            for name in names
        },
        num_source=len(source),
        seconds=seconds,
    )


def _share(found: int, of: int) -> str:
    return f"{100 * found / of:.1f}" if of else "–"


def report(size: int, counts: Sequence[Counted]) -> str:
    names = list(counts[0].false_tests)
    lines = [
        f"Copies found, %, at image_size {size} (in brackets: by the perceptual hash alone, 8 "
        "bits):",
        "",
    ]
    lines += ["| set | " + " | ".join(KINDS) + " | all |", "|---|" + "--:|" * (len(KINDS) + 1)]
    for name in [*names, "held out", "all"]:
        of = [
            n
            for n in names
            if n == name or name == "all" or (name == "held out" and n not in CHOSEN_ON)
        ]
        if not of:
            continue
        cells, sums = [], np.zeros(3, dtype=int)
        for kind in KINDS:
            three = np.array(
                [(*c.recall[n, kind], c.by_hash[n, kind]) for c in counts for n in of]
            ).sum(axis=0)
            sums += three
            cells.append(f"{_share(three[0], three[1])} ({_share(three[2], three[1])})")
        lines.append(
            f"| {name} | "
            + " | ".join(cells)
            + f" | {_share(sums[0], sums[1])} ({_share(sums[2], sums[1])}) |"
        )
    lines += ["", "Flags where nothing was planted:", ""]
    lines.append(
        "| test images of | pairs with other sets | flagged, % | test images | flagged with other "
        "sets | % | with their own set |"
    )
    lines.append("|---|--:|--:|--:|--:|--:|--:|")
    total = np.zeros(5, dtype=int)
    for name in names:
        row = np.array(
            [(*c.false_pairs[name], *c.false_tests[name], c.own_tests[name]) for c in counts]
        ).sum(axis=0)
        total += row
        lines.append(_flags(name, row))
    lines.append(_flags("all", total))
    return "\n".join(lines)


def _flags(name: str, row: NDArray[np.int64]) -> str:
    pairs, of_pairs, tests, of_tests, own = row.tolist()
    return (
        f"| {name} | {of_pairs:,} | {100 * pairs / of_pairs if of_pairs else 0:.6f} | "
        f"{of_tests:,} | {tests} | {_share(tests, of_tests)} | {own} |"
    )


def fruit(data: Path, split: str, size: int) -> Pictures:
    return Pictures(
        [
            decode(image, size, "fruits")
            for image in files(data, "fruits360_3body", (split,), 1 << 30, 0, "split_variety")
        ]
    )


def fruits(data: Path, size: int) -> str:
    """What is found between the two splits of `split_variety`, in which 29 test images are in train
    as well.
    """
    train, test = (fruit(data, split, size) for split in ("train", "test"))
    matches = near_duplicates(train, test)
    equal = int(matches.only(["pixels"]).flagged.sum())
    found = (
        f"{equal} of {len(test)} test images have equal pixels in train, "
        f"{int(matches.flagged.sum())} are flagged in all"
    )
    return (
        f"fruits360_3body by split_variety at image_size {size}: {found} (frames of one rotating "
        "fruit)."
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--sets", nargs="+", default=list(SETS))
    parser.add_argument("--image-size", type=int, nargs="+", default=[32, 64])
    parser.add_argument("--seeds", type=int, nargs="+", default=[1, 2])
    parser.add_argument(
        "--per-set",
        type=int,
        default=100,
        help="test images of each set of which every kind of copy is planted",
    )
    parser.add_argument(
        "--others",
        type=int,
        default=1200,
        help="images of each set in the source besides; a quarter as many test images",
    )
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    data = Path(os.environ["HEADWATER_DATA"])
    print(f"Commit {commit()}, seeds {chosen.seeds}, {chosen.threads} thread(s).\n")
    for size in chosen.image_size:
        counts = [
            count(data, chosen.sets, size, seed, chosen.per_set, chosen.others, lambda _: None)
            for seed in chosen.seeds
        ]
        print(report(size, counts))
        pairs = counts[0].num_source * sum(of for _, of in counts[0].false_tests.values())
        seconds = " and ".join(f"{c.seconds:.1f}" for c in counts)
        print(
            f"\n{counts[0].num_source:,} source images, {pairs / 1e6:.1f} million pairs: {seconds} "
            f"s; load average {os.getloadavg()[0]:.1f}.\n"
        )
        print(fruits(data, size) + "\n")
    print(f"Most memory: {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20:.1f} GiB.")


if __name__ == "__main__":
    main()
