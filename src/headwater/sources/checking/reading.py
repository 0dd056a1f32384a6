"""Reads a copy of a set once: tars, Parquet files or a folder of images."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.sources.checking.found import Captions, Found, Sample
from headwater.sources.checking.shards import read_shards
from headwater.sources.formats import MAX_FILE_BYTES
from headwater.sources.links import leads_out
from headwater.sources.recipes import Form


def look_into(path: Path, *, numbered_from: int | None, sample: int, seed: int) -> Found:
    """Reads a copy: tars where there are some, else Parquet files, else a folder of images.

    `numbered_from` is the number of the first shard, None where it may be any. Of the images a
    `sample` is decoded. Raises InputError for a path that is no folder or holds nothing.
    """
    if not path.is_dir():
        raise InputError(f"--path {path}: there is no such folder")
    files = sorted(files_of(path))
    names = [name for name, _ in files]
    endings = {os.path.splitext(name)[1].lower() for name in names}
    form: Form = "folder"
    if ".tar" in endings:
        form = "shards"
    elif ".parquet" in endings and not endings & {".jpg", ".jpeg", ".png", ".webp"}:
        form = "parquet"
    found = Found(form, len(files), sum(size for _, size in files), manifest_of(files))
    drawn, captions = Sample(sample, seed), Captions()
    if form == "shards":
        read_shards(path, names, found, drawn, captions, numbered_from)
    elif form == "parquet":
        _read_parquet(path, found, drawn, captions)
    else:
        _read_folder(path, found, drawn, captions)
    if not found.images and not found.faults:
        raise InputError(f"--path {path}: there is no image in it")
    found.captions, found.sampled = captions.statistics(), drawn.decoded()
    return found


def files_of(root: Path) -> Iterator[tuple[str, int]]:
    """(path relative to the root, size in bytes) of all files that are not hidden; links that
    lead out are passed over.
    """
    waiting = [""]
    while waiting:
        prefix = waiting.pop()
        try:
            with os.scandir(root / prefix) as entries:
                for entry in entries:
                    if entry.name.startswith("."):
                        continue
                    if entry.is_symlink() and (entry.is_dir() or leads_out(Path(entry), root)):
                        continue
                    if entry.is_dir():
                        waiting.append(f"{prefix}{entry.name}/")
                    elif entry.is_file():
                        yield f"{prefix}{entry.name}", entry.stat().st_size
        except OSError as error:
            raise InputError(
                f"{root / prefix}: the folder cannot be read ({error.strerror})"
            ) from None


def manifest_of(files: Iterable[tuple[str, int]]) -> str:
    """SHA-256 over the sorted names and sizes of files: a line `name TAB size` each."""
    digest = hashlib.sha256()
    for name, size in sorted(files):
        digest.update(f"{name}\t{size}\n".encode("utf-8", "surrogateescape"))
    return digest.hexdigest()


def _read_folder(path: Path, found: Found, drawn: Sample, captions: Captions) -> None:
    from headwater.sources.tables.captions import read_objects
    from headwater.sources.walking import walk

    images = walk(path).images
    found.images = len(images)
    found.classes = len({name.rpartition("/")[0].rpartition("/")[2] for name in images} - {""})
    for name in images:
        try:
            size = (path / name).stat().st_size
            if drawn.wants(name, size):
                drawn.add(name, (path / name).read_bytes()[: MAX_FILE_BYTES + 1])
        except OSError as error:
            found.faults.append(f"{name}: cannot be read ({error.strerror})")
    listed = path / "captions.jsonl"
    if listed.is_file():
        for _, record in read_objects(listed, "path"):
            captions.add(_text_of(record))


def _text_of(record: dict[str, Any]) -> str | None:
    """The first text of a line of captions.jsonl."""
    for name, value in record.items():
        if name != "path":
            values: Sequence[Any] = value if isinstance(value, list) else [value]
            texts = [each for each in values if isinstance(each, str)]
            if texts:
                return texts[0]
    return None


def _read_parquet(path: Path, found: Found, drawn: Sample, captions: Captions) -> None:
    from headwater.sources.parquet import ParquetSource

    source = ParquetSource(path.name, path)
    table = source.table
    found.images = len(table)
    found.classes = len(set(table.levels[0].tolist()) - {""}) if table.levels else 0
    for position, name in enumerate(table.ids.tolist()):
        if drawn.wants(name, 0):
            data = source.image(position)
            if isinstance(data, bytes):
                drawn.add(name, data)
    for texts in list(table.texts.values())[:1]:
        for own in texts.tolist():
            captions.add(own[0] if own else None)
