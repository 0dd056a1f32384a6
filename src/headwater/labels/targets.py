"""What a label view gives: for every image one class, or a set of classes, as a sparse matrix that
is never spelled out until it is needed.

An image's labels are a function of its class, so the matrix (images x labels) is kept as its two
factors: which row each image has (`codes`), and the labels of each row (`sets`). At 14 million
images of 21,843 classes that is one int32 vector and a table of some thousand rows; `matrix`
multiplies it out for those who want it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from scipy.sparse import csr_array

Codes = NDArray[np.int32] | NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class LabelSets:
    """Sets of labels, one after another (the index arrays of a CSR matrix): set i is
    `labels[starts[i]:starts[i + 1]]`, ascending.
    """

    starts: NDArray[np.int64]
    """int64 [num_sets + 1], from 0."""
    labels: NDArray[np.int32]
    """int32 [total]: label indices."""

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def sizes(self) -> NDArray[np.int64]:
        """int64 [num_sets]: labels in each set."""
        return np.diff(self.starts)

    def __getitem__(self, at: int) -> NDArray[np.int32]:
        return self.labels[self.starts[at] : self.starts[at + 1]]

    def take(self, rows: Codes) -> LabelSets:
        """The sets at `rows` (ints [n]), in that order; a row may be taken more than once."""
        every = self.sizes
        sizes = every[rows]
        starts = np.zeros(len(rows) + 1, dtype=np.int64)
        np.cumsum(sizes, out=starts[1:])
        one_each = len(self.labels) == len(self) and bool((every == 1).all())
        if one_each:  # the usual case
            return LabelSets(starts, self.labels[rows])
        within = np.arange(starts[-1], dtype=np.int32 if starts[-1] < 2**31 else np.int64)
        within += np.repeat((self.starts[rows] - starts[:-1]).astype(within.dtype), sizes)
        return LabelSets(starts, self.labels[within])

    @classmethod
    def of(cls, sets: Sequence[Sequence[int]]) -> LabelSets:
        """From plain lists; each is sorted, and a label that is in it twice is taken once."""
        rows = [sorted(set(labels)) for labels in sets]
        starts = np.cumsum([0, *map(len, rows)], dtype=np.int64)
        return cls(starts, np.array([label for row in rows for label in row], dtype=np.int32))


@dataclass(frozen=True, eq=False)
class Targets:
    """The labels of some images under a view."""

    codes: Codes
    """int32 or int64 [num_images]: each image's class where `sets` is None, else its row in
    `sets`.
    """
    names: tuple[str, ...]
    """Label names by index; each is on some image."""
    view: str
    """The view's canonical name."""
    sets: LabelSets | None = None
    """The label indices of each row; None where every image has exactly one label."""
    rows: NDArray[np.int64] | None = None
    """int64 [num_images], ascending: which of the images asked for these are, where a view leaves
    some out; None where it has all.
    """
    noise: float | None = None
    """The realised rate of label noise: share of the images whose labels are not what they were;
    None where none was asked for.
    """

    def __len__(self) -> int:
        return len(self.codes)

    @property
    def num_classes(self) -> int:
        return len(self.names)

    @property
    def single(self) -> bool:
        """Whether every image has exactly one label."""
        return self.sets is None

    @cached_property
    def indices(self) -> NDArray[np.int64]:
        """int64 [num_images]: each image's class, 0 to num_classes - 1.

        Raises ValueError where some image has several.
        """
        if self.sets is not None:
            raise ValueError(
                f"{self.view}: images have several labels each, so there is no one class index"
            )
        return self.codes.astype(np.int64, copy=False)

    @cached_property
    def counts(self) -> NDArray[np.int64]:
        """int64 [num_classes]: images with each label."""
        if self.sets is None:
            return np.bincount(self.codes, minlength=self.num_classes)
        images = np.bincount(self.codes, minlength=len(self.sets))
        out = np.zeros(self.num_classes, dtype=np.int64)
        np.add.at(out, self.sets.labels, np.repeat(images, self.sets.sizes))
        return out

    @property
    def multi_label_share(self) -> float:
        """Share of the images that have more than one label."""
        return (
            0.0
            if self.sets is None or not len(self.codes)
            else float((self.sets.sizes > 1)[self.codes].mean())
        )

    def matrix(self) -> csr_array:
        """The multi-hot matrix: scipy CSR, bool [num_images, num_classes]."""
        from scipy.sparse import csr_array

        if self.sets is None:
            n = len(self.codes)
            starts, labels = (
                np.arange(n + 1, dtype=np.int32 if n < 2**31 else np.int64),
                self.codes.astype(np.int32, copy=False),
            )
        else:
            spelled = self.sets.take(self.codes)
            few = len(spelled.labels) < 2**31
            starts, labels = (
                spelled.starts.astype(np.int32 if few else np.int64, copy=False),
                spelled.labels,
            )
        return csr_array(
            (np.ones(len(labels), dtype=bool), labels, starts),
            shape=(len(self.codes), self.num_classes),
        )

    def take(self, rows: NDArray[np.int64]) -> Targets:
        """The targets of some of the images (positions int64 [n] among these), with the same label
        indices and names.
        """
        return replace(self, codes=self.codes[rows])

    def digest(self) -> str:
        """Hex digest of the labels and who has them; equal for equal targets, whatever view they
        came from.
        """
        digest = hashlib.blake2b(digest_size=16)
        if self.sets is None:
            digest.update(self.codes.astype("<i8").tobytes())
        else:
            distinct, codes = distinct_sets(self.sets, self.codes)
            for array in (
                codes.astype("<i8"),
                distinct.starts.astype("<i8"),
                distinct.labels.astype("<i4"),
            ):
                digest.update(array.tobytes())
        digest.update("\x1f".join(self.names).encode())
        return digest.hexdigest()


def targets_of_sets(codes: Codes, sets: LabelSets, names: Sequence[str], view: str) -> Targets:
    """Targets of images whose row in `sets` is `codes`; labels that no image has are dropped, the
    others sorted by name.

    `names` has one name for every label index in `sets`; rows that no image has may name anything.
    Where every image has one label the targets are a plain class vector.
    """
    used = np.flatnonzero(np.bincount(codes, minlength=len(sets)))
    kept = sets.take(used)
    present = np.unique(kept.labels)
    order = sorted(range(len(present)), key=lambda i: names[int(present[i])])
    new_index = np.full(int(present.max()) + 1 if len(present) else 0, -1, dtype=np.int32)
    new_index[present[order]] = np.arange(len(present), dtype=np.int32)
    labels = new_index[kept.labels]
    row_of = np.zeros(len(sets), dtype=np.int32)
    row_of[used] = np.arange(len(used), dtype=np.int32)
    kept_names = tuple(names[int(present[i])] for i in order)
    if bool((kept.sizes == 1).all()):
        return Targets(labels[row_of][codes] if len(labels) else codes, kept_names, view)
    owner = np.repeat(np.arange(len(kept)), kept.sizes)
    labels = labels[np.lexsort((labels, owner))]
    return Targets(row_of[codes], kept_names, view, LabelSets(kept.starts, labels))


def distinct_sets(sets: LabelSets, codes: Codes) -> tuple[LabelSets, Codes]:
    """The same labels with every set there once, in the order in which the images first show them:
    one form for a digest.
    """
    rows: dict[bytes, int] = {}
    used, first = np.unique(codes, return_index=True)
    new_code = np.zeros(len(sets), dtype=np.int64)
    distinct: list[Sequence[int]] = []
    for code in used[np.argsort(first)].tolist():
        labels = sets[code].tobytes()
        if labels not in rows:
            rows[labels] = len(distinct)
            distinct.append(sets[code].tolist())
        new_code[code] = rows[labels]
    return LabelSets.of(distinct), new_code[codes]
