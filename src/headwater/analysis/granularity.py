"""Accuracy against label granularity: where the peak is, and whether both ends of the U are below
it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import astuple, dataclass, replace
from typing import TYPE_CHECKING, Any

from headwater.analysis.certainty import certainty_of
from headwater.analysis.compare import difference, per_seed, summarise, wide
from headwater.analysis.configurations import SETTING, main_metric, prepare, series_of
from headwater.analysis.intervals import (
    LEVEL,
    NO_INTERVAL,
    Interval,
    most_needed,
    seeds_needed,
    t_interval,
)
from headwater.analysis.order import granular_kinds
from headwater.analysis.words import missing, shots_number

if TYPE_CHECKING:
    import pandas as pd

AGAINST = ("coarser", "coarsest", "finest", "scratch")


def granularity_curves(
    rows: pd.DataFrame,
    *,
    metric: str | None = None,
    level: float = LEVEL,
    against: Sequence[str] = AGAINST,
) -> pd.DataFrame:
    """One row per supervised configuration x task x protocol x shots x metric x subset, coarse to
    fine within a group; of one metric, or of all where it is None.

    The columns of `summarise`, and for each word of `against`: versus_{word} (paired difference to
    the next coarser view, the coarsest, the finest level or instance view, and to no pre-training),
    versus_{word}_low, _high, _seeds; null where there is nothing to compare with. Each interval is
    at `level` by itself; `peaks` corrects for having chosen the peak. `series` names the curve that
    a row is on: source and everything else but the labels.
    """
    import pandas as pd

    records: list[dict[str, Any]] = []
    for group in _groups(rows, metric):
        records += _compared(group, level, against)
    if records:
        return pd.DataFrame(records)
    out = summarise(rows).iloc[:0].assign(series=None, on_curve=None)
    for word in against:
        out[[f"versus_{word}{end}" for end in ("", "_low", "_high", "_seeds")]] = None
    return out


@dataclass(frozen=True)
class _Setting:
    """Where the views of a curve meet."""

    metric: str
    subset: str
    task: str
    protocol: str
    shots: int
    """-1 for the full training split."""

    @property
    def columns(self) -> dict[str, Any]:
        return {
            "task": self.task,
            "protocol": self.protocol,
            "shots": None if self.shots == -1 else self.shots,
            "metric": self.metric,
            "subset": self.subset,
        }


@dataclass(frozen=True)
class _Group:
    """One curve in one setting."""

    series: str
    """What the curve keeps fixed."""
    setting: _Setting
    views: list[dict[str, Any]]
    """Records of `summarise`, coarse to fine."""
    scores: pd.DataFrame
    """Rows of `compare.wide` of the setting."""
    scratch: str | None
    """The configuration without pre-training."""

    @property
    def curve(self) -> list[dict[str, Any]]:
        """The views that lie on the curve."""
        kinds = granular_kinds()
        return [view for view in self.views if view["label_kind"] in kinds]


def _groups(rows: pd.DataFrame, metric: str | None = None) -> Iterator[_Group]:
    """Of one metric, or of all where it is None."""
    table = prepare(rows)
    summary = summarise(table)
    if metric is not None:
        summary = summary[summary["metric"] == metric]
    # Plain records and one split of the matrix: groups are many and small, where pandas is slow.
    groups: dict[tuple[_Setting, str], list[dict[str, Any]]] = {}
    scratch: dict[tuple[_Setting, str], str] = {}
    for row in summary[summary["mean"].notna()].to_dict("records"):
        record: dict[str, Any] = {str(column): value for column, value in row.items()}
        setting = _setting(record)
        if record["method"] == "scratch":
            scratch.setdefault((setting, record["backbone"]), record["configuration"])
        elif record["method"] == "supervised" and not missing(record["num_labels"]):
            record["series"] = _series(record)
            groups.setdefault((setting, record["series"]), []).append(record)
    matrices: dict[_Setting, pd.DataFrame] = {}
    for measured, subset in sorted({(setting.metric, setting.subset) for setting, _ in groups}):
        scores = wide(table, metric=measured, subset=subset, deciding=False)
        settings: Any = scores.groupby(level=list(SETTING))
        for (task, protocol, shots), values in settings:
            matrices[_Setting(measured, subset, task, protocol, shots)] = values
    for setting, series in sorted(groups, key=lambda key: (*astuple(key[0]), key[1])):
        views = sorted(
            groups[setting, series], key=lambda view: (float(view["num_labels"]), view["order"])
        )
        yield _Group(
            series=series,
            setting=setting,
            views=views,
            scores=matrices[setting],
            scratch=scratch.get((setting, views[0]["backbone"])),
        )


def _setting(record: dict[str, Any]) -> _Setting:
    return _Setting(
        metric=record["metric"],
        subset=record["subset"],
        task=record["task"],
        protocol=record["protocol"],
        shots=shots_number(record["shots"]),
    )


def _series(record: dict[str, Any]) -> str:
    """Everything but the labels."""
    source = "" if missing(record["source"]) else f" · {record['source']}"
    return series_of(str(record["context"]), record["labels"]) + source


def _compared(group: _Group, level: float, against: Sequence[str]) -> Iterator[dict[str, Any]]:
    curve = group.curve
    for view in group.views:
        coarser = [other for other in curve if other["num_labels"] < view["num_labels"]]
        others: dict[str, str | None] = {
            "coarser": coarser[-1]["configuration"] if coarser else None,
            "coarsest": curve[0]["configuration"] if curve else None,
            "finest": curve[-1]["configuration"] if curve else None,
            "scratch": group.scratch,
        }
        record = dict(view) | {"on_curve": view in curve}
        for word in against:
            other = others[word]
            gap = NO_INTERVAL
            if other is not None and other != view["configuration"]:
                gap = difference(group.scores, view["configuration"], other, level=level)
            record |= {
                f"versus_{word}": gap.mean,
                f"versus_{word}_low": gap.low,
                f"versus_{word}_high": gap.high,
                f"versus_{word}_seeds": gap.num_seeds,
            }
        yield record


def peaks(rows: pd.DataFrame, *, metric: str | None = None, level: float = LEVEL) -> pd.DataFrame:
    """Where each curve has its peak, and what can be said of its shape; of one metric, or of all
    where it is None.

    Columns: task, protocol, shots, metric, subset, series, num_views, peak (labels), peak_classes,
    mean; coarse and fine (peak minus the coarsest and minus the finest view, each with _low and
    _high), num_seeds, num_comparisons, shape, seeds_needed, decides, cells.

    shape is one of: "U" (the peak lies inside and both differences exclude 0), "finest" (the peak
    is the finest view and beats the coarsest), "coarsest" (the other way round), "cannot tell", and
    "too few views" (fewer than 3 on the curve). Intervals allow for the choice of the peak
    (`_above`). Views that
    decide nothing because of label re-use make the whole curve undecided (`decides` is False).
    """
    import pandas as pd

    records = [
        {**group.setting.columns, "series": group.series, **_peak(group, level)}
        for group in _groups(rows, metric)
        if group.curve
    ]
    out = pd.DataFrame(records, columns=list(_PEAKS))
    out["shots"] = out["shots"].astype("Int64")
    out = out.sort_values(
        ["task", "protocol", "shots", "metric", "subset", "series"],
        na_position="last",
        ignore_index=True,
    )
    out["seeds_needed"] = out["seeds_needed"].astype("Int64")
    for column in ("coarse", "coarse_low", "coarse_high", "fine", "fine_low", "fine_high"):
        out[column] = out[column].astype("Float64")
    return out


_PEAKS = (
    *("task", "protocol", "shots", "metric", "subset", "series"),
    *("num_views", "peak", "peak_classes", "mean"),
    *("coarse", "coarse_low", "coarse_high", "fine", "fine_low", "fine_high"),
    *("num_seeds", "num_comparisons", "shape", "seeds_needed", "decides", "cells"),
)


def _peak(group: _Group, level: float) -> dict[str, Any]:
    """The columns of `peaks` that describe one curve."""
    curve = group.curve
    top = max(range(len(curve)), key=lambda place: float(curve[place]["mean"]))
    ends = {"coarse": 0, "fine": len(curve) - 1}
    gaps = dict.fromkeys(ends, NO_INTERVAL)
    below = [end for end in ends if ends[end] != top]
    ids = [view["configuration"] for view in curve]
    for end in below:
        gaps[end] = _above(group.scores[ids], top, ends[end], level)
    needs = [seeds_needed(gaps[end], level=level) for end in below]
    cells = set[str]().union(*(view["cells"] for view in curve))
    record: dict[str, Any] = {
        "num_views": len(curve),
        "peak": curve[top]["labels"],
        "peak_classes": curve[top]["num_labels"],
        "mean": curve[top]["mean"],
        "num_seeds": max(gap.num_seeds for gap in gaps.values()),
        "num_comparisons": len(needs),
        "shape": _shape(top, len(curve), gaps),
        "seeds_needed": most_needed(needs) if needs else None,
        "decides": all(view["decides"] for view in curve),
        "cells": tuple(sorted(cells)),
    }
    for end, gap in gaps.items():
        record |= {end: gap.mean, f"{end}_low": gap.low, f"{end}_high": gap.high}
    return record


def _above(scores: pd.DataFrame, top: int, end: int, level: float) -> Interval:
    """By how much the peak of a curve is above one of its ends; `scores` has a column for each
    view. What its noise is, all views tell together (certainty.py).

    A peak inside was chosen among the views inside, and must be above both ends: its interval is
    made wider by their number, or by the root of it up to four seeds, where the wider one of two
    intervals is careful by itself. A U is then told in at most 6 % of curves that are none
    [ours, by simulation: tests/analysis/test_granularity.py].
    """
    table = per_seed(scores)
    pair = table.iloc[:, [top, end]].dropna()
    table = table[table.notna().sum(axis=1) > 1]
    if len(table) < 2 or table.isna().all().any():
        return difference(scores, table.columns[top], table.columns[end], level=level)
    told = certainty_of(table.to_numpy(dtype="float64")[None])
    num_seeds = int(told.num_seeds[0, [top, end]].min())
    error = 1 - level
    if 0 < top < table.shape[1] - 1:  # one side: a peak inside is above an end, or it is no peak
        inside = table.shape[1] - 2
        error *= 2 / (inside if num_seeds > _FEW_SEEDS else inside**0.5)
    half = float(told.halves(top, end, error)[0])
    mean = float(told.means[0, top] - told.means[0, end])
    sd = float((2 * told.pooled[0, 0]) ** 0.5)
    if not math.isfinite(half):
        return Interval(mean, None, None, None, len(pair))
    return Interval(mean, mean - half, mean + half, sd, num_seeds)


_FEW_SEEDS = 4


def _shape(top: int, views: int, gaps: dict[str, Interval]) -> str:
    if views < 3:
        return "too few views"
    above = {word: gap.low is not None and gap.low > 0 for word, gap in gaps.items()}
    if 0 < top < views - 1:
        return "U" if all(above.values()) else "cannot tell"
    if top == views - 1:
        return "finest" if above["coarse"] else "cannot tell"
    return "coarsest" if above["fine"] else "cannot tell"


def hard_gains(
    rows: pd.DataFrame, *, metric: str | None = None, level: float = LEVEL
) -> pd.DataFrame:
    """Do fine labels help hard test images more than easy ones? (The claim of Hong et al. 2023 that
    is about features, not about the average.)

    One row per curve x task x protocol x shots that has both subsets and two hierarchy levels.
    Columns: task, protocol, shots, series, fine, coarse (labels), hard and easy (gain of fine over
    coarse on that subset), extra (hard minus easy, paired by seed), low, high, num_seeds, decides,
    cells.
    """
    import pandas as pd

    table = prepare(rows)
    metric = metric or main_metric(table)
    marked = table[(table["metric"] == metric) & table["subset"].isin(["hard", "easy"])]
    curves: dict[tuple[_Setting, str], dict[str, _Group]] = {}
    for group in _groups(marked):
        key = replace(group.setting, subset="all"), group.series
        curves.setdefault(key, {})[group.setting.subset] = group
    records = []
    for groups in curves.values():
        if len(groups) == 2:
            records += _hard_gain(groups["hard"], groups["easy"], level)
    out = pd.DataFrame(records, columns=list(_GAINS))
    out["shots"] = out["shots"].astype("Int64")
    for column in ("extra", "low", "high"):
        out[column] = out[column].astype("Float64")
    return out


_GAINS = (
    *("task", "protocol", "shots", "series", "fine", "coarse"),
    *("hard", "easy", "extra", "low", "high", "num_seeds", "decides", "cells"),
)


def _hard_gain(hard: _Group, easy: _Group, level: float) -> list[dict[str, Any]]:
    """What one curve says, on its hard and on its easy images; nothing without two levels that were
    scored on both.
    """
    levels = [view for view in hard.curve if view["label_kind"] == "level"]
    if len(levels) < 2:
        return []
    coarse, fine = levels[0], levels[-1]
    ids = fine["configuration"], coarse["configuration"]
    if not set(ids) <= set(hard.scores) & set(easy.scores):
        return []
    on_hard, on_easy = _gains(hard.scores, *ids), _gains(easy.scores, *ids)
    extra = t_interval((on_hard - on_easy).dropna().tolist(), level=level)
    return [
        {
            "task": hard.setting.task,
            "protocol": hard.setting.protocol,
            "shots": hard.setting.columns["shots"],
            "series": hard.series,
            "fine": fine["labels"],
            "coarse": coarse["labels"],
            "hard": float(on_hard.mean()),
            "easy": float(on_easy.mean()),
            "extra": extra.mean,
            "low": extra.low,
            "high": extra.high,
            "num_seeds": extra.num_seeds,
            "decides": bool(fine["decides"] and coarse["decides"]),
            "cells": tuple(sorted({*fine["cells"], *coarse["cells"]})),
        }
    ]


def _gains(scores: pd.DataFrame, fine: str, coarse: str) -> pd.Series[float]:
    """Fine minus coarse, one number per seed."""
    return per_seed((scores[fine] - scores[coarse]).to_frame("gain"))["gain"]
