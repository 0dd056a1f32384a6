"""Where a study's images come from, in words: its `data:` block.

Each kind of data brings its own words (headwater.sources.kinds); `kind` says which they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Annotated, Any, Union

from pydantic import Field

from headwater.errors import Location
from headwater.registry import SOURCE_KINDS

if TYPE_CHECKING:
    from headwater.sources.kinds import SourceWords

    Data = SourceWords
else:
    Data = Annotated[
        Union[tuple(kind.words for kind in SOURCE_KINDS)],  # noqa: UP007  (made of the registry)
        Field(discriminator="kind"),
    ]


def named_parts(data: Mapping[str, Data]) -> Iterator[tuple[Location, str]]:
    """(where it stands, the entry that is named) for each entry that another one is made of."""
    for name, words in data.items():
        for at, part in words.parts().items():
            yield ("data", name, *at), part


def circle(data: Mapping[str, Data]) -> list[str] | None:
    """The first entries that are made of one another, in turn; None where there are none such."""
    sound: set[str] = set()

    def walk(name: str, above: list[str]) -> list[str] | None:
        if name in above:
            return [*above[above.index(name) :], name]
        if name in sound:
            return None
        for part in data[name].parts().values():
            found = walk(part, [*above, name])
            if found is not None:
                return found
        sound.add(name)
        return None

    return next(filter(None, (walk(name, []) for name in data)), None)


def curation(data: Mapping[str, Data], name: str) -> dict[str, Any] | None:
    """The words of an entry that is made of others, with those of each of these that is too (in
    `made_of`, by name); None for another entry.
    """
    words = data[name]
    parts = sorted(set(words.parts().values()))
    if not parts:
        return None
    made_of = {part: found for part in parts if (found := curation(data, part)) is not None}
    return {**words.words(), **({"made_of": made_of} if made_of else {})}


def mixed_parts(data: Mapping[str, Data], name: str) -> list[str]:
    """The parts of a mix, and of the mixes among these, that are no mixes themselves; none of an
    entry that is no mix.
    """
    if data[name].kind != "mix":
        return []
    found: dict[str, None] = {}
    for part in data[name].parts().values():
        found |= dict.fromkeys(mixed_parts(data, part) or [part])
    return list(found)
