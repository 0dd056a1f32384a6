"""The decision: which arm, how sure, what else could be the best, and what being wrong costs."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from headwater.analysis.power import FIRST_LOOKS, SECOND_ERROR, Step
from headwater.analysis.prices import Prices
from headwater.analysis.words import count

NOTHING, ALONE, ONE_SEED, OPEN, AS_GOOD, SURE = (
    "nothing to conclude",
    "nothing to compare",
    "one seed, no interval",
    "not told apart",
    "as good in practice",
    "told apart",
)
TOLERANCE = 0.005
"""Differences below half a point do not matter, where a study does not say otherwise [ours]."""
_FIRST_ERROR, _FIRST_ERROR_OF_TWO = 0.05, 0.035
"""Shares of tables in which a leader that is not the best may be called SURE [ours, by
simulation]. Two arms have no third one that hides a false claim, so their test is stricter.
"""


def threshold_of(num_arms: int, num_seeds: int) -> float:
    """The largest p that is SURE. A table of more than `power.FIRST_LOOKS` seeds is taken for a
    second look, after an advice to run more seeds: it gets a small share of the error, so that both
    looks together keep it.
    """
    if num_seeds > FIRST_LOOKS:
        return SECOND_ERROR
    return _FIRST_ERROR_OF_TWO if num_arms == 2 else _FIRST_ERROR


@dataclass(frozen=True)
class Aim:
    """What is to be decided: a study's `decide:` block."""

    protocol: str | None = None
    """None takes the protocol nearest to use: fine-tuning, else the probe."""
    shots: tuple[int, ...] | None = None
    """Images per class, -1 for all; the mean over several. None takes the most that there are, or,
    where a protocol is named, the mean over all.
    """
    weights: Mapping[str, float] = field(default_factory=dict)
    """Of tasks, 1 where one is not named."""
    tolerance: float = TOLERANCE
    """Smaller differences do not matter; a share, 0.01 is one point."""
    prices: Prices | None = None
    """None leaves costs in hours."""
    target: float | None = None
    """Images of each source with which the leader will be pre-trained; None asks about four times
    what was run.
    """
    error: float | None = None
    """Share of tables in which the decision may be wrong where it is sure; bounds and shortlist are
    as careful. None takes `threshold_of`; of one look among many it is small (adaptive.py).
    """


@dataclass(frozen=True)
class NewImages:
    """How sure a decision is for other test images of the same kind: as `Decision` has it for these
    test images. The leader is the same.
    """

    confidence: str
    p: float
    shortlist: tuple[str, ...]
    regret_bound: float
    p_best: Mapping[str, float]
    expected_regret: Mapping[str, float]
    behind: Mapping[str, tuple[float, float, float]]
    as_good: tuple[str, ...]
    error: float
    """Standard error of the lead over the runner-up that comes from the choice of images alone."""
    variances: Mapping[str, float]
    """Arm -> variance of the lead over it that comes from the choice of images alone."""
    num_images: Mapping[str, int]
    """Task -> test images."""

    @property
    def sure(self) -> bool:
        return self.confidence == SURE

    def to_dict(self) -> dict[str, Any]:
        return {
            **_how_sure(self),
            "error": self.error,
            "num_images": dict(self.num_images),
        }


@dataclass(frozen=True)
class Decision:
    """What to pre-train on, as far as rows can say. Scores are shares in [0, 1]."""

    confidence: str
    """NOTHING, ALONE, ONE_SEED, OPEN, AS_GOOD or SURE."""
    best: str | None
    """Name of the arm with the highest mean; None where nothing can be concluded."""
    mean: float | None = None
    """Its mean score over tasks and seeds."""
    p: float | None = None
    """How easily chance would give it its lead over the arm that comes nearest."""
    threshold: float = 0.05
    """SURE needs a `p` of at most this."""
    runner_up: str | None = None
    lead: float | None = None
    """Over the arm with the second mean."""
    shortlist: tuple[str, ...] = ()
    """Arms that could be the best, the leader first."""
    regret_bound: float | None = None
    """What choosing the leader costs at most against the truly best arm, at 95 %."""
    p_best: Mapping[str, float] = field(default_factory=dict)
    """Arm -> chance that it is the best."""
    expected_regret: Mapping[str, float] = field(default_factory=dict)
    """Arm -> what choosing it costs on average."""
    behind: Mapping[str, tuple[float, float, float]] = field(default_factory=dict)
    """Arm -> how far it is behind the leader, with the ends of a 95 % interval for it alone."""
    as_good: tuple[str, ...] = ()
    """Arms that are surely less than `tolerance` below the leader."""
    tolerance: float = TOLERANCE
    prices: Prices | None = None
    costs: Mapping[str, float | None] = field(default_factory=dict)
    """Arm -> what it costs at these prices, None where that is not known; empty without prices."""
    next: tuple[Step, ...] = ()
    left_out: Mapping[str, str] = field(default_factory=dict)
    """Arms and tasks that do not enter -> why."""
    notes: tuple[str, ...] = ()
    elsewhere: tuple[str, ...] = ()
    """Whether the leader still leads with more images, and at other learning rates; of a headline
    alone.
    """
    protocol: str | None = None
    shots: tuple[int, ...] = ()
    """Images per class, -1 for all."""
    tasks: tuple[str, ...] = ()
    num_seeds: int = 0
    """Of the leader."""
    stopped_early: Mapping[str, int] = field(default_factory=dict)
    """Arm -> seeds, of a study that was run by steps: arms that got fewer seeds because they looked
    worse, so that their means are no estimates.
    """
    means: Mapping[str, float] = field(default_factory=dict)
    """Arm -> mean score, on common ground, in falling order."""
    new_images: NewImages | None = None
    """The same for other test images; None where the answers image by image are not at hand."""
    lines: tuple[Decision, ...] = ()
    """Every protocol at every number of shots by itself; those of a headline alone have them."""

    @property
    def sure(self) -> bool:
        return self.confidence == SURE

    @property
    def decided(self) -> bool:
        """Whether the leader is the best, or costs less than `tolerance` where it is not."""
        return self.confidence in (SURE, AS_GOOD)

    @property
    def cheaper(self) -> tuple[str, ...]:
        """Arms that are as good and cost less than the leader, the cheapest first."""
        known = {name: cost for name, cost in self.costs.items() if cost is not None}
        if self.best not in known:
            return ()
        less = [name for name in self.as_good if known.get(name, math.inf) < known[self.best]]
        return tuple(sorted(less, key=lambda name: known[name]))

    @property
    def headline(self) -> str:
        """The answer in one sentence."""
        if self.best is None:
            return "Nothing can be concluded."
        if self.sure:
            return f"{self.best} is the best."
        if self.decided:
            return f"{self.best}: whatever is better is so by less than your tolerance."
        others = len(self.shortlist) - (self.best in self.shortlist)
        if others == 0:
            return f"{self.best}, for now: {self.confidence}."
        return f"{self.best}, for now; {count(others, 'other')} could be the best."

    def _repr_html_(self) -> str | None:
        """What a notebook shows; None, which it takes for plain text, where nobody shows it."""
        return _SHOWN_BY[-1](self) if _SHOWN_BY else None

    def to_dict(self) -> dict[str, Any]:
        """Plain values, as `headwater decide --json` prints them (docs/decide.md)."""
        return {
            "best": self.best,
            **_how_sure(self),
            "decided": self.decided,
            "mean": self.mean,
            "threshold": self.threshold,
            "runner_up": self.runner_up,
            "lead": self.lead,
            "tolerance": self.tolerance,
            "prices": None if self.prices is None else self.prices.to_dict(),
            "costs": dict(self.costs),
            "cheaper": list(self.cheaper),
            "next": [step.to_dict() for step in self.next],
            "left_out": dict(self.left_out),
            "notes": list(self.notes),
            "elsewhere": list(self.elsewhere),
            "protocol": self.protocol,
            "shots": ["full" if shots == -1 else shots for shots in self.shots],
            "tasks": list(self.tasks),
            "num_seeds": self.num_seeds,
            "stopped_early": dict(self.stopped_early),
            "means": dict(self.means),
            "new_images": None if self.new_images is None else self.new_images.to_dict(),
            "lines": [line.to_dict() for line in self.lines],
        }


_SHOWN_BY: list[Callable[[Decision], str]] = []


def shown_by(show: Callable[[Decision], str]) -> None:
    """Notebooks are given the HTML that `show` makes of decisions, from now on: the report says so,
    which imports this room and is not imported by it.
    """
    _SHOWN_BY[:] = [show]


def _how_sure(said: Decision | NewImages) -> dict[str, Any]:
    """What is said of these test images and of other ones alike, as plain values."""
    return {
        "confidence": said.confidence,
        "sure": said.sure,
        "p": said.p,
        "shortlist": list(said.shortlist),
        "regret_bound": said.regret_bound,
        "p_best": dict(said.p_best),
        "expected_regret": dict(said.expected_regret),
        "behind": {name: list(ends) for name, ends in said.behind.items()},
        "as_good": list(said.as_good),
    }
