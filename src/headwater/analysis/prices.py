"""What an arm costs, at the prices that a study gives for images, labels, captions and hours.

Prices are in one unit of money, which the user chooses and nobody here needs to know. What is left
out of them is free. What an arm costs is what it takes to have it once:

    unique images x image  +  labelled images x label  +  captioned images x caption
    +  hours of one seed (pre-training and all its cells) x gpu_hour

Labels are paid for by supervised arms, one an image. Views that nobody has to assign (instance,
random and cluster) are free; a view within another one needs the labels of that. Captions are paid
for by arms that train on them, one an image; `template` makes them of class names, so it needs the
labels of level:0. A cost that cannot be known is None and said to be so, never 0, and so is a price
that no arm pays.
"""

from __future__ import annotations

import difflib
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from numbers import Integral, Real
from typing import TYPE_CHECKING, Any

from headwater.analysis.spent import trains
from headwater.analysis.words import listed, money_word
from headwater.errors import InputError
from headwater.registry import METHODS

if TYPE_CHECKING:
    from headwater.analysis.configurations import Configuration
    from headwater.analysis.decision import Decision
    from headwater.analysis.evidence import Evidence

KINDS = ("image", "label", "caption", "gpu_hour")
MOST = 1e15
"""The highest price: beyond it sums lose their cents, and much beyond it they are no numbers."""
_TEMPLATE = "template"
FREE = "nobody has to assign them, so they are free"


@dataclass(frozen=True)
class Prices:
    """Prices in one unit of money. Raises InputError for a price that is no number from 0 to
    1e15.
    """

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
            if isinstance(price, bool) or not (
                isinstance(price, Real) and 0 <= float(price) <= MOST
            ):
                raise InputError(f"decide: the price {kind}={price!r} is no number from 0 to 1e15")
        for kind in KINDS:
            price = getattr(self, kind)
            object.__setattr__(self, kind, _plain(price))

    def to_dict(self) -> dict[str, Any]:
        label = dict(self.label) if isinstance(self.label, Mapping) else self.label
        return {kind: label if kind == "label" else getattr(self, kind) for kind in KINDS}

    def check(self, views: Iterable[str]) -> None:
        """Raises InputError for the price of a view that none of these is, or is made of, and for
        one whose labels are free.
        """
        from headwater.study.decision import paid_view

        if not isinstance(self.label, Mapping):
            return
        known = sorted({name for view in views for name in (view, paid_view(view)) if name})
        for view in self.label:
            if paid_view(view) is None:
                raise InputError(f"decide: the price of labels {view!r}: {FREE}")
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


def _plain(price: Any) -> Any:
    """Numbers of any kind (numpy's too) as Python's, which JSON knows."""
    if isinstance(price, Mapping):
        return {view: _plain(each) for view, each in price.items()}
    return int(price) if isinstance(price, Integral) else float(price)


def price_sentence(decision: Decision, own: float) -> str:
    """What the leader costs, and what is as good and cheaper, in the words of text and report."""
    also = cheaper_words(decision)
    return f"Price: {money_word(own)}{f'; {also}' if also else ''}."


def cheaper_words(decision: Decision, *, most: int = 4) -> str:
    """Arms that are as good and cheaper than the leader, with their prices, and arms as good whose
    price is not known; '' where there are none.
    """
    less = [f"{name} ({money_word(decision.costs[name] or 0.0)})" for name in decision.cheaper]
    unknown = [name for name in decision.as_good if decision.costs.get(name) is None]
    words = [f"as good and cheaper: {listed(less, most=most)}"] if less else []
    if unknown:
        words.append(f"the price of {listed(unknown, most=most)} is not known")
    return "; ".join(words)


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
    """A sentence for each reason why what arms cost is not known, and for prices of labels that no
    arm pays.
    """
    if prices is None:
        return []
    lacks: dict[str, list[str]] = {}
    for arm in found.arms:
        cost = _cost(arm, prices, found)
        if cost.total is None:
            lacks.setdefault(cost.lacks, []).append(arm.name)
    said = [
        f"What {listed(names)} {'costs' if len(names) == 1 else 'cost'} is not known: {why}."
        for why, names in lacks.items()
    ]
    idle = _idle(prices, found.arms)
    return [*said, f"No arm pays for labels {listed(idle)}, which have a price."] if idle else said


def paid_views(arms: Iterable[Configuration]) -> set[str]:
    """Views whose labels somebody has to assign for these arms."""
    from headwater.study.decision import paid_view

    views = {paid_view(arm.labels or "") for arm in arms if _pays_labels(arm)}
    return {view for view in views if view is not None}


def _idle(prices: Prices, arms: Iterable[Configuration]) -> list[str]:
    """Views with a price that no arm pays."""
    if not isinstance(prices.label, Mapping):
        return []
    paying = [arm for arm in arms if _pays_labels(arm)]
    own = {arm.labels for arm in paying} & set(prices.label)
    used = own | paid_views(arm for arm in paying if arm.labels not in own)
    return [view for view in prices.label if view not in used]


def _cost(arm: Configuration, prices: Prices, found: Evidence) -> _Cost:
    an_image = 0.0
    if trains(arm):
        own = _of_an_image(arm, prices)
        if own is None:
            return _Cost(None, f"no price is given for labels {arm.labels}")
        an_image = prices.image + own
    images = found.images_of(arm)
    if an_image and images is None:
        return _Cost(None, "the rows do not say how many images it had")
    total = an_image * (images or 0.0)
    if prices.gpu_hour:
        hours = found.hours_of(arm)
        if hours is None or (trains(arm) and not found.knows_training_of(arm)):
            return _Cost(None, "the rows do not say how long it took")
        total += hours * prices.gpu_hour
    return _Cost(total) if math.isfinite(total) else _Cost(None, "it is beyond any number")


def image_price(arm: Configuration, prices: Prices) -> float | None:
    """What one more image of an arm costs: the image, and its label or caption; None where the
    label's price is not known.
    """
    if not trains(arm):
        return 0.0
    own = _of_an_image(arm, prices)
    return None if own is None else prices.image + own


def _of_an_image(arm: Configuration, prices: Prices) -> float | None:
    """Of what is attached to an image; None where it is not known."""
    if arm.labels is None or _needs(arm.method) not in ("labels", "captions"):
        return 0.0
    if not _is_caption(arm.method, arm.labels):
        return prices.of_label(arm.labels, arm.label_kind)
    return prices.caption


def _needs(method: str) -> str | None:
    return METHODS[method].needs if method in METHODS else "labels"


def _is_caption(method: str, view: str) -> bool:
    """Captions by template are made of class names."""
    return _needs(method) == "captions" and view != _TEMPLATE


def _pays_labels(arm: Configuration) -> bool:
    """Whether an arm pays for labels, where its view is one that somebody has to assign."""
    from headwater.study.decision import MADE

    if arm.labels is None or _needs(arm.method) not in ("labels", "captions"):
        return False
    return arm.label_kind not in MADE and not _is_caption(arm.method, arm.labels)
