"""`kind: shards`: images in tars, as webdataset and img2dataset write them."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from headwater.sources import Source
from headwater.sources.kinds import PlacedWords, SourceKind


class ShardsData(PlacedWords):
    """Tars of image-text pairs (`.jpg .txt .json .cls`), read where they lie: nothing is unpacked.
    They are read through once, for an index in the store.
    """

    kind: Literal["shards"]
    path: Annotated[str, Field(min_length=1)]
    """A folder of tars, one tar, or a pattern such as cc12m/{00000..01242}.tar; absolute, or
    relative to the study file or the data root. Or an address: http(s)://, s3://, gs://, az://.
    """
    image: Annotated[str, Field(min_length=1, max_length=24)] | None = None
    """The ending of the images, where samples hold several (`jpg`, `photo.png`)."""
    ids: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The field that names samples. Left out, they are called by shard and key, or as the folder
    says that `headwater shard` packed.
    """
    split_file: Annotated[str, Field(min_length=1)] | None = None
    """As of a folder."""
    hierarchy: Annotated[str, Field(min_length=1)] | None = None
    """As of a folder."""


def _make(name: str, words: ShardsData, data_root: Path | None, cache: Path | None) -> Source:
    from headwater.sources.opening import Place
    from headwater.sources.shards import open_shards

    bases = [Path()] if data_root is None else [data_root]
    source = open_shards(
        name, words.path, bases=bases, image=words.image, names_ids=words.ids, cache=cache
    )
    place = Place(name, source.root or data_root or Path(), data_root)
    place.add_splits(source, words.split_file)
    place.add_hierarchy(source, words.hierarchy)
    return source


ENTRY = SourceKind(
    name="shards",
    version=1,
    order=12,
    title="images in tars (webdataset, img2dataset)",
    words=ShardsData,
    needs="a folder of tars of images, with texts, JSON or Parquet tables beside them",
    offers=("classes", "hierarchy", "captions", "splits"),
    make=_make,
)
