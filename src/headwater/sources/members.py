"""What lies in a tar, header by header: nothing is extracted, and no member is read that nobody
asks for.

For checks of a copy alone, which tell what is wrong with a tar and go on. Sources of shards are
read by an index, and refuse such a tar (headwater.sources.shards).
"""

from __future__ import annotations

import os
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from headwater.errors import InputError

PICKLED = frozenset([".pyd", ".pkl", ".pickle", ".pt", ".pth", ".ckpt", ".joblib", ".dill"])
"""Endings of members that hold pickles. They are counted, and never read."""
_BLOCK = 512


@dataclass(frozen=True)
class Member:
    """A member of a tar. It is read while it is the last one that `members` gave."""

    name: str
    size: int
    fault: str | None
    """Why it is not read; None for a plain file within the tar's own folder."""
    _tar: Any = None
    _info: Any = None

    @property
    def key(self) -> str:
        """What members of one sample share: the name up to the first dot of its last part."""
        folder, _, last = self.name.rpartition("/")
        stem = last.partition(".")[0]
        return f"{folder}/{stem}" if folder else stem

    @property
    def ending(self) -> str:
        """What follows the key, in lower case: `.jpg`, `.seg.png`."""
        last = self.name.rpartition("/")[2]
        return last[len(last.partition(".")[0]) :].lower()

    def read(self, most: int) -> bytes:
        """Its bytes. Raises InputError for more than `most`, and for what is not read."""
        if self.fault is not None:
            raise InputError(f"{self.name}: is not read: {self.fault}")
        if self.size > most:
            raise InputError(f"{self.name}: has {self.size:,} bytes, more than {most:,}")
        try:
            data: bytes = self._tar.extractfile(self._info).read(most + 1)
        except (tarfile.TarError, OSError) as error:
            raise InputError(f"{self._tar.name}: {self.name}: {error}") from None
        return data


def members(path: Path) -> Iterator[Member]:
    """The members of a tar in their order, folders left out.

    Raises InputError for a file that is no tar, that cannot be read, and that ends too soon.
    """
    try:
        with path.open("rb") as file, tarfile.open(str(path), "r|", file) as tar:
            for info in tar:
                if not info.isdir():
                    yield Member(info.name, info.size, _fault(info), tar, info)
        if not _ended(path):
            raise InputError(f"{path}: is cut short: a tar ends with a block of zeros")
    except (tarfile.TarError, EOFError, ValueError) as error:
        if isinstance(error, InputError):
            raise
        raise InputError(f"{path}: is damaged or no tar ({error})") from None
    except OSError as error:
        raise InputError(f"{path}: cannot be read ({error.strerror or error})") from None


def _fault(info: tarfile.TarInfo) -> str | None:
    name = PurePosixPath(info.name)
    if info.issym() or info.islnk():
        return "a link"
    if not info.isfile() or info.issparse():
        return "no plain file"
    if name.is_absolute() or ".." in name.parts:
        return "leads out of the tar"
    return "a pickle" if name.suffix.lower() in PICKLED else None


def _ended(path: Path) -> bool:
    """Whether a tar ends as a whole one does. One that was cut between two members does not."""
    with path.open("rb") as file:
        size = file.seek(0, os.SEEK_END)
        file.seek(max(0, size - _BLOCK))
        return not file.read(_BLOCK).strip(b"\0")
