"""A store in the middle of a run that holds every kind of file, and who reads each kind: for
benchmarks/bit_flips.py.
"""

from __future__ import annotations

import contextlib
import hashlib
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from PIL import Image

import headwater as hw
from headwater import checkpoint, digests, models
from headwater.errors import InputError
from headwater.methods.text import load_text
from headwater.plan import EVERYTHING, Plan
from headwater.rows import comparable
from headwater.sources.pixels import PixelCache
from headwater.store import Store
from headwater.study import Study
from headwater.transfer import features as kept
from headwater.work import leaks

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
    for cell in plan.cells:
        if cell.arm.id == stopped.id:
            store.drop_cell(cell.id)

    def watch(event: Any) -> None:
        if event.kind == "progress":
            raise Stopped

    with contextlib.suppress(Stopped):
        hw.run(
            study,
            store=half,
            data_root=folder,
            device="cpu",
            engine="inline",
            checkpoint_every_s=-1,
            watch=watch,
        )
    for at, cell in enumerate(plan.cells):
        if at % 2 or cell.words.protocol == "zeroshot":
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
    "byte hashes": "cache/bytes-*.hashes",
    "images looked at": "cache/looked-*.hashes",
    "features": "cache/features/*/*",
    "copies found": "cache/leaks/*/*",
    "mark of the store": "headwater-store.json",
}


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
    newest: dict[Path, str]
    """What the newest whole checkpoint of a folder said."""

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
        # a run from the one before ends with the same bits, which the whole runs show
        return held if newest else self.newest[path.parent]

    _checkpoint_records = _checkpoint_tensors

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

    def _images_looked_at(self, path: Path) -> str:
        made = Plan.make(
            self.bench.study, data_root=self.bench.root, cache=self.store.cache, looking=EVERYTHING
        )
        return digest(made.notes, made.faults, sorted(cell.id for cell in made.cells))

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
