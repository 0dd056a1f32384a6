"""Published data sets, read as their authors released them: nothing is converted, unpickled,
extracted or downloaded.

    registry.py    what is known of each: sizes, metric, licence, where to get it, prompts
    reading.py     what readers share: text files, class folders, the check of sizes

The other files are the readers: cifar, dtd, pets, domainnet, walked (class folders), cassava,
cameras, imagenet and inaturalist. A further set is an entry of the registry; where no reader fits
it, it is also one file here with a function `read(request)`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING

from headwater.errors import InputError
from headwater.sources import Source
from headwater.sources.published.registry import PUBLISHED, Published

if TYPE_CHECKING:
    from headwater.sources.kinds.published import PublishedData

__all__ = ["PUBLISHED", "Published", "on_disk", "read_published"]


def read_published(
    name: str, words: PublishedData, root: Path, cache: Path | None = None
) -> Source:
    """The source of a published set whose folder is `root`; `cache` is where hashes of its bytes
    are kept.

    Raises InputError where the folder has another layout, a file is damaged, or the numbers of
    images or classes are not the published ones.
    """
    from headwater.sources.published.reading import Request

    entry = PUBLISHED[words.name]
    reader = import_module(f"headwater.sources.published.{entry.reader}")
    source: Source = reader.read(Request(name, entry, words, _base(entry, root, name), cache))
    source.metric, source.templates = entry.metric, entry.templates
    return source


def on_disk(entry: Published, root: Path) -> bool:
    """Whether a folder looks like the set: the files by which it is known are there, in one of the
    usual places below it.
    """
    return _inside(entry, root) is not None


def _inside(entry: Published, root: Path) -> Path | None:
    """The first of the usual places below a folder that has all files by which the set is known."""
    for inside in entry.inside:
        if all((root / inside / mark).exists() for mark in entry.marks):
            return root / inside
    return None


def _base(entry: Published, root: Path, name: str) -> Path:
    """The folder in which the set's files are, which may be one or two below `root`, as archives
    leave it.
    """
    base = _inside(entry, root)
    if base is not None:
        return base
    if entry.refused is not None and any(
        (root / inside / entry.refused[0]).exists() for inside in ("", *entry.inside)
    ):
        raise InputError(f"{name}: {root} holds {entry.refused[0]!r}: {entry.refused[1]}")
    lacking = " or ".join(map(repr, entry.marks))
    raise InputError(
        f"{name}: {root} is not {entry.title} as published: it lacks {lacking}; expected are "
        f"{', '.join(entry.layout)}"
    )
