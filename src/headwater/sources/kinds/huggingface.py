"""`kind: huggingface`: data sets of the `datasets` library, from a folder or the hub."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field, model_validator

from headwater.sources import Source
from headwater.sources.kinds import PlacedWords, SourceKind


class HuggingFaceData(PlacedWords):
    """A data set of Hugging Face: a folder that `save_to_disk` wrote or of Parquet files, or a set
    of the hub by its name. No script is run, and nothing unpickled.
    """

    kind: Literal["huggingface"]
    path: Annotated[str, Field(min_length=1)] | None = None
    """The folder, absolute, or relative to the study file or the data root."""
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9~./][^\x00-\x1f]{0,1023}$")] | None = None
    """Instead: the set's name on the hub, such as uoft-cs/cifar10, which the library downloads into
    its own cache; or ./FOLDER, a copy of such a set, as of a path. Needs the extra `hub`.
    """
    config: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Of a set by name: which of its configurations; the default one when left out."""
    revision: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """Of a set by name: a commit, tag or branch of the hub; the newest when left out."""
    column: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The column of images, where several could be."""
    ids: Annotated[str, Field(min_length=1, max_length=256)] | None = None
    """The column that names samples. Left out, they are called by file and row."""
    split_file: Annotated[str, Field(min_length=1)] | None = None
    """As of a folder."""

    @model_validator(mode="after")
    def _from_one_place(self) -> HuggingFaceData:
        if (self.path is None) == (self.name is None):
            raise ValueError("give one of `path` (a folder) and `name` (a data set of the hub)")
        for option in ("config", "revision"):
            if self.name is None and getattr(self, option) is not None:
                raise ValueError(f"`{option}` goes with `name`, not with `path`; leave it out")
        if self.revision is not None and str(self.name).startswith((".", "/", "~")):
            raise ValueError("`revision` is of a set of the hub, not of a folder; leave it out")
        return self


def _make(name: str, words: HuggingFaceData, data_root: Path | None, cache: Path | None) -> Source:
    from headwater.sources.hugging_face import files_of, prepared
    from headwater.sources.opening import Place, folder_of, hash_file
    from headwater.sources.parquet import ParquetSource

    notes: list[str] = []
    if words.path is not None:
        folder = folder_of(words.path, data_root, f"data.{name}")
        files, notes = files_of(folder, f"data.{name}.path")
    else:
        where = f"data.{name}.name"
        folder, files, notes = prepared(
            str(words.name), words.config, words.revision, data_root, where
        )
    source = ParquetSource(
        name,
        folder,
        files=files,
        column=words.column,
        names_ids=words.ids,
        cache=hash_file(cache, f"huggingface:{folder.resolve()}"),
    )
    source.notes = (*source.notes, *notes)
    Place(name, folder, data_root).add_splits(source, words.split_file)
    return source


ENTRY = SourceKind(
    name="huggingface",
    version=1,
    order=16,
    title="a data set of Hugging Face, from a folder or the hub",
    words=HuggingFaceData,
    needs="a folder that `datasets` wrote, or a name of the hub and the library",
    offers=("classes", "captions", "splits"),
    make=_make,
)
