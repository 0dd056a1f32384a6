"""`kind: published`: data sets as their authors released them."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

from pydantic import Field, model_validator

from headwater.sources import Source
from headwater.sources.kinds import SourceKind, SourceWords
from headwater.sources.published.registry import PUBLISHED
from headwater.study.words import Flag, Whole

if TYPE_CHECKING:
    PublishedName = str
else:
    PublishedName = Literal[tuple(sorted(PUBLISHED))]
    """The sets that are read: the entries of headwater.sources.published.registry."""


class PublishedData(SourceWords):
    """A published data set, read as its authors released it, with its splits, and checked against
    its published sizes (docs/tasks.md).
    """

    kind: Literal["published"]
    name: PublishedName
    """One of the sets that `headwater tasks` lists."""
    path: Annotated[str, Field(min_length=1)] | None = None
    """Its folder, absolute, or relative to the data root; the set's usual folder under the data
    root when left out.
    """
    hierarchy: Annotated[str, Field(min_length=1)] | None = None
    """As of a folder. imagenet1k has `wordnet` when left out, the others have their own levels."""
    split_file: Annotated[str, Field(min_length=1)] | None = None
    """As of a folder: index files that replace the published splits."""
    check_sizes: Flag = True
    """False takes a deliberate subset: the numbers of images and classes are not compared with the
    published ones.
    """
    fold: Annotated[Whole, Field(ge=1, le=10)] | None = None
    """dtd only: which of its ten published splits; 1 when left out."""
    split: Literal["cis", "trans"] | None = None
    """cct20 only: val and test of cameras that train has too (cis, when left out), or of other
    cameras (trans).
    """

    @model_validator(mode="after")
    def _options_fit(self) -> PublishedData:
        for option in ("fold", "split"):
            if getattr(self, option) is not None and option not in PUBLISHED[self.name].options:
                owners = [name for name, entry in PUBLISHED.items() if option in entry.options]
                raise ValueError(
                    f"`{option}` is an option of {', '.join(owners)}, not of {self.name}; leave it "
                    "out"
                )
        return self


def _make(name: str, words: PublishedData, data_root: Path | None, cache: Path | None) -> Source:
    from headwater.sources.opening import Place, folder_of, hash_file
    from headwater.sources.published import read_published

    published = PUBLISHED[words.name]
    folder = folder_of(
        words.path or published.folder,
        data_root,
        f"data.{name}",
        advice=f"get {published.title} from {published.home}",
    )
    hashes = hash_file(cache, f"published:{words.name}:{folder.resolve()}")
    source = read_published(name, words, folder, hashes)
    place = Place(name, folder, data_root)
    place.add_splits(source, words.split_file)
    place.add_hierarchy(source, words.hierarchy)
    return source


ENTRY = SourceKind(
    name="published",
    version=1,
    order=20,
    title="a published data set, as its authors released it",
    words=PublishedData,
    needs="the set's own files, downloaded by you",
    offers=("classes", "hierarchy", "splits", "groups", "prompts"),
    make=_make,
)
