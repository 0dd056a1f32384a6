"""Wrong labels on purpose: class noise and swapped captions, as pure functions of a seed and the
images' hashes.

Which images are hit is a keyed draw per image, u < rate: an image that is hit at one rate is hit at
every higher one, and gets the same wrong class there, so that arms that differ in their rate differ
in nothing else. The draw owes nothing to the order of the images or to the others among them. Where
a wrong class comes from is a `Transition`.
"""

from __future__ import annotations

import csv
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.keys import bits, key, permutation, uniform
from headwater.labels.kinds import Request
from headwater.labels.partitions import dividing, parents_of
from headwater.labels.selection import require_classes
from headwater.labels.targets import Targets, distinct_sets

Codes = NDArray[np.int64]

_PURPOSE = "labels/noise"
_CHUNK = 2**20
"""Images that are drawn for at a time, so that memory does not grow with them."""


class Transition(ABC):
    """Which other classes a class may be mistaken for, and how often.

    Built for tens of thousands of classes: `Siblings` holds nothing of classes x classes, a matrix
    from a file (`read_matrix`) is held whole while it is read.
    """

    @abstractmethod
    def draw(self, codes: Codes, draws: Codes) -> Codes:
        """int64 [n]: a wrong class for each of `codes` (int64 [n]), by `draws` (int64 [n], uniform
        on 0 to 2^32 - 1); a class with no other stays.
        """


@dataclass(frozen=True, eq=False)
class Siblings(Transition):
    """Any other class of the same family, all equally often."""

    starts: Codes
    """int64 [num_classes]: where the class's family begins in `members`."""
    sizes: Codes
    """int64 [num_classes]: size of its family, itself included."""
    ranks: Codes
    """int64 [num_classes]: its own place in its family."""
    members: Codes
    """int64 [num_classes]: classes, family after family."""

    def draw(self, codes: Codes, draws: Codes) -> Codes:
        others = self.sizes[codes] - 1
        place = draws * others >> 32
        ranks = self.ranks[codes]
        place += (place >= ranks) & (others > 0)
        return self.members[self.starts[codes] + np.where(others > 0, place, ranks)]


@dataclass(frozen=True, eq=False)
class Weighted(Transition):
    """Other classes with frequencies of their own: a sparse matrix, row after row, without its
    diagonal and its zeros.
    """

    starts: Codes
    """int64 [num_classes + 1]: where each row begins in `classes`."""
    classes: Codes
    """int64 [total]: the classes that a row's class may become."""
    ends: NDArray[np.float64]
    """float64 [total], ascending: the row's number plus the sum of its normalised weights up to and
    with this class.
    """

    def draw(self, codes: Codes, draws: Codes) -> Codes:
        at = np.searchsorted(self.ends, codes + draws * 2.0**-32, side="right")
        first, after = self.starts[codes], self.starts[codes + 1]
        others = after > first
        out = codes.copy()
        out[others] = self.classes[np.clip(at[others], first[others], after[others] - 1)]
        return out


def sibling_transition(parents: Codes) -> Siblings:
    """Confusion of each class with the other children of its parent, uniformly.

    `parents`: int64 [num_classes], negative = no parent.

    An only child and a class without a parent stay what they are.
    """
    num_classes = len(parents)
    family = np.where(parents < 0, parents.max(initial=0) + 1 + np.arange(num_classes), parents)
    _, family, counts = np.unique(family, return_inverse=True, return_counts=True)
    members = np.argsort(family, kind="stable")
    starts = (np.cumsum(counts) - counts)[family]
    ranks = np.empty(num_classes, dtype=np.int64)
    ranks[members] = np.arange(num_classes)
    return Siblings(starts, counts[family].astype(np.int64), ranks - starts, members)


def matrix_transition(weights: NDArray[np.float64]) -> Weighted:
    """Confusion by a matrix (float64 [num_classes, num_classes], not negative, finite): row = true
    class, column = wrong class.

    The diagonal is left out and rows are normalised: how often a class is hit is the rate's affair,
    so rows need not add up to anything.
    """
    rows, classes = np.nonzero(weights)
    other = rows != classes
    rows, classes = rows[other], classes[other]
    starts = np.searchsorted(rows, np.arange(len(weights) + 1))
    ends = np.empty(len(rows))
    for row in np.unique(rows).tolist():
        own = slice(starts[row], starts[row + 1])
        scaled = (
            weights[row, classes[own]] / weights[row, classes[own]].max()
        )  # first by the largest, so that no sum overflows
        sums = np.cumsum(scaled)
        ends[own] = row + sums / sums[-1]
    return Weighted(starts.astype(np.int64), classes.astype(np.int64), ends)


def symmetric(codes: Codes, num_classes: int, rate: float, hashes: Codes, seed: int) -> Codes:
    """int64 [num_images]: each class becomes another one with probability `rate`, uniformly among
    the OTHERS.

    The true class is excluded, so that `rate` is the share of wrong labels that is expected [ours];
    where noise is said to draw from all classes, own included, a rate r there is r (1 - 1 /
    num_classes) here. `codes` and `hashes` (keys.sample_hashes) are int64 [num_images].

    Raises InputError for a rate outside 0 to 1, and for a single class at a rate above 0.
    """
    if num_classes < 2 and rate > 0:
        raise InputError("label noise needs at least two classes, and there is only one")
    return confusion(
        codes, sibling_transition(np.zeros(num_classes, dtype=np.int64)), rate, hashes, seed
    )


def confusion(codes: Codes, transition: Transition, rate: float, hashes: Codes, seed: int) -> Codes:
    """int64 [num_images]: each class becomes, with probability `rate`, one that `transition` draws
    for it.

    `codes` and `hashes` (keys.sample_hashes) are int64 [num_images]. Raises InputError for a rate
    outside 0 to 1.
    """
    _check(rate)
    out = codes.copy()
    if rate == 0:
        return out
    mixed = key(seed, _PURPOSE)
    for at in range(0, len(codes), _CHUNK):
        hit = at + np.flatnonzero(_hit(hashes[at : at + _CHUNK], rate, seed))
        out[hit] = transition.draw(codes[hit], bits(mixed, hashes[hit], 2)[:, 1] >> 32 & 0xFFFFFFFF)
    return out


def swap_captions(
    lists: Sequence[list[str]], rate: float, hashes: Codes, seed: int
) -> tuple[list[list[str]], float]:
    """(captions of each image, realised rate): images that are hit take the captions of the next
    one that is hit, in a keyed ring.

    So captions keep their frequencies, and nothing is said that no image says. `hashes` is int64
    [num_images]. The realised rate is the share of images whose captions differ afterwards: it is
    lower where images share captions, and 0 where a single one is hit.

    Raises InputError for a rate outside 0 to 1.
    """
    _check(rate)
    hit = np.flatnonzero(_hit(hashes, rate, seed))
    ring = hit[permutation(key(seed, _PURPOSE, "ring"), hashes[hit])]
    out = list(lists)
    for taker, giver in zip(ring.tolist(), np.roll(ring, -1).tolist(), strict=True):
        out[taker] = lists[giver]
    changed = sum(before != after for before, after in zip(lists, out, strict=True))
    return out, changed / len(lists) if lists else 0.0


def noisy(targets: Targets, request: Request) -> Targets:
    """The labels of a request after its view's noise.

    Where images have several labels, every distinct set of labels is a class. Raises InputError
    where there is one class only, where siblings do not nest, and for a matrix that does not fit.
    """
    view, where, seed = request.view, request.where, request.seed
    words = view.noise
    assert words is not None
    hashes = request.hashes if targets.rows is None else request.hashes[targets.rows]
    if targets.sets is None:
        sets, codes, num_classes = None, targets.indices, targets.num_classes
    else:
        sets, rows = distinct_sets(targets.sets, targets.codes)
        codes, num_classes = rows.astype(np.int64), len(sets)
    if words.rate and num_classes < 2:
        raise InputError(f"{where}: {view.name}: there is only one class, so no label can be wrong")
    if words.kind == "symmetric":
        changed = symmetric(codes, num_classes, words.rate, hashes, seed)
    else:
        transition = _transition(targets, codes, request)
        changed = confusion(codes, transition, words.rate, hashes, seed)
    return replace(targets, codes=changed, sets=sets, noise=realised(codes, changed))


def _transition(targets: Targets, codes: Codes, request: Request) -> Transition:
    """Which classes a view's confusion draws from: siblings under a level, or a matrix's."""
    view, where, words = request.view, request.where, request.view.noise
    assert words is not None
    if words.within is not None:
        kept = request.positions if targets.rows is None else request.positions[targets.rows]
        families = dividing(replace(request, positions=kept).under(words.within), where)
        return sibling_transition(parents_of(codes, families.indices, view, where))
    assert words.matrix is not None
    if targets.sets is not None:
        raise InputError(
            f"{where}: a confusion matrix is over classes, and here images have several"
        )
    return read_matrix(words.matrix, targets.names, where)


def realised(before: NDArray[np.integer], after: NDArray[np.integer]) -> float:
    """The share of images whose class changed (ints [num_images] each); 0 where there are none."""
    return float((before != after).mean()) if len(before) else 0.0


def _check(rate: float) -> None:
    if not 0 <= rate <= 1:
        raise InputError(f"a noise rate is a share from 0 to 1, and this is {rate}")


def _hit(hashes: Codes, rate: float, seed: int) -> NDArray[np.bool_]:
    return uniform(key(seed, _PURPOSE), hashes, 1)[:, 0] < float(rate)


def read_matrix(path: Path, names: Sequence[str], where: str) -> Weighted:
    """The confusions that a CSV tells: a header of class names, and rows that begin with the true
    class's; both in any order (UTF-8).

    The numbers, counts or frequencies, are finite and not negative; the corner of the header says
    anything. See `matrix_transition`. Raises InputError for a class of `names` without a row or a
    column, a class that is unknown or there twice, and for what is no number.
    """
    place = f"{where}: {path}"
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            lines = [line for line in csv.reader(file, strict=True) if line]
    except (OSError, ValueError, csv.Error) as error:
        reason = (
            "there is no such file"
            if isinstance(error, FileNotFoundError)
            else str(error).splitlines()[0]
        )
        raise InputError(f"{place} cannot be read: {reason}") from error
    if not lines:
        raise InputError(f"{place} is empty; it should be a matrix of {len(names)} classes")
    columns = [name.strip() for name in lines[0][1:]]
    rows = [line[0].strip() for line in lines[1:]]
    for kind, given in (("column", columns), ("row", rows)):
        _check_names(given, names, kind, place)
    index = {name: at for at, name in enumerate(names)}
    to = np.array([index[name] for name in columns], dtype=np.int64)
    weights = np.zeros((len(names), len(names)))
    for name, line in zip(rows, lines[1:], strict=True):
        weights[index[name], to] = _numbers(line[1:], name, columns, place)
    return matrix_transition(weights)


def _check_names(given: list[str], names: Sequence[str], kind: str, place: str) -> None:
    require_classes(given, names, f"{place}: {kind}")
    if len(set(given)) < len(given):
        twice = next(name for at, name in enumerate(given) if name in given[:at])
        raise InputError(f"{place}: the class {twice!r} has two {kind}s")
    missing = sorted(set(names) - set(given))
    if missing:
        raise InputError(
            f"{place}: {len(missing)} of {len(names)} classes have no {kind}, the first is "
            f"{missing[0]!r}"
        )


def _numbers(cells: list[str], name: str, columns: list[str], place: str) -> NDArray[np.float64]:
    if len(cells) != len(columns):
        raise InputError(
            f"{place}: the row of {name!r} has {len(cells)} numbers for {len(columns)} columns"
        )
    try:
        weights = np.array([float(cell) for cell in cells])
    except ValueError as error:
        raise InputError(f"{place}: the row of {name!r}: {error}") from error
    wrong = np.flatnonzero(~(np.isfinite(weights) & (weights >= 0)))
    if len(wrong):
        raise InputError(
            f"{place}: {name!r} to {columns[wrong[0]]!r} is {weights[wrong[0]]}; it should be a "
            "number from 0 up"
        )
    return weights
