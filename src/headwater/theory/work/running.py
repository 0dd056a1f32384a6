"""Networks trained and read, their rows written: in this process, or in a worker process."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import torch

from headwater.rows import to_frame
from headwater.store import Store
from headwater.theory.simulation.measuring import read
from headwater.theory.simulation.training import Run, train
from headwater.theory.study import TheoryStudy
from headwater.theory.work.crossing import networks
from headwater.theory.work.networks import Network, Reading
from headwater.theory.work.rows import Cell
from headwater.work.fields import now

if TYPE_CHECKING:
    import pandas as pd


def set_aside_damaged(wanted: Sequence[Network], store: Store) -> None:
    """Cells whose rows are damaged are measured again, and told."""
    store.set_aside_damaged(reading.id for network in wanted for reading in network.readings)


def unfinished(wanted: Sequence[Network], store: Store | None) -> list[Network]:
    """The networks that lack a cell in the store, with what they lack."""
    finished = store.finished_cells() if store else set()
    lacking = []
    for network in wanted:
        readings = tuple(reading for reading in network.readings if reading.id not in finished)
        if readings:
            lacking.append(replace(network, readings=readings))
    return lacking


def run_networks(
    wanted: Sequence[Network],
    study: str,
    store: Store,
    watch: Callable[[str], None] = lambda arm: None,
) -> None:
    """Train networks and write the rows of the cells that the store lacks.

    `watch` hears of each network that is finished.
    """
    lacking = {network.id: network for network in unfinished(wanted, store)}
    for network in wanted:
        if network.id not in lacking:
            watch(network.id)
    by_experiment = {network.experiment: network for network in lacking.values()}
    began = time.monotonic()
    for run in train(list(by_experiment)):
        network = by_experiment[run.experiment]
        seconds = time.monotonic() - began
        # What is tuned is tuned once for all tests.
        tuned = functools.lru_cache(maxsize=None)(functools.partial(read, run))
        for reading in network.readings:
            if _is_read_now(reading, run):
                rows = Cell(network, reading, study, store).rows(run, tuned)
                times = {"pretrain_seconds": seconds, "finished": now()}
                store.write_rows(reading.id, [row | times for row in rows])
        if run.final:
            watch(network.id)


def _is_read_now(reading: Reading, run: Run) -> bool:
    """Whether a cell reads the run as it is now.

    A look after the end of training sees it as it ended.
    """
    if reading.step is None:
        return run.final
    return reading.step >= run.step if run.final else reading.step == run.step


def network_rows(study: TheoryStudy, store: Store) -> pd.DataFrame:
    """The rows of a study's cells, each once, under its name and those of its sweeps.

    Cells that were not measured are missing.
    """
    rows = []
    for network in networks(study):
        name = f"{study.study}: {', '.join(network.sweeps)}"
        for reading in network.readings:
            rows += [{**row, "study": name} for row in store.read_cell(reading.id)]
    return to_frame(rows)


def failed_network(network: Network, study: str, store: Store, reason: str) -> None:
    """Write a row of status failed for every cell of a network that the store lacks.

    The next run tries them again.
    """
    finished = store.finished_cells()
    for reading in network.readings:
        if reading.id not in finished:
            row = Cell(network, reading, study, store).failed(reason)
            store.write_rows(reading.id, [row | {"finished": now()}])


class NetworkWorker:
    """Works the networks of a study of the theory in a worker process.

    A unit names networks that are trained side by side, as far as they have one shape.
    """

    def __init__(self, setting: dict[str, Any]) -> None:
        torch.set_num_threads(setting["threads"])
        self._store = Store(setting["store"])
        study = TheoryStudy.model_validate(setting["theory"])
        self._study = study.study
        self._networks = {network.id: network for network in networks(study)}

    def work(self, unit: dict[str, Any], tell: Callable[..., None]) -> None:
        """Train the networks that a unit names, and write their rows."""

        def finished(network: str) -> None:
            tell("network", network=network)

        wanted = [self._networks[network] for network in unit["networks"]]
        run_networks(wanted, self._study, self._store, finished)
