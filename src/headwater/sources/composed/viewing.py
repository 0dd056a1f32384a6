"""A view: images of one source that meet conditions, or in other shares of its classes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headwater.errors import InputError, blamed_on
from headwater.sources import Source, Table
from headwater.sources.composed.columns import Columns, Objects, columns_of
from headwater.sources.composed.filters import (
    Filter,
    Left,
    Mask,
    by_score,
    by_values,
    by_words,
    kept,
)
from headwater.sources.composed.source import ComposedSource
from headwater.sources.composed.strata import Division, Strata
from headwater.sources.opening import Place
from headwater.sources.tables.listing import Texts

if TYPE_CHECKING:
    from headwater.sources.kinds import Making
    from headwater.sources.kinds.view import Like, ViewData


def viewed(making: Making[ViewData]) -> ComposedSource:
    """The view that a study's words mean.

    Raises InputError for columns, texts, values and classes that are not there, and where no image
    is left.
    """
    name, words = making.name, making.words
    base = making.parts[words.of]
    where = f"data.{name}"
    filters, texts = [], {}
    if words.where or words.score is not None:
        columns = columns_of(base.table, _table(making, base), f"{where}.table")
    if words.where:
        for each, values in words.where.items():
            with blamed_on("data", name, "where", each):
                filters.append(by_values(columns, each, values, f"{where}.where"))
    if words.caption_words is not None:
        with blamed_on("data", name, "text" if words.text != "captions" else "caption_words"):
            few, many = words.caption_words
            by_length, texts[words.text] = by_words(base.table, words.text, few, many, where)
            filters.append(by_length)
    if words.score is not None:
        filters.append(_scored(making, columns, _split_of(base.table)))
    before = _in_a_split(base.table)
    mask, left = kept(filters, before)
    if not mask.any():
        raise InputError(f"{where}: its conditions leave no image", at=("data", name))
    table = _masked(base.table, mask, texts)
    strata, notes = _shares(making, base, table)
    return ComposedSource(
        name,
        [base],
        table,
        strata=strata,
        notes=[*_left_out(words.of, int(before.sum()), int(mask.sum()), left), *notes],
    )


def _root_of(source: Source) -> Path | None:
    """The folder of a source, or of the one that it is a view of."""
    if isinstance(source, ComposedSource):
        return _root_of(source.parts[0]) if len(source.parts) == 1 else None
    return getattr(source, "root", None)


def _table(making: Making[ViewData], base: Source) -> Path | None:
    """The file of columns that the words name."""
    written = making.words.table
    if written is None:
        return None
    folder = _root_of(base) or making.data_root or Path()
    with blamed_on("data", making.name, "table"):
        return Place(making.name, folder, making.data_root).file(written, "table")


def _split_of(table: Table) -> Objects:
    """The split of each image, by the first split column."""
    return np.asarray(table.splits.get("split", next(iter(table.splits.values()))), dtype=object)


def _scored(making: Making[ViewData], columns: Columns, splits: Objects) -> Filter:
    score = making.words.score
    assert score is not None
    where = f"data.{making.name}.score"
    with blamed_on("data", making.name, "score"):
        return by_score(
            columns,
            score.column,
            splits,
            where,
            at_least=score.at_least,
            at_most=score.at_most,
            top=score.top,
        )


def _masked(table: Table, mask: Mask, texts: dict[str, Objects]) -> Table:
    """The table, with images in no split that are not kept, and these texts."""
    splits = {
        column: np.where(mask, np.asarray(values, dtype=object), "")
        for column, values in table.splits.items()
    }
    if not texts:
        return replace(table, splits=splits)
    fields = {
        name: (lambda name=name: texts[name] if name in texts else table.texts[name])
        for name in table.texts
    }
    return replace(table, splits=splits, texts=Texts(fields))


def _shares(
    making: Making[ViewData], base: Source, table: Table
) -> tuple[Strata | None, list[str]]:
    """The shares of classes that the words ask for; those of the source without."""
    words = making.words
    shares = "balance" if words.balance is not None else "like"
    if base.strata is not None and (words.balance is not None or words.like is not None):
        raise InputError(
            f"data.{making.name}.{shares}: {words.of} has shares already, which could be kept or "
            f"dropped; write `{shares}` on its parts, and mix these",
            at=("data", making.name, shares),
        )
    if words.balance is not None:
        with blamed_on("data", making.name, "balance"):
            classes = _classes(base, words.balance, f"data.{making.name}.balance")
        codes, names = _codes(classes, _in_a_split(table))
        even = Division.made(
            codes, np.ones(len(names)), tuple(map(repr, names)), of_those_there=True
        )
        return Strata((even,)), [f"{len(names):,} classes of {words.balance} have equal shares"]
    if words.like is not None:
        with blamed_on("data", making.name, "like"):
            return _as_in(making, base, words.like, table)
    return base.strata, []


def _as_in(
    making: Making[ViewData], base: Source, like: Like, table: Table
) -> tuple[Strata, list[str]]:
    where = f"data.{making.name}.like"
    other = making.parts[like.data]
    wanted = _classes(other, like.labels, where)[other.split("split", like.split)]
    counts = pd.Series(wanted[wanted != ""]).value_counts()
    if not len(counts):
        raise InputError(f"{where}: {like.data} has no image with a class in {like.split}")
    codes, names = _codes(_classes(base, like.labels, where), _in_a_split(table))
    known = set(names)
    missing = [name for name in counts.index if name not in known]
    if missing and like.rest == "error":
        raise InputError(
            f"{where}: {len(missing)} of the {len(counts)} classes of {like.data} are not among "
            f"those of {making.words.of}, {missing[0]!r} is the first; `rest: drop` takes the "
            "shares of the others"
        )
    there = [name for name in names if name in counts.index]
    if not there:
        raise InputError(f"{where}: no class of {like.data} is one of {making.words.of}")
    number = {name: code for code, name in enumerate(there)}
    renumbered = np.array([number.get(name, -1) for name in names] + [-1], dtype=np.int64)[codes]
    shares = counts[there].to_numpy(dtype=np.float64)
    outside = int((_in_a_split(table) & (renumbered < 0)).sum())
    note = f"{len(there):,} classes have the shares of {like.split} of {like.data}"
    if outside:
        note += f"; {outside:,} images of other classes or of none are left out"
    if missing:
        note += f"; {len(missing):,} of its classes are not there"
    shared = Division.made(
        renumbered,
        shares / shares.sum(),
        tuple(map(repr, there)),
        of_those_there=like.rest == "drop",
    )
    return Strata((shared,)), [note]


def _classes(source: Source, level: str, where: str) -> Objects:
    """The class of each image at a level, '' where it has none."""
    number = 0 if level == "class" else int(level.removeprefix("level:"))
    if number >= len(source.table.levels):
        raise InputError(
            f"{where}: {source.name} has {len(source.table.levels)} levels of labels, so there is "
            f"no {level}"
        )
    return source.table.levels[number]


def _in_a_split(table: Table) -> Mask:
    used = np.zeros(len(table), dtype=bool)
    for values in table.splits.values():
        used |= np.asarray(values, dtype=object) != ""
    return used


def _codes(classes: Objects, used: Mask) -> tuple[NDArray[np.int64], list[str]]:
    """int64: the number of each used image's class, -1 where it has none; and the classes."""
    named = used & (classes != "")
    names = sorted(set(classes[named].tolist()))
    codes = np.full(len(classes), -1, dtype=np.int64)
    codes[named] = pd.Index(names).get_indexer(pd.Index(classes[named]))
    return codes, names


def _left_out(of: str, num: int, num_kept: int, left: Sequence[Left]) -> Iterator[str]:
    """How many images each condition leaves out."""
    if not left:
        return
    reasons = "; ".join(f"{one.says}: {one.images:,}" for one in left)
    yield f"{num_kept:,} of the {num:,} images of {of} are kept; left out, {reasons}"
