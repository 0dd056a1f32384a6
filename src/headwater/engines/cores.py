"""How many processes and threads compute.

Sums are rounded by how threads share them out, so another number of threads gives other bits.
"""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator
from typing import TYPE_CHECKING

from headwater.machine import cores

if TYPE_CHECKING:
    import torch

    from headwater.device import Compute


def default_workers(device: str) -> int:
    """One worker per core that this process may use; one for each GPU that `device` means."""
    if device in ("auto", "cuda"):
        import torch

        if torch.cuda.is_available():
            return torch.cuda.device_count()
        if device == "cuda" or torch.backends.mps.is_available():
            return 1
    elif device != "cpu":
        return 1
    return cores()


def devices_of(device: torch.device, workers: int) -> list[str]:
    """The device of each worker: GPUs in turn where `device` is cuda without a number, so that
    several share one where there are more workers than GPUs.
    """
    import torch

    if str(device) != "cuda":
        return [str(device)] * workers
    count = max(1, torch.cuda.device_count())
    return [f"cuda:{worker % count}" for worker in range(workers)]


def threads_of(compute: Compute, workers: int) -> int:
    """Threads of one of `workers` processes: one on a CPU, whatever the number of workers."""
    if compute.device.type == "cpu":
        return 1
    return max(1, (os.cpu_count() or 1) // workers)


@contextlib.contextmanager
def limited(threads: int) -> Iterator[None]:
    """So many threads for torch, numpy, scipy and faiss inside the block, as a worker process has
    them; afterwards as it was before.
    """
    # a library must be loaded before its threads can be limited
    import faiss  # noqa: F401
    import scipy.linalg  # noqa: F401
    import torch
    from threadpoolctl import threadpool_limits

    before = torch.get_num_threads()
    with threadpool_limits(threads):
        torch.set_num_threads(threads)
        try:
            yield
        finally:
            torch.set_num_threads(before)
