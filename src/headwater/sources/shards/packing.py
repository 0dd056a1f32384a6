"""Images of a source packed into tars: bytes as they are, with a text, classes and an id beside
each. The same source makes the same bytes.
"""

from __future__ import annotations

import io
import json
import tarfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from headwater import digests
from headwater.errors import InputError
from headwater.files import atomic_path, make_folder, write_atomic
from headwater.sources import BadImage, Positions, Source, Table
from headwater.sources.shards.fields import FETCHED
from headwater.sources.shards.manifest import NAME, manifest

IDS = "id"
"""The field of a packed sample that is the id of the image that was packed."""
PER_SHARD = 10_000
"""Samples of a shard, as img2dataset writes them."""
MOST_BYTES = 1 << 30
"""Bytes of images in a shard, at most, of several images [ours]."""
_PACKING = ".packing.json"
_BEGINNINGS = (
    (b"\xff\xd8\xff", "jpg"),
    (b"\x89PNG", "png"),
    (b"GIF8", "gif"),
    (b"BM", "bmp"),
    (b"II*\x00", "tiff"),
    (b"MM\x00*", "tiff"),
    (b"\x00\x00\x00\x0cjP", "jp2"),
)


@dataclass(frozen=True)
class Packed:
    """What was packed."""

    folder: Path
    shards: int
    samples: int
    bytes: int
    """Of the tars."""
    left_out: int
    """Images that cannot be read at all: their bytes could not be had."""


def pack(
    source: Source,
    out: Path,
    *,
    per_shard: int = PER_SHARD,
    watch: Callable[[int, int], object] = lambda done, total: None,
) -> Packed:
    """Packs the images of a source, in the order of their ids, into out/00000.tar and on.

    Each sample has the image's own bytes, a `.txt` with its first caption where it has one, and a
    `.json` with its id, splits, classes (level1 is the coarsest), texts and groups. `kind: shards`
    then reads the same samples: the same ids, and so the same arms. Goes on where it was stopped;
    `watch` hears (samples done, samples). Raises InputError for a folder that holds something else,
    and for a source that makes its images.
    """
    if not len(source.table):
        raise InputError(f"{source.name}: has no image to pack")
    if source.generated or isinstance(_first(source), np.ndarray):
        raise InputError(f"{source.name}: its images are made, or are pixels, and no files to pack")
    _check_names(source)
    inside = getattr(source, "root", None)
    if inside is not None and out.resolve().is_relative_to(inside.resolve()):
        raise InputError(f"{out}: lies in {inside}, which is to be packed; name a folder outside")
    made_from = {
        "source": source.fingerprint(np.arange(len(source.table))),
        "per_shard": per_shard,
    }
    before = _begin(out, made_from)
    if before is not None:
        sizes = [(out / f"{shard}.tar").stat().st_size for shard in before]
        done = sum(before.values())
        return Packed(out, len(before), done, sum(sizes), len(source.table) - done)
    samples, counts, total, left_out = len(source.table), dict[str, int](), 0, 0
    columns = _Columns(source.table)
    for number, positions in enumerate(_divided(source, per_shard)):
        path = out / f"{number:05d}.tar"
        written = _kept(path)
        if written is None:
            written = _write(source, columns, positions, path)
        counts[f"{number:05d}"] = written
        total += path.stat().st_size
        left_out += len(positions) - written
        watch(int(positions[-1]) + 1, samples)
    write_atomic(out / NAME, json.dumps(manifest(counts, columns.ids, made_from)))
    (out / _PACKING).unlink(missing_ok=True)
    return Packed(out, len(counts), sum(counts.values()), total, left_out)


def _check_names(source: Source) -> None:
    """Raises InputError for columns that would come back as something else, or not at all."""
    table = source.table
    names = {*table.texts, *table.groups, *table.splits}
    wrong = names & {"txt", "cls"} | (FETCHED if names >= FETCHED else set())
    if wrong:
        raise InputError(
            f"{source.name}: the columns {', '.join(sorted(wrong))} have names that mean something "
            "else in shards; rename them in the table beside the images"
        )


def _first(source: Source) -> Any:
    try:
        return source.image(0)
    except InputError:
        return b""


def _begin(out: Path, made_from: dict[str, Any]) -> dict[str, int] | None:
    """Makes the folder; samples by shard where it holds them all already. Raises InputError for one
    that holds anything but a packing of the same.
    """
    try:
        said = digests.read_record(out / NAME)
        there = all((out / f"{shard}.tar").is_file() for shard in said["shards"])
        if there and said["made_from"] == made_from:
            return dict(said["shards"])
        if said["made_from"] == made_from:  # some shards are gone, and are packed again
            write_atomic(out / _PACKING, json.dumps(digests.sealed(made_from)))
            return None
    except (OSError, ValueError, KeyError):
        pass
    try:
        if digests.read_record(out / _PACKING) == made_from:
            return None
    except (OSError, ValueError):
        pass
    if out.is_dir() and any(out.iterdir()):
        raise InputError(
            f"{out}: is not empty, and holds no packing of these images with these options; name a "
            "folder that is not there yet with --out"
        )
    make_folder(out)
    write_atomic(out / _PACKING, json.dumps(digests.sealed(made_from)))
    return None


def _divided(source: Source, per_shard: int) -> Iterator[Positions]:
    """Positions of each shard: as many as `per_shard`, and no more bytes than MOST_BYTES."""
    total = source.bytes_to_hash(np.arange(len(source.table)))
    mean = max(1, total // max(1, len(source.table)))
    size = max(1, min(per_shard, MOST_BYTES // mean))
    for start in range(0, len(source.table), size):
        yield np.arange(start, min(start + size, len(source.table)))


def _kept(path: Path) -> int | None:
    """The samples of a shard that was written whole before; None where there is none."""
    try:
        with tarfile.open(path, "r:") as tar:
            return sum(member.name.endswith(".json") for member in tar)
    except (OSError, tarfile.TarError):
        return None


class _Columns:
    """What a table says of each sample, for JSON."""

    def __init__(self, table: Table) -> None:
        depth = len(table.levels)
        self.texts = dict(table.texts.items())
        self._ids, self._groups = table.ids, dict(table.groups.items())
        taken = {*self.texts, *self._groups, *table.splits}
        free = (IDS, *(f"{IDS}{number}" for number in range(2, 1000)))
        self.ids = next(name for name in free if name not in taken)
        """The field that is to name the samples: one that no column of theirs has."""
        self._one: dict[str, Any] = dict(table.splits)
        self._one |= {f"level{depth - at}": level for at, level in enumerate(table.levels)}

    def of(self, position: int) -> dict[str, Any]:
        said: dict[str, Any] = {self.ids: str(self._ids[position])}
        said |= {name: str(values[position]) for name, values in self._one.items()}
        said |= {name: str(values[position]) for name, values in self._groups.items()}
        said |= {name: list(values[position]) for name, values in self.texts.items()}
        return said

    def caption(self, said: dict[str, Any]) -> str | None:
        texts = said.get("captions") or said.get("caption")
        return str(texts[0]) if isinstance(texts, list) and texts else None


def _write(source: Source, columns: _Columns, positions: Positions, path: Path) -> int:
    """Writes one shard; the number of its samples."""
    written = 0
    with (
        atomic_path(path) as temporary,
        tarfile.open(temporary, "w", format=tarfile.USTAR_FORMAT) as tar,
    ):
        for position in positions.tolist():
            try:
                data = source.image(position)
            except BadImage:
                continue
            assert isinstance(data, bytes)
            key, said = f"{position:09d}", columns.of(position)
            _add(tar, f"{key}.{_ending(data, said[columns.ids])}", data)
            caption = columns.caption(said)
            if caption is not None:
                _add(tar, f"{key}.txt", caption.encode())
            _add(tar, f"{key}.json", json.dumps(said, ensure_ascii=False).encode())
            written += 1
    return written


def _add(tar: tarfile.TarFile, name: str, data: bytes) -> None:
    member = tarfile.TarInfo(name)
    member.size = len(data)
    tar.addfile(member, io.BytesIO(data))


def _ending(data: bytes, sample: str) -> str:
    """The ending of an image by its bytes; by its name where these are of no known beginning."""
    for beginning, ending in _BEGINNINGS:
        if data.startswith(beginning):
            return ending
    if data[:4] == b"RIFF" and data[8:12] == b"WEBP":
        return "webp"
    if data[4:12] == b"ftypavif":
        return "avif"
    own = sample.rpartition(".")[2].lower()
    return own if own.isalnum() and len(own) <= 5 and "." in sample else "jpg"
