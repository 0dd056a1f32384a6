"""The source gap: how much the choice of source matters, against the number of images that
fine-tuning has.

The claim to test (Entezari et al. 2023): the choice of source matters most for few-shot
transfer, and less as more data is available.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING, Any

from headwater.analysis.certainty import Certainty, certainty_of
from headwater.analysis.compare import per_seed, wide
from headwater.analysis.configurations import (
    SETTING,
    configurations,
    main_metric,
    prepare,
    series_of,
)
from headwater.analysis.intervals import (
    LEVEL,
    NO_INTERVAL,
    Interval,
    seeds_needed,
    t_interval,
)
from headwater.analysis.kept import kept

if TYPE_CHECKING:
    import pandas as pd


def source_gap(
    rows: pd.DataFrame, *, metric: str | None = None, subset: str = "all", level: float = LEVEL
) -> pd.DataFrame:
    """Best source minus worst source, one row per context (everything but the source) x task x
    protocol x shots, and over all tasks.

    A context whose sources each have labels or captions of their own is called "METHOD (own
    labels)". Columns: context, task ("mean over tasks" where all tasks of the protocol were
    pooled), protocol, shots, num_sources, best, worst (sources), gap, low, high, num_seeds,
    num_comparisons, cells, held_out, held_out_low, held_out_high. What noise there is, all sources
    tell together (certainty.py). Best and worst were chosen on these data: the interval is
    Bonferroni-corrected for all pairs of sources, and the gap itself is biased upward where sources
    are nearly equal. `held_out` is not: the pair is named by the first half of the seeds, and
    measured in the others, so its interval is an honest one for that pair [ours; by simulation in
    benchmarks/footing.md]; where noise picks the pair it falls short of the true gap. Null for
    fewer than 2 seeds. Only rows that decide are used.
    """
    records = []
    for group in _groups(rows, metric, subset):
        seeds = per_seed(group.scores)
        ends = _ends(seeds)
        if ends is None:
            continue
        gap, held_out = _gap(seeds, ends, level), _held_out(seeds, level)
        records.append(
            {
                "context": group.context,
                "task": group.task,
                "protocol": group.protocol,
                "shots": None if group.shots == -1 else group.shots,
                "num_sources": group.scores.shape[1],
                "best": group.sources[ends.best],
                "worst": group.sources[ends.worst],
                "gap": gap.mean,
                "low": gap.low,
                "high": gap.high,
                "num_seeds": gap.num_seeds,
                "num_comparisons": ends.num_pairs,
                "cells": group.cells,
                **_held_out_columns(held_out),
            }
        )
    return _table(
        records, _GAP_COLUMNS, whole=("shots",), numbers=("gap", "low", "high", *_HELD_OUT)
    )


def _table(
    records: list[dict[str, Any]],
    columns: tuple[str, ...],
    *,
    whole: tuple[str, ...],
    numbers: tuple[str, ...],
) -> pd.DataFrame:
    """Records as a table in pandas' nullable types."""
    import pandas as pd

    table = pd.DataFrame(records, columns=list(columns))
    for column in whole:
        table[column] = table[column].astype("Int64")
    for column in numbers:
        table[column] = table[column].astype("Float64")
    return table


POOLED = "mean over tasks"
_HELD_OUT = ("held_out", "held_out_low", "held_out_high")
_GAP_COLUMNS = (
    *("context", "task", "protocol", "shots", "num_sources", "best", "worst"),
    *("gap", "low", "high", "num_seeds", "num_comparisons", "cells", *_HELD_OUT),
)
_TREND_COLUMNS = (
    *("context", "task", "protocol", "fewest", "most", "best", "worst"),
    *("change", "low", "high"),
    *("num_seeds", "num_comparisons", "answer", "seeds_needed", "cells"),
)


def _gap(table: pd.DataFrame, ends: _Ends, level: float) -> Interval:
    """Best minus worst of a table of `per_seed`, corrected for all pairs that these were chosen
    from.
    """
    seeds = table[[ends.best, ends.worst]].dropna()
    plain = t_interval(
        (seeds[ends.best] - seeds[ends.worst]).tolist(), level=level, comparisons=ends.num_pairs
    )
    told = _told(table)
    if told is None:
        return plain
    best, worst = (list(table.columns).index(end) for end in (ends.best, ends.worst))
    half = float(told.halves(best, worst, (1 - level) / ends.num_pairs)[0])
    if not math.isfinite(half):  # too few seeds for any interval
        return plain
    mean = float(told.means[0, best] - told.means[0, worst])
    return Interval(mean, mean - half, mean + half, plain.sd, plain.num_seeds)


def _told(table: pd.DataFrame) -> Certainty | None:
    """What a table of seeds x sources says of their noise; None for less than two of each."""
    known = table[table.notna().sum(axis=1) > 1]
    if min(known.shape) < 2 or known.isna().all().any():
        return None
    return certainty_of(known.to_numpy(dtype="float64")[None])


def _held_out(seeds: pd.DataFrame, level: float = LEVEL) -> Interval:
    """Best minus worst source by the first half of the seeds, in the other seeds. The noise is that
    of all seeds and sources, which owes nothing to their means.
    """
    table = seeds.dropna(axis=0, how="any")
    if min(table.shape) < 2:
        return NO_INTERVAL
    values = table.to_numpy(dtype="float64")
    first = (len(values) + 1) // 2
    chosen = values[:first].mean(axis=0)
    best, worst = int(chosen.argmax()), int(chosen.argmin())
    gaps = values[first:, best] - values[first:, worst]
    told = certainty_of(values[None])
    care = _CARE if values.shape[1] > 2 else 1.0
    half = float(told.halves(best, worst, care * (1 - level))[0])
    # an interval for the mean of all seeds, turned into one for the mean of those that measure
    half *= _of_a_part(len(values), len(gaps), float(told.pooled_df[0, 0]), 1 - level)
    mean = float(gaps.mean())
    if not math.isfinite(half):
        return Interval(mean, None, None, None, len(gaps))
    return Interval(mean, mean - half, mean + half, None, len(gaps))


_CARE = 1.25
"""The wider one of two intervals is careful by itself where there are more than two sources: their
error may be larger by this [ours, by simulation: benchmarks/footing.md].
"""


@cache
def _of_a_part(seeds: int, part: int, df: float, error: float) -> float:
    """By how much wider an interval is for the mean of some of the seeds than for that of all of
    them, where all of them tell the noise.

    Not by the root of seeds / part: a seed that measures and goes astray is in the noise, too, and
    widens its own interval. In units of one seed's SD the mean of a part is astray by x / root(S) +
    y root(1 / part - 1 / S), with x and y standard normal, and noise^2 = (y^2 + w) / df, w a
    chi-squared variable of df - 1. Given the direction of (x, y), (x^2 + y^2) / w is an F-variable
    of 2 and df - 1 degrees, whose tail is a power; the mean is over directions [ours].
    """
    import numpy as np
    from scipy.optimize import brentq
    from scipy.special import stdtrit

    angles = np.pi * (np.arange(2000) + 0.5) / 1000
    y = np.sin(angles)
    astray = np.cos(angles) / seeds**0.5 + y * (1 / part - 1 / seeds) ** 0.5

    def missed(half: float) -> float:
        noise = half**2 / df
        more = np.maximum(astray**2 - noise * y**2, 0.0)
        tail = np.where(more > 0, (more / (more + noise)) ** ((df - 1) / 2), 0.0)
        return float(tail.mean()) - error

    of_all = float(-stdtrit(df, error / 2)) / math.sqrt(seeds)
    half = float(brentq(missed, of_all / 100, 2 * of_all * seeds))
    return half / of_all


def _held_out_columns(gap: Interval) -> dict[str, float | None]:
    return dict(zip(_HELD_OUT, (gap.mean, gap.low, gap.high), strict=True))


def gap_trend(
    rows: pd.DataFrame, *, metric: str | None = None, subset: str = "all", level: float = LEVEL
) -> pd.DataFrame:
    """Does the gap shrink with shots? Per context x task x protocol with at least two shot counts:
    the gap of two sources at the fewest minus their gap at the most shots.

    Columns: context, task, protocol, fewest, most (shots; null is the full split), best, worst
    (sources), change, low, high, num_seeds, num_comparisons, answer ("shrinks", "grows", "cannot
    tell"), seeds_needed, cells. The two sources are the best and the worst over both ends together,
    weighed so that their choice owes nothing to the change (`_change`): the interval needs no
    correction for it.
    """
    series: dict[tuple[str, str, str], list[_Group]] = {}
    for group in _groups(rows, metric, subset):
        series.setdefault((group.context, group.task, group.protocol), []).append(group)
    records = []
    for (context, task, protocol), groups in series.items():
        if len(groups) < 2:
            continue
        groups.sort(key=lambda group: (group.shots == -1, group.shots))
        few, many = groups[0], groups[-1]
        change = _change(few.scores, many.scores, level)
        records.append(
            {
                "context": context,
                "task": task,
                "protocol": protocol,
                "fewest": few.shots,
                "most": None if many.shots == -1 else many.shots,
                "best": None if change.best is None else few.sources[change.best],
                "worst": None if change.worst is None else few.sources[change.worst],
                "change": change.interval.mean,
                "low": change.interval.low,
                "high": change.interval.high,
                "num_seeds": change.interval.num_seeds,
                "num_comparisons": 1,
                "answer": change.answer,
                "seeds_needed": change.seeds_needed,
                "cells": tuple(sorted({*few.cells, *many.cells})),
            }
        )
    return _table(
        records,
        _TREND_COLUMNS,
        whole=("fewest", "most", "seeds_needed"),
        numbers=("change", "low", "high"),
    )


@dataclass(frozen=True)
class _Group:
    """What differs in its source alone, in one setting."""

    context: str
    task: str
    """Or `POOLED`."""
    protocol: str
    shots: int
    """-1 for the full training split."""
    scores: pd.DataFrame
    """Rows of `compare.wide`; one column per configuration, two or more."""
    sources: dict[str, str]
    """Digest of a configuration -> its source."""
    cells: tuple[str, ...]


@kept
def _groups(rows: pd.DataFrame, metric: str | None, subset: str) -> list[_Group]:
    """Every context with two or more sources in every setting; after the tasks of a context, for
    each protocol and shot count, all of these tasks together.
    """
    table = prepare(rows)
    metric = metric or main_metric(table)
    scores = wide(table, metric=metric, subset=subset)
    deciding = table["decides"] & (table["metric"] == metric) & (table["subset"] == subset)
    used = table.loc[deciding, [*SETTING, "configuration", "context", "labels", "source", "cell"]]
    used["shots"] = used["shots"].fillna(-1).astype("int64")
    sources = {each.id: each.source or "" for each in configurations(table).values()}
    settings: Any = dict(list(scores.groupby(level=list(SETTING))))
    everything: list[_Group] = []
    for context, members in _contexts(used[used["source"].notna()]).items():
        if len({sources[member] for member in members}) < 2:
            continue
        cells = _cells(used[used["configuration"].isin(members)])
        groups = []
        for (task, protocol, shots), values in settings.items():
            tried = values[[member for member in members if member in values]]
            known = tried.notna().to_numpy()
            present = tried.loc[known.any(axis=1), known.any(axis=0)]
            if present.shape[1] < 2:
                continue
            groups.append(
                _Group(
                    context=str(context),
                    task=task,
                    protocol=protocol,
                    shots=shots,
                    scores=present,
                    sources=sources,
                    cells=cells.get((task, protocol, shots), ()),
                )
            )
        everything += [*groups, *_pooled(groups)]
    return everything


def _cells(used: pd.DataFrame) -> dict[Any, tuple[str, ...]]:
    """(task, protocol, shots) -> ids of the cells there, sorted."""
    ids = used["cell"].astype(object)  # whose values are read ten times faster
    by_setting = ids.groupby([used[name] for name in SETTING])
    return {setting: tuple(sorted(set(cells))) for setting, cells in by_setting}


def _pooled(groups: list[_Group]) -> Iterator[_Group]:
    """The groups of one context, all tasks of a protocol and shot count together, where there are
    several.
    """
    import pandas as pd

    alike: dict[tuple[str, int], list[_Group]] = {}
    for group in groups:
        alike.setdefault((group.protocol, group.shots), []).append(group)
    for members in alike.values():
        if len(members) > 1:
            cells = set[str]().union(*(group.cells for group in members))
            yield replace(
                members[0],
                task=POOLED,
                scores=pd.concat([group.scores for group in members]),
                cells=tuple(sorted(cells)),
            )


def _contexts(used: pd.DataFrame) -> pd.Series[Any]:
    """Context -> configurations, sorted.

    Where every source of a method has one kind of labels (or captions) and these differ from source
    to source, as captions of different corpora do, they are part of what a source is: the context
    is then the method with each source's own labels.
    """
    distinct = used[["configuration", "context", "labels", "source"]].drop_duplicates()
    labels = distinct["labels"].astype("string").fillna("")
    series = [
        series_of(str(context), label or None)
        for context, label in zip(distinct["context"], labels, strict=True)
    ]
    distinct = distinct.assign(series=series, label=labels)
    num_labels = distinct.groupby("series")["label"].nunique()
    of_a_source = distinct.groupby(["series", "source"])["label"].nunique().groupby("series").max()
    have_own_labels = (num_labels > 1) & (of_a_source == 1)
    names = [
        f"{series} (own labels)" if have_own_labels[series] else context
        for series, context in zip(distinct["series"], distinct["context"], strict=True)
    ]
    contexts = distinct.assign(context=names).groupby("context")["configuration"]
    return contexts.agg(lambda members: sorted(set(members)))


@dataclass(frozen=True)
class _Ends:
    """The best and the worst column by the mean over seeds."""

    best: str
    worst: str
    num_pairs: int
    """Pairs that the two were chosen from."""


def _ends(seeds: pd.DataFrame) -> _Ends | None:
    """None where fewer than two columns have a mean."""
    means = seeds.mean().dropna()
    if len(means) < 2:
        return None
    ranked = sorted(means.index, key=lambda column: (-float(means[column]), str(column)))
    return _Ends(ranked[0], ranked[-1], len(means) * (len(means) - 1) // 2)


@dataclass(frozen=True)
class _Change:
    """How much the gap between two sources falls from few to many images."""

    interval: Interval
    best: str | None = None
    worst: str | None = None
    """Columns of the scores."""

    @property
    def answer(self) -> str:
        if not self.interval.excludes_zero:
            return "cannot tell"
        return "shrinks" if (self.interval.mean or 0) > 0 else "grows"

    @property
    def seeds_needed(self) -> int | None:
        """More seeds that would decide whether it falls or rises."""
        return seeds_needed(self.interval)


def _change(few: pd.DataFrame, many: pd.DataFrame, level: float) -> _Change:
    """The gap of two sources in `few` minus their gap in `many`.

    The two are the best and the worst by a weighted mean of both ends. A weighted mean w f + u m
    and the change f - m are independent where w (v - c) = u (x - c), with v and x the noise of f
    and m and c what they share; so the choice of the pair says nothing of its change [ours]. What
    noise there is, all sources tell together.
    """
    import numpy as np

    tables = [per_seed(scores).dropna(axis=1, how="all") for scores in (few, many)]
    columns = [str(column) for column in tables[0] if column in tables[1]]
    seeds = tables[0][columns].dropna().index.intersection(tables[1][columns].dropna().index)
    first, last = (table.loc[seeds, columns].to_numpy(dtype="float64") for table in tables)
    if len(columns) < 2 or len(seeds) < 1:
        return _Change(NO_INTERVAL)
    if len(seeds) < 2:
        return _Change(_of_one_seed(first, last))
    noise = [_residuals(values) for values in (first, last)]
    shared = float((noise[0] * noise[1]).sum())
    weights = [max(float((noise[end] ** 2).sum()) - shared, 0.0) for end in (1, 0)]
    if not any(weights):
        weights = [1.0, 1.0]
    both = weights[0] * first.mean(axis=0) + weights[1] * last.mean(axis=0)
    best, worst = int(np.argmax(both)), int(np.argmin(both))
    told = certainty_of((first - last)[None])
    half = float(told.halves(best, worst, 1 - level)[0])
    mean = float(told.means[0, best] - told.means[0, worst])
    sd = float((2 * told.pooled[0, 0]) ** 0.5)
    interval = Interval(mean, mean - half, mean + half, sd, len(seeds))
    return _Change(interval, columns[best], columns[worst])


def _of_one_seed(first: Any, last: Any) -> Interval:
    both = (first + last)[0]
    best, worst = int(both.argmax()), int(both.argmin())
    change = (first - last)[0, best] - (first - last)[0, worst]
    return Interval(float(change), None, None, None, 1)


def _residuals(values: Any) -> Any:
    """Of a table of seeds x sources, without the means of both."""
    noise = values - values.mean(axis=0)
    return noise - noise.mean(axis=1, keepdims=True)
