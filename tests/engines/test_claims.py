"""Several runs on one store: they share the work, whatever is killed."""

from __future__ import annotations

import errno
import json
import os
import random
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import torch

from headwater import api
from headwater.engines import claims
from headwater.engines.claims import Claims, lease_of
from headwater.engines.schedule import Event, Failure, Schedule, Unit, pending
from headwater.errors import InputError, Unreachable, may_pass
from headwater.plan import Plan
from headwater.store import Leases, Store
from headwater.store import leases as leases_room
from headwater.study import Study
from tests.conftest import Finished
from tests.engines.test_kill import assert_same_results

RUN = """
import os, sys
import headwater as hw

def heard(event):
    if event.kind == "started":
        what = f"{event.unit.arm.id}/{event.unit.task or ''}\\n".encode()
        file = os.open(sys.argv[3], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, what)
        os.close(file)

words = {"device": "cpu", "workers": 1, "checkpoint_every_s": 0.05}
hw.run(sys.argv[1], store=sys.argv[2], watch=heard, **words)
"""


def started(study: Path, store: Path, told: Path) -> subprocess.Popen[bytes]:
    """A run in a process group of its own; what it says goes to a file beside `told`."""
    command = [sys.executable, "-c", RUN, str(study), str(store), str(told)]
    with told.with_suffix(".errors").open("ab") as errors:
        return subprocess.Popen(command, start_new_session=True, stderr=errors)


def all_end(runs: Sequence[subprocess.Popen[bytes]], told: Path) -> None:
    for run in runs:
        assert run.wait(300) == 0, told.with_suffix(".errors").read_text()
    assert "Traceback" not in told.with_suffix(".errors").read_text()


@pytest.mark.slow
def test_six_runs_on_one_study_do_its_work_once(finished: Finished, tmp_path: Path) -> None:
    store, told = tmp_path / "store", tmp_path / "told"
    Store(store, create=True)
    all_end([started(finished.study, store, told) for _ in range(6)], told)
    assert_same_results(store, finished.store)
    counts = Counter(told.read_text().split())
    assert sum(counts.values()) == len(counts), counts
    assert not (store / "leases").exists()


@pytest.mark.slow
def test_runs_that_are_killed_cost_at_most_what_each_had(
    finished: Finished, tmp_path: Path
) -> None:
    store, told = tmp_path / "store", tmp_path / "told"
    Store(store, create=True)
    draw, kills = random.Random(0), 0
    runs = [started(finished.study, store, told) for _ in range(3)]
    while kills < 6:
        time.sleep(draw.uniform(2.0, 6.0))
        alive = [place for place, run in enumerate(runs) if run.poll() is None]
        if not alive:
            break
        place = draw.choice(alive)
        os.killpg(runs[place].pid, signal.SIGKILL)
        runs[place].wait()
        kills += 1
        runs[place] = started(finished.study, store, told)
    all_end(runs, told)
    assert kills and assert_same_results(store, finished.store) is None
    counts = Counter(told.read_text().split())
    assert sum(counts.values()) - len(counts) <= kills, counts


@dataclass
class Shared:
    schedule: Schedule
    claims: Claims
    heard: list[Event]
    kept: list[Failure]


@pytest.fixture
def plan(finished: Finished, tmp_path: Path) -> Plan:
    return Plan.make(Study.load(finished.study), cache=tmp_path / "cache")


def shared(plan: Plan, store: Store, leases: Leases) -> Shared:
    schedule, heard = Schedule(pending(plan, store)), list[Event]()
    kept = list[Failure]()
    one = Claims(schedule, store, leases, heard.append, kept.append)
    return Shared(schedule, one, heard, kept)


def taken(one: Shared) -> list[Unit]:
    units = []
    while (unit := one.claims.take()) is not None:
        units.append(unit)
    return units


def test_two_who_take_units_have_none_together(plan: Plan, tmp_path: Path) -> None:
    store = Store(tmp_path / "store", create=True)
    with Leases(store.root / "leases") as mine, Leases(store.root / "leases") as theirs:
        one, other = shared(plan, store, mine), shared(plan, store, theirs)
        first = one.claims.take()
        assert first is not None
        rest = taken(other)
        units = [first, *rest]
        assert sorted(unit.arm.id for unit in units) == sorted(arm.id for arm in plan.arms)
        methods = [unit.arm.words.method for unit in units]
        assert methods == sorted(methods, key=lambda method: method == "scratch"), "longest first"
        assert one.claims.take() is None and one.claims.waits() and other.claims.waits()


def test_what_others_do_is_done_and_what_they_fail_has_failed(
    plan: Plan, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "LOOK_EVERY_S", 0.0)
    store = Store(tmp_path / "store", create=True)
    with Leases(store.root / "leases") as mine, Leases(store.root / "leases") as theirs:
        one, other = shared(plan, store, mine), shared(plan, store, theirs)
        units = taken(other)
        assert one.claims.take() is None
        done, failed = units[0], units[1]
        source = finished.store / "arms" / done.arm.id
        target = store.arms / done.arm.id
        target.parent.mkdir()
        os.symlink(source, target)
        other.claims.give_back(done)
        for cell in other.schedule.cells_of(failed.arm.id):
            row = failed_row(finished, cell.id)
            store.write_rows(cell.id, [row])
        other.claims.give_back(failed)
        unit, *_ = taken(one)
        assert unit.arm.id == done.arm.id and unit.task is not None
        kinds = [(event.kind, event.worker, event.unit.arm.id) for event in one.heard]
        assert ("finished", -1, done.arm.id) in kinds and ("failed", -1, failed.arm.id) in kinds
        (told,) = [event for event in one.heard if event.kind == "failed"]
        assert told.fields["reason"] == "it broke"


def failed_row(finished: Finished, cell_id: str) -> dict[str, Any]:
    """A row of a cell, as if it had failed."""
    row = Store(finished.store).read_cell(cell_id)[0]
    return row | {"status": "failed", "reason": "it broke", "value": None}


def test_cells_that_others_measured_are_left_out_of_a_unit(
    plan: Plan, finished: Finished, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store", create=True)
    (store.root / "arms").symlink_to(finished.store / "arms")
    whole = Store(finished.store)
    with Leases(store.root / "leases") as leases:
        one = shared(plan, store, leases)
        cell = one.schedule.ready[0].cells[0]
        store.write_rows(cell.id, whole.read_cell(cell.id))
        unit = one.claims.take()
        assert unit is not None
        assert {each.id for each in unit.cells} == {
            each.id for each in plan.cells if each.arm.id == unit.arm.id and each.id != cell.id
        }
        assert [event.fields for event in one.heard] == [{"cell": cell.id}]


@pytest.mark.slow
def test_a_run_leaves_no_lease(finished: Finished, tmp_path: Path) -> None:
    api.run(finished.study, store=tmp_path / "store", device="cpu", engine="inline")
    assert not (tmp_path / "store" / "leases").exists()


def test_tasks_of_any_name_have_leases_that_files_can_be_called(plan: Plan) -> None:
    unit = Unit(plan.arms[0], "a/../b: ü", ())
    assert lease_of(unit) != lease_of(Unit(plan.arms[0], "b", ()))
    assert set(lease_of(unit)) <= set("0123456789abcdef-")


def test_what_may_pass_is_tried_again_later_and_its_reason_kept(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claims, "WAIT_S", 0.01)
    store = Store(tmp_path / "store", create=True)
    with Leases(store.root / "leases") as mine, Leases(store.root / "leases") as theirs:
        one, other = shared(plan, store, mine), shared(plan, store, theirs)
        unit = one.claims.take()
        assert unit is not None and one.claims.later(unit, "OSError: the disk was away")
        rest = taken(one)
        assert unit.arm.id not in {each.arm.id for each in rest} and one.claims.waits()
        assert theirs.claim(lease_of(unit))  # it is free meanwhile
        theirs.release(lease_of(unit))
        time.sleep(0.02)
        again = one.claims.take()
        assert again is not None and again.arm.id == unit.arm.id
        tries = 1
        while one.claims.later(again, "OSError: the disk was away"):
            tries += 1
            time.sleep(0.02 * 4**tries)
            again = one.claims.take()
            assert again is not None
        assert tries == claims.TRIES - 1 and not other.heard
    told = [json.loads(line) for line in (store.root / "logs/tries.jsonl").read_text().splitlines()]
    assert len(told) == tries and {each["reason"] for each in told} == {
        "OSError: the disk was away"
    }
    assert {each["unit"] for each in told} == {lease_of(unit)}


def test_cells_are_taken_one_by_one_where_one_of_them_kills_workers(
    plan: Plan, finished: Finished, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store", create=True)
    (store.root / "arms").symlink_to(finished.store / "arms")
    with Leases(store.root / "leases") as leases:
        one = shared(plan, store, leases)
        unit = one.claims.take()
        assert unit is not None and len(unit.cells) > 1
        assert one.claims.parted(unit, "the worker process died")
        parts = [one.claims.take() for _ in unit.cells]
        assert [part and part.cells for part in parts] == [(cell,) for cell in unit.cells]
        assert parts[0] is not None and not one.claims.parted(parts[0], "it died again")


def lose(store: Store, unit: str, mark: str, times: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """So many owners have a unit, and are killed, one after another."""
    with monkeypatch.context() as patch:
        patch.setattr(leases_room, "_is_gone", lambda owner: True)
        for _ in range(times):
            lost = Leases(store.root / "leases", beat_s=3600)
            assert lost.claim(unit, mark)


def test_what_loses_every_worker_fails_and_takes_no_sibling_along(
    plan: Plan, finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store", create=True)
    (store.root / "arms").symlink_to(finished.store / "arms")
    first = Schedule(pending(plan, store)).ready[0]
    mark = str(len(first.cells))
    lose(store, lease_of(first), mark, 2, monkeypatch)
    monkeypatch.setattr(leases_room, "_is_gone", lambda owner: owner.token != mine.owner.token)
    with Leases(store.root / "leases") as mine:
        one = shared(plan, store, mine)
        parts = [one.claims.take() for _ in first.cells]
        assert all(part is not None and len(part.cells) == 1 for part in parts)
        assert {part.cells[0].id for part in parts if part} == {cell.id for cell in first.cells}
        assert not one.kept
    lose(store, lease_of(first), mark, claims.MOST_LOST, monkeypatch)
    with Leases(store.root / "leases") as mine:
        one = shared(plan, store, mine)
        others = taken(one)
        assert others and lease_of(first) not in {lease_of(unit) for unit in others}
        (failure,) = one.kept
        assert failure.cells == first.cells and "4 workers that had it were lost" in failure.reason


def test_an_arm_that_gets_further_each_time_is_no_poison(
    plan: Plan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = Store(tmp_path / "store", create=True)
    arm = plan.arms[0].id
    for step in range(6):
        lose(store, arm, f"step-{step:010}.json", 1, monkeypatch)
    monkeypatch.setattr(leases_room, "_is_gone", lambda owner: owner.token != mine.owner.token)
    with Leases(store.root / "leases") as mine:
        one = shared(plan, store, mine)
        assert arm in {unit.arm.id for unit in taken(one)} and not one.kept
        assert mine.lost(arm) == 1


@pytest.mark.parametrize(
    ("error", "passes"),
    [
        (OSError(errno.EIO, "input/output error"), True),
        (OSError(errno.ENOSPC, "no space"), False),
        (ConnectionResetError(), True),
        (Unreachable("the object store fails"), True),
        (InputError("a wrong word"), False),
        (ValueError("a bug"), False),
        (torch.OutOfMemoryError("CUDA out of memory"), True),
        (MemoryError(), True),
    ],
)
def test_what_may_pass(error: Exception, passes: bool) -> None:
    assert may_pass(error) is passes
