"""iNaturalist's annotation JSON (2021: `train.json`, `train_mini.json`, `val.json`): its
`categories` are a taxonomy.

A class is called by its `image_dir_name`, the folder of its images; its `name` (the species) is an
alias and its `common_name` the title. Ranks are kingdom ... genus and `species` (the class itself).
`supercategory` (Birds, Plants, ...) is no Linnaean rank: it may hold several phyla while one phylum
holds several of them, so it stands beside the tree, for `rank:supercategory` alone, and levels are
what they would be without it. `Hierarchy.conflict` says whether it nests with a given rank.

The images and annotations of these files are passed over: a file over 16 MiB is not parsed whole,
its `categories` are found and read alone.
"""

from __future__ import annotations

import codecs
import json
import mmap
import re
from collections import Counter
from pathlib import Path
from typing import Any

from headwater.errors import InputError
from headwater.labels.hierarchies.reading import file_size, parse_json, read_text, shown, tidied
from headwater.labels.hierarchies.taxonomy import ranked
from headwater.labels.hierarchy import Hierarchy

RANKS = ("kingdom", "phylum", "class", "order", "family", "genus")
WHOLE = 1 << 24
"""Bytes up to which a file is parsed whole."""
_PART = 1 << 27
"""Bytes within which the categories of a larger one must end: 128 MiB, forty times those of
2021.
"""


def find_categories(path: Path) -> Any:
    """The value of `categories` in a large file, without parsing what is around it; None where
    there is none.

    The first `"categories": [{...` counts whose list ends within 128 MiB and holds objects with a
    name or a folder.
    """
    with path.open("rb") as file, mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
        key = b'"categories"'
        place = data.find(key)
        while place >= 0:
            quoted = place > 0 and data[place - 1 : place] == b"\\"
            categories = None if quoted else _list_at(data, place + len(key), path)
            if categories and all(map(_is_category, categories)):
                return categories
            place = data.find(key, place + 1)
    return None


def _is_category(value: Any) -> bool:
    return isinstance(value, dict) and ("image_dir_name" in value or "name" in value)


def _list_at(data: mmap.mmap, place: int, path: Path) -> list[Any] | None:
    """The JSON list that follows `:` at a place of the file, or None where there is none."""
    opening = re.match(rb"\s*:\s*(?=\[\s*\{)", data[place : place + 1000])
    if opening is None:
        return None
    size = 1 << 23
    while True:
        chunk = data[place + opening.end() : place + opening.end() + size]
        try:
            text = codecs.getincrementaldecoder("utf-8")().decode(chunk)
            value = json.JSONDecoder().raw_decode(text)[0]
            return value if isinstance(value, list) else None
        except UnicodeDecodeError:
            raise InputError(
                f"{path}: the categories are not UTF-8; save the file as UTF-8"
            ) from None
        except RecursionError:
            raise InputError(f"{path}: the categories are nested too deep for a taxonomy") from None
        except ValueError:
            if len(chunk) < size or size >= _PART:
                return None
            size *= 4


def read_inaturalist(path: Path, content: Any = None) -> Hierarchy:
    """The taxonomy of an annotation file; `content` is the file where it was parsed already.

    Raises InputError, naming the category by its place from 0, for one that is no object, has no
    name, has one that another has, or names no rank, and for taxa that are under two parents.
    """
    if content is None:
        if file_size(path) > WHOLE:
            content = {"categories": find_categories(path)}
        else:
            content = parse_json(read_text(path), path)
    categories = content.get("categories") if isinstance(content, dict) else None
    if not isinstance(categories, list) or not categories:
        raise InputError(
            f"{path}: there is no list of categories in this JSON, as iNaturalist's train.json and "
            "val.json have it"
        )
    rows: dict[tuple[str, ...], int] = {}
    places: dict[str, int] = {}
    titles: dict[tuple[str, ...], str] = {}
    groups: dict[str, str] = {}
    species: dict[str, str] = {}
    for place, category in enumerate(categories):
        texts = _texts(category, place, path)
        name = texts["image_dir_name"] or texts["name"]
        if name in places:
            raise InputError(
                f"{path}, categories[{place}]: the class {shown(name)} is "
                f"categories[{places[name]}] already"
            )
        row = (*(texts[rank] for rank in RANKS), name)
        if not any(row[:-1]):
            raise InputError(
                f"{path}, categories[{place}]: no rank is given; a category has kingdom, phylum, "
                "class, order, family and genus"
            )
        rows[row] = places[name] = place
        titles[row] = texts["common_name"] or texts["name"] or name
        groups[name] = texts["supercategory"]
        species[name] = texts["name"]
    times = Counter(species.values())
    aliases = {latin: name for name, latin in species.items() if latin and times[latin] == 1}
    beside = groups if all(groups.values()) else None
    kinds = (*RANKS, "species")
    return ranked(
        kinds,
        rows,
        path,
        titles=titles,
        aliases=aliases,
        beside=beside,
        beside_rank="supercategory",
        place="categories[{}]",
    )


def _texts(category: Any, place: int, path: Path) -> dict[str, str]:
    """The texts of one category, "" for what is missing or null."""
    if not isinstance(category, dict):
        raise InputError(
            f"{path}, categories[{place}]: a category is an object, this is {shown(category)}"
        )
    texts = {}
    for key in (*RANKS, "name", "common_name", "supercategory", "image_dir_name"):
        value = category.get(key)
        if value is not None and not isinstance(value, str):
            raise InputError(
                f"{path}, categories[{place}]: {key} is a text, this is {shown(value)}"
            )
        texts[key] = tidied(value or "")
    if not texts["image_dir_name"] and not texts["name"]:
        raise InputError(
            f"{path}, categories[{place}]: the class has neither image_dir_name nor name"
        )
    return texts
