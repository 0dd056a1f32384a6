"""One table over the images of other sources, which stay where they are."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from functools import cached_property
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from headwater.sources import Positions, Source, Table
from headwater.sources.composed.strata import Strata

T = TypeVar("T")


class ComposedSource(Source):
    """The images of one source after another, under a table of its own.

    Which images of a part come first is drawn by their hashes in the part: the first 700 images
    that a mix takes of a source are the first 700 that an arm on that source takes. All else is
    drawn by hashes of the ids here, of which no two are one.
    """

    def __init__(
        self,
        name: str,
        parts: Sequence[Source],
        table: Table,
        *,
        strata: Strata | None = None,
        notes: Sequence[str] = (),
    ) -> None:
        """`table` has a sample for each one of the parts, in their order."""
        self.name, self.table, self.parts = name, table, tuple(parts)
        self.strata = strata
        self.notes = tuple(notes)
        self.generated = all(part.generated for part in parts)
        self.metric = parts[0].metric
        self.templates = parts[0].templates if len(parts) == 1 else ()
        if len(parts) == 1:
            self.kind_version = parts[0].kind_version
        lengths = np.array([len(part.table) for part in parts])
        self._ends = np.cumsum(lengths)
        self._starts = self._ends - lengths

    def _at(self, position: int) -> tuple[Source, int]:
        number = int(np.searchsorted(self._ends, position, side="right"))
        return self.parts[number], int(position - self._starts[number])

    def divided(self, positions: Positions) -> Iterator[tuple[Source, Positions, Positions]]:
        """(part, rows of `positions` that are its, its own positions), for every part that has
        some.
        """
        of = np.searchsorted(self._ends, positions, side="right")
        for number, part in enumerate(self.parts):
            rows = np.flatnonzero(of == number)
            if len(rows):
                yield part, rows, positions[rows] - self._starts[number]

    def _gathered(
        self, positions: Positions, ask: Callable[[Source, Positions], Sequence[T]]
    ) -> list[T]:
        found: list[T | None] = [None] * len(positions)
        for part, rows, own in self.divided(positions):
            for row, value in zip(rows.tolist(), ask(part, own), strict=True):
                found[row] = value
        return found  # type: ignore[return-value]  # every row is one part's

    def image(self, position: int) -> bytes | NDArray[np.uint8]:
        part, own = self._at(position)
        return part.image(own)

    def images(
        self, positions: Positions
    ) -> Sequence[bytes | NDArray[np.uint8]] | NDArray[np.uint8]:
        if len(self.parts) == 1:
            return self.parts[0].images(positions)
        return self._gathered(positions, lambda part, own: list(part.images(own)))

    def shows(self, other: Source) -> bool:
        return self is other or any(part.shows(other) for part in self.parts)

    def file(self, position: int) -> str | None:
        part, own = self._at(position)
        return part.file(own)

    def listed(self, position: int) -> str | None:
        part, own = self._at(position)
        return part.listed(own)

    def byte_hashes(self, positions: Positions) -> list[str]:
        return self._gathered(positions, lambda part, own: part.digests(own).astype("U").tolist())

    def reading_marks(self, positions: Positions) -> list[str]:
        marks = []
        for part, _, own in self.divided(positions):
            if len(self.parts) > 1 and part.kind_version > 1:
                marks.append(f"{part.name}: version {part.kind_version}")
            marks += part.reading_marks(own)
        return marks

    def bytes_to_hash(self, positions: Positions) -> int:
        return sum(part.bytes_to_hash(own) for part, _, own in self.divided(positions))

    @cached_property
    def size_hashes(self) -> NDArray[np.int64]:
        """int64 [len(table)]: the keyed hash of every sample in its own source."""
        return np.concatenate([part.size_hashes for part in self.parts])
