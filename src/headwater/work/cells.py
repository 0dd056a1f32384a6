"""Cells: one encoder on one task under a protocol, at a shot count and a draw.

Draws of a shot count are measured together, each as it would be alone.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater import device, models, recipes
from headwater.methods.text import TextTower, load_text
from headwater.plan import PlannedArm, PlannedCell
from headwater.sources.pixels import RECIPE as PIXELS
from headwater.store import Store
from headwater.study import Finetune, Knn, Probe, Ridge, ZeroShot, canonical, identity
from headwater.tasks import Draw, Task
from headwater.transfer import Choice, NotFinite
from headwater.transfer.features import kept_features
from headwater.transfer.finetune import FinetuneDiverged, Split, finetune, finetune_choice
from headwater.transfer.linear import check_finite
from headwater.transfer.metrics import accuracy, metrics
from headwater.transfer.neighbours import choose_knn
from headwater.transfer.probe import Fit, probes
from headwater.transfer.ridge import ridges
from headwater.transfer.zeroshot import alignment
from headwater.work.fields import arm_fields, attempt, cell_fields, draw_fields, now
from headwater.work.leaks import similar_test_images
from headwater.work.session import Session

_TOGETHER = 1 << 28
"""Bytes of features and logits that draws which are fitted together may take; a draw that takes
more is fitted alone [ours].
"""


class Bench:
    """One encoder on one task: features are computed once, when the first cell asks for them, and
    kept in a file.
    """

    def __init__(self, session: Session, arm: PlannedArm, task_name: str) -> None:
        self.session, self.arm, self.task_name = session, arm, task_name
        self.plan, self.store, self.compute = session.plan, session.store, session.compute
        self.task: Task = self.plan.tasks[task_name]
        self.record = self.store.read_arm(arm.id)
        self._features: NDArray[np.float32] | None = None
        self._text: TextTower | None = None
        self.positions = np.unique(np.concatenate([self.task.train, self.task.val, self.task.test]))
        data = self.plan.study.tasks[task_name].data
        self.pixels = session.pixels(data).subset(self.positions)
        done = self.record["status"] == "done"
        self.encoder = (
            models.trained_encoder(self.store.arm_folder(arm.id), self.record["encoder_sha256"])
            if done
            else None
        )

    def rows_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self.positions, positions)

    def features(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [n, d] of table positions."""
        if self._features is None:
            assert self.encoder is not None
            words = {
                "arm": self.arm.id,
                "encoder": self.record["encoder_sha256"],
                "images": self.task.source.fingerprint(self.positions),
                "precision": self.compute.fingerprint,
                "rooms": recipes.versions_of(recipes.FEATURE_ROOMS, pixels=PIXELS),
            }
            folder = self.store.cache / "features" / identity(words)
            self._features = kept_features(
                folder,
                self.encoder,
                self.pixels,
                image_size=self.plan.study.image_size,
                compute=self.compute,
            )
        return self._features[self.rows_of(positions)]

    def split(self, positions: NDArray[np.int64]) -> Split:
        return Split(
            self.rows_of(positions), self.task.labels[positions], self.task.source.hashes[positions]
        )

    def fit(self, draw: Draw) -> Fit:
        labels = self.task.labels
        return Fit(
            self.features(draw.train), labels[draw.train], self.features(draw.val), labels[draw.val]
        )

    @property
    def text(self) -> TextTower:
        """The arm's text tower. Raises InputError where it keeps none."""
        if self._text is None:
            self._text = load_text(self.store.arm_folder(self.arm.id))
        return self._text


@dataclass(frozen=True)
class _Measured:
    """What is kept of a cell: its rows, and which test samples it got right, bool [n_test]; None
    where it diverged.
    """

    cell: PlannedCell
    rows: list[dict[str, Any]]
    right: NDArray[np.bool_] | None = None

    def keep(self, store: Store) -> None:
        """The rows last: a cell that has them is finished, and its answers are there."""
        if self.right is not None:
            store.write_answers(self.cell.id, self.right)
        store.write_rows(self.cell.id, self.rows)


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
    all were tried.
    """
    store = session.store
    finished = store.finished_cells()
    for cell in cells:
        if cell.id in finished:
            told(cell.id)
    missing = [cell for cell in cells if cell.id not in finished]
    if not missing:
        return
    bench, failure = Bench(session.measuring, arm, task), None
    for together in _batches(bench, missing):
        try:
            measured = _measured(bench, together)
        except Exception as error:
            if len(together) == 1:
                failure = failure or error
                continue
            measured = []
        if not measured:  # one of them spoils the others: each by itself
            for cell in together:
                try:
                    (alone,) = _measured(bench, [cell])
                    alone.keep(store)
                except Exception as error:
                    failure = failure or error
                    continue
                told(cell.id)
        for one in measured:
            one.keep(store)
            told(one.cell.id)
    if failure is not None:
        raise failure


def failed_rows(session: Session, cell: PlannedCell, reason: str) -> list[dict[str, Any]]:
    """The row of a cell that failed; the next run tries it again."""
    words = {
        **cell_fields(session.plan, cell),
        "metric": "top1",
        "subset": "all",
        "status": "failed",
        "reason": reason,
        "attempt": attempt(session.store, cell.id),
    }
    return [{**words, "finished": now(), "host": platform.node()}]


def _batches(bench: Bench, cells: Sequence[PlannedCell]) -> Iterator[list[PlannedCell]]:
    """Cells that are measured together: draws of one shot count under a linear probe, as many as
    fit.
    """
    task, width = bench.task, int(getattr(bench.encoder, "num_features", 1))
    for (protocol, shots), group in groupby(
        cells, lambda cell: (cell.words.protocol, cell.words.shots)
    ):
        members = list(group)
        n = len(task.train) if shots is None else min(len(task.train), shots * task.num_classes)
        each = 4 * n * (3 * width + 6 * min(width, n) + 7 * task.num_classes)
        at_once = max(1, _TOGETHER // each) if protocol in ("probe", "ridge") else 1
        for start in range(0, len(members), at_once):
            yield members[start : start + at_once]


def _measured(bench: Bench, cells: Sequence[PlannedCell]) -> list[_Measured]:
    """Rows and answers of cells under one protocol at one shot count."""
    plan, task, seed = bench.plan, bench.task, bench.arm.words.seed
    protocol = plan.study.protocols.named(cells[0].words.protocol)
    val = "full" if isinstance(protocol, ZeroShot) else protocol.val
    draws = [task.draw(cell.words.shots, cell.words.draw, seed=seed, val=val) for cell in cells]
    overlap, similar = (
        bench.session.overlap(bench.arm, bench.task_name),
        similar_test_images(bench.session, bench.arm, bench.task_name),
    )
    leaked = overlap.leaked_test if similar is None else overlap.leaked_test | similar
    began = time.monotonic()
    commons = [
        {
            **cell_fields(plan, cell),
            **arm_fields(bench.record, plan),
            **draw_fields(plan, task, draw, cell, protocol),
            "fingerprint": bench.compute.fingerprint,
            "versions": device.versions(),
            "commit": device.commit(),
            "label_reuse": overlap.label_reuse,
            "leaked_test_images": int(overlap.leaked_test.sum()),
            "similar_test_images": None if similar is None else int(similar.sum()),
            "host": platform.node(),
            "attempt": attempt(bench.store, cell.id),
        }
        for cell, draw in zip(cells, draws, strict=True)
    ]
    ended: dict[str, Any] = {"metric": "top1", "subset": "all", "status": "diverged"}
    if bench.record["status"] != "done":
        reason = f"pre-training: {bench.record['reason']}"
        return [
            _Measured(cell, [{**common, **ended, "reason": reason, "finished": now()}])
            for cell, common in zip(cells, commons, strict=True)
        ]
    try:
        choices = _choices(bench, draws, protocol, seed, cells[0])
    except (FinetuneDiverged, NotFinite) as error:
        if len(cells) > 1:
            return []
        return [
            _Measured(cells[0], [{**commons[0], **ended, "reason": str(error), "finished": now()}])
        ]
    seconds = (time.monotonic() - began) / len(cells)
    found = []
    for cell, common, choice in zip(cells, commons, choices, strict=True):
        told = {"chosen": canonical(choice.chosen), "val_value": choice.val_value}
        rows = [
            {**common, **told, "seconds": seconds, "finished": now(), **scored}
            for scored in _scores(task, choice, leaked)
        ]
        found.append(_Measured(cell, rows, choice.predictions == task.labels[task.test]))
    return found


def _choices(
    bench: Bench, draws: Sequence[Draw], protocol: Any, seed: int, cell: PlannedCell
) -> list[Choice]:
    """What validation chooses for each draw, and what that predicts for the test set."""
    task = bench.task
    if isinstance(protocol, Probe | Ridge):
        fitted = (probes if isinstance(protocol, Probe) else ridges)(
            [bench.fit(draw) for draw in draws], task.num_classes, protocol.l2
        )
        test = bench.features(task.test)
        logistic = isinstance(protocol, Probe)
        return [
            Choice.of_logits(
                {"l2": one.l2}, one.val_value, one.head.logits(test), probabilities=logistic
            )
            for one in fitted
        ]
    if isinstance(protocol, ZeroShot):
        return [_zero_shot(bench, cell)]
    return [
        _knn(bench, draw, protocol)
        if isinstance(protocol, Knn)
        else _finetune(bench, draw, protocol, seed, cell)
        for draw in draws
    ]


def _knn(bench: Bench, draw: Draw, words: Knn) -> Choice:
    fit = bench.fit(draw)
    knn = choose_knn(
        fit.train,
        fit.train_labels,
        fit.val,
        fit.val_labels,
        bench.task.num_classes,
        words.neighbours,
        words.temperature,
    )
    votes = knn.votes(bench.features(bench.task.test))
    predictions = votes.argmax(axis=1)
    return Choice(
        {"neighbours": knn.neighbours, "temperature": knn.temperature},
        knn.val_value,
        predictions,
        votes.max(axis=1),
    )


def _zero_shot(bench: Bench, cell: PlannedCell) -> Choice:
    """Class names in prompts; whether names and labels are in order is asked of validation
    images.
    """
    task, tower = bench.task, bench.text
    templates = bench.plan.templates(bench.task_name, cell.words.protocol)
    weight = tower.class_weights(task.prompt_names, templates)

    def logits(positions: NDArray[np.int64]) -> NDArray[np.float32]:
        features = bench.features(positions)
        check_finite(features)
        return (features @ weight.T) / tower.lengths(features)[:, None]

    on_val, labels = logits(task.val).argmax(axis=1), task.labels[task.val]
    order = alignment(on_val, labels, task.num_classes)
    chosen = {
        "alignment": order.verdict,
        "val_names_permuted": order.permuted,
        "val_best_assignment": order.assigned,
        "unseen_tokens": tower.unseen(task.prompt_names),
    }
    return Choice.of_logits(chosen, accuracy(on_val, labels), logits(task.test))


def _finetune(bench: Bench, draw: Draw, words: Finetune, seed: int, cell: PlannedCell) -> Choice:
    task, size = bench.task, bench.plan.study.image_size
    assert bench.encoder is not None
    head = None
    if words.head_init == "probe":
        head = probes([bench.fit(draw)], task.num_classes, bench.plan.probe_l2)[0].head.folded()
    elif words.head_init == "text":
        weight = bench.text.class_weights(
            task.prompt_names, bench.plan.templates(bench.task_name, cell.words.protocol)
        )
        # zero-shot logits are divided by each image's length; a linear head can divide by the mean
        # of the training images'
        weight = weight / bench.text.lengths(bench.features(draw.train)).mean()
        head = weight.astype(np.float32), np.zeros(task.num_classes, dtype=np.float32)
    model, chosen, val_value = finetune(
        bench.encoder,
        bench.pixels,
        bench.split(draw.train),
        bench.split(draw.val),
        task.num_classes,
        words,
        head=head,
        image_size=size,
        seed=seed,
        compute=bench.compute,
    )
    return finetune_choice(
        model,
        chosen,
        val_value,
        bench.pixels,
        bench.rows_of(task.test),
        image_size=size,
        compute=bench.compute,
    )


def _scores(task: Task, choice: Choice, leaked: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Every metric on every subset of the test set that the task has."""
    labels = task.labels[task.test]
    subsets = {"all": np.ones(len(labels), dtype=bool)}
    if task.source.table.hard is not None:
        hard = task.source.table.hard[task.test]
        subsets |= {"easy": ~hard, "hard": hard}
    if leaked.any():
        subsets["unleaked"] = ~leaked
    return [
        {
            "metric": metric,
            "subset": subset,
            "status": "done",
            "value": value,
            "n_test": int(mask.sum()),
        }
        for subset, mask in subsets.items()
        if mask.any()
        for metric, value in metrics(choice, labels, mask, task.superclasses)
    ]
