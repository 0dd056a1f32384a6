"""Where shards lie: a folder, one tar, or a pattern with {00000..00331} or *."""

from __future__ import annotations

import glob
import hashlib
import os
import re
from dataclasses import dataclass
from pathlib import Path

from headwater.errors import InputError
from headwater.sources.formats import IMAGE_SUFFIXES
from headwater.sources.links import leads_out

_RANGE = re.compile(r"\{(\d+)\.\.(\d+)\}")
_LIST = re.compile(r"\{([^{}]*,[^{}]*)\}")
_MOST_SHARDS = 1_000_000
"""Of a pattern; LAION-5B has 233,000 [ours]."""
_HEAD = 4096
"""Bytes of a shard's beginning that it is known by, with its size and time."""
_PACKED = (".tar.gz", ".tgz", ".tar.bz2", ".tar.xz", ".tar.zst")
ADDRESS = re.compile(r"^[a-z][a-z0-9+.-]*://", re.IGNORECASE)


@dataclass(frozen=True)
class Shard:
    """One tar, and what it is known by."""

    name: str
    """Its path relative to the root, without its ending: what ids begin with."""
    path: str
    """Where it lies on this machine, or its address."""
    size: int
    mtime_ns: int
    head: str
    """Hex BLAKE2b-128 of its first 4 KiB."""
    beside: str | None = None
    """A Parquet table of its samples, in a file of the same name."""
    beside_size: int = 0
    beside_mtime_ns: int = 0

    @property
    def stem(self) -> str:
        return f"{self.name}/"

    def state(self) -> tuple[str, int, int, str, int, int]:
        """What changes with its bytes."""
        return (
            *(self.name, self.size, self.mtime_ns, self.head),
            *(self.beside_size, self.beside_mtime_ns),
        )

    def id(self, *more: object) -> str:
        """A digest of its state, and of `more`."""
        return hashlib.sha256(repr((self.state(), more)).encode()).hexdigest()[:32]


def expanded(pattern: str) -> list[str]:
    """The paths that a pattern with braces means: {000..012} counts, with as many digits, and
    {a,b} lists. Raises InputError for more than a million.
    """
    done, waiting = [], [pattern]
    while waiting:
        text = waiting.pop()
        counting, listing = _RANGE.search(text), _LIST.search(text)
        if counting is not None:
            first, last = counting.groups()
            numbers = range(int(first), int(last) + 1)
            if len(numbers) > _MOST_SHARDS:
                raise InputError(f"{pattern}: means more than {_MOST_SHARDS:,} shards")
            words = [f"{number:0{len(first)}d}" for number in numbers]
            found = counting
        elif listing is not None:
            words, found = listing.group(1).split(","), listing
        else:
            done.append(text)
            continue
        if len(done) + len(waiting) + len(words) > _MOST_SHARDS:
            raise InputError(f"{pattern}: means more than {_MOST_SHARDS:,} shards")
        waiting += [text[: found.start()] + word + text[found.end() :] for word in words]
    return sorted(done)


def local_shards(written: str, bases: list[Path], where: str) -> tuple[Path, list[Shard]]:
    """(the folder that names are relative to, the shards in the order of their names).

    `written` is a folder, one tar or a pattern, absolute or relative to one of `bases`. Raises
    InputError where nothing is found, a shard of a pattern is missing, or a link leads out of the
    folder.
    """
    if written.startswith("pipe:"):
        raise InputError(
            f"{where}: {written!r} would run a program, which no data here may; copy the shards to "
            "a folder, or name their addresses"
        )
    plain = _LIST.sub("", _RANGE.sub("", written))
    for base in bases or [Path()]:
        root = (base / Path(written).expanduser()).absolute()
        if root.is_dir():
            return _named(root, _inside(root), where)
        if root.is_file():
            return _named(root.parent, [str(root)], where)
        if "{" in written or any(letter in plain for letter in "*?["):
            root = _fixed(base / Path(written).expanduser())
            if root.is_dir():
                return _named(root, _matching(str(base / Path(written).expanduser())), where)
    looked = " or ".join(str(base / written) for base in bases or [Path()])
    raise InputError(
        f"{where}: there is no folder, tar or pattern {looked}; write its path from the study "
        "file's folder or an absolute one, or name the folder it lies in with --data-root (or "
        "HEADWATER_DATA)"
    )


def _fixed(pattern: Path) -> Path:
    """The folder above the first part of a path that is a pattern."""
    parts = []
    for part in pattern.absolute().parts:
        if re.search(r"[{*?\[]", part):
            break
        parts.append(part)
    return Path(*parts)


def is_there(place: Path) -> bool:
    """Whether a path is a folder or a file, or a pattern that names a file."""
    if place.is_dir() or place.is_file():
        return True
    pattern = any(letter in str(place) for letter in "*?[{")
    return pattern and any(os.path.isfile(path) for path in _matching(str(place)))


def holds_shards(root: Path) -> bool:
    """Whether a folder holds a tar that may be a shard."""
    return bool(_inside(root))


def _inside(root: Path, endings: tuple[str, ...] = (".tar",)) -> list[str]:
    found = []
    for folder, folders, files in os.walk(root):
        folders[:] = sorted(name for name in folders if not name.startswith("."))
        found += [
            os.path.join(folder, name)
            for name in files
            if name.lower().endswith(endings) and not name.startswith(".")
        ]
    return found


def not_read(root: Path) -> list[str]:
    """Sentences on what lies among the shards of a folder and is none."""
    packed = len(_inside(root, _PACKED))
    images = len(_inside(root, tuple(IMAGE_SUFFIXES)))
    notes = []
    if packed:
        notes.append(
            f"not read: {packed:,} packed tars ({', '.join(_PACKED)}); unpack them to .tar"
        )
    if images:
        notes.append(f"not read: {images:,} images that lie beside the tars, in none of them")
    return notes


def _matching(pattern: str) -> list[str]:
    found: list[str] = []
    for path in expanded(pattern):
        if any(letter in path for letter in "*?["):
            found += glob.glob(path, recursive=True)
        else:
            found.append(path)
    return found


def _named(root: Path, paths: list[str], where: str) -> tuple[Path, list[Shard]]:
    if not paths:
        raise InputError(
            f"{where}: there is no .tar in {root}; shards are tars of images, as img2dataset and "
            "webdataset write them, and `headwater shard` packs a folder"
        )
    shards = [_shard(root, path, where) for path in sorted(set(paths))]
    return root, sorted(shards, key=lambda shard: shard.stem)


def _shard(root: Path, path: str, where: str) -> Shard:
    if leads_out(Path(path), root):
        raise InputError(f"{where}: {path} is a link that leads out of {root}; copy the tar there")
    resolved = os.path.realpath(path)
    if os.path.exists(resolved) and not os.path.isfile(resolved):
        raise InputError(f"{where}: {path} is no file; leave it out of the path")
    try:
        path.encode()
    except UnicodeEncodeError:
        raise InputError(
            f"{where}: the name of {os.fsencode(path)!r} is not UTF-8, and ids are made of it; "
            "rename it"
        ) from None
    try:
        with open(resolved, "rb") as file:
            status = os.fstat(file.fileno())
            head = hashlib.blake2b(file.read(_HEAD), digest_size=16).hexdigest()
    except OSError as error:
        raise InputError(
            f"{where}: the shard {path} cannot be read ({error.strerror or error}); get it, or "
            "leave it out of the path"
        ) from None
    name = os.path.relpath(path, root)
    name = name[:-4] if name.lower().endswith(".tar") else name
    tables = [f"{path[:-4]}.parquet", f"{resolved[:-4]}.parquet"]  # a link's, or its target's
    beside, size, mtime = next((one for one in tables if os.path.isfile(one)), ""), 0, 0
    if beside:
        if leads_out(Path(beside), root):
            raise InputError(f"{where}: {beside} is a link that leads out of {root}; copy it there")
        beside = os.path.realpath(beside)
        told = os.stat(beside)
        size, mtime = told.st_size, told.st_mtime_ns
    return Shard(
        name=Path(name).as_posix(),
        path=resolved,
        size=status.st_size,
        mtime_ns=status.st_mtime_ns,
        head=head,
        beside=beside if size else None,
        beside_size=size,
        beside_mtime_ns=mtime,
    )
