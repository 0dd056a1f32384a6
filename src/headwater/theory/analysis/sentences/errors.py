"""Errors in sentences: coarse against fine labels, and the plane of k and noise."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from headwater.analysis.intervals import t_interval
from headwater.analysis.words import count, interval, listed, missing, percent, points
from headwater.theory.analysis.error_rates import errors, phase
from headwater.theory.analysis.sentences.answer import (
    Answer,
    at_words,
    k_word,
    not_in_table,
    records,
)
from headwater.theory.analysis.settings import main_read_out, seed_values, setting_words
from headwater.theory.analysis.shown import shown_errors, shown_phase
from headwater.theory.analysis.transitions import HALF

if TYPE_CHECKING:
    import pandas as pd

_KINDS = ("coarse", "fine")


def errors_answer(table: pd.DataFrame) -> Answer:
    """Coarse and fine labels at the largest k that has both."""
    lines = errors(table)
    setting, chosen = shown_errors(table)
    chosen = chosen[chosen["read_out"] == main_read_out(chosen)]
    if not len(chosen):
        return not_in_table(
            "hard errors of networks on coarse and on fine labels at the same k.", lines
        )
    k = int(chosen["subclasses"].max())
    networks = chosen[chosen["subclasses"] == k]
    rows = {(row["labels"], row["samples"]): row for row in records(errors(networks))}
    left = []
    for labels in _KINDS:
        hard, easy = rows[labels, "hard"], rows[labels, "easy"]
        left.append(
            f"{labels} labels leave {percent(hard['error'])} of hard samples wrong "
            f"({spread_words(hard)}) and {percent(easy['error'])} of easy ones"
        )
    sentence = (
        f"At {setting_words({'subclasses': k} | setting)}, {'; '.join(left)}. "
        f"{_difference(networks)}{_unconverged(networks)}"
    )
    return Answer(sentence, lines)


def _difference(networks: pd.DataFrame) -> str:
    """Coarse minus fine on hard samples, paired by seed."""
    coarse, fine = (
        seed_values(networks[networks["labels"] == labels], "hard_error") for labels in _KINDS
    )
    mean = t_interval((coarse - fine).dropna().tolist())
    low, high = (None if end is None else min(max(end, -1.0), 1.0) for end in (mean.low, mean.high))
    exactly = ", exactly so at each" if mean.sd == 0 else ""
    return (
        f"Coarse minus fine on hard samples: {points(mean.mean)} "
        f"({interval(low, high, mean.num_seeds)}{exactly})."
    )


def _unconverged(networks: pd.DataFrame) -> str:
    unconverged = int((~networks["converged"].astype(bool)).sum())
    if not unconverged:
        return ""
    return (
        f" {count(unconverged, 'network')} of these did not reach the loss at which training ends."
    )


def spread_words(row: Mapping[Any, Any]) -> str:
    """How sure a mean error is, from a line of `errors` or `curve`."""
    seeds = int(row["num_seeds"])
    lost = ""
    if row["num_unmeasured"]:
        lost = f"; {count(int(row['num_unmeasured']), 'seed')} not measured"
    if seeds < 2:
        return f"one seed: no interval{lost}"
    if not row["agree"]:
        return f"95 % interval {percent(row['low'])} to {percent(row['high'])}, {seeds} seeds{lost}"
    within = ""
    if not missing(row["within_low"]):
        within = (
            f", whose test samples leave open {percent(row['within_low'])} to "
            f"{percent(row['within_high'])} for each"
        )
    return f"at every one of {seeds} seeds{within}{lost}"


def phase_answer(table: pd.DataFrame) -> Answer:
    """Where in the plane of k and sigma_star more than half of the hard samples are wrong."""
    lines = phase(table)
    if not len(lines):
        return not_in_table("hard errors at several sigma_star.", lines)
    setting, chosen = shown_phase(lines, table)
    failures = []
    for labels in _KINDS:
        places = chosen[chosen["labels"] == labels]
        if len(places):
            failures.append(f"{labels} labels in {_failures(places)}")
    sentence = (
        f"More than half of the hard samples are told wrongly{at_words(setting)} under "
        f"{'; under '.join(failures)}."
    )
    return Answer(sentence, lines)


def _failures(places: pd.DataFrame) -> str:
    """'3 of 9 places, first at k = 16 at sigma_star = 0.5'."""
    failed = places[places["error"] > HALF]
    words = f"{len(failed)} of {len(places)} places"
    if not len(failed):
        return words
    first = failed.groupby("sigma_star")["subclasses"].min()
    at = [f"k = {k_word(k)} at sigma_star = {sigma:g}" for sigma, k in first.items()]
    return f"{words}, first at {listed(at, most=6)}"
