"""Workers as actors of a Ray cluster: each holds CPUs or GPUs, and is a `headwater worker` on the
same store in a process of its own.

Who computes what is said by the store's leases, and results go through the store: Ray carries the
words of a command and how it ended. An actor that is lost, with its node or alone, is replaced
(headwater.engines.elsewhere.follow); its work is taken over from the last checkpoint. Actors end
with the run that started them, and so do their workers.
"""

from __future__ import annotations

import atexit
import dataclasses
import importlib.metadata
import importlib.util
import logging
import math
import os
import shutil
import signal
import socket
import sys
import tempfile
import threading
import uuid
from collections.abc import Callable, Iterator, Mapping
from contextlib import chdir, contextmanager, nullcontext, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headwater import plain
from headwater.digests import tell
from headwater.engines.actor import worker_class
from headwater.engines.elsewhere import Asked
from headwater.engines.engine import Engine
from headwater.engines.gpus import gpus_per_arm
from headwater.engines.pool import STOP_S
from headwater.errors import InputError
from headwater.machine import cores

ANSWER_S = 5.0
"""A cluster that does not answer within so long is not there [ours]."""
_BEGIN_S = 10.0
"""An actor that has a node answers within so long."""
_MOST = 256
"""Workers, where nobody says how many [ours]."""
_OBJECT_STORE = 100 * 1024**2
"""Bytes of Ray's object store in a cluster that is started here: nothing large goes there."""
_QUIET = {
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_SCHEDULER_EVENTS": "0",
    "RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO": "0",
}
"""No telemetry, nothing on the terminal; and an actor without GPUs does not hide them by itself:
its worker is told `--device cpu`.
"""


@dataclass(frozen=True)
class Needs:
    """What one worker asks of Ray."""

    cpus: float
    gpus: float
    ranks: int
    """Processes that train an arm together, a GPU each."""
    waits: bool
    """Whether nodes that can hold a worker may come later."""

    def __str__(self) -> str:
        return f"cpus={self.cpus:g}, gpus={self.gpus:g}"

    def room(self, resources: Mapping[str, float]) -> int:
        """How many workers a node of such resources holds."""
        rooms = [
            math.floor(resources.get(name, 0.0) / needed + 1e-9)
            for name, needed in (("CPU", self.cpus), ("GPU", self.gpus))
            if needed
        ]
        return min(rooms)


def needs_of(asked: Asked, *, has_gpus: bool, by_costs: Callable[[], int] = lambda: 1) -> Needs:
    """What the options ask; where they say nothing, one CPU, and one GPU where the cluster has any
    and the device is not the processor. `by_costs` says how many GPUs an arm gets where that is to
    be found out. Raises InputError for a value that is none.
    """
    on_gpu = asked.device == "cuda" or (asked.device == "auto" and has_gpus)
    if asked.options.get("gpus-per-arm") == "auto":
        if "gpus" in asked.options:
            raise InputError("--engine-option gpus: says itself what gpus-per-arm=auto would find")
        ranks = by_costs() if on_gpu else 1
    else:
        ranks = int(_number(asked, "gpus-per-arm", 1.0, least=1.0, whole=True))
    cpus = _number(asked, "cpus", float(1 if on_gpu else ranks))
    gpus = _number(asked, "gpus", float(ranks if on_gpu else 0))
    waits = asked.options.get("wait", "no")
    if waits not in ("yes", "no"):
        raise InputError(f"--engine-option wait={waits}: should be yes or no")
    if asked.device not in ("auto", "cpu", "cuda", "mps"):
        raise InputError(
            f"--device {asked.device}: which GPU a worker has is Ray's to say; use --device cuda"
        )
    if gpus and asked.device in ("cpu", "mps"):
        raise InputError(f"--engine-option gpus={gpus:g}: does not go with --device {asked.device}")
    if gpus and ranks > 1 and gpus != ranks:
        raise InputError(f"--engine-option gpus={gpus:g}: gpus-per-arm={ranks} needs {ranks}")
    if gpus > 1 and gpus != int(gpus):
        raise InputError(f"--engine-option gpus={gpus:g}: Ray gives parts of one GPU alone")
    if not cpus and not gpus:
        raise InputError("--engine-option cpus=0: a worker needs a part of a CPU or of a GPU")
    return Needs(cpus, gpus, ranks, waits == "yes")


def _number(
    asked: Asked, name: str, default: float, *, least: float = 0.0, whole: bool = False
) -> float:
    said = asked.options.get(name)
    try:
        value = default if said is None else float(said)
    except ValueError:
        value = math.nan
    if not (least <= value < 1e6) or (whole and value != int(value)):
        what = "a whole number" if whole else "a number"
        raise InputError(f"--engine-option {name}={said}: should be {what} of {least:g} or more")
    return value


# the cluster
class Cluster:
    """A cluster that this process is connected to."""

    def __init__(self, asked: Asked) -> None:
        """Raises InputError where Ray is missing, or no cluster answers at the address."""
        if importlib.util.find_spec("ray") is None:
            raise InputError(
                "--engine ray: Ray is not installed here; pip install 'headwater[ray]'"
            )
        address = asked.where
        if address is not None:
            _answers(address)
        for name, value in _QUIET.items():
            os.environ.setdefault(name, value)
        import ray

        self.ray: Any = ray
        self.ours = not ray.is_initialized()
        """Whether it is left, and ended where it was started here, when the run ends."""
        needs_of(asked, has_gpus=False)  # what is wrong is said before anything is started
        if self.ours:
            with _handlers_kept(), _said_as_input(address):
                self._connect(asked)
            _hush()

    def _connect(self, asked: Asked) -> None:
        """Ray puts the current folder, and that of this script, before all others where its
        processes look for modules: a file of the data that is called torch.py would be run. So they
        are asked for from an empty folder, and told to look there for nothing (PYTHONSAFEPATH).
        """
        empty = tempfile.mkdtemp(prefix="headwater-ray-")
        atexit.register(shutil.rmtree, empty, ignore_errors=True)  # they stay there until the end
        with chdir(empty), _safe_path():
            self._init(asked)

    def _init(self, asked: Asked) -> None:
        words: dict[str, Any] = {"logging_level": logging.ERROR, "log_to_driver": False}
        address = asked.where or _address_here()
        if address is not None:
            alone = not _is_open(address, self.ray.util.get_node_ip_address())
            with _loopback_alone() if alone else nullcontext():
                self.ray.init(address=address, **words)
            return
        wanted = math.ceil((asked.workers or 0) * needs_of(asked, has_gpus=False).cpus)
        with _loopback_alone():
            self.ray.init(
                address="local",
                num_cpus=max(cores(), wanted),
                object_store_memory=_OBJECT_STORE,
                include_dashboard=False,
                **words,
            )

    def nodes(self) -> list[dict[str, Any]]:
        """Those that live."""
        return [node for node in self.ray.nodes() if node["Alive"]]

    def needs(self, asked: Asked) -> Needs:
        gpus = [node["Resources"].get("GPU", 0.0) for node in self.nodes()]
        return needs_of(asked, has_gpus=any(gpus), by_costs=lambda: gpus_per_arm(asked, gpus))

    def room(self, needs: Needs) -> int:
        """How many workers the cluster holds at a time. Raises InputError where it is none."""
        nodes = self.nodes()
        room = sum(needs.room(node["Resources"]) for node in nodes)
        if not room and not needs.waits:
            has = "; ".join(
                f"{node['NodeManagerAddress']}: {node['Resources'].get('CPU', 0):g} CPUs, "
                f"{node['Resources'].get('GPU', 0):g} GPUs"
                for node in nodes[:8]
            )
            raise InputError(
                f"--engine ray: no node has room for a worker of {needs} ({has}); ask for less "
                "with --engine-option cpus=N, gpus=N or gpus-per-arm=N, or say --engine-option "
                "wait=yes where nodes will be added"
            )
        return room

    def leave(self) -> None:
        if self.ours:
            with suppress(Exception), _handlers_kept():
                self.ray.shutdown()


def _answers(address: str) -> None:
    """Raises InputError where nothing listens at HOST:PORT; Ray would wait for minutes."""
    if address in ("auto", "local"):
        return
    host, port = _parts(address)
    if not host or not port.isdigit():
        raise InputError(
            f"--engine ray:{address}: should be ray:HOST:PORT, ray:ray://HOST:PORT or ray:auto"
        )
    try:
        _ask(host, port)
    except (OSError, OverflowError, UnicodeError) as error:
        raise InputError(
            f"--engine ray:{address}: nothing answers there ({plain.line(error)}); `ray status` on "
            "a node of the cluster says its address"
        ) from None


def _ask(host: str, port: str) -> None:
    socket.create_connection((host, int(port)), timeout=ANSWER_S).close()


def _parts(address: str) -> tuple[str, str]:
    """(host, port), as far as an address says them."""
    host, _, port = address.removeprefix("ray://").rpartition(":")
    return host.strip("[]"), port


def _address_here() -> str | None:
    """The cluster that this machine is a node of: what RAY_ADDRESS says, or `ray start` has noted,
    where it still answers. Clusters of other programs, which end with these, are left alone.
    """
    noted = Path(os.environ.get("RAY_TMPDIR", "/tmp")) / "ray" / "ray_current_cluster"
    with suppress(OSError, ValueError, OverflowError):
        address = os.environ.get("RAY_ADDRESS") or noted.read_text().strip()
        _ask(*_parts(address))
        return address
    return None


def _is_open(address: str, own: str) -> bool:
    """Whether what is at an address can be asked from other machines too, for all that is known.
    Ray takes 127.0.0.1 for the address `own` by which others know this machine.
    """
    host, port = _parts(address)
    if host not in ("127.0.0.1", "localhost"):
        return True
    with suppress(OSError, ValueError, OverflowError):
        _ask(own, port)
        return True
    return False


@contextmanager
def _said_as_input(address: str | None) -> Iterator[None]:
    """What Ray says of an address that is wrong becomes one line."""
    try:
        yield
    except (ConnectionError, ValueError, RuntimeError, ImportError, OSError) as error:
        where = "ray" if address is None else f"ray:{address}"
        raise InputError(f"--engine {where}: {plain.line(error)[:500]}") from None


@contextmanager
def _handlers_kept() -> Iterator[None]:
    """Ray puts its own handler of SIGTERM in place of the one that stops a run with care."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.getsignal(signal.SIGTERM)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)


@contextmanager
def _safe_path() -> Iterator[None]:
    """Within it processes that are started look for modules in no folder of a script, and Ray does
    not tell them of ours.
    """
    before, script = os.environ.get("PYTHONSAFEPATH"), sys.argv[0]
    os.environ["PYTHONSAFEPATH"] = "1"
    sys.argv[0] = ""
    try:
        yield
    finally:
        sys.argv[0] = script
        if before is None:
            del os.environ["PYTHONSAFEPATH"]
        else:
            os.environ["PYTHONSAFEPATH"] = before


@contextmanager
def _loopback_alone() -> Iterator[None]:
    """A cluster that is started within listens on 127.0.0.1 only, and one that does is found, as
    on Windows and macOS; Ray has no public way to ask for it.
    """
    from ray._private import ray_constants

    before = ray_constants.ENABLE_RAY_CLUSTER
    ray_constants.ENABLE_RAY_CLUSTER = False
    try:
        yield
    finally:
        ray_constants.ENABLE_RAY_CLUSTER = before


def _hush() -> None:
    """Ray prints of every lost worker on stdout, whatever it was asked; --json is written there."""
    with suppress(ImportError, AttributeError):
        from ray._private import worker

        worker.print_to_stdstream = lambda *words, **more: None


# actors
class Actors:
    """Workers of one run in a cluster (headwater.engines.elsewhere.Placed)."""

    def __init__(self, asked: Asked, cluster: Cluster, needs: Needs) -> None:
        self._asked, self._cluster, self._needs = asked, cluster, needs
        self._class = cluster.ray.remote(worker_class())
        self._running: dict[Any, tuple[int, Any]] = {}
        """The answer that each worker will give when it ends: its number and its actor."""
        self._started = 0
        self._run = uuid.uuid4().hex[:8]
        self._said = "none of them said why"
        self._fit, self._told = False, set[str]()

    def alive(self) -> int:
        if self._running:
            answers = list(self._running)
            ended, _ = self._cluster.ray.wait(answers, num_returns=len(answers), timeout=0)
            for answer in ended:
                self._ended(answer)
        return len(self._running)

    def start(self, count: int) -> None:
        """As many as find room, where nobody said how many; the others would wait in vain."""
        if self._asked.workers is None:
            count = min(count, max(1, self._cluster.room(self._needs)) - len(self._running))
        logs = self._asked.store.root / "logs"
        logs.mkdir(parents=True, exist_ok=True)
        for _ in range(count):
            number, self._started = self._started, self._started + 1
            actor = self._class.options(
                num_cpus=self._needs.cpus,
                num_gpus=self._needs.gpus,
                max_concurrency=2,
                max_restarts=0,
                scheduling_strategy="SPREAD",
            ).remote(self._setting(number))
            self._running[actor.work.remote()] = number, actor

    def _setting(self, number: int) -> dict[str, Any]:
        asked = self._asked
        assert asked.study is not None
        device = "cuda" if self._needs.gpus else "mps" if asked.device == "mps" else "cpu"
        here = dataclasses.replace(asked, device=device, ranks=self._needs.ranks)
        kept = ("HEADWATER_DATA", "HEADWATER_STORE")
        words = here.worker(f"ray-{number}")
        return {
            "words": words,
            "store": words[1],
            "study": str(asked.study.resolve()),
            "changed": asked.study.stat().st_mtime,
            "log": str(self._log(number).resolve()),
            "patience_s": ANSWER_S,
            "version": importlib.metadata.version("headwater"),
            "environment": {
                name: value
                for name, value in os.environ.items()
                if name.startswith("HEADWATER_") and name not in kept
            },
        }

    def _log(self, number: int) -> Path:
        return self._asked.store.root / "logs" / f"ray-{self._run}-{number}.log"

    def _ended(self, answer: Any) -> None:
        """Notes how a worker ended, and lets go of its actor.

        Raises InputError where its node cannot work for the run, and no other has.
        """
        number, _ = self._running.pop(answer)
        try:
            how = self._cluster.ray.get(answer, timeout=ANSWER_S)
        except Exception as error:
            lines = [line.strip() for line in str(error).splitlines() if line.strip()]
            self._said = f"worker {number} was lost: {plain.line(' '.join(lines[:1] + lines[-1:]))}"
            return
        if "wrong" not in how:
            self._fit = True
            said = how["said"].strip().splitlines()[-1:] or [""]
            self._said = (
                f"worker {number} on {how['node']} ended with {how['code']}: "
                f"{plain.line(said[0])[:500]} (see {self._log(number)})"
            )
            return
        assert self._asked.study is not None
        if not self._asked.study.exists():  # all was done before the worker came
            return
        self._said = f"--engine ray: the node {how['node']} {how['wrong']}"
        if not self._fit:
            raise InputError(self._said)
        if how["node"] not in self._told:
            self._told.add(how["node"])
            tell(self._said)

    def last_words(self) -> str:
        return self._said

    def close(self, *, stop: bool) -> None:
        """Workers are told to stop: they write checkpoints, and end. Those that have nothing left
        end by themselves.
        """
        ray = self._cluster.ray
        try:
            patience = STOP_S + _BEGIN_S if stop else 2.0
            if stop:
                self._tell_to_stop()
            self._wait(patience)
            if self._running and not stop:
                self._tell_to_stop()
                self._wait(STOP_S + _BEGIN_S)
        finally:
            for _, actor in self._running.values():
                with suppress(Exception):
                    ray.kill(actor)
            self._running.clear()
            self._cluster.leave()

    def _tell_to_stop(self) -> None:
        """Those that have no node yet, or no longer, are let go of at once."""
        ray = self._cluster.ray
        told = {actor.stop.remote(): answer for answer, (_, actor) in self._running.items()}
        if not told:
            return
        _, unheard = ray.wait(list(told), num_returns=len(told), timeout=_BEGIN_S)
        for each in unheard:
            _, actor = self._running.pop(told[each])
            with suppress(Exception):
                ray.kill(actor)

    def _wait(self, seconds: float) -> None:
        if self._running:
            answers = list(self._running)
            ended, _ = self._cluster.ray.wait(answers, num_returns=len(answers), timeout=seconds)
            for answer in ended:
                self._running.pop(answer)


def place(asked: Asked) -> Actors:
    """Connects to the cluster, or starts one here. Raises InputError (Cluster, needs_of)."""
    cluster = Cluster(asked)
    try:
        needs = cluster.needs(asked)
        cluster.room(needs)
        return Actors(asked, cluster, needs)
    except BaseException:
        cluster.leave()
        raise


def _count(asked: Asked) -> int:
    """As many workers as units can be begun at once; no more are started than find room."""
    return min(_MOST, max(len(asked.todo.arms), len({cell.arm.id for cell in asked.todo.cells})))


ENTRY = Engine(
    "ray",
    title="workers as actors of a Ray cluster",
    order=3,
    place=place,
    count=_count,
    where="the cluster's HOST:PORT, ray://HOST:PORT or auto; a cluster of this machine if left out",
    options={
        "cpus": "CPUs of a worker (1)",
        "gpus": "GPUs of a worker, or a part of one (1 where there are any)",
        "gpus-per-arm": "GPUs that train one arm together (1); auto: by the plan's costs",
        "wait": "yes: wait for nodes that will be added, where none has room for a worker",
    },
    detaches=False,
)
