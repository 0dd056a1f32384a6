"""The local engine against workers that misbehave.

The workers here are ten lines without torch, so what they do is known.
"""

from __future__ import annotations

import sys
from pathlib import Path

import pytest

from headwater import api
from headwater.engines import engine as engines
from headwater.engines import local, schedule
from headwater.errors import InputError
from headwater.plan import Plan
from headwater.store import Store
from headwater.study import Study
from tests.conftest import tiny

WORKER = """
import json, os, signal, sys, time
def tell(**words):
    sys.stdout.write(json.dumps(words) + "\\n"); sys.stdout.flush()
def notes(name):
    return os.path.join(os.environ["HEADWATER_TEST_NOTES"], name)
def first(name):
    try: os.close(os.open(notes(name), os.O_CREAT | os.O_EXCL))
    except FileExistsError: return False
    return True
setting = json.loads(sys.stdin.readline())
START
tell(event="ready")
for line in sys.stdin:
    unit = json.loads(line)
    UNIT
"""


@pytest.fixture(name="engine")
def workers_that(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a study of two arms with workers that do `start` when they start and `unit` with each
    unit; gives (store, events).
    """
    from headwater import models

    store = Store(tmp_path / "store", create=True)
    words = Study.model_validate(tiny(methods=["scratch"], seeds=2, protocols={"probe": {}}))
    plan = Plan.make(words, cache=store.cache)
    monkeypatch.setenv("HEADWATER_TEST_NOTES", str(tmp_path))
    monkeypatch.setattr(models, "build_encoder", lambda *args, **words: None)

    def run(
        unit: str, *, start: str = "pass", workers: int = 1
    ) -> tuple[Plan, Store, list[schedule.Event]]:
        monkeypatch.setattr(
            local,
            "COMMAND",
            (sys.executable, "-c", WORKER.replace("START", start).replace("UNIT", unit)),
        )
        events: list[schedule.Event] = []
        engines.run(plan, store, device="cpu", workers=workers, watch=events.append)
        return plan, store, events

    return run


def kinds(events: list[schedule.Event]) -> list[str]:
    return [event.kind for event in events]


@pytest.mark.parametrize("workers", [1, 2])
def test_an_arm_is_trained_before_its_cells_are_measured(engine, workers: int) -> None:
    _, store, events = engine("tell(event='finished')", workers=workers)
    assert kinds(events)[0] == "expected", "how long it will take is told first"
    del events[0]
    assert kinds(events).count("started") == kinds(events).count("finished") == 4
    for arm in {event.unit.arm.id for event in events}:
        assert [(e.unit.task, e.kind) for e in events if e.unit.arm.id == arm] == [
            (None, "started"),
            (None, "finished"),
            ("other", "started"),
            ("other", "finished"),
        ]
    assert not store.failed_cells()


def test_a_unit_that_fails_is_a_failed_row_with_its_reason_and_the_others_go_on(engine) -> None:
    plan, store, events = engine(
        "tell(event='failed', reason='OSError: no luck') if first('failed') else "
        "tell(event='finished')"
    )
    assert kinds(events).count("failed") == 1
    assert len(store.failed_cells()) == 1
    rows = plan.rows(store)
    assert rows["reason"].tolist() == ["OSError: no luck"]
    assert rows["value"].isna().all()
    assert rows["attempt"].tolist() == [1]
    assert len(schedule.pending(plan, store).cells) == 2, "a failed cell is tried again"
    engine("tell(event='failed', reason='OSError: again')")
    assert sorted(plan.rows(store)["attempt"]) == [1, 2]


def test_a_worker_that_dies_in_a_unit_is_replaced_and_the_unit_tried_again(engine) -> None:
    _, store, events = engine("os._exit(9) if first('died') else tell(event='finished')")
    assert kinds(events).count("died") == 1
    assert kinds(events).count("finished") == 4
    assert not store.failed_cells()


@pytest.mark.parametrize("workers", [1, 2])
def test_a_unit_whose_workers_always_die_fails_with_the_exit_code(engine, workers: int) -> None:
    plan, store, events = engine("os._exit(9)", workers=workers)
    assert kinds(events).count("died") == 4
    assert len(store.failed_cells()) == 2
    assert plan.rows(store)["reason"].str.contains(r"died 2 times \(last exit code 9").all()


def test_half_a_line_from_a_dying_worker_is_not_waited_for(engine) -> None:
    _, store, events = engine(
        "(sys.stdout.write('{\"event\": \"fin'), sys.stdout.flush(), os._exit(1)) if first('half') "
        "else tell(event='finished')"
    )
    assert kinds(events).count("died") == 1
    assert not store.failed_cells()


@pytest.mark.slow
def test_a_worker_that_dies_before_it_is_ready_is_tried_once_more(engine) -> None:
    _, _, events = engine("tell(event='finished')", start="os._exit(1) if first('start') else None")
    assert kinds(events).count("finished") == 4
    for workers in (1, 2):
        with pytest.raises(InputError, match=r"could not start \(exit code 3\); see .*\.log"):
            engine("pass", start="os._exit(3)", workers=workers)


STARTS = """
number = next(n for n in range(99) if first(f"start{n}"))
if number in (2, 3): os.kill(os.getpid(), signal.SIGKILL)
waits_for = ["start3", "start4"]
def do():
    if number == 1: os.kill(os.getpid(), signal.SIGKILL)
    while number == 0 and waits_for and not os.path.exists(notes(waits_for[0])): time.sleep(0.01)
    del waits_for[:1]
    tell(event="finished")
"""


def test_a_worker_killed_and_twice_its_replacement_as_it_starts_end_nothing(engine) -> None:
    """Of two workers the second is killed in a unit, and two more in its place before they are
    ready. The first works on, and once it has finished a unit a third is tried, which lives.
    """
    _, store, events = engine("do()", start=STARTS, workers=2)
    assert kinds(events).count("died") == 1
    assert kinds(events).count("finished") == 4
    assert not store.failed_cells()


def test_what_a_worker_refuses_is_an_input_error_of_the_run(engine) -> None:
    with pytest.raises(InputError, match=r"^data\.photos: gone$"):
        engine("pass", start="tell(event='refused', reason='data.photos: gone'); sys.exit()")


def test_pending_is_what_the_store_lacks(finished) -> None:
    plan, store = api.make_plan(finished.study, store=finished.store), Store(finished.store)
    assert schedule.pending(plan, store) == schedule.Pending([], [])
    empty = Store(finished.store.parent / "empty", create=True)
    todo = schedule.pending(plan, empty)
    assert len(todo.arms) == 4
    assert len(todo.cells) == 16
