"""Finished work goes from one store to another: arms, rows with their answers, and labels made from
features. An id means one content, so what is there already is passed over: a copy that was cut
short goes on where it was.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from headwater import digests
from headwater.errors import InputError
from headwater.store.cells import FinishedCell
from headwater.store.folder import Store

_TOGETHER = 256
"""Cells that go to the disk together [ours]."""
_BLOCK = 1 << 22


@dataclass
class Moved:
    """What a copy did."""

    arms: int = 0
    cells: int = 0
    labels: int = 0
    bytes: int = 0
    """Of arms."""
    there: int = 0
    """Arms, cells and labels that the other store had."""
    damaged: list[str] = field(default_factory=list)
    """What is damaged in the first store, and was left."""


def copy(
    source: Store,
    target: Store,
    *,
    arms: Collection[str] | None = None,
    cells: Collection[str] | None = None,
    labels: Collection[str] | None = None,
    encoders: bool = True,
    told: Callable[[Moved], None] = lambda moved: None,
) -> Moved:
    """Brings to `target` what it lacks of `source`: of these ids, or all. `encoders`: arms as well,
    and not the rows alone. `told` hears how far it is.

    What fails its digest is left, and told: nothing damaged is passed on. Failed cells stay, as the
    other store will try them itself.
    """
    moved = Moved()
    if encoders:
        for label in sorted(_of(source.all_labels(), labels)):
            _copy_labels(source, target, label, moved)
        for arm in sorted(_of(source.all_arms(), arms)):
            _copy_arm(source, target, arm, moved)
            told(moved)
    wanted, had = _of(source.finished_cells(), cells), target.finished_cells()
    moved.there += len(wanted & had)
    lacking = sorted(wanted - had)
    for begin in range(0, len(lacking), _TOGETHER):
        _copy_cells(source, target, lacking[begin : begin + _TOGETHER], moved)
        told(moved)
    return moved


def _of(there: set[str], asked: Collection[str] | None) -> set[str]:
    return there if asked is None else there & set(asked)


def _copy_arm(source: Store, target: Store, arm_id: str, moved: Moved) -> None:
    if target.has_arm(arm_id):
        moved.there += 1
        return
    try:
        record = source.read_arm(arm_id)
        held = dict(record.get("files", {"encoder.safetensors": record["encoder_sha256"]}))
        folder = source.arm_folder(arm_id)
        with target.writing_arm(arm_id) as copied:
            for name, digest in sorted(held.items()):
                moved.bytes += _copy_file(folder / name, copied / name, str(digest))
            (copied / "arm.json").write_bytes((folder / "arm.json").read_bytes())
    except (InputError, digests.Damaged, FileNotFoundError) as error:
        moved.damaged.append(f"arm {arm_id}: {error}")
        return
    moved.arms += 1


def _copy_file(source: Path, target: Path, digest: str) -> int:
    """Copies a file of a digest; its bytes. Raises Damaged where it is another."""
    found, size = hashlib.sha256(), 0
    with source.open("rb") as read, target.open("xb") as write:
        while block := read.read(_BLOCK):
            found.update(block)
            write.write(block)
            size += len(block)
    if found.hexdigest() != digest:
        raise digests.Damaged(f"{source} is not what was written")
    return size


def _copy_cells(source: Store, target: Store, ids: Sequence[str], moved: Moved) -> None:
    source.bring_rows(ids)
    cells = list(_read(source, ids, moved))
    target.write_cells(cells)
    moved.cells += len(cells)


def _read(source: Store, ids: Sequence[str], moved: Moved) -> Iterator[FinishedCell]:
    for cell in ids:
        try:
            rows = source.read_cell(cell)
            sizes = [row["n_test"] for row in rows if row.get("subset") == "all"]
            right = source.read_answers(cell, int(sizes[0])) if sizes and sizes[0] else None
        except (InputError, OSError) as error:
            moved.damaged.append(f"cell {cell}: {error}")
            continue
        if rows:
            yield FinishedCell(cell, rows, right)


def _copy_labels(source: Store, target: Store, labels_id: str, moved: Moved) -> None:
    if target.has_labels(labels_id):
        moved.there += 1
        return
    try:
        about = source.labels_record(labels_id)
        codes = source.read_labels(labels_id, int(about["images"]))
        if codes is None:
            return
        ids = (source.labels / labels_id / "ids.txt").read_text(encoding="utf-8").splitlines()
        made = ("images", "codes_sha256", "ids_sha256")
        words = {name: value for name, value in about.items() if name not in made}
        target.write_labels(labels_id, codes.astype(np.int64), ids, words)
    except (InputError, OSError, ValueError, KeyError) as error:
        moved.damaged.append(f"labels {labels_id}: {error}")
        return
    moved.labels += 1
