"""What a study is to decide: its `decide:` block."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from headwater.study.protocols import ProtocolName
from headwater.study.words import (
    Name,
    NonNegative,
    Positive,
    Real,
    Several,
    Whole,
    Words,
    default,
)

Shots = Literal["full"] | Annotated[Whole, Field(ge=1)]


MADE = ("instance", "random", "cluster")
"""Kinds of label views that nobody has to assign."""


def paid_view(labels: str) -> str | None:
    """The view whose labels somebody has to assign; None where nobody has to. 'random:9 within
    level:1' -> 'level:1'.
    """
    plain = labels.partition(" with ")[0]
    name, _, within = plain.partition(" within ")
    name = within or name
    if name in ("template", "class"):
        return "level:0"
    return None if name.split(":")[0].split(" ")[0] in MADE else name


class Prices(Words):
    """What images, labels, captions and hours cost, all in one unit of money that you choose."""

    image: NonNegative = default(0.0, "[ours] free")
    """Of one image, without labels."""
    label: NonNegative | dict[str, NonNegative] = default(0.0, "[ours] free")
    """Of one label, or label view -> price of a label of that view. Supervised arms pay for one an
    image; views that nobody has to assign (instance, random, cluster) are free.
    """
    caption: NonNegative = default(0.0, "[ours] free")
    """Of the caption of one image. Arms that train on captions pay for one an image; `template`
    pays for labels of level:0.
    """
    gpu_hour: NonNegative = default(0.0, "[ours] free")
    """Of an hour of one worker."""


class Decide(Words):
    """Which scores the decision is made by. It changes no arm and no cell."""

    protocol: ProtocolName | None = default(
        None, "[ours] the one nearest to use: fine-tuning, else the probe"
    )
    shots: Several[Shots] | None = default(
        None, "[ours] the most that there are; of a protocol that is named, the mean over all"
    )
    """Images per class; `full` for the full split. The mean over several."""
    weights: dict[Name, Positive] = default({}, "[ours] every task counts the same")
    """Of tasks; 1 where one is not named."""
    tolerance: Annotated[Real, Field(ge=0, le=100)] = default(0.5, "[ours]")
    """Points: smaller differences do not matter."""
    target: Annotated[Real, Field(ge=1, le=1e13)] | None = default(
        None, "[ours] four times what was run"
    )
    """Images of each source with which you will pre-train in the end: whether the order of arms is
    foretold to be the same there.
    """
    prices: Prices | None = default(None, "[ours] costs are hours")
    """What an arm costs to have, so that the cheapest of those that are as good can be named."""
