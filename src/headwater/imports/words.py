"""The words of a map: how a table becomes rows (docs/import.md)."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field, model_validator

from headwater.rows import COLUMNS
from headwater.study.words import Flag, Misplaced, Name, Several, Whole, Words

Scalar = Annotated[str, Field(max_length=256)] | Whole | float | bool | None
FIELDS = {column.name: column for column in COLUMNS}
_MADE = ("cell", "arm", "study", "schema", "status", "value", "metric", "subset")
"""Fields of a row that the import makes itself, or that `values` says."""


class FromColumn(Words):
    """A field that is a column of the table."""

    column: str
    names: dict[str, Scalar] = Field(default_factory=dict)
    """What is written there -> what stands on the row."""
    others: Literal["keep", "error"] = "keep"
    """What becomes of a word that `names` does not have."""
    times: float = 1.0
    """Numbers are multiplied by this."""


class Values(Words):
    """A column that holds scores: one row for each cell of it that is not empty."""

    protocol: str | None = None
    """Left out, the field `protocol` of `rows`."""
    shots: Annotated[Whole, Field(ge=1)] | Literal["full"] | None = "full"
    """Images per class; null where the protocol takes none. A field `shots` of `rows` stands in its
    place.
    """
    metric: str = "top1"
    subset: str = "all"
    only: dict[str, Several[Scalar]] = Field(default_factory=dict)
    """Column -> words: in lines with others the score is left out, and counted."""


class Defect(Words):
    """Something that is known to be wrong, and of which rows."""

    says: Annotated[str, Field(min_length=1, max_length=200)]
    where: dict[str, Several[Scalar]] = Field(default_factory=dict)
    """Column of the table -> words; all must hold. Left out: all rows."""
    values: Several[str] | None = None
    """Columns of scores; all, when left out."""


class ImportMap(Words):
    """A whole map."""

    name: Name
    """What the rows call their study."""
    source: Annotated[str, Field(max_length=1000)] | None = None
    """Where the table comes from, and its licence."""
    separator: Literal["comma", "tab", "semicolon"] = "comma"
    unit: Literal["percent", "share"] = "percent"
    only: dict[str, Several[Scalar]] = Field(default_factory=dict)
    """Column -> words: rows with others are left out, and counted."""
    rows: dict[str, FromColumn | Scalar]
    """Field of a row (docs/rows.md) -> the column that it is, or a value for all rows."""
    values: Annotated[dict[str, Values], Field(min_length=1)]
    """Columns of scores."""
    best_over: tuple[str, ...] = ()
    """Columns of a grid of which the best score is kept, with the point that it is of."""
    errors: Flag = False
    """Whether scores are errors: 100 (or 1) minus them is kept."""
    defects: tuple[Defect, ...] = ()

    @model_validator(mode="after")
    def _fields_exist(self) -> ImportMap:
        for name in self.rows:
            if name in _MADE:
                raise Misplaced(("rows", name), f"{name} is made by the import; leave it out")
            if name not in FIELDS:
                raise Misplaced(("rows", name), f"{name!r} is no field of a row (docs/rows.md)")
        for column, values in self.values.items():
            if values.protocol is None and "protocol" not in self.rows:
                raise Misplaced(("values", column), "has no protocol, nor have `rows`")
        for name in ("method", "task", "task_labels", "seed"):
            if name not in self.rows:
                raise Misplaced(("rows",), f"has no {name}, which every row needs")
        return self

    def columns(self) -> list[str]:
        """The columns of the table that it names."""
        asked: list[Any] = [*self.only, *self.values, *self.best_over]
        asked += [each.column for each in self.rows.values() if isinstance(each, FromColumn)]
        for values in self.values.values():
            asked += values.only
        for defect in self.defects:
            asked += [*defect.where, *(defect.values or ())]
        return list(dict.fromkeys(asked))
