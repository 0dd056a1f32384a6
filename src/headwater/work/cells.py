"""Cells: one encoder on one task under a protocol, at a shot count and a draw.

Draws of a shot count are measured together where their protocol can, each as it would be alone.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater import device
from headwater.errors import Stopped
from headwater.plan import PlannedArm, PlannedCell
from headwater.registry import PROTOCOLS
from headwater.store import FinishedCell, Store
from headwater.study import canonical
from headwater.tasks import Draw, Task
from headwater.transfer import Choice, TransferDiverged
from headwater.transfer.metrics import metrics
from headwater.transfer.protocols import training_images
from headwater.work.bench import Bench
from headwater.work.fields import arm_fields, attempt, cell_fields, draw_fields, now
from headwater.work.leaks import similar_test_images, similar_to_own
from headwater.work.session import Session

_TOGETHER = 1 << 28
"""Bytes of features and logits that draws which are fitted together may take; a draw that takes
more is fitted alone [ours].
"""
_WRITE_EVERY_S = 0.25
"""Cells that are measured within this go to the disk together [ours]."""
_DIVERGED = {"metric": "top1", "subset": "all", "status": "diverged"}


def run_cells(
    session: Session,
    arm: PlannedArm,
    task: str,
    cells: Sequence[PlannedCell],
    told: Callable[[str], None] = lambda cell: None,
) -> None:
    """Measure cells of one arm on one task that the store lacks, and write their answers and rows;
    `told` hears of each that is finished.

    A cell that fails does not keep the others from being measured; the first failure is raised when
    all were tried. Raises Stopped where the session is to stop, between cells.
    """
    store = session.store
    missing = []
    for cell in cells:
        if store.has_cell(cell.id):
            told(cell.id)
        else:
            missing.append(cell)
    if not missing:
        return
    bench = Bench(session.measuring, arm, task)
    failure: Exception | None = None
    with _Kept(store, told) as kept:
        for together in _batches(bench, missing):
            if session.stop.is_set():
                raise Stopped(f"{len(missing)} cells were missing")
            for outcome in _outcomes(bench, together):
                if isinstance(outcome, Exception):
                    failure = failure or outcome
                else:
                    kept.add(outcome)
    if failure is not None:
        raise failure


class _Kept:
    """Cells that are measured and go to the store, those of a moment together, while others are
    measured. Used as a context manager: at its end all of them are there.
    """

    def __init__(self, store: Store, told: Callable[[str], None]) -> None:
        self._store, self._told = store, told
        self._waiting: list[FinishedCell] = []
        self._begun = time.monotonic()
        self._writer = ThreadPoolExecutor(1, thread_name_prefix="cells")
        self._writing: Future[list[FinishedCell]] | None = None

    def __enter__(self) -> _Kept:
        return self

    def __exit__(self, *_: object) -> None:
        with self._writer:
            self._settle()
            self._begin()
            self._settle()

    def add(self, cell: FinishedCell) -> None:
        """Raises OSError where cells of before could not be written."""
        self._waiting.append(cell)
        if self._writing is not None and self._writing.done():
            self._settle()
        if self._writing is None and time.monotonic() - self._begun > _WRITE_EVERY_S:
            self._begin()

    def _begin(self) -> None:
        self._begun = time.monotonic()
        if self._waiting:
            cells, self._waiting = self._waiting, []
            self._writing = self._writer.submit(self._write, cells)

    def _write(self, cells: list[FinishedCell]) -> list[FinishedCell]:
        self._store.write_cells(cells)
        return cells

    def _settle(self) -> None:
        """Waits for what is being written, and tells of it."""
        writing, self._writing = self._writing, None
        for cell in [] if writing is None else writing.result():
            self._told(cell.id)


def failed_rows(session: Session, cell: PlannedCell, reason: str) -> list[dict[str, Any]]:
    """The row of a cell that failed; the next run tries it again."""
    words = {
        **cell_fields(session.plan, cell),
        "metric": "top1",
        "subset": "all",
        "status": "failed",
        "reason": reason,
        "versions": device.versions(method=cell.arm.words.method, protocol=cell.words.protocol),
        "attempt": attempt(session.store, cell.id),
    }
    return [{**words, "finished": now(), "host": platform.node()}]


def _batches(bench: Bench, cells: Sequence[PlannedCell]) -> Iterator[list[PlannedCell]]:
    """Cells that are measured together: draws of one shot count, as many as their protocol can fit
    in memory.
    """
    task = bench.task
    width = int(bench.encoder.num_features) if bench.trained else 1  # type: ignore[arg-type]
    for (protocol, shots), group in groupby(
        cells, lambda cell: (cell.words.protocol, cell.words.shots)
    ):
        draws = list(group)
        each = PROTOCOLS[protocol].bytes_together(
            training_images(task, shots), width, task.num_classes
        )
        at_once = 1 if each is None else max(1, _TOGETHER // each)
        for start in range(0, len(draws), at_once):
            yield draws[start : start + at_once]


def _outcomes(bench: Bench, cells: Sequence[PlannedCell]) -> Iterator[FinishedCell | Exception]:
    """What becomes of cells that are measured together; where one of them spoils the others, each
    is measured by itself.
    """
    try:
        outcomes = _measured(bench, cells)
    except Exception as error:
        if len(cells) == 1:
            yield error
            return
        for cell in cells:
            yield from _outcomes(bench, [cell])
    else:
        yield from outcomes


def _measured(bench: Bench, cells: Sequence[PlannedCell]) -> list[FinishedCell]:
    """Rows and answers of cells under one protocol at one shot count.

    Raises TransferDiverged where one of several has diverged.
    """
    protocol, task = PROTOCOLS[cells[0].words.protocol], bench.task
    words = bench.asked.asked(protocol.name)
    draws = [
        task.draw(cell.words.shots, cell.words.draw, seed=bench.seed, val=words.validation())
        for cell in cells
    ]
    leaks = _Leaks.of(bench)
    began = time.monotonic()
    commons = [_common(bench, cell, draw, leaks) for cell, draw in zip(cells, draws, strict=True)]
    if not bench.trained:
        reason = f"pre-training: {bench.record['reason']}"
        return [
            _diverged(cell, common, reason) for cell, common in zip(cells, commons, strict=True)
        ]
    try:
        choices = protocol.measure(bench, draws, words)
    except TransferDiverged as error:
        if len(cells) > 1:
            raise
        return [_diverged(cells[0], commons[0], str(error))]
    seconds = (time.monotonic() - began) / len(cells)
    measured = []
    for cell, common, choice in zip(cells, commons, choices, strict=True):
        common |= {
            "chosen": canonical(choice.chosen),
            "val_value": choice.val_value,
            "seconds": seconds,
            "finished": now(),
        }
        rows = [common | score for score in _scores(task, choice, leaks.leaked)]
        measured.append(FinishedCell(cell.id, rows, choice.predictions == task.labels[task.test]))
    return measured


@dataclass(frozen=True)
class _Leaks:
    """What an arm, and the task's own train and val, have of its test images. bool [n_test]
    each.
    """

    label_reuse: bool
    equal: NDArray[np.bool_]
    """Test images whose bytes the arm was trained on."""
    similar: NDArray[np.bool_] | None
    """Test images of which it was trained on a changed copy; None where these were not sought."""
    own_equal: NDArray[np.bool_]
    """Test images whose bytes are among the task's own train or val images."""
    own_similar: NDArray[np.bool_] | None
    """Test images that these show, changed or not; None where not sought."""

    @classmethod
    def of(cls, bench: Bench) -> _Leaks:
        overlap = bench.session.overlaps.of(bench.arm, bench.task_name)
        similar = similar_test_images(bench.session, bench.arm, bench.task_name)
        own_similar = similar_to_own(bench.session, bench.task_name)
        bench.session.test_looks.forget()  # they take much memory, and pairs are kept
        return cls(
            overlap.label_reuse,
            overlap.leaked_test,
            similar,
            bench.session.overlaps.own(bench.task_name),
            own_similar,
        )

    @property
    def leaked(self) -> NDArray[np.bool_]:
        leaked = self.equal | self.own_equal
        for similar in (self.similar, self.own_similar):
            leaked = leaked if similar is None else leaked | similar
        return leaked

    def fields(self) -> dict[str, Any]:
        """What rows say of them."""
        return {
            "label_reuse": self.label_reuse,
            "leaked_test_images": _count(self.equal),
            "similar_test_images": _count(self.similar),
            "own_test_copies": _count(self.own_equal),
            "own_similar_test_images": _count(self.own_similar),
        }


def _count(images: NDArray[np.bool_] | None) -> int | None:
    return None if images is None else int(images.sum())


def _common(bench: Bench, cell: PlannedCell, draw: Draw, leaks: _Leaks) -> dict[str, Any]:
    """The fields that all rows of a cell share, whatever is measured."""
    return {
        **cell_fields(bench.plan, cell),
        **arm_fields(bench.record, bench.plan),
        **draw_fields(bench.plan, draw, cell),
        "fingerprint": bench.compute.fingerprint,
        "versions": device.versions(method=bench.arm.words.method, protocol=cell.words.protocol),
        "commit": device.commit(),
        **leaks.fields(),
        "host": platform.node(),
        "attempt": attempt(bench.store, cell.id),
    }


def _diverged(cell: PlannedCell, common: dict[str, Any], reason: str) -> FinishedCell:
    return FinishedCell(cell.id, [{**common, **_DIVERGED, "reason": reason, "finished": now()}])


def _scores(task: Task, choice: Choice, leaked: NDArray[np.bool_]) -> Iterator[dict[str, Any]]:
    """Every metric on every subset of the test set that the task has."""
    labels = task.labels[task.test]
    subsets = {"all": np.ones(len(labels), dtype=bool)}
    if task.source.table.hard is not None:
        hard = task.source.table.hard[task.test]
        subsets |= {"easy": ~hard, "hard": hard}
    if leaked.any():
        subsets["unleaked"] = ~leaked
    for subset, mask in subsets.items():
        if not mask.any():
            continue
        for metric, value in metrics(choice, labels, mask, task.superclasses):
            yield {
                "metric": metric,
                "subset": subset,
                "status": "done",
                "value": value,
                "n_test": int(mask.sum()),
            }
