"""Hierarchies of classes from what data sets ship: one file per format, and `open_hierarchy`, which
tells them apart.

A reference is one of

    wordnet                     WordNet 3.0's nouns, shipped with this package (wordnet.py)
    cifar100                    CIFAR-100's 20 superclasses, built in (cifar100.py)
    PATH                        a file, or a folder with WordNet's data.noun
    PATH#child-parent           a list of relations whose lines have the child first, or
                                `#parent-child` (edges.py)
    PATH#genus>species          a table, with its rank columns, coarsest first (taxonomy.py)

What a file is, is told in this order: it begins as WordNet's `data.noun` does; it begins with `{`
or `[` (JSON: `categories` are iNaturalist's, `LabelName` or `name` a nested tree); its second class
begins with `--` (an indented tree); columns are named in the reference, the first line names two
Linnaean ranks, `level1`, or has more than two cells with a tab or a comma between them (a table);
else it is a list of relations.
"""

from __future__ import annotations

import re
from functools import lru_cache
from pathlib import Path

from headwater.errors import InputError
from headwater.labels.hierarchies import class_lists
from headwater.labels.hierarchies.cifar100 import cifar100
from headwater.labels.hierarchies.class_lists import class_list, missing, synset_titles
from headwater.labels.hierarchies.edges import ORDERS, read_edges, separator_of
from headwater.labels.hierarchies.inaturalist import WHOLE, read_inaturalist
from headwater.labels.hierarchies.reading import file_size, read_head, shown
from headwater.labels.hierarchies.taxonomy import rank_columns, read_taxonomy
from headwater.labels.hierarchies.trees import read_indented, read_json, read_nested
from headwater.labels.hierarchies.wordnet import NOTICE, read_wordnet, shipped_wordnet
from headwater.labels.hierarchy import Hierarchy

__all__ = ["BUILT_IN", "class_list", "class_lists", "missing", "open_hierarchy", "synset_titles"]

BUILT_IN = {"wordnet": shipped_wordnet, "cifar100": cifar100}


def open_hierarchy(reference: str | Path, *, where: str = "hierarchy") -> Hierarchy:
    """The hierarchy that a reference names. `where` says, in messages, who asked for it.

    A file is read once for as long as its size, times of change and inode stay. Raises InputError,
    of one line with the file and the line, for an unknown reference and a file that is no
    hierarchy.
    """
    if str(reference) in BUILT_IN:
        return BUILT_IN[str(reference)]()
    try:
        path, option = _split(str(reference))
        if path.is_dir():
            path = next(
                (
                    file
                    for file in (path / "data.noun", path / "dict" / "data.noun")
                    if file.is_file()
                ),
                path,
            )
            if path.is_dir():
                raise InputError(
                    f"{path}: a folder is a hierarchy only where it holds WordNet's data.noun; "
                    "name a file in it"
                )
        file_size(path)
        status = path.stat()
        changed = status.st_mtime_ns, status.st_ctime_ns, status.st_ino
        return _opened(path, str(path.resolve()), status.st_size, changed, option)
    except InputError as error:
        raise InputError(f"{where}: {error}") from None


def _split(reference: str) -> tuple[Path, str]:
    """(file, what follows the last `#`); a file whose own name has a `#` needs none after it."""
    path, hash_sign, option = reference.rpartition("#")
    try:
        if not hash_sign or Path(reference).exists():
            path, option = reference, ""
        if Path(path).exists():
            return Path(path), option.strip()
    except (OSError, ValueError):
        pass
    raise InputError(
        f"{shown(reference)} is neither a file nor a hierarchy that comes with this package "
        f"({', '.join(BUILT_IN)})"
    )


@lru_cache(maxsize=16)
def _opened(
    path: Path, _resolved: str, _size: int, _changed: tuple[int, int, int], option: str
) -> Hierarchy:
    head = read_head(path)
    start = head.lstrip()
    if option in ORDERS:
        return read_edges(path, option)
    if option:
        return read_taxonomy(path, [name.strip() for name in option.split(">")])
    if path.name == "data.noun" or head.startswith(NOTICE):
        return read_wordnet(path)
    if start[:1] in ("{", "["):
        return _from_json(path)
    lines = [line for line in start.split("\n") if line.strip()]
    if len(lines) > 1 and re.match(r"\s*--(?!-)", lines[1]):
        return read_indented(path)
    separator = separator_of(start)
    cells = (
        [cell.strip(' \r"') for cell in lines[0].split(separator)] if lines and separator else []
    )
    if rank_columns(cells) or "level1" in cells or len(cells) > 2:
        return read_taxonomy(path)
    return read_edges(path)


def _from_json(path: Path) -> Hierarchy:
    if file_size(path) > WHOLE:
        return read_inaturalist(path)
    content = read_json(path)
    return (
        read_inaturalist(path, content)
        if isinstance(content, dict) and "categories" in content
        else read_nested(path, content)
    )
