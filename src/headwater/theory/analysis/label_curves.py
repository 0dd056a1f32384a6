"""Error against the number of labels, from coarse over merged and fine ones to labels that no
longer follow the subclasses: is it a U?

One line goes from coarse to fine labels and past them: coarse, merge:K, fine, random:K within fine,
instance. Labels that ignore the subclasses (random, random within coarse, shuffle) have a number
too, but another meaning: they are series of their own. Lower is better here, so a U has its lowest
point inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from headwater.analysis.intervals import LEVEL, Interval, seeds_needed, t_interval
from headwater.theory.analysis.error_rates import SAMPLES, told_of
from headwater.theory.analysis.settings import (
    CONSTANTS,
    finished,
    groups,
    label_kind,
    per_seed,
    varying,
)

if TYPE_CHECKING:
    import pandas as pd

ALIGNED = ("coarse", "merge", "fine")
BEYOND = ("random within fine", "instance")
ON_THE_CURVE = (*ALIGNED, *BEYOND)
MAIN = "coarse to fine and beyond"
U, FINEST, COARSEST, FLAT, UNKNOWN, TOO_FEW = (
    "U",
    "finest",
    "coarsest",
    "flat",
    "cannot tell",
    "too few label kinds",
)


@dataclass(frozen=True)
class _Curve:
    """One curve: where it stands, its lines in order of num_labels, and for each labels seed ->
    error.
    """

    where: dict[str, Any]
    points: list[dict[str, Any]]
    errors: dict[str, dict[int, float]]
    lines: pd.DataFrame


def curve(table: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """One line per subclasses x read-out x setting x samples (easy, hard) x labels, where three
    label kinds or more can be compared.

    Columns besides: series (`MAIN`, or random, random within coarse, shuffle), kind, num_labels
    (median over seeds), aligned (no label holds samples of two subclasses that a coarser one tells
    apart, nor splits a subclass), error, low, high (Student's interval over seeds, cut to [0, 1]),
    num_seeds, num_unmeasured, num_unconverged, test_samples, and `agreement`'s columns.
    """
    import pandas as pd

    found = [one.where | point for one in _curves(table, level) for point in one.points]
    settings = _settings(table)
    columns = [
        "subclasses",
        "read_out",
        *settings,
        "samples",
        "series",
        "labels",
        "kind",
        "num_labels",
        "aligned",
        "error",
        "low",
        "high",
        "num_seeds",
    ]
    columns += [
        "num_unmeasured",
        "num_unconverged",
        "test_samples",
        "agree",
        "within_low",
        "within_high",
        "beyond_low",
        "beyond_high",
    ]
    ends = ["error", "low", "high", "within_low", "within_high", "beyond_low", "beyond_high"]
    return pd.DataFrame(found, columns=columns).astype(dict.fromkeys(ends, "float64"))


def _settings(table: pd.DataFrame) -> list[str]:
    return varying(finished(table))


def _curves(table: pd.DataFrame, level: float) -> Iterator[_Curve]:
    for setting, part in groups(finished(table), ["subclasses", "read_out", *_settings(table)]):
        if part["labels"].nunique() < 3:
            continue
        by_labels = {str(key["labels"]): seeds for key, seeds in per_seed(part, ["labels"])}
        for samples in SAMPLES:
            errors = {
                labels: {seed["seed"]: seed[f"{samples}_error"] for seed in seeds}
                for labels, seeds in by_labels.items()
            }
            points = [
                _point(labels, told_of(seeds, samples, level=level))
                for labels, seeds in by_labels.items()
            ]
            points = [point for point in points if point["num_seeds"]]
            if points:
                yield _Curve(
                    setting | {"samples": samples}, sorted(points, key=_place), errors, part
                )


def _place(point: dict[str, Any]) -> tuple[bool, str, float, int]:
    """The main series first; by number of labels, and of equal numbers the kind that follows the
    subclasses more closely.
    """
    kinds = (*ON_THE_CURVE, point["kind"])
    return point["series"] != MAIN, point["series"], point["num_labels"], kinds.index(point["kind"])


def _point(labels: str, told: dict[str, Any]) -> dict[str, Any]:
    kind = label_kind(labels)
    return told | {
        "series": MAIN if kind in ON_THE_CURVE else kind,
        "labels": labels,
        "kind": kind,
        "aligned": kind in ALIGNED,
    }


def curve_shape(table: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """What can be said of the shape of each main curve of `curve`: one line per subclasses x
    read-out x setting x samples.

    Columns besides: shape, best (labels of the lowest error; of several, one inside the curve, with
    the fewest labels), best_labels (their number), best_error, tied (all labels of that error),
    coarsest, finest (labels at the ends), coarse, coarse_low, coarse_high, fine, fine_low,
    fine_high (error at that end minus the best's: mean over paired seeds, and Student's interval,
    cut to [-1, 1]), num_seeds, num_points, num_comparisons, agree (all seeds gave exactly the same
    differences, so that an interval has no width and their number alone speaks), seeds_needed (more
    seeds until both would be told; NaN where not identifiable), unequal (constants that are not the
    same along the curve).

    shape: U (the best lies inside, and both ends are worse by intervals that exclude 0), finest or
    coarsest (that end is as good as the best, and the other is worse in this sense), flat (both
    ends are exactly as good as the best), cannot tell, too few label kinds (below 3 on the curve).
    The best was chosen among the points, so intervals are Bonferroni-corrected for the number of
    points less 1 (compare.py says why that is enough).
    """
    import pandas as pd

    settings = _settings(table)
    found = [
        one.where | _shape(one, level)
        for one in _curves(table, level)
        if any(point["series"] == MAIN for point in one.points)
    ]
    columns = [
        "subclasses",
        "read_out",
        *settings,
        "samples",
        "shape",
        "best",
        "best_labels",
        "best_error",
        "tied",
        "coarsest",
        "finest",
    ]
    ends = ["coarse", "coarse_low", "coarse_high", "fine", "fine_low", "fine_high"]
    columns += [
        *ends,
        "num_seeds",
        "num_points",
        "num_comparisons",
        "agree",
        "seeds_needed",
        "unequal",
    ]
    return pd.DataFrame(found, columns=columns).astype(
        dict.fromkeys([*ends, "seeds_needed"], "float64")
    )


def _shape(one: _Curve, level: float) -> dict[str, Any]:
    points = [point for point in one.points if point["series"] == MAIN]
    lowest = min(point["error"] for point in points)
    tied = [point for point in points if point["error"] == lowest]
    inside = [point for point in tied if point is not points[0] and point is not points[-1]]
    best = (inside or tied)[0]
    family = max(1, len(points) - 1)
    gaps = {
        word: _difference(one, end, best, family, level)
        for word, end in (("coarse", points[0]), ("fine", points[-1]))
    }
    shape = _verdict(len(points), points[0] in tied, points[-1] in tied, gaps)
    needs = [
        seeds_needed(gap, level=level, comparisons=family)
        for end, gap in zip((points[0], points[-1]), gaps.values(), strict=True)
        if end not in tied
    ]
    compared = [gap for gap in gaps.values() if gap.num_seeds > 1]
    unequal = _unequal(one.lines[one.lines["labels"].isin([point["labels"] for point in points])])
    return (
        {
            "shape": shape,
            "best": best["labels"],
            "best_labels": best["num_labels"],
            "best_error": lowest,
            "tied": tuple(p["labels"] for p in tied),
        }
        | {
            "coarsest": points[0]["labels"],
            "finest": points[-1]["labels"],
            "num_points": len(points),
            "num_comparisons": family,
            "unequal": unequal,
        }
        | {word: gap.mean for word, gap in gaps.items()}
        | {f"{word}_low": gap.low for word, gap in gaps.items()}
        | {f"{word}_high": gap.high for word, gap in gaps.items()}
        | {
            "num_seeds": min(gap.num_seeds for gap in gaps.values()),
            "agree": bool(compared) and all(gap.sd == 0 for gap in compared),
        }
        | {
            "seeds_needed": None
            if not needs or None in needs
            else max(need for need in needs if need is not None)
        }
    )


def _difference(
    one: _Curve, end: dict[str, Any], best: dict[str, Any], family: int, level: float
) -> Interval:
    left, right = one.errors[end["labels"]], one.errors[best["labels"]]
    gaps = [left[seed] - right[seed] for seed in left.keys() & right.keys()]
    found = t_interval(
        [gap for gap in gaps if not math.isnan(gap)], level=level, comparisons=family
    )
    if found.low is None or found.high is None:
        return found
    return replace(found, low=max(-1.0, found.low), high=min(1.0, found.high))


def _verdict(
    num_points: int, coarsest_tied: bool, finest_tied: bool, gaps: dict[str, Interval]
) -> str:
    if num_points < 3:
        return TOO_FEW
    worse = {word: gap.low is not None and gap.low > 0 for word, gap in gaps.items()}
    if coarsest_tied and finest_tied:
        return FLAT
    if finest_tied:
        return FINEST if worse["coarse"] else UNKNOWN
    if coarsest_tied:
        return COARSEST if worse["fine"] else UNKNOWN
    return U if all(worse.values()) else UNKNOWN


def _unequal(lines: pd.DataFrame) -> tuple[str, ...]:
    return tuple(
        name for name in CONSTANTS if name != "tune_steps" and lines[name].nunique(dropna=False) > 1
    )
