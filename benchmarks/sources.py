"""Claim: shards are read where they lie faster than their peers read them: shuffled and decoded 8
times webdataset and 2 times litdata or more, in one process; 200,000 raw random reads a second or
more; and 14 million samples are indexed at 1 GB/s of tar or at the disk's speed, in 64 bytes a
sample, opened in a second, and with 10 million captions planned in a minute and 4 GB.

    python benchmarks/sources.py [--only speed|raw|scale] [--write]

Cost: 15 minutes on two free cores, 40 GB of disk for `scale` (--shards 100 for a tenth of it).
Result: benchmarks/sources.md. It needs HEADWATER_DATA (all of its photos are packed, at 64 and at
224 px) and, for the peers, webdataset, litdata and grain; those that are missing are left out and
said. Readers take turns in one process, with one thread each where nothing else is said; what is
timed ends with uint8 pixels of every image in a shuffled order. One process may have two threads.
"""

from __future__ import annotations

import argparse
import importlib.util
import io
import json
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from machine import facts, facts_line
from pages import Page, table
from PIL import Image

from headwater.sources import Source
from headwater.sources.pixels.decoding import decode_some
from headwater.sources.shards import open_shards
from headwater.sources.shards.tar import BLOCK

PAGE = Path(__file__).with_suffix(".md")
SIDES = {64: 51, 224: 179}
"""Short side in pixels, and the image size whose images are stored at that side (5/4 of it)."""
ROUNDS, BATCH, PART = 5, 256, 64
IMAGES = {64: 12_000, 224: 1_500}
"""Images of a round."""


# all photos, at one size
def folder_images(root: Path) -> list[Path]:
    endings = {".jpg", ".jpeg", ".png", ".webp"}
    return sorted(path for path in root.rglob("*") if path.suffix.lower() in endings)


def write_shards(photos: list[Path], side: int, out: Path) -> int:
    """All photos as JPEG of quality 90 with a short side, 5,000 a shard; how many there are."""
    import tarfile

    out.mkdir(parents=True)
    number = 0
    for start in range(0, len(photos), 5000):
        with tarfile.open(out / f"{start // 5000:05d}.tar", "w") as tar:
            for path in photos[start : start + 5000]:
                data = encoded(path, side)
                if data is None:
                    continue
                for ending, part in (("jpg", data), ("txt", path.stem.encode())):
                    member = tarfile.TarInfo(f"{number:09d}.{ending}")
                    member.size, member.mtime = len(part), time.time()
                    tar.addfile(member, io.BytesIO(part))
                number += 1
    return number


def encoded(path: Path, side: int) -> bytes | None:
    try:
        with Image.open(path) as image:
            photo = image.convert("RGB")
    except OSError:
        return None
    scale = side / min(photo.size)
    photo = photo.resize([max(side, int(scale * length + 1e-9)) for length in photo.size])
    file = io.BytesIO()
    photo.save(file, "JPEG", quality=90)
    return file.getvalue()


# readers: each gives pixels of `count` images in a shuffled order, another one every round
Reader = Callable[[int, int], Iterator[Any]]


def ours(source: Source, image_size: int, threads: int) -> Reader:
    """What a stream of batches does, but for putting the images of a batch into one array."""
    pool = ThreadPoolExecutor(threads)

    def read(count: int, seed: int) -> Iterator[Any]:
        order = np.random.default_rng(seed).permutation(len(source.table))[:count]
        parts = [order[start : start + PART] for start in range(0, count, PART)]
        for images in pool.map(lambda part: decode_some(source, part, image_size), parts):
            yield from images

    return read


def by_webdataset(root: Path) -> Reader:
    import webdataset as wds

    urls = sorted(map(str, root.glob("*.tar")))

    def read(count: int, seed: int) -> Iterator[Any]:
        data = wds.WebDataset(urls, shardshuffle=len(urls), seed=seed, empty_check=False)
        done = data.shuffle(1000).decode("rgb8").to_tuple("jpg")
        for at, (pixels,) in enumerate(done):
            if at == count:
                return
            yield pixels

    return read


def litdata_set(shards: Path, out: Path) -> None:
    """The same JPEG files as litdata stores them; in a process of its own, as it forks."""
    code = (
        "import sys, litdata\n"
        "from benchmarks_sources_items import items\n"
        "litdata.optimize(fn=items, inputs=sys.argv[1:-1], output_dir=sys.argv[-1],"
        " chunk_bytes='64MB', num_workers=1)\n"
    )
    module = (
        "import io, tarfile\nfrom PIL import Image\n\n"
        "def items(path):\n"
        "    with tarfile.open(path) as tar:\n"
        "        for member in tar:\n"
        "            if member.name.endswith('.jpg'):\n"
        "                yield Image.open(io.BytesIO(tar.extractfile(member).read()))\n"
    )
    with tempfile.TemporaryDirectory() as place:
        (Path(place) / "benchmarks_sources_items.py").write_text(module)
        (Path(place) / "run.py").write_text(f"if __name__ == '__main__':\n    exec({code!r})\n")
        paths = sorted(map(str, shards.glob("*.tar")))
        subprocess.run(
            [sys.executable, "run.py", *paths, str(out)],
            cwd=place,
            check=True,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )


def by_litdata(root: Path) -> Reader:
    from litdata import StreamingDataset

    def read(count: int, seed: int) -> Iterator[Any]:
        data = StreamingDataset(str(root), shuffle=True, seed=seed)
        for at, pixels in enumerate(data):
            if at == count:
                return
            yield pixels

    return read


def by_grain(source: Source) -> Reader:
    """Grain as the prefetcher over our index, with Pillow; its threads read and decode."""
    import grain

    class Bytes:
        def __len__(self) -> int:
            return len(source.table)

        def __getitem__(self, at: Any) -> bytes:
            return source.image(int(at))  # type: ignore[return-value]

    def decode(data: bytes) -> Any:
        return np.asarray(Image.open(io.BytesIO(data)))

    def read(count: int, seed: int) -> Iterator[Any]:
        data = grain.MapDataset.source(Bytes()).shuffle(seed=seed).map(decode)
        options = grain.ReadOptions(num_threads=2, prefetch_buffer_size=BATCH)
        for at, pixels in enumerate(data.to_iter_dataset(options)):
            if at == count:
                return
            yield pixels

    return read


def rate(read: Reader, count: int, seed: int) -> float:
    began = time.perf_counter()
    done = sum(1 for _ in read(count, seed))
    assert done == count, (done, count)
    return count / (time.perf_counter() - began)


def speed(page: Page, place: Path, given: argparse.Namespace) -> None:
    root = os.environ.get("HEADWATER_DATA")
    if root is None:
        raise SystemExit("HEADWATER_DATA names no folder of photos")
    photos = folder_images(Path(root))
    page.say("", "## Shuffled and decoded, one process", "")
    body = []
    for side, image_size in SIDES.items():
        shards = place / f"{side}"
        some = photos if side == 64 else photos[:: max(1, len(photos) // 12_000)]
        number = write_shards(some, side, shards)
        source = open_shards("photos", str(shards), cache=place / "index")
        readers: dict[str, Reader] = {
            "headwater, 1 thread": ours(source, image_size, 1),
            "headwater, 2 threads": ours(source, image_size, 2),
        }
        if importlib.util.find_spec("webdataset"):
            readers["webdataset"] = by_webdataset(shards)
        if importlib.util.find_spec("litdata"):
            litdata_set(shards, place / f"lit{side}")
            readers["litdata"] = by_litdata(place / f"lit{side}")
        if importlib.util.find_spec("grain"):
            readers["grain over our index, 2 threads"] = by_grain(source)
        count = min(IMAGES[side], number)
        rates: dict[str, list[float]] = {name: [] for name in readers}
        for round_ in range(ROUNDS + 1):  # the first one warms up
            for name, read in readers.items():
                found = rate(read, count, round_)
                if round_:
                    rates[name].append(found)
        medians = {name: float(np.median(values)) for name, values in rates.items()}
        first = max(value for name, value in medians.items() if name.startswith("headwater"))
        for name, median in medians.items():
            spread = f"{min(rates[name]):,.0f} to {max(rates[name]):,.0f}"
            ratio = "" if name.startswith("headwater") else f"{first / median:.1f} x"
            body.append([f"{side} px, {name}", f"{median:,.0f}", spread, ratio])
        page.say(f"{side} px: {number:,} photos, {count:,} a round.")
        for peer, least in (("webdataset", 8), ("litdata", 2)):
            if peer in medians:
                page.limit(f"{side} px: {least} times {peer}", first >= least * medians[peer])
    head = ["", "images/s", "range", "ours, the faster, to it"]
    page.say("", *table(head, body))


def raw(page: Page, place: Path, given: argparse.Namespace) -> None:
    """Random reads of encoded images."""
    shards = place / "64"
    if not shards.is_dir():
        write_shards(folder_images(Path(os.environ["HEADWATER_DATA"])), 64, shards)
    source = open_shards("photos", str(shards), cache=place / "index")
    count, rates = 200_000, []
    for round_ in range(ROUNDS):
        draw = np.random.default_rng(round_).integers(0, len(source.table), count).tolist()
        began = time.perf_counter()
        for at in draw:
            source.image(at)
        rates.append(count / (time.perf_counter() - began))
    median = float(np.median(rates))
    page.say("", "## Raw random reads", "")
    page.say(f"{median:,.0f} a second, one thread ({min(rates):,.0f} to {max(rates):,.0f}).")
    page.limit("200,000 raw random reads a second", median >= 200_000)


# a set of web size
def template(count: int, data: bytes) -> np.ndarray:
    """uint8 [count, bytes of a member]: members 000000000.jpg that hold `data`; at most 8 GiB."""
    size = len(data)
    whole = np.zeros((count, BLOCK * (1 + -(-size // BLOCK))), np.uint8)
    fields = {9: b".jpg", 100: b"0000644", 108: b"0000000", 116: b"0000000", 156: b"0"}
    fields |= {124: b"%011o" % size, 136: b"%011o" % 0, 257: b"ustar\x0000"}
    for at, text in fields.items():
        whole[:, at : at + len(text)] = np.frombuffer(text, np.uint8)
    whole[:, BLOCK : BLOCK + size] = np.frombuffer(data, np.uint8)
    return whole


def write_synthetic(root: Path, shards: int, each: int, captions: int, more: int = 64) -> None:
    """Tars of small JPEG files, each with bytes of its own and `more` behind it, and captions in
    Parquet beside.
    """
    root.mkdir(parents=True, exist_ok=True)
    draw = np.random.default_rng(0)
    file = io.BytesIO()
    pixels = draw.integers(0, 255, (24, 24, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(file, "JPEG", quality=60)
    members = template(each, file.getvalue() + bytes(more))
    words = np.array([_word(number) for number in range(1, 30_001)], dtype=object)
    for shard in range(shards):
        first = shard * each
        path = root / f"{shard:05d}.tar"
        if not path.exists():
            _fill(members, np.arange(first, first + each), draw)
            with path.open("wb") as out:
                out.write(members.data)
                out.write(bytes(2 * BLOCK))
        beside = path.with_suffix(".parquet")
        if first < captions and not beside.exists():
            keys = [f"{number:09d}" for number in range(first, first + each)]
            pq.write_table(pa.table({"key": keys, "caption": _captions(each, words, draw)}), beside)


def _word(number: int) -> str:
    return "".join(chr(97 + (number // 26**place) % 26) for place in range(2 + number % 7))


def _captions(count: int, words: np.ndarray, draw: np.random.Generator) -> list[str]:
    """4 to 21 words each, drawn as words are in texts, by a power law."""
    lengths = draw.integers(4, 22, count)
    drawn = words[(draw.pareto(1.0, int(lengths.sum())) * 40).astype(int) % len(words)]
    ends = np.cumsum(lengths)
    pairs = zip((ends - lengths).tolist(), ends.tolist(), strict=True)
    return [" ".join(drawn[begin:end]) for begin, end in pairs]


def _fill(members: np.ndarray, numbers: np.ndarray, draw: np.random.Generator) -> None:
    members[:, :9] = (numbers[:, None] // 10 ** np.arange(8, -1, -1)) % 10 + ord("0")
    members[:, 148:156] = ord(" ")
    sums = members[:, :BLOCK].sum(axis=1, dtype=np.int64)
    members[:, 148:154] = (sums[:, None] // 8 ** np.arange(5, -1, -1)) % 8 + ord("0")
    members[:, 154] = 0
    members[:, BLOCK + 64 : BLOCK + 80] = draw.integers(0, 256, (len(members), 16), np.uint8)


_PLAN = """
import json, resource, sys, time
began = time.perf_counter()
from pathlib import Path
from headwater.plan import Plan, A_FEW
from headwater.study import Study
plan = Plan.make(Study.parse(open(sys.argv[1]).read(), "s.yaml"), cache=Path(sys.argv[2]),
                 looking=A_FEW)
arm = plan.arms[-1]
print(json.dumps({"s": time.perf_counter() - began, "images": len(arm.positions),
                  "texts": arm.reading.texts, "cut": arm.reading.cut,
                  "kb": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}))
"""


def scale(page: Page, place: Path, given: argparse.Namespace) -> None:
    root, cache = place / "web", place / "cache"
    each = 10_000
    captioned = min(10_000_000, given.shards * each * 10 // 14)
    write_synthetic(root, given.shards, each, captioned)
    size = sum(path.stat().st_size for path in root.glob("*.tar"))
    samples = given.shards * each
    page.say("", f"## {samples:,} samples in {given.shards:,} shards, {size / 1e9:.1f} GB", "")
    built = indexed(root, cache)
    (index,) = cache.glob("shards-*")
    of_samples = sum((index / name).stat().st_size for name in ("samples.bin", "keys.bin"))
    opening = []
    for _ in range(3):
        began = time.perf_counter()
        source = open_shards("web", str(root), cache=cache)
        opening.append(time.perf_counter() - began)
    read = _disk_speed(root)
    large = place / "large"
    write_synthetic(large, 200, 2000, 0, more=20_000)
    large_size = sum(path.stat().st_size for path in large.glob("*.tar"))
    large_built = indexed(large, place / "large-cache")
    large_read = _disk_speed(large)
    large_kept = indexed(large, place / "large-cache-2", from_disk=False)
    body = [
        ["index built, once, by 2 processes", f"{built:.0f} s, {size / built / 1e9:.2f} GB/s"],
        ["the same files read and nothing done with them", f"{read:.2f} GB/s"],
        ["samples a second", f"{samples / built:,.0f}"],
        [
            f"another set, {large_size / 400_000 / 1e3:.0f} KB a sample, {large_size / 1e9:.1f} GB",
            f"{large_size / large_built / 1e9:.2f} GB/s, {large_size / large_kept / 1e9:.2f} from "
            f"the system's memory (read alone: {large_read:.2f})",
        ],
        ["bytes of index a sample", f"{of_samples / samples:.1f}"],
        ["opened again, the best of three", f"{min(opening):.2f} s"],
    ]
    page.limit("index at 1 GB/s or the disk's speed", size / built / 1e9 >= min(1.0, read))
    page.limit("and at 22 KB a sample", large_size / large_built / 1e9 >= min(1.0, large_read))
    page.limit("1 GB/s of what the system's memory holds", large_size / large_kept >= 1e9)
    page.limit("64 bytes a sample", of_samples / samples <= 64)
    page.limit("opened in a second", min(opening) < 1)
    del source
    pattern = f"{root}/{{00000..{captioned // each - 1:05d}}}.tar"
    study = place / "study.yaml"
    study.write_text(
        "study: web\ndata:\n"
        f"  web: {{kind: shards, path: '{pattern}'}}\n"
        "  task: {kind: world, train: 200, val: 50, test: 50}\n"
        "sources: [web]\nmethods: [simclr, clip]\nseeds: 1\nbudget: {epochs: 1}\n"
        "captions: caption\ntasks: {task: {data: task}}\nprotocols: {probe: {}}\n"
    )
    plans = []
    for _ in range(2):
        said = subprocess.run(
            [sys.executable, "-c", _PLAN, str(study), str(cache)],
            capture_output=True,
            text=True,
            check=True,
        )
        plans.append(json.loads(said.stdout))
    plan = min(plans, key=lambda one: one["s"])
    body.append(
        [
            f"planned with {plan['images']:,} captions, {plan['texts']:,} of them different",
            f"{plan['s']:.0f} s, {plan['kb'] / 1e6:.2f} GB at the most",
        ]
    )
    page.limit("10 million captions planned in a minute", plan["s"] < 60)
    page.limit("and 4 GB", plan["kb"] < 4e6)
    page.say(*table(["", ""], body))


def forgotten(root: Path) -> None:
    """The system's memory of a folder's files is let go, so that they come from the disk."""
    os.sync()
    for path in root.iterdir():
        handle = os.open(path, os.O_RDONLY)
        os.posix_fadvise(handle, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(handle)


def indexed(root: Path, cache: Path, *, from_disk: bool = True) -> float:
    """Seconds that the first opening takes."""
    if from_disk:
        forgotten(root)
    began = time.perf_counter()
    open_shards("web", str(root), cache=cache)
    return time.perf_counter() - began


def _disk_speed(root: Path) -> float:
    """GB/s at which two processes read the tars from the disk and do nothing with them."""
    forgotten(root)
    paths = sorted(map(str, root.glob("*.tar")))
    code = "import sys\nfor p in sys.argv[1:]:\n f=open(p,'rb')\n while f.read(1<<22): pass"
    began = time.perf_counter()
    parts = [subprocess.Popen([sys.executable, "-c", code, *paths[start::2]]) for start in (0, 1)]
    for part in parts:
        part.wait()
    size = sum(os.path.getsize(path) for path in paths)
    return size / (time.perf_counter() - began) / 1e9


PARTS = {"speed": speed, "raw": raw, "scale": scale}


def main() -> int:
    parser = argparse.ArgumentParser(description="shards beside their peers, and at web size")
    parser.add_argument("--only", nargs="+", choices=PARTS, default=list(PARTS))
    parser.add_argument("--shards", type=int, default=1400, help="of 10,000 samples, for `scale`")
    parser.add_argument("--place", type=Path, help="a folder that is kept, for `scale`")
    parser.add_argument("--write", action="store_true", help=f"write benchmarks/{PAGE.name}")
    given = parser.parse_args()
    page = Page()
    page.say("# Shards beside their peers, and at web size", "")
    page.say("`python benchmarks/sources.py --write`.", "")
    page.say(facts_line(facts(("webdataset", "litdata", "grain", "simplejpeg", "pillow"))) + ".")
    place = given.place or Path(tempfile.mkdtemp(prefix="headwater-sources-"))
    try:
        for part in given.only:
            PARTS[part](page, place, given)
    finally:
        if given.place is None:
            shutil.rmtree(place, ignore_errors=True)
    return page.end(PAGE if given.write else None)


if __name__ == "__main__":
    raise SystemExit(main())
