"""Running by steps: which arms get another seed, when it ends, and that a rerun takes the same."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from headwater.analysis import Aim, decide, prepare
from headwater.analysis.adaptive import FIRST_SEEDS, look
from headwater.analysis.evidence import evidence_of
from headwater.errors import InputError
from headwater.facts.decisions import aim_of
from headwater.plan import Plan
from headwater.rows import to_frame
from headwater.steps import Step, journal_path, looks_error, looks_error_of, run_until
from headwater.store import Store
from headwater.study import Study
from tests.analysis.synthetic import one_row
from tests.conftest import Cli, refused, tiny, write_study

MEANS = {"scratch": 0.3, "supervised level:0": 0.60, "supervised level:1": 0.598, "simclr": 0.4}


def words(seeds: int) -> dict[str, Any]:
    return tiny(
        methods=["scratch", "supervised", "simclr"],
        labels=["level:0", "level:1"],
        seeds=seeds,
        protocols={"probe": {}},
    )


class Made:
    """A study whose cells are made up instead of computed: an arm's mean and a little noise."""

    def __init__(self, folder: Path, seeds: int, means: dict[str, float], noise: float) -> None:
        self.store = Store(folder, create=True)
        self.plan = Plan.make(Study.model_validate(words(seeds)), cache=self.store.cache)
        self.means, self.noise, self.ran = means, noise, list[str]()
        self.rows: dict[str, dict[str, Any]] = {}

    def run(self, part: Plan) -> None:
        for cell in part.cells:
            if cell.id in self.rows:
                continue
            self.ran.append(cell.id)
            arm = cell.arm.words
            name = " ".join(filter(None, (arm.method, arm.labels)))
            draw = np.random.default_rng([arm.seed, len(name), *name.encode()]).normal()
            self.rows[cell.id] = one_row(
                cell=cell.id,
                arm=cell.arm.id,
                seed=arm.seed,
                task=cell.words.task,
                protocol="probe",
                value=self.means[name] + self.noise * draw,
                method=arm.method,
                labels=arm.labels,
                source=arm.source,
                seconds=360.0,
            )


@pytest.fixture
def rows_of_a_part(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[Made]]:
    """`Plan.rows` gives what the study in the list has made up."""
    made: list[Made] = []

    def rows(plan: Plan, store: Store) -> pd.DataFrame:
        return to_frame([made[0].rows[cell.id] for cell in plan.cells if cell.id in made[0].rows])

    monkeypatch.setattr(Plan, "rows", rows)
    yield made


def ran(
    made: Made, aim: Aim | None = None, budget_hours: float | None = None
) -> tuple[list[Step], str]:
    steps: list[Step] = []
    last = run_until(
        made.plan,
        made.store,
        aim or Aim(),
        until=0.95,
        budget_hours=budget_hours,
        run=made.run,
        say=steps.append,
    )
    assert last.stop is not None
    return steps, last.stop


def test_seeds_go_to_the_arms_in_doubt_and_the_rest_stops_early(
    tmp_path: Path, rows_of_a_part: list[Made]
) -> None:
    made = Made(tmp_path, 8, MEANS, 0.004)
    rows_of_a_part.append(made)
    steps, stop = ran(made, Aim(tolerance=0.0))
    assert len(steps[0].arms) == 4 and all(len(s) == FIRST_SEEDS for s in steps[0].arms.values())
    for step in steps[1:]:
        assert all("supervised" in name for name in step.arms if name != "scratch"), step
        assert "chances to be the best" in step.reason
    found = evidence_of(to_frame(list(made.rows.values())))
    decision = decide(found, Aim(tolerance=0.0, error=0.0078))
    early = set(decision.stopped_early)
    assert any("simclr" in name for name in early)
    assert "used up" in stop or "decided" in stop


@pytest.mark.slow
def test_no_pre_training_has_the_seeds_of_the_leader(
    tmp_path: Path, rows_of_a_part: list[Made]
) -> None:
    """What the leader is worth is a paired difference: with two seeds of the baseline its interval
    is some twenty points wide.
    """
    made = Made(tmp_path, 8, MEANS, 0.004)
    rows_of_a_part.append(made)
    steps, _ = ran(made, Aim(tolerance=0.0))
    seeds = prepare(to_frame(list(made.rows.values()))).groupby("name")["seed"].nunique()
    assert seeds["scratch"] == seeds.max() > FIRST_SEEDS
    assert all(len(step.arms) > 1 for step in steps), "it is never a step of its own"


def test_a_clear_answer_ends_it_at_once(tmp_path: Path, rows_of_a_part: list[Made]) -> None:
    rows_of_a_part.append(Made(tmp_path, 8, {**MEANS, "supervised level:1": 0.5}, 0.0005))
    steps, stop = ran(rows_of_a_part[0])
    assert len(steps) == 1 and stop.startswith(("decided", "within tolerance"))


def test_a_difference_below_the_tolerance_ends_it(
    tmp_path: Path, rows_of_a_part: list[Made]
) -> None:
    rows_of_a_part.append(Made(tmp_path, 8, MEANS, 0.002))
    _, stop = ran(rows_of_a_part[0], Aim(tolerance=0.03))
    assert stop.startswith("within tolerance")


def test_an_arm_whose_first_seeds_are_far_apart_gets_another_before_it_ends() -> None:
    """Two arms are told well; a third is far below, and its two seeds say little of its noise."""
    values = {
        "level:0": [0.700, 0.702, 0.701, 0.699, 0.700, 0.701],
        "level:1": [0.680, 0.683, 0.681, 0.678, 0.682, 0.681],
        "instance": [0.30, 0.50],
        "random:8": [0.30, 0.301],
    }
    rows = [
        one_row(
            cell=f"{labels}-{seed}", arm=f"{labels}-{seed}", seed=seed, labels=labels, value=value
        )
        for labels, scores in values.items()
        for seed, value in enumerate(scores)
    ]
    seen = look(evidence_of(to_frame(rows)), Aim(tolerance=0.05))
    assert seen.stop is None and "too far apart" in seen.reason
    assert len(seen.arms) == 1 and "instance" in seen.arms[0]


@pytest.mark.slow
def test_no_step_exceeds_the_budget(tmp_path: Path, rows_of_a_part: list[Made]) -> None:
    """A seed of an arm is 0.1 hours for each task."""
    made = Made(tmp_path, 30, MEANS, 0.02)
    rows_of_a_part.append(made)
    steps, stop = ran(made, Aim(tolerance=0.0), budget_hours=1.5)
    assert stop.startswith("the next step would exceed 1.5 hours")
    assert 1.0 < steps[-1].hours <= 1.5


@pytest.mark.slow
def test_what_is_left_of_a_budget_goes_to_all_that_could_be_the_best(
    tmp_path: Path, rows_of_a_part: list[Made], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("headwater.analysis.adaptive._CHANCE", 1.0)  # two arms a look
    near = {"scratch": 0.3, "supervised level:0": 0.60, "supervised level:1": 0.60, "simclr": 0.59}
    aim, runs = Aim(tolerance=0.0), {}
    for budget in (None, 1000.0):
        made = Made(tmp_path / str(budget), 4, near, 0.02)
        rows_of_a_part[:] = [made]
        steps, stop = ran(made, aim, budget)
        assert "used up" in stop
        rows = to_frame(list(made.rows.values()))
        decision = decide(evidence_of(rows), aim)
        assert len(decision.shortlist) == 3
        seeds = prepare(rows).groupby("name")["seed"].nunique()
        runs[budget] = sorted(seeds[list(decision.shortlist)])
    assert runs == {None: [2, 4, 4], 1000.0: [4, 4, 4]}
    assert any("they can still be the best" in step.reason for step in steps)


@pytest.mark.slow
def test_a_rerun_takes_the_same_steps_and_computes_nothing(
    tmp_path: Path, rows_of_a_part: list[Made]
) -> None:
    made = Made(tmp_path, 6, MEANS, 0.01)
    rows_of_a_part.append(made)
    first, _ = ran(made, Aim(tolerance=0.0))
    journal = journal_path(made.store, made.plan.study.study).read_text()
    computed = len(made.ran)
    again, _ = ran(made, Aim(tolerance=0.0))
    assert again == first and len(made.ran) == computed
    assert journal_path(made.store, made.plan.study.study).read_text() == journal
    assert [json.loads(line)["step"] for line in journal.splitlines()] == [
        *range(1, len(first) + 1)
    ]


def test_a_study_run_by_steps_is_decided_as_carefully_as_looks_ask_for(
    tmp_path: Path, rows_of_a_part: list[Made]
) -> None:
    made = Made(tmp_path, 6, MEANS, 0.01)
    rows_of_a_part.append(made)
    assert looks_error(made.store, made.plan.study.study) is None
    assert aim_of(made.plan.study, made.store).error is None
    ran(made)
    assert looks_error(made.store, made.plan.study.study) == pytest.approx(0.0078)
    assert aim_of(made.plan.study, made.store).error == pytest.approx(0.0078)


def test_a_damaged_journal_is_an_error_and_relaxes_no_rule(tmp_path: Path) -> None:
    store = Store(tmp_path, create=True)
    assert looks_error_of(store) is None
    path = journal_path(store, "study")
    path.parent.mkdir()
    path.write_text('{"until": 0.95}\n')
    assert looks_error_of(store) == pytest.approx(0.0078)
    path.write_text('{"until"')
    with pytest.raises(InputError, match="cannot be read as the journal"):
        looks_error_of(store)


def steps_of_equal_arms(rng: np.random.Generator, seeds: int, arms: int) -> str:
    """Why it ends where all arms are equal."""
    rows = [
        one_row(
            cell=f"{s}-{a}", arm=f"{s}-{a}", seed=s, source=f"arm{a}", value=rng.normal(0.5, 0.01)
        )
        for s in range(seeds)
        for a in range(arms)
    ]
    have = dict.fromkeys((f"arm{a}" for a in range(arms)), FIRST_SEEDS)
    while True:
        done = [row for row in rows if row["seed"] < have[row["source"]]]
        seen = look(evidence_of(to_frame(done)), Aim(tolerance=0.0))
        wanted = [name.rpartition(" · ")[2] for name in seen.arms]
        more = [arm for arm in wanted if have[arm] < seeds]
        if seen.stop or not more:
            return seen.stop or ""
        have.update({arm: have[arm] + 1 for arm in more})


@pytest.mark.slow  # benchmarks/adaptive.py has five tables of it
def test_equal_arms_are_seldom_told_by_looking_after_every_seed() -> None:
    rng = np.random.default_rng(2)
    ends = [steps_of_equal_arms(rng, 8, 2) for _ in range(60)]
    assert sum(end.startswith("decided") for end in ends) <= 8  # 5 % of 60; more in 1 % of runs


@pytest.mark.slow
def test_a_real_study_is_run_by_steps(headwater: Cli, tmp_path: Path) -> None:
    study = write_study(tmp_path / "study.yaml", words(3))
    options = ("--device", "cpu", "--engine", "inline", "--quiet", "--until", "0.95")
    code, out, err = headwater("run", study, *options)
    assert code == 0, err
    assert "step 1: ran" in out and "stopped: " in out
    store = tmp_path / "headwater-store"
    lines = (store / "decisions" / "tiny-world.jsonl").read_text().splitlines()
    assert json.loads(lines[-1])["stop"]
    code, again, _ = headwater("run", study, *options)
    assert code == 0 and "nothing to do" not in out and "step 1: ran" in again
    used_up = "used up the study's seeds" in out
    said = (
        "nothing to do: every cell is in the store"
        if used_up
        else "nothing was trained or measured"
    )
    assert said in again and "arms trained" not in again


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--budget", "3h"), "--budget: is for a run by steps; add --until 0.95"),
        (("--until", "0.95", "--budget", "3"), "--budget: '3' is no time"),
        (("--until", "0.95", "--budget", "-3h"), "--budget: '-3h' is no time"),
        (("--until", "2"), "--until"),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    options: tuple[str, ...], said: str, headwater: Cli, tmp_path: Path
) -> None:
    study = write_study(tmp_path / "study.yaml", words(3))
    refused(headwater("run", study, *options), said)
