"""What the fields of shards mean: ids, splits, classes and texts, each read when asked for."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Any, cast

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Positions, Table, natural_splits
from headwater.sources.class_names import class_name
from headwater.sources.shards.index import Index
from headwater.sources.shards.places import Shard
from headwater.sources.split_words import split_of_path
from headwater.sources.strings import Lists, Strings
from headwater.sources.tables.columns import class_column
from headwater.sources.tables.listing import Texts

Objects = NDArray[np.object_]


@dataclass(frozen=True)
class Read:
    """The table of shards, and where each of its samples stands in their index."""

    table: Table
    rows: Positions | None
    """int64 [num_samples]; None where the table follows the index."""


def table_of(
    name: str,
    shards: Sequence[Shard],
    index: Index,
    names_ids: str | None,
    packed: bool,
    notes: list[str],
) -> Read:
    """What the fields of an index mean.

    `.txt` is the text field `captions` (`txt`, where JSON has captions of its own), `.cls` the
    class; fields of JSON that are called split, level1 ... levelN, label and the like are what they
    are of a CSV, and all others are text fields. `names_ids` is the field that names samples,
    `packed` says that `headwater shard` wrote them; what was read under another name goes to
    `notes`. Raises InputError for fields that can be read in two ways, and ids that come twice.
    """
    fields = _Fields(name, index)
    ids, rows = _ids(name, shards, index, names_ids, fields)
    fields.rows = rows
    splits = _splits(name, shards, index, fields, notes)
    levels = _levels(name, fields, notes)
    texts = {}
    used = {*levels, *splits, *([names_ids] if names_ids else [])}
    for field in index.fields:
        if field in used or (packed and field == "txt"):
            continue  # what was packed has its captions in JSON
        called = "captions" if field == "txt" and "captions" not in index.fields else field
        texts[called] = _text_field(fields, field)
    table = Table(
        ids=cast("Objects", ids),
        splits=splits,
        levels=tuple(_classes(fields, field) for field in levels),
        texts=Texts(texts),
        groups=Texts(
            {field: _group(fields, field) for field in index.fields if field != names_ids}
        ),
    )
    return Read(table, rows)


class _Fields:
    """Columns of the index, in the order of the table."""

    def __init__(self, name: str, index: Index) -> None:
        self.name, self._index, self.rows = name, index, None

    rows: Positions | None

    def __contains__(self, field: str) -> bool:
        return field in self._index.fields

    def column(self, field: str) -> Any:
        found = self._index.column(field)
        return found if self.rows is None else found.take(pa.array(self.rows))

    def names(self) -> tuple[str, ...]:
        return self._index.fields


def _ids(
    name: str, shards: Sequence[Shard], index: Index, names_ids: str | None, fields: _Fields
) -> tuple[Strings, Positions | None]:
    if names_ids is None:
        if not _nested([shard.stem for shard in shards]):
            return Strings.later(len(index), lambda: index.ids([s.stem for s in shards])), None
        ids = index.ids([shard.stem for shard in shards])
        told = "two shards call a sample"
    else:
        if names_ids not in fields:
            raise InputError(
                f"data.{name}.ids: the samples have no field {names_ids!r}; they have "
                f"{', '.join(fields.names()) or 'none'}"
            )
        ids = fields.column(names_ids)
        one_each = pa.types.is_large_string(ids.type) and not ids.null_count
        if not one_each or pc.any(pc.equal(ids, "")).as_py():
            raise InputError(f"data.{name}.ids: not every sample has one {names_ids!r}")
        ids = pc.utf8_normalize(ids, form="NFC")
        told = f"two samples have the {names_ids}"
    order = pc.sort_indices(ids)
    ids = ids.take(order)
    twice = pc.equal(ids[1:], ids[:-1])
    if pc.any(twice).as_py():
        raise InputError(f"{name}: {told} {ids[pc.index(twice, True).as_py()].as_py()!r}")
    return Strings(ids), order.to_numpy().astype(np.int64)


def _nested(stems: Sequence[str]) -> bool:
    """Whether what stands before one shard's keys begins with what stands before another's: their
    samples may then come in each other's order.
    """
    return any(after.startswith(before) for before, after in pairwise(stems))


def _splits(
    name: str, shards: Sequence[Shard], index: Index, fields: _Fields, notes: list[str]
) -> Mapping[str, Objects]:
    """`split` by a field of that name, or else by the names of shards and folders; all is train
    where neither says anything. Other fields that begin with it are split columns of their own.
    """
    others = {
        field: _split_field(fields, field)
        for field in fields.names()
        if field.casefold().startswith("split") and field != "split"
    }
    words = [split_of_path(shard.name, ".tar") for shard in shards]
    by_shard, lengths = np.array(words, dtype=object), np.diff(index.starts)

    def by_name() -> Objects:
        split = np.repeat(by_shard, lengths)
        return cast("Objects", split if fields.rows is None else split[fields.rows])

    if "split" in fields:
        split = _both(name, by_name(), _split_field(fields, "split"))
        missing = int((split == "").sum())
        making: Callable[[], Objects] = partial(_same, split)
    else:
        missing = int(lengths[by_shard == ""].sum())
        making = by_name
    if missing == len(index):
        making = partial(np.full, len(index), "train", dtype=object)
    elif missing:
        notes.append(f"{missing:,} samples are in no split")
    return Texts({"split": making, **{field: partial(_same, own) for field, own in others.items()}})


def _same(column: Objects) -> Objects:
    return column


def _both(name: str, by_name: Objects, by_field: Objects) -> Objects:
    """Splits by names, and by a field where these say nothing. Raises InputError where they
    differ.
    """
    differ = np.flatnonzero((by_name != "") & (by_field != "") & (by_name != by_field))
    if len(differ):
        raise InputError(
            f"{name}: the names of shards say other splits than the field split does "
            f"({len(differ):,} samples); rename the shards"
        )
    return cast("Objects", np.where(by_name != "", by_name, by_field))


def _split_field(fields: _Fields, field: str) -> Objects:
    """object [num_samples]: a field as splits."""
    words = fields.column(field)
    if not pa.types.is_large_string(words.type):
        raise InputError(f"{fields.name}: the field {field} of some samples holds several texts")
    coded = words.fill_null("").dictionary_encode()
    meant = natural_splits(coded.dictionary.to_pylist(), f"{fields.name}: the field {field}")
    found: Objects = meant[coded.indices.to_numpy()]
    return found


def _levels(name: str, fields: _Fields, notes: list[str]) -> list[str]:
    """The fields that are classes, finest first."""
    names = set(fields.names())
    numbered = sorted(
        (field for field in names if re.fullmatch(r"level[1-9]\d*", field)),
        key=lambda field: -int(field[5:]),
    )
    if numbered:
        if {int(field[5:]) for field in numbered} != set(range(1, len(numbered) + 1)):
            raise InputError(
                f"{name}: the fields {', '.join(numbered)} have a gap; number levels "
                "from 1 (coarsest)"
            )
        return numbered
    called = class_column(sorted(names - {"txt", "cls"}), name)
    found = [field for field in ("cls", called) if field is not None and field in names]
    if len(found) > 1:
        notes.append(f"classes are .cls, and the field {called} is a text field")
    elif found and found[0] != "cls":
        notes.append(f"classes are the field {found[0]}")
    return found[:1]


def _classes(fields: _Fields, field: str) -> Objects:
    """object [num_samples]: a field as classes."""
    words = fields.column(field)
    if not pa.types.is_large_string(words.type):
        raise InputError(f"{fields.name}: the field {field} holds several classes of a sample")
    coded = words.fill_null("").dictionary_encode()
    names = [class_name(raw, fields.name) for raw in coded.dictionary.to_pylist()]
    found: Objects = np.array(names or [""], dtype=object)[coded.indices.to_numpy()]
    return found


def _text_field(fields: _Fields, field: str) -> Callable[[], Objects]:
    return lambda: cast("Objects", Lists.of(fields.column(field)))


def _group(fields: _Fields, field: str) -> Callable[[], Objects]:
    def column() -> Objects:
        words = fields.column(field)
        if not pa.types.is_large_string(words.type):
            words = pc.binary_join(words, pa.scalar(", ", pa.large_string()))
        return cast("Objects", Strings(words.fill_null("")))

    return column
