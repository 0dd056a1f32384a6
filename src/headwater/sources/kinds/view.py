"""`kind: view`: some images of another data set, or in other shares."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, model_validator

from headwater.errors import Location
from headwater.sources import Source
from headwater.sources.kinds import Making, SourceKind, SourceWords
from headwater.study.words import Name, Real, Several, Whole, Words

Level = Annotated[str, Field(pattern=r"^(class|level:\d{1,3})$")]


def _as_text(value: Any) -> Any:
    """A number or a truth as it is written in a table."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, int | float) else value


Value = Annotated[str, BeforeValidator(_as_text)]
"""What a column says of an image."""


class Score(Words):
    """Images by a number that is known of each: within limits, or the highest ones."""

    column: Annotated[str, Field(min_length=1)]
    """The column of the number, in `table` or the data set itself."""
    at_least: Real | None = None
    at_most: Real | None = None
    top: Annotated[Real, Field(gt=0, le=1)] | None = None
    """The share with the highest numbers, of the images that the other conditions keep."""

    @model_validator(mode="after")
    def _limited(self) -> Score:
        limits = self.at_least is not None or self.at_most is not None
        if limits == (self.top is not None):
            raise ValueError("give limits (at_least, at_most) or top, and not both")
        both = self.at_least is not None and self.at_most is not None
        if both and self.at_least > self.at_most:  # type: ignore[operator]  # both are numbers
            raise ValueError(f"at_least {self.at_least:g} is above at_most {self.at_most:g}")
        return self


class Like(Words):
    """Shares of classes as in another data set."""

    data: Name
    """The data set whose shares are taken."""
    split: str = "train"
    labels: Level = "level:0"
    """The level of both at which classes are counted; they are matched by name."""
    rest: Literal["error", "drop"] = "error"
    """What is done about classes of the other set that this one lacks: an error, or the shares of
    the others.
    """


class ViewData(SourceWords):
    """Images of another data set that meet all conditions, under the same ids; nothing is copied.

    Conditions are asked in the order in which they stand here. `headwater plan` says how many
    images each leaves out.
    """

    kind: Literal["view"] = "view"
    of: Name
    """The data set whose images these are."""
    table: Annotated[str, Field(min_length=1)] | None = None
    """A CSV or Parquet file with a column `path` and columns that `where` and `score` ask for:
    beside the study file, in the data set's folder, or under the data root. Without it, the columns
    are the data set's own.
    """
    where: dict[str, Several[Value]] = Field(default_factory=dict)
    """Columns, and the values that are kept: {language: [en, de], year: 2020, safe: true}."""
    caption_words: tuple[Annotated[Whole, Field(ge=0)], Annotated[Whole, Field(ge=1)]] | None = None
    """The least and the most words of a caption. Others are left out, and images without any."""
    text: str = "captions"
    """The text field that `caption_words` is about."""
    score: Score | None = None
    balance: Level | None = None
    """A level whose classes have equal shares, at every size."""
    like: Like | None = None

    @model_validator(mode="after")
    def _says_something(self) -> ViewData:
        conditions = (self.where, self.caption_words, self.score, self.balance, self.like)
        if not any(conditions):
            raise ValueError("a view needs where, caption_words, score, balance or like")
        if self.balance and self.like:
            raise ValueError("balance and like both set the shares of classes; give one")
        if self.caption_words and self.caption_words[0] > self.caption_words[1]:
            raise ValueError("caption_words: the least is above the most")
        return self

    def parts(self) -> dict[Location, str]:
        named: dict[Location, str] = {("of",): self.of}
        if self.like is not None:
            named["like", "data"] = self.like.data
        return named


def _make(making: Making[ViewData]) -> Source:
    from headwater.sources.composed.viewing import viewed

    return viewed(making)


ENTRY = SourceKind(
    name="view",
    version=1,
    order=60,
    title="some images of another data set, or in other shares",
    words=ViewData,
    needs="another data set of the study",
    offers=("classes", "hierarchy", "captions", "splits", "groups", "prompts", "hard images"),
    compose=_make,
)
