"""The engine slurm on a real Slurm of one node, which these tests start."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest

from headwater import digests
from tests import one_node_slurm
from tests.conftest import Finished, tiny, write_study
from tests.engines.test_kill import assert_same_results
from tests.needs import needs_slurm
from tests.one_node_slurm import OneNode

pytestmark = [pytest.mark.slow, needs_slurm]

RUN = """
import json, sys
import headwater as hw
hw.run(sys.argv[1], store=sys.argv[2], device="cpu", **json.loads(sys.argv[3]))
"""
COUNTED = '''
import os, time
from headwater.methods.supervised import Supervised

class Counted(Supervised):
    """Supervised training that tells of each step and takes its time."""
    name, title, version, order = "counted", "counted", 1, 95

    def before_step(self, step, steps):
        super().before_step(step, steps)
        if "COUNTED" in os.environ:
            time.sleep(float(os.environ.get("PAUSE_S", "0.03")))
            file = os.open(os.environ["COUNTED"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
            os.write(file, f"{step} {time.time()}\\n".encode())
            os.close(file)

ENTRY = Counted
'''
STEPS = 300
EVERY_S = 2.0
"""Between two checkpoints."""


@pytest.fixture(scope="module")
def node() -> Iterator[OneNode]:
    with one_node_slurm.started() as cluster:
        yield cluster


@dataclass
class Long:
    """A study of one arm of ten seconds, whose steps are counted."""

    node: OneNode
    folder: Path
    study: Path
    whole: Path
    """A store in which nothing disturbed it."""
    environment: dict[str, str]
    runs: list[subprocess.Popen[str]] = field(default_factory=list)

    @property
    def store(self) -> Path:
        return self.folder / "store"

    def run(self, store: Path | None = None, **words: Any) -> subprocess.Popen[str]:
        """A run in a process of its own."""
        words = {"engine": "slurm", "workers": 1, "checkpoint_every_s": EVERY_S, **words}
        command = [sys.executable, "-c", RUN, str(self.study), str(store or self.store)]
        run = subprocess.Popen(
            [*command, json.dumps(words)],
            env=self.environment,
            cwd=self.folder,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.runs.append(run)
        return run

    def headwater(self, *words: str | Path) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "headwater.cli", *map(str, words)],
            env=self.environment,
            cwd=self.folder,
            capture_output=True,
            text=True,
            check=False,
        )

    def steps(self) -> list[tuple[int, float]]:
        """Every step that was begun, and when."""
        told = Path(self.environment["COUNTED"])
        lines = told.read_text().splitlines() if told.exists() else []
        return [(int(line.split()[0]), float(line.split()[1])) for line in lines]

    def jobs(self) -> list[int]:
        """The arrays that the record in the store names."""
        (record,) = (self.store / "slurm").glob("*.json")
        return [each["job"] for each in digests.read_record(record)["jobs"]]

    def in_the_middle(self) -> str:
        """The task that trains, when it has been at it for a while."""
        self.node.wait_for(lambda: len(self.steps()) > STEPS / 4)
        (task,) = self.node.states()
        return task

    def worker(self) -> int:
        """The process that has the arm."""
        (lease,) = (self.store / "leases").glob("[!.]*.json")
        return int(json.loads(lease.read_text())["pid"])

    def assert_as_if_undisturbed(self) -> None:
        """The same rows and weights, and at most one interval of work done again."""
        assert_same_results(self.store, self.whole)
        when: dict[int, list[float]] = {}
        for step, at in self.steps():
            when.setdefault(step, []).append(at)
        assert sorted(when) == list(range(STEPS))
        again = [min(at) for at in when.values() if len(at) > 1]
        spent = max(again, default=0.0) - min(again, default=0.0)
        print(f"{len(again)} of {STEPS} steps done again: {spent:.2f} s of work")
        assert spent <= EVERY_S + 0.5, "the time of a checkpoint and a step is besides"
        assert max(Counter(step for step, _ in self.steps()).values()) <= 2


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, dict[str, str]]:
    """(study, store, environment) of the study that is long."""
    folder = tmp_path_factory.mktemp("long")
    record = folder / "site" / "counted_steps-1.dist-info"
    record.mkdir(parents=True)
    (folder / "site" / "counted_steps.py").write_text(COUNTED)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: counted-steps\nVersion: 1\n")
    (record / "entry_points.txt").write_text("[headwater.methods]\ncounted = counted_steps:ENTRY\n")
    words = tiny(methods=["counted"], budget={"steps": STEPS})
    study = write_study(folder / "study.yaml", words)
    paths = [str(folder / "site"), os.environ.get("PYTHONPATH", "")]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, paths))}
    command = [sys.executable, "-c", RUN, str(study), str(folder / "store")]
    subprocess.run([*command, json.dumps({"engine": "inline"})], env=environment, check=True)
    return study, folder / "store", environment


@pytest.fixture
def long(
    node: OneNode, undisturbed: tuple[Path, Path, dict[str, str]], tmp_path: Path
) -> Iterator[Long]:
    study, whole, environment = undisturbed
    told = {"SLURM_CONF": node.environment["SLURM_CONF"], "COUNTED": str(tmp_path / "told")}
    made = Long(node, tmp_path, study, whole, {**environment, **told})
    yield made
    for run in made.runs:
        if run.returncode is None:  # the test failed
            run.kill()
            run.communicate()
    node.clear()


def ends(run: subprocess.Popen[str], code: int = 0) -> str:
    """What a run said on stderr."""
    _, said = run.communicate(timeout=300)
    assert run.returncode == code, said
    return said


def requeued(long: Long, task: str) -> None:
    long.node.ask("scontrol", "requeue", task)
    long.node.wait_for(lambda: long.node.states().get(task) == "PENDING")
    long.node.wait_for(lambda: begun_at_once(long, task))


def begun_at_once(long: Long, task: str) -> bool:
    """Slurm lets a job wait for two minutes that it puts back into the queue; not here. Asked more
    often than once a second it is busy with the answers.
    """
    time.sleep(1.0)
    words = ["scontrol", "update", f"JobId={task}", "StartTime=now"]
    subprocess.run(words, env=long.environment, check=False, capture_output=True)
    return long.node.states().get(task) == "RUNNING"


def told_to_stop(long: Long, task: str) -> None:
    long.node.ask("scancel", "--batch", "--signal=USR1", task)


def cancelled(long: Long, task: str) -> None:
    long.node.ask("scancel", task)


def out_of_time(long: Long, task: str) -> None:
    """Slurm warns a minute before the end, which this brings near."""
    long.node.ask("scontrol", "update", f"JobId={task}", "TimeLimit=1")


def worker_killed(long: Long, task: str) -> None:
    os.kill(long.worker(), signal.SIGKILL)


def node_lost(long: Long, task: str) -> None:
    """All processes of the job are gone at once, and Slurm takes the node for lost, as it does by
    itself when the node has not answered for some minutes.
    """
    worker = long.worker()
    parent = Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1]
    children = Path(f"/proc/{worker}/task/{worker}/children").read_text().split()
    for pid in (int(parent), worker, *map(int, children)):
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
    long.node.ask("scontrol", "update", "NodeName=node0", "State=DOWN", "Reason=lost")
    long.node.wait_for(lambda: long.node.states().get(task) == "PENDING")
    long.node.wait_for(lambda: is_back(long) and begun_at_once(long, task), seconds=240)


def is_back(long: Long) -> bool:
    """By itself the node comes back when it is asked to register, which may be in minutes."""
    words = ["scontrol", "update", "NodeName=node0", "State=RESUME"]
    subprocess.run(words, env=long.environment, check=False, capture_output=True)
    return "down" not in long.node.ask("sinfo", "--noheader", "--format=%T")


@pytest.mark.parametrize(
    ("disturb", "anew"),
    [
        (requeued, False),
        (node_lost, False),
        (told_to_stop, True),
        (cancelled, True),
        (out_of_time, True),
        (worker_killed, True),
    ],
)
def test_a_job_that_is_disturbed_costs_at_most_one_interval_of_its_arm(
    disturb: Callable[[Long, str], None], anew: bool, long: Long
) -> None:
    """`anew`: Slurm lets go of the job, so the run submits another; else Slurm keeps it."""
    if disturb is out_of_time:
        long.environment["PAUSE_S"] = "0.3"  # Slurm looks at times every half minute
    run = long.run()
    task = long.in_the_middle()
    disturb(long, task)
    if anew:
        long.node.wait_for(lambda: long.jobs() != [int(task.split("_")[0])])
    said = ends(run)
    assert said.count("submitted") == 1 + anew, said
    long.assert_as_if_undisturbed()


@pytest.mark.parametrize("end", [signal.SIGKILL, signal.SIGINT])
def test_a_run_that_ends_is_gone_on_with(end: signal.Signals, long: Long) -> None:
    """Killed, it leaves its jobs at work, and the next one attaches; by Ctrl-C it tells them to
    keep what they have.
    """
    run = long.run()
    long.in_the_middle()
    run.send_signal(end)
    _, said = run.communicate(timeout=60)
    if end == signal.SIGINT:
        assert "1 job told to write checkpoints and end" in said
        long.node.wait_for(lambda: not long.node.states())
        assert list(long.store.glob("partial/*/step-*.safetensors"))
    else:
        (job,) = long.jobs()
    said = ends(long.run())
    if end == signal.SIGINT:
        assert "submitted" in said
        assert len(long.steps()) == STEPS, "no step was done twice"
    else:
        assert f"1 worker of job {job} are there" in said and "submitted" not in said
    long.assert_as_if_undisturbed()
    assert not (long.store / "slurm").exists()


def test_four_tasks_do_a_study_that_was_left_to_them(
    node: OneNode, finished: Finished, tmp_path: Path
) -> None:
    environment = {**os.environ, "SLURM_CONF": node.environment["SLURM_CONF"]}
    long = Long(node, tmp_path, finished.study, finished.store, environment)
    words = ("--store", long.store, "--device", "cpu", "--engine", "slurm", "--workers", "4")
    detached = long.headwater("run", finished.study, *words, "--detach")
    submitted = time.time()
    assert detached.returncode == 0, detached.stderr
    assert "an array of 4 workers; each for 0:10:00 at most" in detached.stderr
    again = long.headwater("run", finished.study, *words, "--detach")
    assert "submitted" not in again.stderr and "4 workers of job" in again.stderr
    status = long.headwater("status", finished.study, "--store", long.store, "--json")
    queue = json.loads(status.stdout)["queue"]
    (job,) = long.jobs()
    assert {each["worker"] for each in queue} == {f"slurm-{job}_{index}" for index in range(4)}
    assert {each["node"] for each in queue} == {"node0"}
    assert all(0 < each["left_s"] <= 600 for each in queue)
    done = long.headwater("run", finished.study, *words, "--json")
    assert done.returncode == 0, done.stderr
    assert_same_results(long.store, finished.store)
    first = min(path.stat().st_mtime for path in long.store.glob("rows/*.json"))
    last = max(path.stat().st_mtime for path in long.store.glob("rows/*.json"))
    print(f"from sbatch to the first cell {first - submitted:.1f} s, all {last - submitted:.1f} s")
    names = [path.read_text().split(" arms")[0] for path in long.store.glob("logs/slurm-*.log")]
    assert sum(map(int, filter(str.isdigit, names))) == 4
    node.clear()


def test_what_slurm_refuses_is_said_in_its_words(
    node: OneNode, finished: Finished, tmp_path: Path
) -> None:
    environment = {**os.environ, "SLURM_CONF": node.environment["SLURM_CONF"]}
    long = Long(node, tmp_path, finished.study, finished.store, environment)
    words = ("run", finished.study, "--store", long.store, "--engine", "slurm", "--quiet")
    for options, said in (
        (("--device", "cuda"), "Invalid generic resource (gres) specification"),
        (("--engine-option", "partition=shrot"), "no such partition; did you mean 'short'?"),
        (("--engine-option", "mem=900G"), "Memory specification can not be satisfied"),
    ):
        refused = long.headwater(*words, *options)
        assert refused.returncode == 2 and said in refused.stderr, refused.stderr
        assert refused.stderr.count("\n") == 1, refused.stderr
    assert not node.states()
