"""What people call classes, for prompts and captions made from templates.

A class is called by its own part of a path-qualified name, with spaces for underscores and
hyphens. Where classes that lie in different ones have one name, as crane the bird and crane the
machine, the name of what each lies in follows in brackets: crane (bird). Both forms are the
field's, in the class names that CLIP's authors wrote for ImageNet: "crane bird" and "kite (bird of
prey)". The brackets stand for all, because they hold parents of several words and several parents
in a row, and because "crane bird" may be the name of a third class.
"""

from __future__ import annotations

import re
import weakref
from collections.abc import Callable, Hashable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial

from headwater.labels.tokens import CONTEXT, Heard, token_key
from headwater.sources import Table

Parents = Mapping[str, tuple[str, ...]]
"""What each class lies in, the nearest first, by the class's name."""


@dataclass(frozen=True)
class Prompts:
    """The names of classes in prompts, in the order of the classes."""

    names: tuple[str, ...]
    parted: tuple[int, ...] = field(default=())
    """Classes that are told apart by their parents."""

    def alike(
        self, templates: Sequence[str], heard: Heard | None = None, *, context: int = CONTEXT
    ) -> list[tuple[int, ...]]:
        """Classes that no template tells apart, as CLIP's tokenizer reads it in a context, or a
        tower that has heard some captions: groups of two or more, the largest first.
        """
        groups: dict[tuple[Hashable, ...], list[int]] = {}
        key: Callable[[str], Hashable] = (
            partial(token_key, context=context) if heard is None else heard.key
        )
        for at, name in enumerate(self.names):
            keys = tuple(key(template.format(name)) for template in templates)
            groups.setdefault(keys, []).append(at)
        several = [tuple(group) for group in groups.values() if len(group) > 1]
        return sorted(several, key=lambda group: (-len(group), group))


_PARENTS: weakref.WeakKeyDictionary[Table, Parents] = weakref.WeakKeyDictionary()
"""Looking at ten million rows takes seconds."""


def parents_of(table: Table) -> Parents:
    """What each class of a table lies in, as its levels say; classes of the coarsest level and of
    several parents lie in nothing.
    """
    if table not in _PARENTS:
        _PARENTS[table] = _parents(table)
    return _PARENTS[table]


def _parents(table: Table) -> Parents:
    import pandas as pd

    found: dict[str, tuple[str, ...]] = {}
    for fine, coarse in reversed(list(zip(table.levels, table.levels[1:], strict=False))):
        pairs = pd.DataFrame({"fine": fine, "coarse": coarse}).drop_duplicates()
        pairs = pairs[(pairs["fine"] != "") & (pairs["coarse"] != "")]
        pairs = pairs[~pairs["fine"].duplicated(keep=False)]
        level = dict(zip(pairs["fine"].tolist(), pairs["coarse"].tolist(), strict=True))
        found |= {name: (parent, *found.get(parent, ())) for name, parent in level.items()}
    return found


def spoken(name: str, parents: Sequence[str] = ()) -> str:
    """A class name as words: underscores and hyphens as spaces, without the path of the class that
    it lies in. Empty where nothing else is in it.

    A slash that no parent accounts for is a part of the name: AC/DC.
    """
    for parent in parents:
        if name.startswith(f"{parent}/"):
            name = name[len(parent) + 1 :]
            break
    return " ".join(name.replace("_", " ").replace("-", " ").split())


def prompts_of(classes: Sequence[str], parents: Parents, given: Mapping[str, str] = {}) -> Prompts:
    """What classes are called in prompts: `given`, by class name, comes first, then WordNet's
    first word where all classes are synsets.

    Names that are one to CLIP's tokenizer are told apart by as many parents as that takes, those of
    the levels or WordNet's; where none tell them apart they stay.
    """
    titles = _titles(classes)
    given = {**titles, **given}
    names = [given.get(name) or spoken(name, parents.get(name, ())) or name for name in classes]
    groups: dict[bytes, list[int]] = {}
    for at, name in enumerate(names):
        groups.setdefault(token_key(name), []).append(at)
    several = [group for group in groups.values() if len(group) > 1]
    if several and titles:
        parents = _synset_parents([classes[at] for group in several for at in group])
    parted: list[int] = []
    for group in several:
        above = [_above(classes[at], names[at], parents, given) for at in group]
        made = _told_apart([names[at] for at in group], above)
        for at, name in zip(group, made, strict=True):
            if name != names[at]:
                parted.append(at)
                names[at] = name
    return Prompts(tuple(names), tuple(sorted(parted)))


def _titles(classes: Sequence[str]) -> dict[str, str]:
    """WordNet's first word for each synset; empty where some class is none."""
    if not all(re.fullmatch(r"n\d{8}", name) for name in classes):
        return {}
    from headwater.labels.hierarchies import synset_titles

    return {name: title.split(",")[0] for name, title in synset_titles().items()}


def _synset_parents(classes: Sequence[str]) -> Parents:
    """What synsets lie in by WordNet 3.0, the first parent where there are several."""
    from headwater.labels.hierarchies import open_hierarchy, synset_titles

    wordnet, titles = open_hierarchy("wordnet"), synset_titles()
    found: dict[str, tuple[str, ...]] = {}
    for name in classes:
        above: list[str] = []
        at = wordnet.index.get(name)
        while at is not None and len(wordnet.parents[at]):
            at = int(wordnet.parents[at][0])
            above.append(wordnet.names[at])
        found[name] = tuple(parent for parent in above if parent in titles)
    return found


def _above(name: str, called: str, parents: Parents, given: Mapping[str, str]) -> list[str]:
    """What is said of a class's parents, without those that say its own name again."""
    above = parents.get(name, ())
    words = [
        given.get(parent) or spoken(parent, above[at + 1 :]) for at, parent in enumerate(above)
    ]
    return [word for word in words if word and token_key(word) != token_key(called)]


def _told_apart(names: Sequence[str], above: Sequence[Sequence[str]]) -> list[str]:
    """Names of one group, with the fewest parents in brackets that tell most of them apart."""
    best, most = list(names), _different(names)
    for depth in range(1, max(map(len, above), default=0) + 1):
        made = [
            f"{name} ({', '.join(some[:depth])})" if some else name
            for name, some in zip(names, above, strict=True)
        ]
        if _different(made) > most:
            best, most = made, _different(made)
    return best


def _different(names: Iterable[str]) -> int:
    return len({token_key(name) for name in names})
