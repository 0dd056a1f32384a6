"""Images as files under one root: how they are opened, hashed and kept inside the root, whatever
listed them.

Files are not all looked for when a list is opened, since that costs minutes at ten million rows on
a network disk: a spread of 64 is, one of which must be there, and all when a study is planned
(headwater.sources.looking). A link that leads out of the root is refused when the file is opened,
unless the study says `follow_links: true`.
"""

from __future__ import annotations

import os
import stat
from io import BufferedReader
from pathlib import Path

import numpy as np

from headwater.errors import InputError
from headwater.sources import Positions, Source, Table, tiff
from headwater.sources.formats import MAX_FILE_BYTES
from headwater.sources.hashes import ByteHashes
from headwater.sources.tables import Listing

_SPOT_CHECKS = 64


class _Unreadable(InputError):
    """A file that the system does not give."""


class FileSource(Source):
    """Listed files under one root.

    `fingerprint_cache` is a file in which hashes of their bytes are kept (by path, size and time of
    modification). `follow_links` lets links lead out of the root.

    Raises InputError where none of the 64 files that are looked for at once is there.
    """

    def __init__(
        self,
        name: str,
        root: Path,
        listing: Listing,
        *,
        follow_links: bool = False,
        fingerprint_cache: Path | None = None,
    ) -> None:
        self.name = name
        self.root = Path(os.path.realpath(root))
        self._listing = listing
        self._follow_links = follow_links
        self.table: Table = listing.table
        self._inside: dict[str, bool] = {}
        self._marks: dict[int, str] = {}
        self._hashes = ByteHashes(self.table.ids, self._open, self._stat, fingerprint_cache)
        if fingerprint_cache is not None:
            self.verdicts = fingerprint_cache.with_name(f"looked-{fingerprint_cache.name}")
        self._check_some()

    def _check_some(self) -> None:
        """Raises InputError for the first of some files where none of them is there, since the
        root is another one then, or nothing was unpacked; and for a link that leads out.
        """
        missing: list[_Unreadable] = []
        found = False
        spread = np.linspace(0, len(self.table) - 1, _SPOT_CHECKS).astype(np.int64)
        for position in np.unique(spread).tolist():
            try:
                self._stat(position)
            except _Unreadable as error:
                missing.append(error)
            else:
                found = True
        if missing and not found:
            raise missing[0]

    def file(self, position: int) -> str:
        """The file's path.

        Raises InputError where it is a link that leads out of the root.
        """
        return self._path(position)

    def listed(self, position: int) -> str | None:
        """The line that lists a file; None where a folder was walked."""
        where = self._listing.where(position)
        return where if where != str(self.root) and ", line " in where else None

    def image(self, position: int) -> bytes:
        """The file's bytes.

        Raises InputError, naming the sample, where it is missing, unreadable or outside the root.
        """
        with self._open(position) as file:
            try:
                data = file.read(MAX_FILE_BYTES + 1)
            except OSError as error:
                raise self._unreadable(position, error) from None
        if len(data) > MAX_FILE_BYTES:
            raise InputError(
                f"{self.name}: the image {self.table.ids[position]!r} is larger than "
                f"{MAX_FILE_BYTES >> 20} MiB, which no image here should be"
            )
        return data

    def byte_hashes(self, positions: Positions) -> list[str]:
        """Hex BLAKE2b-128 of each file's bytes, in order; reads only files that are new or changed.

        InputError for a missing file.
        """
        return self._hashes(positions)

    def reading_marks(self, positions: Positions) -> list[str]:
        """Of TIFF files that were turned twice, or read as darker than they are, before their tags
        were looked at (headwater.sources.tiff); each file is opened once by a process.
        """
        marks = []
        for position in positions.tolist():
            sample_id = str(self.table.ids[position])
            if not sample_id.lower().endswith(tiff.SUFFIXES):
                continue
            if position not in self._marks:
                with self._open(position) as file:
                    self._marks[position] = tiff.read_header(file).mark
            if self._marks[position]:
                marks.append(f"{sample_id}\x1f{self._marks[position]}")
        return marks

    def bytes_to_hash(self, positions: Positions) -> int:
        """The sizes of the files, together.

        InputError for a missing file.
        """
        return sum(self._stat(position).st_size for position in positions.tolist())

    def _open(self, position: int) -> BufferedReader:
        if not stat.S_ISREG(self._stat(position).st_mode):  # a pipe would be waited for without end
            raise InputError(
                f"{self.name}: the image {self.table.ids[position]!r} is no regular file (listed "
                f"in {self._listing.where(position)})"
            )
        try:
            return open(self._path(position), "rb")
        except OSError as error:
            raise self._unreadable(position, error) from None

    def _stat(self, position: int) -> os.stat_result:
        path, found = self._found(position)
        try:
            return os.stat(path) if found is None or stat.S_ISLNK(found.st_mode) else found
        except OSError as error:
            raise self._unreadable(position, error) from None

    def _unreadable(self, position: int, error: OSError) -> _Unreadable:
        reason = (
            "there is no such file"
            if isinstance(error, FileNotFoundError)
            else error.strerror or str(error)
        )
        return _Unreadable(
            f"{self.name}: the image {self.table.ids[position]!r} cannot be read ({reason}; listed "
            f"in {self._listing.where(position)})"
        )

    def _path(self, position: int) -> str:
        return self._found(position)[0]

    def _found(self, position: int) -> tuple[str, os.stat_result | None]:
        """The file's path, and what lies there, None where nothing does. Checked to lie inside the
        root: its folder once, the file itself only where it is a link.

        A csv written on one system and images unpacked on another can differ in Unicode form: the
        path as written is tried, then its NFC.
        """
        path = os.path.join(self.root, self._listing.files[position])
        found = _lies(path)
        if found is None:
            path = os.path.join(self.root, self.table.ids[position])
            found = _lies(path)
        folder = os.path.dirname(path)
        if folder not in self._inside:
            self._inside[folder] = self._contains(folder)
        leads = (
            found is not None and stat.S_ISLNK(found.st_mode) and os.path.exists(path)
        )  # to something
        if not self._inside[folder] or (leads and not self._contains(path)):
            where = self._listing.where(position)
            raise InputError(
                f"{self.name}: the image {self.table.ids[position]!r} is a link that leads out of "
                f"{self.root} (listed in {where}); "
                "copy the file, make the folder it leads to the root, or set `follow_links: true` "
                "on its data entry in the study"
            )
        return path, found

    def _contains(self, path: str) -> bool:
        if self._follow_links:
            return True
        real = os.path.realpath(path)
        return real == str(self.root) or real.startswith(os.path.join(self.root, ""))


def _lies(path: str) -> os.stat_result | None:
    """What lies at a path, a link as itself; None where nothing does."""
    try:
        return os.lstat(path)
    except (OSError, ValueError):
        return None
