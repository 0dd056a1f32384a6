"""What the readers of published sets share: the request, text files, class folders, and the check
against the published sizes.
"""

from __future__ import annotations

import json
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Source
from headwater.sources.files import FileSource
from headwater.sources.formats import is_image
from headwater.sources.published.registry import Published
from headwater.sources.tables import Listing

if TYPE_CHECKING:
    from headwater.sources.kinds.published import PublishedData

Objects = NDArray[np.object_]
MAX_JSON_BYTES = 1 << 31
"""2 GiB: above any annotation file here, and the longest that is parsed in one piece [ours]."""


@dataclass(frozen=True)
class Request:
    """What a reader is asked for."""

    name: str
    """How messages call the source."""
    entry: Published
    words: PublishedData
    base: Path
    """The folder that holds the set's files."""
    cache: Path | None
    """Where hashes of bytes are kept."""

    def source(
        self,
        listing: Listing,
        *,
        root: Path | None = None,
        listed: Mapping[str, int] | None = None,
        classes: int | None = None,
        notes: Sequence[str] = (),
    ) -> FileSource:
        """The source of listed files, after the check of its sizes.

        `listed` (images per split) and `classes` are what the release's own lists hold, where that
        is more than the table has.
        """
        counts = dict(listed) if listed is not None else split_counts(listing.table.splits["split"])
        self.check(
            counts, len(set(listing.table.levels[0].tolist())) if classes is None else classes
        )
        source = FileSource(self.name, root or self.base, listing, fingerprint_cache=self.cache)
        source.notes = tuple(notes)
        return source

    def check(self, counts: Mapping[str, int], classes: int) -> None:
        """Raises InputError where the numbers of images or classes are not the published ones,
        unless the study says `check_sizes: false`.
        """
        if not self.words.check_sizes:
            return
        override = (
            "repair or replace it, or set `check_sizes: false` on this data entry for a "
            "deliberate subset"
        )
        for split, expected in self.entry.sizes_of(self.words.split).items():
            if counts.get(split, 0) != expected:
                found = (
                    f"{counts.get(split, 0):,} {split} images where {self.entry.title} has "
                    f"{expected:,}"
                )
                raise InputError(f"{self.name}: {self.base} holds {found}; {override}")
        if classes != self.entry.classes:
            raise InputError(
                f"{self.name}: {self.base} holds {classes:,} classes where {self.entry.title} has "
                f"{self.entry.classes:,}; {override}"
            )


def split_counts(column: Objects) -> dict[str, int]:
    """Images per split of a split column."""
    return {split: int((column == split).sum()) for split in ("train", "val", "test")}


def text_lines(path: Path) -> list[tuple[int, str]]:
    """(line number, text) of the lines that are not blank.

    Raises InputError for a file that is missing, empty or not UTF-8.
    """
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); get the file from the set's authors"
        ) from None
    except UnicodeDecodeError:
        raise InputError(
            f"{path}: this is not UTF-8 text; get the file again from the set's authors"
        ) from None
    lines = [
        (number, line.strip())
        for number, line in enumerate(text.splitlines(), start=1)
        if line.strip()
    ]
    if not lines:
        raise InputError(f"{path}: the file is empty; get it again from the set's authors")
    return lines


def json_object(path: Path) -> dict[str, Any]:
    """The object of a JSON file.

    Raises InputError for a file that is missing, larger than 2 GiB, or no JSON object.
    """
    try:
        if path.stat().st_size > MAX_JSON_BYTES:
            raise InputError(
                f"{path}: is larger than {MAX_JSON_BYTES >> 30} GiB, which no annotation file here "
                "should be"
            )
        value = json.loads(path.read_bytes())
    except OSError as error:
        raise InputError(
            f"{path}: cannot be read ({error.strerror}); get the file from the set's authors"
        ) from None
    except (ValueError, RecursionError) as error:
        # no JSON, no UTF-8, a number of thousands of digits
        raise InputError(
            f"{path}: this is no JSON ({error}); get the file again from the set's authors"
        ) from None
    if not isinstance(value, dict):
        raise InputError(
            f"{path}: this is no JSON object; get the file again from the set's authors"
        )
    return value


def class_folders(root: Path) -> tuple[list[str], list[str]]:
    """(paths `class/file`, class of each) of the images in the class folders of `root`, in sorted
    order.

    Hidden entries and files that are no images by their suffix are passed over. Raises InputError
    for a class folder that is a link, cannot be read or holds no image, and where there is none.
    """
    paths: list[str] = []
    classes: list[str] = []
    try:
        folders = sorted(
            (
                entry
                for entry in os.scandir(root)
                if entry.is_dir() and not entry.name.startswith(".")
            ),
            key=lambda entry: entry.name,
        )
        for folder in folders:
            if folder.is_symlink():
                raise InputError(
                    f"{root}: {folder.name!r} is a link to a folder; put the images there"
                )
            files = sorted(
                name
                for name in os.listdir(folder.path)
                if not name.startswith(".") and is_image(name)
            )
            if not files:
                raise InputError(
                    f"{root}: the class folder {folder.name!r} holds no image; get the set again, "
                    "or remove the folder"
                )
            paths.extend(f"{folder.name}/{file}" for file in files)
            classes.extend([folder.name] * len(files))
    except OSError as error:
        raise InputError(f"{root}: cannot be read ({error.strerror})") from None
    if not paths:
        raise InputError(
            f"{root}: there is no class folder with images; expected is one folder a class"
        )
    for path in paths:
        if any("\ud800" <= letter <= "\udfff" for letter in path):
            raise InputError(
                f"{root}: the name of the file {path.encode(errors='backslashreplace').decode()!r} "
                "is not UTF-8; rename it"
            )
    return paths, classes


def strings(values: Sequence[str]) -> Any:
    """A pyarrow array of large_string.

    Raises InputError for a text that is no Unicode (half of a surrogate pair, as JSON can hold).
    """
    try:
        return pa.array(values, pa.large_string())
    except UnicodeEncodeError as error:
        raise InputError(
            f"the name {error.object!r} in the lists of the set is no Unicode text; get them again "
            "from the set's authors"
        ) from None


def objects(values: Sequence[str]) -> Objects:
    """An object array [n] of str; equal values share one str."""
    known: dict[str, str] = {}
    strings(sorted(set(values)))
    return np.fromiter(
        (known.setdefault(value, value) for value in values), dtype=object, count=len(values)
    )


def one_to_one(pairs: Mapping[int, str], number: int, name: str, where: str) -> None:
    """Raises InputError where `number` means another class than `name` in `pairs` (an index that
    means two classes mixes up two splits).
    """
    if pairs.get(number, name) != name:
        raise InputError(
            f"{where}: class {number} is {name!r} here and {pairs[number]!r} elsewhere; the split "
            "files do not belong together"
        )


__all__ = [
    "Request",
    "Source",
    "class_folders",
    "json_object",
    "objects",
    "one_to_one",
    "split_counts",
    "strings",
    "text_lines",
]
