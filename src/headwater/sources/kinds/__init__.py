"""Kinds of data: where a study's images may come from, one file each.

A file says the words of its kind (what a study's `data:` entry may hold), and how a source is made
of them. It is imported whenever a study is read, so it imports readers, and what they need, only
when a source is opened.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from headwater.sources import Source
from headwater.study.words import Words

W = TypeVar("W", bound="SourceWords")
Offer = Literal["classes", "hierarchy", "captions", "splits", "groups", "prompts", "hard images"]
"""What a source may bring besides its images."""


class SourceWords(Words):
    """Base of the words of a kind of data. Each kind narrows `kind` to its own name."""

    kind: str


@dataclass(frozen=True, kw_only=True)
class SourceKind(Generic[W]):
    """One kind of data, as it declares itself."""

    name: str
    """The `kind` of a study's `data:` entry."""
    version: int
    """Raised by hand when the same words and files would give other images, ids or labels. From 2
    on it is part of the source's fingerprint.
    """
    order: float
    title: str
    """What it is, for people."""
    words: type[W]
    needs: str
    """What must be there before it can be opened, for people."""
    offers: tuple[Offer, ...]
    """What its sources can bring besides images."""
    make: Callable[[str, W, Path | None, Path | None], Source]
    """(name, words, data root, cache) -> source. `name` is the entry's name in the study, `cache` a
    folder in which hashes of bytes are kept. Raises InputError where the data cannot be found or
    read.
    """

    def open(self, name: str, words: W, data_root: Path | None, cache: Path | None) -> Source:
        """The source that an entry of this kind means. Raises InputError as `make` does."""
        source = self.make(name, words, data_root, cache)
        source.kind_version = self.version
        return source


AnySourceKind = SourceKind[Any]
