"""Workers in a Ray cluster: what they compute is what this machine computes, whatever is lost."""

from __future__ import annotations

import contextlib
import importlib.metadata
import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import pytest

from headwater.engines import engine, gpus, ray
from headwater.engines.actor import worker_class
from headwater.engines.elsewhere import Asked
from headwater.engines.schedule import pending
from headwater.errors import InputError
from headwater.plan import Plan
from headwater.store import Store
from headwater.study import Study
from tests import ray_cluster
from tests.conftest import Finished, tiny, write_study
from tests.engines.test_kill import assert_same_results, wait_for
from tests.needs import needs_ray

ROOT = Path(__file__).parents[2]


# without a cluster
@pytest.fixture
def asked(finished: Finished, tmp_path: Path) -> Asked:
    """A run of the tiny study in an empty store."""
    store = Store(tmp_path / "store", create=True)
    said = store.root.resolve() / "studies" / "tiny-world-0123456789ab.json"
    said.parent.mkdir()
    said.touch()
    plan = Plan.make(Study.load(finished.study), cache=store.cache)
    return Asked(
        plan=plan,
        store=store,
        todo=pending(plan, store),
        study=said,
        workers=None,
        device="auto",
        checkpoint_every_s=20.0,
        compiled=False,
        where=None,
        options={},
    )


def changed(asked: Asked, **words: Any) -> Asked:
    return Asked(**{**vars(asked), **words})


def test_without_ray_what_brings_it_is_said(asked: Asked, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(InputError, match=r"pip install 'headwater\[ray\]'"):
        ray.place(asked)


@needs_ray
@pytest.mark.parametrize(
    ("where", "message"),
    [
        ("cluster", "should be ray:HOST:PORT"),
        ("127.0.0.1:x", "should be ray:HOST:PORT"),
        ("ray://127.0.0.1:FREE", "nothing answers there"),
        ("127.0.0.1:FREE", "nothing answers there"),
    ],
)
def test_an_address_at_which_nothing_answers_is_said_at_once(
    asked: Asked, where: str, message: str
) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        free = str(taken.getsockname()[1])  # nobody listens
        began = time.monotonic()
        with pytest.raises(InputError, match=message):
            ray.place(changed(asked, where=where.replace("FREE", free)))
    assert time.monotonic() - began < ray.ANSWER_S + 1


@pytest.mark.parametrize(
    ("device", "options", "message"),
    [
        ("auto", {"cpus": "many"}, "cpus=many: should be a number"),
        ("auto", {"cpus": "-1"}, "cpus=-1: should be a number of 0 or more"),
        ("auto", {"gpus": "nan"}, "gpus=nan: should be a number"),
        ("auto", {"gpus": "1.5"}, "parts of one GPU alone"),
        ("auto", {"gpus-per-arm": "0"}, "should be a whole number of 1 or more"),
        ("cuda", {"gpus-per-arm": "2", "gpus": "1"}, "gpus-per-arm=2 needs 2"),
        ("cpu", {"gpus": "1"}, "does not go with --device cpu"),
        ("cpu", {"cpus": "0"}, "a worker needs a part of a CPU or of a GPU"),
        ("cuda:1", {}, "use --device cuda"),
        ("auto", {"wait": "maybe"}, "should be yes or no"),
    ],
)
def test_options_that_mean_nothing_are_refused(
    asked: Asked, device: str, options: dict[str, str], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        ray.needs_of(changed(asked, device=device, options=options), has_gpus=True)


def test_gpus_for_each_arm_go_by_the_plans_costs_and_by_arms_that_are_there(
    asked: Asked, finished: Finished, caplog: pytest.LogCaptureFixture
) -> None:
    """Three arms of a study are trained."""
    assert gpus.gpus_per_arm(asked, [8]) == 2
    assert "2 GPUs for each arm, by the plan's costs" in caplog.text
    assert gpus.gpus_per_arm(asked, [2]) == 1
    assert gpus.gpus_per_arm(changed(asked, store=Store(finished.store)), [8]) == 1
    assert "1 GPU for each arm, as for the arms that are there" in caplog.text


def test_a_worker_asks_for_what_its_device_needs(asked: Asked) -> None:
    def needs(device: str, has_gpus: bool, **options: str) -> ray.Needs:
        words = {name.replace("_", "-"): value for name, value in options.items()}
        return ray.needs_of(changed(asked, device=device, options=words), has_gpus=has_gpus)

    assert needs("auto", False) == needs("cpu", True) == ray.Needs(1, 0, 1, False)
    assert needs("auto", True) == needs("cuda", False) == ray.Needs(1, 1, 1, False)
    assert needs("cuda", True, gpus_per_arm="4", cpus="8") == ray.Needs(8, 4, 4, False)
    assert needs("cpu", True, gpus_per_arm="2", wait="yes") == ray.Needs(2, 0, 2, True)
    assert needs("cpu", True, gpus_per_arm="auto") == ray.Needs(1, 0, 1, False)
    few = changed(asked, device="cuda", options={"gpus-per-arm": "auto"})
    assert ray.needs_of(few, has_gpus=True, by_costs=lambda: 4) == ray.Needs(1, 4, 4, False)
    quarter = needs("auto", True, gpus="0.25")
    assert quarter.room({"CPU": 64.0, "GPU": 2.0}) == 8
    assert quarter.room({"CPU": 3.0, "GPU": 2.0}) == 3
    assert quarter.room({"CPU": 64.0}) == 0


def test_workers_of_ray_end_with_the_run_that_started_them(
    finished: Finished, tmp_path: Path
) -> None:
    plan = Plan.make(Study.load(finished.study), cache=tmp_path / "cache")
    with pytest.raises(InputError, match="--detach: workers of ray end with the run"):
        engine.run(plan, Store(tmp_path / "store", create=True), engine="ray", detach=True)


def test_a_node_says_why_it_cannot_work_for_a_run(asked: Asked, tmp_path: Path) -> None:
    assert asked.study is not None
    good = {
        "store": str(asked.store.root),
        "study": str(asked.study),
        "changed": asked.study.stat().st_mtime,
        "version": importlib.metadata.version("headwater"),
        "patience_s": 0.1,
    }

    def wrong(**words: Any) -> Any:
        return worker_class()({**good, **words}).wrong()

    assert wrong() is None
    assert "the run has 9.9" in wrong(version="9.9")
    elsewhere = tmp_path / "elsewhere"
    assert f"sees no folder {elsewhere}" in wrong(store=str(elsewhere))
    assert "another store" in wrong(changed=good["changed"] - 60)
    assert "it lacks" in wrong(study=str(elsewhere / "study.json"))
    assert wrong(store="s3://bucket/results", study="nowhere") is None
    made = worker_class()({**good, "version": "9.9"}).work()
    assert made == {"wrong": made["wrong"], "node": socket.gethostname()}


# in a cluster
COUNTED = '''
import os, time
from headwater.methods.supervised import ENTRY as Supervised

class Counted(Supervised):
    """Supervised, and every step is noted."""
    name, title, order = "counted", "counted", 95

    def before_step(self, step, steps):
        super().before_step(step, steps)
        said = f"{os.getpid()} {self.seed} {step} {time.time()}\\n".encode()
        file = os.open(os.environ["HEADWATER_TEST_STEPS"], os.O_WRONLY | os.O_APPEND | os.O_CREAT)
        os.write(file, said)
        os.close(file)

    def __init__(self, encoder, inputs):
        super().__init__(encoder, inputs)
        self.seed = inputs.seed

ENTRY = Counted
'''
RUN = """
import sys
import headwater as hw
hw.run(sys.argv[1], store=sys.argv[2], engine=sys.argv[3], device="cpu", workers=2,
       checkpoint_every_s=1.0)
"""
STEPS = 250
"""Of each of the two arms."""
EVERY_S = 1.0
"""Seconds between checkpoints in RUN."""


@dataclass(frozen=True)
class Step:
    pid: int
    seed: int
    number: int
    at: float


@dataclass(frozen=True)
class Counting:
    """A study of two arms whose method notes its steps, and what its processes are told."""

    study: Path
    environment: dict[str, str]
    notes: Path
    runs: list[subprocess.Popen[str]] = field(default_factory=list)

    def steps(self) -> list[Step]:
        if not self.notes.exists():
            return []
        lines = [line.split() for line in self.notes.read_text().splitlines(keepends=True)]
        return [Step(int(a), int(b), int(c), float(d)) for a, b, c, d in lines]

    def started(self, store: Path, engine: str) -> subprocess.Popen[str]:
        run = subprocess.Popen(
            [sys.executable, "-c", RUN, str(self.study), str(store), engine],
            env=self.environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            start_new_session=True,
        )
        self.runs.append(run)
        return run


@pytest.fixture
def counting(tmp_path: Path) -> Iterator[Counting]:
    folder = tempfile.mkdtemp(prefix="hw-")  # the names of Ray's sockets are short
    made = _counting(tmp_path, folder)
    try:
        yield made
    finally:
        for run in made.runs:
            run.kill()
            run.communicate()
        shutil.rmtree(folder, ignore_errors=True)


def _counting(tmp_path: Path, folder: str) -> Counting:
    site = tmp_path / "site"
    record = site / "counted-1.dist-info"
    record.mkdir(parents=True)
    (site / "counted.py").write_text(COUNTED)
    (record / "METADATA").write_text("Metadata-Version: 2.1\nName: counted\nVersion: 1\n")
    (record / "entry_points.txt").write_text("[headwater.methods]\ncounted = counted:ENTRY\n")
    paths = [str(site), os.environ.get("PYTHONPATH", "")]
    words = tiny(methods=["counted"], seeds=2, budget={"steps": STEPS})
    return Counting(
        write_study(tmp_path / "study.yaml", words),
        {
            **os.environ,
            "PYTHONPATH": os.pathsep.join(filter(None, paths)),
            "HEADWATER_TEST_STEPS": str(tmp_path / "steps"),
            "RAY_AUTH_MODE": "disabled",
            "RAY_TMPDIR": folder,
        },
        tmp_path / "steps",
    )


@pytest.fixture
def local(counting: Counting, tmp_path: Path) -> Path:
    """The store of a run on this machine that nothing disturbed."""
    run = counting.started(tmp_path / "local", "local")
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0, (out, err)
    counting.notes.unlink()
    return tmp_path / "local"


@dataclass(frozen=True)
class Nodes:
    """The cluster of tests/ray_cluster.py."""

    process: subprocess.Popen[str]
    address: str
    raylets: list[int]

    def ask(self, word: str) -> Any:
        print(word, file=_there(self.process.stdin), flush=True)
        return json.loads(_there(self.process.stdout).readline())


def _there(stream: IO[str] | None) -> IO[str]:
    assert stream is not None
    return stream


@pytest.fixture
def nodes(counting: Counting) -> Iterator[Nodes]:
    process = subprocess.Popen(
        [sys.executable, ray_cluster.__file__],
        env=counting.environment,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    try:
        said = json.loads(_there(process.stdout).readline())
        yield Nodes(process, said["address"], said["raylets"])
    finally:
        process.communicate(timeout=60)


def owners(store: Path) -> dict[str, int]:
    """The process that has each arm that is being trained."""
    found = {}
    for path in store.glob("leases/[!.]*.json"):
        with contextlib.suppress(OSError, ValueError):
            found[path.stem] = json.loads(path.read_text())["pid"]
    return found


@needs_ray
@pytest.mark.slow
def test_a_node_that_is_lost_costs_at_most_a_checkpoint_interval_of_its_arm(
    counting: Counting, local: Path, nodes: Nodes, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    run = counting.started(store, f"ray:{nodes.address}")

    def in_the_middle() -> bool:
        """Both arms have checkpoints, and are some steps beyond them."""
        return len(list(store.glob("partial/*/step-*.json"))) >= 2 and all(
            time.time() - path.stat().st_mtime > EVERY_S / 2
            for path in store.glob("partial/*/step-*.json")
        )

    wait_for(in_the_middle, run)
    lost = set(ray_cluster.descendants(nodes.raylets[1]))
    there = [arm for arm, pid in owners(store).items() if pid in lost]
    assert len(there) == 1, "a worker on each node"
    before = nodes.ask("stored")["bytes"]
    nodes.ask("kill")
    out, err = run.communicate(timeout=300)
    assert run.returncode == 0 and not out and "Traceback" not in err, (out, err)
    assert_same_results(store, local)
    assert max(before, nodes.ask("stored")["bytes"]) < 1024**2, "nothing large goes through Ray"

    steps = counting.steps()
    redone = [
        (first, again)
        for first in steps
        if first.pid in lost
        for again in steps
        if again.pid not in lost and (again.seed, again.number) == (first.seed, first.number)
    ]
    assert len(steps) - len(redone) == 2 * STEPS, "no other step is done twice"
    took = max(first.at for first, _ in redone) - min(first.at for first, _ in redone)
    print(f"steps done again: {len(redone)}, {took:.2f} s of work")
    assert redone and took < EVERY_S + 0.5, "a checkpoint takes some time to be written"


@needs_ray
@pytest.mark.slow
def test_workers_do_not_outlive_a_run_that_is_killed_and_the_next_one_goes_on(
    counting: Counting, local: Path, tmp_path: Path
) -> None:
    """Here in a cluster that the run starts for itself."""
    store = tmp_path / "store"
    run = counting.started(store, "ray")
    wait_for(lambda: len(list(store.glob("partial/*/step-*.json"))) >= 2, run)
    family = ray_cluster.descendants(run.pid)
    ours = [pid for pid in family if _computes(pid)]
    assert len(ours) == 2 * 3, "actors, workers, and who trains for them"
    run.kill()
    run.communicate()
    began = time.monotonic()
    wait_for(lambda: not any(_lives(pid) for pid in ours))
    print(f"all had ended after {time.monotonic() - began:.1f} s")
    assert time.monotonic() - began < 30
    ray_cluster.end_at_once([pid for pid in family if _lives(pid)])  # Ray's own take a minute
    done = len(counting.steps())
    again = counting.started(store, "ray")
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0 and not out, (out, err)
    assert_same_results(store, local)
    assert 2 * STEPS <= len(counting.steps()) < done + 2 * STEPS, "it went on"


def _computes(pid: int) -> bool:
    command = Path(f"/proc/{pid}/cmdline").read_bytes()
    return (
        b"ray::Worker" in command
        or b"\0headwater.engines.worker" in command
        or b"--tied" in command
    )


def _lives(pid: int) -> bool:
    with contextlib.suppress(OSError):
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    return False


@needs_ray
@pytest.mark.slow
def test_a_run_that_is_told_to_stop_loses_no_step(
    counting: Counting, local: Path, nodes: Nodes, tmp_path: Path
) -> None:
    store = tmp_path / "store"
    run = counting.started(store, f"ray:{nodes.address}")
    wait_for(lambda: len(list(store.glob("partial/*/step-*.json"))) >= 2, run)
    run.send_signal(signal.SIGINT)
    run.communicate(timeout=60)
    assert not (store / "leases").exists(), "all was given back"
    again = counting.started(store, f"ray:{nodes.address}")
    out, err = again.communicate(timeout=300)
    assert again.returncode == 0 and not out, (out, err)
    assert_same_results(store, local)
    assert len(counting.steps()) == 2 * STEPS
