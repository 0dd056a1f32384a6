"""Summaries and paired differences.

The order of averaging is fixed: draws within a seed first, then seeds. Differences are taken draw
by draw and seed by seed, where both sides have a value, because equal seeds mean equal draws and
order. Which of several is the best is asked in winners.py.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.analysis.configurations import SETTING, main_metric, prepare
from headwater.analysis.intervals import LEVEL, Interval, seeds_needed, t_interval, t_quantile
from headwater.analysis.kept import kept
from headwater.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ["task", "protocol", "shots", "seed"]


@kept
def wide(
    table: pd.DataFrame, *, metric: str | None = None, subset: str = "all", deciding: bool = True
) -> pd.DataFrame:
    """Values as a matrix: index (task, protocol, shots, seed, draw), one column per configuration;
    NaN where there is none.

    A null among the shots or draws is -1 in the index. With `deciding`, rows that decide nothing
    (label reuse) are left out. Two cells that agree in all of this (another head initialisation,
    say) are averaged here; the report warns where that happens.
    """
    table = prepare(table)
    metric = metric or main_metric(table)
    chosen = (
        table["decides" if deciding else "usable"]
        & (table["metric"] == metric)
        & (table["subset"] == subset)
    )
    columns = ["task", "protocol", "seed", "configuration", "value", "shots", "draw"]
    flat = table.loc[chosen, columns]
    for column in ("shots", "draw"):
        flat[column] = flat[column].fillna(-1).astype("int64")
    flat["seed"] = flat["seed"].astype("int64")
    for column in ("task", "protocol"):
        flat[column] = flat[column].astype(object)
    return flat.pivot_table(
        index=[*_KEYS, "draw"],
        columns="configuration",
        values="value",
        aggfunc="mean",
        observed=True,
    )


def per_seed(scores: pd.DataFrame) -> pd.DataFrame:
    """One row per seed: the mean over draws within a setting, then over the settings; NaN where a
    seed lacks a setting that the table has.

    `scores` has rows of `wide`: index (task, protocol, shots, seed, draw), any columns.
    """
    import pandas as pd

    seeds, means = _seed_means(scores.index, scores.to_numpy(dtype="float64"))
    return pd.DataFrame(means, index=pd.Index(seeds, name="seed"), columns=scores.columns)


def _seed_means(index: Any, values: Any) -> tuple[Any, Any]:
    """`per_seed` in numpy (pandas' groupby took 4 ms a call, and a table has thousands): seeds (S,)
    and means (S, columns) as float64.
    """
    import numpy as np

    codes = [np.asarray(code) for code in index.codes]
    # One number for task, protocol and shots: numpy is slow where it compares rows of three.
    joint = np.zeros(len(index), dtype=np.int64)
    for code, level in zip(codes[:3], index.levels, strict=False):
        joint = joint * len(level) + code
    _, setting = np.unique(joint, return_inverse=True)
    present, seed = np.unique(codes[3], return_inverse=True)
    shape = (int(setting.max(initial=-1)) + 1, len(present), values.shape[1])
    known = ~np.isnan(values)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (setting, seed), np.where(known, values, 0.0))
    np.add.at(counts, (setting, seed), known)
    means = np.divide(sums, counts, out=np.full(shape, np.nan), where=counts > 0)
    return np.asarray(index.levels[3])[present], means.sum(axis=0) / max(1, shape[0])


def difference(
    scores: pd.DataFrame, a: str, b: str, *, comparisons: int = 1, level: float = LEVEL
) -> Interval:
    """The interval of column a minus column b over paired seeds, over all settings that either of
    them has, with equal weight.
    """
    import numpy as np

    if a not in scores or b not in scores:
        return t_interval([])
    left, right = scores[a].to_numpy(dtype="float64"), scores[b].to_numpy(dtype="float64")
    either = ~(np.isnan(left) & np.isnan(right))
    _, means = _seed_means(scores.index[either], (left - right)[either, None])
    return t_interval(means[~np.isnan(means)].tolist(), level=level, comparisons=comparisons)


@kept
def summarise(rows: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """One row per configuration x task x protocol x shots x metric x subset, in a sensible order of
    arms.

    Columns: configuration, name, context, order, method, source, size, labels, label_kind,
    num_labels, backbone; task, protocol, shots; metric, subset; mean, low, high (shares in [0, 1];
    the interval may leave that range, and is null at one seed); num_seeds, num_draws (mean per
    seed), num_cells (those that count), num_diverged, num_failed, n_test, label_reuse, decides,
    cells (tuple of the ids of all its cells). Diverged and failed cells are counted, and enter no
    mean. decides: every number in the mean decides (and there is one), so that no mean with a
    re-used label in it can pass for a fair one.
    """
    import pandas as pd

    table = _without_nulls(prepare(rows))
    groups = table.groupby(_GROUP, sort=False)
    out = groups[list(_DESCRIBING)].first()
    out["label_reuse"] = groups["label_reuse"].any()
    out["cells"] = groups["cell"].agg(distinct_ids)
    used = table.loc[table["usable"], [*_GROUP, "seed", "draw", "value", "decides", "cell"]]
    decides = used.groupby(_GROUP)["decides"].all()
    out["decides"] = decides.reindex(out.index, fill_value=False).astype(bool)
    out = out.join(_means(used, level))
    out["num_cells"] = used.groupby(_GROUP)["cell"].nunique()
    for status in ("diverged", "failed"):
        lost = table[table["status"] == status]
        out[f"num_{status}"] = lost.groupby(_GROUP)["cell"].nunique()
    counts = ["num_seeds", "num_cells", "num_diverged", "num_failed"]
    out[counts] = out[counts].fillna(0).astype("int64")
    out["num_draws"] = out["num_draws"].fillna(0.0)
    out = out.reset_index().rename(columns={"configuration_labels": "num_labels"})
    out["shots"] = nullable_shots(out["shots"])
    for column in ("mean", "low", "high", "num_labels"):
        numbers = out[column].astype("float64")
        out[column] = numbers.astype("Float64").mask(numbers.isna(), pd.NA)
    return out[list(SUMMARY)].sort_values(
        ["task", "protocol", "shots", "metric", "subset", "order"],
        na_position="last",
        ignore_index=True,
    )


_GROUP = ["configuration", *SETTING, "metric", "subset"]
_DESCRIBING = (
    "name",
    "context",
    "order",
    "configuration_labels",
    "method",
    "source",
    "size",
    "labels",
    "label_kind",
    "backbone",
    "n_test",
)
SUMMARY = (
    *("configuration", "name", "context", "order"),
    *("method", "source", "size", "labels", "label_kind", "num_labels", "backbone"),
    *SETTING,
    *("metric", "subset", "mean", "low", "high"),
    *("num_seeds", "num_draws", "num_cells", "num_diverged", "num_failed", "n_test"),
    *("label_reuse", "decides", "cells"),
)


def _without_nulls(table: pd.DataFrame) -> pd.DataFrame:
    """A prepared table in plain types, -1 for null shots and draws: pandas groups these quickly."""
    table = table.assign(
        shots=table["shots"].fillna(-1).astype("int64"),
        draw=table["draw"].fillna(-1).astype("int64"),
        label_reuse=table["label_reuse"].fillna(False).astype(bool),
    )
    for column in ("task", "protocol", "metric", "subset", "cell"):
        table[column] = table[column].astype(object)
    return table


def _means(used: pd.DataFrame, level: float) -> pd.DataFrame:
    """Mean, interval, and numbers of seeds and draws of each group: draws are averaged first, then
    seeds.
    """
    import pandas as pd

    draws = used.groupby([*_GROUP, "seed", "draw"])["value"].mean()
    seeds = draws.groupby(level=[*_GROUP, "seed"]).mean().groupby(level=_GROUP)
    mean, num_seeds = seeds.mean(), seeds.count()
    quantiles = {n: t_quantile(n - 1, level=level) for n in set(num_seeds) if n > 1}
    half = seeds.std() / num_seeds**0.5 * num_seeds.map(quantiles).astype("float64")
    return pd.DataFrame(
        {
            "mean": mean,
            "low": mean - half,
            "high": mean + half,
            "num_seeds": num_seeds,
            "num_draws": draws.groupby(level=_GROUP).count() / num_seeds,
        }
    )


def distinct_ids(ids: Any) -> Any:
    """A sorted tuple of the different ids."""
    return tuple(sorted(set(ids)))


def nullable_shots(shots: pd.Series[Any]) -> pd.Series[Any]:
    """Shots as a column of rows has them, of shots with -1 for the full training split."""
    nullable = shots.astype("Int64")
    return nullable.mask(nullable == -1)


@dataclass(frozen=True)
class Difference:
    """a minus b, in shares of [0, 1], over the seeds that both have; low and high are None where
    there is no interval.
    """

    a: str
    b: str
    difference: float | None
    low: float | None
    high: float | None
    num_seeds: int
    num_comparisons: int
    seeds_needed: int | None


def paired_difference(
    rows: pd.DataFrame,
    a: str,
    b: str,
    *,
    task: str | None = None,
    protocol: str | None = None,
    shots: int | str | None = None,
    metric: str | None = None,
    subset: str = "all",
    comparisons: int = 1,
    level: float = LEVEL,
) -> Difference:
    """The paired difference between two configurations, each given by its name or its digest, over
    the settings that both share.

    task, protocol and shots (a number, or "all" for the full split) narrow the settings; None takes
    every one. A seed counts only where both have all of those settings. Raises InputError for a
    configuration that the rows do not have.
    """
    table = prepare(rows)
    ids = [_configuration_id(table, word) for word in (a, b)]
    scores = wide(table, metric=metric, subset=subset, deciding=False)
    chosen = {"task": task, "protocol": protocol, "shots": -1 if shots == "all" else shots}
    for axis, wanted in chosen.items():
        if wanted is not None:
            scores = scores[scores.index.get_level_values(axis) == wanted]
    scores = _shared_settings(scores.reindex(columns=ids))
    gap = difference(scores, ids[0], ids[1], comparisons=comparisons, level=level)
    return Difference(
        a=a,
        b=b,
        difference=gap.mean,
        low=gap.low,
        high=gap.high,
        num_seeds=gap.num_seeds,
        num_comparisons=comparisons,
        seeds_needed=seeds_needed(gap, level=level, comparisons=comparisons),
    )


def _shared_settings(scores: pd.DataFrame) -> pd.DataFrame:
    has = scores.notna().groupby(level=["task", "protocol", "shots"]).transform("any")
    return scores[has.all(axis=1)]


def _configuration_id(table: pd.DataFrame, word: str) -> str:
    meant = (table["name"] == word) | (table["configuration"] == word)
    ids = table.loc[meant, "configuration"]
    if not len(ids):
        names = ", ".join(sorted(set(table["name"].astype(str))))
        raise InputError(f"the rows have no configuration {word!r}; they have: {names or 'none'}")
    return str(ids.iloc[0])
