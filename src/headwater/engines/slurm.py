"""Workers in the queue of Slurm: an array of jobs, submitted with sbatch.

    <store>/slurm/<study>.json     numbers of the jobs that were submitted for a study, and the
                                   memory that each was asked
    <store>/slurm/<study>.sh       what was submitted last
    <store>/logs/slurm-<job>_<task>.log

A run that comes second finds the jobs of the first one there, and goes on with them. Jobs that
Slurm puts back into its queue are left to it; those that ended for good while work is left are
submitted anew.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from headwater import digests, files, plain
from headwater.engines import batch, controller
from headwater.engines.controller import UNKNOWN, Silent, Task
from headwater.engines.elsewhere import Asked
from headwater.engines.engine import Engine
from headwater.engines.schedule import pending
from headwater.errors import InputError
from headwater.store import Store
from headwater.store import studies as under_way

FOLDER = "slurm"
LOOK_EVERY_S = 5.0
"""Seconds between two questions to Slurm [ours]: its controller serves a whole cluster."""
_STUCK = (
    "JobHeldUser",
    "JobHeldAdmin",
    "launch failed requeued held",
    "PartitionTimeLimit",
    "PartitionConfig",
    "PartitionDown",
    "PartitionInactive",
    "PartitionNodeLimit",
    "BadConstraints",
    "MaxMemPerLimit",
    "AssocMaxMemPerJob",
    "AssocMaxMemPerNode",
    "QOSMaxMemoryPerJob",
    "QOSMaxMemoryPerNode",
    "AccountNotAllowed",
    "QOSNotAllowed",
    "DependencyNeverSatisfied",
    "InvalidAccount",
    "InvalidQOS",
)
"""Reasons for which a job waits until somebody does something."""
_LAST_BYTES = 4000


class Jobs:
    """The jobs of one study in a store, as its record has them: {number of an array: tasks}."""

    def __init__(self, store: Store, study: str) -> None:
        self.study, self.folder = study, store.root.resolve() / FOLDER
        self.record = self.folder / f"{study}.json"
        self.script = self.folder / f"{study}.sh"

    def read(self) -> dict[int, int]:
        try:
            said = digests.read_record(self.record)["jobs"]
            return {int(each["job"]): int(each["tasks"]) for each in said}
        except FileNotFoundError:
            return {}
        except (OSError, ValueError, KeyError, TypeError) as error:
            digests.tell(
                f"{self.record}: is damaged ({digests.reason(error)}); jobs that it named are not "
                "known any more, and leave when nothing is left to do"
            )
            return {}

    def memory_mb(self) -> int | None:
        """What the last jobs were asked by the plan's costs."""
        try:
            said = digests.read_record(self.record).get("memory_mb")
        except (OSError, ValueError):
            return None
        return said if isinstance(said, int) else None

    def write(self, jobs: dict[int, int], memory_mb: int | None) -> None:
        said = [{"job": job, "tasks": tasks} for job, tasks in sorted(jobs.items())]
        record = digests.sealed({"study": self.study, "jobs": said, "memory_mb": memory_mb})
        files.write_atomic(self.record, json.dumps(record, indent=1) + "\n")

    def forget(self) -> None:
        for path in (self.record, self.script):
            path.unlink(missing_ok=True)
        try:
            self.folder.rmdir()
        except OSError:
            return  # other studies have jobs


class Array:
    """Arrays of jobs of one study (headwater.engines.elsewhere.Placed)."""

    def __init__(
        self, asked: Asked, wanted: batch.Wanted, partitions: Mapping[str, Mapping[str, str]]
    ) -> None:
        assert asked.study is not None
        self._asked, self._wanted, self._partitions = asked, wanted, partitions
        self._limit_s = wanted.limit_s(partitions)
        self._jobs = Jobs(asked.store, asked.study.stem)
        self._memory = self._jobs.memory_mb()
        """What the last jobs were asked by the plan's costs, MB."""
        self._of_job: batch.Memory | None = None
        self._tasks: list[Task] = []
        self._answered = set[int]()
        """Jobs of which Slurm has told, at least once, what became of them."""
        self._looked = -math.inf
        self._last: int | None = None
        self._told = set[str]()

    def alive(self) -> int:
        """Worker processes of jobs that wait, run, or are being put back into the queue. What Slurm
        said last counts while it does not answer.
        """
        if time.monotonic() - self._looked >= LOOK_EVERY_S:
            self._look()
        return len(self._tasks) * self._wanted.per_job

    def start(self, count: int) -> None:
        tasks = math.ceil(count / self._wanted.per_job)
        with self._asked.store.leases.alone(f"slurm-{self._jobs.study}"):
            before = len(self._tasks)
            self._look()  # another run of this study may have submitted some meanwhile
            tasks -= max(0, len(self._tasks) - before)
            if tasks > 0:
                self._submit(tasks)

    def last_words(self) -> str:
        logs = self._asked.store.root / "logs"
        known = sorted(logs.glob(f"slurm-{self._last or '*'}_*.log"), key=_changed)
        end = None if self._last is None else controller.end_of(self._last)
        how = "" if end is None else f"job {self._last} of Slurm: {end}; "
        if not known:
            return f"{how}there is no log of them in {logs}"
        return f"{how}{known[-1]}: {_last_line(known[-1])}"

    def close(self, *, stop: bool) -> None:
        jobs = list(self._jobs.read())
        done = not pending(self._asked.plan, self._asked.store).cells
        try:
            if stop:
                controller.stop(jobs)
                self._say_stopped()
            elif done:
                controller.cancel_waiting(jobs)
        except (Silent, InputError) as error:
            which = " ".join(map(str, jobs))
            self._tell(f"slurm: jobs could not be told to end ({error}); `scancel {which}` does it")
            return
        if done:
            self._jobs.forget()

    def attached(self) -> None:
        """Says which jobs of an earlier run are there."""
        alive = self.alive()
        if alive:
            jobs = ", ".join(dict.fromkeys(str(task.job) for task in self._tasks))
            states = _states([task.state for task in self._tasks])
            self._tell(f"slurm: {counted(alive, 'worker')} of job {jobs} are there ({states})")

    def _submit(self, tasks: int) -> None:
        asked, wanted = self._asked, self._wanted
        expected_s = 0.0
        if "time" not in wanted.options:
            left = pending(asked.plan, asked.store)
            if not left.cells:
                return
            workers = tasks * wanted.per_job
            expected_s = batch.expected_s(asked.plan, left, wanted.device, workers)
        time_s, why = wanted.time_s(expected_s, self._limit_s)
        logs = asked.store.root.resolve() / "logs"
        logs.mkdir(parents=True, exist_ok=True)  # without it Slurm starts no job
        worker = asked.worker(batch.PLACE)
        try:
            job = self._with_memory(worker, tasks, time_s, logs)
        except Silent as error:
            if self._last is None:
                raise InputError(f"Slurm does not answer: {error}") from None
            self._tell(f"slurm: does not answer ({error}); it is asked again")
            return
        except InputError as error:
            if not self._tasks:
                raise
            self._tell(
                f"slurm: {error}; what is there goes on ({counted(len(self._tasks), 'job')})"
            )
            return
        self._last = job
        self._jobs.write({**self._known(), job: tasks}, self._memory)
        self._tasks += [Task(job, index, "PENDING", "", None, "") for index in range(tasks)]
        self._tell(
            f"slurm: job {job} submitted, {_jobs_words(tasks, wanted)}; each for "
            f"{batch.clock(time_s)} at most ({why}), {_resources(wanted, self._memory)}; "
            f"script {self._jobs.script}, logs {logs}/slurm-{job}_*.log"
        )

    def _with_memory(self, worker: Sequence[str], tasks: int, time_s: float, logs: Path) -> int:
        """The number of an array that Slurm took: of what is tried the first memory that it does
        not refuse. Raises what the last one was refused with.
        """
        tried = [None] if "mem" in self._wanted.options else self._memories()
        refused = []
        for place, memory in enumerate(tried):
            more = {} if memory is None else {"mem": batch.memory_words(memory)}
            wanted = replace(self._wanted, options={**self._wanted.options, **more})
            text = batch.script(
                self._jobs.study, worker, wanted, count=tasks, time_s=time_s, logs=logs
            )
            files.write_atomic(self._jobs.script, text)
            try:
                job = controller.submit(self._jobs.script)
            except InputError as error:
                if place == len(tried) - 1:
                    raise
                assert memory is not None
                refused.append(f"slurm: {batch.memory_words(memory)} of memory a job: {error}")
                continue
            for line in refused:
                self._tell(line)
            self._memory = memory
            return job
        raise AssertionError("something is tried")

    def _memories(self) -> list[int | None]:
        """Memory to ask for a job, MB, or None for nothing, one after another until Slurm takes it:
        twice as much as before where the last jobs ended for want of it, as it is an estimate.
        """
        if self._of_job is None:
            from headwater.cost.memory import worker_bytes

            each = worker_bytes(self._asked.plan, self._wanted.device)
            self._of_job = self._wanted.memory_mb(each, self._partitions, controller.by_default())
        last = max(self._jobs.read(), default=None) if self._last is None else self._last
        ended = None if last is None else controller.end_of(last)
        if "OUT_OF_MEMORY" in (ended or ""):
            return [self._of_job.twice(self._memory), self._memory]
        if self._memory is not None:
            return [self._memory, None]
        needed = self._of_job.needed
        return [needed, None] if needed > self._of_job.unasked else [None]

    def _known(self) -> dict[int, int]:
        """The recorded jobs but for those that are gone."""
        there = {task.job for task in self._tasks}
        return {job: tasks for job, tasks in self._jobs.read().items() if job in there}

    def _look(self) -> None:
        self._looked = time.monotonic()
        recorded = self._jobs.read()
        try:
            found = controller.tasks(list(recorded))
        except Silent as error:
            self._tell(f"slurm: does not answer ({error}); what it said last counts")
            for job in recorded.keys() - self._answered - {task.job for task in self._tasks}:
                self._tasks += list(_unknown(job, recorded[job]))
            return
        self._tasks = found
        self._answered |= recorded.keys()
        for task in found:
            if task.reason in _STUCK and task.state == "PENDING":
                self._tell(
                    f"slurm: job {task.job} waits until somebody does something ({task.reason}); "
                    f"`scontrol show job {task.job}` says more"
                )

    def _say_stopped(self) -> None:
        running = sum(task.state not in ("PENDING", UNKNOWN) for task in self._tasks)
        waiting = sum(task.state == "PENDING" for task in self._tasks)
        if self._tasks:
            self._tell(
                f"slurm: {counted(running, 'job')} told to write checkpoints and end, "
                f"{counted(waiting, 'waiting one')} taken off"
            )

    def _tell(self, line: str) -> None:
        """Once each."""
        if line not in self._told:
            self._told.add(line)
            digests.tell(line)


def _unknown(job: int, tasks: int) -> Iterator[Task]:
    for index in range(tasks):
        yield Task(job, index, UNKNOWN, "", None, "Slurm does not answer")


def counted(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"


def _states(states: list[str]) -> str:
    return ", ".join(f"{states.count(state)} {state}" for state in dict.fromkeys(states))


def _jobs_words(tasks: int, wanted: batch.Wanted) -> str:
    each = f" of {wanted.per_job} processes" if wanted.per_job > 1 else ""
    array = "a worker" if tasks == 1 else f"an array of {tasks} workers"
    partition = wanted.options.get("partition")
    return f"{array}{each}" + (f" on {partition}" if partition else "")


def _resources(wanted: batch.Wanted, asked_mb: int | None) -> str:
    memory = wanted.options.get("mem", batch.memory_words(asked_mb) if asked_mb else batch.NONE)
    words = [
        counted(wanted.cpus, "processor"),
        "the cluster's default of memory" if memory == batch.NONE else f"{memory} of memory",
        wanted.gpus or "no GPU (--device cuda asks for one)",
    ]
    return ", ".join(words)


def _changed(path: Path) -> float:
    try:
        return path.stat().st_mtime
    except OSError:
        return 0.0


def _last_line(path: Path) -> str:
    """The last line of a log that says something."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, os.fstat(file.fileno()).st_size - _LAST_BYTES))
            lines = file.read().decode("utf-8", "replace").splitlines()
    except OSError as error:
        return f"cannot be read ({error.strerror})"
    said = [line for line in lines if line.strip()]
    return plain.line(said[-1], 300) if said else "is empty"


def place(asked: Asked) -> Array:
    """Jobs of an earlier run that are there are taken up. Raises InputError where Slurm is not
    here, or an option is wrong.
    """
    wanted = batch.Wanted.of(asked.options, os.environ, asked.device)
    if asked.device == "auto" and wanted.device == "cuda":
        asked = replace(asked, device="cuda")  # a job that lost its GPU must not go on without
    asked = replace(asked, ranks=wanted.ranks)
    array = Array(asked, wanted, controller.partitions())
    array.attached()
    return array


def queue(store: Store) -> list[dict[str, Any]]:
    """The jobs of a store: `worker`, `study`, `state`, `reason`, `node`, `left_s` each. One that
    Slurm does not tell of is UNKNOWN, unless its study is not under way any more.
    """
    folder = store.root / FOLDER
    jobs: dict[int, Jobs] = {}
    sizes: dict[int, int] = {}
    for path in sorted(folder.glob("[!.]*.json")):
        of_study = Jobs(store, path.stem)
        for job, tasks in of_study.read().items():
            jobs[job], sizes[job] = of_study, tasks
    if not jobs:
        return []
    try:
        found = controller.tasks(list(jobs))
    except (Silent, InputError) as error:
        studies = store.root / under_way.FOLDER
        found = [
            replace(task, reason=str(error))
            for job, tasks in sizes.items()
            if (studies / jobs[job].record.name).is_file()
            for task in _unknown(job, tasks)
        ]
    return [
        {
            "worker": task.name,
            "study": jobs[task.job].study,
            "state": task.state,
            "reason": None if task.reason in ("", "None") else task.reason,
            "node": task.node or None,
            "left_s": task.left_s if task.state == "RUNNING" else None,
        }
        for task in sorted(found, key=lambda task: (task.job, task.index or 0))
    ]


ENTRY = Engine(
    "slurm",
    title="an array of jobs in the queue of Slurm (docs/cluster.md)",
    place=place,
    options=batch.OPTIONS,
    queue=queue,
    order=20,
)
