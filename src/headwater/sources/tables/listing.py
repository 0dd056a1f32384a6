"""A table of samples, and where each of them was listed."""

from __future__ import annotations

import posixpath
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Table

Objects = NDArray[np.object_]

_REFUSED = (
    (r"^\s*$", "is empty"),
    (r"\\", "has a backslash; write it with forward slashes"),
    (r"^/|^[A-Za-z]:/", "is absolute; write it relative to the folder"),
    (r"(^|/)\.\.(/|$)", "leaves the folder by '..'"),
    (r"\x00", "has a null character"),
)


@dataclass(frozen=True, kw_only=True)
class Listing:
    """A table and where its samples came from.

    Arrays have one entry per sample, in the table's order.
    """

    table: Table
    files: Objects
    """Paths relative to the root as they were written (ids are their NFC, tidied form)."""
    where: Callable[[int], str]
    """Says, for messages, where a position was listed: 'PATH, line N', or the folder that was
    walked.
    """
    notes: tuple[str, ...] = ()
    """What reading it did that a person should know, a sentence each."""


class Texts(Mapping[str, Objects]):
    """Columns by name, object [num_samples], built when first asked for: a column nobody reads
    costs nothing. A text field holds a list[str] per sample, a group column a str.
    """

    def __init__(self, fields: Mapping[str, Callable[[], Objects]]) -> None:
        self._fields = dict(fields)
        self._built: dict[str, Objects] = {}

    def __getitem__(self, name: str) -> Objects:
        if name not in self._built:
            self._built[name] = self._fields[name]()
        return self._built[name]

    def __contains__(self, name: object) -> bool:
        return name in self._fields

    def __iter__(self) -> Iterator[str]:
        return iter(self._fields)

    def __len__(self) -> int:
        return len(self._fields)


def canonical_ids(paths: Any, where: Callable[[int], str]) -> tuple[Any, NDArray[np.int64]]:
    """(sorted ids, order): tidied NFC ids of `paths` (a pyarrow string array), and the row of each.

    './' and doubled slashes are tidied away. Raises InputError for a path that is empty, absolute,
    leaves the root, has a backslash, or comes twice (also where two spellings of it are one NFC
    path).
    """
    for pattern, reason in _REFUSED:
        bad = pc.match_substring_regex(paths, pattern)
        if pc.any(bad).as_py():
            row = pc.index(bad, True).as_py()
            raise InputError(f"{where(row)}: the path {paths[row].as_py()!r} {reason}")
    untidy = pc.match_substring_regex(paths, r"(^|/)\.(/|$)|//|/$")
    if pc.any(untidy).as_py():
        tidied = pa.array(
            [posixpath.normpath(path) for path in pc.filter(paths, untidy).to_pylist()], paths.type
        )
        paths = pc.replace_with_mask(paths, untidy, tidied)
    ids = pc.utf8_normalize(paths, form="NFC")
    order = pc.sort_indices(ids)
    ids = ids.take(order)
    rows = order.to_numpy().astype(np.int64)
    twice = pc.equal(ids[1:], ids[:-1])
    if pc.any(twice).as_py():
        at = pc.index(twice, True).as_py()
        first, second = sorted((int(rows[at]), int(rows[at + 1])))
        raise InputError(
            f"{where(second)}: the path {ids[at].as_py()!r} is listed twice (first in "
            f"{where(first)}); keep one of them"
        )
    return ids, rows


def listing_of(
    paths: Any,
    where: Callable[[int], str],
    *,
    split: Objects,
    levels: tuple[Objects, ...],
    groups: Mapping[str, Objects] | None = None,
    spoken: Mapping[str, str] | None = None,
) -> Listing:
    """A listing of `paths` (a pyarrow array of large_string) from arrays in the same order: split
    names, class names per level (finest first), groups.

    `spoken` says what people call a finest class; it becomes the text field `name` too.
    `where(row)` says where a row was listed. Raises InputError, as `canonical_ids` does, for paths
    that cannot be used.
    """
    ids, rows = canonical_ids(paths, where)
    ordered = tuple(level[rows] for level in levels)
    told = dict(spoken or {})

    def names() -> Objects:
        made = {name: [told.get(name, name)] for name in set(ordered[0].tolist())}
        return np.fromiter(
            (made[name] for name in ordered[0].tolist()), dtype=object, count=len(rows)
        )

    table = Table(
        ids=strings(ids),
        splits={"split": split[rows]},
        levels=ordered,
        texts=Texts({"name": names} if told else {}),
        groups={name: column[rows] for name, column in (groups or {}).items()},
        spoken=told,
    )
    return Listing(
        table=table,
        files=strings(paths.take(pa.array(rows))),
        where=lambda position: where(int(rows[position])),
    )


def strings(array: Any) -> Objects:
    """A pyarrow array of strings as an object array."""
    out: Objects = array.to_numpy(zero_copy_only=False)
    return out
