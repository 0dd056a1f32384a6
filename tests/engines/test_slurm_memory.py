"""The memory that Slurm is asked for, by commands that act like Slurm's."""

from __future__ import annotations

import math
import re
import shutil
import time
from dataclasses import replace

import pytest

from headwater.cost import memory
from headwater.engines import slurm
from headwater.engines.batch import Memory, Wanted
from headwater.engines.controller import Task
from headwater.engines.elsewhere import Asked
from headwater.errors import InputError
from tests.engines.conftest import Fake


def asked_memory(placed: slurm.Array) -> str | None:
    """What the array which is submitted asks for a job."""
    placed.start(1)
    found = re.search(r"^#SBATCH --mem=(\S+)$", placed._jobs.script.read_text(), re.MULTILINE)
    return found[1] if found else None


@pytest.fixture
def ending(fake: Fake) -> Asked:
    """Jobs that end at once."""
    wanted = fake.wanted()
    return replace(
        wanted, options={**wanted.options, "python": fake.program("#!/bin/sh\nexit 1\n")}
    )


def after(placed: slurm.Array) -> str | None:
    """The memory that is asked when all jobs before have ended."""
    end = time.monotonic() + 30
    while placed.alive():
        assert time.monotonic() < end
        time.sleep(0.02)
    return asked_memory(placed)


def test_memory_is_asked_by_the_plans_costs_unless_jobs_have_as_much_unasked(
    fake: Fake, ending: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    def asked(**options: str) -> str | None:
        (fake.store.root / "slurm").exists() and shutil.rmtree(fake.store.root / "slurm")
        more = {name.replace("_", "-"): value for name, value in options.items()}
        return asked_memory(slurm.place(replace(ending, options={**ending.options, **more})))

    expected = math.ceil(1.5 * memory.worker_bytes(fake.plan, "cpu") / 2**30)
    assert asked() == f"{expected}G"
    assert f"1 processor, {expected}G of memory, no GPU" in caplog.text
    several = asked(workers_per_job="4")
    assert several is not None and 4 * (expected - 1) < int(several[:-1]) <= 4 * expected
    assert asked(partition="whole") == f"{expected}G"  # all of a node would be one worker's
    assert asked(partition="roomy") is None
    assert asked(partition="roomy,main") == f"{expected}G"
    assert asked(partition="capped") == "1500M"  # more would wait for ever
    assert asked(partition="capped", mem="7G") == "7G"
    assert asked(mem="none") is None


def test_what_a_cluster_gives_unasked_is_read_from_where_it_is_said() -> None:
    wanted = Wanted.of({"partition": "a", "cpus": "2", "gpus": "1"}, {}, "cuda")

    def unasked(said: dict[str, str], cluster: dict[str, str]) -> int:
        return wanted.memory_mb(1e9, {"a": said}, cluster).unasked

    unlimited = {"DefMemPerNode": "UNLIMITED"}
    assert unasked(unlimited, {"DefMemPerCPU": "500"}) == 1000
    assert unasked({"DefMemPerCPU": "700"}, {"DefMemPerCPU": "500"}) == 1400
    assert unasked(unlimited, {"DefMemPerNode": "900"}) == 900
    assert unasked(unlimited, unlimited) == unasked({}, {}) == 0
    assert unasked({"JobDefaults": "DefCpuPerGPU=2,DefMemPerGPU=64000"}, {}) == 64000


def test_where_slurm_gives_no_memory_none_is_asked(
    fake: Fake, ending: Asked, caplog: pytest.LogCaptureFixture
) -> None:
    (fake.folder / "no memory").touch()
    with pytest.raises(InputError, match="Memory specification can not be satisfied"):
        # what the user asked for is not taken back
        slurm.place(replace(ending, options={**ending.options, "mem": "7G"})).start(1)
    assert asked_memory(slurm.place(ending)) is None
    assert "G of memory a job: Slurm refuses" in caplog.text
    assert "the cluster's default of memory" in caplog.text


def test_jobs_that_ended_for_want_of_memory_get_twice_as_much(fake: Fake, ending: Asked) -> None:
    placed = slurm.place(ending)
    first = asked_memory(placed)
    assert first is not None and after(placed) == first
    needed = int(first[:-1])
    (fake.folder / "ended").write_text("OUT_OF_MEMORY")
    assert after(placed) == f"{2 * needed}G"
    assert after(slurm.place(ending)) == f"{4 * needed}G"  # another run, later
    assert Memory(needed=6, unasked=0, most=9).twice(6) == 9


@pytest.mark.slow
def test_memory_does_not_double_where_nothing_is_submitted(
    fake: Fake, ending: Asked, monkeypatch: pytest.MonkeyPatch
) -> None:
    placed = slurm.place(ending)
    first = asked_memory(placed)
    assert first is not None
    needed = int(first[:-1])
    (fake.folder / "ended").write_text("OUT_OF_MEMORY")
    placed._tasks.append(Task(1, 0, "RUNNING", "", None, ""))
    (fake.folder / "refused").write_text("sbatch: error: too many jobs")
    for _ in range(3):
        placed._submit(1)
    (fake.folder / "refused").unlink()
    assert asked_memory(placed) == f"{2 * needed}G"
    (fake.folder / "no memory").touch()
    with pytest.raises(InputError, match="Memory specification"):
        after(placed)  # less would end for want of it again
    (fake.folder / "no memory").unlink()
    assert after(placed) == f"{4 * needed}G"


def test_jobs_that_had_their_memory_unasked_get_twice_that_too(fake: Fake, ending: Asked) -> None:
    placed = slurm.place(replace(ending, options={**ending.options, "partition": "roomy"}))
    assert asked_memory(placed) is None
    (fake.folder / "ended").write_text("OUT_OF_MEMORY")
    assert after(placed) == "125G"  # twice 64,000 MB
