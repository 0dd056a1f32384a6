"""The networks of a study on this machine, in shares to single-thread worker processes."""

from __future__ import annotations

import os
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headwater.engines import local
from headwater.engines.cores import default_workers
from headwater.engines.pool import Pool
from headwater.errors import InputError
from headwater.store import Store
from headwater.theory.study import TheoryStudy
from headwater.theory.work import (
    Network,
    failed_network,
    networks,
    set_aside_damaged,
    unfinished,
)

_UNIT_FLOPS = 1e12
"""Work of a unit of small networks: about 10 seconds, after which the next is given out [ours]."""


@dataclass
class Unit:
    """Networks that are trained in one process."""

    networks: list[Network]

    def message(self) -> dict[str, Any]:
        return {"networks": [network.id for network in self.networks]}


@dataclass(frozen=True)
class Event:
    """What a watcher of a run hears."""

    kind: str
    """started, network (one is finished), finished, failed or died."""
    unit: Unit
    network: Network | None = None
    """Which network is finished."""
    reason: str | None = None


def run(
    study: TheoryStudy,
    store: Store,
    *,
    workers: int | None = None,
    watch: Callable[[Event], None] = lambda event: None,
) -> None:
    """Train the networks of a study that the store lacks, and write their rows.

    Failures become rows of status failed. Raises InputError for bad input.
    """
    store.sweep()
    set_aside_damaged(networks(study), store)
    left = unfinished(networks(study), store)
    if left:
        shares = units(left)
        count = min(workers or default_workers("cpu"), len(shares))
        check_memory(left, count)
        setting = {
            "wing": "theory",
            "theory": study.words(),
            "store": str(store.root.resolve()),
            "threads": 1,
        }
        _Run(study.study, store, shares, setting, watch).go(count)


def check_memory(wanted: Sequence[Network], workers: int) -> None:
    """Raises InputError where so many networks at once would not fit into this machine's memory.

    It is asked before any is trained.
    """
    largest = max(wanted, key=lambda network: network.bytes_needed)
    memory = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
    if largest.bytes_needed * workers > memory:
        needed = f"{largest.title} needs about {largest.bytes_needed / 2**30:,.1f} GiB"
        raise InputError(
            f"{needed}, and {workers} of these at once have {memory / 2**30:,.1f} GiB here; lower "
            "d, batch, train_samples or test_samples, or the --workers"
        )


def units(left: Sequence[Network]) -> list[Unit]:
    """Shares, the largest networks first.

    Networks of one shape and seed see the same noise, which is then made once for all that share a
    process.
    """
    alike: dict[tuple[object, ...], list[Network]] = {}
    for network in sorted(left, key=lambda network: -network.work):
        experiment = network.experiment
        shape = (
            network.flops,
            experiment.heads,
            experiment.width,
            experiment.world.d,
            experiment.recipe.batch,
            experiment.seed,
        )
        alike.setdefault(shape, []).append(network)
    shares: list[Unit] = []
    for group in alike.values():
        count = max(1, int(_UNIT_FLOPS / max(network.work for network in group)))
        shares.extend(Unit(group[start : start + count]) for start in range(0, len(group), count))
    return shares


class _Run(Pool[Unit]):
    def __init__(
        self,
        study: str,
        store: Store,
        ready: Sequence[Unit],
        setting: dict[str, Any],
        watch: Callable[[Event], None],
    ) -> None:
        super().__init__(local.COMMAND, setting, store.root / "logs", deque(ready))
        self._study, self._store, self._watch = study, store, watch

    def on_event(self, kind: str, number: int, unit: Unit, fields: dict[str, Any]) -> None:
        by_id = {network.id: network for network in unit.networks}
        network = by_id.get(fields["network"]) if kind == "network" else None
        self._watch(Event(kind, unit, network, fields.get("reason")))

    def failed(self, unit: Unit, reason: str) -> None:
        for network in unit.networks:
            failed_network(network, self._study, self._store, reason)
