"""The files below a folder: images, tables beside them, and what is passed over.

Hidden entries and folders of systems and tools are not entered. Links that stay inside the root are
followed; a link back to a folder that it lies in ends there.
"""

from __future__ import annotations

import os
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

from headwater.errors import InputError
from headwater.sources.formats import counted, is_image, told_endings, unread_ending

_SYSTEM = frozenset(
    [
        "__macosx",
        "_macosx",
        "@eadir",
        "@recycle",
        "@recently-snapshot",
        "@tmp",
        "#recycle",
        "#snapshot",
        "$recycle.bin",
        "recycler",
        "lost+found",
        "found.000",
        "__pycache__",
        "node_modules",
        "thumbs",
        "thumbnails",
        "_thumbs",
        "_thumbnails",
        "cvs",
    ]
) | {"system volume information", "network trash folder", "temporary items"}
"""Folders that systems and tools leave, in lower case."""
_TABLES = (".csv", ".tsv", ".jsonl", ".parquet", ".xlsx", ".xls", ".ods")
METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")


@dataclass
class Walk:
    """What lies below a folder. Paths are relative to it, with forward slashes."""

    root: Path
    images: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    metadata: list[str] = field(default_factory=list)
    """Tables in the manner of Hugging Face's image folders."""
    unread: dict[str, Counter[str]] = field(default_factory=dict)
    """Files that may be images and are left out: their endings, by folder."""
    system: Counter[str] = field(default_factory=Counter)
    """Folders of systems and tools that were passed over, by name."""
    tables: list[str] = field(default_factory=list)
    """Tables in the root that are not read."""
    loops: list[str] = field(default_factory=list)
    """Links that were not followed since they lead back."""

    def empty(self) -> list[str]:
        """Folders without an image at any depth, sorted."""
        full: set[str] = set()
        for path in self.images:
            folder = path.rpartition("/")[0]
            while folder and folder not in full:
                full.add(folder)
                folder = folder.rpartition("/")[0]
        return sorted(set(self.folders) - full)

    def unread_below(self, folder: str) -> Counter[str]:
        """Endings of the files that are left out in a folder and below it."""
        counts: Counter[str] = Counter()
        for place, endings in self.unread.items():
            if not folder or place == folder or place.startswith(f"{folder}/"):
                counts.update(endings)
        return counts

    def notes(self) -> tuple[str, ...]:
        """What was left out, a sentence each."""
        notes = []
        left_out = self.unread_below("")
        if left_out:
            notes.append(
                f"left out, by the ending of the name: {counted(left_out.total(), 'file')} "
                f"({told_endings(left_out)}); convert images to PNG or JPEG to use them"
            )
        if self.system:
            names = ", ".join(sorted(self.system)[:4])
            notes.append(
                f"passed over: {counted(self.system.total(), 'folder')} of systems and tools "
                f"({names}); a labels.csv can list what is in them"
            )
        if self.tables:
            names = ", ".join(map(repr, sorted(self.tables)[:4]))
            notes.append(f"tables that are not read: {names} (labels.csv is the one that is)")
        if self.loops:
            notes.append(
                f"not followed, since they lead back: {counted(len(self.loops), 'link')} to "
                f"folders, the first is {self.loops[0]!r}"
            )
        return tuple(notes)


@dataclass(frozen=True)
class _Place:
    """A folder that waits to be read."""

    prefix: str
    real: str
    trail: tuple[str, ...] = ()
    """Where the links that led here lie, as real paths."""


def walk(root: Path, *, follow_links: bool = False) -> Walk:
    """All that is not hidden below `root`, lists sorted.

    Links to nothing and empty folders that are called as images are count as images: whoever looks
    at these will say what they are. Raises InputError for a folder that cannot be read, for a link
    out of the root (unless `follow_links`), and for a name of an image that is not UTF-8.
    """
    top = os.path.realpath(root)
    found, waiting, entered = Walk(root), [_Place("", top)], set[str]()
    while waiting:
        place = waiting.pop()
        try:
            with os.scandir(place.real) as entries:
                shown = [entry for entry in entries if not entry.name.startswith(".")]
        except OSError as error:
            raise InputError(
                f"{root / place.prefix}: the folder cannot be read ({error.strerror})"
            ) from None
        for entry in sorted(shown, key=lambda entry: entry.name):
            path = place.prefix + entry.name
            is_folder = _is_folder(entry)
            if entry.name.casefold() in _SYSTEM and is_folder:
                found.system[entry.name] += 1
                continue
            if entry.is_symlink() and (is_folder or is_image(entry.name)):
                target = _target(entry, path, top, found, follow_links)
            else:
                target = os.path.join(place.real, entry.name)
            if not is_folder or (is_image(entry.name) and _is_empty(target)):
                _put_file(found, place.prefix, entry.name)
            elif not entry.is_symlink():
                found.folders.append(path)
                waiting.append(_Place(f"{path}/", target, place.trail))
            elif _leads_back(target, (*place.trail, place.real)) or (
                place.trail and target in entered
            ):
                found.loops.append(path)
            else:
                entered.add(target)
                found.folders.append(path)
                waiting.append(_Place(f"{path}/", target, (*place.trail, place.real)))
    for names in (found.images, found.folders, found.metadata, found.loops):
        names.sort()
    return found


def _put_file(found: Walk, prefix: str, name: str) -> None:
    path = prefix + name
    if is_image(name):
        if not _is_text(path):
            shown = path.encode(errors="backslashreplace").decode()
            raise InputError(
                f"{found.root}: the name of the file {shown!r} is not UTF-8; rename it"
            )
        found.images.append(path)
    elif name in METADATA:
        found.metadata.append(path)
    elif not prefix and name != "captions.jsonl" and name.lower().endswith(_TABLES):
        found.tables.append(name)
    else:
        ending = unread_ending(name)
        if ending is not None:
            found.unread.setdefault(prefix.rstrip("/"), Counter())[ending] += 1


def _target(entry: os.DirEntry[str], path: str, top: str, found: Walk, follow_links: bool) -> str:
    """Where a link leads."""
    target = os.path.realpath(entry.path)
    if os.path.exists(target) and not follow_links and not _inside(target, top):
        what = "a link to a folder that" if _is_folder(entry) else "a link that"
        raise InputError(
            f"{found.root}: {path!r} is {what} leads out of the root; copy what it leads to, or "
            "set `follow_links: true` on its data entry in the study"
        )
    return target


def _is_folder(entry: os.DirEntry[str]) -> bool:
    try:
        return entry.is_dir()
    except OSError:  # a link to itself
        return False


def _is_empty(folder: str) -> bool:
    try:
        with os.scandir(folder) as entries:
            return next(entries, None) is None
    except OSError:
        return False


def _leads_back(target: str, trail: tuple[str, ...]) -> bool:
    """Whether a link's target is a folder that the link lies in, by any of the links before it."""
    return any(_inside(place, target) for place in trail)


def _inside(path: str, folder: str) -> bool:
    return path == folder or path.startswith(os.path.join(folder, ""))


def _is_text(path: str) -> bool:
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True
