"""Where a study's images come from, in words: its `data:` block.

Each kind of data brings its own words (headwater.sources.kinds); `kind` says which they are.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated, Union

from pydantic import Field

from headwater.registry import SOURCE_KINDS

if TYPE_CHECKING:
    from headwater.sources.kinds import SourceWords

    Data = SourceWords
else:
    Data = Annotated[
        Union[tuple(kind.words for kind in SOURCE_KINDS)],  # noqa: UP007  (made of the registry)
        Field(discriminator="kind"),
    ]
