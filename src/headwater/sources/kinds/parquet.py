"""`kind: parquet`: images in the rows of Parquet files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from headwater.sources import Source
from headwater.sources.kinds import PlacedWords, SourceKind


class ParquetData(PlacedWords):
    """Parquet files with a column of encoded images, as Hugging Face's data sets are stored."""

    kind: Literal["parquet"]
    path: Annotated[str, Field(min_length=1)]
    """The folder of the files, absolute, or relative to the study file or the data root."""
    column: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The column of images, where several could be."""
    ids: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The column that names samples. Left out, they are called by file and row."""
    split_file: Annotated[str, Field(min_length=1)] | None = None
    """As of a folder."""


def _make(name: str, words: ParquetData, data_root: Path | None, cache: Path | None) -> Source:
    from headwater.sources.opening import Place, folder_of, hash_file
    from headwater.sources.parquet import ParquetSource

    folder = folder_of(words.path, data_root, f"data.{name}")
    hashes = hash_file(cache, f"parquet:{folder.resolve()}")
    source = ParquetSource(name, folder, column=words.column, names_ids=words.ids, cache=hashes)
    Place(name, folder, data_root).add_splits(source, words.split_file)
    return source


ENTRY = SourceKind(
    name="parquet",
    version=1,
    order=15,
    title="images in Parquet files",
    words=ParquetData,
    needs="a folder of Parquet files with a column of encoded images",
    offers=("classes", "captions", "splits"),
    make=_make,
)
