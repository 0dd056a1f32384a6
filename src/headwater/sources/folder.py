"""A folder of images: with a labels.csv, as an ImageFolder, or bare.

    root/labels.csv                 the csv says it all (tables.read_labels); paths are relative to root
    root/[train|val|test/]A/B/img   no csv: folders are classes
    root/img                        no csv, no folders: images without classes, enough for SimCLR

**Folders as classes.** Where every top folder that holds images is called train, val (valid, validation, dev) or test, these are the splits;
otherwise everything is train. Below that, level:0 (the finest) is the folder that holds the image, written with its parents (`A/B`), so
that no class is ever under two parents; each coarser level drops the last folder, up to the top one (`A`). Where folders differ in depth,
an image of a shallower one has its own folder as class on all the finer levels. An image beside class folders has no class ('').
With folders one deep this is torchvision's ImageFolder.

Files that are no images by their suffix are passed over, as are hidden ones; a class folder without a single image is an error. A
captions.jsonl in the root adds text fields in all three cases.

Files are not all looked for when a csv is opened, since that costs minutes at ten million rows on a network disk: a spread of 64 is, and
the rest when they are hashed, which happens before any training. A link that leads out of the root is refused when the file is opened.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from io import BufferedReader
from pathlib import Path

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Positions, Source, Table, natural_splits
from headwater.sources.hashes import ByteHashes
from headwater.sources.tables import Listing, canonical_ids, read_labels, with_captions

MAX_FILE_BYTES = 1 << 28
"""256 MiB: far above any photo, and a limit on what one file can take of memory [ours]."""
IMAGE_SUFFIXES = frozenset({".jpg", ".jpeg", ".png", ".webp", ".bmp", ".gif", ".tif", ".tiff"})
"""What counts as an image where a folder is walked; what a file really holds is decided by its bytes (pixels.FORMATS)."""
_SPOT_CHECKS = 64


class FolderSource(Source):
    """Images under one root folder; see the module for the three shapes. The table is read at once, images on demand.

    `fingerprint_cache` is a file in which hashes of the images' bytes are kept (by path, size and time of modification).
    Raises InputError where the folder, its labels.csv or its captions.jsonl cannot be used.
    """

    def __init__(self, name: str, root: Path, *, fingerprint_cache: Path | None = None) -> None:
        self.name = name
        if not root.is_dir():
            raise InputError(f"{name}: {root} is no folder")
        self.root = Path(os.path.realpath(root))
        labels, captions = root / "labels.csv", root / "captions.jsonl"
        listing = read_labels(labels) if labels.is_file() else _walked(root)
        self._listing = with_captions(listing, captions) if captions.is_file() else listing
        self.table: Table = self._listing.table
        self._inside: dict[str, bool] = {}
        self._hashes = ByteHashes(self.table.ids, self._open, self._stat, fingerprint_cache)
        for position in np.unique(np.linspace(0, len(self.table) - 1, _SPOT_CHECKS).astype(np.int64)).tolist():
            self._stat(position)

    def image(self, position: int) -> bytes:
        """The file's bytes. Raises InputError, naming the sample, where it is missing, unreadable or outside the root."""
        with self._open(position) as file:
            try:
                data = file.read(MAX_FILE_BYTES + 1)
            except OSError as error:
                raise self._unreadable(position, error) from None
        if len(data) > MAX_FILE_BYTES:
            raise InputError(f"{self.name}: the image {self.table.ids[position]!r} is larger than {MAX_FILE_BYTES >> 20} MiB, which no image here should be")
        return data

    def byte_hashes(self, positions: Positions) -> list[str]:
        """Hex BLAKE2b-128 of each file's bytes, in order; reads only files that are new or changed. InputError for a missing file."""
        return self._hashes(positions)

    def _open(self, position: int) -> BufferedReader:
        if not stat.S_ISREG(self._stat(position).st_mode):  # a pipe would be waited for without end
            raise InputError(f"{self.name}: the image {self.table.ids[position]!r} is no regular file (listed in {self._listing.where(position)})")
        try:
            return open(self._path(position), "rb")
        except OSError as error:
            raise self._unreadable(position, error) from None

    def _stat(self, position: int) -> os.stat_result:
        try:
            return os.stat(self._path(position))
        except OSError as error:
            raise self._unreadable(position, error) from None

    def _unreadable(self, position: int, error: OSError) -> InputError:
        reason = "there is no such file" if isinstance(error, FileNotFoundError) else error.strerror or str(error)
        return InputError(f"{self.name}: the image {self.table.ids[position]!r} cannot be read ({reason}; listed in {self._listing.where(position)})")

    def _path(self, position: int) -> str:
        """The file's path, checked to lie inside the root: its folder once, the file itself only where it is a link.

        A csv written on one system and images unpacked on another can differ in Unicode form: the path as written is tried, then its NFC.
        """
        written = os.path.join(self.root, self._listing.files[position])
        path = written if os.path.lexists(written) else os.path.join(self.root, self.table.ids[position])
        folder = os.path.dirname(path)
        if folder not in self._inside:
            self._inside[folder] = self._contains(folder)
        if not self._inside[folder] or (os.path.islink(path) and not self._contains(path)):
            where = self._listing.where(position)
            raise InputError(
                f"{self.name}: the image {self.table.ids[position]!r} is a link that leads out of {self.root} (listed in {where}); "
                "copy the file, or make the folder it leads to the root"
            )
        return path

    def _contains(self, path: str) -> bool:
        real = os.path.realpath(path)
        return real == str(self.root) or real.startswith(os.path.join(self.root, ""))


def _walked(root: Path) -> Listing:
    """The images below `root`, with classes and splits from the names of folders."""
    found, empty = _walk(root)
    if not found:
        raise InputError(f"{root}: there is no labels.csv and no image below it (images end in {' '.join(sorted(IMAGE_SUFFIXES))})")
    folders = [path.split("/")[:-1] for path in found]
    splits = _folder_splits({parts[0] if parts else "" for parts in folders})
    class_depth = 2 if splits else 1
    missing = [folder for folder in empty if folder.count("/") < class_depth] if any(folders) else []
    if missing:
        raise InputError(f"{root}: the folder {missing[0]!r} holds no image, so its class would be empty; remove it, or list the images in a labels.csv")
    for path in found:
        if not _is_text(path):
            raise InputError(f"{root}: the name of the file {path.encode(errors='backslashreplace').decode()!r} is not UTF-8; rename it")

    ids, order = canonical_ids(pa.array(found, pa.large_string()), lambda _: str(root))
    parts = [tuple(folders[row][1:] if splits else folders[row]) for row in order.tolist()]
    column = [splits[folders[row][0]] if splits else "train" for row in order.tolist()]
    table = Table(ids=ids.to_numpy(zero_copy_only=False), splits={"split": np.array(column, dtype=object)}, levels=_folder_levels(parts))
    return Listing(table=table, files=np.array(found, dtype=object)[order], where=lambda _: str(root))


def _walk(root: Path) -> tuple[list[str], list[str]]:
    """(relative paths of images, relative paths of folders with no image at any depth), both sorted."""
    images: list[str] = []
    folders: list[str] = []
    for prefix, entry in _entries(root):
        path = prefix + entry.name
        if entry.is_dir():
            if entry.is_symlink():
                raise InputError(f"{root}: {path!r} is a link to a folder; put the images there, or list their paths in a labels.csv")
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
    """(prefix, entry) of all that is not hidden, below `root`; links to folders are given but not entered."""
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(root / prefix) as entries:
                listed = [entry for entry in entries if not entry.name.startswith(".") and entry.name != "__MACOSX"]
        except OSError as error:
            raise InputError(f"{root / prefix}: the folder cannot be read ({error.strerror})") from None
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
    names = {folder: ["/".join(folder[:keep]) for keep in range(depth, 0, -1)] for folder in set(parts)}
    return tuple(np.array([names[folder][level] for folder in parts], dtype=object) for level in range(depth))


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
