"""`kind: shards`: images in the tars of webdataset and img2dataset."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

from pydantic import Field

from headwater.errors import InputError
from headwater.sources import Source
from headwater.sources.kinds import PlacedWords, SourceKind


class ShardsData(PlacedWords):
    """Tars of images and their texts, as webdataset and img2dataset write them."""

    kind: Literal["shards"]
    path: Annotated[str, Field(min_length=1)]
    """The folder of the tars, absolute, or relative to the study file or the data root."""
    captions: Annotated[str, Field(min_length=1, max_length=256)] = "txt"
    """The ending of the members that hold captions."""


def _make(name: str, words: ShardsData, data_root: Path | None, cache: Path | None) -> Source:
    raise InputError(
        f"data.{name}: shards are planned from their recipe and checked (`headwater sources "
        "check`), and not read yet; unpack them into a folder"
    )


ENTRY = SourceKind(
    name="shards",
    version=1,
    order=17,
    title="images in tars of webdataset and img2dataset",
    words=ShardsData,
    needs="a folder of tars",
    offers=("captions",),
    make=_make,
)
