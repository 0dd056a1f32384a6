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
from headwater.errors import InputError

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
            if factor <= 0:
                raise InputError(f"lr_factor: {factor:g} is no rate above 0")
            groups.setdefault(_key(row, factor), []).append((str(row["configuration"]), factor))
    axes = [group for group in groups.values() if len(group) > 1]
    if not axes:
        return table, None
    kept, dropped = {}, set()
    for group in axes:
        best = _best(table, [configuration for configuration, _ in group])
        if best is None:  # nobody validated: nothing is chosen
            continue
        kept[best] = dict(group)[best]
        dropped |= {configuration for configuration, _ in group} - {best}
    if not kept:
        return table, None
    factors = sorted({factor for group in axes for _, factor in group})
    rest = table[~table["configuration"].isin(dropped)]
    return rest, Chosen(kept, tuple(factors))


def at_factor(table: pd.DataFrame, factor: float) -> pd.DataFrame:
    """The rows of one rate over the methods' own, and of arms that have none."""
    own = table[FACTOR].eq(factor).fillna(False).astype(bool)
    if factor == 1:
        own |= table[FACTOR].isna()
    return table[own | table["lr"].isna()]


def _key(row: Mapping[Any, Any], factor: float) -> str:
    """What arms that differ in their rate alone have in common."""
    fields = {c: None if missing(row[c]) else str(row[c]) for c in CONFIGURATION}
    fields["lr"] = f"{float(row['lr']) / factor:.6g}"
    try:
        recipe = None if missing(row["recipe"]) else json.loads(str(row["recipe"]))
    except ValueError:
        recipe = str(row["recipe"])
    if isinstance(recipe, dict):
        recipe.pop("lr", None)
    fields["recipe"] = json.dumps(recipe, sort_keys=True)
    return json.dumps(fields, sort_keys=True)


def _best(table: pd.DataFrame, group: list[str]) -> str | None:
    """The configuration with the best mean on validation, over all cells that any of the group has:
    a cell that has no score there (its training diverged, say) counts as 0. None where nobody knows
    a score.
    """
    rows = table[table["configuration"].isin(group)].drop_duplicates("cell")
    if not rows[VALIDATION].notna().any():
        return None
    columns = [column for column in _CELL if column in rows]
    keys = rows[columns].astype("string").fillna("").agg("|".join, axis=1)
    scores = rows.assign(key=keys).pivot_table(
        index="key", columns="configuration", values=VALIDATION, aggfunc="mean", dropna=False
    )
    means = scores.reindex(columns=group).astype("float64").fillna(0.0).mean()
    return group[int(np.argmax(means.to_numpy()))]
