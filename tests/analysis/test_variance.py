"""Variance budgets against planted variances, sums by hand, and what each number means."""

from __future__ import annotations

import json
import math
from dataclasses import replace
from typing import Any

import numpy as np
import pandas as pd
import pytest
from numpy.typing import NDArray

from headwater.analysis import Aim, Decision, Evidence, Prices, decide, evidence_of, variance_budget
from headwater.analysis.configurations import Configuration
from headwater.analysis.decision import OPEN
from headwater.analysis.draws import over_draws
from headwater.analysis.evidence import Setting
from headwater.analysis.halving import Budget
from headwater.analysis.moments import by_fitting_constants, by_mean_squares, within_blocks
from headwater.analysis.spent import Repeats, Spent
from headwater.analysis.variance import VarianceBudget
from tests.analysis.synthetic import synthetic_rows

ARMS, SEEDS, TASKS, DRAWS = 4, 3, 3, 5
NAMES = tuple(f"arm{number}" for number in range(ARMS))
NEAR = Decision(OPEN, "arm0", shortlist=NAMES, behind=dict.fromkeys(NAMES, (0.0, 0.0, 0.0)))
"""A decision that leaves every arm in, so that estimates are of no choice."""


def planted(
    rng: np.random.Generator, *, seed: float, draw: float, task: float, shared: float = 0.05
) -> NDArray[np.float64]:
    """Scores [tasks, seeds, draws, arms] with these SDs of arm x seed, draw and task."""
    shape = (TASKS, SEEDS, DRAWS, ARMS)
    scores = 0.5 + shared * rng.normal(size=(TASKS, SEEDS, DRAWS, 1))
    scores = scores + task * rng.normal(size=(TASKS, 1, 1, ARMS))
    scores = scores + seed * rng.normal(size=(1, SEEDS, 1, ARMS))
    noise: NDArray[np.float64] = scores + draw * rng.normal(size=shape)
    return noise


def evidence(draws: NDArray[np.float64], *, step: float = 0.0, **spent: Any) -> Evidence:
    tasks, seeds, _, arms = draws.shape
    cells = {"training": np.full(arms, 1.0), "images": np.full(arms, 1e3), "n_test": np.nan}
    known = cells | {"cells": np.full((tasks, arms), 0.1)} | spent
    known["n_test"] = np.full(tasks, known["n_test"])
    return Evidence(
        arms=tuple(
            Configuration(name, name, name, "supervised", "s", None, None, "tiny", "32")
            for name in NAMES[:arms]
        ),
        seeds=tuple(range(seeds)),
        settings=tuple(Setting(f"task{task}", "probe", 5) for task in range(tasks)),
        scores=over_draws(draws),
        steps=np.zeros(tasks) if np.isnan(known["n_test"][0]) else step / known["n_test"],
        chance=np.zeros(tasks),
        tainted=frozenset(),
        diverged={},
        copies=(),
        hours=np.full(arms, 1.0 + 0.1 * tasks * DRAWS),
        leak_free=frozenset(),
        draws=draws,
        spent=Spent(**known),
    )


def budget_of(found: Evidence, **options: Any) -> VarianceBudget:
    options = {"image_variance": 0.0, "decision": NEAR} | options
    budget = variance_budget(found, **options)
    assert budget is not None
    return budget


def parts(budget: VarianceBudget) -> dict[str, float]:
    return {each.name: each.variance for each in budget.components if each.variance is not None}


def mean_parts(number: int, gaps: bool, **sds: float) -> tuple[dict[str, float], dict[str, float]]:
    """(mean of each component over tables, standard error of that mean)."""
    rng = np.random.default_rng(7)
    found: list[dict[str, float]] = []
    for _ in range(number):
        draws = planted(rng, **sds)
        if gaps:  # two arms lack a seed, one lacks a task in a seed, one some draws
            draws[:, 2, :, 1] = draws[:, 0, :, 2] = np.nan
            draws[0, 1, :, 3] = draws[1, 1, 3:, 0] = np.nan
        found.append(parts(budget_of(evidence(draws))))
    table = pd.DataFrame(found)
    return table.mean().to_dict(), (table.std() / number**0.5).to_dict()


@pytest.mark.slow
@pytest.mark.parametrize("gaps", [False, True])
def test_planted_variances_are_found(gaps: bool) -> None:
    """Of the mean difference: two arms' variances over 3 seeds, 5 draws and 3 tasks."""
    means, errors = mean_parts(120, gaps, seed=0.03, draw=0.03, task=0.04)
    seeds = {"draw": SEEDS, "seed": SEEDS}
    if gaps:  # arm0 has 3 seeds, its rivals 2 (arm3 by a task), in the weighted mean
        seeds = dict.fromkeys(seeds, 2 / (1 / 3 + 1 / 2))
    truth = {
        "seed": 2 * 0.03**2 / seeds["seed"],
        "draw": 2 * 0.03**2 / (seeds["draw"] * DRAWS * TASKS),
        "task": 2 * 0.04**2 / TASKS,
    }
    for name, value in truth.items():
        slack = 0.05 if gaps and name == "draw" else 0.0  # one block has 3 draws of 5
        assert abs(means[name] - value) < 3.5 * errors[name] + slack * value, name


@pytest.mark.slow
@pytest.mark.parametrize("absent", ["seed", "task"])
def test_a_part_that_is_not_there_is_0_half_of_the_time_and_small(absent: str) -> None:
    rng = np.random.default_rng(3)
    sds = {"seed": 0.02, "draw": 0.03, "task": 0.03} | {absent: 0.0}
    found = [parts(budget_of(evidence(planted(rng, **sds)))) for _ in range(100)]
    values = np.array([each[absent] for each in found])
    others = np.array([sum(each.values()) - each[absent] for each in found])
    assert 0.35 < (values == 0).mean() < 0.8
    assert values.mean() < 0.1 * others.mean()


def test_shares_sum_to_1_also_of_real_looking_rows() -> None:
    rng = np.random.default_rng(5)
    made_up = budget_of(evidence(planted(rng, seed=0.01, draw=0.03, task=0.02)))
    rows = variance_budget(synthetic_rows(protocols=("finetune",)))
    assert rows is not None
    for budget in (made_up, rows):
        shares = [each.share for each in budget.components if each.share is not None]
        assert sum(shares) == pytest.approx(1) and min(shares) >= 0
        assert sum(parts(budget).values()) == pytest.approx(budget.variance)
        json.dumps(budget.to_dict(), allow_nan=False)


def test_fitting_constants_is_mean_squares_where_there_is_no_gap() -> None:
    values = np.random.default_rng(1).normal(size=(3, 4, 5))
    fitted, plain = by_fitting_constants(values), by_mean_squares(values)
    assert fitted.residual == pytest.approx(plain.residual)
    assert fitted.effect == pytest.approx(plain.effect)
    assert (fitted.df, fitted.most) == pytest.approx((plain.df, plain.most))


def test_a_block_with_a_gap_has_the_residual_of_its_fit() -> None:
    """Against least squares on explicit dummies."""
    block = np.random.default_rng(2).normal(size=(4, 3))
    block[1, 2] = np.nan
    row, arm = np.nonzero(np.isfinite(block))
    dummies = np.concatenate([np.eye(4)[row], np.eye(3)[arm]], axis=1)
    _, _, rank, _ = np.linalg.lstsq(dummies, block[np.isfinite(block)], rcond=None)
    y = block[np.isfinite(block)]
    fit = dummies @ np.linalg.lstsq(dummies, y, rcond=None)[0]
    found = within_blocks(block[None])
    assert found.df == len(y) - rank
    assert found.mean_square * found.df == pytest.approx(float(((y - fit) ** 2).sum()))


def test_without_answers_test_images_are_bounded_by_their_number() -> None:
    """p (1 - p) / n of both arms, a third of it for each of three tasks of equal weight."""
    draws = np.full((TASKS, SEEDS, DRAWS, ARMS), 0.8)
    draws[..., 0] = 0.9
    draws += 0.2 * np.random.default_rng(4).normal(size=(TASKS, 1, 1, ARMS))  # tasks differ much
    draws = np.clip(draws, 0.05, 0.95)
    draws = draws + 0.001 * np.random.default_rng(4).normal(size=draws.shape)
    found = evidence(draws, n_test=400.0)
    budget = budget_of(found, image_variance=None)
    means = draws.mean(axis=(1, 2))
    own = means * (1 - means) / 400
    bound = float((own[:, 0] + own[:, 1:].mean(axis=1)).sum() / 9)
    assert parts(budget)["test images"] == pytest.approx(bound)
    assert "test images at most" in budget.sentences()[0]
    given = budget_of(found, image_variance=bound / 2)
    assert "at most" not in given.sentences()[0]
    assert parts(given)["task"] == pytest.approx(parts(budget)["task"] + bound / 2)


def test_repeated_cells_tell_fine_tuning_from_draws() -> None:
    rng = np.random.default_rng(8)
    draws = planted(rng, seed=0.02, draw=0.03, task=0.02)
    without = parts(budget_of(evidence(draws)))
    places = np.full(TASKS, float(SEEDS * DRAWS * ARMS))
    repeats = Repeats(squares=0.0004 * places, df=places, places=places)  # each cell twice
    told = parts(budget_of(evidence(draws, repeats=repeats)))
    assert told["fine-tuning"] == pytest.approx(2 * 0.0004 / 2 / (SEEDS * DRAWS * TASKS))
    assert told["draw"] + told["fine-tuning"] == pytest.approx(without["draw"])
    assert told["seed"] == pytest.approx(without["seed"])


BUDGET = Budget(
    seed=4.0,
    seed_by_task=1.0,
    draw=2.0,
    tuning=0.0,
    images=1.0,
    task=2.0,
    num_seeds=3.0,
    num_draws=5.0,
    num_images=100.0,
    num_tasks=2,
    seed_df=8.0,
    task_df=4.0,
)


def test_more_of_each_shrinks_what_it_averages() -> None:
    assert BUDGET.total == 10
    assert BUDGET.with_seeds(6.0).total == pytest.approx(7 / 2 + 3)
    assert BUDGET.with_draws(10.0).total == pytest.approx(5 + 1 + 3)
    assert BUDGET.with_images(200.0).total == pytest.approx(7 + 0.5 + 2)
    assert BUDGET.with_tasks(4).total == pytest.approx(4 + (1 + 2 + 1 + 2) / 2)
    assert BUDGET.on_these().total == 7
    from scipy.stats import t

    df = 10**2 / (7**2 / 8 + 2**2 / 4 + 1**2 / 99)
    assert BUDGET.half() == pytest.approx(t.ppf(0.975, df) * math.sqrt(10))
    assert BUDGET.with_seeds(6.0).seed_df == 20


def test_ways_halve_the_interval_and_one_fewer_does_not() -> None:
    rng = np.random.default_rng(6)
    found = evidence(planted(rng, seed=0.03, draw=0.05, task=0.005), n_test=1000.0)
    budget = budget_of(found, aim=Aim(prices=Prices(gpu_hour=2.0)))
    ways = {way.name: way for way in budget.here.ways}
    assert set(ways) == {"seeds", "draws", "seeds and draws"}
    seeds = ways["seeds"].needed
    assert seeds is not None and ways["seeds"].hours is not None
    more = seeds["seeds"] - SEEDS
    hours_of_a_seed = ARMS * (1.0 + 0.1 * TASKS * DRAWS)
    assert ways["seeds"].hours == pytest.approx(more * hours_of_a_seed)
    assert ways["seeds"].money == pytest.approx(2 * ways["seeds"].hours)
    both = ways["seeds and draws"]
    assert both.needed is not None and both.hours is not None
    extra = both.needed["draws"] - DRAWS
    cells = both.needed["seeds"] * extra * ARMS * TASKS * 0.1
    assert both.hours == pytest.approx((both.needed["seeds"] - SEEDS) * hours_of_a_seed + cells)
    costs = [way.hours for way in ways.values() if way.hours is not None]
    assert budget.here.cheapest is not None and budget.here.cheapest.hours == min(costs)
    # how much is needed, from the parts themselves
    known = parts(budget)
    now = Budget(
        seed=known["seed"],
        seed_by_task=0.0,
        draw=known["draw"],
        tuning=0.0,
        images=0.0,
        task=0.0,
        num_seeds=SEEDS,
        num_draws=DRAWS,
        num_images=None,
        num_tasks=TASKS,
        seed_df=(SEEDS - 1.0) * (ARMS - 1),
        task_df=1.0,
    )
    assert budget.here.half == pytest.approx(now.half())
    assert now.with_seeds(seeds["seeds"]).half() <= now.half() / 2
    assert now.with_seeds(seeds["seeds"] - 1).half() > now.half() / 2


def test_what_cannot_do_it_alone_says_so() -> None:
    rng = np.random.default_rng(9)
    budget = budget_of(evidence(planted(rng, seed=0.05, draw=0.001, task=0.001)))
    ways = {way.name: way for way in budget.here.ways}
    assert ways["draws"].needed is None and ways["draws"].why == "cannot alone"
    one = budget_of(evidence(planted(rng, seed=0.02, draw=0.03, task=0.0)[:1]))
    (task,) = [each for each in one.components if each.name == "task"]
    assert (task.variance, task.note) == (None, "there is one")
    assert "task (there is one)" in one.sentences()[0]


def test_nothing_is_said_where_there_is_no_interval() -> None:
    rows = synthetic_rows(seeds=1, protocols=("finetune",))
    assert variance_budget(rows) is None


def test_rows_know_their_draws_and_a_decision_of_them_is_the_rivals() -> None:
    rows = synthetic_rows(protocols=("finetune",), shots=(5,), noise=0.03)
    decision = decide(rows)
    budget = variance_budget(rows)
    assert budget is not None and budget.leader == decision.best
    assert set(budget.rivals) == {name for name in decision.shortlist if name != decision.best}
    (draw,) = [each for each in budget.components if each.name == "draw"]
    assert draw.number == 2 and draw.variance is not None and draw.variance > 0
    tuned = [each for each in budget.components if each.name == "fine-tuning"]
    assert tuned[0].note == "part of seed and draw, as no cell is repeated"
    assert replace(draw, note="a").most == ""


def test_cells_that_repeat_each_other_are_found_in_rows() -> None:
    """Each cell a second time, 0.02 better: half of 0.02 squared is what repeats differ by."""
    rows = synthetic_rows(
        protocols=("finetune",), shots=(5,), tasks=("birds", "leaves"), failures=False
    )
    rows = rows[rows["subset"] == "all"]
    again = rows.assign(cell=rows["cell"] + "r", value=rows["value"] + 0.02)
    found = evidence_of(pd.concat([rows, again]))
    assert found.spent is not None and found.spent.repeats is not None
    repeats = found.spent.repeats
    assert repeats.df == pytest.approx(repeats.places) and repeats.df.sum() == len(rows)
    assert repeats.squares == pytest.approx(repeats.df * 0.02**2 / 2)
    once = evidence_of(rows)
    assert once.spent is not None and once.spent.repeats is None
    budget = variance_budget(found)
    assert budget is not None and parts(budget)["fine-tuning"] > 0


def test_other_images_and_tasks_never_make_an_interval_narrower() -> None:
    """A part of many degrees of freedom beside seeds of few would lower t by more than it adds."""
    rng = np.random.default_rng(10)
    for turn in range(150):
        seeds, tasks = int(rng.integers(2, 5)), int(rng.integers(1, 4))
        sds = 0.03 * rng.random(3)
        draws = 0.6 + sds[0] * rng.normal(size=(1, seeds, 1, 2))
        draws = draws + sds[1] * rng.normal(size=(tasks, 1, 1, 2))
        draws = draws + 0.2 * sds[2] * rng.normal(size=(tasks, seeds, 1, 2))
        known = None if turn % 3 == 0 else float(10 ** rng.uniform(-7, -2))
        found = evidence(draws, n_test=float(rng.choice([30, 300, 3000])))
        decision = replace(NEAR, shortlist=NAMES[:2])
        budget = budget_of(found, image_variance=known, decision=decision)
        assert budget.anywhere.half >= budget.here.half > 0
        for way in budget.anywhere.ways:
            assert way.needed is None or min(way.needed.values()) > 0


def test_a_large_part_of_images_beside_two_seeds_adds_to_the_interval() -> None:
    """By hand: seeds of one degree of freedom have t 12.7 whatever is beside them."""
    one = replace(BUDGET, seed=1.0, seed_by_task=0.0, draw=0.0, task=0.0, seed_df=1.0)
    for images in (0.0, 0.1, 4.0, 100.0):
        assert replace(one, images=images).half() >= 12.706
    assert replace(one, images=1e4).half() == pytest.approx(1.984 * 100, rel=0.01)  # t of 99


def test_not_knowing_what_images_do_is_never_narrower_than_knowing_it() -> None:
    rng = np.random.default_rng(11)
    decision = replace(NEAR, shortlist=NAMES[:2])
    for _ in range(60):
        sds = 0.03 * rng.random(2)
        draws = (
            0.6 + sds[0] * rng.normal(size=(3, 4, 1, 2)) + sds[1] * rng.normal(size=(3, 1, 1, 2))
        )
        found = evidence(draws, n_test=1000.0)
        bounded = budget_of(found, image_variance=None, decision=decision)
        bound = parts(bounded)["test images"]
        assert sum(parts(bounded).values()) == pytest.approx(bounded.variance)
        for share in (0.0, 0.3, 0.9, 1.0):
            known = budget_of(found, image_variance=share * bound, decision=decision)
            assert bounded.anywhere.half >= known.anywhere.half * (1 - 1e-9)
        ways = {way.name: way for way in bounded.anywhere.ways}
        assert ways["test images"].why == "not known, as their part is a bound"


def test_an_interval_with_a_bound_covers_other_tasks() -> None:
    """Two arms, 3 tasks that differ by an SD of 2 points, 4 seeds, binomial test images: 1,000."""
    rng, number, hits = np.random.default_rng(12), 200, 0
    decision = replace(NEAR, shortlist=NAMES[:2])
    for _ in range(number):
        truth = 0.7 + 0.02 * rng.normal(size=(3, 1, 1, 2))
        drawn = rng.binomial(1000, truth) / 1000 + 0.005 * rng.normal(size=(3, 4, 1, 2))
        budget = budget_of(evidence(drawn, n_test=1000.0), image_variance=None, decision=decision)
        lead = drawn[..., 0].mean() - drawn[..., 1].mean()  # of equal arms
        hits += abs(lead) <= budget.anywhere.half
    assert hits / number >= 0.93


def test_no_noise_is_less_than_rounding_to_a_step() -> None:
    """20 test images, steps of 5 points: seeds that all agree still have step / sqrt(12)."""
    draws = np.full((1, 3, 1, 2), 0.5)
    draws[..., 0] = 0.6
    decision = replace(NEAR, shortlist=NAMES[:2])
    budget = budget_of(evidence(draws, step=1.0, n_test=20.0), decision=decision)
    assert parts(budget)["seed"] == pytest.approx(2 * 0.05**2 / 12 / 3)
    assert budget.here.half == pytest.approx(4.303 * (2 * 0.05**2 / 12 / 3) ** 0.5, rel=1e-3)


def test_test_images_without_a_price_are_not_the_cheapest() -> None:
    draws = planted(np.random.default_rng(13), seed=0.01, draw=0.01, task=0.0)[:1]
    found = evidence(draws, n_test=100.0)
    for prices, known in (
        (Prices(gpu_hour=2.0), False),
        (Prices(gpu_hour=2.0, label={"level:0": 1.0}), False),
        (Prices(gpu_hour=2.0, image=0.5), True),
    ):
        budget = budget_of(found, image_variance=0.01, aim=Aim(prices=prices))
        ways = {way.name: way for way in budget.anywhere.ways}
        images, cheapest = ways["test images"], budget.anywhere.cheapest
        assert images.needed is not None
        more = images.needed["test images"] - 100
        assert images.money == (pytest.approx(0.5 * more) if known else None)
        assert images.money != 0
        assert (cheapest is images) or cheapest is None or cheapest.money is not None


def test_what_is_cheapest_is_not_known_where_hours_are_not() -> None:
    draws = planted(np.random.default_rng(6), seed=0.01, draw=0.08, task=0.0)
    hours = {"cells": np.full((TASKS, ARMS), np.nan)}
    found = replace(evidence(draws, **hours), hours=np.full(ARMS, np.nan))
    here = budget_of(found).here
    assert [way.name for way in here.ways if way.needed] == ["seeds", "draws"]
    assert (here.cheapest, here.words()) == (None, "which way is the cheapest is not known")
    assert all(way.words().endswith("(hours not known)") for way in here.ways)
