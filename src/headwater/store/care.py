"""What is wrong in a store, what lies in it for nobody, and the room that it takes.

Nothing is changed by looking; `free` removes what was found, and what a run that is under way may
need is not found: temporary files and checkpoints that somebody may be writing are left for a day.
"""

from __future__ import annotations

import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from headwater import digests, files
from headwater.errors import InputError
from headwater.rows import CELL_FILE, read_cell_file
from headwater.store.folder import Store
from headwater.store.leases import LAPSE_S

_ARM = re.compile(r"[0-9a-f]{16}")
_DAY_S = 86_400.0

DAMAGED, HALF, ORPHAN, STRAY, OLD = "damaged", "half-written", "orphan", "stray", "old"
KINDS = {
    DAMAGED: "not what was written; removed, the next run makes it again",
    HALF: "left by a process that was killed",
    ORPHAN: "of cells without rows, or arms without a record",
    STRAY: "of no name that the store gives: copies of a sync tool, say; never removed here",
    OLD: "no longer needed",
}
"""What the kinds of findings mean."""


@dataclass(frozen=True)
class Finding:
    """Something in a store that is not as it should be."""

    kind: str
    """One of KINDS."""
    path: Path
    what: str
    """A few words for people."""
    bytes: int


@dataclass(frozen=True)
class Looked:
    """A whole store, looked through."""

    findings: tuple[Finding, ...]
    sizes: dict[str, int]
    """Bytes of each part of the store."""
    checked: int
    """Files whose digests were compared."""


def look(store: Store, told: Callable[[int], None] = lambda checked: None) -> Looked:
    """Compares every digest of a store and says what is wrong, and what is for nobody. `told` hears
    of the number of files that were compared so far.
    """
    findings = [Finding(DAMAGED, path, what, 0) for path, what in store.bring_everything()]
    checked = 0
    for found in _everything(store):
        if found is None:
            checked += 1
            told(checked)
        else:
            findings.append(found)
    parts = sorted(path for path in store.root.iterdir() if path.is_dir())
    return Looked(tuple(findings), {path.name: _size(path) for path in parts}, checked)


def free(store: Store, findings: Iterable[Finding], *, cache: bool = False) -> int:
    """Removes what was found, but for strays, and the cache where asked to; the bytes freed. What
    cannot be removed is left.
    """
    freed = 0
    paths = [(found.path, found.bytes) for found in findings if found.kind != STRAY]
    if cache:
        paths += [(path, _size(path)) for path in _inside(store.cache)]
    for path, size in paths:
        with suppress(OSError):
            if path.is_dir() and not path.is_symlink():
                shutil.rmtree(path)
            else:
                path.unlink(missing_ok=True)
            freed += size
        if path.parent != store.cache:
            store.gone(path)
    return freed


def _everything(store: Store) -> Iterator[Finding | None]:
    """Findings, and None for each file that was compared and is sound."""
    now = files.disk_time(store.root)
    yield from _arms(store)
    yield from _rows(store)
    yield from _answers(store, now)
    yield from _labels(store)
    yield from _checkpoints(store)
    yield from _leases(store)
    for path in _inside(store.damaged):
        yield Finding(OLD, path, "rows that were set aside, and measured again", _size(path))
    for path in sorted(files.temporary(store.root)):
        if _age(path, now) > _DAY_S:
            yield Finding(HALF, path, "a temporary file more than a day old", _size(path))


def _arms(store: Store) -> Iterator[Finding | None]:
    for folder in _inside(store.arms):
        if not _ARM.fullmatch(folder.name):
            yield Finding(STRAY, folder, "is no arm", _size(folder))
        elif not (folder / "arm.json").is_file():
            yield Finding(ORPHAN, folder, "an arm without its record", _size(folder))
        else:
            yield from _arm(store, folder)


def _arm(store: Store, folder: Path) -> Iterator[Finding | None]:
    try:
        held = store.read_arm(folder.name).get("files", {})
    except InputError:
        yield Finding(DAMAGED, folder, "the record of an arm", _size(folder))
        return
    yield None
    for name, digest in sorted(held.items()):
        try:
            sound = files.file_sha256(folder / name) == digest
        except OSError:
            sound = False
        if not sound:
            yield Finding(DAMAGED, folder, f"an arm whose {name} is another", _size(folder))
            return
        yield None


def _rows(store: Store) -> Iterator[Finding | None]:
    for path in _inside(store.rows):
        if not CELL_FILE.fullmatch(path.name):
            yield Finding(STRAY, path, "is no file of rows", _size(path))
            continue
        try:
            read_cell_file(path, path.name.split(".")[0])
            yield None
        except InputError:
            yield Finding(DAMAGED, path, "rows of a cell", _size(path))


def _answers(store: Store, now: float) -> Iterator[Finding | None]:
    for path in _inside(store.answers):
        if path.suffix != ".npy" or not _ARM.fullmatch(path.stem):
            yield Finding(STRAY, path, "is no file of answers", _size(path))
        elif not store.has_cell(path.stem):
            if _age(path, now) > _DAY_S:
                yield Finding(ORPHAN, path, "answers of a cell without rows", _size(path))
        else:
            try:
                digests.read_array(path, np.uint8, 1)
                yield None
            except (OSError, ValueError):
                yield Finding(DAMAGED, path, "answers of a cell", _size(path))


def _labels(store: Store) -> Iterator[Finding | None]:
    for folder in _inside(store.labels):
        try:
            store.read_labels(folder.name, digests.read_record(folder / "labels.json")["images"])
            yield None
        except (InputError, OSError, ValueError, KeyError):
            yield Finding(DAMAGED, folder, "labels made from features", _size(folder))


def _checkpoints(store: Store) -> Iterator[Finding]:
    for folder in _inside(store.partial):
        if not _ARM.fullmatch(folder.name):
            yield Finding(STRAY, folder, "is no arm", _size(folder))
        elif store.has_arm(folder.name):
            yield Finding(OLD, folder, "checkpoints of an arm that is finished", _size(folder))


def _leases(store: Store) -> Iterator[Finding]:
    with store.looking_at_leases() as leases:
        for unit in leases.units():
            held, path = leases.held(unit), store.root / "leases" / f"{unit}.json"
            if held is not None and held.lapsed(LAPSE_S):
                yield Finding(OLD, path, "a lease that nobody has any more", _size(path))


def workers(store: Store) -> list[str]:
    """What the processes are called that compute something in a store now."""
    found = set[str]()
    with store.looking_at_leases() as leases:
        for unit in leases.units():
            held = leases.held(unit)
            if held is not None and held.owner is not None and not held.lapsed(LAPSE_S):
                found.add(f"{held.owner.name} (process {held.owner.pid})")
    return sorted(found)


def _inside(folder: Path) -> list[Path]:
    """What is in a folder but for hidden files, sorted."""
    if not folder.is_dir():
        return []
    return sorted(path for path in folder.iterdir() if not path.name.startswith("."))


def _age(path: Path, now: float) -> float:
    """Seconds since a file was changed, by the clock of its disk."""
    try:
        return now - path.lstat().st_mtime
    except OSError:
        return 0.0


def _size(path: Path) -> int:
    """Bytes of a file, or of all files below a folder."""
    total = 0
    for each in (path, *path.rglob("*")) if path.is_dir() and not path.is_symlink() else (path,):
        with suppress(OSError):
            total += 0 if each.is_dir() else each.lstat().st_size
    return total
