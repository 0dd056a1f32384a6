"""What all words of a study share: frozen, closed, canonical, hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Annotated, Any, TypeVar

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, Strict

from headwater.errors import InputError, Location

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+@-]{0,63}$")]
Word = Annotated[str, Field(max_length=256)]
"""A label view or a text field, as rows and reports name it."""
Whole = Annotated[int, Strict()]
"""An integer and nothing that could be taken for one: true is no number, nor is a text in
quotes.
"""
Real = Annotated[float, Strict()]
"""A float or an integer; neither true nor a text."""
Flag = Annotated[bool, Strict()]
Fraction = Annotated[Real, Field(ge=0, le=1)]
Positive = Annotated[Real, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[Real, Field(ge=0, allow_inf_nan=False)]


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, and nothing that is None, so that a field added later
    does not change an old id.
    """
    return json.dumps(
        _without_none(value),
        sort_keys=True,
        separators=(",", ":"),
        ensure_ascii=False,
        allow_nan=False,
    )


def _without_none(value: Any) -> Any:
    if isinstance(value, Mapping):
        return {str(k): _without_none(v) for k, v in value.items() if v is not None}
    if isinstance(value, list | tuple):
        return [_without_none(v) for v in value]
    return value


def identity(value: Any) -> str:
    """The id of something: 16 hex digits (64 bits) of the SHA-256 of its canonical JSON."""
    return hashlib.sha256(canonical(value).encode()).hexdigest()[:16]


def one_as_list(value: Any) -> Any:
    """A single value where a list is expected stands for a list of one."""
    return [value] if isinstance(value, str | int | float | Mapping | BaseModel) else value


def distinct(values: tuple[Any, ...]) -> tuple[Any, ...]:
    """The values, if none is there twice: a repeated one would be measured, or counted, twice."""
    seen: set[Any] = set()
    for value in values:
        if value in seen:
            said = value.words() if isinstance(value, Words) else value
            raise ValueError(f"{said!r} is listed twice")
        seen.add(value)
    return values


T = TypeVar("T")
Several = Annotated[
    tuple[T, ...], BeforeValidator(one_as_list), Field(min_length=1), AfterValidator(distinct)
]
"""One or more different values.

An empty list is refused, because it could mean all as well as none.
"""


def _seed_shorthand(value: Any) -> Any:
    """`seeds: 3` means seeds 0, 1, 2."""
    if isinstance(value, int) and not isinstance(value, bool):
        if not 1 <= value <= 10_000:
            raise ValueError("a number of seeds is between 1 and 10000")
        return list(range(value))
    return value


Seeds = Annotated[
    Several[Annotated[Whole, Field(ge=0, lt=2**31)]], BeforeValidator(_seed_shorthand)
]


def default(value: Any, source: str) -> Any:
    """A field's default and where it comes from: [paper], [recalled] (a paper or its code, from
    memory) or [ours], and what others do where that differs.
    """
    return Field(default=value, json_schema_extra={"source": source})


@dataclass(frozen=True)
class Origin:
    """The file that a study was read from, and the line of each of its keys.

    It is no part of what a study means: all origins are equal.
    """

    file: str | None = field(default=None, compare=False)
    lines: Mapping[Location, int] = field(default_factory=dict, compare=False)

    def line(self, at: Location) -> int:
        """Line of a place, or of the nearest enclosing one."""
        while at and at not in self.lines:
            at = at[:-1]
        return self.lines.get(at, 1)

    @contextmanager
    def located(self) -> Iterator[None]:
        """An InputError raised within that knows its place in the study names the file and the
        line, if the study came from a file.
        """
        try:
            yield
        except InputError as error:
            if self.file is None or error.at is None:
                raise
            raise InputError(f"{self.file}, line {self.line(error.at)}: {error}") from None


class Misplaced(ValueError):
    """Something wrong at a known place of the study, so that the file's line can be named."""

    def __init__(self, location: Location, message: str) -> None:
        super().__init__(message)
        self.location = location


class Words(BaseModel):
    """Base of all parts of a study: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def words(self) -> dict[str, Any]:
        """The fields as plain JSON values, for canonical hashing."""
        return self.model_dump(mode="json", exclude_none=True)
