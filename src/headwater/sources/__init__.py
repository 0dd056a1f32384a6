"""Where images, captions and class names come from.

A source is a table of samples that can be read: ids, splits, one class name per level, optional
captions, and pixels on demand. Nothing here knows about training, and nothing rewrites an image. A
new kind of data is one new file in `kinds`; a further published data set is one entry in
`published/registry.py`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Literal

import numpy as np
from numpy.typing import NDArray

from headwater import keys
from headwater.errors import InputError
from headwater.registry import SOURCE_KINDS
from headwater.sources.positions import ascending
from headwater.sources.split_words import exact_split

if TYPE_CHECKING:
    from headwater.sources.composed.strata import Strata
    from headwater.study.data import Data

Positions = NDArray[np.int64]
Metric = Literal["top1", "mean_per_class"]
_AT_ONCE = 1 << 16


class BadImage(InputError):
    """A sample of which it is known without decoding that it is no image; `kind` says why in words
    that others share.
    """

    def __init__(self, message: str, kind: str) -> None:
        super().__init__(message)
        self.kind = kind


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """What is known of a source's samples without reading a pixel.

    Arrays have one entry per sample, in a fixed order (sorted by id).
    """

    ids: NDArray[np.object_]
    """Sample ids: POSIX, NFC paths relative to the source's root, or shard/key."""
    splits: Mapping[str, NDArray[np.object_]]
    """Split columns by name (`split` is the default one), each holding train, val, test or '' per
    sample.
    """
    levels: tuple[NDArray[np.object_], ...] = ()
    """Class names per level, FINEST first (level:0). '' where a sample has no class at that
    level.
    """
    texts: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    """Text fields by name, each a list[str] per sample (captions, name, description, ...)."""
    hierarchy: str | None = None
    """A class hierarchy whose nodes the finest classes are: `wordnet`, or a file
    (headwater.labels.hierarchies); None where columns say it all.
    """
    groups: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    """Columns that can be a task's `group`, by name: a str per sample (a camera, a patient). '' is
    a group of that one image.
    """
    spoken: Mapping[str, str] = field(default_factory=dict)
    """What people call a finest class, for prompts, by class name; only where that is more than the
    name with spaces for its underscores.
    """
    hard: NDArray[np.bool_] | None = None
    """True for a hard sample (one that lacks the common feature), None where the source marks
    none.
    """

    def __len__(self) -> int:
        return len(self.ids)


class Source(ABC):
    """A readable set of images. `name` is how error messages call it."""

    name: str
    table: Table
    generated: bool = False
    """Whether the images are made, each by itself, so that none is a copy of another."""
    metric: Metric = "top1"
    """What the set's field measures: the share of images that are right, or its mean over
    classes.
    """
    templates: tuple[str, ...] = ()
    """Prompts of the set's field for zero-shot classification, `{}` where the class name goes;
    empty where it has none of its own.
    """
    notes: tuple[str, ...] = ()
    """What reading the set did that a person should know, such as images that it left out, a
    sentence each.
    """
    verdicts: Path | None = None
    """The file in which it is remembered which of its images can be read."""
    strata: Strata | None = None
    """Groups of images that a subset of any size holds in given shares; None where a subset is
    drawn of all alike.
    """
    kind_version: int = 1
    """Version of the kind of data that opened it (headwater.sources.kinds)."""
    _digests: tuple[NDArray[np.bool_], NDArray[np.bytes_]] | None = None
    """bool and bytes [len(table)]: which images' bytes are known, and their digests."""

    @abstractmethod
    def image(self, position: int) -> bytes | NDArray[np.uint8]:
        """The encoded file (bytes) or decoded pixels (uint8 [height, width, 3], RGB) of one sample.

        Raises InputError, naming the sample, where it cannot be read.
        """

    def images(
        self, positions: Positions
    ) -> Sequence[bytes | NDArray[np.uint8]] | NDArray[np.uint8]:
        """`image` of several positions; a source that makes its images makes them faster
        together.
        """
        return [self.image(position) for position in positions.tolist()]

    def divided(self, positions: Positions) -> Iterator[tuple[Source, Positions, Positions]]:
        """(source that has the images, rows of `positions`, their positions in it): itself, but for
        a source that is made of others.
        """
        yield self, np.arange(len(positions)), positions

    def shows(self, other: Source) -> bool:
        """Whether it is another source, or is made of it."""
        return self is other

    def file(self, position: int) -> str | None:
        """The path of the file that a sample is; None where it is none by itself.

        Raises InputError for a link that leads out of the source.
        """
        return None

    def listed(self, position: int) -> str | None:
        """The line that lists a sample, 'PATH, line N'; None where no line does."""
        return None

    @abstractmethod
    def byte_hashes(self, positions: Positions) -> list[str]:
        """A hex digest of each sample's bytes: equal digests mean identical images.

        Cached where hashing costs a read.
        """

    def reading_marks(self, positions: Positions) -> list[str]:
        """What must enter a fingerprint of images that Headwater reads in another way than it once
        did; empty where there are none.
        """
        return []

    def bytes_to_hash(self, positions: Positions) -> int:
        """How many bytes `byte_hashes` may have to read; 0 where the images are in memory."""
        return 0

    def split(self, column: str, name: str) -> Positions:
        """Positions of one split, ascending.

        Raises InputError for a split column that the source lacks.
        """
        if column not in self.table.splits:
            raise InputError(
                f"{self.name}: there is no split column {column!r}; it has "
                f"{', '.join(sorted(self.table.splits)) or 'none'}"
            )
        return np.flatnonzero(self.table.splits[column] == name).astype(np.int64)

    @cached_property
    def hashes(self) -> NDArray[np.int64]:
        """int64 [len(table)]: the keyed hash of every sample id (headwater.keys), the per-sample
        part of every random draw.
        """
        return keys.sample_hashes(list(self.table.ids))

    @cached_property
    def size_hashes(self) -> NDArray[np.int64]:
        """int64 [len(table)]: what the order is drawn by in which a size takes images; `hashes`,
        but for a source that is made of others.
        """
        return self.hashes

    @cached_property
    def _seen_bytes(self) -> dict[str, _Seen]:
        return {}

    def fingerprint(self, positions: Positions) -> str:
        """A digest of which images these are: sample ids and the hashes of their bytes, in order.

        It enters the identity of arms and cells.

        Computed once for the same positions: a file that changes while a process runs is not looked
        at again by it.
        """
        return self._read(positions).fingerprint

    def num_pictures(self, positions: Positions) -> int:
        """How many different pictures these are, by their bytes: copies of one file are one.

        Computed once for the same positions, as `fingerprint` is.
        """
        return self._read(positions).num_pictures

    def digests(self, positions: Positions) -> NDArray[np.bytes_]:
        """bytes [len(positions)]: `byte_hashes`, each asked for once: a file that changes while a
        process runs is not looked at again by it.
        """
        if self._digests is None:
            size = len(self.table)
            self._digests = np.zeros(size, dtype=bool), np.zeros(size, dtype="S1")
        known, digests = self._digests
        missing = ascending(positions[~known[positions]])
        if len(missing):
            found = np.array(self.byte_hashes(missing), dtype="S")
            digests = digests.astype(np.promote_types(digests.dtype, found.dtype))
            digests[missing], known[missing] = found, True
            self._digests = known, digests
        return digests[positions]

    def _read(self, positions: Positions) -> _Seen:
        at = hashlib.sha256(positions.tobytes()).hexdigest()
        if at not in self._seen_bytes:
            digest = hashlib.sha256()
            if self.kind_version > 1:
                digest.update(f"version {self.kind_version}\n".encode())
            digests = self.digests(positions)
            for start in range(0, len(positions), _AT_ONCE):
                some = slice(start, start + _AT_ONCE)
                ids, hashes = self.table.ids[positions[some]], digests[some].astype("U").tolist()
                lines = zip(ids, hashes, strict=True)
                digest.update("".join([f"{one}\x1f{other}\n" for one, other in lines]).encode())
            for mark in self.reading_marks(positions):
                digest.update(f"{mark}\n".encode())
            different = len(positions)
            if not self.generated:
                from headwater.sources.digest_sets import num_distinct

                different = num_distinct(digests)
            self._seen_bytes[at] = _Seen(digest.hexdigest()[:32], different)
        return self._seen_bytes[at]


@dataclass(frozen=True)
class _Seen:
    """What the bytes of some images of a source say."""

    fingerprint: str
    num_pictures: int


def natural_splits(values: Sequence[str], where: str) -> NDArray[np.object_]:
    """Split names as this project calls them, from those that people use (`Training`, `valid`,
    `dev`, `test set`, `holdout`; headwater.sources.split_words). Anything else is an InputError.
    """
    out = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        split = exact_split(value) if value.strip() else ""
        if split is None:
            raise InputError(
                f"{where}, row {row + 2}: the split {value!r} is none of train, val, test"
            )
        out[row] = split
    return out


def open_source(
    name: str,
    words: Data,
    *,
    data_root: Path | None,
    cache: Path | None,
    parts: Mapping[str, Source] | None = None,
) -> Source:
    """The source that a study's `data:` entry means; `parts` are the opened ones that its words
    name.

    Raises InputError where it cannot be found or read.
    """
    kind = SOURCE_KINDS[words.kind]
    return kind.open(name, words, data_root, cache, parts)  # type: ignore[no-any-return]
