"""The folder that a person means by a name, and its images."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from headwater.errors import InputError
from headwater.sources.folder import FolderSource
from headwater.sources.hugging_face import files_of
from headwater.sources.layouts import layout_named
from headwater.sources.parquet import ParquetSource, parquet_files
from headwater.sources.row_files import listed_below
from headwater.sources.shards import ShardSource, holds_shards, open_shards


def named_folder(name: str, data_root: Path | None, otherwise: str) -> Path:
    """The folder that a person means by a name: a path from here, or else one under the data root.

    Raises InputError, which says what else it is not.
    """
    if name:
        for path in (Path(name), *([] if data_root is None else [data_root / name])):
            if path.is_dir():
                return path
    looked = (
        f"here or under {data_root}"
        if data_root is not None
        else "here (--data-root DIR or HEADWATER_DATA=DIR names another place to look)"
    )
    raise InputError(f"{name!r} is {otherwise} and no folder {looked}")


def opened_folder(
    path: Path, *, layout: str | None = None, follow_links: bool = False
) -> FolderSource | ParquetSource | ShardSource:
    """The images of a folder, or of the tars, Parquet or Arrow files in it, under its own name.

    `layout` and `follow_links` are as the keys of a study's `data:` entry.

    Raises InputError for a folder that cannot be read, or in two ways.
    """
    name, chosen = path.resolve().name, layout_named(layout)
    try:
        return FolderSource(name, path, layout=chosen, follow_links=follow_links)
    except InputError as as_folder:
        if layout is not None:
            raise
        if holds_shards(path):
            return open_shards(name, str(path.resolve()))
        with suppress(InputError):  # a table of something else, beside images
            if parquet_files(path):
                return ParquetSource(name, path)
            if listed_below(path, ".arrow"):
                files, _ = files_of(path, name)
                return ParquetSource(name, path, files=files)
        raise as_folder from None
