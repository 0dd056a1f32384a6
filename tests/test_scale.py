"""Studies of many cells: ids as ever, the same small work for each cell, and what was said of a
store's rows is said again while nothing changes.
"""

from __future__ import annotations

import cProfile
import pstats
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from headwater import recipes
from headwater.cost import estimate, expected
from headwater.cost.encoder import Measured, recipe_key
from headwater.engines.forecast import Forecast
from headwater.engines.schedule import NOBODY, Event, Pending, Schedule, pending
from headwater.facts import kept
from headwater.plan import Plan
from headwater.registry import PROTOCOLS
from headwater.sources.pixels import RECIPE
from headwater.store import Store
from headwater.study import Study, identity
from tests.test_rows import row


def study(*, draws: int, seeds: int = 2) -> Study:
    world = {"kind": "world", "train": 64, "val": 24, "test": 24, "families": 2, "species": 2}
    return Study.model_validate(
        {
            "study": "many",
            "data": {"paint": world},
            "sources": ["paint"],
            "methods": ["scratch", "supervised", "simclr"],
            "labels": ["level:0", "level:1"],
            "lr_factors": [1, 2],
            "seeds": seeds,
            "budget": {"epochs": 1},
            "tasks": {
                "fine": {"data": "paint"},
                "coarse": {"data": "paint", "labels": "level:1", "cap": True},
                "own": {"data": "paint", "sources": ["paint"]},
            },
            "protocols": {
                "probe": {"shots": [1, 2, "full"], "draws": draws},
                "ridge": {"shots": [1], "draws": draws, "tasks": ["coarse"]},
            },
        }
    )


def measured(plan: Plan) -> Measured:
    keys = {recipe_key(arm): 3e6 for arm in plan.every_arm if arm.recipe is not None}
    return Measured(1e6, 64, 10**5, keys, {}, [], 1000.0, "cpu", None)


def test_the_id_of_a_cell_is_the_digest_of_all_that_its_number_depends_on() -> None:
    plan = Plan.make(study(draws=2))
    assert len(plan.cells) == 14 * (3 * 5 + 2)
    for cell in plan.cells:
        words, task = cell.words, plan.tasks[cell.words.task]
        protocol, said = PROTOCOLS[words.protocol], plan.study.protocols.asked(words.protocol)
        rooms = recipes.versions_of(protocol.rooms_of(said), pixels=RECIPE)
        meaning = {
            "arm": cell.arm.id,
            "task": plan.task_fingerprint(words.task),
            "cap": plan.study.tasks[words.task].cap or None,
            "protocol": protocol.meaning(said, plan.study.protocols, task),
            "shots": words.shots,
            "draw": words.draw,
            "precision": "auto",
            "rooms": rooms | protocol.versions_of(said),
        }
        assert cell.id == identity(meaning)


def test_arms_share_the_words_of_their_cells_and_their_recipes() -> None:
    plan = Plan.make(study(draws=2))
    assert len({id(cell.words) for cell in plan.cells}) == 3 * 5 + 2
    recipes_of = {id(arm.recipe) for arm in plan.arms if arm.recipe is not None}
    assert len(recipes_of) == 2 * 2  # methods by rates, whatever the seeds and labels
    assert [cell for cells in plan.cells_of.values() for cell in cells] == list(plan.cells)


def calls(work: Callable[[], Any]) -> int:
    """Functions that are called, Python's own among them: what a clock would say, without its
    noise.
    """
    profile = cProfile.Profile()
    profile.runcall(work)
    return pstats.Stats(profile).total_calls  # type: ignore[attr-defined, no-any-return]


def test_a_cell_more_is_a_few_calls_more() -> None:
    def worked(seeds: int) -> tuple[int, int]:
        made: list[Plan] = []

        def work() -> None:
            plan = Plan.make(study(draws=50, seeds=seeds))
            todo = pending(plan, None)
            estimate(plan, todo.arms, todo.cells, measured(plan), workers=2)
            pieces = expected(plan, todo.arms, todo.cells, measured(plan))
            Forecast(todo, pieces, 2).left()
            made.append(plan)

        return calls(work), len(made[0].cells)

    worked(1)  # what is loaded and made once
    (few, of_few), (many, of_many) = worked(1), worked(5)
    assert of_many == 5 * of_few == 5 * 7 * (3 * 101 + 50)
    # digest, cell, schedule and forecast; an arm more is a few thousand
    assert (many - few) / (of_many - of_few) < 25


def test_an_event_of_a_unit_of_many_cells_is_as_little_work_as_of_few() -> None:
    def worked(draws: int) -> float:
        plan = Plan.make(study(draws=draws, seeds=1))
        todo = pending(plan, None)
        todo = Pending([], [cell for cell in todo.cells if cell.arm is plan.arms[0]])
        forecast = Forecast(todo, expected(plan, [], todo.cells, measured(plan)), 1)
        unit = Schedule(todo).ready[0]
        forecast.heard(Event("started", 0, unit, {}))
        forecast.left()

        def work() -> None:
            for cell in unit.cells:
                forecast.heard(Event("cell", 0, unit, {"cell": cell.id}))
                assert forecast.unit_left(0) is not None

        return calls(work) / len(unit.cells)

    assert worked(200) < 1.5 * worked(20)


def test_what_is_left_of_a_unit_is_the_sum_of_its_cells() -> None:
    plan = Plan.make(study(draws=5, seeds=1))
    cells = [cell for cell in plan.cells if cell.arm is plan.arms[0]]
    todo, now = Pending([], cells), [0.0]
    pieces = expected(plan, [], todo.cells, measured(plan))
    forecast = Forecast(todo, pieces, 1, clock=lambda: now[0])
    unit = Schedule(todo).ready[0]
    forecast.heard(Event("started", 0, unit, {}))
    begun = pieces.first.seconds + pieces.opened[unit.arm.id, str(unit.task)].seconds
    whole = sum(pieces.cells[cell.id].seconds for cell in unit.cells)
    assert forecast.unit_left(0) == pytest.approx(begun + whole)
    forecast.heard(Event("finished", NOBODY, Schedule(todo).ready[1], {}))
    for cell in unit.cells[::-1]:  # in whatever order they are told
        now[0] += 1e-9
        forecast.heard(Event("cell", 0, unit, {"cell": cell.id}))
    assert forecast.unit_left(0) == 0


def test_what_was_said_of_rows_is_said_again_until_something_changes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(kept, "LEAST", 1)
    monkeypatch.setattr(kept, "_SETTLED_S", 0.0)
    store, plan, made = Store(tmp_path / "store", create=True), Plan.make(study(draws=2)), [0]

    def make() -> dict[str, Any]:
        made[0] += 1
        return {"done": made[0]}

    def said(of: Plan = plan) -> int:
        return int(kept.said(of, store, make)["done"])

    store.write_rows("c", [row()])
    assert (said(), said()) == (1, 1)
    assert said(Plan.make(study(draws=3))) == 2  # another study
    store.write_rows("d", [{**row(), "cell": "d"}])
    assert (said(), said()) == (3, 3)

    for path in (store.cache / "said").glob("*.json"):
        path.write_text(path.read_text().replace('"done": 3', '"done": 9'))
    assert said() == 4  # a damaged file says nothing
    monkeypatch.setattr(kept, "_SETTLED_S", 3600.0)
    assert (said(), said()) == (5, 6)  # the folder changed just now, and may again


@pytest.mark.slow
def test_the_benchmark_measures_plans_and_stores_of_a_hundredth() -> None:
    """In a process of its own: Linux counts what this one holds to the memory of its children."""
    root = Path(__file__).parents[1]
    command = [sys.executable, str(root / "benchmarks" / "scale.py"), "--share", "0.01"]
    done = subprocess.run(command, cwd=root, capture_output=True, text=True, check=False)
    assert "Traceback" not in done.stderr, done.stderr
    lines = done.stdout.splitlines()
    rows = [line for line in lines if line.startswith("| ") and line[2] not in "-|"]
    took = [line.split(" | ") for line in rows if " s " not in line]
    assert len(took) == 4 + 2 * 9 and all(0 < float(row[2]) < 100 for row in took)
    assert max(float(row[3].strip(" |").replace(",", "")) for row in took[:4]) < 2000
