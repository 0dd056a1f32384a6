"""Hours of a seed, against sums by hand, and that what rows do not say is not 0."""

from __future__ import annotations

from typing import Any

import pytest

from headwater.analysis import Aim, Prices, decide, evidence_of
from headwater.analysis.prices import costs_of
from headwater.rows import to_frame
from tests.analysis.synthetic import arm_fields, one_row


def rows_of(times: dict[str, list[tuple[float | None, float | None]]]) -> list[dict[str, Any]]:
    """Two cells a seed, of (seconds of pre-training, of each cell) for each seed of an arm."""
    rows = []
    for place, (labels, of_seeds) in enumerate(times.items()):
        scratch = labels == "scratch"
        view = None if scratch else labels
        fields = arm_fields("scratch" if scratch else "supervised", view, 9, "photos")
        fields |= {"source": None} if scratch else {}
        for seed, (trained, seconds) in enumerate(of_seeds):
            for task in ("birds", "cars"):
                of_cell = {"cell": f"{labels}{seed}{task}", "arm": f"{labels}{seed}"}
                known = {"task": task, "seed": seed, "pretrain_seconds": trained}
                value = 0.6 + 0.01 * ((3 * place + 7 * seed) % 5)
                rows.append(
                    one_row(**fields | of_cell | known | {"seconds": seconds, "value": value})
                )
    return rows


def hours(times: dict[str, list[tuple[float | None, float | None]]]) -> dict[str, float | None]:
    found = evidence_of(to_frame(rows_of(times)))
    return {arm.labels or arm.method: found.hours_of(arm) for arm in found.arms}


def test_hours_are_of_seeds_of_which_all_is_known() -> None:
    found = hours(
        {
            "level:0": [(3600, 1800), (7200, 1800), (3600, 1800)],
            "level:1": [(3600, 1800), (None, 1800), (3600, None)],
            "level:2": [(None, 1800)] * 3,
            "level:3": [(3600, None)] * 3,
            "scratch": [(None, 1800)] * 3,
        }
    )
    of_known = {"level:0": 4 / 3 + 1, "level:1": 2.0, "scratch": 1.0}
    assert found == {
        name: pytest.approx(of_known[name]) if name in of_known else None for name in found
    }
    assert len(found) == 5


def test_a_cell_that_failed_without_a_time_hides_no_hours() -> None:
    rows = rows_of({"level:0": [(3600, 1800)] * 3})
    for row in rows:
        if row["task"] == "cars":
            row |= {"status": "failed", "value": None, "seconds": None}
    found = evidence_of(to_frame(rows))
    assert found.hours[0] == pytest.approx(1.5)


def test_steps_without_known_hours_say_so_and_have_no_rate() -> None:
    scores = {"level:0": (0.62, 0.6, 0.61), "level:1": (0.6, 0.595, 0.605)}
    steps = []
    for trained in (3600, None):
        rows = rows_of({"level:0": [(3600, 60)] * 3, "level:1": [(trained, 60)] * 3})
        for row in rows:
            row["value"] = scores[row["labels"]][row["seed"]]
        decision = decide(to_frame(rows), Aim(prices=Prices(gpu_hour=1.0)))
        steps.append(next(step for step in decision.next if step.kind == "seeds"))
    with_hours, step = steps
    assert with_hours.value_per_hour is not None and with_hours.money is not None
    assert (step.hours, step.value_per_hour, step.money) == (None, None, None)
    assert step.value == with_hours.value
    assert "not known" in step.text and "not known" not in with_hours.text


def test_times_beyond_any_number_are_no_cost() -> None:
    found = evidence_of(to_frame(rows_of({"level:0": [(1e306, 1.0)] * 3})))
    costs = costs_of(found.arms, Prices(gpu_hour=1e15), found)
    assert list(costs.values()) == [None]


def test_the_cheapest_of_arms_as_good_is_named_only_where_it_is_known() -> None:
    said = []
    for lost in ((), ("level:1",), ("level:0", "level:1")):
        times: dict[str, list[tuple[float | None, float | None]]] = {
            labels: [(None if labels in lost else hours * 3600, 60)] * 3
            for labels, hours in (("level:0", 2), ("level:1", 1))
        }
        rows = rows_of(times)
        for row in rows:  # equal but for a hundredth of a point
            row |= {"value": 0.6 + 1e-4 * ((row["seed"] + len(row["arm"])) % 3), "n_test": 10**6}
            row["value"] += 1e-4 * (row["labels"] == "level:0") * (row["seed"] % 2)
        (step,) = decide(to_frame(rows)).next
        said.append((step.arms[0].split()[1], "is not known" in step.text))
    assert said == [("level:1", False), ("level:0", True), ("level:0", True)]
