"""Error against the number of labels: is it a U?

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
from headwater.theory.analysis.error_rates import ERROR_COLUMNS, SAMPLES, SHARE_COLUMNS, summary
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
U = "U"
FINEST = "finest"
COARSEST = "coarsest"
FLAT = "flat"
UNKNOWN = "cannot tell"
TOO_FEW = "too few label kinds"
_WHERE = ("subclasses", "read_out")


@dataclass(frozen=True)
class _Curve:
    """The networks of one setting, by labels."""

    where: dict[str, Any]
    """Its subclasses, read_out, settings and samples."""
    points: list[dict[str, Any]]
    """The main series first, in order of num_labels."""
    seeds: dict[str, list[dict[str, Any]]]
    """For each labels the records of `per_seed`."""
    networks: pd.DataFrame

    @property
    def main(self) -> list[dict[str, Any]]:
        """The points from coarse to fine labels and beyond."""
        return [point for point in self.points if point["series"] == MAIN]

    def errors(self, labels: str) -> dict[int, float]:
        """Seed -> error."""
        column = f"{self.where['samples']}_error"
        return {seed["seed"]: seed[column] for seed in self.seeds[labels]}


def curve(table: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """One line per subclasses x read-out x setting x samples (easy, hard) x labels.

    Only where three label kinds or more can be compared. Columns besides: series (`MAIN`, or
    random, random within coarse, shuffle); kind; num_labels (median over seeds); aligned (no label
    holds samples of two subclasses that a coarser one tells apart, nor splits a subclass); and
    those of `errors` from error on.
    """
    import pandas as pd

    lines = [line.where | point for line in _curves(table, level) for point in line.points]
    of_labels = ("series", "labels", "kind", "num_labels", "aligned")
    columns = [*_WHERE, *_settings(table), "samples", *of_labels, *ERROR_COLUMNS]
    return pd.DataFrame(lines, columns=columns).astype(dict.fromkeys(SHARE_COLUMNS, "float64"))


def _settings(table: pd.DataFrame) -> list[str]:
    return varying(finished(table))


def _curves(table: pd.DataFrame, level: float) -> Iterator[_Curve]:
    for setting, networks in groups(finished(table), [*_WHERE, *_settings(table)]):
        if networks["labels"].nunique() < 3:
            continue
        seeds = {str(key["labels"]): records for key, records in per_seed(networks, ["labels"])}
        for samples in SAMPLES:
            points = []
            for labels, records in seeds.items():
                point = _point(labels, summary(records, samples, level=level))
                if point["num_seeds"]:
                    points.append(point)
            if points:
                where = setting | {"samples": samples}
                yield _Curve(where, sorted(points, key=_place), seeds, networks)


def _place(point: dict[str, Any]) -> tuple[bool, str, float, int]:
    """The main series first, then by number of labels.

    Of equal numbers the kind comes first that follows the subclasses more closely.
    """
    kinds = (*ON_THE_CURVE, point["kind"])
    return point["series"] != MAIN, point["series"], point["num_labels"], kinds.index(point["kind"])


def _point(labels: str, error: dict[str, Any]) -> dict[str, Any]:
    kind = label_kind(labels)
    return error | {
        "series": MAIN if kind in ON_THE_CURVE else kind,
        "labels": labels,
        "kind": kind,
        "aligned": kind in ALIGNED,
    }


def curve_shape(table: pd.DataFrame, *, level: float = LEVEL) -> pd.DataFrame:
    """What can be said of the shape of each main curve of `curve`.

    One line per subclasses x read-out x setting x samples. Columns besides:

    shape       U (the best lies inside, and both ends are worse by intervals that exclude 0);
                finest or coarsest (that end is as good as the best, and the other is worse in this
                sense); flat (both ends are exactly as good as the best); cannot tell; too few label
                kinds (below 3 on the curve)
    best        labels of the lowest error; of several, one inside the curve, with the fewest labels
    best_labels (their number), best_error, tied (all labels of that error)
    coarsest, finest    labels at the ends
    coarse, fine        error at that end minus the best's, mean over paired seeds; with _low and
                _high Student's interval, cut to [-1, 1]
    num_seeds, num_points, num_comparisons
    agree       all seeds gave exactly the same differences, so that an interval has no width and
                their number alone speaks
    seeds_needed        more seeds until both would be told; NaN where not identifiable
    unequal     constants that are not the same along the curve

    The best was chosen among the points, so intervals are Bonferroni-corrected for the number of
    points less 1 (headwater.analysis.compare says why that is enough).
    """
    import pandas as pd

    lines = [line.where | _shape(line, level) for line in _curves(table, level) if line.main]
    of_best = ("shape", "best", "best_labels", "best_error", "tied", "coarsest", "finest")
    gaps = ("coarse", "coarse_low", "coarse_high", "fine", "fine_low", "fine_high")
    rest = ("num_seeds", "num_points", "num_comparisons", "agree", "seeds_needed", "unequal")
    columns = [*_WHERE, *_settings(table), "samples", *of_best, *gaps, *rest]
    return pd.DataFrame(lines, columns=columns).astype(
        dict.fromkeys([*gaps, "seeds_needed"], "float64")
    )


def _shape(line: _Curve, level: float) -> dict[str, Any]:
    points = line.main
    coarsest, finest = points[0], points[-1]
    lowest = min(point["error"] for point in points)
    tied = [point for point in points if point["error"] == lowest]
    inside = [point for point in tied if point is not coarsest and point is not finest]
    best = (inside or tied)[0]
    num_comparisons = max(1, len(points) - 1)
    coarse, fine = (
        _difference(line, end["labels"], best["labels"], num_comparisons, level)
        for end in (coarsest, finest)
    )
    needs = []
    for end, gap in ((coarsest, coarse), (finest, fine)):
        if end not in tied:
            needs.append(seeds_needed(gap, level=level, comparisons=num_comparisons))
    known_needs = [need for need in needs if need is not None]
    compared = [gap for gap in (coarse, fine) if gap.num_seeds > 1]
    shape = TOO_FEW
    if len(points) >= 3:
        shape = _verdict(None if coarsest in tied else coarse, None if finest in tied else fine)
    return {
        "shape": shape,
        "best": best["labels"],
        "best_labels": best["num_labels"],
        "best_error": lowest,
        "tied": tuple(point["labels"] for point in tied),
        "coarsest": coarsest["labels"],
        "finest": finest["labels"],
        "coarse": coarse.mean,
        "coarse_low": coarse.low,
        "coarse_high": coarse.high,
        "fine": fine.mean,
        "fine_low": fine.low,
        "fine_high": fine.high,
        "num_seeds": min(coarse.num_seeds, fine.num_seeds),
        "num_points": len(points),
        "num_comparisons": num_comparisons,
        "agree": bool(compared) and all(gap.sd == 0 for gap in compared),
        "seeds_needed": max(known_needs) if needs and len(known_needs) == len(needs) else None,
        "unequal": _unequal(line.networks, [point["labels"] for point in points]),
    }


def _difference(line: _Curve, end: str, best: str, num_comparisons: int, level: float) -> Interval:
    """The error on labels `end` minus that on labels `best`, paired by seed."""
    of_end, of_best = line.errors(end), line.errors(best)
    gaps = [of_end[seed] - of_best[seed] for seed in of_end.keys() & of_best.keys()]
    known = [gap for gap in gaps if not math.isnan(gap)]
    mean = t_interval(known, level=level, comparisons=num_comparisons)
    if mean.low is None or mean.high is None:
        return mean
    return replace(mean, low=max(-1.0, mean.low), high=min(1.0, mean.high))


def _verdict(coarse: Interval | None, fine: Interval | None) -> str:
    """The shape, from how much worse the ends are than the best; None for an end that is tied."""
    if coarse is None and fine is None:
        return FLAT
    for gap in (coarse, fine):
        if gap is not None and (gap.low is None or gap.low <= 0):
            return UNKNOWN
    if fine is None:
        return FINEST
    return COARSEST if coarse is None else U


def _unequal(networks: pd.DataFrame, labels: list[str]) -> tuple[str, ...]:
    """Constants that are not the same on all of these labels; but the steps of tuning, which are 0
    where nothing is tuned.
    """
    compared = networks[networks["labels"].isin(labels)]
    vary = compared[list(CONSTANTS)].nunique(dropna=False) > 1
    return tuple(name for name in CONSTANTS if name != "tune_steps" and vary[name])
