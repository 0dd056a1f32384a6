"""In which order, and in which colours, people meet methods and label views.

Both are declared by the entries of the sockets (headwater.registry) and read here alone. A table
may come from another installation: a name that is no entry here stands last, and has no colour.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from headwater.analysis.kinds import LabelsOf
from headwater.analysis.words import missing
from headwater.registry import LABEL_VIEWS, METHODS, PROTOCOLS
from headwater.rows import NOISY, WITHIN

_NOISY_ORDER, _NOISY_COLOUR = 1000.0, "#882255"


def tuned_protocols() -> tuple[str, ...]:
    """Protocols that train the whole network on the task, so that labels which the arm was trained
    on do not favour it.
    """
    return tuple(protocol.name for protocol in PROTOCOLS if protocol.tuned)


def granular_kinds() -> tuple[str, ...]:
    """Kinds of label views that lie on one line from coarse to fine.

    Random, shuffled and clustered views have a number of classes too, but another meaning: they are
    shown beside the curve and are no part of it.
    """
    return tuple(kind.name for kind in LABEL_VIEWS if kind.granular)


@dataclass(frozen=True)
class Shown:
    """How something is shown."""

    order: float
    colour: str | None
    """#RRGGBB; None where none is declared."""
    on_ramp: bool = False
    """Whether its colour is one of the ramp from coarse to fine."""

    @property
    def known(self) -> bool:
        """Whether it is declared in this installation."""
        return math.isfinite(self.order)


_UNKNOWN = Shown(math.inf, None)


def shown_method(name: str) -> Shown:
    if name not in METHODS:
        return _UNKNOWN
    return Shown(METHODS[name].order, METHODS[name].colour)


def shown_labels(kind: str | None) -> Shown:
    """How labels of a kind (the column `label_kind` of rows) are shown: as it declares."""
    if kind is None:
        return _UNKNOWN
    if kind == NOISY:
        return Shown(_NOISY_ORDER, _NOISY_COLOUR)
    name = kind.removesuffix(WITHIN)
    if name not in LABEL_VIEWS:
        return _UNKNOWN
    entry = LABEL_VIEWS[name]
    declared = entry if name == kind else entry.within
    if declared is None:
        return _UNKNOWN
    return Shown(declared.order, declared.colour, on_ramp=declared.colour is None)


@dataclass(frozen=True, order=True)
class Place:
    """Where a configuration stands among others: fields decide one after the other, ascending."""

    method: float
    labels: float
    """Of their kind."""
    num_labels: float
    level: int
    """Minus the k of level:k, so that coarse comes before fine; 0 for other labels."""
    names: tuple[str, ...]
    """Labels, source, size, backbone and recipe; '' where there is none."""


def place_of(row: dict[Any, Any], of_labels: LabelsOf) -> Place:
    """Method, then kind of labels, then coarse to fine, then source and size.

    `row` has the columns method, labels, source, size, backbone and recipe.
    """
    columns = ("labels", "source", "size", "backbone", "recipe")
    names = tuple("" if missing(row[column]) else str(row[column]) for column in columns)
    return Place(
        method=shown_method(str(row["method"])).order,
        labels=shown_labels(of_labels.kind).order,
        num_labels=of_labels.num_labels or 0.0,
        level=-(of_labels.level or 0),
        names=names,
    )
