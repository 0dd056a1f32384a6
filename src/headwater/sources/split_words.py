"""The words by which people name splits."""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from functools import lru_cache

from headwater.errors import InputError

_WORDS = {
    **dict.fromkeys(("train", "training", "trn", "trainval"), "train"),
    **dict.fromkeys(("val", "valid", "validation", "validate", "dev", "devel"), "val"),
    **dict.fromkeys(("test", "testing", "tst"), "test"),
    **dict.fromkeys(("eval", "evaluation", "evaluate", "holdout", "heldout"), "test"),
}
_EITHER = frozenset({"eval", "evaluation", "evaluate", "holdout", "heldout"})
_HOLDERS = frozenset(
    [
        "data",
        "dataset",
        "datasets",
        "files",
        "folder",
        "image",
        "images",
        "img",
        "imgs",
        "input",
        "photo",
        "photos",
        "pic",
        "pics",
        "picture",
        "pictures",
        "raw",
        "samples",
    ]
)
"""Words by which a folder around others is called."""
_NEUTRAL = _HOLDERS | {
    "a",
    "all",
    "class",
    "classes",
    "classification",
    "clean",
    "cls",
    "ds",
    "file",
    "final",
    "folders",
    "full",
    "jpeg",
    "jpg",
    "my",
    "new",
    "official",
    "original",
    "part",
    "png",
    "sample",
    "set",
    "sets",
    "split",
    "splits",
    "the",
    "v",
    "version",
}
"""Words that say nothing beside the name of a split."""
_GLUED = re.compile(
    r"(train|training|val|valid|validation|dev|test|testing|eval|evaluation)"
    r"(set|data|dataset|images?|imgs?|split|folder)"
)


@dataclass(frozen=True)
class SplitWord:
    """What a name says of a split."""

    split: str
    """train, val or test."""
    exact: bool
    """Whether it says nothing else: true of `train2017` and `my_train_set`, not of `toy_train`."""
    either: bool
    """Whether people mean val as well as test by it (eval, holdout)."""


@lru_cache(maxsize=4096)
def split_word(name: str) -> SplitWord | None:
    """The split that a name speaks of; None where it speaks of none, or of several."""
    tokens = _tokens(name)
    joined = "".join(tokens)
    if joined in ("holdout", "heldout"):
        tokens = [joined]
    if tokens[:2] in (["hold", "out"], ["held", "out"]):
        tokens = ["holdout", *tokens[2:]]
    words = [token for token in tokens if token in _WORDS]
    splits = {_WORDS[word] for word in words}
    if splits == {"train", "val"} and set(tokens) <= _NEUTRAL | set(words):
        return SplitWord("train", True, False)  # trainval
    if len(splits) != 1:
        return None
    exact = all(token in _WORDS or token in _NEUTRAL for token in tokens)
    return SplitWord(splits.pop(), exact, any(word in _EITHER for word in words))


def says_nothing(name: str) -> bool:
    """Whether a folder's name says that there are images, and no more: `images`, `my dataset`."""
    tokens = set(_tokens(name))
    return tokens <= _NEUTRAL and bool(tokens & _HOLDERS)


def _tokens(name: str) -> list[str]:
    text = unicodedata.normalize("NFKC", name)
    text = re.sub(r"(?<=[a-z])(?=[A-Z])", " ", text).casefold()
    return [part for token in re.findall(r"[^\W\d_]+", text) for part in _parted(token)]


def _parted(token: str) -> tuple[str, ...]:
    match = _GLUED.fullmatch(token)
    return (match[1], match[2]) if match else (token,)


def exact_split(name: str) -> str | None:
    """train, val or test where a name says that and nothing else."""
    word = split_word(name)
    return word.split if word is not None and word.exact else None


def two_meanings(names: Iterable[str]) -> tuple[str, str] | None:
    """(a name that can mean val or test, a name that means test), where both are among `names`:
    then the first has two readings.
    """
    either, test = None, None
    for name in sorted(set(names)):
        word = split_word(name)
        if word is not None and word.either:
            either = either or name
        elif word is not None and word.split == "test":
            test = test or name
    return (either, test) if either is not None and test is not None else None


def split_of_path(below: str, ending: str) -> str:
    """The split that a file's path names: a word of its own name, or else a folder's. Raises
    InputError for a name of two splits.
    """
    *folders, stem = below.split("/")
    for name in (stem, *reversed(folders)):
        found = {exact_split(word) for word in re.split(r"[-._ ]+", name)} - {None, ""}
        if len(found) > 1:
            splits = " and ".join(sorted(map(str, found)))
            raise InputError(
                f"{below}{ending}: {name!r} names the splits {splits}; rename it after one of them"
            )
        if found:
            return str(found.pop())
    return ""
