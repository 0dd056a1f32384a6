"""Cassava Leaf Disease (Kaggle 2020): `train.csv` (image_id,label),
`label_num_to_disease_map.json`, `train_images/`. The split is ours, by key.
"""

from __future__ import annotations

import csv
import re

import numpy as np

from headwater.errors import InputError
from headwater.sources import Source
from headwater.sources.published.reading import Request, json_object, strings, text_lines
from headwater.sources.published.walked import test_share
from headwater.sources.tables import listing_of


def read(request: Request) -> Source:
    """The source.

    Raises InputError for another header, rows of another form, and labels that the map does not
    name.
    """
    path = request.base / "train.csv"
    diseases = json_object(request.base / "label_num_to_disease_map.json")
    lines = text_lines(path)
    if [word.strip() for word in lines[0][1].split(",")] != ["image_id", "label"]:
        raise InputError(
            f"{path}, line 1: the header is {lines[0][1][:80]!r}, not image_id,label; get the file "
            "again"
        )
    files, labels = [], []
    for number, line in lines[1:]:
        row = next(csv.reader([line]), [])
        if (
            len(row) != 2
            or not re.fullmatch(r"[0-9]{1,4}", row[1])
            or not isinstance(diseases.get(row[1]), str)
        ):
            raise InputError(
                f"{path}, line {number}: {','.join(row)[:80]!r} is no image_id and a label of "
                "label_num_to_disease_map.json; get the file again"
            )
        files.append(row[0])
        labels.append(int(row[1]))
    if not files:
        raise InputError(f"{path}: there is a header but no row; get the file again")
    codes = np.array(labels, dtype=np.int64)
    names = np.array(
        [str(diseases.get(str(number), "")) for number in range(int(codes.max()) + 1)], dtype=object
    )
    split = np.where(test_share(codes, files, "cassava test"), "test", "train").astype(object)
    listing = listing_of(
        strings([f"train_images/{file}" for file in files]),
        lambda row: f"{path}, line {lines[row + 1][0]}",
        split=split,
        levels=(names[codes],),
        spoken={
            name: re.sub(r"\s*\([A-Z]+\)$", "", name).lower() for name in names.tolist() if name
        },
    )
    return request.source(listing, classes=len(diseases))
