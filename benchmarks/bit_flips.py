"""Claim: a flipped bit in any file of a store, or of a list of digests, changes no row and no id in
silence: it is healed and told, refused, or changes nothing.

    python benchmarks/bit_flips.py [--flips 2000] [--runs 400] [--seed 0] [--only flips cost]
        [--write]

A study of four small arms (SimCLR, supervised by class and by clusters, CLIP) on folders of 132
pictures is run once. Then its store is taken back to the middle: one arm is at the last but one
step of its training, with two checkpoints; of the others some cells are not measured. What is left
to do reads every kind of file. A flip takes a kind (in turn), a file of it and one of its bits.
`--runs` of the flips are followed by a whole `headwater.run` of the study in a copy of that store,
and its rows (all that are not volatile), ids and encoders are compared with the first run's; the
others by the reader of that kind, whose answer is compared with that for the file as it was.

  healed      the same answer, and a line that says what was made again (a checkpoint before the
              newest is one: the run goes on from there, and ends with the same bits)
  refused     an error that names the file, or a row of status failed with it
  no change   the same answer without a word: nobody asked for these bytes, or the flip left the same
              JSON, say another letter of a space
  silent      another answer without a word: there should be none

Cost: the time within the functions that digest, as a share of the whole time of a study, in this
process (engine inline); and whole runs with the checks switched off, in turn with runs as they are.

Cost of it all: about 15 minutes. Exit code 1 where a flip was silent, or checking took more than
3 %.
"""

from __future__ import annotations

import argparse
import hashlib
import logging
import shutil
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
import yaml
from pages import Page, table
from PIL import Image

import headwater as hw
from headwater import checkpoint, digests, models
from headwater.errors import InputError
from headwater.methods.text import load_text
from headwater.plan import Plan
from headwater.rows import comparable
from headwater.sources.pixels import PixelCache, chunks
from headwater.store import Store
from headwater.study import Study
from headwater.transfer import features as kept
from headwater.work import leaks

HERE = Path(__file__).parent
LIMIT = 0.03
SIDE = 32
STUDY: dict[str, Any] = {
    "study": "bit-flips",
    "data": {
        "photos": {"kind": "folder", "path": "photos"},
        "other": {"kind": "folder", "path": "other"},
    },
    "sources": ["photos"],
    "methods": ["simclr", "supervised", "clip"],
    "labels": ["level:0", "cluster:3"],
    "captions": "template",
    "seeds": 1,
    "budget": {"steps": 8},
    "image_size": SIDE,
    "recipe": {"batch": 24, "text_width": 32, "text_layers": 1, "text_heads": 2, "embedding": 16},
    "tasks": {"other": {"data": "other"}},
    "protocols": {"probe": {"shots": ["full", 2], "draws": 1}, "zeroshot": {}},
}


# the study and its stores
class Stopped(BaseException):
    """The run ends here, as a kill would end it."""


@dataclass(frozen=True)
class Bench:
    """A study on folders of pictures, and its store in the middle of the run."""

    root: Path
    study: Study
    store: Path
    rows: pd.DataFrame
    """Of the run that nothing disturbed; so are the encoders."""
    encoders: dict[str, str]

    def run(self, store: Path) -> pd.DataFrame:
        return hw.run(self.study, store=store, data_root=self.root, device="cpu", engine="inline")


def draw(root: Path) -> None:
    """Pictures of three classes that differ in colour; a test image of the task is a changed copy
    of one that the source shows.
    """
    random = np.random.default_rng(0)
    for data, counts in (("photos", (20, 0, 0)), ("other", (12, 6, 6))):
        for split, count in zip(("train", "val", "test"), counts, strict=True):
            for at, name in enumerate(("red", "green", "blue")):
                folder = root / data / split / name
                for number in range(count):
                    folder.mkdir(parents=True, exist_ok=True)
                    pixels = random.integers(0, 160, (44, 48, 3))
                    pixels[..., at] += 60
                    image = Image.fromarray(pixels.astype(np.uint8))
                    image.save(folder / f"{number}.png")
    with Image.open(root / "photos/train/red/0.png") as shown:
        shown.point(lambda value: value + 2).save(root / "other/test/red/0.png")


def prepared(folder: Path) -> Bench:
    draw(folder)
    study = Study.model_validate(STUDY)
    whole, half = folder / "whole", folder / "half"
    rows = hw.run(study, store=whole, data_root=folder, device="cpu", engine="inline")
    assert set(rows["status"]) == {"done"}, rows["reason"].dropna().unique()
    store = Store(whole)
    plan = Plan.make(study, data_root=folder, cache=store.cache)
    encoders = {arm.id: store.read_arm(arm.id)["encoder_sha256"] for arm in plan.every_arm}
    bench = Bench(folder, study, half, comparable(rows), encoders)
    shutil.copytree(whole, half)
    stopped = next(arm for arm in plan.arms if arm.clusters is not None)
    store = Store(half)
    store.drop_arm(stopped.id)
    for at, cell in enumerate(plan.cells):
        if cell.arm.id == stopped.id or at % 2 or cell.words.protocol == "zeroshot":
            store.drop_cell(cell.id)

    def watch(event: Any) -> None:
        if event.kind == "progress":
            raise Stopped

    try:
        hw.run(
            study, store=half, data_root=folder, device="cpu", engine="inline",
            checkpoint_every_s=-1, watch=watch,
        )  # fmt: skip
    except Stopped:
        pass
    for cell in plan.cells[1::2]:
        store.drop_cell(cell.id)
    assert len(list(store.checkpoints(stopped.id).glob("*.safetensors"))) == 2
    return bench


# kinds of files, and who reads them
KINDS = {
    "rows": "rows/*.json",
    "answers": "answers/*.npy",
    "arm.json": "arms/*/arm.json",
    "encoder weights": "arms/*/encoder.safetensors",
    "encoder.json": "arms/*/encoder.json",
    "text tower": "arms/*/text.*",
    "curves": "arms/*/metrics.jsonl",
    "labels": "labels/*/*",
    "checkpoint tensors": "partial/*/step-*.safetensors",
    "checkpoint records": "partial/*/step-*.json",
    "pixels": "cache/pixels/*/pixels.npy",
    "pixel indexes": "cache/pixels/*/[!p]*",
    "byte hashes": "cache/*.hashes",
    "features": "cache/features/*/*",
    "copies found": "cache/leaks/*/*",
    "mark of the store": "headwater-store.json",
}


class Told(logging.Handler):
    """Counts the lines that were told."""

    def __init__(self) -> None:
        super().__init__()
        self.lines: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.lines.append(record.getMessage())


def digest(*parts: Any) -> str:
    """Of arrays, tensors, texts and plain values."""
    found = hashlib.sha256()
    for part in parts:
        if isinstance(part, torch.Tensor):
            part = part.numpy()
        if isinstance(part, np.ndarray):
            part = (str(part.dtype), part.shape, np.ascontiguousarray(part).tobytes())
        found.update(repr(part).encode())
    return found.hexdigest()


@dataclass(frozen=True)
class Readers:
    """What each kind of file says, by the code that reads it in a study; `path` is the flipped
    one.
    """

    bench: Bench
    plan: Plan
    store: Store

    def read(self, kind: str, path: Path) -> str:
        return str(getattr(self, "_" + kind.replace(" ", "_").replace(".", "_"))(path))

    def _rows(self, path: Path) -> str:
        return digest(self.store.read_cell(path.stem))

    def _answers(self, path: Path) -> str:
        return digest(self.store.read_answers(path.stem, len(self.plan.tasks["other"].test)))

    def _arm_json(self, path: Path) -> str:
        return digest(sorted(self.store.read_arm(path.parent.name).items()))

    def _encoder_weights(self, path: Path) -> str:
        sha256 = self.store.read_arm(path.parent.name)["encoder_sha256"]
        return digest(*models.trained_encoder(path.parent, sha256).state_dict().values())

    def _encoder_json(self, path: Path) -> str:
        return digest(*models.load_encoder(path.parent).state_dict().values())

    def _text_tower(self, path: Path) -> str:
        tower = load_text(path.parent)
        return digest(tower.embed(["red", "blue"]), tower.logit_scale)

    def _curves(self, path: Path) -> str:
        return digest(self.store.arm_file(path.parent.name, path.name))

    def _labels(self, path: Path) -> str:
        return digest(self.store.read_labels(path.parent.name, 60))

    def _checkpoint_tensors(self, path: Path) -> str:
        found = checkpoint.latest(path.parent)
        if found is None:
            raise InputError(f"{path.parent}: there is no whole checkpoint")
        step, tensors, meta = found
        newest = max(path.parent.glob("step-*.json")).stem == f"step-{step:010d}"
        names = sorted(tensors)
        held = digest(step, names, *(tensors[name] for name in names), sorted(meta.items()))
        if not newest:
            digests.tell(f"step {step}")
        return held if newest else self.before(path.parent)

    _checkpoint_records = _checkpoint_tensors

    def before(self, folder: Path) -> str:
        """The answer of the newest one: a run from the one before ends with the same bits, which
        the runs show.
        """
        return ANSWERS[folder]

    def _pixels(self, path: Path) -> str:
        name = "photos" if path.parent.name.startswith(self._fingerprint("photos")) else "other"
        source, positions = self.plan.sources[name], self._used(name)
        built = PixelCache.build(
            source, positions, SIDE, path.parent, fingerprint=source.fingerprint(positions)
        )
        return digest(*built.gather(np.arange(len(positions))))

    _pixel_indexes = _pixels

    def _used(self, name: str) -> Any:
        return np.arange(len(self.plan.sources[name].table))

    def _fingerprint(self, name: str) -> str:
        return self.plan.sources[name].fingerprint(self._used(name))

    def _byte_hashes(self, path: Path) -> str:
        made = Plan.make(self.bench.study, data_root=self.bench.root, cache=self.store.cache)
        return digest(
            sorted(arm.id for arm in made.every_arm), sorted(cell.id for cell in made.cells)
        )

    def _features(self, path: Path) -> str:
        about = digests.read_record(self.bench.store / path.parent.relative_to(self.store.root)
                                    / "features.json")  # fmt: skip
        try:
            return digest(kept._opened(path.parent, tuple(about["shape"])))
        except (OSError, ValueError) as error:
            digests.tell(str(error))
            return digest(
                kept._opened(
                    self.bench.store / path.parent.relative_to(self.store.root),
                    tuple(about["shape"]),
                )
            )

    def _copies_found(self, path: Path) -> str:
        whole = self.bench.store / path.parent.relative_to(self.store.root)
        try:
            found = digests.reading(lambda: leaks._read(path.parent))
        except (OSError, ValueError) as error:
            digests.tell(str(error))
            found = leaks._read(whole)
        return digest(found.test_row, found.source_row, found.similarity, found.window)

    def _mark_of_the_store(self, path: Path) -> str:
        return digest(str(Store(path.parent).root))


ANSWERS: dict[Path, str] = {}


# flips
def flip(path: Path, random: np.random.Generator) -> None:
    """One bit of a file becomes the other."""
    data = bytearray(path.read_bytes())
    bit = int(random.integers(8 * len(data)))
    data[bit // 8] ^= 1 << bit % 8
    path.write_bytes(data)


@contextmanager
def listening() -> Iterator[Told]:
    told, logger = Told(), logging.getLogger("headwater")
    logger.addHandler(told)
    try:
        yield told
    finally:
        logger.removeHandler(told)


def outcome(answer: Callable[[], str], expected: str) -> str:
    with listening() as told:
        try:
            same = answer() == expected
        except InputError:
            return "refused"
    if same:
        return "healed" if told.lines else "no change"
    return "silent"


def after_a_run(bench: Bench, store: Path) -> str:
    """What a whole run of the study says, in words that can be compared."""
    rows = bench.run(store)
    failed = rows[rows["status"] == "failed"]
    if len(failed):
        raise InputError(str(failed["reason"].iloc[0]))
    opened = Store(store)
    found = {arm: opened.read_arm(arm)["encoder_sha256"] for arm in bench.encoders}
    same = comparable(rows).equals(bench.rows) and found == bench.encoders
    return "as it was" if same else "another"


def flips(page: Page, bench: Bench, number: int, runs: int, seed: int) -> None:
    random = np.random.default_rng(seed)
    copy = bench.root / "copy"
    shutil.copytree(bench.store, copy)
    plan = Plan.make(bench.study, data_root=bench.root, cache=Store(copy).cache)
    readers = Readers(bench, plan, Store(copy))
    paths = {kind: sorted(copy.glob(pattern)) for kind, pattern in KINDS.items()}
    assert all(paths.values()), {kind for kind, found in paths.items() if not found}
    before: dict[Path, str] = {}
    for kind, found in paths.items():
        for path in found:
            before[path] = readers.read(kind, path)
            if kind.startswith("checkpoint"):
                ANSWERS[path.parent] = before[path]
    by_reader = {kind: Counter[str]() for kind in KINDS}
    by_run = {kind: Counter[str]() for kind in KINDS}
    every = max(1, number // runs) if runs else number + 1
    for at in range(number):
        kind = list(KINDS)[at % len(KINDS)]
        path = paths[kind][int(random.integers(len(paths[kind])))]
        if at // len(KINDS) % every == 0:
            work = bench.root / "run"
            shutil.copytree(bench.store, work)
            flip(work / path.relative_to(copy), random)
            found_now = outcome(lambda work=work: after_a_run(bench, work), "as it was")
            by_run[kind][found_now] += 1
            shutil.rmtree(work)
        else:
            whole = path.parent if path.parent != copy else path
            flip(path, random)
            found_now = outcome(lambda: readers.read(kind, path), before[path])
            by_reader[kind][found_now] += 1
            restore(bench.store / whole.relative_to(copy), whole)
        if found_now == "silent":
            print(f"silent: {kind}, {path.relative_to(copy)}, flip {at}", flush=True)
    report(page, paths, by_reader, by_run)


def restore(whole: Path, to: Path) -> None:
    """A file, or the files of a folder, as they were."""
    if whole.is_file():
        shutil.copy2(whole, to)
        return
    for path in to.iterdir():
        if path.is_file():
            path.unlink()
    shutil.copytree(whole, to, dirs_exist_ok=True)


WORDS = ("healed", "refused", "no change", "silent")


def report(
    page: Page,
    paths: dict[str, list[Path]],
    by_reader: dict[str, Counter[str]],
    by_run: dict[str, Counter[str]],
) -> None:
    total = Counter[str]()
    body = []
    for kind, found in paths.items():
        counts = [by_run[kind][word] for word in WORDS] + [by_reader[kind][word] for word in WORDS]
        total.update(by_run[kind])
        total.update(by_reader[kind])
        body.append([kind, str(len(found)), *map(str, counts)])
    ran = sum(sum(found.values()) for found in by_run.values())
    page.say(
        "## Flips",
        "",
        f"{sum(total.values()):,} flips, {ran:,} of them followed by a whole run of the study, the "
        f"others by who reads that kind: {total['healed']:,} healed and told, "
        f"{total['refused']:,} refused, {total['no change']:,} without an effect, "
        f"**{total['silent']:,} silent**.",
        "",
    )
    head = ["kind", "files", *(f"run: {word}" for word in WORDS), *(f"read: {w}" for w in WORDS)]
    page.say(*table(head, body), "")
    page.limit("no silent difference", total["silent"] == 0)


# cost
class Clock:
    """Seconds within some functions; what they call of each other counts once."""

    def __init__(self) -> None:
        self.seconds, self._depth = 0.0, 0

    def timed(self, function: Callable[..., Any]) -> Callable[..., Any]:
        def call(*args: Any, **named: Any) -> Any:
            self._depth += 1
            began = time.perf_counter()
            try:
                return function(*args, **named)
            finally:
                self._depth -= 1
                if not self._depth:
                    self.seconds += time.perf_counter() - began

        return call


CHECKS: tuple[tuple[Any, str, Any], ...] = (
    (digests, "record_digest", "0" * 64),
    (digests, "_check_trailer", None),
    (chunks.Chunks, "check", None),
    (chunks.ChunkHashes, "add", None),
    (kept, "_digest", "0" * 32),
    (models, "file_sha256", "0" * 64),
    (Store, "write_record", None),
)
"""What digests, and what it answers where it is switched off; a digest that is always the same is
written, and is found. `write_record` writes arm.json, so it is timed and never switched off.
"""


@contextmanager
def patched(replace: Callable[[Any, str, Any, Any], Any]) -> Iterator[None]:
    before = [(owner, name, owner.__dict__[name]) for owner, name, _ in CHECKS]
    for owner, name, answer in CHECKS:
        setattr(owner, name, replace(owner, name, getattr(owner, name), answer))
    try:
        yield
    finally:
        for owner, name, function in before:
            setattr(owner, name, function)


def cost(page: Page, folder: Path, repeats: int) -> None:
    """Two studies of the generated world: one as people run them, and one that trains nothing, so
    that all it does is to decode, to read and to fit probes.
    """
    world = {"kind": "world", "families": 4, "species": 4}
    common = {
        "data": {
            "paint": {**world, "train": 4000, "val": 0, "test": 0},
            "sketch": {**world, "domain": "sketch", "train": 2000, "val": 400, "test": 800},
        },
        "sources": ["paint"],
        "labels": ["level:0"],
        "seeds": 1,
        "tasks": {"sketch": {"data": "sketch"}},
        "protocols": {"probe": {"shots": ["full", 5], "draws": 2}},
    }
    studies = {
        "supervised and SimCLR, 200 steps of 128": {
            "methods": ["supervised", "simclr"],
            "budget": {"steps": 200},
            "recipe": {"batch": 128},
        },
        "no training: features and probes": {"methods": ["scratch"], "budget": {"steps": 1}},
    }
    body = []
    for name, words in studies.items():
        study = Study.model_validate({"study": "cost", **common, **words})
        checked, without, shares = [], [], []
        for at in range(repeats):
            clock = Clock()

            def timed(
                owner: Any, name: str, function: Any, answer: Any, clock: Clock = clock
            ) -> Any:
                made = clock.timed(function)
                return staticmethod(made) if name == "write_record" else made

            with patched(timed):
                checked.append(seconds_of(study, folder / f"checked-{at}"))
            shares.append(clock.seconds / checked[-1])

            def off(owner: Any, name: str, function: Any, answer: Any) -> Any:
                if name == "write_record":
                    return staticmethod(function)
                return lambda *args, **named: answer

            with patched(off):
                without.append(seconds_of(study, folder / f"without-{at}", compare=False))
        share = float(np.median(shares))
        ratio = float(np.median(checked) / np.median(without))
        body.append([name, f"{np.median(checked):.1f}", f"{100 * share:.2f} %", f"{ratio:.3f}"])
        page.limit(f"{name}: checking takes at most {100 * LIMIT:.0f} %", share <= LIMIT)
    head = ["study", "seconds", "of them in digests", "time with checks to without"]
    page.say("## Cost", "", f"Medians of {repeats} runs each, in turn.", "", *table(head, body), "")


def seconds_of(study: Study, store: Path, *, compare: bool = True) -> float:
    began = time.perf_counter()
    try:
        hw.run(study, store=store, device="cpu", engine="inline")
    except InputError:
        if compare:
            raise
    took = time.perf_counter() - began
    shutil.rmtree(store)
    return took


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--flips", type=int, default=2000)
    parser.add_argument("--runs", type=int, default=400)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=("flips", "cost"), default=("flips", "cost"))
    parser.add_argument("--write", action="store_true", help="write benchmarks/bit_flips.md")
    given = parser.parse_args()
    torch.set_num_threads(1)
    page = Page()
    page.say(
        "# Flipped bits of a store, and what checking costs",
        "",
        f"`python benchmarks/bit_flips.py --flips {given.flips} --runs {given.runs} "
        f"--seed {given.seed} --write`: what is flipped, and what the words mean, stands in the "
        "script.",
        "",
    )
    with tempfile.TemporaryDirectory(prefix="bit-flips-") as name:
        if "flips" in given.only:
            flips(page, prepared(Path(name)), given.flips, given.runs, given.seed)
        if "cost" in given.only:
            cost(page, Path(name), given.repeats)
    page.say(f"Limits missed: {len(page.missed)}.", *(f"- {missed}" for missed in page.missed))
    if given.write:
        (HERE / "bit_flips.md").write_text("\n".join(page.lines) + "\n", encoding="utf-8")
    return int(bool(page.missed))


if __name__ == "__main__":
    sys.exit(main())
