"""Learning rates as an axis: the one that validation chooses, for every arm alike.

One rate for all arms can turn the order of data around (arXiv 2512.24503), so a study may train
every arm at several. They are points of one grid, as penalties of a probe are: the rate with the
best mean validation score over all cells that an arm's rates share is kept, and test scores choose
nothing. The others are shown, and decide nothing.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.analysis.configurations import CONFIGURATION
from headwater.analysis.words import missing

if TYPE_CHECKING:
    import pandas as pd

FACTOR, VALIDATION = "lr_factor", "val_value"
NEEDED = (FACTOR, VALIDATION, "lr", "recipe")
_CELL = ("task", "protocol", "shots", "draw", "seed")


@dataclass(frozen=True)
class Chosen:
    """What validation chose of the rates of each arm."""

    kept: Mapping[str, float]
    """Configuration that is kept -> its rate over the method's own."""
    factors: tuple[float, ...]
    """All rates that were tried, over the methods' own, ascending."""


def chosen_rates(table: pd.DataFrame) -> tuple[pd.DataFrame, Chosen | None]:
    """A prepared table without the rates that validation did not choose, and what it chose; the
    table as it is, and None, where rates are no axis.
    """
    if FACTOR not in table or not table[FACTOR].notna().any():
        return table, None
    distinct = table.drop_duplicates("configuration")
    groups: dict[str, list[tuple[str, float]]] = {}
    for row in distinct.to_dict("records"):
        if not missing(row["lr"]):
            factor = 1.0 if missing(row[FACTOR]) else float(row[FACTOR])
            groups.setdefault(_key(row, factor), []).append((str(row["configuration"]), factor))
    axes = [group for group in groups.values() if len(group) > 1]
    if not axes:
        return table, None
    kept, dropped = {}, set()
    for group in axes:
        best = _best(table, [configuration for configuration, _ in group])
        kept[best] = dict(group)[best]
        dropped |= {configuration for configuration, _ in group} - {best}
    factors = sorted({factor for group in axes for _, factor in group})
    rest = table[~table["configuration"].isin(dropped)]
    return rest, Chosen(kept, tuple(factors))


def at_factor(table: pd.DataFrame, factor: float) -> pd.DataFrame:
    """The rows of one rate over the methods' own, and of arms that have none."""
    own = table[FACTOR].isna() if factor == 1 else table[FACTOR].eq(factor).fillna(False)
    return table[own.astype(bool) | table["lr"].isna()]


def _key(row: Mapping[Any, Any], factor: float) -> str:
    """What arms that differ in their rate alone have in common."""
    fields = {c: None if missing(row[c]) else str(row[c]) for c in CONFIGURATION}
    fields["lr"] = f"{float(row['lr']) / factor:.6g}"
    recipe = None if missing(row["recipe"]) else json.loads(str(row["recipe"]))
    if isinstance(recipe, dict):
        recipe.pop("lr", None)
    fields["recipe"] = json.dumps(recipe, sort_keys=True)
    return json.dumps(fields, sort_keys=True)


def _best(table: pd.DataFrame, group: list[str]) -> str:
    """The configuration with the best mean on validation, over cells that all of the group have;
    the first where nobody knows.
    """
    found: Any = None
    columns = [column for column in _CELL if column in table]
    for configuration in group:
        rows = table[table["configuration"].eq(configuration) & table[VALIDATION].notna()]
        rows = rows.drop_duplicates("cell")
        scores = rows.groupby(columns, dropna=False)[VALIDATION].mean().rename(configuration)
        found = scores.to_frame() if found is None else found.join(scores, how="inner")
    means = found.astype("float64").mean()
    return group[0] if not len(found) else group[int(np.argmax(means.to_numpy()))]
