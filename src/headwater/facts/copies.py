"""Files of one data set that show one picture, byte for byte, as plain values."""

from __future__ import annotations

from dataclasses import asdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources import Positions, Source
from headwater.sources.copies import (
    copies_sentence,
    pictures_of,
    two_classes_sentence,
    under_two_classes,
)

LOOK_FILES = 50_000
LOOK_BYTES = 4 << 30
"""So many files, and so many bytes of them (4 GiB), are read without being asked: about half a
minute of a local disk [ours].
"""


def copy_facts(
    source: Source, positions: Positions | None = None, *, whole: bool = False
) -> dict[str, Any]:
    """How many files of a source (all, where `positions` is left out) are how many pictures; for
    each split column how many test and val images are copies of others; and pictures under two
    classes. `whole` reads them however many they are.

    `problem` says why nobody looked, where nobody did; then there are no counts.
    """
    if positions is None:
        positions = np.arange(len(source.table), dtype=np.int64)
    facts: dict[str, Any] = {"files": len(positions), "pictures": None, "problem": None}
    if source.generated:
        return facts | {"pictures": len(positions), "splits": {}, "two_classes": []}
    try:
        facts["problem"] = None if whole else _too_much(source, positions)
        if facts["problem"] is not None:
            return facts
        pictures = pictures_of(source.byte_hashes(positions))
    except InputError as error:
        return facts | {"problem": f"copies were not looked for: {error}"}
    found = under_two_classes(source.table, positions, pictures)
    return facts | {
        "pictures": int(pictures.max(initial=-1)) + 1,
        "splits": {
            column: copies
            for column, values in source.table.splits.items()
            if (copies := _between(pictures, values[positions]))
        },
        "two_classes": [asdict(one) for one in found],
        "sentences": [two_classes_sentence(found)] if found else [],
    }


def _too_much(source: Source, positions: Positions) -> str | None:
    if len(positions) > LOOK_FILES:
        much = f"{len(positions):,} files"
    elif (size := source.bytes_to_hash(positions)) > LOOK_BYTES:
        much = f"{size / (1 << 30):.1f} GiB"
    else:
        return None
    return (
        f"copies were not looked for, as there are {much} to read; `headwater plan` looks for them "
        "in what a study uses, and --verify here"
    )


def _between(pictures: NDArray[np.int64], splits: NDArray[np.object_]) -> dict[str, int]:
    """How many images of a split are copies of an earlier one's; those with copies alone."""
    train, val, test = (pictures[splits == name] for name in ("train", "val", "test"))
    counts = {
        "test": int(np.isin(test, np.concatenate([train, val])).sum()),
        "val": int(np.isin(val, train).sum()),
    }
    return {name: number for name, number in counts.items() if number}


def copy_notes(facts: dict[str, Any]) -> list[str]:
    """What a person should know of them, a sentence each; none where there are no copies."""
    if facts["pictures"] is None:
        return [facts["problem"]]
    notes = []
    if facts["pictures"] < facts["files"]:
        notes.append(copies_sentence(facts["files"], facts["pictures"]))
    for column, copies in facts["splits"].items():
        under = "" if column == "split" else f" under {column}"
        if "test" in copies:
            verb = "test image is a copy" if copies["test"] == 1 else "test images are copies"
            notes.append(f"{copies['test']:,} {verb} of train or val images{under}, byte for byte")
        if "val" in copies:
            verb = "val image is a copy" if copies["val"] == 1 else "val images are copies"
            notes.append(f"{copies['val']:,} {verb} of train images{under}, byte for byte")
    return [*notes, *facts.get("sentences", ())]
