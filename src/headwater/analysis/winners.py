"""Which of several is the best: of all arms, of the values of an axis, in each setting.

The rule is `certainty`: the leader is the best when it beats every other one at the plain level. If
it is not truly the best, it must in particular have beaten the one that is, so this is wrong in at
most 5 % of tables, however many there are to choose from.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from headwater.analysis.certainty import certainty_of, joined
from headwater.analysis.compare import distinct_ids, nullable_shots, per_seed, wide
from headwater.analysis.configurations import SETTING, configuration_names, main_metric, prepare
from headwater.analysis.intervals import LEVEL, NO_INTERVAL, Interval, seeds_needed

if TYPE_CHECKING:
    import pandas as pd


@dataclass(frozen=True)
class Winner:
    """The best of several columns of a score table and how far it is ahead."""

    best_id: str
    mean: float
    next_id: str | None
    gap: Interval
    """Best minus next, over the seeds that enter."""
    num_comparisons: int
    """Others that the best was compared with."""
    p: float | None
    """How easily chance would give the best its lead over the one that comes nearest to it."""
    not_separated: tuple[str, ...]
    """Others that could be the best, in order of their means; none where the best is told."""
    tied: tuple[str, ...]
    """Others with exactly the best's mean."""
    level: float = LEVEL

    @property
    def decided(self) -> bool:
        return self.p is not None and self.p <= 1 - self.level


def winner(
    scores: pd.DataFrame,
    *,
    order: Iterable[str] = (),
    step: float = 0.0,
    level: float = LEVEL,
) -> Winner | None:
    """The column of `scores` (rows of `compare.wide`) with the highest mean over seeds; None where
    no column has a value in every setting.

    Means are those of a fit of column + seed, so that a column is not favoured by seeds that others
    lack. Ties go to the column that comes first in `order`. `step` is the smallest difference that
    the test images can show.
    """
    table = per_seed(scores.dropna(axis=1, how="all"))
    table = table.loc[:, table.notna().any()]
    places = {column: place for place, column in enumerate(order)}
    columns = sorted(table.columns, key=lambda c: (places.get(c, len(places)), str(c)))
    return leader(table[columns].to_numpy(dtype="float64"), columns, step=step, level=level)


def leader(
    scores: Any, columns: list[str], *, step: float = 0.0, level: float = LEVEL
) -> Winner | None:
    """The winner of scores float64 [seeds, columns]; NaN where a column lacks a seed."""
    if not len(columns):
        return None
    paired = scores[(~np.isnan(scores)).sum(axis=1) > 1]
    told = None
    if len(paired) > 1 and len(columns) > 1 and len(joined(~np.isnan(paired))) == len(columns):
        told = certainty_of(paired[None], step=step, level=level)
    means = told.means[0] if told is not None else np.nanmean(scores, axis=0)
    ranked = np.argsort(-means, kind="stable").tolist()
    best, others = ranked[0], ranked[1:]
    won = Winner(
        best_id=columns[best],
        mean=float(means[best]),
        next_id=columns[others[0]] if others else None,
        gap=NO_INTERVAL,
        num_comparisons=len(others),
        p=None,
        not_separated=tuple(columns[other] for other in others),
        tied=tuple(columns[o] for o in others if abs(means[o] - means[best]) < 1e-12),
        level=level,
    )
    if not others:
        return won
    lead = float(means[best] - means[others[0]])
    if told is None:
        both = int((~np.isnan(scores[:, [best, others[0]]])).all(axis=1).sum())
        return replace(won, gap=Interval(lead, None, None, None, both))
    p = float(told.p[0, others].max())
    open_ = () if p <= 1 - level else tuple(columns[o] for o in others if told.shortlist[0, o])
    return replace(
        won, gap=_gap(told, others[0], lead, level), p=p, not_separated=open_ or _nearest(won, p)
    )


def _nearest(won: Winner, p: float) -> tuple[str, ...]:
    """An undecided leader has at least its nearest rival beside it."""
    assert won.next_id is not None
    return () if p <= 1 - won.level else (won.next_id,)


def _gap(told: Any, other: int, lead: float, level: float) -> Interval:
    from scipy.special import stdtrit

    error, df = float(told.se[0, other]), float(told.df[0, other])
    seeds = int(told.num_seeds[0].min())
    half = float(-stdtrit(df, (1 - level) / 2)) * error
    return Interval(lead, lead - half, lead + half, error * seeds**0.5, seeds)


def best(
    rows: pd.DataFrame, *, metric: str | None = None, subset: str = "all", level: float = LEVEL
) -> pd.DataFrame:
    """The best configuration in each task x protocol x shots, over rows that decide.

    Columns: task, protocol, shots, best, mean, next, gap, low, high (interval of the gap),
    num_seeds (of the gap), num_comparisons, p, decided, not_separated and tied (tuples of names),
    seeds_needed, cells. Settings share the error: `decided` holds for all of them together (Holm),
    so that a table of many settings in which nothing differs says "decided" somewhere in 5 %.
    """
    import pandas as pd

    table = prepare(rows)
    metric = metric or main_metric(table)
    scores = wide(table, metric=metric, subset=subset)
    names = configuration_names(table)
    cells = deciding_cells(table, metric=metric, subset=subset)
    lost = _diverged(table)
    wins: dict[Any, Winner] = {}
    for setting, values in scores.groupby(level=list(SETTING)):
        won = winner(values, order=names, level=level)
        if won is None:
            continue
        # survivors are no sample: an arm of which a run diverged here is not sure to be the best
        survived = (*setting, won.best_id) not in lost
        wins[setting] = won if survived else replace(won, p=None)
    bar = holm([won.p for won in wins.values() if won.p is not None], 1 - level)
    records = [
        dict(zip(SETTING, setting, strict=True)) | _won(won, names, bar) | {"cells": cells[setting]}
        for setting, won in wins.items()
    ]
    out = pd.DataFrame(records, columns=list(_BEST))
    out["shots"] = nullable_shots(out["shots"])
    for column in ("mean", "gap", "low", "high", "p"):
        out[column] = out[column].astype("Float64")
    out["seeds_needed"] = out["seeds_needed"].astype("Int64")
    return out.sort_values([*SETTING], na_position="last", ignore_index=True)


def _diverged(table: pd.DataFrame) -> set[tuple[Any, ...]]:
    """(task, protocol, shots, configuration) in which a run diverged."""
    rows = table.loc[table["status"] == "diverged", [*SETTING, "configuration"]].drop_duplicates()
    rows["shots"] = rows["shots"].fillna(-1).astype("int64")
    return set(rows.itertuples(index=False, name=None))


def holm(ps: list[float], error: float) -> float:
    """The largest p of those that Holm's procedure (1979) tells at this error for all of them
    together; below 0 where it tells none.
    """
    told = -1.0
    for rank, p in enumerate(sorted(ps)):
        if p * (len(ps) - rank) > error:
            break
        told = p
    return told


_BEST = (
    *SETTING,
    *("best", "mean", "next", "gap", "low", "high", "num_seeds", "num_comparisons", "p"),
    *("decided", "not_separated", "tied", "seeds_needed", "cells"),
)


def _won(won: Winner, names: dict[str, str], bar: float) -> dict[str, Any]:
    decided = won.p is not None and won.p <= bar
    rivals = won.not_separated
    if not decided and not rivals and won.next_id is not None:
        rivals = (won.next_id,)  # alone it would be told, among so many settings it is not
    needed = None if won.tied or won.next_id is None else seeds_needed(won.gap, level=won.level)
    return {
        "best": names[won.best_id],
        "mean": won.mean,
        "next": None if won.next_id is None else names[won.next_id],
        "gap": won.gap.mean,
        "low": won.gap.low,
        "high": won.gap.high,
        "num_seeds": won.gap.num_seeds,
        "num_comparisons": won.num_comparisons,
        "p": won.p,
        "decided": decided,
        "not_separated": tuple(names[other] for other in rivals),
        "tied": tuple(names[other] for other in won.tied),
        "seeds_needed": 0 if decided else needed,
    }


def deciding_cells(table: pd.DataFrame, *, metric: str, subset: str) -> dict[Any, tuple[str, ...]]:
    """(task, protocol, shots; -1 for the full split) -> ids of the cells that decide there,
    sorted, of a prepared table.
    """
    deciding = table["decides"] & (table["metric"] == metric) & (table["subset"] == subset)
    used = table.loc[deciding, [*SETTING, "cell"]]
    used["shots"] = used["shots"].fillna(-1).astype("int64")
    return {setting: distinct_ids(rows["cell"]) for setting, rows in used.groupby(list(SETTING))}
