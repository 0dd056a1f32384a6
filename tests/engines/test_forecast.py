"""When a run will be done: the forecast against runs that are played by hand."""

from __future__ import annotations

import json
import os
import platform
import random
from pathlib import Path

import pytest

from headwater import device
from headwater.cost import Expected, Piece
from headwater.engines import progress
from headwater.engines.forecast import Forecast
from headwater.engines.schedule import NOBODY, Event, Pending, Schedule, Unit, pending
from headwater.plan import Plan
from headwater.store import Store
from headwater.study import Study
from tests.conftest import Finished, tiny


class Clock:
    """Seconds that pass when they are told to."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture(scope="module")
def plan() -> Plan:
    words = tiny(methods=["supervised", "simclr"], seeds=8)
    return Plan.make(Study.model_validate(words))


def seconds_of(
    todo: Pending, *, train: float, simclr: float, probe: float, tune: float
) -> Expected:
    """Equal pieces of each kind, nothing to search for."""
    of_method = {"supervised": train, "simclr": simclr}
    of_protocol = {"probe": probe, "finetune": tune}
    keys = {(cell.arm.id, cell.words.task) for cell in todo.cells}
    return Expected(
        start_s=5.0,
        first=Piece(("first", ""), 4.0),
        arms={
            arm.id: Piece(("train", arm.words.method), of_method[arm.words.method])
            for arm in todo.arms
        },
        opened={key: Piece(("open", key[1]), 1.0) for key in keys},
        searched=dict.fromkeys(keys, ()),
        cells={
            cell.id: Piece(("cell", cell.words.protocol), of_protocol[cell.words.protocol])
            for cell in todo.cells
        },
    )


class Played:
    """A run whose pieces take what `true` says, heard of by a forecast that expects otherwise; on
    one worker, so that the truth is a sum.
    """

    def __init__(self, plan: Plan, expects: dict[str, float], true: dict[str, float]) -> None:
        self.todo = pending(plan, None)
        self.clock = Clock()
        self.forecast = Forecast(self.todo, seconds_of(self.todo, **expects), 1, clock=self.clock)
        self.true = seconds_of(self.todo, **true)
        self.left: list[tuple[float, float]] = []
        """(when, what is said to be left then)"""

    def _pass(self, seconds: float, event: Event) -> None:
        for _ in range(10):
            self.clock.now += seconds / 10
            self.left.append((self.clock.now, self.forecast.left()))
        self.forecast.heard(event)

    def go(self) -> Played:
        self.left.append((self.clock.now, self.forecast.left()))
        self.clock.now += self.true.start_s
        schedule, cold = Schedule(self.todo), True
        while schedule.ready:
            unit = schedule.ready.popleft()
            self.forecast.heard(Event("started", 0, unit, {}))
            self.clock.now += self.true.first.seconds if cold else 0.0
            cold = False
            if unit.task is None:
                whole = self.true.arms[unit.arm.id].seconds
                for step in range(1, 11):
                    self._pass(whole / 10, Event("progress", 0, unit, {"step": step, "steps": 10}))
            else:
                first = self.true.opened[unit.arm.id, unit.task].seconds
                for cell in unit.cells:
                    self._pass(
                        first + self.true.cells[cell.id].seconds,
                        Event("cell", 0, unit, {"cell": cell.id}),
                    )
                    first = 0.0
            self.forecast.heard(Event("finished", 0, unit, {}))
            schedule.finished(unit)
        return self

    def error_after(self, share: float) -> float:
        """Of what was said to be left after this share of the run, against what was."""
        began, ended = self.left[0][0], self.clock.now
        when, said = min(self.left, key=lambda each: abs(each[0] - began - share * (ended - began)))
        return said / (ended - when) - 1


AS_IT_IS = {"train": 20.0, "simclr": 40.0, "probe": 2.0, "tune": 30.0}


def test_what_is_expected_rightly_is_forecast_from_the_first_second(plan: Plan) -> None:
    played = Played(plan, AS_IT_IS, AS_IT_IS).go()
    for share in (0.0, 0.1, 0.5, 0.9):
        assert abs(played.error_after(share)) < 0.05
    assert played.forecast.left() == 0


@pytest.mark.parametrize("factor", [0.5, 3.0])
def test_a_machine_that_is_slower_or_faster_than_expected_is_found_out_in_a_tenth(
    plan: Plan, factor: float
) -> None:
    true = {name: factor * seconds for name, seconds in AS_IT_IS.items()}
    played = Played(plan, AS_IT_IS, true).go()
    assert abs(played.error_after(0.0)) > 0.3
    assert abs(played.error_after(0.1)) < 0.3


def test_one_kind_that_was_expected_wrongly_is_corrected_by_itself(plan: Plan) -> None:
    played = Played(plan, AS_IT_IS, AS_IT_IS | {"tune": 90.0}).go()
    assert abs(played.error_after(0.5)) < 0.15


def test_two_workers_take_half_the_time_and_an_arm_ends_before_the_last(plan: Plan) -> None:
    todo = pending(plan, None)
    one, two = (Forecast(todo, seconds_of(todo, **AS_IT_IS), n, clock=Clock()) for n in (1, 2))
    assert two.left() - 5 == pytest.approx((one.left() - 5) / 2, rel=0.1)
    ends = two.ends()
    assert set(ends) == {arm.id for arm in todo.arms}
    assert min(ends.values()) < two.left() == max(ends.values())


def test_what_is_past_its_time_never_has_nothing_left(plan: Plan) -> None:
    todo, clock = pending(plan, None), Clock()
    forecast = Forecast(todo, seconds_of(todo, **AS_IT_IS), 1, clock=clock)
    unit = Schedule(todo).ready[0]
    forecast.heard(Event("started", 0, unit, {}))
    before = forecast.left()
    clock.now += 500
    left = forecast.unit_left(0)
    assert left is not None and left > 0
    assert forecast.left() > before, "that it is slow says that the rest will be"


def test_events_in_any_order_break_no_forecast(plan: Plan) -> None:
    todo, clock, dice = pending(plan, None), Clock(), random.Random(0)
    forecast = Forecast(todo, seconds_of(todo, **AS_IT_IS), 2, clock=clock)
    units = [Unit(arm) for arm in todo.arms]
    for _ in range(300):
        clock.now += dice.random() * 20
        kind = dice.choice(["started", "progress", "finished", "failed", "died"])
        fields = {"step": dice.randrange(11), "steps": 10}
        forecast.heard(Event(kind, dice.choice([NOBODY, 0, 1]), dice.choice(units), fields))
        assert forecast.left() >= 0


def test_a_forecast_that_takes_long_is_made_anew_in_a_fiftieth_of_the_time(
    plan: Plan, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo, clock, slow_s = pending(plan, None), Clock(), 0.2
    forecast = Forecast(todo, seconds_of(todo, **AS_IT_IS), 1, clock=clock)
    played: list[float] = []
    play = Forecast._play

    def slowly(self: Forecast, now: float) -> dict[str, float]:
        played.append(now)
        clock.now += slow_s
        return play(self, now)

    monkeypatch.setattr(Forecast, "_play", slowly)
    began, schedule = clock.now, Schedule(todo)
    while schedule.ready:
        unit = schedule.ready.popleft()
        forecast.heard(Event("started", 0, unit, {}))
        for _ in range(4):
            clock.now += 1
            assert forecast.left() > 0
        forecast.heard(Event("finished", 0, unit, {}))
        schedule.finished(unit)
        left = forecast.left()
    assert left == 0, "the end is seen at once"
    spent = slow_s * (len(played) - 2)
    assert len(played) > 10 and spent / (clock.now - began) <= 0.02


@pytest.mark.slow
# what other processes are told
def test_every_event_of_a_run_says_what_is_left(tmp_path: Path) -> None:
    from headwater import api

    events: list[Event] = []
    seen: list[int] = []

    def watch(event: Event) -> None:
        events.append(event)
        seen.append(len(list((tmp_path / "store" / "running").glob("*.json"))))

    words = tiny(methods=["scratch"], protocols={"ridge": {"shots": ["full"]}})
    api.run(
        Study.model_validate(words),
        store=tmp_path / "store",
        engine="inline",
        device="cpu",
        watch=watch,
    )
    assert events[0].kind == "expected"
    lefts = [event.fields["left_s"] for event in events]
    assert all(left >= 0 for left in lefts)
    assert lefts[0] > lefts[-1] == 0
    assert set(seen) == {1}
    assert not (tmp_path / "store" / "running").exists(), "gone when the run ends"


def test_what_a_run_says_of_itself_is_what_status_reads(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    todo = pending(plan, None)
    foreseen = Forecast(todo, seconds_of(todo, **AS_IT_IS), 1)
    monkeypatch.setattr(progress, "_forecast", lambda *_: foreseen)
    monkeypatch.setattr(progress, "_WRITE_EVERY_S", -1.0)
    store, compute = Store(tmp_path / "store", create=True), device.resolve("cpu", "fp32")
    with progress.followed(plan, store, todo, compute, 1, lambda event: None) as hear:
        hear(Event("started", 0, Unit(todo.arms[0]), {}))
        (run,) = progress.runs_of(plan, store)
    assert run["left_s"] == pytest.approx(foreseen.left(), abs=30)
    assert run["arms"].keys() == {arm.id for arm in todo.arms}
    assert run["now"][0]["left_s"] == pytest.approx(AS_IT_IS["train"] + 4, abs=10)  # and the first
    assert (run["cells_done"], run["cells"]) == (0, len(todo.cells))


@pytest.mark.parametrize("breaks", ["__init__", "heard", "ends", "unit_left"])
def test_a_forecast_that_fails_is_told_of_once_and_the_run_goes_on(
    breaks: str,
    plan: Plan,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    def fails(*_: object, **__: object) -> None:
        raise KeyError("no such piece")

    monkeypatch.setattr(Forecast, breaks, fails)
    monkeypatch.setattr(progress, "_WRITE_EVERY_S", -1.0)
    store, todo = Store(tmp_path / "store", create=True), pending(plan, None)
    unit, heard = Unit(todo.arms[0]), list[Event]()
    compute = device.resolve("cpu", "fp32")
    with progress.followed(plan, store, todo, compute, 1, heard.append) as hear:
        for kind in ("started", "progress", "finished"):
            hear(Event(kind, 0, unit, {"step": 1, "steps": 2}))
            (run,) = progress.runs_of(plan, store)
            assert run["left_s"] is None and run["cells"] == len(todo.cells)
    assert [event.kind for event in heard] == ["expected", "started", "progress", "finished"]
    assert "left_s" not in heard[-1].fields
    lines = [record.getMessage() for record in caplog.records]
    assert len(lines) == 1 and "how long the rest will take cannot be told" in lines[0]
    assert "no such piece" in lines[0]


def _told(store: Path, **changes: object) -> Path:
    words = {
        "study": "tiny-world",
        "pid": os.getpid(),
        "host": platform.node(),
        "began": 0.0,
        "updated": 1e12,
        "left_s": 60.0,
        "arms": {},
        "arms_done": 1,
        "cells": 9,
        "cells_done": 4,
        "now": [{"worker": 0, "unit": "train x", "left_s": 5.0}],
        **changes,
    }
    path = store / "running" / f"{len(list(store.glob('running/*')))}.json"
    path.parent.mkdir(exist_ok=True)
    path.write_text(json.dumps(words))
    if words["updated"] == 0.0:
        os.utime(path, (0.0, 0.0))
    return path


def test_status_tells_of_runs_that_live_and_of_no_others(
    finished: Finished, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store", create=True)
    plan = Plan.make(Study.load(finished.study))
    _told(store.root)
    _told(store.root, pid=2**22 + 1, left_s=70.0)  # no process has such a number
    _told(store.root, study="another", left_s=80.0)
    _told(store.root, host="elsewhere", updated=0.0, left_s=90.0)
    _told(store.root, left_s="soon")
    (store.root / "running" / "half.json").write_text('{"study": "tiny-wo')
    (store.root / "running" / "list.json").write_text("[1]")
    (run,) = progress.runs_of(plan, store)
    assert 50.0 < run["left_s"] <= 60.0


def test_a_machine_that_others_use_is_expected_to_be_slower(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(progress, "default_workers", lambda device: 4)
    monkeypatch.setattr(os, "cpu_count", lambda: 4)
    for load, slower in ((0.0, 1.0), (2.0, 1.5), (40.0, 4.0)):
        monkeypatch.setattr(progress, "_others", lambda load=load: load)
        assert progress.crowded("cpu", 4) == slower
    assert progress.crowded("cuda", 1) == 1.0
    monkeypatch.setattr(os, "cpu_count", lambda: 64)  # the load is of cores that are not ours
    assert progress.crowded("cpu", 4) == 1.0
