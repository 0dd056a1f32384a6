"""The orders in which people meet methods and label views, and what kind of view a name is."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from headwater.analysis.words import missing
from headwater.registry import PROTOCOLS

METHODS = ("supervised", "clip", "simclr", "given", "scratch")
LABEL_KINDS = (
    "level",
    "depth",
    "rank",
    "instance",
    "cluster within",
    "cluster",
    "shuffle",
    "random within",
    "random",
    "noisy",
)

TUNED = tuple(protocol.name for protocol in PROTOCOLS if protocol.tuned)
"""Protocols that train the whole network on the task, so that labels which the arm was trained on
do not favour it.
"""


def label_kind(labels: Any) -> str:
    """One of LABEL_KINDS, or the first word of a view of another kind; '' for no labels.

    Class counts as level, and a view with label noise is noisy.
    """
    if missing(labels):
        return ""
    text = str(labels)
    if " with " in text:
        return "noisy"
    word = text.split(":")[0].split(" ")[0]
    if word == "class":
        return "level"
    return f"{word} within" if " within " in text else word


@dataclass(frozen=True, order=True)
class Place:
    """Where a configuration stands among others: fields decide one after the other, ascending."""

    method: float
    kind: int
    """Of its labels."""
    num_labels: float
    level: int
    """Minus the k of level:k, so that coarse comes before fine; 0 for other labels."""
    names: tuple[str, ...]
    """Labels, source, size, backbone and recipe; '' where there is none."""


def place_of(row: dict[Any, Any], num_labels: float | None) -> Place:
    """Method, then kind of labels, then coarse to fine, then source and size.

    `row` has the columns method, labels, source, size, backbone and recipe.
    """
    method, kind = str(row["method"]), label_kind(row["labels"])
    columns = ("labels", "source", "size", "backbone", "recipe")
    names = tuple("" if missing(row[column]) else str(row[column]) for column in columns)
    height = names[0].partition(":")[2]
    return Place(
        method=METHODS.index(method) if method in METHODS else len(METHODS) - 1.5,
        kind=LABEL_KINDS.index(kind) if kind in LABEL_KINDS else len(LABEL_KINDS),
        num_labels=num_labels or 0.0,
        level=-int(height) if kind == "level" and height.isdigit() else 0,
        names=names,
    )
