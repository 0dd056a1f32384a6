"""What an arm costs, at the prices that a study gives for images, labels, captions and hours.

Prices are in one unit of money, which the user chooses and nobody here needs to know. What is left
out of them is free. What an arm costs is what it takes to have it once:

    unique images x image  +  labelled images x label  +  captioned images x caption
    +  hours of one seed (pre-training and all its cells) x gpu_hour

Labels are paid for by supervised arms, one an image. Views that nobody has to assign (instance,
random and cluster) are free; a view within another one needs the labels of that. Captions are paid
for by arms that train on them, one an image; `template` makes them of class names, so it needs the
labels of level:0. A cost that cannot be known is None and said to be so, never 0.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.analysis.words import listed, money_word
from headwater.errors import InputError
from headwater.registry import METHODS

if TYPE_CHECKING:
    from headwater.analysis.configurations import Configuration
    from headwater.analysis.decision import Decision
    from headwater.analysis.evidence import Evidence

KINDS = ("image", "label", "caption", "gpu_hour")
_TEMPLATE = "template"


@dataclass(frozen=True)
class Prices:
    """Prices in one unit of money. Raises InputError for a price that is no number from 0."""

    image: float = 0.0
    """Of one image, without labels."""
    label: float | Mapping[str, float] = 0.0
    """Of one label: for every view alike, or label view -> price of a label of that view."""
    caption: float = 0.0
    """Of the caption of one image."""
    gpu_hour: float = 0.0
    """Of an hour of one worker."""

    def __post_init__(self) -> None:
        given = {kind: getattr(self, kind) for kind in KINDS if kind != "label"}
        labels = self.label if isinstance(self.label, Mapping) else {"": self.label}
        given |= {f"label {view}".strip(): price for view, price in labels.items()}
        for kind, price in given.items():
            if not (isinstance(price, int | float) and 0 <= price < math.inf):
                raise InputError(f"decide: the price {kind}={price!r} is no number from 0")

    def to_dict(self) -> dict[str, Any]:
        label = dict(self.label) if isinstance(self.label, Mapping) else self.label
        return {kind: label if kind == "label" else getattr(self, kind) for kind in KINDS}

    def check(self, views: Iterable[str]) -> None:
        """Raises InputError for the price of a view that none of these is, or is made of."""
        from headwater.study.decision import paid_view

        if not isinstance(self.label, Mapping):
            return
        known = sorted({name for view in views for name in (view, paid_view(view)) if name})
        for view in self.label:
            if view in known:
                continue
            near = difflib.get_close_matches(view, known, n=1)
            hint = f"; did you mean {near[0]!r}?" if near else f"; they have {listed(known)}"
            raise InputError(f"decide: no arm has labels {view!r}, of which a price is given{hint}")

    def of_label(self, labels: str, kind: str | None = None) -> float | None:
        """Price of a label of a view, of which `kind` is the kind as rows have it; None where it
        needs one and none is given.
        """
        from headwater.study.decision import MADE, paid_view

        view = paid_view(labels)
        if view is None or kind in MADE:
            return 0.0
        if not isinstance(self.label, Mapping):
            return self.label
        return self.label.get(labels, self.label.get(view))


def price_sentence(decision: Decision, own: float) -> str:
    """What the leader costs, and what is as good and cheaper, in the words of text and report."""
    less = cheaper_words(decision)
    also = f"; as good and cheaper: {listed(less)}" if less else ""
    return f"Price: {money_word(own)}{also}."


def cheaper_words(decision: Decision) -> list[str]:
    """Arms that are as good and cheaper than the leader, with their prices."""
    return [f"{name} ({money_word(decision.costs[name] or 0.0)})" for name in decision.cheaper]


@dataclass(frozen=True)
class _Cost:
    total: float | None
    lacks: str = ""
    """Why it is not known."""


def costs_of(
    arms: Iterable[Configuration], prices: Prices | None, found: Evidence
) -> dict[str, float | None]:
    """Arm's name -> what it costs, None where that cannot be known; nothing without prices."""
    if prices is None:
        return {}
    return {arm.name: _cost(arm, prices, found).total for arm in arms}


def unknown_words(prices: Prices | None, found: Evidence) -> list[str]:
    """A sentence for each reason why what arms cost is not known."""
    if prices is None:
        return []
    lacks: dict[str, list[str]] = {}
    for arm in found.arms:
        cost = _cost(arm, prices, found)
        if cost.total is None:
            lacks.setdefault(cost.lacks, []).append(arm.name)
    return [
        f"What {listed(names)} {'costs' if len(names) == 1 else 'cost'} is not known: {why}."
        for why, names in lacks.items()
    ]


def _cost(arm: Configuration, prices: Prices, found: Evidence) -> _Cost:
    trains = METHODS[arm.method].trains if arm.method in METHODS else arm.source is not None
    an_image = 0.0
    if trains:
        own = _of_an_image(arm, prices)
        if own is None:
            return _Cost(None, f"no price is given for labels {arm.labels}")
        an_image = prices.image + own
    images = found.images_of(arm)
    if an_image and images is None:
        return _Cost(None, "the rows do not say how many images it had")
    total = an_image * (images or 0.0)
    if not prices.gpu_hour:
        return _Cost(total)
    hours = found.hours_of(arm)
    if hours is None or (trains and not found.knows_training_of(arm)):
        return _Cost(None, "the rows do not say how long it took")
    return _Cost(total + hours * prices.gpu_hour)


def _of_an_image(arm: Configuration, prices: Prices) -> float | None:
    """Of what is attached to an image; None where it is not known."""
    needs = METHODS[arm.method].needs if arm.method in METHODS else "labels"
    if arm.labels is None or needs not in ("labels", "captions"):
        return 0.0
    if needs == "captions" and arm.labels != _TEMPLATE:
        return prices.caption
    return prices.of_label(arm.labels, arm.label_kind)
