"""Work that is shared out over threads of Python, each with one thread of torch.

torch's own threads wait for each other after every small product, and beside a busy neighbour they
wait long: the search for copies took 273 seconds of processor so, and 51 this way under the same
load (docs/log.md).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

import torch

A = TypeVar("A")
B = TypeVar("B")


def in_threads(do: Callable[[A], B], items: Iterable[A]) -> Iterator[B]:
    """What `do` makes of each item, in their order; by as many threads as torch may use here."""
    threads = torch.get_num_threads()
    if threads == 1:
        yield from map(do, items)
        return

    def alone(item: A) -> B:
        torch.set_num_threads(1)
        with torch.no_grad():  # each thread has a switch of its own
            return do(item)

    try:
        with ThreadPoolExecutor(threads) as pool:
            yield from pool.map(alone, items)
    finally:
        torch.set_num_threads(threads)
