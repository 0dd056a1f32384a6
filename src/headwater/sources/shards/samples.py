"""Members of a tar as samples: those whose names are equal up to the first dot are one.

    cats/0001.jpg  cats/0001.txt  cats/0001.json     the sample cats/0001, as webdataset reads it

Members without a dot in their name, or whose name begins with one, are passed over, and so are
those that stand alone and are neither an image nor what says something of one: a README.md, say. An
image whose name has another dot (photo.v1.jpg) is a sample without an image that is read.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from headwater.errors import InputError
from headwater.sources.formats import IMAGE_SUFFIXES
from headwater.sources.shards.tar import Members

_LONGEST_ENDING = 24
"""Bytes of what stands behind the first dot, of those that are told apart [ours]."""
TEXTS = ("txt", "json", "cls")
"""Endings of members that say something of the image."""


@dataclass(frozen=True)
class Samples:
    """The samples of a tar, in its order."""

    keys: NDArray[np.bytes_]
    """bytes [num_samples], UTF-8."""
    images: NDArray[np.int64]
    """int64 [num_samples, 2]: the byte at which the image begins, and its size; -1, 0 where a
    sample has none.
    """
    texts: dict[str, NDArray[np.int64]]
    """The same of members beside the image, by ending."""
    endings: tuple[str, ...]
    """Endings of other members, such as masks and pickled ones: they are not read."""
    passed_over: int
    """Members whose names make no sample."""

    def __len__(self) -> int:
        return len(self.keys)


def samples(members: Members, where: str, image: str | None = None) -> Samples:
    """Members as samples.

    `image` is the ending of the images, where a sample holds several. Raises InputError for a
    sample with two images or two members of one name.
    """
    keys, endings = _divided(members.names)
    named = keys != b""
    keys, endings = keys[named], endings[named]
    places = np.stack([members.offsets[named], members.sizes[named]], axis=1)
    first, of = _grouped(keys)
    distinct, ending_of = np.unique(endings, return_inverse=True)
    words = [ending.decode("utf-8", "replace") for ending in distinct.tolist()]
    images = np.full((len(first), 2), (-1, 0), dtype=np.int64)
    texts: dict[str, NDArray[np.int64]] = {}
    others = []
    held = np.zeros(len(first), dtype=bool)
    for number, word in enumerate(words):
        rows = np.flatnonzero(ending_of == number)
        is_image = word == image if image is not None else f".{word}" in IMAGE_SUFFIXES
        if not is_image and word not in TEXTS:
            others.append(word)
            held[of[rows]] |= f".{word.rpartition('.')[2]}" in IMAGE_SUFFIXES
            continue
        target = images
        if not is_image:
            target = texts[word] = np.full((len(first), 2), (-1, 0), dtype=np.int64)
        taken = target[of[rows], 0] >= 0
        twice = np.flatnonzero(taken)
        if not len(twice):
            twice = _repeated(of[rows])
        if len(twice):
            key = keys[rows[twice[0]]].decode("utf-8", "replace")
            what = "two images" if is_image and taken.any() else f"two members {key}.{word}"
            advice = "say which with `image:`" if is_image and taken.any() else "rename one of them"
            raise InputError(f"{where}: the sample {key!r} has {what}; {advice}")
        target[of[rows]] = places[rows]
    for known in (images, *texts.values()):
        held |= known[:, 0] >= 0
    passed = int((~named).sum()) + int((~held[of]).sum())
    texts = {word: places[held] for word, places in texts.items()}
    return Samples(keys[first][held], images[held], texts, tuple(others), passed)


def _divided(names: NDArray[np.bytes_]) -> tuple[NDArray[np.bytes_], NDArray[np.bytes_]]:
    """(key, ending in lower case) of each name; '' and '' of one that makes no sample."""
    count, width = len(names), names.dtype.itemsize
    if not count:
        return np.zeros(0, dtype="S1"), np.zeros(0, dtype="S1")
    letters = np.zeros((count, width + _LONGEST_ENDING + 1), dtype=np.uint8)
    letters[:, :width] = np.ascontiguousarray(names).view(np.uint8).reshape(count, width)
    at = np.arange(letters.shape[1], dtype=np.int16)
    slash = np.where(letters == ord("/"), at, -1).max(axis=1)
    dots = np.where((letters == ord(".")) & (at > slash[:, None]), at, letters.shape[1])
    dot = dots.min(axis=1)
    named = (dot < width) & (dot > slash + 1)
    keys = np.where((at[:width] < dot[:, None]) & named[:, None], letters[:, :width], 0)
    behind = np.where(named, dot + 1, width)[:, None] + np.arange(_LONGEST_ENDING)
    endings = np.take_along_axis(letters, np.minimum(behind, letters.shape[1] - 1), axis=1)
    capital = (endings >= ord("A")) & (endings <= ord("Z"))
    endings = endings + 32 * capital.astype(np.uint8)
    return (
        np.ascontiguousarray(keys.astype(np.uint8)).view(f"S{width}")[:, 0],
        np.ascontiguousarray(endings).view(f"S{_LONGEST_ENDING}")[:, 0],
    )


def _grouped(keys: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """(the first member of each sample, the sample of each member), samples in their order."""
    if not len(keys):
        return np.zeros(0, dtype=np.int64), np.zeros(0, dtype=np.int64)
    new = np.concatenate([[True], keys[1:] != keys[:-1]])
    first = np.flatnonzero(new)
    distinct, again = np.unique(keys[first], return_inverse=True)
    if len(distinct) == len(first):
        return first, np.cumsum(new) - 1
    # a sample whose members lie apart, as in a tar of all images and then all texts
    earliest = np.full(len(distinct), len(keys), dtype=np.int64)
    np.minimum.at(earliest, again, first)
    order = np.argsort(earliest, kind="stable")
    rank = np.empty(len(order), dtype=np.int64)
    rank[order] = np.arange(len(order))
    return earliest[order], rank[again][np.cumsum(new) - 1]


def _repeated(values: NDArray[np.int64]) -> NDArray[np.int64]:
    """Rows of a value that stood before."""
    order = np.argsort(values, kind="stable")
    same = values[order[1:]] == values[order[:-1]]
    return np.sort(order[1:][same])
