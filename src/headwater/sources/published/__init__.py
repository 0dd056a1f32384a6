"""Published data sets, read as their authors released them: nothing is converted, unpickled,
extracted or downloaded.

    registry.py    what is known of each: sizes, metric, licence, where to get it, prompts
    reading.py     what readers share: text files, class folders, the check of sizes
    cifar.py dtd.py pets.py domainnet.py walked.py cassava.py cameras.py imagenet.py inaturalist.py    the readers

A further set is an entry of the registry, a name in headwater.study.data and, where no reader fits,
one file here with a function `read`.
"""

from __future__ import annotations

from importlib import import_module
from pathlib import Path

from headwater.errors import InputError
from headwater.sources import Source
from headwater.sources.published.reading import Request
from headwater.sources.published.registry import PUBLISHED, Published
from headwater.study.data import PublishedData

__all__ = ["PUBLISHED", "Published", "on_disk", "read_published"]


def read_published(
    name: str, words: PublishedData, root: Path, cache: Path | None = None
) -> Source:
    """The source of a published set whose folder is `root`; `cache` is where hashes of its bytes
    are kept.

    Raises InputError where the folder has another layout, a file is damaged, or the numbers of
    images or classes are not the published ones.
    """
    entry = PUBLISHED[words.name]
    reader = import_module(f"headwater.sources.published.{entry.reader}")
    source: Source = reader.read(Request(name, entry, words, _base(entry, root, name), cache))
    source.metric, source.templates = entry.metric, entry.templates
    return source


def on_disk(entry: Published, root: Path) -> bool:
    """Whether a folder looks like the set: the files by which it is known are there, in one of the
    usual places below it.
    """
    return any(
        all((root / inside / mark).exists() for mark in entry.marks) for inside in entry.inside
    )


def _base(entry: Published, root: Path, name: str) -> Path:
    """The folder in which the set's files are, which may be one or two below `root`, as archives
    leave it.
    """
    for inside in entry.inside:
        if all((root / inside / mark).exists() for mark in entry.marks):
            return root / inside
    if entry.refused is not None and any(
        (root / inside / entry.refused[0]).exists() for inside in ("", *entry.inside)
    ):
        raise InputError(f"{name}: {root} holds {entry.refused[0]!r}: {entry.refused[1]}")
    lacking = " or ".join(map(repr, entry.marks))
    raise InputError(
        f"{name}: {root} is not {entry.title} as published: it lacks {lacking}; expected are "
        f"{', '.join(entry.layout)}"
    )
