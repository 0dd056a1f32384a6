"""Whether the words of a row are words: names that the two halves of the project both know, with no
space or control character around or within that would make two names of one.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater import plain
from headwater.errors import InputError
from headwater.registry import METHODS, PROTOCOLS, Axis, entry_key
from headwater.rows.schema import COLUMNS, SCHEMA_VERSION, Column

if TYPE_CHECKING:
    from collections.abc import Callable

    import pandas as pd

MAX_NAME = 256
"""Characters of the longest word of a row; sentences and JSON may be longer."""
SUBSETS = ("all", "easy", "hard", "unleaked")
_SENTENCES = frozenset({"reason"})
"""Columns in which tabs and line feeds are text."""
_LONG = _SENTENCES | {
    *("recipe", "chosen", "grid", "constants", "versions", "pretrain_versions"),
    *("fingerprint", "pretrain_fingerprint"),
}
_TEXTS = tuple(column for column in COLUMNS if column.kind == "str")


def wrong_word(column: Column, value: str) -> str | None:
    """What is wrong with a word of a row, as the end of a sentence; None where all is well."""
    lines = column.name in _SENTENCES
    found = plain.stray(value, lines=lines)
    if found is not None:
        return f"holds {found}, which no name or text of a row may; write it without"
    if lines:
        return None
    if not value.strip():
        return "is empty; leave the field out, or null"
    if value != value.strip():
        return f"has spaces around it; write {value.strip()!r}"
    if column.name not in _LONG and len(value) > MAX_NAME:
        return f"has {len(value):,} characters; a name has at most {MAX_NAME}"
    return None


def wrong_name(column: str, value: Any, *, simulated: bool, versions: str = "") -> str | None:
    """What is wrong with a name of a closed set; None where it is known, or where the `versions` of
    its row say which other package brought it.

    `simulated`: of a network on simulated data, whose protocols are docs/theory.md's.
    """
    if column == "method":
        return _wrong_entry(METHODS, value, versions)
    if column == "protocol" and not simulated:
        return _wrong_entry(PROTOCOLS, value, versions)
    if column == "subset" and value not in SUBSETS:
        return f"{value!r} is none of {', '.join(SUBSETS)}"
    if column == "schema" and not 1 <= value <= SCHEMA_VERSION:
        return (
            f"{value} is no schema that this version of headwater reads (it reads "
            f"{', '.join(map(str, range(1, SCHEMA_VERSION + 1)))}); a newer version may"
        )
    return None


def _wrong_entry(axis: Axis[Any], value: Any, versions: str) -> str | None:
    if value in axis:
        return None
    named = re.escape(json.dumps(entry_key(axis.noun, value)))
    if re.search(rf'{named}\s*:\s*"', versions):
        return None
    return (
        f"{axis.unknown(value)}. Install the package that brings it, or name that package in the "
        f'row\'s versions, as {{"{entry_key(axis.noun, value)}": "package 1.0"}}'
    )


_SOUND: dict[str, set[str]] = {column.name: set() for column in _TEXTS}
"""Words that nothing is wrong with: most rows say the same."""
_MOST_SOUND = 1000
_CLOSED = ("method", "protocol", "subset", "schema")


def check_headings(headings: list[Any], where: str) -> None:
    """Raises InputError for a column's name that holds control characters, is there twice, or is a
    column of the schema in other letters, whose numbers would be passed over without a word.
    """
    check_distinct(headings, where)
    known = {_bare(column.name): column.name for column in COLUMNS}
    for heading in map(str, headings):
        meant = known.get(_bare(heading))
        if meant is not None and heading != meant:
            raise InputError(f"{where}: the column {heading!r} should be written {meant!r}")


def check_distinct(headings: list[Any], where: str) -> None:
    """Raises InputError for a column's name that holds control characters, or is there twice: of
    any table.
    """
    seen: set[str] = set()
    for heading in map(str, headings):
        found = plain.stray(heading)
        if found is not None:
            raise InputError(f"{where}: the name of the column {plain.name(heading)} holds {found}")
        if heading in seen:
            raise InputError(f"{where}: the column {heading!r} is there twice")
        seen.add(heading)


def _bare(heading: str) -> str:
    return "".join(heading.split()).replace("-", "_").casefold()


def check_words(row: Mapping[str, Any], where: str) -> None:
    """Raises InputError for the first word of a row, of the right types, that is none."""
    simulated = row.get("constants") is not None
    for column in _TEXTS:
        value = row.get(column.name)
        sound = _SOUND[column.name]
        if value is None or value in sound:
            continue
        wrong = wrong_word(column, value)
        if wrong:
            raise InputError(
                f"{where}: the field {column.name!r}, {plain.line(repr(value), 80)}, {wrong}"
            )
        if len(sound) < _MOST_SOUND:
            sound.add(value)
    versions = f"{row.get('versions')} {row.get('pretrain_versions')}"
    for name in _CLOSED:
        wrong = wrong_name(name, row[name], simulated=simulated, versions=versions)
        if wrong:
            raise InputError(f"{where}: the field {name!r}: {wrong}")


def check_table_words(
    table: pd.DataFrame, where: str, row_of: Callable[[Any], str], lacking: frozenset[str]
) -> None:
    """Raises InputError for the first word of a table, of the right types, that is none.

    `row_of` says which row the first one of a mask is; columns that are `lacking` are not looked
    at.
    """
    import pandas as pd

    for column in _TEXTS:
        if column.name not in table or column.name in lacking:
            continue
        for value in _distinct(table[column.name]):
            wrong = wrong_word(column, value) if isinstance(value, str) else None
            if wrong:
                # Compared one by one: as arrays, texts that differ in a last null are equal.
                same = [word is not pd.NA and word == value for word in table[column.name]]
                row = row_of(pd.Series(same))
                raise InputError(
                    f"{where}: the column {column.name!r} in {row}: "
                    f"{plain.line(repr(value), 80)} {wrong}"
                )
    simulated = (
        table["constants"].notna().to_numpy()
        if "constants" in table
        else np.zeros(len(table), dtype=bool)
    )
    for name in _CLOSED:
        for of_theory in (False, True):
            part = table.loc[simulated == of_theory, name]
            for value in pd.unique(part):
                if not wrong_name(name, value, simulated=of_theory):
                    continue
                here = (table[name] == value) & (simulated == of_theory)
                for versions in pd.unique(_versions(table[here])):
                    wrong = wrong_name(name, value, simulated=of_theory, versions=versions)
                    if wrong:
                        row = row_of(here & (_versions(table) == versions))
                        raise InputError(f"{where}: the column {name!r} in {row}: {wrong}")


def _distinct(column: pd.Series[Any]) -> Iterable[Any]:
    """Each value once, in the order of rows. Texts are counted, or found by the hash that each
    keeps, which is ten times faster than pandas, which reads them.
    """
    texts = column.to_numpy(dtype=object).tolist()
    try:
        if texts and texts.count(texts[0]) == len(texts):
            return texts[:1]
    except TypeError:  # a null among them is neither equal nor unequal
        pass
    return dict.fromkeys(texts)


def _versions(table: pd.DataFrame) -> pd.Series[Any]:
    """What each row says of versions, as one text."""
    import pandas as pd

    texts = pd.Series("", index=table.index, dtype=object)
    for name in ("versions", "pretrain_versions"):
        if name in table:
            texts = texts + " " + table[name].astype(object).fillna("")
    return texts
