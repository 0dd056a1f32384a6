"""A folder of images: with a labels.csv, as an ImageFolder, or bare.

    root/labels.csv                 the csv says it all (tables.read_labels); its paths are
                                    relative to root
    root/[train|val|test/]A/B/img   no csv: folders are classes
    root/img                        no csv, no folders: images without classes, enough for SimCLR

**Folders as classes.** Where every top folder that holds images is called train, val (valid,
validation, dev) or test, these are the splits; otherwise everything is train. Below that, level:0
(the finest) is the folder that holds the image, written with its parents (`A/B`), so that no class
is ever under two parents; each coarser level drops the last folder, up to the top one (`A`). Where
folders differ in depth, an image of a shallower one has its own folder as class on all the finer
levels. An image beside class folders has no class (''). With folders one deep this is torchvision's
ImageFolder.

Files that are no images by their suffix are passed over, as are hidden ones; a class folder without
a single image is an error. A captions.jsonl in the root adds text fields in all three cases.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Table, natural_splits
from headwater.sources.files import FileSource
from headwater.sources.tables import Listing, canonical_ids, read_labels, with_captions

IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
"""What counts as an image where a folder is walked; what a file really holds is decided by its
bytes (pixels.FORMATS).
"""


class FolderSource(FileSource):
    """Images under one root folder; see the module for the three shapes.

    The table is read at once, images on demand.

    `fingerprint_cache` is a file in which hashes of the images' bytes are kept (by path, size and
    time of modification). Raises InputError where the folder, its labels.csv or its captions.jsonl
    cannot be used.
    """

    def __init__(self, name: str, root: Path, *, fingerprint_cache: Path | None = None) -> None:
        if not root.is_dir():
            raise InputError(f"{name}: {root} is no folder")
        labels, captions = root / "labels.csv", root / "captions.jsonl"
        listing = read_labels(labels) if labels.is_file() else _walked(root)
        super().__init__(
            name,
            root,
            with_captions(listing, captions) if captions.is_file() else listing,
            fingerprint_cache=fingerprint_cache,
        )


def _walked(root: Path) -> Listing:
    """The images below `root`, with classes and splits from the names of folders."""
    images, empty = _walk(root)
    if not images:
        raise InputError(
            f"{root}: there is no labels.csv and no image below it (images end in "
            f"{' '.join(sorted(IMAGE_SUFFIXES))})"
        )
    folders = [path.split("/")[:-1] for path in images]
    splits = _folder_splits({parts[0] if parts else "" for parts in folders})
    class_depth = 2 if splits else 1
    missing = (
        [folder for folder in empty if folder.count("/") < class_depth] if any(folders) else []
    )
    if missing:
        raise InputError(
            f"{root}: the folder {missing[0]!r} holds no image, so its class would be empty; "
            "remove it, or list the images in a labels.csv"
        )
    for path in images:
        if not _is_text(path):
            raise InputError(
                f"{root}: the name of the file {path.encode(errors='backslashreplace').decode()!r} "
                "is not UTF-8; rename it"
            )

    ids, order = canonical_ids(pa.array(images, pa.large_string()), lambda _: str(root))
    parts = [tuple(folders[row][1:] if splits else folders[row]) for row in order.tolist()]
    column = [splits[folders[row][0]] if splits else "train" for row in order.tolist()]
    table = Table(
        ids=ids.to_numpy(zero_copy_only=False),
        splits={"split": np.array(column, dtype=object)},
        levels=_folder_levels(parts),
    )
    return Listing(
        table=table, files=np.array(images, dtype=object)[order], where=lambda _: str(root)
    )


def _walk(root: Path) -> tuple[list[str], list[str]]:
    """(relative paths of images, relative paths of folders with no image at any depth), both
    sorted.
    """
    images: list[str] = []
    folders: list[str] = []
    for prefix, entry in _entries(root):
        path = prefix + entry.name
        if entry.is_dir():
            if entry.is_symlink():
                raise InputError(
                    f"{root}: {path!r} is a link to a folder; put the images there, or list their "
                    "paths in a labels.csv"
                )
            folders.append(path)
        elif os.path.splitext(entry.name)[1].lower() in IMAGE_SUFFIXES:
            images.append(path)
    full: set[str] = set()
    for path in images:
        folder = path.rpartition("/")[0]
        while folder and folder not in full:
            full.add(folder)
            folder = folder.rpartition("/")[0]
    return sorted(images), sorted(set(folders) - full)


def _entries(root: Path) -> Iterator[tuple[str, os.DirEntry[str]]]:
    """(prefix, entry) of all that is not hidden, below `root`; links to folders are given but not
    entered.
    """
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(root / prefix) as entries:
                listed = [
                    entry
                    for entry in entries
                    if not entry.name.startswith(".") and entry.name != "__MACOSX"
                ]
        except OSError as error:
            raise InputError(
                f"{root / prefix}: the folder cannot be read ({error.strerror})"
            ) from None
        for entry in listed:
            yield prefix, entry
            if entry.is_dir(follow_symlinks=False):
                waiting.append(f"{prefix}{entry.name}/")


def _folder_splits(tops: set[str]) -> dict[str, str]:
    """Split by top folder where all of them are names of splits, otherwise nothing."""
    try:
        return {top: str(natural_splits([top], "")[0]) for top in tops} if "" not in tops else {}
    except InputError:
        return {}


def _folder_levels(parts: list[tuple[str, ...]]) -> tuple[NDArray[np.object_], ...]:
    """Class names, finest first, from each image's class folders (outermost first)."""
    depth = max(map(len, parts))
    names: dict[tuple[str, ...], list[str]] = {}
    for folder in set(parts):
        names[folder] = ["/".join(folder[:keep]) for keep in range(depth, 0, -1)]
    levels = []
    for level in range(depth):
        levels.append(np.array([names[folder][level] for folder in parts], dtype=object))
    return tuple(levels)


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
