"""`kind: folder`: images in a folder on disk."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from headwater.sources import Source
from headwater.sources.kinds import PlacedWords, SourceKind
from headwater.sources.layouts import Layout
from headwater.study.words import Flag


class FolderData(PlacedWords):
    """Images in a folder: an ImageFolder, a folder with labels.csv (and captions.jsonl), or bare
    images.
    """

    kind: Literal["folder"]
    path: Annotated[str, Field(min_length=1)]
    """The folder, absolute, or relative to the data root (`--data-root` or HEADWATER_DATA)."""
    hierarchy: Annotated[str, Field(min_length=1)] | None = None
    """What the finest classes are nodes of: `wordnet` (class names are synset ids), or a file in
    the folder or under the data root (headwater.labels.hierarchies lists the formats). Levels,
    depths and ranks are then the hierarchy's, not the table's columns.
    """
    split_file: Annotated[str, Field(min_length=1)] | None = None
    """A CSV of columns `path` and `split` (further ones may begin with `split`), in the folder or
    under the data root, that adds or replaces split columns. Every image is listed; one with an
    empty split is left out.
    """
    layout: Layout | None = None
    """How folders are read, where there is no labels.csv: `split/class` (train/cat/1.jpg),
    `class/split` (cat/train/1.jpg), `class` (every folder is a class), `flat` (folders say
    nothing), or `metadata` (classes come from metadata.jsonl or metadata.csv). Left out, it is told
    from the names, and refused where these can be read in two ways.
    """
    follow_links: Flag = False
    """Whether links may lead out of the folder."""


def _make(name: str, words: FolderData, data_root: Path | None, cache: Path | None) -> Source:
    from headwater.sources.folder import FolderSource
    from headwater.sources.opening import Place, folder_of, hash_file

    folder = folder_of(words.path, data_root, f"data.{name}")
    hashes = hash_file(cache, str(folder.resolve()))
    source = FolderSource(
        name,
        folder,
        layout=words.layout,
        follow_links=words.follow_links,
        fingerprint_cache=hashes,
    )
    place = Place(name, folder, data_root)
    place.add_splits(source, words.split_file)
    place.add_hierarchy(source, words.hierarchy)
    return source


ENTRY = SourceKind(
    name="folder",
    version=1,
    order=10,
    title="images in a folder",
    words=FolderData,
    needs="a folder with class folders, with a labels.csv, or with bare images",
    offers=("classes", "hierarchy", "captions", "splits", "groups"),
    make=_make,
)
