"""Claim: one look at 50,000 images finds all that cannot be read and nothing else (precision and
recall 1.0), of eight kinds, and the same with 1, 2 and 4 workers.

    python benchmarks/broken_images.py [--images 50000] [--write]

Cost: 3 minutes on two free cores. Result: benchmarks/broken_images.md. The folder is made anew:
JPEG, PNG, WebP and GIF of 32 to 96 px drawn by a fixed seed, a hundredth of them damaged afterwards
by hand; which ones is known from the making alone. Every look starts without what earlier ones
remember, but for the last, which has it. Peers, in the same run and on one thread, are what others
do to each file: Pillow's `verify()` (as fastai's verify_images and most scripts), and
`open().convert("RGB")` (what torchvision's ImageFolder and timm would meet in training).
"""

from __future__ import annotations

import argparse
import sys
import tempfile
import time
import warnings
from collections import Counter
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
from pages import Page, table
from PIL import Image

from headwater.sources.folder import FolderSource
from headwater.sources.looking import EVERYTHING, Looked, Looking, look

sys.path.insert(0, str(Path(__file__).parents[1]))  # the tests plant the same
from tests.sources.shards.planted import (
    ENDINGS,
    FAULTS,
    FORMS,
    OF_FILES,
    drawn,
    faults_of,
)

PAGE = Path(__file__).with_suffix(".md")
SHARE = 0.01


def make(root: Path, images: int) -> dict[str, str]:
    """Files in a folder; what is wrong with the bad ones, by sample id."""
    random = np.random.default_rng(17)
    kinds = faults_of(random, images, round(SHARE * images), OF_FILES)
    truth: dict[str, str] = {}
    for number in range(images):
        kind = kinds.get(number)
        form = FAULTS[kind].form if kind else FORMS[number % 5]
        data = drawn(random, form)
        name = f"class{number % 10}/{number:06d}.{ENDINGS[form]}"
        if kind:
            truth[name] = kind
            data = FAULTS[kind].spoil(data) or b""
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return truth


def verified(path: Path) -> None:
    with Image.open(path) as image:
        image.verify()


def converted(path: Path) -> None:
    with Image.open(path) as image:
        image.convert("RGB")


def peer(root: Path, names: list[str], opens: Callable[[Path], None]) -> tuple[set[str], float]:
    """What a peer cannot open, and its seconds."""
    found, start = set(), time.perf_counter()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for name in names:
            try:
                opens(root / name)
            # each decoder has its own kinds of errors
            except Exception:
                found.add(name)
    return found, time.perf_counter() - start


def looked_at(root: Path, cache: Path | None, looking: Looking) -> tuple[Looked, float]:
    source = FolderSource("made", root, fingerprint_cache=cache)
    start = time.perf_counter()
    found = look(source, np.arange(len(source.table)), 32, looking)
    return found, time.perf_counter() - start


def line(who: str, found: set[str], truth: dict[str, str], seconds: float, n: int) -> list[str]:
    hits = len(found & set(truth))
    precision = hits / len(found) if found else 1.0
    missed = Counter(truth[name] for name in set(truth) - found)
    missing = ", ".join(f"{count} x {kind}" for kind, count in sorted(missed.items())) or "none"
    each = f"{1e6 * seconds / n:,.0f}"
    return [who, f"{precision:.3f}", f"{hits / len(truth):.3f}", each, missing]


def measured(page: Page, root: Path, images: int) -> None:
    truth = make(root / "images", images)
    source = FolderSource("made", root / "images")
    names = source.table.ids.tolist()
    page.say(
        f"{images:,} files, {len(truth):,} bad ones of {len(OF_FILES)} kinds, "
        f"{Counter(truth.values()).most_common()[-1][1]} or more of each.",
        "",
    )
    body, sets = [], []
    cache = root / "bytes.parquet"
    for workers in (1, 2, 4):
        looking = Looking(most=None, workers=workers)
        found, seconds = looked_at(root / "images", cache if workers == 4 else None, looking)
        bad = {names[at] for at in found.bad}
        sets.append(found.bad)
        body.append(
            line(f"headwater, {workers} worker{'s' * (workers > 1)}", bad, truth, seconds, images)
        )
        page.limit(f"precision and recall 1.0 with {workers} workers", bad == set(truth))
    again, seconds = looked_at(root / "images", cache, EVERYTHING)
    sets.append(again.bad)
    bad = {names[at] for at in again.bad}
    body.append(line("headwater, remembered", bad, truth, seconds, images))
    for who, opens in (("Pillow verify()", verified), ('Pillow convert("RGB")', converted)):
        found_by, seconds = peer(root / "images", names, opens)
        body.append(line(f"{who}, 1 thread", found_by, truth, seconds, images))
    conclude(page, body, sets, truth, names, "files")


def conclude(
    page: Page,
    body: list[list[str]],
    looks: list[Mapping[int, str]],
    truth: dict[str, str],
    names: list[str],
    what: str,
) -> None:
    """The table, whether all looks found the same, and what was said of the bad ones."""
    page.say(*table(["", "precision", "recall", "µs an image", "bad ones missed"], body), "")
    same = all(dict(found) == dict(looks[0]) for found in looks)
    page.limit("the same set with 1, 2 and 4 workers and remembered", same)
    page.say(
        f"The same set with 1, 2 and 4 workers, and remembered: {'yes' if same else 'NO'}.",
        "What was said of the bad ones:",
        "",
    )
    told = Counter((truth.get(names[at], "sound"), kind) for at, kind in looks[0].items())
    rows = [[made, kind, f"{count}"] for (made, kind), count in sorted(told.items())]
    page.say(*table(["made as", "found as", what], rows))


def run(title: str, path: Path, measure: Callable[[Page, Path, int], None]) -> int:
    """Measures into a folder that is gone afterwards; the exit code, 1 where a limit is missed."""
    parser = argparse.ArgumentParser(description=title)
    parser.add_argument("--images", type=int, default=50_000)
    parser.add_argument("--write", action="store_true", help=f"write benchmarks/{path.name}")
    given = parser.parse_args()
    page = Page()
    page.say(f"# {title}", "")
    page.say(f"`python benchmarks/{path.stem}.py --images {given.images} --write`.", "")
    with tempfile.TemporaryDirectory() as folder:
        measure(page, Path(folder), given.images)
    return page.end(path if given.write else None)


if __name__ == "__main__":
    raise SystemExit(run("Images that cannot be read, found in one look", PAGE, measured))
