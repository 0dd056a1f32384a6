#!/usr/bin/env python3
"""As much of Slurm's commands as Headwater asks, where there is no Slurm: each is this file under
another name, and jobs are processes of this machine.

What is in the queue is `$FAKE_SLURM/queue.json`, which tests read and write. A file `down` in that
folder makes all commands fail as if the controller were away, one `refused` makes sbatch say what
it holds, and with one `full` jobs wait. With `no memory` it refuses jobs that ask for
any. One `ended` holds how all jobs ended (FAILED).
"""

from __future__ import annotations

import fcntl
import json
import os
import re
import shlex
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

COMMANDS = ("sbatch", "squeue", "scancel", "scontrol")
PARTITIONS = """\
PartitionName=main Default=YES MaxTime=7-00:00:00 State=UP
PartitionName=short Default=NO MaxTime=00:30:00 State=UP
PartitionName=endless Default=NO MaxTime=UNLIMITED State=UP
PartitionName=roomy Default=NO MaxTime=UNLIMITED DefMemPerCPU=64000 State=UP
PartitionName=capped Default=NO MaxTime=UNLIMITED MaxMemPerNode=1500 State=UP
PartitionName=whole Default=NO MaxTime=UNLIMITED DefMemPerNode=UNLIMITED State=UP
"""
CONFIG = """\
Configuration data as of 2026-01-01T00:00:00
DefMemPerNode           = UNLIMITED
MaxMemPerNode           = UNLIMITED
"""
Queue = dict[str, Any]


def installed(folder: Path) -> Path:
    """A folder for PATH, made in `folder`, where the queue is kept too."""
    commands = folder / "commands"
    commands.mkdir(parents=True)
    for name in COMMANDS:
        text = f'#!/bin/sh\nexec {sys.executable} -ISE {shlex.quote(__file__)} {name} "$@"\n'
        (commands / name).write_text(text)
        (commands / name).chmod(0o755)
    return commands


def main() -> None:
    command, *words = sys.argv[1:]
    folder = Path(os.environ["FAKE_SLURM"])
    with (folder / "asked").open("a") as log:
        log.write(shlex.join([command, *words]) + "\n")
    if (folder / "down").exists():
        sys.exit(f"{command}: error: Unable to contact slurm controller (connect failure)")
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        path = folder / "queue.json"
        queue = json.loads(path.read_text()) if path.exists() else {"last": 0, "tasks": {}}
        {"sbatch": sbatch, "squeue": squeue, "scancel": scancel, "scontrol": scontrol}[command](
            words, queue, folder
        )
        path.write_text(json.dumps(queue))


def sbatch(words: list[str], queue: Queue, folder: Path) -> None:
    if (folder / "refused").exists():
        sys.exit((folder / "refused").read_text())
    text = Path(words[-1]).read_text()
    asked = {}
    for line in re.findall(r"^#SBATCH --(.*)$", text, re.MULTILINE):
        name, _, value = line.partition("=")
        asked[name] = value
    if "mem" in asked and (folder / "no memory").exists():
        sys.exit(
            "sbatch: error: Memory specification can not be satisfied\nsbatch: error: Batch job "
            "submission failed: Requested node configuration is not available"
        )
    found = re.match(r"0-(\d+)", asked["array"])
    assert found
    queue["last"] += 1
    job = queue["last"]
    waits = (folder / "full").exists()
    for index in range(int(found[1]) + 1):
        task: dict[str, Any] = {"state": "PENDING", "reason": "Resources" if waits else ""}
        if not waits:
            output = shlex.split(asked["output"])[0].replace("%%", "\0")
            output = output.replace("%A", str(job)).replace("%a", str(index)).replace("\0", "%")
            numbers = {"SLURM_ARRAY_JOB_ID": str(job), "SLURM_ARRAY_TASK_ID": str(index)}
            with open(output, "ab") as log:
                process = subprocess.Popen(
                    ["bash", words[-1]],
                    stdin=subprocess.DEVNULL,
                    stdout=log,
                    stderr=log,
                    env={**os.environ, **numbers},
                    start_new_session=True,
                )
            task = {"state": "RUNNING", "reason": "None", "pid": process.pid}
        queue["tasks"][f"{job}_{index}"] = task
    print(job)


def squeue(words: list[str], queue: Queue, folder: Path) -> None:
    (which,) = (word.partition("=")[2].split(",") for word in words if word.startswith("--jobs="))
    assert {"--array", "--noheader", "--format=%i|%T|%N|%L|%r"} <= set(words)
    if not {job for job in which if int(job) <= queue["last"]}:
        sys.exit("slurm_load_jobs error: Invalid job id specified")
    for name, task in list(queue["tasks"].items()):
        if "pid" in task and not lives(task["pid"]):
            del queue["tasks"][name]
        elif name.split("_")[0] in which:
            node = "fake1" if "pid" in task else ""
            print(f"{name}|{task['state']}|{node}|9:30|{task['reason']}")


def scancel(words: list[str], queue: Queue, folder: Path) -> None:
    options = dict(word[2:].partition("=")[::2] for word in words if word.startswith("--"))
    jobs = {word for word in words if not word.startswith("--")}
    for name, task in list(queue["tasks"].items()):
        if name.split("_")[0] not in jobs or options.get("state", task["state"]) != task["state"]:
            continue
        if "pid" in task:
            number = signal.Signals[f"SIG{options.get('signal', 'TERM')}"]
            with suppress(ProcessLookupError):
                os.kill(task["pid"], number)
        else:
            del queue["tasks"][name]


def scontrol(words: list[str], queue: Queue, folder: Path) -> None:
    if words[:2] == ["show", "partition"]:
        print(PARTITIONS, end="")
    elif words == ["show", "config"]:
        print(CONFIG, end="")
    else:
        ended = folder / "ended"
        how = ended.read_text() if ended.exists() else "FAILED"
        print(f"JobId={words[2]} JobName=x JobState={how} Reason=NonZeroExitCode ExitCode=1:0 A=b")


def lives(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except OSError:
        return False


if __name__ == "__main__":
    main()
