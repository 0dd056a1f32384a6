"""Names of configurations for people: short, unique in a table, in a sensible order."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from headwater.analysis.kinds import LabelsOf
from headwater.analysis.order import Place, place_of
from headwater.analysis.words import missing

_SUFFIXES = {
    "size": "{} images",
    "backbone": "{}",
    "image_size": "{} px",
    "images_seen": "{} seen",
    "lr": "lr {}",
    "batch": "batch {}",
    "optimiser": "{}",
    "weight_decay": "wd {}",
}
"""Columns that enter the names where names would not differ without them, and how they are written;
the first ones first.
"""
_OF_EVERY_NETWORK = ("backbone", "image_size")
"""Those that mean something without pre-training, too."""


@dataclass(frozen=True)
class Named:
    """A configuration and what people call it."""

    row: dict[Any, Any]
    """Its columns of `configurations.CONFIGURATION`."""
    digest: str
    labels: LabelsOf
    context: str
    """The name without the source."""
    source: str
    """The end of the name; '' without a source."""

    @property
    def name(self) -> str:
        return self.context + self.source

    @property
    def place(self) -> tuple[Place, str]:
        return place_of(self.row, self.labels), self.digest

    def with_suffix(self, column: str, pattern: str) -> Named:
        """The name with one more column, if that says something of this configuration."""
        value = self.row[column]
        trained = self.row["method"] != "scratch"
        if missing(value) or not (trained or column in _OF_EVERY_NETWORK):
            return self
        return replace(self, context=f"{self.context}, {pattern.format(value)}")


def name_configurations(rows: Sequence[dict[Any, Any]], labels: Sequence[LabelsOf]) -> list[Named]:
    """Different configurations with their names, in their order.

    `rows` has the columns of `configurations.CONFIGURATION`; `labels` is what is known of each
    one's labels.
    """
    named = [_shortest(row, of_labels) for row, of_labels in zip(rows, labels, strict=True)]
    for column, pattern in _SUFFIXES.items():
        if _tells_apart(column, named):
            named = [configuration.with_suffix(column, pattern) for configuration in named]
    return _numbered(sorted(named, key=lambda configuration: configuration.place))


def _shortest(row: dict[Any, Any], of_labels: LabelsOf) -> Named:
    labels = "" if missing(row["labels"]) else f" {row['labels']}"
    source = "" if missing(row["source"]) else f" · {row['source']}"
    return Named(row, digest(row), of_labels, f"{row['method']}{labels}", source)


def digest(row: dict[Any, Any]) -> str:
    values = {str(column): None if missing(value) else str(value) for column, value in row.items()}
    return hashlib.sha256(json.dumps(values, sort_keys=True).encode()).hexdigest()[:12]


def _tells_apart(column: str, named: Sequence[Named]) -> bool:
    """Does this column tell apart two configurations that so far have one name? Only then is it
    worth a place in all names.
    """
    values: dict[str, set[str]] = {}
    for configuration in named:
        value = configuration.row[column]
        written = "" if missing(value) else str(value)
        values.setdefault(configuration.name, set()).add(written)
    return any(len(written) > 1 for written in values.values())


def _numbered(named: Sequence[Named]) -> list[Named]:
    """The second and later ones of an equal name are told by a number: they differ in the recipe
    alone.
    """
    unique = []
    so_far = Counter[str]()
    for configuration in named:
        so_far[configuration.name] += 1
        if (number := so_far[configuration.name]) > 1:
            context = f"{configuration.context}, recipe {number}"
            configuration = replace(configuration, context=context)
        unique.append(configuration)
    return unique
