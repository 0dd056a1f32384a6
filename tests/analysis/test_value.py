"""What a run is worth, against closed forms and against what it then does."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from numpy.typing import NDArray
from scipy import integrate, stats

from headwater.analysis import Aim, Prices, certainty_of, decide
from headwater.analysis.adaptive import look
from headwater.analysis.decision import OPEN
from headwater.analysis.evidence import evidence_of
from headwater.analysis.value import fall_by_seeds, fall_of_regret
from headwater.analysis.words import rate_word
from headwater.rows import to_frame
from tests.analysis.synthetic import one_row

Floats = NDArray[np.float64]
NORMAL = 1e9
"""Degrees of freedom of a normal variable."""


def fall(means: Any, scales: Any, df: Any) -> float:
    worth = fall_of_regret(*(np.array(each, dtype=float) for each in (means, scales, df)))
    assert worth is not None
    return worth


def test_two_normal_arms_are_worth_their_closed_form() -> None:
    """s phi(d / s) - d Phi(-d / s), with the variances of both arms in s."""
    for lead, a, b in ((1.0, 0.8, 0.0), (0.3, 1.0, 2.0), (0.0, 0.0, 1.0), (5.0, 1.0, 1.0)):
        s = np.hypot(a, b)
        wanted = s * stats.norm.pdf(lead / s) - lead * stats.norm.sf(lead / s)
        assert fall([lead, 0.0], [a, b], [NORMAL] * 2) == pytest.approx(wanted, rel=3e-3)


def test_one_moving_arm_of_few_degrees_is_worth_its_integral() -> None:
    for df in (2.0, 3.0, 8.0):
        wanted, _ = integrate.quad(lambda x, df=df: stats.t.sf(x / 0.7, df), 1.0, np.inf)
        assert fall([1.0, 0.0], [0.0, 0.7], [df, df]) == pytest.approx(wanted, rel=3e-3)


def test_several_moving_arms_are_worth_the_mean_of_their_highest() -> None:
    rng = np.random.default_rng(0)
    means, scales = np.array([0.0, -0.3, -0.5, -2.0]), np.array([0.5, 1.0, 0.0, 0.7])
    df = np.array([5.0, 4.0, 9.0, 30.0])
    drawn = means + scales * rng.standard_t(df, size=(400_000, 4))
    highest = drawn.max(axis=1)
    error = highest.std() / len(highest) ** 0.5
    assert abs(fall(means, scales, df) - highest.mean()) < 4 * error


def test_what_has_no_mean_has_no_value_and_what_moves_nothing_none() -> None:
    assert fall_of_regret(np.zeros(2), np.ones(2), np.ones(2)) is None
    assert fall([1.0, 0.0], [0.0, 0.0], [3.0, 3.0]) == 0.0


def certain(seeds: int, arms: int, *, seed: int = 1) -> Any:
    rng = np.random.default_rng(seed)
    return certainty_of((0.5 + 0.01 * rng.normal(size=(seeds, arms)))[None])


def test_endless_seeds_save_all_of_the_expected_regret() -> None:
    """Which `p_best` has from the same posterior in its own way."""
    told = certain(5, 6)
    every = np.ones(6, dtype=bool)
    regret = told.p_best()[1][0, told.best[0]]
    worth = fall_by_seeds(told, every, 10**9)
    few = fall_by_seeds(told, every, 2)
    assert worth == pytest.approx(regret, rel=0.02)
    assert few is not None and 0 < few < regret


@pytest.mark.parametrize(("arms", "near", "more"), [(2, 2, 4), (6, 6, 3), (25, 8, 10)])
def test_the_predicted_fall_of_regret_is_the_realised_one(arms: int, near: int, more: int) -> None:
    """Truths from the posterior; seeds are added to the first arms, and the highest mean chosen."""
    told = certain(4, arms, seed=arms)
    number, rng = 60_000, np.random.default_rng(2)
    seeds, means = told.num_seeds[0], told.means[0]
    run = np.isin(np.arange(arms), np.argsort(-means)[:near])
    of_guard, guard_df = told.variances[0], told.variance_df[0]
    of_all, all_df = told.pooled[0], told.pooled_df[0]
    guard = rng.random((number, 1)) < 0.5
    df = np.where(guard, guard_df, all_df)
    variances = np.where(guard, of_guard, of_all) * df / rng.chisquare(df)
    truth = means + np.sqrt(variances / seeds) * rng.normal(size=(number, arms))
    added = truth + np.sqrt(variances / more) * rng.normal(size=(number, arms))
    after = np.where(run, (seeds * means + more * added) / (seeds + more), means)
    chosen = np.take_along_axis(truth, after.argmax(axis=1)[:, None], axis=1)[:, 0]
    saved = chosen - truth[:, means.argmax()]
    error = saved.std() / number**0.5
    predicted = fall_by_seeds(told, run, more)
    assert predicted is not None
    assert abs(predicted - saved.mean()) < 4 * error and predicted > 5 * error


def rows_of(
    value: Callable[[str, int, str, int], float], *, labels: tuple[str, ...], **changes: Any
) -> list[dict[str, Any]]:
    """Three seeds, two tasks and three draws of each; an hour of training, six minutes a cell."""
    rows = []
    for view in labels:
        for seed in range(3):
            for task in ("birds", "cars"):
                for draw in range(3):
                    cell = f"{view}-{seed}-{task}-{draw}-{changes.get('size')}"
                    known = {"cell": cell, "arm": f"{view}-{seed}-{changes.get('size')}"}
                    known |= {"seed": seed, "task": task, "draw": draw, "labels": view}
                    known |= {"shots": 5, "seconds": 360.0, "pretrain_seconds": 3600.0}
                    number = value(view, seed, task, draw)
                    rows.append(one_row(**known | {"value": number} | changes))
    return rows


def noisy(seed: int, *, own: float, draw: float) -> Callable[[str, int, str, int], float]:
    rng = np.random.default_rng(seed)
    of_seed = own * rng.normal(size=(9, 3))
    of_draw = draw * rng.normal(size=(9, 3, 2, 3))

    def value(view: str, seed: int, task: str, number: int) -> float:
        arm, place = int(view[-1]), ("birds", "cars").index(task)
        return float(0.5 - 0.004 * arm + of_seed[arm, seed] + of_draw[arm, seed, place, number])

    return value


LABELS = ("level:0", "level:1", "level:2")


def test_steps_are_ordered_by_what_they_save_an_hour() -> None:
    rows = to_frame(rows_of(noisy(1, own=0.01, draw=0.02), labels=LABELS))
    decision = decide(rows, Aim(tolerance=0.0, prices=Prices(gpu_hour=4.0)))
    assert decision.confidence == OPEN and decision.best is not None
    runs = {step.kind: step for step in decision.next}
    assert {"seeds", "draws", "tasks"} <= set(runs)
    rates = [step.value_per_hour for step in decision.next if step.value_per_hour is not None]
    assert len(rates) == 3 and rates == sorted(rates, reverse=True)
    for kind in ("seeds", "draws"):  # tasks are of another question: other tasks of this kind
        value, hours = runs[kind].value, runs[kind].hours
        assert value is not None and hours is not None
        assert 0 < value <= decision.expected_regret[decision.best] * 1.02
        assert runs[kind].value_per_hour == pytest.approx(value / hours[0])
        assert runs[kind].value_per_money == pytest.approx(value / hours[0] / 4)
        assert f"It saves {100 * value:.2f} points" in runs[kind].text
    near = len(decision.shortlist)
    assert runs["draws"].hours == (pytest.approx(near * 3 * 2 * 3 * 0.1), None)
    assert runs["tasks"].hours == (pytest.approx(near * 3 * 3 * 0.1), None)
    json.dumps(decision.to_dict(), allow_nan=False)


def test_draws_are_worth_more_where_draws_are_the_noise() -> None:
    for own, draw, first in ((0.0, 0.05, True), (0.02, 0.005, False)):
        rows = to_frame(rows_of(noisy(1, own=own, draw=draw), labels=LABELS))
        steps = [step.kind for step in decide(rows, Aim(tolerance=0.0)).next]
        assert (steps.index("draws") < steps.index("seeds")) == first


def test_everything_is_one_look_and_looks_after_every_seed_have_no_advice() -> None:
    """The number of seeds is the one that `power` says, and the rest runs with them."""
    rows = to_frame(rows_of(noisy(1, own=0.01, draw=0.02), labels=LABELS))
    decision = decide(rows, Aim(tolerance=0.0))
    seeds = next(step for step in decision.next if step.kind == "seeds")
    assert seeds.seeds is not None and seeds.seeds[0] + decision.num_seeds > 10
    for step in decision.next:
        if step.kind in ("draws", "tasks"):
            assert "so that it is one look." in step.text
    stepwise = look(evidence_of(rows), Aim(tolerance=0.0)).decision
    assert {step.kind for step in stepwise.next} <= {"seeds", "drop", "cheapest"}
    assert all(step.value is None for step in stepwise.next)


def test_other_sizes_are_worth_something_only_where_rows_know_how_orders_change() -> None:
    small = rows_of(noisy(3, own=0.01, draw=0.02), labels=LABELS, size="1000", images_seen=1000)
    (alone,) = [s for s in decide(to_frame(small), Aim(tolerance=0.0)).next if s.kind == "size"]
    assert alone.value is None and alone.text.startswith("Whether the order holds at other sizes")
    large = rows_of(noisy(23, own=0.01, draw=0.02), labels=LABELS, size="2000", images_seen=2000)
    both = decide(to_frame(small + large), Aim(tolerance=0.0))
    known = [step for step in both.next if step.kind == "size"]
    assert known and known[0].value is not None and known[0].value > 0
    assert "at that size" in known[0].text and known[0].hours is not None


def test_the_line_of_the_headline_says_the_same_next_steps() -> None:
    rows = to_frame(rows_of(noisy(1, own=0.01, draw=0.02), labels=LABELS))
    decision = decide(rows, Aim(tolerance=0.0))
    assert decision.lines[0].next == decision.next
    assert replace(decision, lines=()) == replace(
        decide(rows, Aim(tolerance=0.0), lines=False), lines=()
    )


def test_every_run_reads_right_wherever_it_stands() -> None:
    """Seeds are spoken of as known only after they were named."""
    places = set()
    for own, draw in ((0.0, 0.05), (0.02, 0.005)):
        steps = decide(to_frame(rows_of(noisy(1, own=own, draw=draw), labels=LABELS))).next
        at = [step.kind for step in steps].index("seeds")
        more = steps[at].seeds
        assert more is not None
        for place, step in enumerate(steps):
            if step.kind not in ("draws", "tasks"):
                continue
            after = ", in the same go as the seeds, so that it is one look."
            before = f", in one go with the {more[0]} more seeds that are advised as well, so"
            assert (after in step.text, before in step.text) == (place > at, place < at)
            places.add(place > at)
    assert places == {True, False}


@pytest.mark.parametrize(
    ("rate", "word"),
    [
        (121.4, "121"),
        (12345.6, "12,346"),
        (9.87, "9.9"),
        (0.0212, "0.021"),
        (0.00001, "less than 0.001"),
    ],
)
def test_a_rate_is_never_a_power_of_ten(rate: float, word: str) -> None:
    assert rate_word(rate) == word
