"""What the folders of a tree of images mean: splits, classes, or neither.

    split/class   train/cat/1.jpg, also wrapped (images/train/cat/1.jpg)
    class/split   cat/train/1.jpg
    class         every folder is a class: cat/1.jpg, animal/cat/1.jpg
    flat          folders say nothing

A tree that can be read in two ways is refused with both readings, unless the study chooses
(`layout:`). Which it can be is told from the names of folders (split_words) and from whether the
splits hold the same classes.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Literal, cast, get_args

from headwater.errors import InputError
from headwater.sources.formats import counted
from headwater.sources.split_words import (
    SplitWord,
    exact_split,
    says_nothing,
    split_word,
    two_meanings,
)

Layout = Literal["split/class", "class/split", "class", "flat", "metadata"]
Folder = tuple[str, ...]
"""Names of folders from the root inwards."""
_OVERLAP = 0.5
"""Share of the smaller split's class folders that another split has as well, from which on two
folders are taken for splits of the same classes [ours].
"""
_DEEPEST = 4
"""Folders around the splits at most."""


def layout_named(word: str | None) -> Layout | None:
    """A layout by its word. Raises InputError for an unknown one."""
    known = get_args(Layout)
    if word is not None and word not in known:
        raise InputError(f"layout {word!r} is none of {', '.join(known)}")
    return cast("Layout | None", word)


@dataclass(frozen=True)
class Meaning:
    """What an image's folder says."""

    split: str
    classes: Folder
    """Class folders, coarsest first; none where the image has no class."""


@dataclass(frozen=True)
class Reading:
    """One way to read a tree."""

    layout: Layout
    meanings: Mapping[Folder, Meaning]
    """By folder; folders that are left out are not among them."""
    left_out: Mapping[Folder, int] = field(default_factory=dict)
    """Images that stand beside the splits, by folder."""
    words: Mapping[str, str] = field(default_factory=dict)
    """Split by the name of its folder."""
    depth: int = 0
    """Folders around the splits."""

    def is_split(self, name: str) -> bool:
        """Whether a folder beside the splits would be one."""
        word = split_word(name)
        return name in self.words or (word is not None and word.exact)

    def said(self) -> str:
        """The reading in words, for messages."""
        classes = {meaning.classes for meaning in self.meanings.values()} - {()}
        named = ", ".join(repr("/".join(folder)) for folder in sorted(classes)[:3])
        more = ", ..." if len(classes) > 3 else ""
        told = (
            f"{counted(len(classes), 'class', 'classes')} ({named}{more})"
            if classes
            else "no classes"
        )
        if not self.words:
            return f"{told} and no splits"
        splits = ", ".join(f"{name!r} as {split}" for name, split in sorted(self.words.items())[:6])
        beside = (
            f", {counted(sum(self.left_out.values()), 'image')} left out" if self.left_out else ""
        )
        return f"{told} and the splits {splits}{beside}"

    def notes(self) -> tuple[str, ...]:
        """What a person should know of the reading."""
        notes = []
        unlike = {name: split for name, split in self.words.items() if name != split}
        if unlike:
            listed = ", ".join(f"{name!r} as {split}" for name, split in sorted(unlike.items())[:6])
            notes.append(f"folders are read as splits: {listed} (layout {self.layout})")
        if self.left_out:
            names = sorted({"/".join(folder) or "." for folder in self.left_out})
            listed = ", ".join(map(repr, names[:3])) + (", ..." if len(names) > 3 else "")
            notes.append(
                f"left out, since beside the folders of splits: "
                f"{counted(sum(self.left_out.values()), 'image')} in {listed}"
            )
        return tuple(notes)


def read_layout(images: Mapping[Folder, int], root: str, layout: Layout | None = None) -> Reading:
    """How the folders are read. `images` counts the images in each folder, `layout` is the study's
    word where it has one.

    Raises InputError where they can be read in two ways, and where `layout` cannot be.
    """
    if layout == "flat":
        return Reading("flat", {folder: Meaning("train", ()) for folder in images})
    if layout in (None, "metadata"):
        return _the_only(_likely(images), images, root)
    if layout == "class":
        return _by_classes(images)
    made = (_asked_splits if layout == "split/class" else _asked_classes)(images)
    if made is None:
        raise InputError(
            f"{root}: layout is {layout}, and no folder is named as a split is (train, val, test "
            "and the like) where that layout has them; leave the key out, or set `layout: class`"
        )
    return made


@dataclass(frozen=True)
class _Likely:
    """A reading that has something for it."""

    reading: Reading
    sure: bool
    """Whether nothing else can be meant."""


def _the_only(likely: Iterable[_Likely], images: Mapping[Folder, int], root: str) -> Reading:
    found = list(likely)
    if not found:
        return _by_classes(images)
    sure = [one.reading for one in found if one.sure]
    if len(sure) == 1:
        reading = sure[0]
        twice = two_meanings(reading.words)
        if twice is None:
            return reading
        raise InputError(
            f"{root}: the folder {twice[0]!r} stands beside {twice[1]!r}, so it can be a "
            "validation split or a second test split; rename it to val, or set `layout: "
            f"{reading.layout}` on this data entry (--layout) to read both as test"
        )
    readings = sure if len(sure) > 1 else [found[0].reading, _by_classes(images)]
    first, second = readings[:2]
    raise InputError(
        f"{root}: the folders can be read in two ways: as {first.said()} (`layout: "
        f"{first.layout}`), or as {second.said()} (`layout: {second.layout}`); set one of them on "
        "this data entry (--layout), or write a labels.csv"
    )


def _likely(images: Mapping[Folder, int]) -> Iterable[_Likely]:
    """Readings with splits, each with whether it is sure."""
    depth = _wrapped(images)
    for place in range(depth + 1):
        outer = _outer(images, place)
        if outer is not None:
            yield outer
            break
    inner = _inner(images, depth)
    if inner is not None:
        yield inner


def _wrapped(images: Mapping[Folder, int]) -> int:
    """How many folders are around all others: one alone at each depth, with nothing but stray
    files, or strays without splits, beside it.
    """
    depth, within = 0, list(images)
    while depth < _DEEPEST:
        by_top: dict[str, list[Folder]] = {}
        for folder in within:
            if len(folder) > depth:
                by_top.setdefault(folder[depth], []).append(folder)
        if any(map(exact_split, by_top)):
            return depth
        tops = list(by_top)
        if len(tops) > 1:
            tops = [top for top in tops if _holds_splits(by_top[top], depth)]
        if len(tops) != 1:
            return depth
        within = by_top[tops[0]]
        depth += 1
    return depth


def _holds_splits(folders: Iterable[Folder], depth: int) -> bool:
    """Whether splits of the same classes lie in a folder at this depth."""
    classes: dict[str, set[str]] = {}
    for folder in folders:
        word = split_word(folder[depth + 1]) if len(folder) > depth + 1 else None
        if word is not None and len(folder) > depth + 2:
            classes.setdefault(word.split, set()).add(_plain(folder[depth + 2]))
    return _share_classes(classes)


def _share_classes(classes: Mapping[str, set[str]]) -> bool:
    """Whether two splits hold the same class folders, by and large."""
    sets = list(classes.values())
    for at, one in enumerate(sets):
        for other in sets[at + 1 :]:
            if one and other and len(one & other) >= _OVERLAP * min(len(one), len(other)):
                return True
    return False


@dataclass(frozen=True)
class _Level:
    """The folders at one depth."""

    words: Mapping[str, SplitWord]
    """What those say that are named as splits are."""
    others: frozenset[str]
    """The others."""
    below: Mapping[str, set[str]]
    """The folders in each."""
    flat: bool
    """Whether images lie beside all of them."""

    @property
    def splits(self) -> set[str]:
        return {word.split for word in self.words.values()}

    @property
    def exact(self) -> bool:
        return all(word.exact for word in self.words.values())

    @property
    def alike(self) -> bool:
        """Whether two splits hold the same classes."""
        classes: dict[str, set[str]] = {}
        for top, word in self.words.items():
            classes.setdefault(word.split, set()).update(self.below[top])
        return _share_classes(classes)

    @property
    def beside(self) -> bool:
        """Whether a folder that is no split holds classes of the splits."""
        classes = set[str]().union(*(self.below[top] for top in self.words))
        return any(self.below[top] & classes for top in self.others)


def _level(images: Mapping[Folder, int], depth: int) -> _Level:
    below: dict[str, set[str]] = {}
    flat = False
    for folder in images:
        if len(folder) == depth:
            flat = True
        if len(folder) > depth:
            names = below.setdefault(folder[depth], set())
            inside = folder[depth + 1 :]
            if len(inside) > 1 and _same_split(folder[depth], inside[0]):
                inside = inside[1:]
            if inside:
                names.add(_plain(inside[0]))
    words = {top: word for top in below if (word := split_word(top)) is not None}
    return _Level(words, frozenset(below) - set(words), below, flat)


def _outer(images: Mapping[Folder, int], depth: int) -> _Likely | None:
    """Splits outside, classes inside; None where that is no reading."""
    held = _prefixes(images, depth)
    if len(held) != 1:
        return None
    inside = {folder: count for folder, count in images.items() if folder[:depth] == held[0]}
    level = _level(inside, depth)
    sure = _outer_is_sure(level)
    if sure is None:
        return None
    return _Likely(_by_splits(images, held[0]), sure)


def _prefixes(images: Iterable[Folder], depth: int) -> list[Folder]:
    """Folders at a depth that hold one named as a split, sorted."""
    tops = {folder[: depth + 1] for folder in images if len(folder) > depth}
    return sorted({top[:-1] for top in tops if split_word(top[-1]) is not None})


def _outer_is_sure(level: _Level) -> bool | None:
    """Whether the folders named as splits can be nothing else; None where they are classes."""
    deep = any(level.below[top] for top in level.words)
    if not level.others and level.exact:
        # a file beside one folder of images may as well be an image without a class
        return not (level.flat and len(level.splits) == 1 and not deep)
    if len(level.splits) > 1:
        if level.alike:
            return not level.beside
        exact = {word.split for word in level.words.values() if word.exact}
        return False if not level.others or len(exact) > 1 else None
    if not any(word.exact for word in level.words.values()):
        return None
    if not level.others:
        return False
    others_deep = any(level.below[top] for top in level.others)
    return False if deep and (not others_deep or level.beside) else None


def _by_splits(images: Mapping[Folder, int], prefix: Folder) -> Reading:
    """Read with the splits in the folder `prefix`; what is not below one of them is left out."""
    depth = len(prefix)
    meanings: dict[Folder, Meaning] = {}
    left_out: dict[Folder, int] = {}
    words: dict[str, str] = {}
    for folder, count in images.items():
        word = split_word(folder[depth]) if len(folder) > depth else None
        if folder[:depth] != prefix or word is None:
            left_out[folder] = count
            continue
        words[folder[depth]] = word.split
        meanings[folder] = Meaning(word.split, folder[depth + 1 :])
    if _doubled(meanings.values()):
        meanings = {
            folder: Meaning(meaning.split, meaning.classes[1:])
            for folder, meaning in meanings.items()
        }
    return Reading("split/class", meanings, left_out, words, depth)


def _plain(name: str) -> str:
    return unicodedata.normalize("NFC", name).strip()


def _same_split(one: str, other: str) -> bool:
    first, second = split_word(one), split_word(other)
    return first is not None and second is not None and first.split == second.split


def _doubled(meanings: Iterable[Meaning]) -> bool:
    """Whether every split's folder holds one folder of the same split, as archives unpack."""
    for meaning in meanings:
        word = split_word(meaning.classes[0]) if meaning.classes else None
        if word is None or word.split != meaning.split or len(meaning.classes) < 2:
            return False
    return True


def _inner(images: Mapping[Folder, int], depth: int) -> _Likely | None:
    """Classes outside, splits inside; None where that is no reading."""
    found = [_split_inside(images, place, depth) for place in _places(images, depth)]
    covered = [reading for reading in found if reading is not None]
    if not covered:
        return None
    reading = min(covered, key=lambda one: sum(one.left_out.values()))
    by_class: dict[Folder, set[str]] = {}
    for meaning in reading.meanings.values():
        by_class.setdefault(meaning.classes, set()).add(meaning.split)
    several = sum(len(splits) > 1 for splits in by_class.values())
    exact = all(word.exact for word in map(split_word, reading.words) if word is not None)
    splits = set(reading.words.values())
    strays = {folder for folder in reading.left_out if folder}
    if len(splits) > 1 and not several:
        return None if strays or not exact else _Likely(reading, sure=False)
    if strays:
        return _Likely(reading, sure=False) if several and exact else None
    if not exact and 2 * several < len(by_class):
        return None
    wrapper = any(says_nothing(folder[0]) for folder in by_class)
    return _Likely(reading, sure=len(by_class) > 1 and not wrapper)


def _places(images: Mapping[Folder, int], depth: int) -> list[int]:
    """Depths at which splits inside classes can be: counted from the root, and the last one."""
    deepest = max(map(len, images), default=0)
    return [*range(depth + 1, min(deepest, depth + _DEEPEST)), -1]


def _split_inside(images: Mapping[Folder, int], place: int, depth: int) -> Reading | None:
    """Read with the split at one depth of every folder, and the class around it, from `depth`
    on.
    """
    meanings: dict[Folder, Meaning] = {}
    left_out: dict[Folder, int] = {}
    words: dict[str, str] = {}
    for folder, count in images.items():
        at = len(folder) - 1 if place < 0 else place
        word = split_word(folder[at]) if depth < at < len(folder) else None
        if word is None:
            left_out[folder] = count
            continue
        words[folder[at]] = word.split
        meanings[folder] = Meaning(word.split, (*folder[depth:at], *folder[at + 1 :]))
    return Reading("class/split", meanings, left_out, words, depth) if meanings else None


def _by_classes(images: Mapping[Folder, int]) -> Reading:
    return Reading("class", {folder: Meaning("train", folder) for folder in images})


def _asked_splits(images: Mapping[Folder, int]) -> Reading | None:
    """Splits outside, since the study says so: at the first depth that has some."""
    for depth in range(_DEEPEST + 1):
        held = _prefixes(images, depth)
        if held:
            return _by_splits(images, held[0])
    return None


def _asked_classes(images: Mapping[Folder, int]) -> Reading | None:
    """Splits inside, since the study says so: at the depth that leaves the fewest images out."""
    depth = _wrapped(images)
    found = [_split_inside(images, place, depth) for place in _places(images, depth)]
    covered = [reading for reading in found if reading is not None]
    return min(covered, key=lambda one: sum(one.left_out.values())) if covered else None
