"""The script that Slurm is given: its options, what each may say, and the time that is asked."""

from __future__ import annotations

import difflib
import math
import re
import shlex
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from headwater import plain
from headwater.engines import controller
from headwater.engines.schedule import Pending
from headwater.errors import InputError
from headwater.plan import Plan

OPTIONS = {
    "partition": "where jobs run (several with commas); the cluster's default when left out",
    "account": "who pays",
    "qos": "quality of service",
    "gres": "what each job gets besides, such as gpu:a100:1; its GPUs with --device cuda",
    "gpus": "the same in sbatch's newer words",
    "gpus-per-arm": "GPUs that train one arm together, with DDP (1)",
    "cpus": "processors of a job; one for each worker process when left out, four on a GPU",
    "mem": "memory of a job, such as 16G; from the plan's costs when left out, none asks for none",
    "time": "of a job, such as 4:00:00; from the plan's costs when left out",
    "constraint": "features that nodes must have",
    "nodelist": "nodes to run on",
    "exclude": "nodes not to run on",
    "max-at-once": "jobs that run at the same time at most",
    "workers-per-job": "worker processes of a job (1)",
    "setup": "a line of shell to run first, such as 'module load cuda'",
    "python": "the Python that runs workers; the one of this command when left out",
}
"""By name, what each option means."""
NONE = "none"
"""For `mem`: what the cluster gives to jobs that ask for nothing."""
_WORD = (r"[\w.@+-]+(,[\w.@+-]+)*", "a name, or several with commas")
_GRES = (r"[A-Za-z]\w*(:[\w.+-]+)*(,[A-Za-z]\w*(:[\w.+-]+)*)*", "like gpu:1 or gpu:a100:2")
_GPUS = (r"([A-Za-z][\w.-]*:)?\d+", "like 1 or a100:2")
_COUNT = (r"[1-9]\d{0,4}", "a whole number from 1 on")
_NODES = (r"[A-Za-z][\w.,\[\]-]*", "names of nodes, like node[01-04]")
_FORMS = {
    "partition": _WORD,
    "account": _WORD,
    "qos": _WORD,
    "gres": _GRES,
    "gpus": _GPUS,
    "cpus": _COUNT,
    "gpus-per-arm": _COUNT,
    "mem": (rf"[1-9]\d*[KMGTkmgt]?|{NONE}", "like 16G, or none"),
    "time": (r"(\d+-)?\d+(:\d+){0,2}", "like 90 (minutes), 4:00:00 or 1-12:00:00"),
    "constraint": (r"[\w.,&|*()\[\]+:-]+", "features with & or |"),
    "nodelist": _NODES,
    "exclude": _NODES,
    "max-at-once": _COUNT,
    "workers-per-job": _COUNT,
}
"""What a value must look like: nothing that a line of a script would read in another way."""
_DIRECTIVES = ("partition", "account", "qos", "gres", "gpus", "mem", "constraint")
_NODES_OF = ("nodelist", "exclude")
WARNING_S = 60
"""Seconds before its end at which a job is told to stop [ours]: a checkpoint takes 20 at most
(headwater.engines.pool), and Slurm looks once a minute.
"""
LEAST_S = 180.0
"""A job of less would be told to stop when it has begun: Slurm warns up to a minute early."""
ASKED_AT_LEAST_S = 600.0
SAFETY = 3.0
"""Of the time that is asked to the time that is expected [ours]: the rate of a node is not known
where jobs are submitted, and a job that ends early frees what it did not use.
"""
_STEP_S = 300.0
SPARE_MEMORY = 1.5
"""Of the memory that is asked to the memory that is expected [ours]."""
CPUS_ON_GPU = 4
"""Of a worker on a GPU [ours]: images are decoded beside it."""


@dataclass(frozen=True)
class Memory:
    """Of a job, MB."""

    needed: int
    """By the plan's costs, and no more than `most`."""
    unasked: int
    """What a job gets that asks for none."""
    most: int
    """What the partition lets a job have."""

    def twice(self, before: int | None) -> int:
        """After jobs that had too little."""
        return min(2 * (before or max(self.needed, self.unasked)), self.most)


@dataclass(frozen=True)
class Wanted:
    """What is asked of Slurm for a job."""

    options: Mapping[str, str]
    """As they were given, each checked."""
    device: str
    """cuda where GPUs are asked for, else cpu."""

    @classmethod
    def of(cls, given: Mapping[str, str], environment: Mapping[str, str], device: str) -> Wanted:
        """From options, and from what sbatch's own variables say; the first win.

        Raises InputError for a value that means nothing, or something else than it should.
        """
        said = {
            name: environment[variable]
            for name, variable in controller.BY_SBATCH.items()
            if environment.get(variable)
        }
        if "gres" in given or "gpus" in given:
            said.pop("gres", None)
            said.pop("gpus", None)
        options = said | dict(given)
        for name, value in options.items():
            _check(name, value)
        if "gres" in options and "gpus" in options:
            raise InputError("--engine-option: gres and gpus say the same thing; give one of them")
        ranks = int(options.get("gpus-per-arm", 1))
        with_gpus = device.partition(":")[0] == "cuda" or (ranks > 1 and device == "auto")
        if with_gpus and not ("gres" in options or "gpus" in options):
            options["gres"] = f"gpu:{ranks}"
        if ranks > 1:
            _check_ranks(options, ranks)
        with_gpus = with_gpus or "gpus" in options or "gpu" in options.get("gres", "")
        return cls(options, "cuda" if with_gpus and device != "cpu" else "cpu")

    @property
    def per_job(self) -> int:
        """Worker processes of a job."""
        return int(self.options.get("workers-per-job", 1))

    @property
    def ranks(self) -> int:
        """Processes of a worker that train an arm together."""
        return int(self.options.get("gpus-per-arm", 1))

    @property
    def cpus(self) -> int:
        each = CPUS_ON_GPU if self.device == "cuda" else 1
        return int(self.options.get("cpus", each * self.per_job * self.ranks))

    @property
    def gpus(self) -> str | None:
        return self.options.get("gres") or self.options.get("gpus")

    def memory_mb(
        self,
        worker_bytes: float,
        partitions: Mapping[str, Mapping[str, str]],
        by_default: Mapping[str, str],
    ) -> Memory:
        """Of a job whose workers take so many bytes each."""
        said = [partitions.get(name, {}) for name in self._partitions(partitions)]
        each = math.ceil(SPARE_MEMORY * self.per_job * self.ranks * worker_bytes / 2**30)
        limits = [int(one["MaxMemPerNode"]) for one in said if _is_number(one, "MaxMemPerNode")]
        most = min(limits, default=sys.maxsize)
        unasked = [self._unasked_mb(one, by_default) for one in said]
        return Memory(min(1024 * each, most), min(unasked, default=0), most)

    def _unasked_mb(self, said: Mapping[str, str], by_default: Mapping[str, str]) -> int:
        """What a partition gives to a job that asks for no memory. All of a node counts as nothing:
        jobs would have it one after another.
        """
        of_gpu = re.search(r"DefMemPerGPU=(\d+)", said.get("JobDefaults", ""))
        if of_gpu and self.device == "cuda":
            return int(of_gpu[1]) * self.ranks
        for where in (said, by_default):
            if _is_number(where, "DefMemPerCPU"):
                return int(where["DefMemPerCPU"]) * self.cpus
            if _is_number(where, "DefMemPerNode"):
                return int(where["DefMemPerNode"])
        return 0

    def _partitions(self, partitions: Mapping[str, Mapping[str, str]]) -> list[str]:
        asked = self.options.get("partition")
        return asked.split(",") if asked else _default(partitions)

    def limit_s(self, partitions: Mapping[str, Mapping[str, str]]) -> float | None:
        """The longest that a job may take where it is to run; None where there is no limit, or none
        is known. Raises InputError for a partition that is not there.
        """
        limits = []
        for name in self._partitions(partitions) if partitions else ():
            if name not in partitions:
                near = difflib.get_close_matches(name, partitions, n=1)
                advice = f"did you mean {near[0]!r}?" if near else "it has"
                known = "" if near else f" {', '.join(partitions)}"
                raise InputError(
                    f"--engine-option partition={name}: this cluster has no such partition; "
                    f"{advice}{known}"
                )
            limits.append(controller.seconds(partitions[name].get("MaxTime", "")))
        known_limits = [limit for limit in limits if limit is not None]
        return min(known_limits, default=None)

    def time_s(self, expected_s: float, limit_s: float | None) -> tuple[float, str]:
        """Seconds to ask for, and a word on where they come from.

        Raises InputError for a time that no job can use.
        """
        said = self.options.get("time")
        if said is not None:
            asked = controller.seconds(said)
            assert asked is not None
            if asked < LEAST_S:
                raise InputError(
                    f"--engine-option time={said}: a job of less than {LEAST_S / 60:g} minutes "
                    "would be told to stop when it has begun"
                )
            if limit_s is not None and asked > limit_s and "qos" not in self.options:
                raise InputError(
                    f"--engine-option time={said}: the partition lets a job take "
                    f"{clock(limit_s)} at most; longer ones wait for ever"
                )
            return asked, "as asked"
        if limit_s is not None and limit_s < LEAST_S:
            raise InputError(
                f"the partition lets a job take {clock(limit_s)}: too little to do anything; "
                "name another one with --engine-option partition=NAME"
            )
        wanted = max(ASKED_AT_LEAST_S, _STEP_S * math.ceil(SAFETY * expected_s / _STEP_S))
        if limit_s is not None and wanted > limit_s:
            return limit_s, "all that the partition gives"
        return wanted, "by the plan's costs"


def _check_ranks(options: Mapping[str, str], ranks: int) -> None:
    """Raises InputError where jobs would not have the GPUs that train an arm together."""
    if int(options.get("workers-per-job", 1)) > 1:
        raise InputError(
            f"--engine-option workers-per-job: with gpus-per-arm={ranks} a job has one worker"
        )
    for name in ("gres", "gpus"):
        for each in options.get(name, "").split(","):
            count = each.rpartition(":")[2]
            of_gpu = each and (name == "gpus" or each.startswith("gpu"))
            if of_gpu and (int(count) if count.isdigit() else 1) != ranks:
                raise InputError(
                    f"--engine-option {name}={options[name]}: gpus-per-arm={ranks} needs {ranks}"
                )


def _check(name: str, value: str) -> None:
    what = f"--engine-option {name}={plain.line(value, 80)}"
    if name in ("setup", "python"):
        stray = plain.stray(value)
        if stray is not None or not value.strip():
            raise InputError(f"{what}: should be one line, and has {stray or 'nothing'}")
        return
    form, words = _FORMS[name]
    if not re.fullmatch(form, value, re.ASCII):
        raise InputError(f"{what}: should be {words}")


def memory_words(megabytes: int) -> str:
    """As sbatch is told it: 6G, 1500M."""
    return f"{megabytes}M" if megabytes % 1024 else f"{megabytes // 1024}G"


def _is_number(said: Mapping[str, str], name: str) -> bool:
    return said.get(name, "").isdigit() and int(said[name]) > 0


def _default(partitions: Mapping[str, Mapping[str, str]]) -> list[str]:
    return [name for name, said in partitions.items() if said.get("Default") == "YES"]


def expected_s(plan: Plan, todo: Pending, device: str, workers: int) -> float:
    """Seconds of a worker by the plan's cost model: its share of all that is to do, and the longest
    arm with what it needs and all that is measured on it, which it may begin last.
    """
    import torch

    from headwater.cost import known
    from headwater.cost.spread import Spread

    spread = Spread.of(plan, todo.arms, todo.cells, known(plan, torch.device(device)))
    return spread.start_s + spread.longest_s + spread.work_s / workers


def clock(time_s: float) -> str:
    """A time as Slurm writes it, rounded up to minutes: 0:10:00, 1-12:00:00."""
    minutes = math.ceil(time_s / 60)
    days, hours = divmod(minutes // 60, 24)
    return f"{days}-{hours:02}:{minutes % 60:02}:00" if days else f"{hours}:{minutes % 60:02}:00"


ENGINE_ID = "slurm-${SLURM_ARRAY_JOB_ID}_${SLURM_ARRAY_TASK_ID}"
"""What a worker is called: as `controller.Task.name`."""
PLACE = "slurm-task"
"""Stands for it in the words of a command, which are quoted."""


def script(
    study: str,
    worker: Sequence[str],
    wanted: Wanted,
    *,
    count: int,
    time_s: float,
    logs: Path,
) -> str:
    """The text of the script that starts an array of `count` jobs.

    `study` is the stem of the study's file in the store, `worker` the words after `python -P -m
    headwater` with `PLACE` for its name. Every word is quoted.
    """
    lines = [
        "#!/bin/bash",
        f"# Workers of the study {plain.name(study)}, submitted by `headwater run --engine slurm`.",
        "# Each computes what is free in the store; `sbatch` of this file starts more of them.",
        *(f"#SBATCH {each}" for each in _directives(study, wanted, count, time_s, logs)),
        "",
    ]
    if "setup" in wanted.options:
        lines += [wanted.options["setup"], ""]
    lines += [
        "# In place of the shell, so that Slurm's signals reach the worker: it writes a checkpoint",
        "# and ends.",
        f"exec {_command(worker, wanted)}",
    ]
    return "\n".join(lines) + "\n"


def worker_words(words: Sequence[str]) -> list[str]:
    """Words of a shell's command in which the worker's name is the one of its job."""
    return [f'"{ENGINE_ID}"' if word == PLACE else shlex.quote(word) for word in words]


def _command(worker: Sequence[str], wanted: Wanted) -> str:
    python = wanted.options.get("python", sys.executable)
    words = [*worker, "--workers", str(wanted.per_job)] if wanted.per_job > 1 else list(worker)
    return " ".join([shlex.quote(python), "-P", "-m", "headwater", *worker_words(words)])


def _directives(study: str, wanted: Wanted, count: int, time_s: float, logs: Path) -> Iterator[str]:
    most = wanted.options.get("max-at-once")
    name = re.sub(r"[^\w.-]", "-", study, flags=re.ASCII)
    yield f"--job-name=headwater-{name}"
    yield f"--array=0-{count - 1}" + (f"%{most}" if most else "")
    yield "--requeue"
    yield f"--signal=B:USR1@{WARNING_S}"
    yield "--open-mode=append"
    yield f'--output="{_pattern(logs)}/slurm-%A_%a.log"'
    yield f"--time={clock(time_s)}"
    yield "--nodes=1"
    yield "--ntasks=1"
    yield f"--cpus-per-task={wanted.cpus}"
    for option in (*_DIRECTIVES, *_NODES_OF):
        value = wanted.options.get(option)
        if value is not None and (option, value) != ("mem", NONE):
            yield f"--{option}={value}"


def _pattern(folder: Path) -> str:
    """A folder in a directive: Slurm reads % as the start of a pattern. Raises InputError where it
    cannot be said there.
    """
    text = str(folder)
    if plain.stray(text) is not None or re.search(r"[\"\\]", text):
        raise InputError(
            f"{plain.name(text)}: Slurm cannot write logs there, as the path has a quotation mark, "
            "a backslash or a control character; use a store elsewhere"
        )
    return text.replace("%", "%%")
