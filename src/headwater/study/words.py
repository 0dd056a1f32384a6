"""What all words of a study share: frozen, closed, canonical, hashed."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

Name = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9 ._+@-]{0,63}$")]
Fraction = Annotated[float, Field(ge=0, le=1)]
Positive = Annotated[float, Field(gt=0, allow_inf_nan=False)]
NonNegative = Annotated[float, Field(ge=0, allow_inf_nan=False)]


def canonical(value: Any) -> str:
    """Canonical JSON: sorted keys, no spaces, and nothing that is None, so that a field added later does not change an old id."""
    return json.dumps(_without_none(value), sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


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
    return [value] if isinstance(value, str | int | float) else value


class Misplaced(ValueError):
    """Something wrong at a known place of the study, so that the file's line can be named."""

    def __init__(self, location: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.location = location


class Words(BaseModel):
    """Base of all parts of a study: frozen, and an unknown key is an error."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    def words(self) -> dict[str, Any]:
        """The fields as plain JSON values, for canonical hashing."""
        return self.model_dump(mode="json", exclude_none=True)
