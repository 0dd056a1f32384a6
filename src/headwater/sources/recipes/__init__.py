"""Recipes of known sets: what each is, how large, where its list is had, how it is downloaded, and
how a copy of it is known to be whole. One YAML file each; a further set is one more file.

A recipe holds no image and no list. It says enough of a set to plan a study of it before a byte is
there (`headwater plan`), and to check a copy (`headwater sources check`). Every number says where
it is from, by a word in brackets first: [paper] and [published] are the authors' own, [recalled]
is from memory, [counted] was counted by this project, [ours] is an estimate, which says how it was
made.
"""

from __future__ import annotations

import difflib
from functools import lru_cache
from importlib import resources
from typing import Annotated, Literal

import yaml
from pydantic import AfterValidator, Field, ValidationError, model_validator

from headwater.errors import InputError
from headwater.study.words import Flag, Fraction, NonNegative, Whole, Words

Form = Literal["shards", "folder", "parquet"]
_SOURCE = r"^\[(paper|published|recalled|counted|ours)\] ?.*$"


class Sourced(Words):
    """Where a number is from."""

    source: Annotated[str, Field(pattern=_SOURCE)]
    """[paper], [published], [recalled], [counted] or [ours], and the place."""
    ours: Flag = False
    """An estimate that nobody published."""
    how: str | None = None
    """How an estimate was made."""

    @model_validator(mode="after")
    def _estimates_say_how(self) -> Sourced:
        if self.ours != self.source.startswith("[ours]"):
            raise ValueError("`ours: true` and a source that begins with [ours] go together")
        if self.ours and not self.how:
            raise ValueError("an estimate says `how` it was made")
        return self


class Count(Sourced):
    """A number of images, classes or shards."""

    value: Annotated[Whole, Field(ge=0)]


class Amount(Sourced):
    """A number of bytes."""

    value: NonNegative


class Share(Sourced):
    """A part of a whole."""

    value: Fraction


class Used(Count):
    """How many images a paper used."""

    paper: str
    """Its arXiv id."""


class LevelOf(Words):
    """A level of a set's classes."""

    level: Annotated[Whole, Field(ge=0)] | None = None
    """k of level:k; none for a rank that stands beside the levels."""
    rank: str | None = None
    """Its name, where it has one (rank:genus)."""
    classes: Count


class WholeCopy(Words):
    """How a copy is known to be whole."""

    images: Count | None = None
    """Images of a whole copy; none where links die, and no number can be asked for."""
    tolerance: Share | None = None
    """The share of them that may be missing."""
    shards: Count | None = None
    """Shards of a whole copy, where it is handed out as such."""
    classes: Count | None = None
    """Folders of classes."""


class KnownSet(Words):
    """A known set, in words."""

    name: str
    title: str
    what: str
    """What it is, a sentence or two."""
    citation: str | None = None
    arxiv: Annotated[str, Field(pattern=r"^\d{4}\.\d{4,5}$")] | None = None
    licence: str
    form: Form
    """How a copy lies on disk."""
    images: Count
    """Images, or image-text pairs, as published: of all splits."""
    splits: dict[Literal["train", "val", "test"], Count]
    """The same by split, as Headwater reads a copy."""
    used: tuple[Used, ...] = ()
    classes: Count | None = None
    levels: tuple[LevelOf, ...] = ()
    captions: tuple[str, ...] = ()
    """What texts an image has."""
    columns: dict[str, str] = Field(default_factory=dict)
    """Columns of its list or of its metadata, and what they hold."""
    list_at: str
    """Where its list, or the set itself, is had."""
    get: str
    """How a copy is made: the commands, or what to do instead."""
    bytes_per_image: Amount | None = None
    """Encoded, as `get` makes them."""
    dead_links: Share | None = None
    """The share of the list that could not be downloaded."""
    whole: WholeCopy = Field(default_factory=WholeCopy)
    published: str | None = None
    """Its name among the sets of `headwater tasks`, where it is one."""
    notes: tuple[str, ...] = ()

    @property
    def expected_images(self) -> int:
        """Images of a copy that is made today: without dead links, where their share is known."""
        dead = 0.0 if self.dead_links is None else self.dead_links.value
        return round(self.images.value * (1 - dead))

    def at_level(self, level: int | None, rank: str = "") -> Count | None:
        """Classes of level:k, or of a rank; None where the recipe does not say."""
        for each in self.levels:
            if (rank and each.rank == rank) or (not rank and each.level == level):
                return each.classes
        return self.classes if level == 0 and not rank else None


def recipe_names() -> tuple[str, ...]:
    """The sets that have a recipe, in the order of their names."""
    files = resources.files(__name__).iterdir()
    return tuple(sorted(file.name[:-5] for file in files if file.name.endswith(".yaml")))


def unknown(name: str) -> str:
    """What to say of a name that is no recipe."""
    names = recipe_names()
    near = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
    advice = f"; did you mean {near[0]!r}?" if near else ""
    return f"{name!r} is none of {', '.join(names)}{advice}"


def _known(name: str) -> str:
    if name not in recipe_names():
        raise ValueError(unknown(name))
    return name


RecipeName = Annotated[str, AfterValidator(_known)]
"""The name of a recipe, as a study says it."""


@lru_cache
def known_set(name: str) -> KnownSet:
    """The recipe of a name. Raises InputError for a name that is none."""
    if name not in recipe_names():
        raise InputError(f"recipe: {unknown(name)}")
    text = (resources.files(__name__) / f"{name}.yaml").read_text(encoding="utf-8")
    try:
        found = KnownSet.model_validate(yaml.safe_load(text))
    except ValidationError as error:
        raise InputError(f"recipe {name}: {error}") from None
    if found.name != name:
        raise InputError(f"recipe {name}: the file calls itself {found.name!r}")
    return found


@lru_cache
def of_published(name: str) -> KnownSet | None:
    """The recipe of a published set; None where it has none."""
    sets = map(known_set, recipe_names())
    return next((each for each in sets if each.published == name), None)
