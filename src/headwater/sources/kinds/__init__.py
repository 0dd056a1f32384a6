"""Kinds of data: where a study's images may come from, one file each.

A file says the words of its kind (what a study's `data:` entry may hold), and how a source is made
of them. It is imported whenever a study is read, so it imports readers, and what they need, only
when a source is opened.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Generic, Literal, TypeVar

from headwater.errors import Location
from headwater.sources import Source
from headwater.sources.recipes import RecipeName
from headwater.study.words import Words

W = TypeVar("W", bound="SourceWords")
Offer = Literal["classes", "hierarchy", "captions", "splits", "groups", "prompts", "hard images"]
"""What a source may bring besides its images."""


class SourceWords(Words):
    """Base of the words of a kind of data. Each kind narrows `kind` to its own name."""

    kind: str

    def parts(self) -> dict[Location, str]:
        """The other `data:` entries that this one is made of, each by where these words name it."""
        return {}


class PlacedWords(SourceWords):
    """Base of the words of a kind whose images lie in a place of yours, which may hold a copy of a
    known set.
    """

    recipe: RecipeName | None = None
    """The known set that this is a copy of; `headwater sources` lists them. It changes nothing that
    is computed: a study can be planned before the copy is there, and the copy can be checked.
    """


@dataclass(frozen=True)
class Making(Generic[W]):
    """What a source that is made of others is made from."""

    name: str
    """The entry's name in the study."""
    words: W
    data_root: Path | None
    cache: Path | None
    """A folder in which hashes of bytes and verdicts on images are kept."""
    parts: Mapping[str, Source] = field(default_factory=dict)
    """The opened sources that the words name (`SourceWords.parts`), by name."""


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
    make: Callable[[str, W, Path | None, Path | None], Source] | None = None
    """(name, words, data root, cache) -> source. `name` is the entry's name in the study, `cache` a
    folder in which hashes of bytes are kept. Raises InputError where the data cannot be found or
    read.
    """
    compose: Callable[[Making[W]], Source] | None = None
    """The same, for a kind that is made of other entries; a kind has one of the two."""

    def __post_init__(self) -> None:
        if (self.make is None) == (self.compose is None):
            raise TypeError(f"kind of data {self.name!r}: give one of make and compose")

    def open(
        self,
        name: str,
        words: W,
        data_root: Path | None,
        cache: Path | None,
        parts: Mapping[str, Source] | None = None,
    ) -> Source:
        """The source that an entry of this kind means. Raises InputError as `make` does."""
        if self.make is not None:
            source = self.make(name, words, data_root, cache)
        else:
            assert self.compose is not None
            source = self.compose(Making(name, words, data_root, cache, parts or {}))
        source.kind_version = max(self.version, source.kind_version)
        return source


AnySourceKind = SourceKind[Any]
