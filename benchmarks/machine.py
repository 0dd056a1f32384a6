"""What benchmarks of speed share: processes that take turns, medians, and what stood by while they
ran.
"""

from __future__ import annotations

import contextlib
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import numpy as np

from headwater.engines.pool import ALLOCATOR

HERE = Path(__file__).parent


class Child:
    """A process that answers requests, a line of JSON each. It idles while others have their
    turn.
    """

    def __init__(self, script: str, *arguments: str, threads: int | None = None) -> None:
        """`threads` for the numeric libraries, as the engine's workers get; None leaves them to the
        script.
        """
        limits = (
            dict.fromkeys(
                ("OMP_NUM_THREADS", "MKL_NUM_THREADS", "OPENBLAS_NUM_THREADS"), str(threads)
            )
            if threads
            else {}
        )
        self._script = script
        self._errors = tempfile.TemporaryFile("w+")  # noqa: SIM115 (open as long as the process is)
        self._process = subprocess.Popen(
            [sys.executable, str(HERE / script), *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._errors,
            encoding="utf-8",
            env={**ALLOCATOR, **os.environ, **limits},
        )

    def send(self, **request: Any) -> None:
        assert self._process.stdin is not None
        with contextlib.suppress(BrokenPipeError):  # heard as the end of its stdout
            self._process.stdin.write(json.dumps(request) + "\n")
            self._process.stdin.flush()

    def answer(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            self._errors.seek(0)
            raise SystemExit(
                f"{self._script} ended without an answer:\n{self._errors.read()[-2000:]}"
            )
        return dict(json.loads(line))

    def ask(self, **request: Any) -> dict[str, Any]:
        self.send(**request)
        return self.answer()

    def close(self) -> None:
        for stream in (self._process.stdin, self._process.stdout):
            if stream is not None:
                with contextlib.suppress(BrokenPipeError):
                    stream.close()
        try:
            self._process.wait(timeout=10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._errors.close()


@contextlib.contextmanager
def children(*made: Child) -> Iterator[tuple[Child, ...]]:
    """Ends them whatever happens."""
    try:
        yield made
    finally:
        for child in made:
            child.close()


@dataclass(frozen=True)
class Spread:
    """A median with its range over the rounds."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        return cls(float(np.median(values)), float(min(values)), float(max(values)))

    def text(self, digits: int = 2) -> str:
        return f"{self.median:.{digits}f} ({self.low:.{digits}f} to {self.high:.{digits}f})"


def load() -> float:
    """The load average of the last minute."""
    return os.getloadavg()[0]


def facts(packages: Sequence[str] = ()) -> dict[str, Any]:
    """When, on what, with which versions; the load before anything was started."""
    from headwater import device

    found = {}
    for name in ("torch", "torchvision", "timm", "open_clip_torch", "lightly", *packages):
        with contextlib.suppress(PackageNotFoundError):
            found[name] = version(name)
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    return {
        "date": datetime.now(UTC).strftime("%Y-%m-%d %H:%M UTC"),
        "cores": cores,
        "processor": device.resolve("cpu", "fp32").fingerprint.split(" ", 3)[-1],
        "bf16 in hardware": device.cpu_has_bf16(),
        "load before": round(load(), 2),
        "commit": device.commit(),
        "python": sys.version.split()[0],
        **found,
    }


def facts_line(about: Mapping[str, Any]) -> str:
    return ", ".join(f"{name} {value}" for name, value in about.items())


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A markdown table."""
    return "\n".join(
        "| " + " | ".join(cells) + " |" for cells in (head, ["---"] * len(head), *rows)
    )


def met(value: float, wanted: float) -> str:
    return f">= {wanted:.2f}: {'met' if value >= wanted else 'MISSED'}"
