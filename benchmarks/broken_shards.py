"""Claim: one look at 50,000 samples in shards finds all whose image cannot be read and nothing else
(precision and recall 1.0), of ten kinds, and the same with 1, 2 and 4 workers.

    python benchmarks/broken_shards.py [--images 50000] [--write]

Cost: 2 minutes on two free cores. Result: benchmarks/broken_shards.md. The shards are made anew,
1,000 samples in each: an image of 32 to 96 px (JPEG, PNG, WebP or GIF), a caption and a class,
drawn by a fixed seed (5,000 pictures, each in ten samples); a hundredth of the images is damaged
before it is packed, and which is known from the making alone. Every look starts without what
earlier ones remember, but for the last, which has it. The peer, in the same run and on one thread,
is what streaming loaders meet in training: each member with an image's name, in the order of the
tar, opened by Pillow and converted to RGB.
"""

from __future__ import annotations

import io
import tarfile
import time
import warnings
from collections import Counter
from pathlib import Path

import numpy as np
from broken_images import FAULTS, SHARE, conclude, line, run
from pages import Page
from PIL import Image
from tests.sources.shards.planted import ENDINGS, planted, right

from headwater.sources.looking import EVERYTHING, Looked, Looking, look
from headwater.sources.shards import ShardSource, open_shards

PAGE = Path(__file__).with_suffix(".md")
TITLE = "Samples of shards that cannot be read, found in one look"
SUFFIXES = tuple(f".{ending}" for ending in ENDINGS.values())


def streamed(root: Path) -> tuple[set[str], float]:
    """What Pillow cannot convert of the members of tars, and its seconds."""
    found, start = set[str](), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for path in sorted(root.glob("*.tar")):
            with tarfile.open(path) as tar:
                for member in tar:
                    if not member.name.endswith(SUFFIXES):
                        continue
                    file = tar.extractfile(member)
                    assert file is not None
                    try:
                        Image.open(io.BytesIO(file.read())).convert("RGB")
                    # each decoder has its own kinds of errors
                    except Exception:
                        found.add(f"{path.stem}/{member.name.partition('.')[0]}")
    return found, time.perf_counter() - start


def looked_at(source: ShardSource, looking: Looking) -> tuple[Looked, float]:
    start = time.perf_counter()
    found = look(source, np.arange(len(source.table)), 32, looking)
    return found, time.perf_counter() - start


def measured(page: Page, root: Path, images: int) -> None:
    truth = planted(root / "shards", images, round(SHARE * images))
    shards, cache = str(root / "shards"), root / "cache"
    start = time.perf_counter()
    names = open_shards("made", shards, cache=cache).table.ids.tolist()
    opened = time.perf_counter() - start
    page.say(
        f"{images:,} samples in {len(list((root / 'shards').iterdir()))} shards, {len(truth):,} "
        f"bad ones of {len(FAULTS)} kinds, {Counter(truth.values()).most_common()[-1][1]} or more "
        f"of each. Their index is built in {opened:.1f} s, which is not in the times below.",
        "",
    )
    body, looks = [], []
    for workers in (1, 2, 4):
        source = open_shards("made", shards, cache=cache)
        if workers < 4:
            source.verdicts = None
        found, seconds = looked_at(source, Looking(most=None, workers=workers))
        looks.append(dict(found.bad))
        told = {names[at]: kind for at, kind in found.bad.items()}
        who = f"headwater, {workers} worker{'s' * (workers > 1)}"
        body.append(line(who, set(told), truth, seconds, images))
        page.limit(f"precision and recall 1.0 with {workers} workers", set(told) == set(truth))
        page.limit(f"each for its own reason with {workers} workers", right(told, truth))
    again, seconds = looked_at(open_shards("made", shards, cache=cache), EVERYTHING)
    looks.append(dict(again.bad))
    bad = {names[at] for at in again.bad}
    body.append(line("headwater, remembered", bad, truth, seconds, images))
    found_by, seconds = streamed(root / "shards")
    body.append(line('Pillow convert("RGB"), 1 thread', found_by, truth, seconds, images))
    conclude(page, body, looks, truth, names, "samples")


if __name__ == "__main__":
    raise SystemExit(
        run("Samples of shards that cannot be read, found in one look", PAGE, measured)
    )
