"""Kill and go on: whatever is killed, and when, the next run ends with the same bits as a run that
nothing disturbed.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import pandas as pd
import pytest

from headwater import api, cli
from headwater.engines import engine, schedule
from headwater.plan import Plan, PlannedCell
from headwater.rows import comparable, read_rows
from headwater.store import Store
from headwater.study import Study
from tests.conftest import Finished

RUN = (
    "import sys, headwater as hw\n"
    "hw.run(sys.argv[1], store=sys.argv[2], device='cpu', workers=int(sys.argv[3]), "
    "checkpoint_every_s=0.05)\n"
)
PATIENCE_S = 120.0


@contextlib.contextmanager
def running(study: Path, store: Path, *, workers: int = 1) -> Iterator[subprocess.Popen[bytes]]:
    """A run in a process group of its own, which is gone when the block ends."""
    process = subprocess.Popen(
        [sys.executable, "-c", RUN, str(study), str(store), str(workers)], start_new_session=True
    )
    try:
        yield process
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def wait_for(
    happened: Callable[[], object], process: subprocess.Popen[bytes] | None = None
) -> None:
    end = time.monotonic() + PATIENCE_S
    while not happened():
        assert time.monotonic() < end, "waited too long"
        assert process is None or process.poll() is None, "the run ended before it could be killed"
        time.sleep(0.005)


def group_is_gone(group: int) -> bool:
    """Whether no process of a group runs any more; one that ended and that nobody has waited for
    does not count.
    """
    for stat in Path("/proc").glob("[0-9]*/stat"):
        with contextlib.suppress(OSError):
            state, _, its_group = stat.read_text().rpartition(")")[2].split()[:3]
            if int(its_group) == group and state not in ("Z", "X"):
                return False
    return True


def arms_done(store: Path) -> int:
    return len(list(store.glob("arms/[!.]*/arm.json")))


def cells_done(store: Path) -> int:
    return len(list(store.glob("rows/*.json")))


def touched(store: Path) -> dict[str, tuple[int, int]]:
    """Inode and time of modification of every finished file; what a killed run was writing is
    hidden, and swept a day later.
    """
    files = [*store.glob("rows/*.json"), *store.glob("arms/[!.]*/*")]
    return {str(path): (path.stat().st_ino, path.stat().st_mtime_ns) for path in files}


def encoders(store: Path) -> dict[str, str]:
    return {
        path.parent.name: json.loads(path.read_text())["encoder_sha256"]
        for path in store.glob("arms/[!.]*/arm.json")
    }


def assert_same_results(store: Path, reference: Path) -> None:
    pd.testing.assert_frame_equal(
        comparable(read_rows(store)), comparable(read_rows(reference)), check_exact=True
    )
    assert encoders(store) == encoders(reference)
    assert not list(store.glob("partial/*"))


MOMENTS: dict[str, Callable[[Path], object]] = {
    "before the first checkpoint": lambda store: (store / "logs").exists(),
    "in an arm, after a checkpoint": lambda store: list(store.glob("partial/*/step-*.json")),
    "in the second arm": lambda store: (
        arms_done(store) == 1 and list(store.glob("partial/*/step-*.json"))
    ),
    "between an arm and its cells": lambda store: arms_done(store) == 2,
    "among cells": lambda store: 0 < cells_done(store) < 16,
    "after all arms": lambda store: arms_done(store) == 4,
}


def kill_the_group(process: subprocess.Popen[bytes]) -> None:
    os.killpg(process.pid, signal.SIGKILL)
    process.wait()
    wait_for(lambda: group_is_gone(process.pid))


def kill_the_parent_alone(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    began = time.monotonic()
    wait_for(lambda: group_is_gone(process.pid))
    assert time.monotonic() - began < 30, "workers outlived their parent"


KILLS = (kill_the_parent_alone, kill_the_group)


def killed_and_resumed(moments: list[str], finished: Finished, store: Path) -> None:
    """Kill one run after another in one store, in turn the parent alone and the whole group; then
    this process ends the study.
    """
    for moment, kill in zip(moments, itertools.cycle(KILLS), strict=False):
        before = touched(store)
        with running(finished.study, store) as process:
            wait_for(lambda moment=moment: MOMENTS[moment](store), process)  # type: ignore[misc]
            kill(process)
        assert before.items() <= touched(store).items()
    before = touched(store)
    api.run(finished.study, store=store, device="cpu", engine="inline")
    assert before.items() <= touched(store).items()
    assert_same_results(store, finished.store)


@pytest.mark.slow
def test_a_killed_study_goes_on_to_the_same_bits(finished: Finished, tmp_path: Path) -> None:
    """In the cells; a worker is killed in an arm below."""
    killed_and_resumed(["among cells"], finished, tmp_path / "store")


@pytest.mark.slow
@pytest.mark.parametrize("moments", [list(MOMENTS), list(MOMENTS)[1:]])
def test_a_study_killed_at_every_moment_goes_on_to_the_same_bits(
    moments: list[str], finished: Finished, tmp_path: Path
) -> None:
    killed_and_resumed(moments, finished, tmp_path / "store")


@pytest.mark.slow
def test_a_worker_killed_in_a_unit_is_replaced_and_the_study_completes(
    finished: Finished, tmp_path: Path
) -> None:
    store = Store(tmp_path / "store", create=True)
    plan = Plan.make(Study.load(finished.study), cache=store.cache)
    killed: list[str] = []

    def kill_once(event: schedule.Event) -> None:
        if event.kind == "progress" and not killed:
            child = next(
                int(line)
                for line in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()
                if _is_worker(int(line))
            )
            os.kill(child, signal.SIGKILL)
        if event.kind == "died":
            killed.append(event.unit.title)

    engine.run(
        plan,
        store,
        device="cpu",
        workers=1,
        checkpoint_every_s=0.05,
        watch=kill_once,
    )
    assert len(killed) == 1
    assert_same_results(store.root, finished.store)


def _is_worker(process: int) -> bool:
    return b"headwater.engines.worker" in Path(f"/proc/{process}/cmdline").read_bytes()


def test_a_second_run_changes_no_file_and_starts_no_process(
    finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    before = touched(finished.store)
    monkeypatch.setattr(subprocess, "Popen", lambda *words, **more: pytest.fail("a process"))
    api.run(finished.study, store=finished.store, device="cpu")
    assert touched(finished.store) == before


@pytest.mark.slow
def test_two_runs_at_once_into_one_store_end_with_the_same_rows(
    finished: Finished, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    with running(finished.study, store) as one, running(finished.study, store) as other:
        assert one.wait(PATIENCE_S) == 0
        assert other.wait(PATIENCE_S) == 0
    assert_same_results(store, finished.store)


@pytest.mark.slow
def test_a_damaged_encoder_fails_its_cells_until_its_folder_is_removed(
    finished: Finished,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    store = Store(shutil.copytree(finished.store, tmp_path / "store"))
    plan = Plan.make(Study.load(finished.study), cache=store.cache)
    arm = next(arm for arm in plan.arms if arm.words.method == "simclr")
    weights = store.arm_folder(arm.id) / "encoder.safetensors"
    data = bytearray(weights.read_bytes())
    data[-100] ^= 1  # one bit of one weight: it still loads, and would pass for a result
    weights.write_bytes(data)
    cells = [cell.id for cell in plan.cells if cell.arm.id == arm.id]
    for cell in cells:
        store.drop_cell(cell)
    for attempt in (1, 2):
        monkeypatch.setattr(
            sys,
            "argv",
            [
                "headwater",
                "run",
                str(finished.study),
                "--store",
                str(store.root),
                "--device",
                "cpu",
                "--engine",
                "inline",
            ],
        )
        assert cli._guarded(cli.app) == 1
        assert "4 cells FAILED" in capsys.readouterr().out
        rows = plan.rows(store)
        failed = rows[rows["status"] == "failed"]
        assert set(failed["cell"]) == set(cells)
        assert failed["reason"].str.contains("missing or damaged; remove the folder").all()
        assert failed["value"].isna().all()
        assert set(failed["attempt"]) == {attempt}
    shutil.rmtree(weights.parent)
    rows = api.run(finished.study, store=store.root, device="cpu", engine="inline")
    assert set(rows["status"]) == {"done"}
    assert_same_results(store.root, finished.store)


def test_a_cell_that_fails_does_not_keep_the_others_from_being_measured(
    finished: Finished, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import torch

    from headwater import device, work
    from headwater.work import cells as room

    store = Store(shutil.copytree(finished.store, tmp_path / "store"))
    plan = Plan.make(Study.load(finished.study), cache=store.cache)
    cells = [
        cell for cell in plan.cells if cell.arm is plan.arms[0] and cell.words.protocol == "probe"
    ]
    for cell in cells:
        store.drop_cell(cell.id)
    measure = room._measured

    def first_fails(bench: work.Bench, together: Sequence[PlannedCell]) -> object:
        if cells[0] in together:
            raise MemoryError("too big")
        return measure(bench, together)

    monkeypatch.setattr(room, "_measured", first_fails)
    with pytest.raises(MemoryError, match="too big"):
        work.run_cells(
            work.Session(plan, store, device.Compute(torch.device("cpu"), False)),
            plan.arms[0],
            "other",
            cells,
        )
    assert store.finished_cells() & {cell.id for cell in cells} == {cell.id for cell in cells[1:]}
