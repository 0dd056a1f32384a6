"""Data of a study that is not there, and what is known of it all the same."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headwater.errors import InputError
from headwater.plan.places import placed
from headwater.sources.kinds import PlacedWords
from headwater.sources.kinds.published import PublishedData
from headwater.sources.published.registry import PUBLISHED, Published
from headwater.sources.recipes import KnownSet, known_set, of_published
from headwater.sources.shards.places import ADDRESS
from headwater.sources.shards.places import is_there as is_at
from headwater.study import Study


@dataclass(frozen=True)
class Missing:
    """A `data:` entry whose folder is not there."""

    name: str
    written: str
    """The path, as the study has it, or the set's usual folder."""
    recipe: KnownSet | None
    published: Published | None

    @property
    def known(self) -> bool:
        """Whether its numbers are published."""
        return self.recipe is not None or self.published is not None

    @property
    def title(self) -> str:
        if self.published is not None:
            return self.published.title
        return self.written if self.recipe is None else self.recipe.title

    @property
    def advice(self) -> str:
        """How it is had."""
        if self.recipe is not None:
            return f"`headwater sources {self.recipe.name}` says how it is had"
        return "" if self.published is None else f"get it from {self.published.home}"


def missing_data(study: Study, data_root: Path | None) -> tuple[Missing, ...]:
    """The entries whose folder is neither beside the study file nor under the data root."""
    found = []
    for name in study.data:
        if not is_there(study, name, data_root):
            recipe, published = known_of(study, name)
            found.append(Missing(name, _folder(study, name) or "", recipe, published))
    return tuple(found)


def is_there(study: Study, name: str, data_root: Path | None) -> bool:
    """Whether an entry's folder is there; true of what lies in no folder."""
    if _folder(study, name) is None:
        return True
    try:
        words = placed(study, name, data_root)
        written = str(getattr(words, "path", None) or _folder(study, name))
        is_shards = words.kind == "shards"
        if is_shards and ADDRESS.match(written):
            return True
        path, seen = Path(written).expanduser(), is_at if is_shards else Path.is_dir
        if path.is_absolute():
            return seen(path)
        return data_root is not None and seen(data_root / path)
    except (RuntimeError, OSError, ValueError):  # whoever opens it will say what is wrong
        return True


def known_of(study: Study, name: str) -> tuple[KnownSet | None, Published | None]:
    """What is published of an entry: its recipe, and its entry among the published sets."""
    words = study.data[name]
    if isinstance(words, PublishedData):
        return of_published(words.name), PUBLISHED[words.name]
    if isinstance(words, PlacedWords) and words.recipe is not None:
        recipe = known_set(words.recipe)
        return recipe, PUBLISHED[recipe.published] if recipe.published else None
    return None, None


def check_there(study: Study, data_root: Path | None) -> None:
    """Raises InputError that lists all data that is not there and how it is had, where a recipe
    says so of some; else whoever opens it will say what is missing.
    """
    missing = missing_data(study, data_root)
    if not any(isinstance(study.data[each.name], PlacedWords) and each.recipe for each in missing):
        return
    parts = []
    for each in missing:
        advice = f" ({each.advice})" if each.advice else ""
        parts.append(f"{each.name}: {each.title} at {each.written!r}{advice}")
    raise InputError(
        f"data that is not there: {'; '.join(parts)}; write paths from the study file's folder or "
        "absolute ones, or name the folder they lie in with --data-root (or HEADWATER_DATA). "
        "`headwater plan` outlines the study without it",
        at=("data", missing[0].name),
    )


def _folder(study: Study, name: str) -> str | None:
    """Where an entry lies, as it is written; None of a kind without a place."""
    words = study.data[name]
    if isinstance(words, PublishedData):
        return words.path or PUBLISHED[words.name].folder
    path = getattr(words, "path", None)
    return path if isinstance(path, str) else None
