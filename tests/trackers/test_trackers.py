"""Trackers are told of curves and rows, and never stop a run."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from headwater import trackers
from headwater.engines.schedule import Event, Unit
from headwater.errors import InputError
from headwater.plan import Plan
from headwater.store import Store
from headwater.study import Study
from headwater.trackers import Tracker, tracker
from headwater.trackers.feed import arm_name
from tests.conftest import Cli, Finished, refused
from tests.needs import needs_tensorboard


class Fake(Tracker):
    """Remembers what it is told; `breaks` raises instead."""

    told: list[tuple[Any, ...]]
    breaks = False
    last: Fake

    def __init__(self, study: str, where: str) -> None:
        self.told = [("opened", study, where)]
        Fake.last = self

    def numbers(self, arm: str, step: int, values: Mapping[str, float]) -> None:
        self._hear("numbers", arm, step, dict(values))

    def score(self, arm: str, name: str, value: float) -> None:
        self._hear("score", arm, name, value)

    def close(self) -> None:
        self._hear("closed")

    def _hear(self, *what: Any) -> None:
        self.told.append(what)
        if self.breaks:
            raise OSError(28, "No space left on device")


@pytest.fixture
def fake(monkeypatch: pytest.MonkeyPatch) -> type[Fake]:
    module = ModuleType("headwater.trackers.fake")
    module.Fake = Fake  # type: ignore[attr-defined]
    monkeypatch.setitem(sys.modules, module.__name__, module)
    monkeypatch.setitem(tracker.TRACKERS, "fake", "Fake")
    monkeypatch.setattr(Fake, "breaks", False)
    return Fake


def events_of(plan: Plan) -> list[Event]:
    """What a run of a plan would have said: of every arm, that it is trained, and its cells."""
    events = []
    for arm in plan.arms:
        cells = tuple(cell for cell in plan.cells if cell.arm is arm)
        events += [Event("finished", 0, Unit(arm), {})] * 2
        unit = Unit(arm, cells[0].words.task, cells)
        events += [Event("cell", 0, unit, {"cell": cell.id}) for cell in cells]
    return events


def told(words: list[str], finished: Finished) -> list[tuple[Any, ...]]:
    plan, store = Plan.make(Study.load(finished.study)), Store(finished.store)
    with trackers.tracked(words, plan, store) as watch:
        for event in events_of(plan):
            watch(event)
    return Fake.last.told


def test_a_tracker_hears_every_point_of_every_curve_once_and_every_row(
    fake: type[Fake], finished: Finished
) -> None:
    heard = told(["fake:there"], finished)
    plan, store = Plan.make(Study.load(finished.study)), Store(finished.store)
    assert heard[0] == ("opened", "tiny-world", "there")
    assert heard[-1] == ("closed",)
    for arm in plan.arms:
        path = store.arm_folder(arm.id) / "metrics.jsonl"
        lines = path.read_text().splitlines() if path.exists() else []
        points = [each for each in heard if each[:2] == ("numbers", arm_name(arm))]
        assert len(points) == len(lines), "each once, though it was told twice that it is done"
        assert all({"loss", "lr", "images"} <= set(point[3]) for point in points)
    rows = plan.rows(store)
    scores = [each for each in heard if each[0] == "score"]
    assert len(scores) == len({each[1:3] for each in scores}) == len(rows)
    top1 = rows[(rows["metric"] == "top1") & (rows["shots"] == 3) & (rows["draw"] == 1)].iloc[0]
    assert ("other/probe/3 shots/draw 1/top1", top1["value"]) in {each[2:] for each in scores}


def test_a_tracker_that_fails_is_told_of_once_and_left_out(
    fake: type[Fake],
    finished: Finished,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    monkeypatch.setattr(fake, "breaks", True)
    heard = told(["fake"], finished)
    assert len(heard) == 2, "opened, then the call that failed"
    lines = [record.getMessage() for record in caplog.records]
    assert lines == [
        "tracker fake: failed (OSError: [Errno 28] No space left on device); the run goes on "
        "without it"
    ]


def test_what_cannot_be_read_is_told_once_of_a_unit_however_many_cells_it_has(
    fake: type[Fake],
    finished: Finished,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    plan, store = Plan.make(Study.load(finished.study)), Store(finished.store)

    def unreadable(cell: str) -> list[dict[str, Any]]:
        raise OSError(5, "Input/output error", cell)

    monkeypatch.setattr(store, "read_cell", unreadable)
    events = [event for event in events_of(plan) if event.kind == "cell"]
    with trackers.tracked(["fake"], plan, store) as watch:
        for event in events:
            watch(event)
    units = {event.unit.title for event in events}
    lines = [record.getMessage() for record in caplog.records]
    assert len(events) > len(units) == len(lines) == len(set(lines))
    assert all(line.startswith("trackers: not told of ") for line in lines)


def test_no_tracker_is_imported_unless_it_is_asked_for() -> None:
    assert not {"tensorboard", "trackio", "mlflow", "wandb"} & set(sys.modules)


def test_a_tracker_that_is_none_is_refused_with_the_nearest(
    finished: Finished, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store", create=True)
    with pytest.raises(InputError, match="did you mean 'tensorboard'"):
        tracker.opened("tensorbord", "study", store.root)


@pytest.mark.parametrize("name", ["tensorboard", "trackio", "mlflow", "wandb"])
def test_a_package_that_is_missing_is_named_with_what_brings_it(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (name, "torch.utils.tensorboard", "mlflow.tracking"):
        monkeypatch.setitem(sys.modules, module, None)
    with pytest.raises(InputError) as error:
        tracker.opened(name, "study", tmp_path)
    assert f"--tracker {name}" in str(error.value)
    assert f"pip install 'headwater[{name}]'" in str(error.value)


def test_every_tracker_has_an_extra_of_its_name() -> None:
    import tomllib

    text = (Path(__file__).parents[2] / "pyproject.toml").read_text()
    extras = tomllib.loads(text)["project"]["optional-dependencies"]
    assert set(tracker.TRACKERS) <= set(extras)


def test_the_command_line_refuses_a_wrong_tracker_before_anything_runs(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    arguments = ("run", finished.study, "--store", "new", "--tracker", "wandbb", "--quiet")
    refused(headwater(*arguments), "did you mean 'wandb'")
    assert not list((tmp_path / "new").glob("arms/*"))


@needs_tensorboard
def test_tensorboard_reads_what_it_was_told(finished: Finished, tmp_path: Path) -> None:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    plan, store = Plan.make(Study.load(finished.study)), Store(finished.store)
    with trackers.tracked([f"tensorboard:{tmp_path}"], plan, store) as watch:
        for event in events_of(plan):
            watch(event)
    (folder,) = tmp_path.glob("*/supervised*")
    board = EventAccumulator(str(folder))
    board.Reload()
    lines = (store.arm_folder(plan.arms[1].id) / "metrics.jsonl").read_text().splitlines()
    assert len(board.Scalars("training/loss")) == len(lines)
    assert board.Scalars("other/finetune/top1")[0].step == plan.arms[1].steps
