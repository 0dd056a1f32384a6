"""The transition in sentences: the k at which coarse labels fail, and what moves it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headwater.analysis.words import count, missing
from headwater.theory.analysis import transitions
from headwater.theory.analysis.sentences.answer import (
    Answer,
    at_words,
    k_word,
    not_in_table,
    records,
)
from headwater.theory.analysis.settings import at_setting, constant_word, finished, same
from headwater.theory.analysis.shown import shown_transition
from headwater.theory.analysis.transitions import dependence, transition

if TYPE_CHECKING:
    import pandas as pd


def transition_answer(table: pd.DataFrame) -> Answer:
    """The k at which the hard error under coarse labels crosses one half."""
    lines = transition(table)
    asked = lines[lines["answer"].notna() & (lines["answer"] != transitions.ONE_K)]
    if not len(asked):
        return not_in_table("networks on coarse labels at two k or more.", lines)
    setting, chosen = shown_transition(asked, table)
    row = records(chosen)[0]
    others = ""
    if len(asked) > 1:
        others = f" The table has {count(len(asked) - 1, 'other setting')} of the constants."
    sentence = (
        f"With coarse labels{at_words(setting)} the hard error "
        f"{transition_words(row)}.{_expected(table, setting)}{_cautions(row)}{others}"
    )
    return Answer(sentence, lines)


def transition_words(row: Mapping[Any, Any]) -> str:
    """A line of `transition` or `dependence` in words."""
    seeds = count(int(row["num_seeds"]), "seed")
    answer = row["answer"]
    if answer == transitions.CROSSES:
        return f"crosses one half at about k = {k_word(row['transition'])} ({_sure(row, seeds)})"
    if answer == transitions.NEVER:
        return f"stays below one half up to k = {k_word(row['below'])} ({seeds})"
    if answer == transitions.ALREADY:
        return f"is above one half already at the smallest k = {k_word(row['above'])} ({seeds})"
    kinds = {
        "crosses one half": int(row["num_crosses"]),
        "stays below one half": int(row["num_never"]),
        "is above it at the smallest k": int(row["num_already"]),
    }
    shares = [f"{word} at {count(number, 'seed')}" for word, number in kinds.items() if number]
    median = "" if missing(row["median"]) else f"; median k = {k_word(row['median'])}"
    return f"{', '.join(shares)}: no mean{median}"


def _sure(row: Mapping[Any, Any], seeds: str) -> str:
    """How sure a crossing is."""
    if missing(row["low"]):
        gap = f"measured at {k_word(row['below'])} and {k_word(row['above'])} around it"
        return f"{seeds}: no interval; {gap}"
    return (
        f"between {k_word(row['low'])} and {k_word(row['high'])}: 95 % over {seeds}, and what "
        "lies between the measured k"
    )


def _cautions(row: Mapping[Any, Any]) -> str:
    cautions = []
    if row["num_unmeasured"]:
        cautions.append(f"{count(int(row['num_unmeasured']), 'seed')} could not be asked")
    if row["num_returns"]:
        cautions.append(
            f"at {count(int(row['num_returns']), 'seed')} the error falls below one half again at "
            "a larger k"
        )
    if row["num_unconverged"]:
        cautions.append(
            f"{count(int(row['num_unconverged']), 'network')} did not reach the loss at which "
            "training ends"
        )
    return f" Beware: {'; '.join(cautions)}." if cautions else ""


def _expected(table: pd.DataFrame, setting: dict[str, Any]) -> str:
    """Where the mechanism puts the transition.

    Empty where the networks have several alpha or alpha_dagger, or hard samples or wrong labels in
    training.
    """
    networks = at_setting(finished(table), setting)
    constants = networks[["alpha", "alpha_dagger", "hard_share", "label_noise"]].drop_duplicates()
    if len(constants) != 1:
        return ""
    row = constants.iloc[0]
    if not row["alpha_dagger"] > 0 or row[["hard_share", "label_noise"]].any():
        return ""
    return (
        " Our reading of the mechanism expects it near alpha / alpha_dagger = "
        f"{k_word(float(row['alpha'] / row['alpha_dagger']))}: there "
        "a response to the own fine feature that is 1/k of that to "
        "the common one is outweighed by the wrong class's faint common feature."
    )


def dependence_answer(table: pd.DataFrame) -> Answer:
    """The transition at each value of the constants that vary while the others stay."""
    lines = dependence(table)
    if not len(lines):
        return not_in_table(
            "transitions at several values of a constant while the others stay.", lines
        )
    chosen = lines[lines["usual"]] if lines["usual"].any() else lines
    sentences = ["The k at which the hard error under coarse labels crosses one half, by"]
    for (constant, _), series in chosen.groupby(["constant", "others"], sort=False):
        sentences.append(f"{constant}: {_series_words(str(constant), records(series))}.")
    sentences.append(
        "In brackets: octaves of k from the first, with 95 % intervals over paired seeds, "
        f"corrected for {lines['num_comparisons'].iloc[0]} comparisons; told where the interval "
        "excludes 0 and the shift is larger than the steps between measured k."
    )
    more = _num_series(lines) - _num_series(chosen)
    if more:
        sentences.append(f"The table has {more} more series, at other values of the rest.")
    return Answer(" ".join(sentences), lines)


def _num_series(lines: pd.DataFrame) -> int:
    return len(lines[["constant", "others"]].drop_duplicates())


def _series_words(constant: str, rows: list[dict[Any, Any]]) -> str:
    """The transition at each value of a constant, at the base first."""
    ordered = sorted(rows, key=lambda row: not same(row["value"], row["base"]))
    places = []
    for row in ordered:
        value = constant_word(constant, row["value"])
        places.append(f"{_short(row)} at {value}{_octaves(row)}")
    return ", ".join(places)


def _short(row: Mapping[Any, Any]) -> str:
    if row["answer"] == transitions.CROSSES:
        return f"k = {k_word(row['transition'])}"
    if row["answer"] == transitions.SOME:
        return f"some seeds only ({row['num_crosses']} of {row['num_seeds']})"
    if row["answer"] == transitions.NEVER:
        return f"none up to {k_word(row['below'])}"
    return f"already at {k_word(row['above'])}"


def _octaves(row: Mapping[Any, Any]) -> str:
    """How far the transition has moved, in octaves of k."""
    if missing(row["shift"]):
        return ""
    sure = f"{row['shift_low']:+.2f} to {row['shift_high']:+.2f}"
    if missing(row["shift_low"]):
        sure = f"{row['shift_seeds']} paired seed: no interval"
    return f" ({row['shift']:+.2f}; {sure}{', told' if row['told'] else ''})"
