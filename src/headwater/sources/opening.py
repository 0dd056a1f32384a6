"""What kinds of data share that are read from a folder: where the folder is, which index file and
which hierarchy belong to it, and where hashes of its bytes are kept.
"""

from __future__ import annotations

import difflib
import hashlib
from dataclasses import dataclass, replace
from pathlib import Path

from headwater.errors import InputError, blamed_on
from headwater.sources import Source

BUILT_IN_HIERARCHIES = ("wordnet", "cifar100")
"""Hierarchies that come with the package. They win over files of these names: write ./wordnet for
such a file.
"""


@dataclass(frozen=True)
class Place:
    """Where files of one `data:` entry are looked for."""

    name: str
    """The entry's name in the study."""
    folder: Path
    """The data set's own folder."""
    data_root: Path | None

    def add_splits(self, source: Source, split_file: str | None) -> None:
        """Gives a source the split columns of its index file, if it has one.

        Raises InputError where the file cannot be found or does not fit the source.
        """
        if split_file is None:
            return
        from headwater.sources.tables import with_split_file

        with blamed_on("data", self.name, "split_file"):
            path = self.file(split_file, "split_file")
            source.table = with_split_file(source.table, path)

    def add_hierarchy(self, source: Source, hierarchy: str | None) -> None:
        """Gives a source its class hierarchy, if the study names one: a built-in one, or a file;
        `#` and what follows it say how to read the file. Raises InputError for a missing file.
        """
        if hierarchy is None:
            return
        with blamed_on("data", self.name, "hierarchy"):
            source.table = replace(source.table, hierarchy=self._reference(hierarchy))

    def file(self, written: str, word: str, advice: str = "") -> Path:
        """The file that the entry's `word` names: absolute, in the data set's own folder, or under
        the data root. Raises InputError where there is none.
        """
        where = f"data.{self.name}.{word}"
        bases = (self.folder,) if self.data_root is None else (self.folder, self.data_root)
        try:
            places = [base / Path(written).expanduser() for base in bases]
            for place in places:
                if place.exists():
                    return place.resolve()
        except (RuntimeError, OSError) as error:  # ~somebody, or a name that is too long
            raise InputError(f"{where}: the file {written!r} cannot be found ({error})") from None
        missing = " nor ".join(repr(str(place)) for place in places)
        raise InputError(f"{where}: there is no file {missing}{advice}")

    def _reference(self, written: str) -> str:
        if written in BUILT_IN_HIERARCHIES:
            return written
        name, mark, option = written.partition("#")
        built_in = f"; built in are {', '.join(BUILT_IN_HIERARCHIES)}"
        return f"{self.file(name, 'hierarchy', built_in)}{mark}{option}"


def hash_file(cache: Path | None, read_as: str) -> Path | None:
    """The file in the folder `cache` that keeps hashes of a source's bytes; None without a cache.

    `read_as` names the folder and its reader, since the ids of one folder differ by who read it.
    """
    if cache is None:
        return None
    return cache / f"bytes-{hashlib.sha256(read_as.encode()).hexdigest()[:16]}.hashes"


MEASURED = ("caltech101", "eurosat", "grocery", "plantvillage15", "trashnet", "ucm_captions")
"""Folders of the measured studies, which docs/data.md says how to make."""


def folder_of(written: str, data_root: Path | None, where: str, advice: str | None = None) -> Path:
    """The folder that an entry names, which exists: absolute, or under the data root.

    Raises InputError that gives `advice` on where to get it otherwise.
    """
    if advice is None and written in MEASURED:
        advice = "get the data (docs/data.md says where)"
    try:
        root = Path(written).expanduser()
        (data_root or Path()).joinpath(root).is_dir()
    except (RuntimeError, OSError) as error:  # ~somebody, or a name that is too long
        raise InputError(f"{where}: the folder {written!r} cannot be found ({error})") from None
    if root.is_absolute():
        places = [root]
    else:
        places = [] if data_root is None else [data_root / root]
    for place in places:
        if place.is_dir():
            return place
    looked = " or ".join(["beside the study file", *map(str, places)])
    missing = f"there is no folder {str(root)!r}"
    if not root.is_absolute():
        missing = f"there is no folder {written!r} {looked}" if places else f"{missing} {looked}"
    near = near_folder(places[0] if places else root)
    mend = f"did you mean {near!r}? Otherwise " if near else ""
    get = f"{advice}, then " if advice else ""
    raise InputError(
        f"{where}: {missing}; {mend}{get}write its path from the study file's folder or an "
        "absolute one, or name the folder it lies in with --data-root (or HEADWATER_DATA)"
    )


def near_folder(path: Path) -> str | None:
    """The folder beside `path` whose name is nearest to its own; None where none is near."""
    try:
        beside = [each.name for each in path.absolute().parent.iterdir() if each.is_dir()]
    except OSError:
        return None
    near = difflib.get_close_matches(path.name, beside, n=1)
    return str(path.parent / near[0]) if near else None
