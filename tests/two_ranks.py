"""Work done in two processes that talk through gloo: the smallest real group of ranks.

The group meets in a file, so that no port is needed. Both processes are forks of a server that has
imported what takes seconds to import, once for all tests of a process.
"""

from __future__ import annotations

import datetime
import multiprocessing
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from torch import distributed
from torch.multiprocessing import start_processes

from headwater.ranks import Ranks

Work = Callable[[Ranks], dict[str, torch.Tensor]]
IMPORTED = ["torch.distributed.fsdp", "timm", "headwater.pretrain", "headwater.engines.ranks"]
LIMIT = datetime.timedelta(seconds=120)
"""After this a rank that waits for the other gives up, so that a test fails and does not hang."""


def start(function: Callable[..., None], *arguments: Any) -> None:
    """Run a function at the top of a module in two processes: with 0 and with 1, and the arguments.

    What is raised there is raised here.
    """
    multiprocessing.set_forkserver_preload(IMPORTED)
    start_processes(function, arguments, nprocs=2, start_method="forkserver")


def in_two_processes(work: Work, folder: Path) -> list[dict[str, torch.Tensor]]:
    """What `work`, a function at the top of a module, returns on rank 0 and on rank 1.

    What is raised there is raised here.
    """
    start(_process, work, folder)
    return [load_file(folder / f"{rank}.safetensors") for rank in range(2)]


def _process(rank: int, work: Work, folder: Path) -> None:
    torch.set_num_threads(1)
    distributed.init_process_group(
        "gloo", init_method=f"file://{folder / 'meeting'}", rank=rank, world_size=2, timeout=LIMIT
    )
    try:
        found = work(Ranks.current())
    finally:
        distributed.destroy_process_group()
    save_file(
        {name: t.detach().contiguous().clone() for name, t in found.items()},
        folder / f"{rank}.safetensors",
    )
