"""`kind: mix`: several data sets as one source, each with a share of its images."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from headwater.errors import Location
from headwater.sources import Source
from headwater.sources.kinds import Making, SourceKind, SourceWords
from headwater.study.words import Name, Positive

Weight = Annotated[Positive, Field(le=1e6)]


class MixData(SourceWords):
    """Images of several data sets, in given shares at every size. A sample's id has the data set's
    name before it; nothing is copied.

    Labels are those levels that all parts have, counted from the finest.
    """

    kind: Literal["mix"] = "mix"
    of: dict[Name, Weight]
    """Data sets of the study, and the weight of each: {photos: 0.7, renders: 0.3}. Weights are
    divided by their sum. Without `sizes` as many images are used as there are in these shares.
    """
    classes: Literal["shared", "apart"] = "shared"
    """Whether classes of two parts that have one name are one class, or two."""

    @model_validator(mode="after")
    def _of_several(self) -> MixData:
        if len(self.of) < 2:
            raise ValueError("a mix is made of two data sets or more")
        return self

    def parts(self) -> dict[Location, str]:
        return {("of", name): name for name in self.of}

    def shares(self) -> dict[str, float]:
        """The share of each part, by name; the sum is 1."""
        total = sum(self.of.values())
        return {name: weight / total for name, weight in self.of.items()}


def _make(making: Making[MixData]) -> Source:
    from headwater.sources.composed.mixing import mixed

    words = making.words
    return mixed(making.name, making.parts, words.shares(), apart=words.classes == "apart")


ENTRY = SourceKind(
    name="mix",
    version=1,
    order=50,
    title="several data sets in given shares",
    words=MixData,
    needs="other data sets of the study",
    offers=("classes", "captions", "splits", "groups"),
    compose=_make,
)
