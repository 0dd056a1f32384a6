"""From the words of a study's `data:` entry to its source: where the folder is, which reader, which
hierarchy, which index file.
"""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path

from headwater.errors import InputError, blamed_on
from headwater.sources import Source
from headwater.study.data import (
    BUILT_IN_HIERARCHIES,
    Data,
    FolderData,
    PublishedData,
    TorchvisionData,
    WorldData,
)


def opened(name: str, words: Data, data_root: Path | None, cache: Path | None) -> Source:
    """The source that a `data:` entry means. Raises InputError where it cannot be found or read."""
    if isinstance(words, WorldData):
        from headwater.sources.world import WorldSource

        return WorldSource(name, words)
    root = folder_of(words, data_root, f"data.{name}")
    remembered = (
        cache / f"bytes-{hashlib.sha256(_cached_as(words, root).encode()).hexdigest()[:16]}.parquet"
        if cache
        else None
    )
    source = _read(name, words, root, remembered)
    if words.split_file is not None:
        from headwater.sources.tables import with_split_file

        with blamed_on("data", name, "split_file"):
            path = found_file(words.split_file, root, data_root, f"data.{name}.split_file")
            source.table = with_split_file(source.table, path)
    if not isinstance(words, TorchvisionData) and words.hierarchy is not None:
        with blamed_on("data", name, "hierarchy"):
            source.table = replace(
                source.table,
                hierarchy=_hierarchy(words.hierarchy, root, data_root, f"data.{name}.hierarchy"),
            )
    return source


def _read(
    name: str,
    words: FolderData | PublishedData | TorchvisionData,
    root: Path,
    remembered: Path | None,
) -> Source:
    if isinstance(words, FolderData):
        from headwater.sources.folder import FolderSource

        return FolderSource(name, root, fingerprint_cache=remembered)
    if isinstance(words, PublishedData):
        from headwater.sources.published import read_published

        return read_published(name, words, root, remembered)
    from headwater.sources.torchvision import read_torchvision

    return read_torchvision(name, words.name, root, remembered)


def _cached_as(words: FolderData | PublishedData | TorchvisionData, root: Path) -> str:
    """What a cache of hashes is named after: the ids of one folder differ by who read it."""
    real = str(root.resolve())
    return real if isinstance(words, FolderData) else f"{words.kind}:{words.name}:{real}"


def folder_of(
    words: FolderData | PublishedData | TorchvisionData, data_root: Path | None, where: str
) -> Path:
    """The folder that an entry names, which exists; InputError that says where to get it
    otherwise.
    """
    advice = "get the data (docs/data.md says where)"
    written = words.path
    if isinstance(words, PublishedData):
        from headwater.sources.published.registry import PUBLISHED

        entry = PUBLISHED[words.name]
        written = written or entry.folder
        advice = f"get {entry.title} from {entry.home}"
    assert written is not None
    try:
        root = Path(written).expanduser()
        (data_root or Path()).joinpath(root).is_dir()
    except (RuntimeError, OSError) as error:  # ~somebody, or a name that is too long
        raise InputError(f"{where}: the folder {written!r} cannot be found ({error})") from None
    if not root.is_absolute():
        if data_root is None:
            raise InputError(
                f"{where}: the folder {written!r} is looked for under the data root, and none is "
                f"given; {advice}, "
                "then name its folder with --data-root DIR or HEADWATER_DATA=DIR (or write an "
                "absolute path)"
            )
        root = data_root / root
    if not root.is_dir():
        raise InputError(
            f"{where}: there is no folder {str(root)!r}; {advice} and put it there, or name "
            "another data root (--data-root or HEADWATER_DATA)"
        )
    return root


def found_file(
    written: str, folder: Path, data_root: Path | None, where: str, more: str = ""
) -> Path:
    """A file that is named absolutely, in the data set's own folder, or under the data root.

    Raises InputError where there is none.
    """
    try:
        places = [
            base / Path(written).expanduser() for base in (folder, data_root) if base is not None
        ]
        for place in places:
            if place.exists():
                return place.resolve()
    except (RuntimeError, OSError) as error:  # ~somebody, or a name that is too long
        raise InputError(f"{where}: the file {written!r} cannot be found ({error})") from None
    raise InputError(
        f"{where}: there is no file {' nor '.join(repr(str(place)) for place in places)}{more}"
    )


def _hierarchy(written: str, folder: Path, data_root: Path | None, where: str) -> str:
    """The reference that is meant: one that is built in, or a file: absolute, in the data set's own
    folder, or under the data root; `#` and what follows it say how to read it.
    """
    if written in BUILT_IN_HIERARCHIES:
        return written
    name, mark, option = written.partition("#")
    return (
        str(
            found_file(
                name, folder, data_root, where, f"; built in are {', '.join(BUILT_IN_HIERARCHIES)}"
            )
        )
        + mark
        + option
    )
