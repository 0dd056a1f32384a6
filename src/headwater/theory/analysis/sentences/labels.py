"""The error over the number of labels in a sentence: is it a U?"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headwater.analysis.words import count, interval, listed, missing, percent, points
from headwater.theory.analysis import label_curves
from headwater.theory.analysis.label_curves import curve_shape
from headwater.theory.analysis.sentences.answer import Answer, not_in_table, records
from headwater.theory.analysis.settings import at_setting, finished, main_read_out, setting_words
from headwater.theory.analysis.shown import shown_curve

if TYPE_CHECKING:
    import pandas as pd


def curve_answer(table: pd.DataFrame) -> Answer:
    """The shape of the error from coarse over fine labels to one class for each sample."""
    lines = curve_shape(table)
    asked = lines[lines["shape"] != label_curves.TOO_FEW]
    if not len(asked):
        return not_in_table(
            "errors on three kinds of labels or more, from coarse to fine and beyond.", lines
        )
    setting, chosen = shown_curve(asked, table)
    hard_first = records(chosen.sort_values("samples", ascending=False))
    shapes = [f"on {row['samples']} samples {shape_words(row)}" for row in hard_first]
    sentence = (
        f"At {setting_words(setting)}, read-out {main_read_out(asked)}: {'; '.join(shapes)}."
        f"{_unequal(chosen)}{_losses(table, setting, chosen)}"
    )
    return Answer(sentence, lines)


def _unequal(chosen: pd.DataFrame) -> str:
    """Constants that are not the same along the curve."""
    unequal: set[str] = set()
    for names in chosen["unequal"]:
        unequal |= {*names}
    return f" Not the same along the curve: {listed(sorted(unequal), most=9)}." if unequal else ""


def _losses(table: pd.DataFrame, setting: dict[str, Any], chosen: pd.DataFrame) -> str:
    """At which loss training ended, at the ends of the curve and at its best."""
    losses = at_setting(finished(table), setting).groupby("labels")["train_loss"].mean()
    ends = []
    for labels in dict.fromkeys(str(chosen[name].iloc[0]) for name in _ENDS):
        if labels in losses:
            ends.append(f"{losses[labels]:.2g} nats with {labels} labels")
    return f" Training ended at {listed(ends)}."


_ENDS = ("coarsest", "best", "finest")


def shape_words(row: Mapping[Any, Any]) -> str:
    """A line of `curve_shape` in words."""
    parts = [
        f"{row['best']} labels ({row['best_labels']:.0f}) have the lowest error, "
        f"{percent(row['best_error'])}"
    ]
    for side, end in (("coarse", "coarsest"), ("fine", "finest")):
        if row[end] not in row["tied"]:
            parts.append(f"{row[end]} is worse by {points(row[side])} ({_sure(row, side)})")
    if row["agree"]:
        parts.append("every seed gave exactly these differences")
    return f"{'; '.join(parts)}: {_meaning(row)}"


def _sure(row: Mapping[Any, Any], side: str) -> str:
    low, high = row[f"{side}_low"], row[f"{side}_high"]
    return interval(low, high, int(row["num_seeds"]), int(row["num_comparisons"]))


def _meaning(row: Mapping[Any, Any]) -> str:
    needed = ""
    if not missing(row["seeds_needed"]) and row["seeds_needed"] != 0:
        needed = f"; about {count(int(row['seeds_needed']), 'more seed')} could tell"
    coarsest, finest = row["coarsest"], row["finest"]
    meanings = {
        label_curves.U: "it is a U",
        label_curves.FINEST: f"no U: {finest} labels are as good as the best",
        label_curves.COARSEST: f"no U: {coarsest} labels are as good as the best",
        label_curves.FLAT: f"no U: {coarsest} and {finest} labels are exactly as good as the best",
        label_curves.UNKNOWN: f"whether it is a U cannot be told{needed}",
        label_curves.TOO_FEW: "a curve needs three kinds of labels",
    }
    return meanings[row["shape"]]
