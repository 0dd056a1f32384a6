"""A real Slurm of one node, on ports and in a folder of its own, for the time of a test."""

from __future__ import annotations

import contextlib
import os
import platform
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

CPUS = 8
CONF = """
ClusterName=headwater
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ctld_port}
SlurmdPort={d_port}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
CommunicationParameters=NoInAddrAny,NoCtldInAddrAny
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SchedulerParameters=sched_interval=1,bf_interval=1,batch_sched_delay=1
ReturnToService=2
SlurmdParameters=config_overrides
MpiDefault=none
KillWait=30
NodeName=node0 NodeHostname={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=8000 State=UNKNOWN
PartitionName=main Nodes=ALL Default=YES MaxTime=60 State=UP
PartitionName=short Nodes=ALL MaxTime=5 State=UP
"""


@dataclass
class OneNode:
    """A cluster that runs; its commands find it by `environment`."""

    folder: Path
    environment: dict[str, str]

    def ask(self, *words: str) -> str:
        """What a command of Slurm says."""
        done = subprocess.run(
            words, env=self.environment, capture_output=True, text=True, check=False, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    def states(self) -> dict[str, str]:
        """The state of every task of an array that is in the queue, by its name."""
        lines = self.ask("squeue", "--array", "--noheader", "--format=%i %T").splitlines()
        return dict(line.split() for line in lines)

    def wait_for(self, happened: Callable[[], object], seconds: float = 120) -> None:
        end = time.monotonic() + seconds
        while not happened():
            log = (self.folder / "slurmctld.log").read_text()[-2000:]
            assert time.monotonic() < end, f"waited too long; the controller said: {log}"
            time.sleep(0.05)

    def clear(self) -> None:
        """Takes off all jobs, and waits until they are gone."""
        self.ask("scancel", "--user=root", "--signal=KILL", "--batch")
        self.ask("scancel", "--user=root")
        self.wait_for(lambda: not self.states())


@contextlib.contextmanager
def started() -> Iterator[OneNode]:
    """Ends all that it started. Paths of sockets are short, so it lies in the system's folder for
    temporary files.
    """
    folder = Path(tempfile.mkdtemp(prefix="headwater-slurm-"))
    host = platform.node().split(".")[0]
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(mode=0o755)
    ports = {"ctld_port": free_port(), "d_port": free_port()}
    conf = folder / "slurm.conf"
    conf.write_text(CONF.format(folder=folder, host=host, cpus=CPUS, **ports))
    key = folder / "munge" / "key"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o400)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SLURM_")}
    environment = {**kept, "SLURM_CONF": str(conf)}
    files = ("key-file", "socket", "pid-file", "log-file", "seed-file")
    at = [f"--{name}={folder}/munge/{name.split('-')[0]}" for name in files]
    daemons: list[subprocess.Popen[bytes]] = []
    cluster = OneNode(folder, environment)

    def start(*words: str) -> None:
        with (folder / f"{Path(words[0]).name}.out").open("wb") as out:
            daemons.append(
                subprocess.Popen(
                    words, env=environment, stdout=out, stderr=out, stdin=subprocess.DEVNULL
                )
            )

    try:
        start("/usr/sbin/munged", "--foreground", "--force", *at)
        cluster_up(lambda: (folder / "munge" / "socket").exists(), folder)
        start("/usr/sbin/slurmctld", "-D", "-f", str(conf))
        start("/usr/sbin/slurmd", "-D", "-f", str(conf))
        cluster_up(lambda: _is_idle(environment), folder)
        yield cluster
        cluster.clear()
    finally:
        for daemon in reversed(daemons):
            daemon.terminate()
        for daemon in reversed(daemons):
            with contextlib.suppress(subprocess.TimeoutExpired):
                daemon.wait(10)
            daemon.kill()
            daemon.wait()
        shutil.rmtree(folder, ignore_errors=True)


def _is_idle(environment: dict[str, str]) -> bool:
    words = ["sinfo", "--noheader", "--format=%T", "--partition=main"]
    done = subprocess.run(words, env=environment, capture_output=True, text=True, check=False)
    return done.stdout.strip() == "idle"


def cluster_up(is_so: Callable[[], bool], folder: Path) -> None:
    end = time.monotonic() + 30
    while not is_so():
        said = "".join(path.read_text() for path in sorted(folder.glob("*.out")))
        assert time.monotonic() < end, f"Slurm did not start: {said[-2000:]}"
        time.sleep(0.1)


def free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        port: int = found.getsockname()[1]
        return port
