"""Classification sets through torchvision's readers: those of its classes that neither unpickle nor
extract, and never download.

`READERS` is the allow-list, made by reading the code of torchvision 0.29; `REFUSED` says why others
are not on it. Where torchvision's reader knows its files, it gives only the list of (file, class),
and the files are opened as those of any folder; the few sets that it keeps as arrays give pixels.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Positions, Source, Table
from headwater.sources.files import FileSource
from headwater.sources.tables import listing_of


@dataclass(frozen=True)
class Reader:
    """How one of torchvision's classes is asked for its splits."""

    splits: Mapping[str, Mapping[str, Any]] = field(default_factory=lambda: {"train": {}})
    """Arguments for each of our splits; all is train where torchvision has no split."""
    pixels: bool = False
    """True where the set is an array in memory."""
    forbidden: str | None = None
    """A folder, relative to the root, whose presence makes torchvision's reader unpickle."""


def _named(**splits: str) -> Reader:
    return Reader({ours: {"split": theirs} for ours, theirs in splits.items()})


_OLD = {"train": {"train": True}, "test": {"train": False}}
READERS: dict[str, Reader] = {
    "Caltech101": Reader(),
    "Caltech256": Reader(),
    "Country211": _named(train="train", val="valid", test="test"),
    "DTD": _named(train="train", val="val", test="test"),
    "EuroSAT": Reader(),
    "FGVCAircraft": _named(train="train", val="val", test="test"),
    "FashionMNIST": Reader(_OLD, pixels=True, forbidden="FashionMNIST/processed"),
    "Flowers102": _named(train="train", val="val", test="test"),
    "Food101": _named(train="train", test="test"),
    "Imagenette": _named(train="train", test="val"),
    "KMNIST": Reader(_OLD, pixels=True, forbidden="KMNIST/processed"),
    "MNIST": Reader(_OLD, pixels=True, forbidden="MNIST/processed"),
    "OxfordIIITPet": _named(train="trainval", test="test"),
    "RenderedSST2": _named(train="train", val="val", test="test"),
    "STL10": Reader({"train": {"split": "train"}, "test": {"split": "test"}}, pixels=True),
    "SUN397": Reader(),
    "SVHN": Reader({"train": {"split": "train"}, "test": {"split": "test"}}, pixels=True),
    "StanfordCars": _named(train="train", test="test"),
    "USPS": Reader(_OLD, pixels=True),
}
REFUSED = {
    "CIFAR10": "its files are pickles; put the images in class folders (kind: folder)",
    "CIFAR100": "its files are pickles; use {kind: published, name: cifar100}, which reads the "
    "binary version",
    "EMNIST": "its reader is MNIST's, beside archives that it extracts; put the images in class "
    "folders (kind: folder)",
    "GTSRB": "its images are PPM, a format that is not opened here; convert them into class "
    "folders (kind: folder)",
    "ImageNet": "its reader extracts archives and loads a pickled list of classes; use {kind: "
    "published, name: imagenet1k}",
    "INaturalist": "its 2021 version has a reader of its own; use {kind: published, name: "
    "inat2021} or inat2021-mini",
    "Omniglot": "its reader is made for pairs of alphabets; put the images in class folders (kind: "
    "folder)",
    "PCAM": "it needs h5py, which is not among the dependencies; put the images in class folders "
    "(kind: folder)",
    "Places365": "its reader extracts archives beside its lists; put the images in class folders "
    "(kind: folder)",
    "FER2013": "its test images have no labels; put the images in class folders (kind: folder)",
    "QMNIST": "its reader loads a pickled copy; put the images in class folders (kind: folder)",
}


class ArraySource(Source):
    """Images that are an array in memory: uint8 [n, height, width, 3] per split.

    Ids are `train/000000`, ...
    """

    def __init__(
        self,
        name: str,
        pixels: Mapping[str, NDArray[np.uint8]],
        labels: Mapping[str, Sequence[str]],
    ) -> None:
        self.name = name
        order = sorted(pixels)
        self._pixels = [image for split in order for image in pixels[split]]
        ids = [f"{split}/{row:06d}" for split in order for row in range(len(pixels[split]))]
        splits = np.repeat(np.array(order, dtype=object), [len(pixels[split]) for split in order])
        classes = np.array([label for split in order for label in labels[split]], dtype=object)
        self.table = Table(
            ids=np.array(ids, dtype=object), splits={"split": splits}, levels=(classes,)
        )

    def image(self, position: int) -> NDArray[np.uint8]:
        """uint8 [height, width, 3], RGB."""
        return np.ascontiguousarray(self._pixels[position])

    def byte_hashes(self, positions: Positions) -> list[str]:
        """Hex BLAKE2b-128 of each image's pixels."""
        return [
            hashlib.blake2b(self.image(position).tobytes(), digest_size=16).hexdigest()
            for position in positions.tolist()
        ]


def read_torchvision(name: str, dataset: str, root: Path, cache: Path | None = None) -> Source:
    """The source of torchvision's class `dataset`, whose `root` argument is the folder.

    Nothing is downloaded.

    Raises InputError for a class that is not on the allow-list, with the reason where one is known,
    and where torchvision cannot read the folder.
    """
    reader = READERS.get(dataset)
    if reader is None:
        why = REFUSED.get(
            dataset,
            "it is not among the readers that were checked; put the images in class folders (kind: "
            "folder)",
        )
        raise InputError(
            f"{name}: torchvision's {dataset} is not read: {why}. Read are {', '.join(READERS)}"
        )
    if reader.forbidden is not None and (root / reader.forbidden).exists():
        raise InputError(
            f"{name}: {root / reader.forbidden} is an old pickled copy, which torchvision would "
            "load; remove that folder, raw/ is enough"
        )
    sets = {
        split: _made(name, dataset, root, dict(arguments))
        for split, arguments in reader.splits.items()
    }
    if reader.pixels:
        return ArraySource(
            name,
            {split: _pixels(made) for split, made in sets.items()},
            {split: _classes(made) for split, made in sets.items()},
        )
    files: list[str] = []
    splits: list[str] = []
    classes: list[str] = []
    for split, made in sets.items():
        paths = [os.path.relpath(file, root).replace(os.sep, "/") for file in _files(made)]
        files += paths
        splits += [split] * len(paths)
        classes += _classes(made)
    listing = listing_of(
        pa.array(files, pa.large_string()),
        lambda _: f"torchvision's {dataset} at {root}",
        split=np.array(splits, dtype=object),
        levels=(np.array(classes, dtype=object),),
    )
    return FileSource(name, root, listing, fingerprint_cache=cache)


def _made(name: str, dataset: str, root: Path, arguments: dict[str, Any]) -> Any:
    """One of torchvision's data sets.

    Some of its readers make folders that are missing, so a root without any is refused first.
    """
    import torchvision.datasets

    if dataset in ("Caltech101", "Caltech256") and not (root / dataset.lower()).is_dir():
        raise InputError(
            f"{name}: {root} has no folder {dataset.lower()!r}; `path` is what torchvision calls "
            "root, the folder above the set's own"
        )
    try:
        made = getattr(torchvision.datasets, dataset)(root=str(root), download=False, **arguments)
    except Exception as error:  # torchvision raises many kinds where a folder is unexpected
        reason = (str(error).splitlines() or [type(error).__name__])[0][:160].replace(
            "You can use download=True to download it", "Nothing is downloaded"
        )
        raise InputError(
            f"{name}: torchvision cannot read {dataset} below {root} ({reason}); `path` is the "
            "folder above the set's own"
        ) from None
    if not len(made):
        raise InputError(
            f"{name}: torchvision finds no image of {dataset} below {root}; `path` is the folder "
            "above the set's own"
        )
    return made


def _files(made: Any) -> list[str]:
    for attribute in ("_image_files", "_images"):
        if hasattr(made, attribute):
            return [str(file) for file in getattr(made, attribute)]
    for attribute in ("_samples", "samples"):
        if hasattr(made, attribute):
            return [str(file) for file, _ in getattr(made, attribute)]
    folder = (
        "101_ObjectCategories" if type(made).__name__ == "Caltech101" else "256_ObjectCategories"
    )
    digits = "image_{:04d}.jpg" if folder.startswith("101") else "{:03d}_{:04d}.jpg"
    paths = []
    for label, number in zip(made.y, made.index, strict=True):
        file = (
            digits.format(number) if folder.startswith("101") else digits.format(label + 1, number)
        )
        paths.append(os.path.join(made.root, folder, made.categories[label], file))
    return paths


def _labels(made: Any) -> list[int]:
    for attribute in ("_labels", "labels", "targets", "y"):
        if hasattr(made, attribute):
            return [int(label) for label in getattr(made, attribute)]
    return [
        int(label) for _, label in (made._samples if hasattr(made, "_samples") else made.samples)
    ]


def _classes(made: Any) -> list[str]:
    """Class names of the images; numbers where torchvision knows no names."""
    names = getattr(made, "classes", None) or getattr(made, "categories", None)
    labels = _labels(made)
    if not names:
        width = len(str(max(labels)))
        return [f"{label:0{width}d}" for label in labels]
    texts = [", ".join(name) if isinstance(name, tuple | list) else str(name) for name in names]
    return [texts[label] for label in labels]


def _pixels(made: Any) -> NDArray[np.uint8]:
    """uint8 [n, height, width, 3] of a set that is an array: grey is repeated, channels come
    last.
    """
    data = np.asarray(made.data)
    if data.ndim == 3:
        data = np.repeat(data[..., None], 3, axis=-1)
    elif data.shape[1] == 3 and data.shape[-1] != 3:
        data = data.transpose(0, 2, 3, 1)
    if data.dtype != np.uint8 or data.ndim != 4 or data.shape[-1] != 3:
        raise InputError(
            f"torchvision's {type(made).__name__}: pixels are {data.dtype} {list(data.shape)}, not "
            "uint8 images"
        )
    return data
