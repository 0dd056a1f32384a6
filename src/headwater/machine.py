"""What this machine is called, how many cores it gives us, and what Python does beside our work. It
needs no torch.
"""

from __future__ import annotations

import contextlib
import functools
import gc
import os
import platform
from collections.abc import Iterator
from pathlib import Path

LIMITS = ("ATEN_CPU_CAPABILITY", "ONEDNN_MAX_CPU_ISA", "DNNL_MAX_CPU_ISA")
"""Variables that keep torch and oneDNN from the processor's newest instructions."""


def cores() -> int:
    """Cores that this process may use, at least one."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def processor() -> str:
    """The name of this machine's processor, and which limits are set on it: with other instructions
    the same sums are rounded in another order, so that numbers have other last bits.
    """
    limits = [f"{name}={os.environ[name]}" for name in LIMITS if os.environ.get(name)]
    return " ".join([_processor_name(), *limits])


@functools.cache
def _processor_name() -> str:
    try:
        for line in Path("/proc/cpuinfo").read_text().splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    except OSError:
        pass
    return platform.processor() or platform.machine()


@contextlib.contextmanager
def uncollected() -> Iterator[None]:
    """Without Python's search for cycles of dead objects, where a great many objects are made that
    stay: loading torch and timm takes a fifth of the time less, the report of a million rows a
    tenth.
    """
    was = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was:
            gc.enable()
