"""Claim: near-duplicates of a million images are found in under two minutes on two cores, at least
95 % of the planted ones, in memory that does not hold the set.

    python benchmarks/near_duplicates.py [--only embeddings tests hashes photos] [--write]
    (HEADWATER_DATA: docs/data.md; ten minutes on 2 cores, 2 GB of temporary files)

Parts that are left out stay on the page as they were.

Embeddings are made: 4,000 clusters of unequal sizes in 200 groups, with a spectrum that falls, so
that unrelated ones are alike to all degrees; 2 % of the rows are replaced by others plus noise.
Hashes are drawn with the correlations of those of real photos. The photos are real, and their
copies are made as in benchmarks/leakage.py. Peers: faiss, all pairs on a part (the truth), and
faiss IVF with 8 bits a value, its candidates compared exactly.
"""

from __future__ import annotations

import argparse
import gc
import os
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import faiss
import numpy as np
import torch
from leakage import SETS, Pictures, copy, files
from numpy.typing import NDArray
from pages import Page, table
from scipy.special import ndtri

from headwater import models, work
from headwater.curation import near_duplicates
from headwater.curation.scale import (
    Hashes,
    confirmed,
    hashes_of,
    near_duplicates_at_scale,
    near_embeddings,
    near_hash_tests,
    near_hashes,
    near_tests,
)
from headwater.device import resolve
from headwater.plan import Plan
from headwater.sources.pixels import decode
from headwater.store import Store
from headwater.study import Study
from headwater.transfer.features import extract

PAGE = Path(__file__).with_suffix(".md")
NUM, DIM = 1_000_000, 256
LEVELS = (0.99, 0.97, 0.95, 0.92)
"""Cosines of planted copies with their originals."""
THRESHOLD = 0.9
ASKED = 2000
"""Rows whose every pair is compared, for the truth."""
Floats = NDArray[np.float32]
KINDS = ("jpeg30", "resize50", "flip", "crop", "crop+flip+jpeg30")


class Watched:
    """Seconds of a block, and the most memory of its own that the process had in it beyond what it
    had before: without pages of mapped files, which the system takes back when it needs them.
    """

    def __enter__(self) -> Watched:
        gc.collect()
        self._before = self.most = _own_memory()
        self._done = threading.Event()
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()
        self._began = time.perf_counter()
        return self

    def __exit__(self, *error: object) -> None:
        self.seconds = time.perf_counter() - self._began
        self._done.set()
        self._thread.join()
        self.mebibytes = (self.most - self._before) / 2**20

    def _watch(self) -> None:
        while not self._done.wait(0.02):
            self.most = max(self.most, _own_memory())


def _own_memory() -> int:
    for line in Path("/proc/self/status").read_text().splitlines():
        if line.startswith("RssAnon"):
            return int(line.split()[1]) * 1024
    return 0


class World:
    """Where embeddings are drawn from."""

    def __init__(self, seed: int) -> None:
        self._draw = np.random.default_rng(seed)
        spectrum = np.arange(1, DIM + 1) ** -0.5
        self._spectrum = (spectrum / np.linalg.norm(spectrum)).astype(np.float32)
        self._turn = np.linalg.qr(self._draw.standard_normal((DIM, DIM)))[0].astype(np.float32)
        groups = self._vectors(200)
        self._centres = groups[self._draw.integers(0, 200, 4000)] + 0.8 * self._vectors(4000)
        sizes = np.arange(1, 4001) ** -0.7
        self._sizes = sizes / sizes.sum()

    def _vectors(self, num: int) -> Floats:
        return self._draw.standard_normal((num, DIM), dtype=np.float32) * self._spectrum

    def some(self, num: int) -> Floats:
        cluster = self._draw.choice(4000, num, p=self._sizes)
        made: Floats = (self._centres[cluster] + 0.9 * self._vectors(num)) @ self._turn
        return unit(made)

    def copies(self, originals: Floats, cosines: NDArray[np.float64]) -> Floats:
        """Of these cosines with their originals, off in any direction."""
        aside = self._draw.standard_normal(originals.shape, dtype=np.float32)
        aside = unit(aside - (aside * originals).sum(axis=1, keepdims=True) * originals)
        cosine = cosines[:, None].astype(np.float32)
        made: Floats = cosine * originals + np.sqrt(1 - cosine**2) * aside
        return made


def unit(values: Floats) -> Floats:
    made: Floats = values / np.linalg.norm(values, axis=1, keepdims=True)
    return made


def blocks(num: int, size: int = 50_000) -> Iterator[slice]:
    for at in range(0, num, size):
        yield slice(at, min(at + size, num))


@contextmanager
def planted(num: int) -> Iterator[tuple[Any, NDArray[np.int64], NDArray[np.int64], Any]]:
    """(mapped features float16 [num, DIM], rows that are copies, of which rows, their level)."""
    world, draw = World(1), np.random.default_rng(2)
    chosen = draw.permutation(num)[: num // 25]
    originals, copied = np.split(chosen, 2)
    level = np.array(LEVELS)[np.arange(len(copied)) % len(LEVELS)]
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "features.npy"
        made = np.lib.format.open_memmap(path, "w+", np.float16, (num, DIM))
        for some in blocks(num):
            made[some] = world.some(some.stop - some.start)
        for some in blocks(len(copied)):
            of = unit(made[originals[some]].astype(np.float32))
            made[copied[some]] = world.copies(of, level[some])
        made.flush()
        del made
        yield np.load(path, mmap_mode="r"), copied, originals, level


def keys_of(row: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    """One number a pair, whichever way round."""
    keyed: NDArray[np.int64] = np.maximum(row, other) * (1 << 32) + np.minimum(row, other)
    return np.unique(keyed)


def all_pairs(features: Any, rows: NDArray[np.int64]) -> tuple[Any, Any, float]:
    """(pairs of some rows with all others that are surely near, those that may be, seconds)."""
    began = time.perf_counter()
    asked = unit(features[rows].astype(np.float32))
    sure, maybe = [], []
    for some in blocks(len(features)):
        index = faiss.IndexFlatIP(DIM)
        index.add(unit(features[some].astype(np.float32)))
        limits, scores, found = index.range_search(asked, THRESHOLD - 1e-5)
        row = np.repeat(rows, np.diff(limits.astype(np.int64)))
        other = found + some.start
        apart = row != other
        sure.append(keys_of(*(x[apart & (scores >= THRESHOLD + 1e-5)] for x in (row, other))))
        maybe.append(keys_of(row[apart], other[apart]))
    seconds = time.perf_counter() - began
    return np.unique(np.concatenate(sure)), np.unique(np.concatenate(maybe)), seconds


def by_ivf(features: Any, rows: NDArray[np.int64]) -> tuple[NDArray[np.int64], float, float]:
    """The peer: 1,024 lists, 4 of them looked into, 8 bits a value; candidates compared exactly.
    (pairs of some rows, seconds to build the index, seconds to look up the rows)
    """
    began = time.perf_counter()
    index = faiss.index_factory(DIM, "IVF1024,SQ8", faiss.METRIC_INNER_PRODUCT)
    sample = np.sort(np.random.default_rng(0).choice(len(features), 40_960, replace=False))
    index.train(unit(features[sample].astype(np.float32)))
    for some in blocks(len(features)):
        index.add(unit(features[some].astype(np.float32)))
    index.nprobe = 4
    built, kept = time.perf_counter(), []
    for some in blocks(len(rows), 10_000):
        asked = unit(features[rows[some]].astype(np.float32))
        limits, _, found = index.range_search(asked, THRESHOLD - 0.02)
        place = np.repeat(np.arange(len(asked)), np.diff(limits.astype(np.int64)))
        cosine = (asked[place] * unit(features[found].astype(np.float32))).sum(axis=1)
        near = (cosine >= THRESHOLD) & (rows[some][place] != found)
        kept.append(keys_of(rows[some][place[near]], found[near]))
    pairs = np.unique(np.concatenate(kept))
    return pairs, built - began, time.perf_counter() - built


def embeddings(page: Page) -> None:
    with planted(NUM) as (features, copied, originals, level):
        with Watched() as ours:
            found = near_embeddings(features, threshold=THRESHOLD, per_row=1000)
        rows = np.sort(np.random.default_rng(3).choice(len(features), ASKED, replace=False))
        some = np.union1d(copied, rows)
        with Watched() as peer:
            peers, build, look = by_ivf(features, some)
        sure, maybe, seconds = all_pairs(features, rows)
    keyed = keys_of(found.row, found.other)
    wanted = {f"{one}": (level == one) for one in LEVELS}
    page.say(
        f"{NUM:,} embeddings of {DIM} values in float16 (512 MB, mapped), {len(copied):,} planted "
        f"copies; pairs of cosine {THRESHOLD} or more. {found.num_found:,} pairs are found, "
        f"{int(found.flagged.sum()):,} rows are not the first of their group. Truth: all pairs of "
        f"{ASKED:,} rows, {len(sure):,} of them near.",
        "",
    )
    body, shares = [], {}
    took = f"{build + look * NUM / len(some):.0f} (from {100 * len(some) / NUM:.0f} %)"
    for name, pairs, watched, seconds_told in (
        ("ours", keyed, ours, f"{ours.seconds:.0f}"),
        ("faiss IVF1024, SQ8", peers, peer, took),
    ):
        hits = [
            np.isin(_pair_keys(copied[at], originals[at]), pairs).mean() for at in wanted.values()
        ]
        own = pairs[np.isin(pairs >> 32, rows) | np.isin(pairs & ((1 << 32) - 1), rows)]
        recall, precision = np.isin(sure, own).mean(), np.isin(own, maybe).mean()
        shares[name] = (min(hits), recall, precision)
        figures = [*(f"{100 * hit:.2f}" for hit in hits), f"{100 * recall:.2f}"]
        figures += [f"{100 * precision:.2f}", seconds_told, f"{watched.mebibytes:,.0f}"]
        body.append([name, *figures])
    whole = seconds * NUM / ASKED
    body.append(["faiss, all pairs", *["100"] * 6, f"{whole:,.0f} (from a part)", "-"])
    head = [f"planted at {one}, %" for one in LEVELS]
    tail = ["recall of all, %", "precision, %", "seconds", "memory, MiB"]
    page.say(*table(["", *head, *tail], body))
    page.limit("a million embeddings in under 120 s", ours.seconds < 120)
    page.limit("recall of planted copies of 0.95", shares["ours"][0] >= 0.95)
    page.limit("recall of all pairs of 0.95", shares["ours"][1] >= 0.95)
    page.limit("no pair that is none", shares["ours"][2] == 1)
    page.limit("memory of 1 GiB", ours.mebibytes < 1024)


def _pair_keys(row: NDArray[np.int64], other: NDArray[np.int64]) -> NDArray[np.int64]:
    keyed: NDArray[np.int64] = np.maximum(row, other) * (1 << 32) + np.minimum(row, other)
    return keyed


def tests(page: Page) -> None:
    """A source of a million against nine test sets."""
    with planted(NUM) as (features, *_):
        draw, world = np.random.default_rng(4), World(5)
        sets, of = {}, {}
        level = np.array(LEVELS)[np.arange(1000) % len(LEVELS)]
        for number in range(9):
            rows = draw.choice(NUM, 1000, replace=False)
            originals = unit(features[rows].astype(np.float32))
            sets[f"{number}"] = np.concatenate([world.copies(originals, level), world.some(4000)])
            of[f"{number}"] = rows
        with Watched() as watched:
            source = (features[some] for some in blocks(NUM, 10_000))
            found = near_tests(source, sets, threshold=THRESHOLD, per_row=1000)
    hits = np.zeros((9, 1000), dtype=bool)
    for number, (name, pairs) in enumerate(found.items()):
        wanted = _pair_keys(np.arange(1000), of[name] + (1 << 20))
        hits[number] = np.isin(wanted, _pair_keys(pairs.row, pairs.other + (1 << 20)))
    names = [f"planted at {one}, %" for one in LEVELS]
    figures = [f"{100 * hits[:, level == one].mean():.2f}" for one in LEVELS]
    figures += [f"{watched.seconds:.0f}", f"{watched.mebibytes:,.0f}"]
    page.say(*table(["", *names, "seconds", "memory, MiB"], [["ours", *figures]]))
    page.limit("recall in test sets of 0.95", bool(hits.mean() >= 0.95))


def photo_codes(data: Path, per_set: int) -> Hashes:
    pictures = []
    for name in SETS:
        some = files(data, name, ("train", "val", "test"), per_set, 0)
        pictures += [decode(image, 32, name) for image in some]
    return hashes_of(Pictures(pictures))


def drawn_codes(real: NDArray[np.uint64], num: int) -> NDArray[np.uint64]:
    """Hashes whose bits are on as often, and together as often, as those of real photos: signs of
    Gaussians with the correlations that give these (tetrachoric, by the arcsine law).
    """
    bits = (real[:, None] >> np.arange(63, dtype=np.uint64)) & np.uint64(1)
    signs = 2.0 * bits[real != 0] - 1
    together = np.sin(np.pi / 2 * np.corrcoef(signs.T))
    values, vectors = np.linalg.eigh(together)
    root = (vectors * np.sqrt(values.clip(0.01))).astype(np.float32)
    limit = -ndtri(((signs.mean(axis=0) + 1) / 2).clip(0.01, 0.99))
    limit *= np.sqrt((root**2).sum(axis=1))
    draw, made = np.random.default_rng(6), np.zeros(num, dtype=np.uint64)
    for some in blocks(num):
        noise = draw.standard_normal((some.stop - some.start, 63), dtype=np.float32)
        above = (noise @ root.T > limit).astype(np.uint64)
        made[some] = (above << np.arange(63, dtype=np.uint64)).sum(axis=1, dtype=np.uint64)
    return made


def hashes(page: Page) -> None:
    made = drawn_codes(photo_codes(Path(os.environ["HEADWATER_DATA"]), 700).plain, NUM)
    draw = np.random.default_rng(7)
    originals, copied = np.split(draw.permutation(NUM)[: NUM // 25], 2)
    changed = np.arange(len(copied)) % 9
    for row, of, count in zip(copied.tolist(), originals.tolist(), changed.tolist(), strict=True):
        made[row] = made[of]
        for bit in draw.choice(63, count, replace=False).tolist():
            made[row] ^= np.uint64(1 << bit)
    with Watched() as watched:
        found = near_hashes(made, radius=8, per_row=10_000)
    together = found.first
    assert together is not None
    hit = together[copied] == together[originals]
    began = time.perf_counter()
    true, missed = 0, 0
    for row in draw.choice(NUM, ASKED, replace=False).tolist():
        near = np.flatnonzero(np.bitwise_count(made ^ made[row]) <= 8)
        true += len(near) - 1
        missed += int((together[near] != together[row]).sum())
    seconds = (time.perf_counter() - began) * NUM / ASKED / 2
    page.say(
        f"{len(copied):,} planted copies, 0 to 8 bits off. {found.num_found:,} pairs are found; "
        f"{100 * hit.mean():.2f} % of the planted ones; of the {true:,} pairs of {ASKED:,} rows by "
        f"brute force {missed} are in no common group. {watched.seconds:.0f} s, "
        f"{watched.mebibytes:,.0f} MiB; brute force {seconds:,.0f} s of one core (from a part)."
    )
    page.limit("all near hashes", bool(hit.all()) and missed == 0)
    page.limit("a million hashes in under 120 s", watched.seconds < 120)


def trained_features(data: Path, folder: Path) -> Callable[[Pictures], Floats]:
    """Features of a small SimCLR encoder, trained for a minute on photos of leaves and objects."""
    words: dict[str, Any] = {
        "study": "near",
        "data": {"photos": {"kind": "folder", "path": "caltech101"}},
        "sources": ["photos"],
        "methods": ["simclr"],
        "seeds": 1,
        "budget": {"images_seen": 60_000},
        "tasks": {"eurosat": {"data": "eurosat"}},
        "leakage": "bytes",
    }
    words["data"]["eurosat"] = {"kind": "folder", "path": "eurosat"}
    store = Store(folder, create=True)
    plan = Plan.make(Study.model_validate(words), data_root=data, cache=store.cache)
    compute = resolve("cpu", "fp32")
    (arm,) = plan.arms
    work.run_arm(work.Session(plan, store, compute), arm)
    made = store.read_arm(arm.id)["encoder_sha256"]
    encoder = models.trained_encoder(store.arm_folder(arm.id), made)
    return lambda pictures: extract(encoder, pictures, image_size=32, compute=compute)


def photos(page: Page) -> None:
    data, draw = Path(os.environ["HEADWATER_DATA"]), np.random.default_rng(8)
    test, test_set, source, source_set, of, kinds = [], [], [], [], [], []
    for name in SETS:
        for original in files(data, name, ("test",), 200, 8):
            for kind in KINDS:
                source.append(decode(copy(original, kind, draw), 32, name))
                of.append(len(test))
                kinds.append(kind)
                source_set.append(name)
            test.append(decode(original, 32, name))
            test_set.append(name)
        rest = files(data, name, ("train", "val"), 1000, 8)
        source += [decode(image, 32, name) for image in rest]
        source_set += [name] * len(rest)
        of += [-1] * len(rest)
        kinds += [""] * len(rest)
    tests, sources = Pictures(test), Pictures(source)
    planted_rows = np.flatnonzero(np.array(of) >= 0)
    told = (np.array(test_set), np.array(source_set), np.array(kinds)[planted_rows])
    body = []

    def line(name: str, row: Any, other: Any, watched: Watched, stands: Any = None) -> float:
        """`stands`: of each source row the first with an equal hash, which is listed for it."""
        copies = planted_rows if stands is None else stands[planted_rows]
        hit = np.isin(np.array(of)[planted_rows] * len(source) + copies, row * len(source) + other)
        apart = told[0][row] != told[1][other]
        figures = [f"{100 * hit[told[2] == kind].mean():.1f}" for kind in KINDS]
        figures += [f"{100 * hit.mean():.1f}", f"{int(apart.sum()):,}", f"{watched.seconds:.0f}"]
        body.append([name, *figures])
        return float(hit.mean())

    with Watched() as watched:
        made = hashes_of(sources), hashes_of(tests)
        near = near_hash_tests(made[0], {"t": made[1]}, per_row=1000)["t"]
    _, first, which = np.unique(made[0].plain, return_index=True, return_inverse=True)
    line("hashes, 8 bits", near.row, near.other, watched, first[which])
    with Watched() as watched:
        sure = confirmed(sources, tests, near)
    line("hashes, then aligned", sure.test_row, sure.source_row, watched, first[which])
    with tempfile.TemporaryDirectory() as folder:
        features = trained_features(data, Path(folder))
        of_source, of_test = features(sources), features(tests)
    for threshold in (0.9, 0.95, 0.98):
        with Watched() as watched:
            near = near_tests(of_source, {"t": of_test}, threshold=threshold, per_row=10_000)["t"]
        line(f"SimCLR features, {threshold}", near.row, near.other, watched)
    with Watched() as watched:
        found = near_duplicates_at_scale(sources, tests)
    ours = line("near_duplicates_at_scale", found.test_row, found.source_row, watched)
    with Watched() as watched:
        found = near_duplicates(sources, tests)
    every = line("near_duplicates (all pairs)", found.test_row, found.source_row, watched)
    page.say(
        f"{len(test):,} test images of eight sets, {len(planted_rows):,} changed copies of them "
        f"among {len(source):,} source images, at 32 px: {len(test) * len(source) / 1e6:.0f} "
        "million pairs. Copies found, %; pairs of different sets, of which none was planted.",
        "",
    )
    page.say(*table(["", *KINDS, "all", "pairs of other sets", "seconds"], body))
    page.limit("within a point of all pairs", ours >= every - 0.01)


PARTS = {
    "embeddings": ("A million embeddings, one set", embeddings),
    "tests": ("A million embeddings, nine test sets of 5,000", tests),
    "hashes": ("A million hashes of 63 bits, 8 bits apart or less", hashes),
    "photos": ("Real photos", photos),
}


def kept_sections() -> dict[str, list[str]]:
    """The page's sections by title, as they are written."""
    sections: dict[str, list[str]] = {}
    lines = PAGE.read_text(encoding="utf-8").splitlines() if PAGE.exists() else []
    title = ""
    for line in lines:
        if line.startswith("## "):
            title = line.removeprefix("## ")
            sections[title] = []
        elif title:
            sections[title].append(line)
    return sections


def main() -> int:
    parser = argparse.ArgumentParser(description="near-duplicates of large sets")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--write", action="store_true", help=f"write benchmarks/{PAGE.name}")
    given = parser.parse_args()
    sections, missed = kept_sections(), 0
    for name in given.only:
        title, measure = PARTS[name]
        page = Page()
        measure(page)
        page.say("", f"Limits missed: {len(page.missed)}. {torch.get_num_threads()} threads.")
        sections[title], missed = ["", *page.lines, ""], missed + len(page.missed)
    if given.write:
        text = [
            "# Near-duplicates of large sets",
            "",
            "`python benchmarks/near_duplicates.py --write`.",
        ]
        text += ["Memory is what the process had of its own beyond what it had before.", ""]
        for title, _ in PARTS.values():
            text += [f"## {title}", *sections.get(title, ["", "not measured", ""])]
        PAGE.write_text("\n".join(text).rstrip() + "\n", encoding="utf-8")
    return int(bool(missed))


if __name__ == "__main__":
    sys.exit(main())
