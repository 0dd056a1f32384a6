"""Summaries, paired differences and the best configuration.

The order of averaging is fixed: draws within a seed first, then seeds. Differences are taken draw
by draw and seed by seed, where both sides have a value, because equal seeds mean equal draws and
order.

Honest about selection. The best of k configurations is chosen on the data that judge it. "X is the
best" is said only if the intervals of X minus *every* other configuration exclude 0, each
Bonferroni-corrected for k - 1. If X is not truly best, it must in particular have beaten the true
best, which has k - 1 comparisons of its own, so this is wrong in at most 5 % of tables (the
argument of Hsu's multiple comparisons with the best, Annals of Statistics 12, 1984, here with
separate variances and Bonferroni in place of Dunnett's quantile).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.analysis.configurations import (
    SETTING,
    configuration_names,
    configuration_order,
    main_metric,
    prepare,
)
from headwater.analysis.intervals import LEVEL, Interval, seeds_needed, t_interval, t_quantile
from headwater.errors import InputError

if TYPE_CHECKING:
    import pandas as pd

_KEYS = ["task", "protocol", "shots", "seed"]


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
    chosen = table[
        table["decides" if deciding else "usable"]
        & (table["metric"] == metric)
        & (table["subset"] == subset)
    ]
    flat = chosen[["task", "protocol", "seed", "configuration", "value"]].copy()
    for column in ("shots", "draw"):
        flat[column] = chosen[column].fillna(-1).astype("int64")
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

    `scores` is a part of `wide`: index (task, protocol, shots, seed, draw), any columns.
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
    _, setting = np.unique(np.stack(codes[:3]), axis=1, return_inverse=True)
    present, seed = np.unique(codes[3], return_inverse=True)
    shape = (int(setting.max(initial=-1)) + 1, len(present), values.shape[1])
    known = ~np.isnan(values)
    sums, counts = np.zeros(shape), np.zeros(shape)
    np.add.at(sums, (setting.ravel(), seed), np.where(known, values, 0.0))
    np.add.at(counts, (setting.ravel(), seed), known)
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


def summarise(rows: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """One row per configuration x task x protocol x shots x metric x subset, in a sensible order of
    arms.

    Columns: configuration, name, context, order, method, source, size, labels, num_labels,
    backbone; task, protocol, shots; metric, subset; mean, low, high (shares in [0, 1]; the interval
    may leave that range, and is null at one seed); num_seeds, num_draws (mean per seed), num_cells
    (those that count), num_diverged, num_failed, n_test, label_reuse, decides, cells (tuple of the
    ids of all its cells). Diverged and failed cells are counted, and enter no mean. decides: every
    number in the mean decides (and there is one), so that no mean with a re-used label in it can
    pass for a fair one.
    """
    import pandas as pd

    table = prepare(rows)
    table = table.assign(
        shots=table["shots"].fillna(-1).astype("int64"),
        draw=table["draw"].fillna(-1).astype("int64"),
    )
    for column in ("task", "protocol", "metric", "subset", "cell"):
        table[column] = table[column].astype(object)
    keys = ["configuration", *SETTING, "metric", "subset"]
    groups = table.groupby(keys, sort=False)
    out = groups[list(_DESCRIBING)].first()
    out["label_reuse"] = (
        table.assign(label_reuse=table["label_reuse"].fillna(False).astype(bool))
        .groupby(keys, sort=False)["label_reuse"]
        .any()
    )
    out["cells"] = groups["cell"].agg(_distinct)
    used = table[table["usable"]]
    out["decides"] = (
        used.groupby(keys)["decides"].all().reindex(out.index, fill_value=False).astype(bool)
    )
    draws = used.groupby([*keys, "seed", "draw"])["value"].mean()
    seeds = draws.groupby(level=[*keys, "seed"]).mean().groupby(level=list(keys))
    out["mean"] = seeds.mean()
    sd, num_seeds = seeds.std(), seeds.count()
    half = (
        sd
        / num_seeds**0.5
        * num_seeds.map(
            {n: t_quantile(n - 1, level=level) for n in set(num_seeds) if n > 1}
        ).astype("float64")
    )
    out["low"], out["high"] = out["mean"] - half, out["mean"] + half
    out["num_seeds"] = num_seeds
    out["num_draws"] = draws.groupby(level=keys).count() / num_seeds
    out["num_cells"] = used.groupby(keys)["cell"].nunique()
    for status in ("diverged", "failed"):
        out[f"num_{status}"] = table[table["status"] == status].groupby(keys)["cell"].nunique()
    counts = ["num_seeds", "num_cells", "num_diverged", "num_failed"]
    out[counts] = out[counts].fillna(0).astype("int64")
    out["num_draws"] = out["num_draws"].fillna(0.0)
    out = out.reset_index().rename(columns={"configuration_labels": "num_labels"})
    out["shots"] = _nullable_shots(out["shots"])
    for column in ("mean", "low", "high", "num_labels"):
        numbers = out[column].astype("float64")
        out[column] = numbers.astype("Float64").mask(numbers.isna(), pd.NA)
    return out[list(SUMMARY)].sort_values(
        ["task", "protocol", "shots", "metric", "subset", "order"],
        na_position="last",
        ignore_index=True,
    )


_DESCRIBING = (
    "name",
    "context",
    "order",
    "configuration_labels",
    "method",
    "source",
    "size",
    "labels",
    "backbone",
    "n_test",
)
SUMMARY = (
    "configuration", "name", "context", "order", "method", "source", "size", "labels", "num_labels", "backbone", *SETTING, "metric", "subset", "mean", "low",
    "high", "num_seeds", "num_draws", "num_cells", "num_diverged", "num_failed", "n_test", "label_reuse", "decides", "cells",
)  # fmt: skip


def _distinct(ids: Any) -> Any:
    return tuple(sorted(set(ids)))


def _nullable_shots(shots: pd.Series[Any]) -> pd.Series[Any]:
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
    for level_name, wanted in (
        ("task", task),
        ("protocol", protocol),
        ("shots", -1 if shots == "all" else shots),
    ):
        if wanted is not None:
            scores = scores[scores.index.get_level_values(level_name) == wanted]
    scores = _shared_settings(scores.reindex(columns=ids))
    found = difference(scores, ids[0], ids[1], comparisons=comparisons, level=level)
    needed = seeds_needed(found, level=level, comparisons=comparisons)
    return Difference(a, b, found.mean, found.low, found.high, found.num_seeds, comparisons, needed)


def _shared_settings(scores: pd.DataFrame) -> pd.DataFrame:
    has = scores.notna().groupby(level=["task", "protocol", "shots"]).transform("any")
    return scores[has.all(axis=1)]


def _configuration_id(table: pd.DataFrame, word: str) -> str:
    found = table.loc[(table["name"] == word) | (table["configuration"] == word), "configuration"]
    if not len(found):
        names = ", ".join(sorted(set(table["name"].astype(str))))
        raise InputError(f"the rows have no configuration {word!r}; they have: {names or 'none'}")
    return str(found.iloc[0])


@dataclass(frozen=True)
class Winner:
    """The best of several columns of a score table and how far it is ahead.

    Fields ending in `id` are configuration digests.
    """

    best_id: str
    mean: float
    next_id: str | None
    gap: Interval
    """Best minus next, paired, corrected for `num_comparisons`."""
    num_comparisons: int
    not_separated: tuple[str, ...]
    """Ids whose paired interval against the best does not exclude 0, in order of their means."""
    tied: tuple[str, ...]
    """Ids with exactly the best's mean."""
    seeds_needed: int | None
    """More paired seeds until *every* comparison would exclude 0; None where that cannot be
    known.
    """

    @property
    def decided(self) -> bool:
        return self.next_id is not None and not self.not_separated


def winner(
    scores: pd.DataFrame,
    *,
    order: Iterable[str] = (),
    comparisons: int | None = None,
    level: float = LEVEL,
) -> Winner | None:
    """The column of `scores` (a part of `wide`) with the highest mean over seeds; None where no
    column has a value in every setting.

    Ties go to the column that comes first in `order`. `comparisons` is the size of the family that
    the intervals are corrected for: the number of columns less 1, unless the columns were
    themselves chosen from more.
    """
    means = per_seed(scores.dropna(axis=1, how="all")).mean().dropna()
    if not len(means):
        return None
    places = {c: i for i, c in enumerate(order)}
    ranked = sorted(
        means.index, key=lambda c: (-float(means[c]), places.get(c, len(places)), str(c))
    )
    best, others = ranked[0], ranked[1:]
    family = comparisons or max(1, len(others))
    seeds = per_seed(-scores[others].sub(scores[best], axis=0)) if others else None
    gaps = (
        {c: t_interval(seeds[c].dropna().tolist(), level=level, comparisons=family) for c in others}
        if seeds is not None
        else {}
    )
    open_ones = tuple(c for c in others if not (gaps[c].excludes_zero and (gaps[c].mean or 0) > 0))
    needs = [
        seeds_needed(gaps[c], comparisons=family, level=level) if (gaps[c].mean or 0) > 0 else None
        for c in open_ones
    ]
    tied = tuple(c for c in others if abs(float(means[c]) - float(means[best])) < 1e-12)
    needed = (
        None
        if any(n is None for n in needs)
        else max([n for n in needs if n is not None], default=0)
    )
    gap = gaps[others[0]] if others else t_interval([])
    return Winner(
        best,
        float(means[best]),
        others[0] if others else None,
        gap,
        family if others else 0,
        open_ones,
        tied,
        needed if others else None,
    )


def best(
    rows: pd.DataFrame, *, metric: str | None = None, subset: str = "all", level: float = LEVEL
) -> pd.DataFrame:
    """The best configuration in each task x protocol x shots, over rows that decide.

    Columns: task, protocol, shots, best, mean, next, gap, low, high (interval of the gap,
    corrected), num_seeds (of the gap), num_comparisons, decided (every comparison excludes 0),
    not_separated and tied (tuples of names), seeds_needed, cells.
    """
    import pandas as pd

    table = prepare(rows)
    metric = metric or main_metric(table)
    scores = wide(table, metric=metric, subset=subset)
    order, names = configuration_order(table), configuration_names(table)
    usable = table[table["decides"] & (table["metric"] == metric) & (table["subset"] == subset)]
    cells: dict[Any, tuple[str, ...]] = {}
    for setting, part in usable.assign(shots=usable["shots"].fillna(-1).astype("int64")).groupby(
        [*SETTING]
    ):
        cells[setting] = tuple(sorted(set(part["cell"])))
    found: list[dict[str, Any]] = []
    for setting, part in scores.groupby(level=list(SETTING)):
        won = winner(part, order=order, level=level)
        if won is None:
            continue
        found.append(
            dict(zip(SETTING, setting, strict=True))
            | {"best": names[won.best_id], "mean": won.mean, "next": names.get(won.next_id or "")}
            | {
                "gap": won.gap.mean,
                "low": won.gap.low,
                "high": won.gap.high,
                "num_seeds": won.gap.num_seeds,
            }
            | {
                "num_comparisons": won.num_comparisons,
                "decided": won.decided,
                "not_separated": tuple(names[c] for c in won.not_separated),
            }
            | {
                "tied": tuple(names[c] for c in won.tied),
                "seeds_needed": won.seeds_needed,
                "cells": cells[setting],
            }
        )
    columns = [
        *SETTING,
        "best",
        "mean",
        "next",
        "gap",
        "low",
        "high",
        "num_seeds",
        "num_comparisons",
        "decided",
        "not_separated",
        "tied",
        "seeds_needed",
    ]
    out = pd.DataFrame(found, columns=[*columns, "cells"])
    out["shots"] = _nullable_shots(out["shots"])
    for column in ("mean", "gap", "low", "high"):
        out[column] = out[column].astype("Float64")
    out["seeds_needed"] = out["seeds_needed"].astype("Int64")
    return out.sort_values([*SETTING], na_position="last", ignore_index=True)
