"""What Slurm's commands are asked, and what they answer.

Plain commands, with no library between: what is submitted is a text that people can read, and
nothing is pickled.
"""

from __future__ import annotations

import os
import re
import subprocess
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater import plain
from headwater.errors import InputError

ANSWERS_S = 30.0
"""Seconds for which an answer is waited for [ours]: sbatch tries for 9 where nobody listens."""
LOOKS_S = 5.0
"""The same, where it is asked again and again what became of jobs [ours]."""
_FORMAT = "%i|%T|%N|%L|%r"
_OURS = ("SBATCH_", "SQUEUE_", "SCANCEL_")
"""Variables that change what commands do. Those of sbatch are options of the engine (BY_SBATCH);
those of the others would hide jobs.
"""
BY_SBATCH = {
    "account": "SBATCH_ACCOUNT",
    "constraint": "SBATCH_CONSTRAINT",
    "gpus": "SBATCH_GPUS",
    "gres": "SBATCH_GRES",
    "mem": "SBATCH_MEM_PER_NODE",
    "partition": "SBATCH_PARTITION",
    "qos": "SBATCH_QOS",
    "time": "SBATCH_TIMELIMIT",
}
"""Option of the engine -> the variable by which sbatch is told the same."""
_KEPT = ("SBATCH_EXPORT", "SBATCH_RESERVATION", "SBATCH_CLUSTERS")
UNKNOWN = "UNKNOWN"
"""The state of a job where Slurm does not answer."""


class Silent(Exception):
    """Slurm does not answer, or not what it was asked. The message is one line."""


@dataclass(frozen=True)
class Task:
    """One task of an array of jobs that is in the queue."""

    job: int
    """Of the array."""
    index: int | None
    """In the array; None of several that are told as one."""
    state: str
    """As Slurm calls it: PENDING, RUNNING, COMPLETING, ..."""
    node: str
    """Empty while it waits."""
    left_s: float | None
    """Seconds until its time is over."""
    reason: str
    """Why it waits."""

    @property
    def name(self) -> str:
        """As its worker is called in leases."""
        return f"slurm-{self.job}" if self.index is None else f"slurm-{self.job}_{self.index}"


def submit(script: Path) -> int:
    """The number of the array of jobs that a script became. Raises InputError where it is refused,
    and Silent where nobody answers.
    """
    answer = _asked("sbatch", "--parsable", str(script))
    if answer.code:
        told = _words(answer.said)
        if _is_silence(answer.said):
            raise Silent(told)
        raise InputError(f"Slurm refuses {script}: {told}")
    found = re.search(r"^(\d+)(;\S*)?$", answer.out, re.MULTILINE)
    if found is None:
        raise InputError(f"sbatch --parsable names no job, but says: {plain.line(answer.out, 200)}")
    return int(found[1])


def tasks(jobs: Sequence[int], *, timeout_s: float = LOOKS_S) -> list[Task]:
    """The tasks of arrays of jobs that wait, run or are about to end; those that ended for good are
    not among them. Raises Silent where Slurm does not answer.
    """
    if not jobs:
        return []
    which = ",".join(map(str, jobs))
    words = ("--array", "--noheader", f"--format={_FORMAT}", f"--jobs={which}")
    answer = _asked("squeue", *words, timeout_s=timeout_s)
    if answer.code and "nvalid job id" in answer.said:
        return []
    if answer.code:
        raise Silent(_words(answer.said))
    return list(_tasks(answer.out, set(jobs)))


def _tasks(text: str, jobs: set[int]) -> Iterator[Task]:
    for line in text.splitlines():
        fields = [field.strip() for field in line.split("|", 4)]
        found = re.match(r"(\d+)(?:_(\d+|\[.*\]))?$", fields[0])
        if len(fields) < 5 or found is None or int(found[1]) not in jobs:
            continue
        index = int(found[2]) if found[2] and found[2].isdigit() else None
        state, node, left, reason = fields[1:]
        yield Task(int(found[1]), index, state, node, seconds(left), reason)


def stop(jobs: Sequence[int]) -> None:
    """Tells what runs to write checkpoints and end, and takes off what waits. Raises Silent."""
    which = [str(job) for job in jobs]
    if which:
        cancel_waiting(jobs)
        _told("scancel", "--batch", "--signal=USR1", "--state=RUNNING", *which)


def cancel_waiting(jobs: Sequence[int]) -> None:
    """Takes off what waits. Raises Silent."""
    if jobs:
        _told("scancel", "--state=PENDING", *map(str, jobs))


def _told(*words: str) -> None:
    answer = _asked(*words)
    if answer.code and _is_silence(answer.said):
        raise Silent(_words(answer.said))  # a job that ended meanwhile is no fault


def partitions() -> dict[str, dict[str, str]]:
    """What Slurm says of each partition, by name; empty where it does not answer."""
    try:
        answer = _asked("scontrol", "show", "partition", "--oneliner")
    except Silent:
        return {}
    found = {}
    for line in answer.out.splitlines():
        fields = dict(word.split("=", 1) for word in line.split() if "=" in word)
        if "PartitionName" in fields:
            found[fields["PartitionName"]] = fields
    return found


def by_default() -> dict[str, str]:
    """What holds on all of the cluster where a partition says nothing; empty where Slurm does not
    answer.
    """
    try:
        answer = _asked("scontrol", "show", "config")
    except (Silent, InputError):
        return {}
    lines = [line.partition("=") for line in answer.out.splitlines() if "=" in line]
    return {name.strip(): value.strip() for name, _, value in lines}


def end_of(job: int) -> str | None:
    """How the tasks of an array ended, as far as Slurm still knows."""
    try:
        answer = _asked("scontrol", "show", "job", str(job), "--oneliner", timeout_s=LOOKS_S)
    except (Silent, InputError):
        return None
    ends = re.findall(r"JobState=(\S+) .*?ExitCode=(\S+)", answer.out)
    told = dict.fromkeys(f"{state} (exit code {code})" for state, code in ends)
    return ", ".join(told) or None


def seconds(text: str) -> float | None:
    """What Slurm means by a time: minutes, minutes:seconds, hours:minutes:seconds, days-hours,
    days-hours:minutes or days-hours:minutes:seconds; None for any other text (UNLIMITED, INVALID).
    """
    found = re.fullmatch(r"(?:(\d+)-)?(\d+)(?::(\d+))?(?::(\d+))?", text)
    if found is None:
        return None
    days = found[1]
    numbers = [int(number) for number in found.groups()[1:] if number is not None]
    if days is not None:
        hours, minutes, rest = (*numbers, 0, 0)[:3]
        return 86400.0 * int(days) + 3600 * hours + 60 * minutes + rest
    if len(numbers) == 3:
        return 3600.0 * numbers[0] + 60 * numbers[1] + numbers[2]
    return 60.0 * numbers[0] + (numbers[1] if len(numbers) == 2 else 0)


@dataclass(frozen=True)
class _Answer:
    code: int
    out: str
    said: str
    """On stderr."""


def _asked(command: str, *words: str, timeout_s: float = ANSWERS_S) -> _Answer:
    """Raises InputError where there is no such command, and Silent where it does not end."""
    try:
        done = subprocess.run(
            [command, *words],
            stdin=subprocess.DEVNULL,
            capture_output=True,
            encoding="utf-8",
            errors="replace",
            timeout=timeout_s,
            check=False,
            env=_environment(os.environ),
        )
    except FileNotFoundError:
        raise InputError(
            f"--engine slurm: there is no `{command}` here; run this where jobs are submitted, on "
            "a login node of the cluster"
        ) from None
    except OSError as error:
        raise InputError(f"--engine slurm: `{command}` cannot be run ({error.strerror})") from None
    except subprocess.TimeoutExpired:
        raise Silent(f"{command} did not answer within {timeout_s:g} seconds") from None
    return _Answer(done.returncode, done.stdout, done.stderr)


def _environment(given: Mapping[str, str]) -> dict[str, str]:
    return {
        name: value for name, value in given.items() if name in _KEPT or not name.startswith(_OURS)
    }


def _is_silence(said: str) -> bool:
    """Whether this is of a controller that is away, and not of what was asked."""
    away = r"[Uu]nable to contact|timed? ?out|[Cc]onnection refused|connect failure|try again"
    return re.search(away, said) is not None


def _words(said: str) -> str:
    """What was said on stderr, on one line and without what each line begins with."""
    lines = [re.sub(r"^\w+: (error|fatal): ", "", line) for line in said.splitlines()]
    return plain.line("; ".join(filter(None, lines)), 300) or "it says nothing"
