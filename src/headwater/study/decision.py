"""What a study is to decide: its `decide:` block."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from headwater.study.protocols import ProtocolName
from headwater.study.words import Name, Positive, Real, Several, Whole, Words, default

Shots = Literal["full"] | Annotated[Whole, Field(ge=1)]


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
