"""Learning curves of any table, as plain values."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

from headwater.analysis.curves import Predictor, checklist, read_curves
from headwater.analysis.curves.tables import MOST_N
from headwater.errors import InputError

MOST_PREDICTIONS = 1000
"""Sizes that one call may ask for."""


def curve_facts(path: Path, predict: Sequence[float], *, better: str | None) -> dict[str, Any]:
    """What the curves of a table (curve, n, score; maybe group, score_se) are at other n.

    predictions: for each curve and n {curve, n, prediction, low, high, form, told, why}, with the
    ends of the 95 % interval of a new measurement, in the table's unit, and fit: how the curve was
    fitted. told: what was left out or taken for granted. Raises InputError for a table that is
    none, and for an n that is not above 0.
    """
    if wrong := [n for n in predict if not 0 < n <= MOST_N]:
        raise InputError(
            f"an n to predict is a number from above 0 to {MOST_N:g}, not {wrong[0]:g}"
        )
    if len(predict) > MOST_PREDICTIONS:
        raise InputError(f"{len(predict):,} n to predict, more than {MOST_PREDICTIONS:,}")
    table = read_curves(path, better=better)
    predictor = Predictor.of(table)
    fits = checklist(predictor)
    told = list(table.told)
    if smoothed := sum(predictor.best_so_far):
        told.append(
            f"{smoothed:,} of {len(predictor.curves):,} curves never go up, with noise that would "
            "make them: their scores are taken for the best so far, and single ones to lie "
            "further off than can be seen"
        )
    return {
        "table": str(path),
        "better": "higher" if table.unit.rising else "lower",
        "best": table.unit.best,
        "curves": len(predictor.curves),
        "hidden": len(predictor.hidden.score),
        "predictions": [one.facts() | {"fit": fits[one.curve]} for one in predictor.at(predict)],
        "told": told,
    }
