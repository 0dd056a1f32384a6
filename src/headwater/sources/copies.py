"""Files that show one picture, byte for byte, and what they are called."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from headwater.sources import Positions, Table
from headwater.sources.digest_sets import codes

_SHOWN = 3
"""Pictures that a sentence names."""


@dataclass(frozen=True)
class TwoClasses:
    """One picture that stands under two classes or more."""

    ids: tuple[str, ...]
    """The first file of it in each class."""
    classes: tuple[str, ...]


def pictures_of(digests: Sequence[str] | NDArray[np.bytes_]) -> NDArray[np.int64]:
    """int64 [len(digests)]: the number of each file's picture, from 0, in order of appearance."""
    return codes(np.asarray(digests, dtype="S"))


def under_two_classes(
    table: Table, positions: Positions, pictures: NDArray[np.int64]
) -> list[TwoClasses]:
    """Pictures whose files have different classes at level:0; files without a class are passed
    over. `pictures` is `pictures_of` the files at `positions`.
    """
    if not table.levels or not len(positions):
        return []
    classes = table.levels[0][positions]
    codes = pd.factorize(classes)[0]
    named = np.flatnonzero(classes != "")
    pairs = pd.DataFrame({"picture": pictures[named], "class": codes[named], "row": named})
    firsts = pairs.drop_duplicates(["picture", "class"])
    several = firsts[firsts.duplicated("picture", keep=False)]
    together = [group["row"].to_numpy() for _, group in several.groupby("picture")]
    return [
        TwoClasses(tuple(map(str, table.ids[positions[rows]])), tuple(map(str, classes[rows])))
        for rows in together
    ]


def two_classes_sentence(found: Sequence[TwoClasses]) -> str:
    """What is to be told of pictures under two classes, of which there is one at least."""
    shown = list(map(_spoken, found[:_SHOWN]))
    if len(found) > _SHOWN:
        shown.append(f"and {len(found) - _SHOWN:,} more")
    what = "1 picture stands" if len(found) == 1 else f"{len(found):,} pictures stand"
    return f"{what} under two classes or more, byte for byte: {'; '.join(shown)}"


def _spoken(one: TwoClasses) -> str:
    pairs = zip(one.ids, one.classes, strict=True)
    return " and ".join(f"{sample!r} is {name!r}" for sample, name in pairs)


def copies_sentence(num_files: int, num_pictures: int) -> str:
    """'its 40 files are 12 different pictures, byte for byte'."""
    pictures = "1 picture" if num_pictures == 1 else f"{num_pictures:,} different pictures"
    return f"its {num_files:,} files are {pictures}, byte for byte"
