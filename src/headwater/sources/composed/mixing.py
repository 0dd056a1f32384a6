"""A mix: the images of several sources, in given shares at every size."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Source, Table
from headwater.sources.composed.source import ComposedSource
from headwater.sources.composed.strata import Division, Strata
from headwater.sources.tables.listing import Objects, Texts


def mixed(
    name: str,
    parts: Mapping[str, Source],
    shares: Mapping[str, float],
    *,
    apart: bool = False,
) -> ComposedSource:
    """The mix of `parts`, by name, with the share of each (the sum is 1).

    `apart` puts a part's name before its classes, so that none is another part's. Raises InputError
    for parts without a split column in common.
    """
    names = sorted(parts, key=lambda part: f"{part}/")
    sources = [parts[part] for part in names]
    tables = [source.table for source in sources]
    splits = _common([list(table.splits) for table in tables])
    if not splits:
        raise InputError(
            f"data.{name}: its parts have no split column in common", at=("data", name)
        )
    depth = min(len(table.levels) for table in tables)
    hierarchies = {table.hierarchy for table in tables}
    table = Table(
        ids=_joined([_prefixed(f"{part}/", t.ids) for part, t in zip(names, tables, strict=True)]),
        splits={split: _split(tables, split) for split in splits},
        levels=tuple(_level(names, tables, level, apart=apart) for level in range(depth)),
        texts=_columns(tables, lambda table: table.texts, list),
        groups=_columns(tables, lambda table: table.groups, str),
        hierarchy=next(iter(hierarchies)) if len(hierarchies) == 1 and not apart else None,
        spoken=_spoken(names, tables, apart=apart),
        hard=_hard(tables),
    )
    return ComposedSource(
        name,
        sources,
        table,
        strata=_strata(names, sources, [shares[part] for part in names]),
        notes=list(_notes(names, tables, depth, apart=apart)),
    )


def _strata(names: Sequence[str], sources: Sequence[Source], shares: Sequence[float]) -> Strata:
    """The parts, and within them their own divisions; the last one of a part with fewer of these
    goes on, as groups that have one group each.
    """
    lengths = [len(source.table) for source in sources]
    of_part = np.repeat(np.arange(len(sources), dtype=np.int64), lengths)
    own = [() if source.strata is None else source.strata.divisions for source in sources]
    divisions = [Division.made(of_part, np.array(shares), tuple(map(repr, names)))]
    for level in range(max(map(len, own))):
        parts = [
            _level_of(one, level, name, length)
            for one, name, length in zip(own, names, lengths, strict=True)
        ]
        sizes = [len(part.shares) for part in parts]
        firsts = np.cumsum(sizes) - sizes
        divisions.append(
            Division(
                np.concatenate(
                    [
                        np.where(part.of < 0, -1, part.of + first)
                        for part, first in zip(parts, firsts, strict=True)
                    ]
                ),
                np.concatenate([part.shares for part in parts]),
                tuple(itertools.chain.from_iterable(part.names for part in parts)),
                np.concatenate([part.of_those_there for part in parts]),
            )
        )
    return Strata(tuple(divisions))


def _level_of(own: Sequence[Division], level: int, name: str, length: int) -> Division:
    """A part's division of a level."""
    if level < len(own):
        return own[level]
    if not own:
        whole = np.zeros(length, dtype=np.int64)
        return Division.made(whole, np.ones(1), (repr(name),), of_those_there=True)
    last = own[-1]
    return Division.made(last.of, np.ones(len(last.shares)), last.names, of_those_there=True)


def _joined(columns: Sequence[Objects]) -> Objects:
    return np.concatenate([np.asarray(column, dtype=object) for column in columns])


def _prefixed(prefix: str, values: Objects) -> Objects:
    return np.array([prefix + value if value else "" for value in values], dtype=object)


def _common(names: Sequence[Sequence[str]]) -> list[str]:
    others = [set(each) for each in names[1:]]
    return [name for name in names[0] if set.intersection({name}, *others)]


def _split(tables: Sequence[Table], name: str) -> Objects:
    return _joined([table.splits[name] for table in tables])


def _level(names: Sequence[str], tables: Sequence[Table], level: int, *, apart: bool) -> Objects:
    columns = [table.levels[level] for table in tables]
    if apart:
        columns = [_prefixed(f"{part}: ", c) for part, c in zip(names, columns, strict=True)]
    return _joined(columns)


def _columns(
    tables: Sequence[Table],
    columns_of: Callable[[Table], Mapping[str, Objects]],
    nothing: Callable[[], object],
) -> Texts:
    """The columns that some part has; an image of another part has nothing there."""

    def joined(name: str) -> Callable[[], Objects]:
        return lambda: _joined(
            [_or_nothing(columns_of(table).get(name), table) for table in tables]
        )

    def _or_nothing(column: Objects | None, table: Table) -> Objects:
        if column is not None:
            return column
        out = np.empty(len(table), dtype=object)
        for row in range(len(table)):
            out[row] = nothing()
        return out

    known = dict.fromkeys(name for table in tables for name in columns_of(table))
    return Texts({name: joined(name) for name in known})


def _spoken(names: Sequence[str], tables: Sequence[Table], *, apart: bool) -> dict[str, str]:
    spoken: dict[str, str] = {}
    for part, table in zip(names, tables, strict=True):
        for of_class, said in table.spoken.items():
            spoken.setdefault(f"{part}: {of_class}" if apart else of_class, said)
        if apart and table.levels:
            for of_class in sorted(set(table.levels[0].tolist()) - {""} - set(table.spoken)):
                spoken[f"{part}: {of_class}"] = of_class.replace("_", " ")
    return spoken


def _hard(tables: Sequence[Table]) -> NDArray[np.bool_] | None:
    if any(table.hard is None for table in tables):
        return None
    return np.concatenate([table.hard for table in tables if table.hard is not None])


def _notes(
    names: Sequence[str], tables: Sequence[Table], depth: int, *, apart: bool
) -> Sequence[str]:
    notes = []
    deepest = max(len(table.levels) for table in tables)
    if depth < deepest:
        few = [
            part for part, table in zip(names, tables, strict=True) if len(table.levels) == depth
        ]
        levels = "no labels" if depth == 0 else f"labels of {depth} of {deepest} levels"
        notes.append(f"has {levels}, as {' and '.join(few)} has")
    if depth and not apart:
        together = _shared([set(table.levels[0].tolist()) - {""} for table in tables])
        if together:
            notes.append(
                f"{len(together):,} classes of level:0 are in two parts or more and are one class "
                f"each, {sorted(together)[0]!r} is the first; `classes: apart` keeps them apart"
            )
    return notes


def _shared(classes: Sequence[set[str]]) -> set[str]:
    seen: set[str] = set()
    shared: set[str] = set()
    for each in classes:
        shared |= each & seen
        seen |= each
    return shared
