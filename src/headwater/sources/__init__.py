"""Where images, captions and class names come from.

A source is a table of samples that can be read: ids, splits, one class name per level, optional captions, and pixels on demand.
Nothing here knows about training, and nothing rewrites an image. A new kind of source is one new file in this folder, its words in
headwater.study.data, and one line in `open_source`.
"""

from __future__ import annotations

import hashlib
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from headwater import keys
from headwater.errors import InputError, blamed_on
from headwater.study import Data
from headwater.study.data import BUILT_IN_HIERARCHIES

Positions = NDArray[np.int64]


@dataclass(frozen=True, kw_only=True, eq=False)
class Table:
    """What is known of a source's samples without reading a pixel. Arrays have one entry per sample, in a fixed order (sorted by id)."""

    ids: NDArray[np.object_]
    """Sample ids: POSIX, NFC paths relative to the source's root, or shard/key."""
    splits: Mapping[str, NDArray[np.object_]]
    """Split columns by name (`split` is the default one), each holding train, val, test or '' per sample."""
    levels: tuple[NDArray[np.object_], ...] = ()
    """Class names per level, FINEST first (level:0). '' where a sample has no class at that level."""
    texts: Mapping[str, NDArray[np.object_]] = field(default_factory=dict)
    """Text fields by name, each a list[str] per sample (captions, name, description, ...)."""
    hierarchy: str | None = None
    """A class hierarchy whose nodes the finest classes are: `wordnet`, or a file (headwater.labels.hierarchies); None where columns say it all."""
    hard: NDArray[np.bool_] | None = None
    """True for a hard sample (one that lacks the common feature), None where the source marks none."""

    def __len__(self) -> int:
        return len(self.ids)


class Source(ABC):
    """A readable set of images. `name` is how error messages call it."""

    name: str
    table: Table

    @abstractmethod
    def image(self, position: int) -> bytes | NDArray[np.uint8]:
        """The encoded file (bytes) or decoded pixels (uint8 [height, width, 3], RGB) of one sample.

        Raises InputError, naming the sample, where it cannot be read.
        """

    def images(self, positions: Positions) -> Sequence[bytes | NDArray[np.uint8]] | NDArray[np.uint8]:
        """`image` of several positions; a source that makes its images makes them faster together."""
        return [self.image(position) for position in positions.tolist()]

    @abstractmethod
    def byte_hashes(self, positions: Positions) -> list[str]:
        """A hex digest of each sample's bytes: equal digests mean identical images. Cached where hashing costs a read."""

    def split(self, column: str, name: str) -> Positions:
        """Positions of one split, ascending. Raises InputError for a split column that the source lacks."""
        if column not in self.table.splits:
            raise InputError(
                f"{self.name}: there is no split column {column!r}; it has {', '.join(sorted(self.table.splits)) or 'none'}"
            )
        return np.flatnonzero(self.table.splits[column] == name).astype(np.int64)

    @cached_property
    def hashes(self) -> NDArray[np.int64]:
        """int64 [len(table)]: the keyed hash of every sample id (headwater.keys), the per-sample part of every random draw."""
        return keys.sample_hashes(list(self.table.ids))

    @cached_property
    def _fingerprints(self) -> dict[str, str]:
        return {}

    def fingerprint(self, positions: Positions) -> str:
        """A digest of which images these are: sample ids and the hashes of their bytes, in order. It enters the identity of arms and cells.

        Computed once for the same positions: a file that changes while a process runs is not looked at again by it.
        """
        at = hashlib.sha256(positions.tobytes()).hexdigest()
        if at not in self._fingerprints:
            digest = hashlib.sha256()
            for sample_id, byte_hash in zip(self.table.ids[positions], self.byte_hashes(positions), strict=True):
                digest.update(f"{sample_id}\x1f{byte_hash}\n".encode())
            self._fingerprints[at] = digest.hexdigest()[:32]
        return self._fingerprints[at]


def natural_splits(values: Sequence[str], where: str) -> NDArray[np.object_]:
    """Split names as this project calls them: `validation`, `valid` and `dev` are val; `training` is train. Anything else is an InputError."""
    names = {"train": "train", "training": "train", "val": "val", "valid": "val", "validation": "val", "dev": "val", "test": "test", "": ""}
    out = np.empty(len(values), dtype=object)
    for row, value in enumerate(values):
        try:
            out[row] = names[value.strip().lower()]
        except KeyError:
            raise InputError(f"{where}, row {row + 2}: the split {value!r} is none of train, val, test") from None
    return out


def open_source(name: str, words: Data, *, data_root: Path | None, cache: Path | None) -> Source:
    """The source that a study's `data:` entry means. Raises InputError where it cannot be found or read."""
    if words.kind == "world":
        from headwater.sources.world import WorldSource

        return WorldSource(name, words)
    from headwater.sources.folder import FolderSource

    try:
        root = Path(words.path).expanduser()
        (data_root or Path()).joinpath(root).is_dir()
    except (RuntimeError, OSError) as error:  # ~somebody, or a name that is too long
        raise InputError(f"data.{name}: the folder {words.path!r} cannot be found ({error})") from None
    if not root.is_absolute():
        if data_root is None:
            raise InputError(
                f"data.{name}: the folder {words.path!r} is looked for under the data root, and none is given; get the data (docs/data.md says where), "
                "then name its folder with --data-root DIR or HEADWATER_DATA=DIR (or write an absolute path)"
            )
        root = data_root / root
    if not root.is_dir():
        raise InputError(
            f"data.{name}: there is no folder {str(root)!r}; get the data (docs/data.md) and put it there, "
            "or name another data root (--data-root or HEADWATER_DATA)"
        )
    remembered = cache / f"bytes-{hashlib.sha256(str(root.resolve()).encode()).hexdigest()[:16]}.parquet" if cache else None
    source = FolderSource(name, root, fingerprint_cache=remembered)
    if words.hierarchy is not None:
        with blamed_on("data", name, "hierarchy"):
            source.table = replace(source.table, hierarchy=_hierarchy(words.hierarchy, root, data_root, f"data.{name}.hierarchy"))
    return source


def _hierarchy(written: str, folder: Path, data_root: Path | None, where: str) -> str:
    """The reference that is meant: one that is built in, or a file: absolute, in the data set's own folder, or under the data root; `#` and what
    follows it say how to read it."""
    if written in BUILT_IN_HIERARCHIES:
        return written
    name, mark, option = written.partition("#")
    try:
        places = [base / Path(name).expanduser() for base in (folder, data_root) if base is not None]
        for place in places:
            if place.exists():
                return str(place.resolve()) + mark + option
    except (RuntimeError, OSError) as error:  # ~somebody, or a name that is too long
        raise InputError(f"{where}: the file {name!r} cannot be found ({error})") from None
    raise InputError(f"{where}: there is no file {' nor '.join(repr(str(place)) for place in places)}; built in are {', '.join(BUILT_IN_HIERARCHIES)}")
