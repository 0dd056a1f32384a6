"""Accuracy against label granularity: where the peak is, and whether both ends of the U are below
it.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from headwater.analysis.compare import difference, per_seed, summarise, wide
from headwater.analysis.configurations import SETTING, main_metric, prepare
from headwater.analysis.intervals import LEVEL, Interval, seeds_needed, t_interval
from headwater.analysis.order import label_kind
from headwater.analysis.words import missing, shots_number

if TYPE_CHECKING:
    import pandas as pd

ON_THE_CURVE = ("level", "depth", "rank", "instance")
"""Label views that lie on one line from coarse to fine.

Random, shuffled and clustered views have a number of classes too, but another meaning: they are
shown beside the curve and are no part of it.
"""

AGAINST = ("coarser", "coarsest", "finest", "scratch")


def granularity_curves(rows: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """One row per supervised configuration x task x protocol x shots x metric x subset, coarse to
    fine within a group.

    The columns of `summarise`, and for each word of `AGAINST`: versus_{word} (paired difference to
    the next coarser view, the coarsest, the finest level or instance view, and to no pre-training),
    versus_{word}_low, _high, _seeds; null where there is nothing to compare with. Each interval is
    at `level` by itself; `peaks` corrects for having chosen the peak. `series` names the curve that
    a row is on: source and everything else but the labels.
    """
    import pandas as pd

    found = [record for group in _groups(rows) for record in _compared(group, level)]
    out = pd.DataFrame(found)
    if not len(out):
        out = summarise(rows).iloc[:0].assign(series=None, on_curve=None)
        for word in AGAINST:
            out[
                [
                    f"versus_{word}",
                    f"versus_{word}_low",
                    f"versus_{word}_high",
                    f"versus_{word}_seeds",
                ]
            ] = None
    return out


@dataclass(frozen=True)
class _Group:
    """One curve in one setting: summaries (coarse to fine), the score matrix of the setting, and
    the scratch configuration.
    """

    series: str
    views: list[dict[str, Any]]
    scores: pd.DataFrame
    scratch: str | None
    setting: dict[str, Any]


def _groups(rows: pd.DataFrame) -> Iterator[_Group]:
    table = prepare(rows)
    summary = summarise(table)
    # Plain records and one split of the matrix: groups are many and small, where pandas is slow.
    groups: dict[tuple[Any, ...], list[dict[str, Any]]] = {}
    scratch: dict[tuple[Any, ...], str] = {}
    for row in summary[summary["mean"].notna()].to_dict("records"):
        record: dict[str, Any] = {str(k): v for k, v in row.items()}
        where = (
            record["metric"],
            record["subset"],
            record["task"],
            record["protocol"],
            shots_number(record["shots"]),
        )
        if record["method"] == "scratch":
            scratch.setdefault((*where, record["backbone"]), record["configuration"])
        elif record["method"] == "supervised" and not missing(record["num_labels"]):
            record["series"] = _series(str(record["context"]), record["labels"]) + (
                "" if missing(record["source"]) else f" · {record['source']}"
            )
            groups.setdefault((*where, record["series"]), []).append(record)
    matrices: dict[tuple[Any, ...], pd.DataFrame] = {}
    for metric, subset in sorted({key[:2] for key in groups}):
        scores = wide(table, metric=metric, subset=subset, deciding=False)
        for setting, part in scores.groupby(level=list(SETTING)):
            matrices[metric, subset, *setting] = part
    for key in sorted(groups):
        metric, subset, task, protocol, shots, series = key
        words = {
            "task": task,
            "protocol": protocol,
            "shots": None if shots == -1 else shots,
            "metric": metric,
            "subset": subset,
        }
        views = sorted(groups[key], key=lambda view: (float(view["num_labels"]), view["order"]))
        yield _Group(
            series, views, matrices[key[:5]], scratch.get((*key[:5], views[0]["backbone"])), words
        )


def _series(context: str, labels: Any) -> str:
    """The context without its labels: what a curve keeps fixed besides the source."""
    return context.replace(f" {labels}", "", 1)


def _curve(group: _Group) -> list[dict[str, Any]]:
    return [view for view in group.views if label_kind(view["labels"]) in ON_THE_CURVE]


def _compared(group: _Group, level: float) -> Iterator[dict[str, Any]]:
    curve = _curve(group)
    for view in group.views:
        coarser = [v for v in curve if v["num_labels"] < view["num_labels"]]
        others: dict[str, str | None] = {
            "coarser": coarser[-1]["configuration"] if coarser else None,
            "coarsest": curve[0]["configuration"] if curve else None,
            "finest": curve[-1]["configuration"] if curve else None,
            "scratch": group.scratch,
        }
        record = dict(view) | {"on_curve": view in curve}
        for word in AGAINST:
            other = others[word]
            same = other is None or other == view["configuration"]
            gap = (
                Interval(None, None, None, None, 0)
                if same
                else difference(group.scores, view["configuration"], str(other), level=level)
            )
            record |= {
                f"versus_{word}": gap.mean,
                f"versus_{word}_low": gap.low,
                f"versus_{word}_high": gap.high,
                f"versus_{word}_seeds": gap.num_seeds,
            }
        yield record


def peaks(rows: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """Where each curve has its peak, and what can be said of its shape.

    Columns: task, protocol, shots, metric, subset, series, num_views, peak (labels), peak_classes,
    mean; coarse and fine (peak minus the coarsest and minus the finest view, each with _low and
    _high), num_seeds, num_comparisons, shape, seeds_needed, decides, cells.

    shape is one of: "U" (the peak lies inside and both differences exclude 0), "finest" (the peak
    is the finest view and beats the coarsest), "coarsest" (the other way round), "cannot tell", and
    "too few views" (fewer than 3 on the curve). The peak was chosen among the views, so every
    interval is Bonferroni-corrected for the number of views less 1 (see compare.py). Views that
    decide nothing because of label re-use make the whole curve undecided (`decides` is False).
    """
    import pandas as pd

    found = []
    for group in _groups(rows):
        curve = _curve(group)
        if curve:
            found.append(
                group.setting | {"series": group.series} | _peak(curve, group.scores, level)
            )
    columns = [
        "task",
        "protocol",
        "shots",
        "metric",
        "subset",
        "series",
        "num_views",
        "peak",
        "peak_classes",
        "mean",
        "coarse",
        "coarse_low",
        "coarse_high",
    ]
    columns += [
        "fine",
        "fine_low",
        "fine_high",
        "num_seeds",
        "num_comparisons",
        "shape",
        "seeds_needed",
        "decides",
        "cells",
    ]
    out = pd.DataFrame(found, columns=columns)
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


def _peak(curve: list[dict[str, Any]], scores: pd.DataFrame, level: float) -> dict[str, Any]:
    top = max(range(len(curve)), key=lambda i: float(curve[i]["mean"]))
    family = max(1, len(curve) - 1)
    ends = {"coarse": 0, "fine": len(curve) - 1}
    nothing = Interval(None, None, None, None, 0)
    gaps = {
        word: nothing
        if top == end
        else difference(
            scores,
            curve[top]["configuration"],
            curve[end]["configuration"],
            comparisons=family,
            level=level,
        )
        for word, end in ends.items()
    }
    needs = [
        seeds_needed(gap, level=level, comparisons=family)
        for word, gap in gaps.items()
        if top != ends[word]
    ]
    unknown = not needs or any(n is None for n in needs)
    return (
        {
            "num_views": len(curve),
            "peak": curve[top]["labels"],
            "peak_classes": curve[top]["num_labels"],
            "mean": curve[top]["mean"],
        }
        | {word: gap.mean for word, gap in gaps.items()}
        | {f"{word}_low": gap.low for word, gap in gaps.items()}
        | {f"{word}_high": gap.high for word, gap in gaps.items()}
        | {"num_seeds": max(gap.num_seeds for gap in gaps.values()), "num_comparisons": len(needs)}
        | {
            "shape": _shape(top, len(curve), gaps),
            "seeds_needed": None if unknown else max(n for n in needs if n is not None),
        }
        | {
            "decides": all(view["decides"] for view in curve),
            "cells": tuple(sorted({cell for view in curve for cell in view["cells"]})),
        }
    )


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
    groups: dict[tuple[Any, ...], dict[str, _Group]] = {}
    for group in _groups(marked):
        key = (
            group.setting["task"],
            group.setting["protocol"],
            group.setting["shots"],
            group.series,
        )
        groups.setdefault(key, {})[group.setting["subset"]] = group
    found = []
    for key, both in groups.items():
        levels = (
            [view for view in _curve(both["hard"]) if label_kind(view["labels"]) == "level"]
            if len(both) == 2
            else []
        )
        if len(levels) < 2:
            continue
        coarse, fine = levels[0], levels[-1]
        ids = fine["configuration"], coarse["configuration"]
        gains = {
            word: per_seed((g.scores[ids[0]] - g.scores[ids[1]]).to_frame("gain"))["gain"]
            for word, g in both.items()
            if set(ids) <= set(g.scores)
        }
        if len(gains) < 2:
            continue
        extra = t_interval((gains["hard"] - gains["easy"]).dropna().tolist(), level=level)
        found.append(
            dict(zip(("task", "protocol", "shots", "series"), key, strict=True))
            | {
                "fine": fine["labels"],
                "coarse": coarse["labels"],
                "hard": float(gains["hard"].mean()),
                "easy": float(gains["easy"].mean()),
            }
            | {
                "extra": extra.mean,
                "low": extra.low,
                "high": extra.high,
                "num_seeds": extra.num_seeds,
            }
            | {
                "decides": bool(fine["decides"] and coarse["decides"]),
                "cells": tuple(sorted({*fine["cells"], *coarse["cells"]})),
            }
        )
    columns = [
        "task",
        "protocol",
        "shots",
        "series",
        "fine",
        "coarse",
        "hard",
        "easy",
        "extra",
        "low",
        "high",
        "num_seeds",
        "decides",
        "cells",
    ]
    out = pd.DataFrame(found, columns=columns)
    out["shots"] = out["shots"].astype("Int64")
    for column in ("extra", "low", "high"):
        out[column] = out[column].astype("Float64")
    return out
