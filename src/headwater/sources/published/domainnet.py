"""DomainNet: `real_train.txt` and `real_test.txt` (and so for each domain) hold lines
`real/aircraft_carrier/real_001_000001.jpg 0`.

Each index must mean one class name in both files, whatever the path says: labels indexed anew in
each split are a known trap.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc

from headwater.errors import InputError
from headwater.sources import Source
from headwater.sources.published.reading import Request, strings, text_lines
from headwater.sources.tables import listing_of

_LINE = r"^(?P<path>(?P<domain>[^/]+)/(?P<name>[^/]+)/[^/].*)\s+(?P<index>[0-9]{1,6})$"


def read(request: Request) -> Source:
    """The source of one domain.

    Raises InputError for lines of another form and for an index that means two classes.
    """
    domain = request.entry.name.rpartition("-")[2]
    frames = [_listed(request.base / f"{domain}_{split}.txt", split) for split in ("train", "test")]
    frame = pd.concat(frames, ignore_index=True)
    _check_indices(frame, request.base / f"{domain}_test.txt")
    root = (
        request.base
        if (request.base / domain).is_dir() or request.base.name != domain
        else request.base.parent
    )
    names, codes = _shared(frame["name"])
    files, lines = frame["file"].to_numpy(), frame["line"].to_numpy()
    listing = listing_of(
        strings(frame["path"].tolist()),
        lambda row: f"{files[row]}, line {lines[row]}",
        split=frame["split"].to_numpy(dtype=object),
        levels=(names[codes],),
    )
    return request.source(listing, root=root)


def _listed(path: Path, split: str) -> pd.DataFrame:
    numbers, lines = zip(*text_lines(path), strict=True)
    found: Any = pc.extract_regex(pa.array(lines, pa.string()), _LINE)
    if found.null_count:
        row = int(pc.index(pc.is_null(found), True).as_py())
        raise InputError(
            f"{path}, line {numbers[row]}: {lines[row][:80]!r} is no `domain/class/file.jpg "
            "index`; get the file again"
        )
    columns: dict[str, Any] = {
        name: found.field(name).to_numpy(zero_copy_only=False) for name in ("path", "name", "index")
    }
    return pd.DataFrame({**columns, "split": split, "file": str(path), "line": numbers}).astype(
        {"index": np.int64}
    )


def _check_indices(frame: pd.DataFrame, blamed: Path) -> None:
    pairs = frame[["index", "name"]].drop_duplicates()
    for column, other in (("index", "name"), ("name", "index")):
        twice = pairs[pairs[column].duplicated(keep=False)].sort_values([column, other])
        if len(twice):
            value = twice[column].iloc[0]
            one, two = twice[other][twice[column] == value].iloc[:2]
            raise InputError(
                f"{blamed}: {column} {value!r} stands for {one!r} and for {two!r} in the split "
                "files, which do not match; get both again"
            )


def _shared(column: pd.Series[str]) -> tuple[Any, Any]:
    codes, names = pd.factorize(column, sort=True)
    return np.asarray(names, dtype=object), codes
