"""`kind: torchvision`: data sets through torchvision's readers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from headwater.sources import Source
from headwater.sources.kinds import SourceKind, SourceWords


class TorchvisionData(SourceWords):
    """A classification data set through torchvision's reader, where that neither unpickles nor
    extracts. Nothing is downloaded.
    """

    kind: Literal["torchvision"]
    name: Annotated[str, Field(pattern=r"^[A-Za-z0-9]{1,40}$")]
    """The class of torchvision.datasets, such as Flowers102; headwater.sources.torchvision lists
    those that are read.
    """
    path: Annotated[str, Field(min_length=1)] = "."
    """What torchvision calls root: the folder that holds the set's own; absolute, or relative to
    the data root, which it is when left out.
    """
    split_file: Annotated[str, Field(min_length=1)] | None = None
    """As of a folder."""


def _make(name: str, words: TorchvisionData, data_root: Path | None, cache: Path | None) -> Source:
    from headwater.sources.opening import Place, folder_of, hash_file
    from headwater.sources.torchvision import read_torchvision

    folder = folder_of(words.path, data_root, f"data.{name}")
    hashes = hash_file(cache, f"torchvision:{words.name}:{folder.resolve()}")
    source = read_torchvision(name, words.name, folder, hashes)
    Place(name, folder, data_root).add_splits(source, words.split_file)
    return source


ENTRY = SourceKind(
    name="torchvision",
    version=1,
    order=30,
    title="a classification set through torchvision's reader",
    words=TorchvisionData,
    needs="the set's own files, downloaded by you",
    offers=("classes", "splits"),
    make=_make,
)
