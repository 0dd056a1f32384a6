"""Which column of a CSV means what: paths, splits, classes, texts.

`path`, `split...` and `level1` ... `levelN` are this project's names. What others write is read
where it can mean one thing only, and told; otherwise the exact name to write is in the error.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

import pyarrow.compute as pc

from headwater.errors import InputError
from headwater.sources.split_words import exact_split
from headwater.sources.tables.csv_file import CsvFile

_PATHS = frozenset(
    [
        "path",
        "paths",
        "file",
        "filename",
        "filepath",
        "filenames",
        "filepaths",
        "image",
        "images",
        "img",
        "imagepath",
        "imgpath",
        "imagefile",
        "imgfile",
        "imagefilename",
        "imagefilepath",
        "imagename",
        "imgname",
        "fname",
        "relpath",
        "relativepath",
        "photo",
        "photopath",
        "picture",
    ]
)
_CLASSES = frozenset(
    [
        "label",
        "labels",
        "labelname",
        "class",
        "classes",
        "classname",
        "classlabel",
        "category",
        "categories",
        "categoryname",
        "target",
        "targets",
        "targetname",
    ]
)


@dataclass(frozen=True)
class Columns:
    """Names of columns by what they mean."""

    path: str
    splits: tuple[str, ...]
    levels: tuple[str, ...]
    """Coarsest first."""
    others: tuple[str, ...]
    """Text fields, and groups."""
    notes: tuple[str, ...]
    """What was read under another name, for people."""


def columns_of(file: CsvFile) -> Columns:
    """What the columns of a file mean.

    Raises InputError where none, or several, can be the path or the class, for gaps in the levels,
    and where a column that is not called split holds train and test.
    """
    names = [name for name in file.header if name]
    path = path_column(file.header, str(file.path))
    numbered = _levels(names, f"{file.path}, line 1")
    named = None if numbered else class_column(names, f"{file.path}, line 1")
    levels = numbered if named is None else (named,)
    splits = tuple(name for name in names if name.casefold().startswith("split"))
    if len({name.casefold() for name in splits}) < len(splits):
        raise InputError(
            f"{file.path}, line 1: the columns {' and '.join(map(repr, splits))} are one name in "
            "different case; rename one of them"
        )
    if not splits:
        _check_no_split(file, [name for name in names if name not in (path, *numbered)])
    used = {path, *splits, *numbered}
    others = tuple(name for name in names if name not in used)
    meant = {} if path == "path" else {path: "path"}
    if not numbered:
        meant |= dict.fromkeys(levels, "level1")
    notes = [f"the column {name!r} is read as {meaning}" for name, meaning in meant.items()]
    nameless = len(file.header) - len(names)
    if nameless:
        notes.append(f"{nameless} column(s) without a name are not read")
    return Columns(
        path=path,
        splits=splits,
        levels=levels,
        others=others,
        notes=tuple(f"{file.path.name}: {note}" for note in notes),
    )


def path_column(names: Sequence[str], where: str) -> str:
    """The column of the images' paths: `path`, or the one column that others call so.

    Raises InputError where there is none, or several.
    """
    if "path" in names:
        return "path"
    found = [name for name in names if _plain(name) in _PATHS]
    if len(found) == 1:
        return found[0]
    if found:
        listed = " and ".join(map(repr, found[:4]))
        raise InputError(
            f"{where}, line 1: the columns {listed} can all be the images' paths; rename the one "
            f"that is to 'path'"
        )
    listed = ", ".join(repr(name if len(name) <= 60 else f"{name[:57]}...") for name in names[:12])
    raise InputError(
        f"{where}, line 1: there is no column path; the header has {listed}; rename the column of "
        "the images' paths to 'path'"
    )


def _levels(names: Sequence[str], where: str) -> tuple[str, ...]:
    for name in names:
        if re.fullmatch(r"(?i)level[ _-]?\d+", name) and not re.fullmatch(r"level[1-9]\d*", name):
            raise InputError(
                f"{where}: the column {name!r} is no level; levels are level1 (coarsest), "
                "level2, ... levelN (finest)"
            )
    numbers = {int(name[5:]) for name in names if re.fullmatch(r"level[1-9]\d*", name)}
    for number in range(1, len(numbers) + 1):
        if number not in numbers:
            raise InputError(
                f"{where}: level{max(numbers)} is there but level{number} is not; number "
                "levels from 1 (coarsest) without a gap"
            )
    return tuple(f"level{number}" for number in range(1, len(numbers) + 1))


def class_column(names: Sequence[str], where: str) -> str | None:
    """The column that others call label, class and the like; None where there is none.

    Raises InputError where there are several.
    """
    found = [name for name in names if _plain(name) in _CLASSES]
    if len(found) > 1:
        listed = " and ".join(map(repr, found[:4]))
        raise InputError(
            f"{where}: the columns {listed} can all be the class; rename the one that is to "
            "'level1' (or several to level1, level2, ... from coarse to fine)"
        )
    return found[0] if found else None


def _check_no_split(file: CsvFile, names: Sequence[str]) -> None:
    """Raises InputError where a column that is not called split holds names of splits alone, of two
    at least: without it, test images would be trained on.
    """
    for name in names:
        column = file.column(name)
        if not all(
            exact_split(value) for value in column.slice(0, 64).to_pylist() if value.strip()
        ):
            continue
        values = [value for value in pc.unique(column).to_pylist() if value.strip()]
        splits = {exact_split(value) for value in values}
        if None not in splits and len(splits) > 1:
            listed = ", ".join(map(repr, sorted(values)[:4]))
            raise InputError(
                f"{file.path}, line 1: the column {name!r} holds {listed}, which are names of "
                "splits; rename it to 'split' (if it says something else, add a column split with "
                "train in every row)"
            )


def _plain(name: str) -> str:
    return re.sub(r"[\s_.-]", "", name).casefold()
