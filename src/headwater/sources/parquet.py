"""Parquet and Arrow files of images, as Hugging Face's data sets are stored: a column of encoded
images, and labels and texts beside it.

    root/train-00000-of-00002.parquet     the split is the file's first word, its folder, or a
    root/data/test/0000.parquet           column `split`; all is train where none says otherwise

An image is bytes, or a struct whose `bytes` are. A sample's id is the file's path without its
ending, and the row: `data/train-00000-of-00002/000017`. Row groups are read one at a time.
Arrow files, as the `datasets` library writes them, are read in the same way (row_files.py).
"""

from __future__ import annotations

import hashlib
import io
import json
import re
import threading
import unicodedata
from bisect import bisect_right
from collections import OrderedDict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from headwater import digests
from headwater.errors import InputError
from headwater.files import unless_read_only, write_atomic
from headwater.sources import BadImage, Positions, Source, Table, natural_splits
from headwater.sources.class_names import class_name
from headwater.sources.file_state import state_of
from headwater.sources.formats import MAX_FILE_BYTES
from headwater.sources.row_files import Listed, RowFile, listed_below, row_file
from headwater.sources.split_words import split_of_path
from headwater.sources.tables.columns import class_column

IMAGE_COLUMNS = ("image", "img", "images", "jpg", "jpeg", "png", "webp", "picture", "photo")
"""What others call the column of images, the likeliest first."""
_GROUPS_KEPT = 2
_KIND = "parquet hashes 1"


@dataclass(frozen=True)
class _Group:
    """A group of rows of one of the files."""

    file: int
    group: int
    start: int
    """Of its first row, among all rows of all files in their order."""
    rows: int


class ParquetSource(Source):
    """Images in Parquet files under one root, or in the `files` that are given, which are of one
    format; see the module for its shapes.

    `column` names the column of images where it is not called as usual, `names_ids` the column that
    names samples where they are not called by file and row, `cache` is a file in which hashes of
    the images' bytes are kept. Raises InputError for files that cannot be used, with the
    reason.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        *,
        files: Sequence[Listed] | None = None,
        column: str | None = None,
        names_ids: str | None = None,
        cache: Path | None = None,
    ) -> None:
        self.name, self.root = name, root
        listed = listed_below(root, ".parquet") if files is None else list(files)
        if not listed:
            raise InputError(f"{name}: there is no .parquet file in {root}")
        self._files = [row_file(each.path) for each in listed]
        self._cache = cache
        if cache is not None:
            self.verdicts = cache.with_name(f"looked-{cache.name}")
        self._lock = threading.Lock()
        self._kept: OrderedDict[int, Any] = OrderedDict()
        schema = self._schema(self._files[0])
        self._column = _image_column(schema, column, f"{name}: {listed[0].path}")
        self._groups: list[_Group] = []
        self._left_out: set[str] = set()
        parts, start = [], 0
        for number, each in enumerate(listed):
            part = self._part(number, each, schema, start)
            parts.append(part)
            start += len(part["id"])
        notes: list[str] = []
        keys = {key: None for part in parts for key in part}
        whole = {key: _joined(parts, key) for key in keys}
        if names_ids is not None:
            whole["id"] = _own_ids(whole, names_ids, name)
        order = np.argsort(whole["id"], kind="stable")
        self._rows = order.astype(np.int64)
        self._starts = [group.start for group in self._groups]
        files_of = f"{self._files[0].noun} files"
        sorted_rows = {key: values[order] for key, values in whole.items()}
        self.table = _table(sorted_rows, notes, files_of)
        if self._left_out:
            names = ", ".join(sorted(self._left_out)[:6])
            notes.append(f"columns that hold no texts are not read: {names}")
        self.notes = tuple(notes)

    # the tables
    def _schema(self, file: RowFile) -> Any:
        try:
            schema = file.schema()
            _read_names(schema)
            if len(set(schema.names)) < len(schema.names):
                raise digests.Damaged(f"two columns have one name: {', '.join(schema.names)}")
            return schema
        except Exception as error:  # pyarrow has kinds of its own for damaged files
            raise InputError(
                f"{file.path}: is no {file.noun} file that can be read ({digests.reason(error)})"
            ) from None

    def _part(
        self, number: int, listed: Listed, schema: Any, start: int
    ) -> dict[str, NDArray[Any]]:
        """The columns of one file, but for its images."""
        file, path = self._files[number], listed.path
        own = self._schema(file)
        if own.names != schema.names:
            raise InputError(
                f"{path}: has the columns {', '.join(own.names)}, and {self._files[0].path.name} "
                f"has {', '.join(schema.names)}; put files of one kind into a folder"
            )
        try:
            at = start
            for group, rows in enumerate(file.groups()):
                self._groups.append(_Group(number, group, at, rows))
                at += rows
            others = [name for name in own.names if name != self._column]
            read = [name for name in others if _is_read(own, name, str(path))]
            self._left_out.update(name for name in others if name not in read)
            table = file.columns(read)
        except InputError:
            raise
        except Exception as error:
            raise InputError(f"{path}: cannot be read ({digests.reason(error)})") from None
        ids = [f"{listed.called}/{row:06d}" for row in range(at - start)]
        columns = {"id": np.array(ids, dtype=object)}
        split = split_of_path(listed.called, file.ending) or listed.split
        columns["split"] = np.full(len(ids), split, dtype=object)
        features = _features(own)
        for name in table.column_names:
            columns[f"column {name}"] = _values(table[name], features.get(name), f"{path}, {name}")
        return columns

    # the images
    def image(self, position: int) -> bytes:
        """The encoded image. Raises InputError, naming the sample, where there is none."""
        row = int(self._rows[position])
        at = bisect_right(self._starts, row) - 1
        value = self._group(at)[row - self._starts[at]].as_py()
        if isinstance(value, dict):
            value = value.get("bytes")
        if not isinstance(value, bytes):
            where = f"{self.name}: {self.table.ids[position]!r} has no image"
            raise BadImage(where, "no bytes")
        if len(value) > MAX_FILE_BYTES:
            raise BadImage(
                f"{self.name}: the image {self.table.ids[position]!r} is larger than "
                f"{MAX_FILE_BYTES >> 20} MiB, which no image here should be",
                f"over {MAX_FILE_BYTES >> 20} MiB",
            )
        return value

    def _group(self, at: int) -> Any:
        """The images of a group of rows, a pyarrow array; the last that were asked for are kept."""
        with self._lock:
            if at in self._kept:
                self._kept.move_to_end(at)
                return self._kept[at]
            group = self._groups[at]
            file = self._files[group.file]
            try:
                images = file.images(group.group, self._column)
            except Exception as error:
                raise InputError(f"{file.path}: cannot be read ({digests.reason(error)})") from None
            if len(images) != group.rows:
                raise InputError(f"{file.path}: has changed since it was opened; start again")
            self._kept[at] = images
            while len(self._kept) > _GROUPS_KEPT:
                self._kept.popitem(last=False)
            return images

    def byte_hashes(self, positions: Positions) -> list[str]:
        """Hex BLAKE2b-128 of each image's bytes, remembered while the files stay as they are."""
        known = self._known_hashes()
        if known is None:
            # asked before the bytes, so that a file that changes meanwhile is seen as changed
            state = hashlib.sha256(repr(self._state()).encode()).hexdigest().encode()
            known = self._hashed()
            if self._cache is not None:
                buffer = io.BytesIO()
                np.save(buffer, known)
                with unless_read_only():
                    write_atomic(self._cache, digests.framed(_KIND, state + buffer.getvalue()))
        found: list[str] = known[self._rows[positions]].astype("U32").tolist()
        return found

    def _hashed(self) -> NDArray[np.bytes_]:
        """bytes [rows of all files]: hex digests, in the order of the files."""
        hashes = []
        for at in range(len(self._groups)):
            for image in self._group(at):
                value = image.as_py()
                data = value.get("bytes") if isinstance(value, dict) else value
                hashes.append(hashlib.blake2b(data or b"", digest_size=16).hexdigest())
        return np.array(hashes, dtype="S32")

    def _known_hashes(self) -> NDArray[np.bytes_] | None:
        if self._cache is None or not self._cache.exists():
            return None
        try:
            data = digests.unframed(_KIND, self._cache.read_bytes())
        except (OSError, digests.Damaged) as error:
            digests.made_again(self._cache, digests.reason(error), "this list of digests")
            return None
        state = hashlib.sha256(repr(self._state()).encode()).hexdigest().encode()
        if data is None or not data.startswith(state):
            return None
        known: NDArray[np.bytes_] = np.load(io.BytesIO(data[len(state) :]), allow_pickle=False)
        return known if len(known) == len(self.table) else None

    def _state(self) -> list[tuple[Any, ...]]:
        return [(str(file.path), *state_of(file.path.stat())) for file in self._files]


def parquet_files(root: Path) -> list[Path]:
    """The Parquet files under a folder, sorted; hidden ones are passed over. Raises InputError for
    a link that leads out of the folder.
    """
    return [each.path for each in listed_below(root, ".parquet")]


def _own_ids(columns: dict[str, NDArray[Any]], names_ids: str, name: str) -> NDArray[Any]:
    """Ids by a column, which is taken away. Raises InputError for one that cannot be ids."""
    values = columns.pop(f"column {names_ids}", None)
    if values is None:
        known = [key.removeprefix("column ") for key in columns if key.startswith("column ")]
        raise InputError(
            f"data.{name}.ids: there is no column {names_ids!r} of texts; there are "
            f"{', '.join(sorted(known)) or 'none'}"
        )
    if not all(isinstance(value, str) and value for value in values.tolist()):
        raise InputError(f"data.{name}.ids: not every row has one {names_ids!r}")
    ids = np.array([unicodedata.normalize("NFC", value) for value in values], dtype=object)
    told = np.sort(ids)
    twice = np.flatnonzero(told[1:] == told[:-1])
    if len(twice):
        raise InputError(f"{name}: two rows have the {names_ids} {told[twice[0]]!r}")
    return ids


def _joined(parts: list[dict[str, NDArray[Any]]], key: str) -> NDArray[Any]:
    """A column of all files; '' in a file that has nothing under the name."""
    empty = [np.full(len(part["id"]), "", dtype=object) for part in parts]
    pairs = zip(parts, empty, strict=True)
    return np.concatenate([part.get(key, none) for part, none in pairs])


def _is_meant(name: str) -> bool:
    """Whether a column is called as classes or splits are."""
    called = name in ("split", "fine_label", "coarse_label") or re.fullmatch(r"level\d+", name)
    return bool(called) or class_column([name], "") is not None


def _is_read(schema: Any, name: str, where: str) -> bool:
    """Whether a column holds texts, or what can be a class under a name of classes. Raises
    InputError for such a name over anything else.
    """
    kind = schema.field(name).type
    if pa.types.is_list(kind) or pa.types.is_large_list(kind):
        kind = kind.value_type
    if pa.types.is_dictionary(kind):
        kind = kind.value_type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind) or pa.types.is_null(kind):
        return True
    if not _is_meant(name):
        return False
    if pa.types.is_integer(kind) or pa.types.is_boolean(kind) or pa.types.is_floating(kind):
        return True
    raise InputError(f"{where}: the column {name!r} holds {kind}, which is no class; rename it")


def _image_column(schema: Any, asked: str | None, where: str) -> str:
    """The column of images. Raises InputError where there is none, or its images are no bytes."""
    images: list[str] = [name for name in schema.names if _holds_bytes(schema.field(name).type)]
    if asked is not None:
        if asked not in images:
            raise InputError(
                f"{where}: {asked!r} is no column of images; it has {images or 'none'}"
            )
        return asked
    called = {name.casefold(): name for name in images}
    for wanted in IMAGE_COLUMNS:
        if wanted in called:
            return called[wanted]
    if len(images) == 1:
        return images[0]
    if not images:
        raise InputError(
            f"{where}: no column holds images (bytes, or a struct with `bytes`); it has "
            f"{', '.join(schema.names)}"
        )
    raise InputError(
        f"{where}: the columns {', '.join(images)} can all be the images; name one with `column:`"
    )


def _read_names(fields: Iterable[Any]) -> None:
    """Raises UnicodeDecodeError where a name of a column, or of a part of one, is no text."""
    for field in fields:
        inside = field.type if pa.types.is_struct(field.type) else None
        if field.name and inside is not None:
            _read_names([inside.field(number) for number in range(inside.num_fields)])


def _holds_bytes(kind: Any) -> bool:
    if pa.types.is_struct(kind):
        inside = [kind.field(number) for number in range(kind.num_fields)]
        return any(field.name == "bytes" and _holds_bytes(field.type) for field in inside)
    return bool(pa.types.is_binary(kind) or pa.types.is_large_binary(kind))


def _features(schema: Any) -> dict[str, list[str]]:
    """Names of classes by column, as Hugging Face writes them into a file's schema."""
    try:
        told = json.loads((schema.metadata or {}).get(b"huggingface", b"{}"))
        features = told["info"]["features"]
        return {
            name: list(map(str, words["names"]))
            for name, words in features.items()
            if isinstance(words, dict) and words.get("_type") == "ClassLabel" and "names" in words
        }
    except (ValueError, KeyError, TypeError, AttributeError):
        return {}


def _values(column: Any, names: list[str] | None, where: str) -> NDArray[np.object_]:
    """A column as texts, or lists of texts; classes by their names."""
    values = column.to_pylist()
    if names is not None:
        if any(not isinstance(value, int | None) for value in values):
            raise InputError(f"{where}: its classes are named, and it holds no numbers of them")
        strange = [value for value in values if value is not None and not -1 <= value < len(names)]
        if strange:
            raise InputError(f"{where}: holds the class {strange[0]}, and there are {len(names)}")
        values = ["" if value in (None, -1) else names[value] for value in values]
    out = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        many = isinstance(value, list)
        out[row] = [_text(each) for each in value if each is not None] if many else _text(value)
    return out


def _text(value: Any) -> str:
    """A value as a class or a text; a whole number as one."""
    if value is None or value != value:  # NaN stands for nothing
        return ""
    return str(int(value)) if isinstance(value, float) and value.is_integer() else str(value)


def _table(columns: dict[str, NDArray[Any]], notes: list[str], files: str) -> Table:
    """What the columns of all files mean."""
    ids, split = columns.pop("id"), columns.pop("split")
    named = {key.removeprefix("column "): values for key, values in columns.items()}
    fields = set(named)
    if "split" in named:
        split = _both_splits(ids, split, natural_splits(named["split"].tolist(), "split"))
        fields.discard("split")
    if not any(split):
        split = np.full(len(ids), "train", dtype=object)
    elif not all(split):
        count = int((split == "").sum())
        notes.append(f"{count:,} images are in no split, by the names of their files")
    levels: list[str] = []
    if {"fine_label", "coarse_label"} <= fields:
        levels = ["fine_label", "coarse_label"]
    else:
        numbered = sorted(
            (name for name in fields if re.fullmatch(r"level\d+", name)),
            key=lambda name: -int(name[5:]),
        )
        found = None if numbered else class_column(sorted(fields), f"the {files}")
        levels = numbered or ([found] if found else [])
    if levels:
        notes.append(f"classes are the columns {', '.join(levels)}")
    texts: dict[str, NDArray[np.object_]] = {}
    for name in sorted(fields - set(levels)):
        texts[name] = _lists(named[name])
    return Table(
        ids=ids,
        splits={"split": split},
        levels=tuple(_classes(named[name], files) for name in levels),
        texts=texts,
    )


def _both_splits(
    ids: NDArray[Any], by_name: NDArray[np.object_], by_column: NDArray[np.object_]
) -> NDArray[np.object_]:
    """The splits of a column, where files' names say nothing else. Raises InputError where they
    differ.
    """
    differ = np.flatnonzero((by_name != "") & (by_column != "") & (by_name != by_column))
    if len(differ):
        first = int(differ[0])
        raise InputError(
            f"{ids[first]}: its file's name says {by_name[first]}, and its column split says "
            f"{by_column[first]} ({len(differ):,} such rows); rename the file, or remove the column"
        )
    return np.where(by_name != "", by_name, by_column)


def _classes(values: NDArray[np.object_], files: str) -> NDArray[np.object_]:
    if any(isinstance(value, list) for value in values.tolist()):
        raise InputError(f"an image has several labels, and {files} are read with one each")
    known: dict[str, str] = {"": ""}
    for value in set(values.tolist()) - {""}:
        known[value] = class_name(value, f"the {files}")
    return np.array([known[value] for value in values.tolist()], dtype=object)


def _lists(values: NDArray[np.object_]) -> NDArray[np.object_]:
    out = np.empty(len(values), dtype=object)
    for row, value in enumerate(values.tolist()):
        out[row] = value if isinstance(value, list) else [value] if value else []
    return out
