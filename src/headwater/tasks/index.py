"""Index files: a fixed split for a folder that has none, or none that keeps groups apart."""

from __future__ import annotations

import csv
import io
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater import keys
from headwater.errors import InputError
from headwater.labels import classes_of, label_view
from headwater.sources import Source
from headwater.sources.splitting import stratified_parts
from headwater.tasks.groups import group_codes, part_groups

PARTS = ("train", "test", "val")


@dataclass(frozen=True)
class SplitIndex:
    """A split of every image of a source."""

    ids: NDArray[np.object_]
    """Sample ids, sorted."""
    split: NDArray[np.object_]
    """train, val or test per sample; '' where the label view leaves it out."""
    class_names: tuple[str, ...]
    """Empty where there were no classes to stratify by."""
    counts: dict[str, list[int]]
    """Images of each class in each split."""
    num_groups: int | None

    def csv(self) -> str:
        """The index file."""
        return index_csv(self.ids, self.split)


def index_csv(ids: NDArray[np.object_], split: NDArray[np.object_]) -> str:
    """An index file: a header `path,split`, then a row a sample, lines that end in a line feed."""
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(("path", "split"))
    writer.writerows(zip(ids.tolist(), split.tolist(), strict=True))
    return out.getvalue()


def split_index(
    source: Source,
    *,
    labels: str | None,
    test: float,
    val: float,
    seed: int,
    group: str | None = None,
) -> SplitIndex:
    """A split drawn by key from all images of a source, whatever splits it has: the same for the
    same ids, classes and seed anywhere.

    `test` and `val` are shares of the images of each class; `labels` is the view by which they are
    stratified, None for images without classes. With `group` no group lies in two splits, and the
    shares are met as well as groups allow. Raises InputError for shares that leave no training
    image, for a view or a group column that the source cannot give, and where a split that was
    asked for would be empty.
    """
    for name, share in (("--test", test), ("--val", val)):
        if not 0 <= share < 1:
            raise InputError(
                f"{name} {share:g} is no share; write a number from 0 to below 1, such as 0.2"
            )
    if not 0 < test + val < 1:
        raise InputError(
            f"--test {test:g} and --val {val:g}: together they are above 0 and below 1, so that "
            "something is divided and train is left"
        )
    where = source.name
    positions = np.arange(len(source.table), dtype=np.int64)
    codes = np.zeros(len(positions), dtype=np.int64)
    names: tuple[str, ...] = ()
    if labels is not None:
        targets = label_view(
            labels, source.table, positions, 0, where, hashes=lambda: source.hashes
        )
        positions = positions if targets.rows is None else positions[targets.rows]
        codes, names = classes_of(targets), targets.names if targets.single else ()
    purpose, shares = keys.key(seed, "tasks split"), (test, val)
    num_groups = None
    if group is None:
        parts = stratified_parts(codes, source.hashes[positions], purpose, shares)
    else:
        groups = group_codes(source, group, positions, where)[positions]
        num_groups = len(np.unique(groups))
        parts = part_groups(codes, groups, source, group, positions, purpose, shares)
    for part, (name, share) in enumerate(zip(PARTS[1:], shares, strict=True), start=1):
        if share and not (parts == part).any():
            what = f"{len(positions)} images"
            if group is not None:
                what = f"{num_groups} groups of {group!r}"
            raise InputError(
                f"{where}: {what} are too few for a {name} split of {share:g} beside train; give "
                f"more, or leave --{name} out"
            )
    split = np.full(len(source.table), "", dtype=object)
    split[positions] = np.array(PARTS, dtype=object)[parts]
    counts = {
        name: np.bincount(codes[parts == part], minlength=len(names) or 1).tolist()
        for part, name in enumerate(PARTS)
    }
    return SplitIndex(source.table.ids, split, names, counts, num_groups)
