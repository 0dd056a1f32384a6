"""The published sets, the folders under the data root, one task in detail, and index files.

As plain values. Imports no torch.
"""

from __future__ import annotations

import os
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd

from headwater import files
from headwater.errors import InputError
from headwater.facts.conversions import conversion_facts
from headwater.facts.copies import copy_facts, copy_notes
from headwater.facts.folders import named_folder, opened_folder
from headwater.sources import Source, Table
from headwater.sources.folder import FolderSource
from headwater.sources.formats import is_image
from headwater.sources.looking import A_FEW, Looked, Looking, look, named
from headwater.sources.pixels.conversions import conversion_sentences
from headwater.sources.published import PUBLISHED, Published, on_disk, read_published
from headwater.study import PublishedData
from headwater.tasks import SPLITS, split_index

_LOOKED_AT = 32
"""Pixels at which images are decoded to see whether they can be."""


def list_facts(data_root: Path | None, *, verify: bool) -> dict[str, Any]:
    """All published sets, whether they are on disk, and the folders under the data root that
    Headwater reads. `verify` loads what is there.
    """
    return {
        "data_root": None if data_root is None else str(data_root),
        "tasks": [_entry_facts(entry, data_root, verify=verify) for entry in PUBLISHED.values()],
        "folders": [] if data_root is None else _folders(data_root, verify=verify),
    }


def _entry_facts(entry: Published, data_root: Path | None, *, verify: bool) -> dict[str, Any]:
    path = None if data_root is None else data_root / entry.folder
    there = path is not None and on_disk(entry, path)
    facts: dict[str, Any] = {
        "task": entry.name,
        "title": entry.title,
        "classes": entry.classes,
        **{split: entry.sizes.get(split) for split in SPLITS},
        "metric": entry.metric,
        "licence": entry.licence,
        "home": entry.home,
        "folder": entry.folder,
        "on_disk": there,
    }
    if verify:
        facts["verified"], facts["problem"] = None, None
        if there and path is not None:
            try:
                _published(entry, path)
                facts["verified"] = True
            except InputError as error:
                facts["verified"], facts["problem"] = False, str(error)
    return facts


def _published(entry: Published, path: Path) -> Source:
    return read_published(entry.name, PublishedData(kind="published", name=entry.name), path)


def _folders(data_root: Path, *, verify: bool) -> list[dict[str, Any]]:
    """Folders with a labels.csv, with their counts; folders of images, whose counts take a walk and
    so are given with `verify` alone.
    """
    published = {
        entry.folder for entry in PUBLISHED.values() if on_disk(entry, data_root / entry.folder)
    }
    records = []
    try:
        folders = sorted(
            path for path in data_root.iterdir() if path.is_dir() and not path.name.startswith(".")
        )
    except OSError as error:
        raise InputError(f"{data_root}: cannot be read ({error.strerror})") from None
    for folder in folders:
        csv = (folder / "labels.csv").is_file()
        if not csv and (folder.name in published or not _has_images(folder)):
            continue
        facts: dict[str, Any] = {
            "folder": folder.name,
            "path": str(folder),
            "layout": "labels.csv" if csv else "folders",
            "images": None,
            "problem": None,
        }
        if csv or verify:
            try:
                facts |= _table_facts(FolderSource(folder.name, folder).table)
            except InputError as error:
                facts["problem"] = str(error)
        records.append(facts)
    return records


def _has_images(folder: Path, depth: int = 3) -> bool:
    """Whether an image lies in a folder or in the first folder of it, and so on: a look, no
    walk.
    """
    try:
        with os.scandir(folder) as entries:
            listed = sorted(
                (entry for entry in entries if not entry.name.startswith(".")),
                key=lambda entry: entry.name,
            )
    except OSError:
        return False
    if any(is_image(entry.name) and entry.is_file() for entry in listed[:1000]):
        return True
    below = next((entry for entry in listed if entry.is_dir(follow_symlinks=False)), None)
    return depth > 0 and below is not None and _has_images(folder / below.name, depth - 1)


def _table_facts(table: Table) -> dict[str, Any]:
    facts: dict[str, Any] = {
        "images": len(table),
        "classes": [len(set(level.tolist()) - {""}) for level in table.levels],
        "splits": {},
    }
    for column, values in table.splits.items():
        counts = pd.Series(values).value_counts()
        facts["splits"][column] = {
            split or "left out": int(counts[split])
            for split in (*SPLITS, "")
            if split in counts.index
        }
    return facts


def task_facts(
    name: str,
    data_root: Path | None,
    *,
    layout: str | None = None,
    follow_links: bool = False,
    verify: bool = False,
    looking: Looking | None = None,
) -> dict[str, Any]:
    """One published set, or one folder (here or under the data root), in detail; how a folder is
    read as in `opened_folder`. `verify` looks for copies however many files there are; `looking` is
    how closely images are looked at.

    Raises InputError for a name that is neither.
    """
    entry = PUBLISHED.get(name)
    if entry is None:
        folder = _folder_source(name, data_root, layout=layout, follow_links=follow_links)
        return _source_facts(folder, verify, looking or A_FEW)
    facts = _entry_facts(entry, data_root, verify=False)
    facts |= {
        "levels": list(entry.levels),
        "groups": dict.fromkeys(entry.groups),
        "sizes_from": entry.source_of_sizes,
        "variants": {option: dict(sizes) for option, sizes in entry.variants.items()},
        "layout": [f"{entry.folder}/{line}" for line in entry.layout],
        "templates": list(entry.templates),
        "study": {"kind": "published", "name": entry.name},
    }
    if facts["on_disk"] and data_root is not None:
        source = _published(entry, data_root / entry.folder)
        facts |= _source_facts(source, verify, looking or A_FEW)
    elif data_root is not None and (data_root / entry.folder).is_dir():
        facts["note"] = (
            f"{data_root / entry.folder} is there, but is not the set as published; `headwater "
            f"tasks {data_root / entry.folder}` shows that folder"
        )
    return facts


def open_named(
    name: str, data_root: Path | None, *, layout: str | None = None, follow_links: bool = False
) -> Source:
    """The source of a published set (under the data root) or of a folder.

    Raises InputError where it is not there.
    """
    if name in PUBLISHED and not Path(name).is_dir():
        from headwater.sources import open_source

        words = PublishedData(kind="published", name=name)
        return open_source(name, words, data_root=data_root, cache=None)
    return _folder_source(name, data_root, layout=layout, follow_links=follow_links)


def _folder_source(
    name: str, data_root: Path | None, *, layout: str | None, follow_links: bool
) -> Source:
    path = named_folder(name, data_root, f"no published task ({', '.join(PUBLISHED)})")
    return opened_folder(path, layout=layout, follow_links=follow_links)


def _source_facts(source: Source, verify: bool, looking: Looking) -> dict[str, Any]:
    """What a table says of a task: counts per split and class at level:0; which files are copies,
    what is converted, and which images cannot be read.
    """
    table = source.table
    looked = look(source, np.arange(len(table)), _LOOKED_AT, looking)
    sound = np.setdiff1d(np.arange(len(table)), np.array(list(looked.bad), dtype=np.int64))
    copies = copy_facts(source, sound, whole=verify)
    facts: dict[str, Any] = {
        "source": source.name,
        **_table_facts(table),
        "metric": source.metric,
        "notes": [*source.notes, *copy_notes(copies)],
        "copies": copies,
        "converted": None,
        **_looked_facts(source, looked),
    }
    if copies["problem"] is None and not source.generated:
        known = len(table) > 0 and not looked.unopened and source.file(0) is not None
        facts["converted"] = looked.converted if known else conversion_facts(source, sound)
        facts["conversions"] = conversion_sentences(facts["converted"], len(table))
    facts["images_per_class"] = _class_facts(table) if table.levels else {}
    facts["groups"] = _group_facts(table)
    facts["texts"] = sorted(table.texts)
    if table.levels:
        facts["class_names"] = sorted(set(table.levels[0].tolist()) - {""})
        facts["without_class"] = int((table.levels[0] == "").sum())
    return facts


def _looked_facts(source: Source, looked: Looked) -> dict[str, Any]:
    """Images that cannot be read: how many, and what is wrong with them."""
    return {
        "unreadable": dict(sorted(Counter(looked.bad.values()).items())),
        "unreadable_images": named(source, looked),
        "unopened": looked.unopened,
    }


def _class_facts(table: Table) -> dict[str, dict[str, dict[str, Any]]]:
    """By split column and split: the smallest and the largest class at level:0, and the share of
    the largest.
    """
    facts: dict[str, dict[str, dict[str, Any]]] = {}
    every = sorted(set(table.levels[0].tolist()) - {""})
    for column, values in table.splits.items():
        facts[column] = {}
        for split in SPLITS:
            names = table.levels[0][values == split]
            counts = pd.Series(names[names != ""]).value_counts().reindex(every, fill_value=0)
            if counts.sum():
                small, large = str(counts.idxmin()), str(counts.idxmax())
                facts[column][split] = {
                    "smallest": {"class": small, "images": int(counts[small])},
                    "largest": {
                        "class": large,
                        "images": int(counts[large]),
                        "share": float(counts[large] / counts.sum()),
                    },
                }
    return facts


def _group_facts(table: Table) -> dict[str, int]:
    """Groups of each column whose values repeat: a column with a value of its own for most images
    is a text, not a group.
    """
    num_groups: dict[str, int] = {}
    for name in table.groups:
        values = table.groups[name]
        groups = len(set(values.tolist()) - {""})
        if 1 < groups <= len(values) // 2:
            num_groups[name] = groups
    return num_groups


def write_index(out: Path, text: bytes) -> None:
    """Write an index file.

    Raises InputError where it cannot be written, and where it exists, unless it holds the same: a
    fixed split is not replaced by accident.
    """
    if out.exists() and (out.is_dir() or out.read_bytes() != text):
        raise InputError(
            f"{out}: exists already and holds another split; name another file, or remove it first"
        )
    try:
        files.write_atomic(out, text)
    except OSError as error:
        raise InputError(f"{out}: cannot be written ({error.strerror})") from None


def write_split(
    name: str,
    out: Path,
    *,
    data_root: Path | None,
    test: float,
    val: float,
    seed: int,
    group: str | None,
    labels: str | None,
    layout: str | None = None,
    follow_links: bool = False,
) -> dict[str, Any]:
    """Write the index file of a folder or a published set; what is in it.

    `labels` None means level:0 where there are classes.

    Raises InputError where a split cannot be made, and as `write_index`.
    """
    source = open_named(name, data_root, layout=layout, follow_links=follow_links)
    view = labels or ("level:0" if source.table.levels else None)
    index = split_index(source, labels=view, test=test, val=val, seed=seed, group=group)
    write_index(out, index.csv().encode())
    facts: dict[str, Any] = {
        "wrote": str(out),
        "source": source.name,
        "published": not isinstance(source, FolderSource),
    }
    facts["folder"] = str(source.root.resolve()) if isinstance(source, FolderSource) else None
    facts |= {"labels": view, "seed": seed, "group": group, "groups": index.num_groups}
    facts["images"] = {split: sum(index.counts[split]) for split in SPLITS}
    facts["left_out"] = int((index.split == "").sum())
    facts["classes"] = len(index.class_names)
    facts["missing_classes"] = {}
    for split in SPLITS:
        missing = list(index.counts[split]).count(0)
        if index.class_names and facts["images"][split] and missing:
            facts["missing_classes"][split] = missing
    return facts
