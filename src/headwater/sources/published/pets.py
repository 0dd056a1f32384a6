"""Oxford-IIIT Pets: lines `Abyssinian_100 1 1 1` (name, class 1 to 37, species 1 cat or 2 dog,
breed); trainval is train.
"""

from __future__ import annotations

import re

from headwater.errors import InputError
from headwater.sources import Source
from headwater.sources.published.reading import Request, objects, one_to_one, strings, text_lines
from headwater.sources.tables import listing_of

SPECIES = {"1": "cat", "2": "dog"}


def read(request: Request) -> Source:
    """The source.

    Raises InputError for lines of another form and a class number that means two breeds.
    """
    paths, classes, species, splits, places = [], [], [], [], []
    breeds: dict[int, str] = {}
    for file, split in (("trainval", "train"), ("test", "test")):
        path = request.base / "annotations" / f"{file}.txt"
        for number, line in text_lines(path):
            if line.startswith("#"):
                continue
            words = line.split()
            where = f"{path}, line {number}"
            breed = words[0].rpartition("_")[0]
            if (
                len(words) != 4
                or not breed
                or not re.fullmatch(r"[0-9]{1,4}", words[1])
                or words[2] not in SPECIES
            ):
                raise InputError(
                    f"{where}: {line[:80]!r} is no `Name_1 class species breed`; get the file again"
                )
            one_to_one(breeds, int(words[1]), breed, where)
            breeds[int(words[1])] = breed
            paths.append(f"images/{words[0]}.jpg")
            classes.append(breed)
            species.append(SPECIES[words[2]])
            splits.append(split)
            places.append(where)
    listing = listing_of(
        strings(paths),
        places.__getitem__,
        split=objects(splits),
        levels=(objects(classes), objects(species)),
    )
    return request.source(listing)
