"""Order and batches: one keyed permutation per epoch, concatenated, no sample dropped, the same
however many workers or restarts there are.

`Order` says which samples a step sees; `Feeder` has the batches of coming steps made by threads
while the loop is busy with this one.
"""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from threading import Lock
from types import TracebackType
from typing import Generic, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from headwater import keys
from headwater.errors import InputError

T = TypeVar("T")
MOST_WORKERS = 64
"""Threads that make batches, at most: each holds a batch of views in memory."""


@dataclass(frozen=True)
class Order:
    """Which samples the steps of a run see.

    `hashes` int64 [n] are the keyed hashes of the sample ids; positions index them.

    A run sees `images` images in ceil(images / batch) steps. Batches are as equal as can be (they
    differ by one image at most), so that no run ends in a batch of one sample, which batch
    normalisation cannot take (an odd number of images in batches of two still has one). May be
    asked by several threads at once.
    """

    hashes: NDArray[np.int64]
    images: int
    batch: int
    seed: int
    purpose: str = "order"
    _remembered: dict[int, NDArray[np.int64]] = field(
        default_factory=dict, init=False, repr=False, compare=False
    )
    _lock: Lock = field(default_factory=Lock, init=False, repr=False, compare=False)

    @property
    def steps(self) -> int:
        return -(-self.images // self.batch)

    def at(self, step: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """(positions int64 [b], epochs int64 [b]) of one step."""
        drawn = np.arange(step * self.images // self.steps, (step + 1) * self.images // self.steps)
        epochs, within = np.divmod(drawn, len(self.hashes))
        positions = np.empty_like(drawn)
        for epoch in np.unique(epochs):
            of_epoch = epochs == epoch
            positions[of_epoch] = self._permutation(int(epoch))[within[of_epoch]]
        return positions, epochs

    def _permutation(self, epoch: int) -> NDArray[np.int64]:
        """The order of one epoch; the last two that were asked for are remembered, since batches in
        the making may straddle them.

        Whoever asks while one is computed waits, even for another epoch: at 10 million images that
        is a few seconds of an epoch that takes hours, and what was computed once is there for all
        threads.
        """
        with self._lock:
            found = self._remembered.pop(epoch, None)
            if found is None:
                found = keys.permutation(keys.key(self.seed, self.purpose, epoch), self.hashes)
            for old in list(self._remembered)[:-1]:
                del self._remembered[old]
            self._remembered[epoch] = found  # last in the dict: the one that was asked for last
            return found


class Feeder(Generic[T]):
    """Hands out make(start), ..., make(stop - 1) in order, made ahead of time by threads.

        with Feeder(make, start, stop, workers=2) as batches:
            for batch in batches: ...

    `make` must be pure: any thread runs it, for several steps at once, so what it draws is keyed,
    and torch's global generator is not for it. Grad mode, autocast and the current CUDA device are
    each thread's own in torch: `make` sets what it needs. The values are then the same for any
    number of workers.

    With `workers=0` each value is made when it is asked for, by whoever asks. Otherwise at most
    `workers` are in the making at a time, and at most `workers + depth` are in the making or made
    and not handed out, however slow the consumer is. An exception in `make` is raised when its step
    is asked for, after all steps before it were handed out, and ends the iteration. Leaving the
    block, in whatever way, drops what was not handed out and returns when the threads have ended.
    """

    def __init__(
        self, make: Callable[[int], T], start: int, stop: int, *, workers: int, depth: int = 2
    ) -> None:
        self._make, self._next, self._stop = make, start, stop
        self._workers, self._most = workers, workers + depth
        self._ahead: deque[Future[T]] = deque()
        self._pool: ThreadPoolExecutor | None = None

    def __enter__(self) -> Self:
        if self._workers:
            self._pool = ThreadPoolExecutor(self._workers, thread_name_prefix="feeder")
            self._fill()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def __iter__(self) -> Iterator[T]:
        return self

    def __next__(self) -> T:
        try:
            if self._workers:
                return self._taken()
            if self._next >= self._stop:
                raise StopIteration
            self._next += 1
            return self._made(self._next - 1)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Ends the iteration, and with it the threads."""
        self._next = self._stop
        self._ahead.clear()
        if self._pool is not None:
            self._pool.shutdown(cancel_futures=True)

    def _taken(self) -> T:
        if not self._ahead:
            assert self._pool is not None, "a Feeder with workers is used in a with block"
            raise StopIteration
        value = self._ahead.popleft().result()
        self._fill()
        return value

    def _made(self, step: int) -> T:
        try:
            return self._make(step)
        except StopIteration as error:  # would look like the end of the run
            raise RuntimeError(f"making the batch of step {step} raised StopIteration") from error

    def _fill(self) -> None:
        assert self._pool is not None
        while self._next < self._stop and len(self._ahead) < self._most:
            self._ahead.append(
                self._pool.submit(self._made, self._next)
            )  # begun in the order in which they are submitted
            self._next += 1


def workers_from_environment(default: int) -> int:
    """The number of threads that make batches: HEADWATER_LOADER_WORKERS where it is set, `default`
    otherwise. Results do not depend on it.

    Raises InputError where it is set to anything but an integer from 0 to MOST_WORKERS.
    """
    stated = os.environ.get("HEADWATER_LOADER_WORKERS")
    if stated is None:
        return default
    if not (
        stated.isascii() and stated.isdigit() and len(stated) < 9 and int(stated) <= MOST_WORKERS
    ):
        raise InputError(
            "HEADWATER_LOADER_WORKERS should be a number of threads from 0 (the loop makes its "
            f"own batches) to {MOST_WORKERS}, not {stated[:40]!r}"
        )
    return int(stated)
