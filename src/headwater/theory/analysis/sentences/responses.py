"""Responses of neurons in sentences: fine features against common ones, and which come first."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headwater.analysis.words import count, listed, missing, percent
from headwater.theory.analysis.responses import gradual, response_exponent, response_ratio
from headwater.theory.analysis.sentences.answer import Answer, at_words, not_in_table, records
from headwater.theory.analysis.settings import label_kind, setting_words
from headwater.theory.analysis.shown import shown_course, shown_ratio

if TYPE_CHECKING:
    import pandas as pd


def ratio_answer(table: pd.DataFrame) -> Answer:
    """How the ratio of fine to common responses falls with k under coarse labels."""
    ratios, fits = response_ratio(table), response_exponent(table)
    fits = fits[fits["exponent"].notna() & (fits["num_k"] > 2)]
    if not len(fits):
        return not_in_table(
            "responses of networks on coarse labels at three k or more, above 0.", ratios
        )
    setting, chosen = shown_ratio(fits, table)
    left_out = int(chosen["num_left_out"].max())
    caution = ""
    if left_out:
        caution = (
            f" {count(left_out, 'ratio')} of 0 or less, or without a response to the common "
            "feature, could enter no fit."
        )
    falls = "; ".join(exponent_words(row) for row in records(chosen))
    sentence = (
        f"Under coarse labels{at_words(setting)} the ratio of the response to fine features to "
        f"that to common ones goes {falls}.{caution}"
    )
    return Answer(sentence, ratios)


def exponent_words(row: Mapping[Any, Any]) -> str:
    """A line of `response_exponent` in words."""
    seeds = count(int(row["num_seeds"]), "seed")
    sure = [f"{seeds}: no interval"]
    if not missing(row["low"]):
        inside = "" if row["low"] <= 1 <= row["high"] else "not "
        sure = [
            f"95 % interval of the exponent {row['low']:.2f} to {row['high']:.2f}, {seeds}",
            f"1/k is {inside}inside",
        ]
    if not missing(row["r2"]):
        sure.append(
            f"the line explains {percent(row['r2'])} of the spread in logs, and no ratio is off it "
            f"by more than a factor {row['worst']:.2f}"
        )
    return (
        f"as 1 / k^{row['exponent']:.2f} over k = {row['from_k']} to {row['to_k']} "
        f"({'; '.join(sure)})"
    )


def gradual_answer(table: pd.DataFrame) -> Answer:
    """When responses to common and to fine features have made half of their way."""
    lines = gradual(table)
    courses = lines[lines["read_out"].isna()]
    if not len(courses):
        return not_in_table("looks at networks during training.", lines)
    setting, chosen = shown_course(courses, table)
    kinds = sorted(chosen["labels"].unique(), key=lambda word: (label_kind(word) != "coarse", word))
    courses_words = [
        f"under {labels} labels {_halves(chosen[chosen['labels'] == labels])}" for labels in kinds
    ]
    sentence = (
        "Mean response of neurons to their own class's features over seeds, at "
        f"{setting_words(setting)}: {'; '.join(courses_words)}."
    )
    return Answer(sentence, lines)


def _halves(courses: pd.DataFrame) -> str:
    halves = []
    for feature in ("common", "fine"):
        course = courses[courses["quantity"] == f"{feature}_aligned_mean"]
        halves.append(f"that to {feature} features {_half_risen(course)}")
    return listed(halves)


def _half_risen(course: pd.DataFrame) -> str:
    """When a mean response has made half of its way, and where it ends.

    Courses are few points, and so is the answer.
    """
    if not len(course):
        return "was not looked at twice"
    steps, means = course["steps"].tolist(), course["mean"].tolist()
    start, end = float(means[0]), float(means[-1])
    if end <= start:
        return f"does not grow (it ends at {end:.2g})"
    half = (start + end) / 2
    step = next(step for step, mean in zip(steps, means, strict=True) if mean >= half)
    return f"is half risen by step {step} (it ends at {end:.2g})"
