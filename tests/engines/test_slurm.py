"""The engine slurm against commands that act like Slurm's (tests/fake_slurm.py); the real ones are
in test_slurm_node.py, scripts in test_slurm_script.py.
"""

from __future__ import annotations

import json
import os
import shlex
import shutil
import time
from dataclasses import replace
from pathlib import Path

import pytest

from headwater.engines import batch, controller, engine, slurm
from headwater.engines.batch import Wanted
from headwater.engines.controller import Task
from headwater.engines.schedule import Event, pending
from headwater.errors import InputError
from headwater.store import studies
from tests.conftest import Cli, Finished, refused
from tests.engines.conftest import Fake
from tests.engines.test_kill import assert_same_results

COPIER = """#!/bin/sh
cd "$FAKE_SLURM"
mkdir -p {store}/arms {store}/rows {store}/answers
for part in arms answers rows; do cp -rn {done}/$part/* {store}/$part; done
"""
TRAINER = """#!/bin/sh
cd "$FAKE_SLURM"
echo started >> starts
number=$(wc -l < starts)
if [ "$number" -lt 6 ]; then
    mkdir -p {store}/partial/{arm}
    touch {store}/partial/{arm}/step-$number.json
    exit 0
fi
"""


def wait_for(path: Path, text: str) -> None:
    end = time.monotonic() + 30
    while not path.exists() or text not in path.read_text():
        assert time.monotonic() < end, path
        time.sleep(0.02)


def test_workers_are_one_array_whose_tasks_run_the_worker_in_place_of_the_shell(
    fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    placed = slurm.place(fake.wanted())
    assert placed.alive() == 0
    placed.start(3)
    assert placed.alive() == 3
    logs = fake.store.root / "logs"
    for index in range(3):
        log = logs / f"slurm-1_{index}.log"
        wait_for(log, "-P -m headwater worker")
        words = log.read_text().split(" -P -m headwater ", 1)[1]
        study = fake.wanted().study
        assert study is not None
        assert words.startswith(f"worker {fake.store.root} --study {study.name} ")
        assert f"--engine-id slurm-1_{index} " in words
    (line,) = [record.message for record in caplog.records]
    assert line.startswith(
        "slurm: job 1 submitted, an array of 3 workers; each for 1:00:00 at most"
    )
    pid = fake.queue["1_0"]["pid"]
    assert b"program" in Path(f"/proc/{pid}/cmdline").read_bytes(), "bash is still there"
    placed.close(stop=True)
    wait_for(logs / "slurm-1_2.log", "warned")
    assert "3 jobs told to write checkpoints and end" in caplog.text


def test_a_partition_s_limit_is_the_one_that_slurm_says(fake: Fake) -> None:
    known = controller.partitions()
    limits = {name: Wanted.of({"partition": name}, {}, "cpu").limit_s(known) for name in known}
    unlimited = dict.fromkeys(("endless", "roomy", "capped", "whole"))
    assert limits == {"main": 604800.0, "short": 1800.0, **unlimited}
    assert Wanted.of({}, {}, "cpu").limit_s(known) == 604800.0
    assert Wanted.of({"partition": "endless,short"}, {}, "cpu").limit_s(known) == 1800.0
    assert Wanted.of({"partition": "any"}, {}, "cpu").limit_s({}) is None
    with pytest.raises(InputError, match=r"no such partition; did you mean 'short'\?"):
        Wanted.of({"partition": "shirt"}, {}, "cpu").limit_s(known)
    with pytest.raises(InputError, match=r"it has main, short, endless"):
        Wanted.of({"partition": "xyz"}, {}, "cpu").limit_s(known)


def test_what_a_worker_takes_is_its_share_and_the_longest_arm(fake: Fake) -> None:
    todo = pending(fake.plan, fake.store)
    of_one, of_four, of_many = (
        batch.expected_s(fake.plan, todo, "cpu", workers) for workers in (1, 4, 10_000)
    )
    whole = (of_one - of_four) * 4 / 3  # from a + w / n at n = 1 and n = 4
    assert of_many == pytest.approx(of_one - whole, rel=0.01)
    assert 0 < of_many < of_four < of_one
    part = replace(todo, cells=[cell for cell in todo.cells if cell.arm is todo.arms[0]])
    part.arms[:] = todo.arms[:1]
    assert batch.expected_s(fake.plan, part, "cpu", 4) < of_four


# errors
def test_slurm_s_own_words_are_said_on_one_line(
    fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    (fake.folder / "refused").write_text(
        "sbatch: error: QOSMaxSubmitJobPerUserLimit\n"
        "sbatch: error: Batch job submission failed: Job violates accounting/QOS policy\n"
    )
    placed = slurm.place(fake.wanted())
    placed._tasks = [Task(1, 0, "RUNNING", "", None, "")]
    placed._submit(1)
    assert "Slurm refuses" in caplog.text, "workers that are there are not lost by it"
    placed._tasks = []
    said = r"^Slurm refuses .*\.sh: QOSMaxSubmitJobPerUserLimit; Batch job submission failed: Job v"
    with pytest.raises(InputError, match=said):
        placed.start(1)
    assert not placed._jobs.record.exists()


def test_without_slurm_it_is_said_where_to_run(fake: Fake, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(InputError, match=r"no `scontrol` here; run this where jobs are submitted"):
        slurm.place(fake.wanted())


def test_an_unknown_option_is_said_before_anything_is_read(
    headwater: Cli, finished: Finished, tmp_path: Path
) -> None:
    words = ("run", finished.study, "--engine", "slurm", "--store", tmp_path / "none")
    refused(headwater(*words, "--engine-option", "partitoin=gpu"), "no option 'partitoin'")
    refused(headwater(*words[:-2], "--engine", "slurm:here"), "takes nothing after a colon")


# what becomes of jobs
def test_what_waits_is_alive_and_what_ended_for_good_is_not(fake: Fake) -> None:
    (fake.folder / "full").touch()
    placed = slurm.place(fake.wanted())
    placed.start(4)
    states = ("PENDING", "REQUEUED", "COMPLETING", "SUSPENDED")
    fake.queue = {
        f"1_{index}": {"state": state, "reason": "None"} for index, state in enumerate(states)
    }
    assert placed.alive() == 4
    fake.queue = {"1_3": {"state": "RUNNING", "reason": "None"}}
    assert placed.alive() == 1
    placed.start(3)
    assert placed.alive() == 4 and set(placed._jobs.read()) == {1, 2}
    fake.queue = {}
    assert placed.alive() == 0
    placed.start(1)
    assert set(placed._jobs.read()) == {3}, "what is gone is not asked for for ever"


@pytest.mark.slow
def test_a_controller_that_is_away_is_no_loss_of_workers(
    fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    (fake.folder / "full").touch()
    placed = slurm.place(fake.wanted())
    placed.start(2)
    (fake.folder / "down").touch()
    assert [placed.alive() for _ in range(3)] == [2, 2, 2]
    assert caplog.text.count("does not answer") == 1
    other = slurm.place(fake.wanted())  # which has heard nothing yet
    assert other.alive() == 2
    placed.start(2)  # sbatch does not answer either: later
    (fake.folder / "down").unlink()
    fake.queue = {}
    assert placed.alive() == other.alive() == 0
    (fake.folder / "down").touch()
    with pytest.raises(InputError, match=r"Slurm does not answer: .*Unable to contact"):
        other.start(1)


def test_a_run_takes_up_the_jobs_of_one_before(
    fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    (fake.folder / "full").touch()
    first = slurm.place(fake.wanted())
    first.start(2)
    first.close(stop=False)
    second = slurm.place(fake.wanted())
    assert second.alive() == 2 and "2 workers of job 1 are there (2 PENDING)" in caplog.text
    second.start(1)
    assert first.alive() == 3
    first._tasks, first._looked = first._tasks[:1], 0.0
    first.start(1)
    assert len(fake.asked("sbatch")) == 2, "what another run submitted meanwhile counts"
    placed = slurm.place(fake.wanted(workers=3))
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(slurm, "place", lambda asked: placed)
        entry = replace(slurm.ENTRY, place=lambda asked: placed)
        engine._elsewhere(entry, fake.wanted(workers=3), lambda event: None, detach=True)
    assert len(fake.asked("sbatch")) == 2, "--detach submits what is missing"


def test_a_record_that_is_damaged_is_told_and_jobs_are_submitted_anew(
    fake: Fake, caplog: pytest.LogCaptureFixture
) -> None:
    (fake.folder / "full").touch()
    placed = slurm.place(fake.wanted())
    placed.start(1)
    record = placed._jobs.record
    record.write_text(record.read_text().replace('"job": 1', '"job": 2'))
    assert slurm.place(fake.wanted()).alive() == 0
    assert "is damaged (it is not what was written" in caplog.text


def test_what_waits_for_somebody_is_told_once(fake: Fake, caplog: pytest.LogCaptureFixture) -> None:
    (fake.folder / "full").touch()
    placed = slurm.place(fake.wanted())
    placed.start(1)
    fake.queue = {"1_0": {"state": "PENDING", "reason": "JobHeldUser"}}
    assert placed.alive() == placed.alive() == 1
    assert caplog.text.count("waits until somebody does something (JobHeldUser)") == 1


def test_two_workers_of_a_job_count_as_two(fake: Fake) -> None:
    (fake.folder / "full").touch()
    asked = fake.wanted()
    placed = slurm.place(replace(asked, options={**asked.options, "workers-per-job": "2"}))
    placed.start(3)
    assert placed.alive() == 4 and len(fake.queue) == 2


def test_a_study_that_is_done_leaves_no_job_waiting_and_no_record(
    fake: Fake, finished: Finished
) -> None:
    (fake.folder / "full").touch()
    placed = slurm.place(fake.wanted())
    placed.start(2)
    for part in ("arms", "rows", "answers"):
        shutil.copytree(finished.store / part, fake.store.root / part, dirs_exist_ok=True)
    placed.close(stop=False)
    assert not fake.queue and not (fake.store.root / "slurm").exists()


def test_a_run_follows_its_jobs_until_all_is_there(
    fake: Fake, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Workers that copy what is done elsewhere."""
    root = shlex.quote(str(fake.store.root))
    text = COPIER.format(store=root, done=shlex.quote(str(finished.store)))
    heard: list[Event] = []
    engine.run(
        fake.plan,
        fake.store,
        engine="slurm",
        device="cpu",
        workers=2,
        options={"python": fake.program(text), "time": "10"},
        watch=heard.append,
    )
    assert_same_results(fake.store.root, finished.store)
    assert len({event.fields["cell"] for event in heard if event.kind == "cell"}) == 16
    assert not (fake.store.root / "studies").exists()


def test_workers_that_end_with_nothing_done_are_an_error_with_the_end_of_their_log(
    fake: Fake, monkeypatch: pytest.MonkeyPatch
) -> None:
    from headwater.engines import elsewhere

    monkeypatch.setattr(elsewhere, "LOOK_EVERY_S", 0.01)
    said = (
        r"workers ended 3 times with nothing done, and 16 cells are left: job \d of Slurm: FAILED "
        r"\(exit code 1:0\); .*slurm-\d_0\.log: no module named headwater"
    )
    with pytest.raises(InputError, match=said):
        engine.run(
            fake.plan,
            fake.store,
            engine="slurm",
            device="cpu",
            workers=1,
            options={"python": fake.program("#!/bin/sh\necho no module named headwater\n")},
        )


@pytest.mark.slow
def test_jobs_that_train_a_little_each_time_are_replaced_as_often_as_it_takes(
    fake: Fake, finished: Finished, monkeypatch: pytest.MonkeyPatch
) -> None:
    """An arm that takes longer than a job may."""
    from headwater.engines import elsewhere

    monkeypatch.setattr(elsewhere, "LOOK_EVERY_S", 0.01)
    root, arm = shlex.quote(str(fake.store.root)), fake.plan.arms[0].id
    copying = COPIER.format(store=root, done=shlex.quote(str(finished.store)))
    text = TRAINER.format(store=root, arm=arm) + copying.partition("\n")[2]
    engine.run(
        fake.plan,
        fake.store,
        engine="slurm",
        device="cpu",
        workers=1,
        options={"python": fake.program(text), "time": "10"},
    )
    assert len(fake.asked("sbatch")) == 6
    assert set(fake.store.finished_cells()) == {cell.id for cell in fake.plan.cells}


# status
def test_the_queue_tells_of_every_worker(fake: Fake) -> None:
    assert slurm.queue(fake.store) == []
    assert not (fake.folder / "asked").exists(), "a store without jobs asks nobody"
    (fake.folder / "full").touch()
    placed = slurm.place(fake.wanted())
    placed.start(2)
    study = placed._jobs.study
    fake.queue = {
        **fake.queue,
        "1_1": {"state": "RUNNING", "reason": "None", "pid": os.getpid()},
    }
    waits, runs = slurm.queue(fake.store)
    assert waits == {
        "worker": "slurm-1_0",
        "study": study,
        "state": "PENDING",
        "reason": "Resources",
        "node": None,
        "left_s": None,
    }
    assert runs["node"] == "fake1" and runs["left_s"] == 570.0 and runs["reason"] is None
    fake.queue = {"1_0": fake.queue["1_0"]}
    (fake.folder / "down").touch()
    states = [(each["state"], each["reason"]) for each in slurm.queue(fake.store)]
    assert states == 2 * [("UNKNOWN", "Unable to contact slurm controller (connect failure)")]
    studies.ended(fake.store, fake.store.root / "studies" / f"{study}.json")
    assert slurm.queue(fake.store) == []


def test_status_shows_the_queue(fake: Fake, finished: Finished, headwater: Cli) -> None:
    (fake.folder / "full").touch()
    placed = slurm.place(fake.wanted())
    placed.start(2)
    code, out, _ = headwater("status", finished.study, "--store", fake.store.root)
    assert code == 0 and "queue: 2 workers, 2 PENDING" in out
    assert "  slurm-1_0: PENDING (Resources)" in out
    code, out, _ = headwater("status", finished.study, "--store", fake.store.root, "--json")
    assert [each["worker"] for each in json.loads(out)["queue"]] == ["slurm-1_0", "slurm-1_1"]
    assert {each["engine"] for each in json.loads(out)["queue"]} == {"slurm"}


@pytest.mark.slow
def test_real_workers_in_such_jobs_give_the_rows_of_a_local_run(
    fake: Fake, finished: Finished
) -> None:
    engine.run(fake.plan, fake.store, engine="slurm", device="cpu", workers=2)
    assert_same_results(fake.store.root, finished.store)
    logs = sorted((fake.store.root / "logs").glob("slurm-1_*.log"))
    assert len(logs) == 2 and "arms trained" in logs[0].read_text()
