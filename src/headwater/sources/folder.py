"""A folder of images: with a labels.csv, as a tree of folders, with metadata, or bare.

    root/labels.csv                 the csv says it all (tables.read_labels); its paths are
                                    relative to root
    root/[train|val|test/]A/B/img   no csv: folders are splits and classes (layouts)
    root/train/metadata.jsonl       Hugging Face's image folders: file_name, text, label
    root/img                        no csv, no folders: images without classes, enough for SimCLR

**Folders as classes.** Below the splits, level:0 (the finest) is the folder that holds the image,
written with its parents (`A/B`), so that no class is ever under two parents; each coarser level
drops the last folder, up to the top one (`A`). Where folders differ in depth, an image of a
shallower one has its own folder as class on all the finer levels. An image beside class folders has
no class (''). With folders one deep this is torchvision's ImageFolder.

Files that are no images by their ending are left out and counted in the source's notes; hidden ones
and folders of systems are passed over; a class folder without a single image is an error. A
captions.jsonl in the root adds text fields in all cases.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Table
from headwater.sources.class_names import alike_notes, class_name, merged_notes
from headwater.sources.files import FileSource
from headwater.sources.formats import IMAGE_SUFFIXES, counted, told_endings
from headwater.sources.layouts import Folder, Layout, Reading, read_layout
from headwater.sources.tables import Listing, canonical_ids, read_labels, with_captions
from headwater.sources.tables.metadata import with_metadata
from headwater.sources.walking import METADATA, Walk, walk


class FolderSource(FileSource):
    """Images under one root folder; see the module for its shapes.

    The table is read at once, images on demand. `layout` says how folders are read where that can
    be done in two ways, `follow_links` that links may leave the root.

    `fingerprint_cache` is a file in which hashes of the images' bytes are kept (by path, size and
    time of modification). Raises InputError where the folder or one of its tables cannot be used.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        *,
        layout: Layout | None = None,
        follow_links: bool = False,
        fingerprint_cache: Path | None = None,
    ) -> None:
        if not root.is_dir():
            raise InputError(f"{name}: {root} is no folder")
        labels, captions = root / "labels.csv", root / "captions.jsonl"
        if labels.is_file():
            listing = _listed(root, labels, layout)
        else:
            listing = _walked(root, layout, follow_links=follow_links)
        if captions.is_file():
            listing = with_captions(listing, captions)
        super().__init__(
            name,
            root,
            listing,
            follow_links=follow_links,
            fingerprint_cache=fingerprint_cache,
        )
        self.notes = listing.notes


def _listed(root: Path, labels: Path, layout: Layout | None) -> Listing:
    if layout is not None:
        raise InputError(
            f"{root}: layout is {layout}, but {labels.name} says what the images are; leave the "
            f"key out, or move {labels.name} away"
        )
    listing = read_labels(labels)
    beside = [name for name in METADATA if (root / name).is_file()]
    if not beside:
        return listing
    note = f"{beside[0]} is not read, since {labels.name} says what the images are"
    return replace(listing, notes=(*listing.notes, note))


def _walked(root: Path, layout: Layout | None, *, follow_links: bool) -> Listing:
    """The images below `root`, with classes and splits from the names of folders and from metadata
    beside them.
    """
    found = walk(root, follow_links=follow_links)
    if not found.images:
        left_out = found.unread_below("")
        beside = f"; {told_endings(left_out)} left out" if left_out else ""
        raise InputError(
            f"{root}: there is no labels.csv and no image below it (images end in "
            f"{' '.join(sorted(IMAGE_SUFFIXES))}{beside})"
        )
    _check_spellings(root, found.images)
    folders = [tuple(path.split("/")[:-1]) for path in found.images]
    reading = read_layout(Counter(folders), str(root), layout)
    kept = [at for at, folder in enumerate(folders) if folder in reading.meanings]
    images = [found.images[at] for at in kept]
    ids, order = canonical_ids(pa.array(images, pa.large_string()), lambda _: str(root))
    spelled: dict[str, str] = {}
    classes: dict[Folder, Folder] = {}
    for folder, meaning in reading.meanings.items():
        classes[folder] = tuple(_class(name, spelled, root) for name in meaning.classes)
    placed = [folders[kept[row]] for row in order.tolist()]
    table = Table(
        ids=ids.to_numpy(zero_copy_only=False),
        splits={
            "split": np.array([reading.meanings[folder].split for folder in placed], dtype=object)
        },
        levels=_folder_levels([classes[folder] for folder in placed]),
    )
    listing = Listing(
        table=table, files=np.array(images, dtype=object)[order], where=lambda _: str(root)
    )
    described = with_metadata(listing, root, found.metadata, layout)
    if described.table is listing.table:
        _check_empty(root, found, reading)
    return replace(
        described,
        notes=(
            *reading.notes(),
            *found.notes(),
            *described.notes,
            *_notes_on_strays(described.table is listing.table, listing),
            *merged_notes(spelled),
            *alike_notes(described.table.levels),
        ),
    )


def _notes_on_strays(by_folder: bool, listing: Listing) -> tuple[str, ...]:
    """Images that lie beside class folders, and so have no class."""
    levels = listing.table.levels
    strays = int((levels[0] == "").sum()) if by_folder and levels else 0
    if not strays:
        return ()
    return (f"without a class, since beside class folders: {counted(strays, 'image')}",)


def _class(name: str, spelled: dict[str, str], root: Path) -> str:
    """A class folder's name as it is used; `spelled` takes up how it was written."""
    if name not in spelled:
        spelled[name] = class_name(name, str(root))
        if not spelled[name]:
            raise InputError(f"{root}: the name of the folder {name!a} cannot be seen; rename it")
    return spelled[name]


def _check_empty(root: Path, found: Walk, reading: Reading) -> None:
    """Raises InputError for a class folder, or a split, without an image."""
    if reading.layout == "flat" or not any("/" in path for path in found.images):
        return
    depth = reading.depth
    around = {folder[:depth] for folder in reading.meanings}
    for folder in found.empty():
        parts = tuple(folder.split("/"))
        if reading.layout == "split/class":
            if parts[:depth] not in around or len(parts) not in (depth + 1, depth + 2):
                continue
            if not reading.is_split(parts[depth]):
                continue  # beside the splits, like a folder of documents
        elif len(parts) > 1:
            continue
        left_out = found.unread_below(folder)
        why = f" that is read ({told_endings(left_out)} left out)" if left_out else ""
        raise InputError(
            f"{root}: the folder {folder!r} holds no image{why}, so its class would be empty; "
            "remove it, or list the images in a labels.csv"
        )


def _check_spellings(root: Path, images: Sequence[str]) -> None:
    """Raises InputError where two files have one name once it is composed (NFC), by which samples
    are known.
    """
    if all(map(str.isascii, images)):
        return
    paths = pa.array(images, pa.large_string())
    composed = pc.utf8_normalize(paths, form="NFC").to_pylist()
    first: dict[str, str] = {}
    for written, name in zip(images, composed, strict=True):
        if name in first:
            raise InputError(
                f"{root}: {first[name]!a} and {written!a} are two files of one name, "
                "written with composed and with decomposed letters; rename one of them"
            )
        first[name] = written


def _folder_levels(parts: Sequence[Folder]) -> tuple[NDArray[np.object_], ...]:
    """Class names, finest first, from each image's class folders (outermost first)."""
    depth = max(map(len, parts))
    names: dict[Folder, list[str]] = {}
    for folder in set(parts):
        names[folder] = ["/".join(folder[:keep]) for keep in range(depth, 0, -1)]
    levels = []
    for level in range(depth):
        levels.append(np.array([names[folder][level] for folder in parts], dtype=object))
    return tuple(levels)
