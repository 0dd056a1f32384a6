"""captions.jsonl: texts of images, matched by path."""

from __future__ import annotations

import json
import posixpath
import re
import unicodedata
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headwater import plain
from headwater.errors import InputError
from headwater.sources.tables.listing import Listing, Objects, Texts


def with_captions(listing: Listing, path: Path) -> Listing:
    """`listing` with the text fields of a captions.jsonl: one object per line, {"path": ...,
    "captions": [...], "name": ..., ...}.

    A text, or a list of texts, is a field; blank texts are dropped; numbers, null and nested
    objects are no texts and are passed over, as are keys named path, split* and level*. Lines with
    the same path add up. Costs about 3 microseconds a line.

    Raises InputError for a line that is no JSON object or has no path, a list that mixes texts with
    other things, a control character, a path that the source lacks, and a field that labels.csv has
    as well.
    """
    positions, records = _match(listing.table.ids, path, list(read_objects(path, "path")))
    fields: dict[str, Objects] = {}
    for position, (line, record) in zip(positions.tolist(), records, strict=True):
        for name, value in record.items():
            if name == "path" or re.match(r"split|level\d", name):
                continue
            texts = texts_of(value, name, path, line)
            if texts is None:
                continue
            if name not in fields:
                fields[name] = np.fromiter(
                    ([] for _ in range(len(listing.table))), dtype=object, count=len(listing.table)
                )
            fields[name][position].extend(texts)
    both = sorted(set(fields) & set(listing.table.texts))
    if both:
        raise InputError(
            f"{path}: the text field {both[0]!r} is a column of labels.csv as well; rename one of "
            "them"
        )
    old = listing.table.texts
    merged = {name: (lambda name=name: old[name]) for name in old} | {
        name: (lambda name=name: fields[name]) for name in fields
    }
    return replace(listing, table=replace(listing.table, texts=Texts(merged)))


def read_objects(path: Path, key: str) -> Iterator[tuple[int, dict[str, Any]]]:
    """(line number, object) of every line of a JSON Lines file that is not blank.

    Raises InputError for a line that is not UTF-8, no JSON object, or has no text under `key`.
    """
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if number == 1:
                line = line.removeprefix(b"\xef\xbb\xbf")
            if not line.strip():
                continue
            try:
                record = json.loads(line.decode("utf-8"))
            except UnicodeDecodeError:
                raise InputError(
                    f"{path}, line {number}: this is not UTF-8; save the file as UTF-8"
                ) from None
            except (json.JSONDecodeError, RecursionError) as error:
                raise InputError(
                    f"{path}, line {number}: this is no JSON ({error}); write one object per line"
                ) from None
            if not isinstance(record, dict) or not isinstance(record.get(key), str):
                raise InputError(
                    f'{path}, line {number}: this is no object with a "{key}"; write '
                    f'{{"{key}": ..., "{"captions" if key == "path" else "text"}": ...}}'
                )
            yield number, record


def _match(
    ids: Objects, path: Path, lines: list[tuple[int, dict[str, Any]]]
) -> tuple[NDArray[np.int64], list[tuple[int, dict[str, Any]]]]:
    names = [
        unicodedata.normalize("NFC", posixpath.normpath(record["path"])) for _, record in lines
    ]
    positions = pd.Index(ids).get_indexer(pd.Index(names, dtype=object))
    unknown = np.flatnonzero(positions < 0)
    if len(unknown):
        line, record = lines[unknown[0]]
        rest = f" (and {len(unknown) - 1} further lines like it)" if len(unknown) > 1 else ""
        raise InputError(
            f"{path}, line {line}: the image {record['path']!r} is not among this source's "
            f"images{rest}; remove the line or list the image"
        )
    return positions.astype(np.int64), lines


def check_text(text: str, name: str, where: str) -> None:
    """Raises InputError, with `where`, for a text with a control character; tabs, line ends and
    marks of direction are none.
    """
    found = plain.stray(text, prose=True)
    if found is not None:
        raise InputError(f"{where}: {plain.name(name)!r} holds {found}; remove it")


def texts_of(value: object, name: str, path: Path, line: int) -> list[str] | None:
    """The texts of one value, or None for a value that is no text.

    Raises InputError for a list that mixes texts with other things, and for a control character.
    """
    if isinstance(value, str):
        check_text(value, name, f"{path}, line {line}")
        return [value] if value.strip() else []
    if not isinstance(value, list):
        return None
    texts = [item for item in value if isinstance(item, str)]
    if texts and len(texts) < len(value):
        raise InputError(
            f"{path}, line {line}: {name!r} mixes texts with other things; write a list of texts"
        )
    for text in texts:
        check_text(text, name, f"{path}, line {line}")
    return [text for text in texts if text.strip()] if texts or not value else None
