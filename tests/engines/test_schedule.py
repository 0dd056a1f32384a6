"""The schedule alone: no process, no file, no study."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from headwater.engines.schedule import REASON_LIMIT, Pending, Schedule, Unit
from headwater.labels import Partition, parse_view
from headwater.plan import Clusters, PlannedArm, PlannedCell
from headwater.study import Arm, Cell


def arm(name: str, needs: PlannedArm | None = None) -> PlannedArm:
    """An arm of a source of its own name; where it needs another, by clusters of its features."""
    words = Arm(method="simclr", source=name, seed=0)
    if needs is None:
        return PlannedArm(name, words)
    parts = Partition(None, np.array([2]), ("a", "b"))
    return PlannedArm(name, words, clusters=Clusters(name, parse_view("cluster:2"), parts, needs))


def cell(name: str, of: PlannedArm, task: str = "birds") -> PlannedCell:
    return PlannedCell(name, Cell(task=task, protocol="probe", shots=None, draw=0), of)


def names(units: object) -> list[tuple[str, str | None]]:
    return [(unit.arm.id, unit.task) for unit in units]  # type: ignore[attr-defined]


def test_cells_of_arms_that_are_there_come_first_then_arms_in_order() -> None:
    old, one, two = arm("old"), arm("one"), arm("two")
    todo = Pending([one, two], [cell("a", one), cell("b", old), cell("c", old, "pets")])
    assert names(Schedule(todo).ready) == [
        ("old", "birds"),
        ("old", "pets"),
        ("one", None),
        ("two", None),
    ]


def test_an_arms_cells_are_ready_when_it_is_trained_and_before_other_arms() -> None:
    one, two = arm("one"), arm("two")
    schedule = Schedule(
        Pending(
            [one, two], [cell("a", one), cell("b", one, "pets"), cell("c", one), cell("d", two)]
        )
    )
    schedule.finished(schedule.ready.popleft())
    assert names(schedule.ready) == [("one", "birds"), ("one", "pets"), ("two", None)]
    assert [measured.id for measured in schedule.ready[0].cells] == ["a", "c"]


def test_arms_wait_for_the_features_that_their_labels_are_made_from() -> None:
    features = arm("features")
    first, other = arm("first", features), arm("other")
    second = arm("second", first)
    schedule = Schedule(
        Pending([other, features, first, second], [cell("a", second), cell("b", first)])
    )
    assert names(schedule.ready) == [("features", None), ("other", None)], "what others need first"
    schedule.finished(schedule.ready.popleft())
    assert names(schedule.ready) == [("other", None), ("first", None)]
    schedule.finished(schedule.ready.pop())
    assert names(schedule.ready) == [("first", "birds"), ("other", None), ("second", None)]


def test_an_arm_whose_features_are_there_waits_for_nothing() -> None:
    assert names(Schedule(Pending([arm("one", arm("there"))], [])).ready) == [("one", None)]


def test_a_failed_arm_takes_along_its_cells_and_all_arms_that_waited_for_it() -> None:
    features = arm("features")
    first = arm("first", features)
    second = arm("second", first)
    cells = [cell("a", first), cell("b", first, "pets"), cell("c", second), cell("d", features)]
    schedule = Schedule(Pending([features, first, second], cells))
    failures = schedule.failed(schedule.ready.popleft(), "OSError: no luck")
    assert [failure.unit.arm.id for failure in failures] == ["features", "first", "second"]
    for failure, ids in zip(failures, ("d", "ab", "c"), strict=True):
        assert [cell.id for cell in failure.cells] == list(ids)
    assert failures[0].reason == "OSError: no luck"
    assert failures[1].reason == (
        "its labels need simclr · features · seed 0, which failed: OSError: no luck"
    )
    assert failures[2].reason.startswith("its labels need simclr · first · seed 0, which failed: ")
    assert failures[2].reason.endswith("OSError: no luck")
    assert not schedule.ready


def test_a_failed_measurement_takes_nothing_along() -> None:
    one = arm("one")
    schedule = Schedule(Pending([], [cell("a", one), cell("b", one, "pets")]))
    (failure,) = schedule.failed(schedule.ready.popleft(), "MemoryError: too big")
    assert [cell.id for cell in failure.cells] == ["a"]
    assert names(schedule.ready) == [("one", "pets")]


def test_reasons_that_pass_through_arms_stay_short() -> None:
    features = arm("features")
    schedule = Schedule(Pending([features, arm("first", features)], []))
    failures = schedule.failed(schedule.ready.popleft(), "x" * REASON_LIMIT)
    assert [len(failure.reason) for failure in failures] == [REASON_LIMIT, REASON_LIMIT]


def test_a_unit_travels_as_plain_values() -> None:
    one = arm("one")
    assert Unit(one, "birds", (cell("a", one),)).message() == {
        "arm": "one",
        "task": "birds",
        "cells": ["a"],
    }


def test_the_schedule_computes_nothing_and_starts_nothing() -> None:
    import headwater.engines.schedule as room

    source = Path(room.__file__ or "").read_text()
    for word in ("subprocess", "threading", "torch", "open("):
        assert word not in source
