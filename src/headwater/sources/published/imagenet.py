"""ImageNet-1k in class folders named by synset: `train/n01440764/*.JPEG` and
`val/n01440764/*.JPEG`; val is the test split.
"""

from __future__ import annotations

import re
from dataclasses import replace

from headwater.errors import InputError
from headwater.sources import Source
from headwater.sources.published.reading import Request, class_folders, objects, strings
from headwater.sources.tables import listing_of


def read(request: Request) -> Source:
    """The source, its classes nodes of WordNet.

    Raises InputError for folders that are no synsets, and where val and train have other classes.
    """
    paths: list[str] = []
    classes: list[str] = []
    splits: list[str] = []
    seen = {}
    for folder, split in (("train", "train"), ("val", "test")):
        root = request.base / folder
        if folder == "val" and any(root.glob("*.JPEG")):
            raise InputError(
                f"{root}: the images lie beside one another; sort them into class folders "
                "(val/<wnid>/), as the usual valprep script does"
            )
        found, own = class_folders(root)
        strange = next((name for name in own if not re.fullmatch(r"n\d{8}", name)), None)
        if strange is not None:
            raise InputError(
                f"{root}: the class folder {strange!r} is no synset id such as n01440764; remove "
                "or rename it"
            )
        seen[folder] = set(own)
        paths += [f"{folder}/{path}" for path in found]
        classes += own
        splits += [split] * len(own)
    lacking = sorted(seen["val"] - seen["train"])
    if lacking:
        raise InputError(
            f"{request.base}: {len(lacking)} classes of val have no folder in train, the first is "
            f"{lacking[0]!r}; get the set again"
        )
    listing = listing_of(
        strings(paths),
        lambda _: str(request.base),
        split=objects(splits),
        levels=(objects(classes),),
    )
    return request.source(replace(listing, table=replace(listing.table, hierarchy="wordnet")))
