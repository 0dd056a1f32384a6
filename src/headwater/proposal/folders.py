"""What one folder holds that a study could use."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from headwater.errors import InputError
from headwater.labels import label_view
from headwater.labels.tokens import words_of
from headwater.sources import Positions, Source, open_source
from headwater.sources.looking import Looked, Looking, look, named
from headwater.sources.opening import near_folder
from headwater.sources.published import PUBLISHED, on_disk
from headwater.sources.row_files import listed_below
from headwater.sources.shards import holds_shards
from headwater.study import Study
from headwater.study.data import Data

CAPTION_FIELDS = (
    *("captions", "caption", "text", "texts", "sentence", "sentences", "description"),
    *("descriptions", "alt_text", "alt", "title"),
)
"""Text fields that are taken for captions, the likeliest first [ours]. Others can be a file's name
or a licence: they are named to the reader.
"""
TORCHVISION_FOLDERS = {
    "country211": "Country211",
    "fgvc-aircraft-2013b": "FGVCAircraft",
    "FashionMNIST": "FashionMNIST",
    "flowers-102": "Flowers102",
    "food-101": "Food101",
    "KMNIST": "KMNIST",
    "MNIST": "MNIST",
    "oxford-iiit-pet": "OxfordIIITPet",
    "rendered-sst2": "RenderedSST2",
    "stanford_cars": "StanfordCars",
    "stl10_binary": "STL10",
    "SUN397": "SUN397",
}
"""Folders that torchvision's classes keep their files in, below the root that they are given."""
MOST_OPENED = 50_000
"""Images of a folder that are opened to see whether they can be read; of more, so many that are
spread over all (about 15 seconds) [ours].
"""
_UNOPENED_BAD = 0.01
"""Of a folder that was not opened whole: what may be broken besides twice what was found [ours]."""
MOST_LEFT_OUT = 0.2
"""Of the images of a folder: where more cannot be read it is hardly the folder that was meant
[ours].
"""
_FEW_IMAGES = 5
"""Images that the median class of a label view has at least, to be worth an arm [ours]."""


@dataclass(frozen=True)
class Level:
    """A level of labels."""

    view: str
    """`level:0` is the finest."""
    classes: int
    fewest: int
    """Images of the smallest class."""
    median: float

    @property
    def worth_an_arm(self) -> bool:
        return self.classes > 1 and self.median >= _FEW_IMAGES


@dataclass(frozen=True)
class Seen:
    """What was seen of a folder."""

    name: str
    """What the study calls it."""
    path: Path
    words: Mapping[str, Any]
    """Its `data:` entry."""
    source: Source
    looked: Looked
    opened: int
    """Images that were opened, which are all unless it has very many."""
    captions: str | None
    """The text field that holds captions; None where there is none."""
    texts: tuple[str, ...]
    """All text fields."""
    notes: tuple[str, ...] = ()

    @property
    def sound(self) -> Positions:
        """Images that can be read, ascending."""
        bad = np.fromiter(self.looked.bad, dtype=np.int64)
        return np.setdiff1d(np.arange(len(self.source.table), dtype=np.int64), bad)

    @property
    def bad_share(self) -> float:
        """Of its images: those that cannot be read, with a margin where not all were opened."""
        share = len(self.looked.bad) / max(1, self.opened)
        return share if self.opened == len(self.source.table) else 2 * share + _UNOPENED_BAD

    @property
    def opening(self) -> str | None:
        """A sentence, where not all images were opened."""
        if self.opened == len(self.source.table):
            return None
        return (
            f"{self.name}: {self.opened:,} of its {len(self.source.table):,} images were opened; "
            "`headwater run` opens all and leaves out what cannot be read"
        )

    @property
    def splits(self) -> dict[str, int]:
        """Images of each split that has one; '' are those of none."""
        values = self.source.table.splits["split"]
        counts = {split: int((values == split).sum()) for split in ("train", "val", "test", "")}
        return {split: count for split, count in counts.items() if count}

    @property
    def pretrain_splits(self) -> tuple[str, ...]:
        """Train, or all that there are where there is no train."""
        return ("train",) if "train" in self.splits else tuple(filter(None, self.splits))

    @property
    def train(self) -> Positions:
        """Images that would be pre-trained on, ascending: those that can be read."""
        splits = self.source.table.splits["split"]
        return self.sound[np.isin(splits[self.sound], self.pretrain_splits)]

    @property
    def levels(self) -> tuple[Level, ...]:
        """Coarsest first, of the images that would be pre-trained on."""
        return _levels(self.source, self.train)


@dataclass
class Opener:
    """Opens folders, each once, under names that differ."""

    cache: Path | None = None
    """Where hashes of bytes and verdicts on images are kept."""
    looking: Looking = field(default_factory=lambda: Looking(most=None))
    _seen: dict[Path, Seen] = field(default_factory=dict)

    def __call__(self, path: Path) -> Seen:
        """Raises InputError for a folder that cannot be read, or of which too much cannot."""
        there = path.expanduser().resolve()
        if there not in self._seen:
            if not there.is_dir():
                raise InputError(_no_folder(path))
            name = _free_name(there.name, [seen.name for seen in self._seen.values()])
            self._seen[there] = self._look(name, there)
        return self._seen[there]

    def _look(self, name: str, path: Path) -> Seen:
        words, source = opened(name, path, self.cache)
        every = np.arange(len(source.table), dtype=np.int64)
        some = every
        if len(every) > MOST_OPENED:  # spread over all, whatever their order
            some = every[np.linspace(0, len(every) - 1, MOST_OPENED).astype(np.int64)]
        looked = look(source, some, 32, self.looking)
        if len(looked.bad) > MOST_LEFT_OUT * len(some):
            raise InputError(
                f"{path}: {len(looked.bad):,} of {len(some):,} images that were opened cannot be "
                f"read ({named(source, looked)}); mend the folder, or name another one"
            )
        sound = np.setdiff1d(every, np.fromiter(looked.bad, dtype=np.int64))
        captions = _caption_field(source, sound)
        return Seen(
            name,
            path,
            words,
            source,
            looked,
            len(some),
            captions,
            tuple(source.table.texts),
            tuple(_text_notes(source, captions)),
        )


def opened(name: str, path: Path, cache: Path | None) -> tuple[dict[str, Any], Source]:
    """The `data:` entry that reads a folder, and the source that it gives: a published set, a
    folder of images, a folder of Parquet files, or one of torchvision's sets.

    Raises InputError where it is none of them, as a folder of images says it.
    """
    for entry in PUBLISHED.values():
        if on_disk(entry, path):
            words = {"kind": "published", "name": entry.name, "path": str(path)}
            try:
                return words, _open(name, words, cache)
            except InputError:  # a folder of another set that is called alike
                continue
    of_torchvision = _torchvision(path)
    if of_torchvision is not None:
        with suppress(InputError):  # a folder of images that is called alike
            return of_torchvision, _open(name, of_torchvision, cache)
    words = {"kind": "folder", "path": str(path)}
    try:
        return words, _open(name, words, cache)
    except InputError as as_folder:
        if holds_shards(path):
            words = {"kind": "shards", "path": str(path)}
            return words, _open(name, words, cache)
        for kind, ending in (("parquet", ".parquet"), ("huggingface", ".arrow")):
            if not listed_below(path, ending):
                continue
            words = {"kind": kind, "path": str(path)}
            with suppress(InputError):  # a table of something else, beside images
                return words, _open(name, words, cache)
        raise as_folder from None


def _open(name: str, words: Mapping[str, Any], cache: Path | None) -> Source:
    return open_source(name, _parsed(name, words), data_root=None, cache=cache)


def _parsed(name: str, words: Mapping[str, Any]) -> Data:
    study = {
        "study": "folders",
        "data": {name: dict(words)},
        "methods": ["scratch"],
        "budget": {"steps": 1},
        "tasks": {name: {"data": name}},
    }
    return Study(**study).data[name]


def _torchvision(path: Path) -> dict[str, Any] | None:
    """The entry of one of torchvision's sets that a folder is, or holds; None of none."""
    for folder, dataset in TORCHVISION_FOLDERS.items():
        root = path.parent if path.name == folder else path
        if (root / folder).is_dir():
            return {"kind": "torchvision", "name": dataset, "path": str(root)}
    return None


def _levels(source: Source, positions: Positions) -> tuple[Level, ...]:
    """The levels of a source's table that tell some images apart, coarsest first."""
    levels: list[Level] = []
    if not len(positions):
        return ()
    for number in reversed(range(len(source.table.levels))):
        view = f"level:{number}"
        try:
            targets = label_view(view, source.table, positions, 0, source.name)
        except InputError:  # a level without a class
            continue
        if not targets.single:
            continue
        counts = np.bincount(targets.indices, minlength=targets.num_classes)
        level = Level(view, targets.num_classes, int(counts.min()), float(np.median(counts)))
        if level.classes > 1 and (not levels or level.classes != levels[-1].classes):
            levels.append(level)
    return tuple(levels)


def _caption_field(source: Source, positions: Positions) -> str | None:
    """The text field that is likeliest to hold captions, of which every image has one."""
    called = {name.casefold(): name for name in source.table.texts}
    for wanted in CAPTION_FIELDS:
        name = called.get(wanted)
        if name is not None and all(map(_says, source.table.texts[name][positions].tolist())):
            return name
    return None


def _says(texts: Sequence[str]) -> bool:
    """Whether one of an image's texts has a word in it."""
    return any(words_of(text) for text in texts)


def _text_notes(source: Source, captions: str | None) -> list[str]:
    named = [name for name in source.table.texts if name.casefold() in CAPTION_FIELDS]
    if captions is None and named:
        return [f"{' and '.join(named)} could be captions, but some images have none"]
    return []


def _free_name(folder: str, taken: Sequence[str]) -> str:
    """A name of the study's words for a folder."""
    name = re.sub(r"[^A-Za-z0-9._-]+", "-", folder).strip("-._")[:48] or "images"
    free, number = name, 2
    while free in taken:
        free, number = f"{name}-{number}", number + 1
    return free


def _no_folder(path: Path) -> str:
    if path.exists():
        return f"{path} is no folder; name the folder that holds the images"
    near = near_folder(path.expanduser())
    return f"{path}: there is no such folder" + (f"; did you mean {near}?" if near else "")
