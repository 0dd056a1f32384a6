"""Learning rates as an axis: validation chooses, test scores do not, and the card says what hangs
on it.
"""

from __future__ import annotations

import itertools
import json
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headwater.analysis import decide, evidence_of, prepare, verdict
from headwater.analysis.rates import chosen_rates
from headwater.plan import Plan
from headwater.rows import to_frame
from headwater.study import Study
from tests.analysis.synthetic import one_row
from tests.conftest import tiny

FACTORS = (0.5, 1.0, 2.0)
Scores = dict[tuple[str, float], tuple[float, float]]
"""(source, factor) -> (validation, test)."""


def rows(scores: Scores, seeds: int = 3) -> pd.DataFrame:
    rng, made = np.random.default_rng(0), []
    for (source, factor), (val, test) in scores.items():
        for seed in range(seeds):
            name = f"{source}{factor}{seed}"
            said: dict[str, Any] = {
                "cell": name,
                "arm": name,
                "seed": seed,
                "source": source,
                "labels": "level:0",
                "lr": 0.002 * factor,
                "lr_factor": None if factor == 1 else factor,
                "recipe": json.dumps({"batch": 128, "lr": 0.002 * factor}),
                "val_value": val,
                "value": test + 0.002 * rng.standard_normal(),
            }
            made.append(one_row(**said))
    return to_frame(made)


def grid(best: dict[str, float], test: dict[tuple[str, float], float]) -> Scores:
    pairs = itertools.product(best, FACTORS)
    return {(s, f): (0.8 if f == best[s] else 0.7, test[s, f]) for s, f in pairs}


def test_validation_chooses_the_rate_of_every_arm_and_the_test_does_not() -> None:
    test = {("a", 0.5): 0.60, ("a", 1): 0.65, ("a", 2): 0.70}
    test |= {("b", 0.5): 0.50, ("b", 1): 0.55, ("b", 2): 0.60}
    table = rows(grid({"a": 0.5, "b": 2.0}, test))
    rest, chosen = chosen_rates(prepare(table))
    assert chosen is not None and chosen.factors == FACTORS
    assert sorted(chosen.kept.values()) == [0.5, 2.0]
    kept = rest.groupby("source")["lr"].unique().map(list).to_dict()
    assert kept == {"a": [0.001], "b": [0.004]}, "a is better at 2 on the test, and stays at 0.5"
    assert len(evidence_of(table).arms) == 2


def test_rows_without_such_an_axis_are_as_they_were() -> None:
    table = prepare(rows({("a", 1.0): (0.8, 0.6), ("b", 1.0): (0.8, 0.5)}))
    rest, chosen = chosen_rates(table)
    assert chosen is None and rest is table
    apart = rows({("a", 1.0): (0.8, 0.6), ("a", 2.0): (0.8, 0.5)}).assign(lr_factor=pd.NA)
    assert len(evidence_of(to_frame(apart.to_dict("records"))).arms) == 2, "two rates, no axis"


@pytest.mark.parametrize(
    ("double", "said"),
    [(0.62, "The verdict survives each"), (0.75, "It hangs on the rate: at 2 times")],
)
def test_the_verdict_says_whether_it_survives_other_rates(double: float, said: str) -> None:
    test = {("a", 0.5): 0.66, ("a", 1): 0.70, ("a", 2): 0.68}
    test |= {("b", 0.5): 0.60, ("b", 1): 0.64, ("b", 2): double}
    table = rows(grid({"a": 1.0, "b": 1.0}, test))
    found = verdict(table)
    assert found.source == "a" and decide(table).best is not None
    (sentence,) = (each for each in found.sentences if each.startswith("Learning rate"))
    assert "of 0.5, 1 and 2 times each method's own, chosen on validation" in sentence
    assert said in sentence


def test_rates_are_an_axis_of_a_study_and_the_methods_own_keeps_its_arms() -> None:
    words = tiny(methods=["scratch", "supervised"], lr_factors=[0.5, 1, 2])
    plan = Plan.make(Study.model_validate(words))
    rates = [None if arm.recipe is None else arm.recipe.lr for arm in plan.arms]
    assert rates[0] is None and len(rates) == 4
    assert [rate / rates[2] for rate in rates[1:] if rate and rates[2]] == [0.5, 1, 2]
    own = Plan.make(Study.model_validate(tiny(methods=["scratch", "supervised"])))
    assert {arm.id for arm in own.arms} < {arm.id for arm in plan.arms}
    named = [plan.names(cell)["lr_factor"] for cell in plan.cells]
    assert set(named) == {None, 0.5, 2.0}


def test_a_rate_that_diverged_is_not_chosen_and_spoils_no_choice() -> None:
    scores: Scores = {("a", 0.5): (0.4, 0.43), ("a", 1.0): (0.6, 0.63), ("a", 2.0): (0.9, 0.3)}
    table = rows(scores)
    lost = table["lr_factor"].eq(2.0).fillna(False).astype(bool) & (table["seed"] > 0)
    table.loc[lost, ["status", "reason"]] = ["diverged", "a loss that is not finite"]
    table.loc[lost, ["value", "val_value"]] = pd.NA
    _, chosen = chosen_rates(prepare(table))
    assert chosen is not None and list(chosen.kept.values()) == [1.0]


def test_without_validation_nothing_is_chosen() -> None:
    table = rows({("a", 0.5): (0.4, 0.43), ("a", 1.0): (0.6, 0.63)}).assign(val_value=pd.NA)
    prepared = prepare(to_frame(table.to_dict("records")))
    rest, chosen = chosen_rates(prepared)
    assert chosen is None and rest is prepared
