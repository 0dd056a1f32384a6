"""Describable Textures: `labels/train1.txt`, `val1.txt` and `test1.txt` (ten folds) list
`class/file.jpg`, relative to `images`.
"""

from __future__ import annotations

from headwater.errors import InputError
from headwater.sources import Source
from headwater.sources.published.reading import Request, objects, strings, text_lines
from headwater.sources.tables import listing_of


def read(request: Request) -> Source:
    """The source under the study's fold (1 when left out).

    Raises InputError for lines that are no `class/file`.
    """
    rows: list[tuple[str, str, str]] = []
    fold = request.words.fold or 1
    for split in ("train", "val", "test"):
        path = request.base / "labels" / f"{split}{fold}.txt"
        for number, line in text_lines(path):
            if line.count("/") != 1:
                raise InputError(
                    f"{path}, line {number}: {line[:80]!r} is no `class/file.jpg`; get the file "
                    "again"
                )
            rows.append((f"images/{line}", split, f"{path}, line {number}"))
    paths, splits, places = zip(*rows, strict=True)
    classes = [path.split("/")[1] for path in paths]
    return request.source(
        listing_of(
            strings(paths), places.__getitem__, split=objects(splits), levels=(objects(classes),)
        )
    )
