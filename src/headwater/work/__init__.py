"""One arm or one cell: resolve inputs -> call -> write artifact -> write rows. Never chooses threads, device or retries."""

from __future__ import annotations

import contextlib
import json
import platform
import time
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray

from headwater import device, methods, models, pretrain
from headwater.device import Compute
from headwater.files import file_sha256
from headwater.loader import Order, workers_from_environment
from headwater.methods import Method
from headwater.plan import Plan, PlannedArm, PlannedCell
from headwater.ranks import ALONE, Ranks
from headwater.rows import SCHEMA_VERSION
from headwater.store import Store
from headwater.study import Finetune, Probe, canonical
from headwater.tasks import Draw, Task
from headwater.transfer import Choice, NotFinite, accuracy, mean_per_class_accuracy
from headwater.transfer.features import extract
from headwater.transfer.finetune import FinetuneDiverged, Split, finetune, finetune_choice
from headwater.transfer.probe import probe, probe_choice
from headwater.work.decoded import cache_limit, pixels
from headwater.work.labelling import NoFeatures, labels_of
from headwater.work.online import online_probe

__all__ = ["Bench", "Watch", "check_environment", "failed_rows", "pixels", "prepare", "run_arm", "run_cells"]

Watch = Callable[[pretrain.Progress], None]


# arms
def run_arm(
    plan: Plan,
    arm: PlannedArm,
    store: Store,
    compute: Compute,
    watch: Watch = lambda progress: None,
    *,
    checkpoint_every_s: float = 20.0,
    ranks: Ranks = ALONE,
) -> None:
    """Train an arm and keep it, or keep that it diverged. Does nothing where the store has it. Checkpoints are `checkpoint_every_s` seconds apart.

    Several `ranks` call this together, when the first one has found that it must be; the first one writes.
    """
    if ranks.size == 1 and store.has_arm(arm.id):
        return
    study = plan.study
    encoder = models.build_encoder(study.backbone, study.image_size, seed=arm.words.seed, patch_size=study.patch_size)
    record: dict[str, Any] = {
        "id": arm.id,
        "words": arm.words.words(),
        "status": "done",
        "backbone": study.backbone,
        "image_size": study.image_size,
        "recipe": arm.recipe.words() if arm.recipe else None,
        "source_fingerprint": arm.source_fingerprint,
        "unique_images": len(arm.positions) or None,
        "num_labels": arm.num_labels,
        "fingerprint": compute.fingerprint,
        "versions": device.versions(),
    }
    curve: list[dict[str, float]] = []
    method: Method | None = None
    if arm.recipe is not None:
        try:
            method = _method(plan, arm, encoder, store, compute)
            outcome, curve = _train(plan, arm, method, store, compute, watch, checkpoint_every_s, ranks)
            flops = 3.0 * models.forward_flops(encoder, study.image_size) * arm.views * outcome.images_seen
            record |= {"steps": outcome.steps, "images_seen": outcome.images_seen, "loss": outcome.last_loss, "seconds": outcome.seconds, "flops": flops}
            record |= {"knn": outcome.knn, "knn_words": _knn_words(plan), "notes": list(outcome.notes)}
        except (pretrain.Diverged, NoFeatures) as error:
            record |= {"status": "diverged", "reason": str(error)}
    if ranks.rank > 0:
        return
    with store.writing_arm(arm.id) as folder:
        models.save_encoder(folder, encoder, backbone=study.backbone, image_size=study.image_size, patch_size=study.patch_size)
        if method is not None:
            method.save_heads(folder)
        record["encoder_sha256"] = file_sha256(folder / "encoder.safetensors")
        pretrain.write_curve(folder / "metrics.jsonl", curve)
        (folder / "arm.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    store.drop_checkpoints(arm.id)


def check_environment(store: Store) -> None:
    """Raises InputError for a HEADWATER_LOADER_WORKERS or HEADWATER_CACHE_GB that is not what it should be, before anything is started."""
    workers_from_environment(1)
    cache_limit(store.cache)


def prepare(plan: Plan, arm: PlannedArm, store: Store, compute: Compute) -> None:
    """What several processes should not make at once: decoded pixels, and labels that need features."""
    if arm.source is not None:
        pixels(plan, plan.study.sources[arm.words.source or ""].data, store)
        with contextlib.suppress(NoFeatures):  # run_arm will say so
            labels_of(plan, arm, store, compute)


def _method(plan: Plan, arm: PlannedArm, encoder: Any, store: Store, compute: Compute) -> Method:
    """The method of an arm around its encoder, with its labels. Raises NoFeatures where these cannot be had."""
    assert arm.source is not None and arm.recipe is not None
    targets, hashes = labels_of(plan, arm, store, compute), arm.source.hashes[arm.positions]
    return methods.build(arm.words.method, encoder, recipe=arm.recipe, seed=arm.words.seed, targets=targets, captions=arm.captions, hashes=hashes)


def _train(
    plan: Plan,
    arm: PlannedArm,
    method: Method,
    store: Store,
    compute: Compute,
    watch: Watch,
    checkpoint_every_s: float,
    ranks: Ranks,
) -> tuple[pretrain.Outcome, list[dict[str, float]]]:
    assert arm.source is not None and arm.recipe is not None and arm.recipe.batch is not None and arm.words.source is not None
    cache, cached = pixels(plan, plan.study.sources[arm.words.source].data, store)
    hashes = arm.source.hashes[arm.positions]
    return pretrain.pretrain(
        method,
        cache.subset(np.searchsorted(cached, arm.positions)),
        Order(hashes, arm.images_seen, arm.recipe.batch, arm.words.seed),
        arm.recipe,
        image_size=plan.study.image_size,
        seed=arm.words.seed,
        compute=compute,
        checkpoints=store.checkpoints(arm.id),
        checkpoint_every_s=checkpoint_every_s,
        probe=online_probe(plan, arm, store, compute),
        ranks=ranks,
        watch=watch,
    )


# cells
class Bench:
    """One encoder on one task: features are computed once, when the first cell asks for them."""

    def __init__(self, plan: Plan, arm: PlannedArm, task_name: str, store: Store, compute: Compute) -> None:
        self.plan, self.arm, self.task_name, self.store, self.compute = plan, arm, task_name, store, compute
        self.task: Task = plan.tasks[task_name]
        self.record = store.read_arm(arm.id)
        self._features: NDArray[np.float32] | None = None
        cache, cached = pixels(plan, plan.study.tasks[task_name].data, store)
        self.positions = np.unique(np.concatenate([self.task.train, self.task.val, self.task.test]))
        self.pixels = cache.subset(np.searchsorted(cached, self.positions))
        done = self.record["status"] == "done"
        self.encoder = models.trained_encoder(store.arm_folder(arm.id), self.record["encoder_sha256"]) if done else None

    def rows_of(self, positions: NDArray[np.int64]) -> NDArray[np.int64]:
        return np.searchsorted(self.positions, positions)

    def features(self, positions: NDArray[np.int64]) -> NDArray[np.float32]:
        """float32 [n, d] of table positions."""
        if self._features is None:
            assert self.encoder is not None
            self._features = extract(self.encoder, self.pixels, image_size=self.plan.study.image_size, compute=self.compute)
        return self._features[self.rows_of(positions)]

    def split(self, positions: NDArray[np.int64]) -> Split:
        return Split(self.rows_of(positions), self.task.labels[positions], self.task.source.hashes[positions])


def run_cells(
    plan: Plan, arm: PlannedArm, task: str, cells: Sequence[PlannedCell], store: Store, compute: Compute, told: Callable[[str], None] = lambda cell: None
) -> None:
    """Measure cells of one arm on one task that the store lacks, and write their rows; `told` hears of each that is finished.

    A cell that fails does not keep the others from being measured; the first failure is raised when all were tried.
    """
    finished = store.finished_cells()
    bench: Bench | None = None
    failure: Exception | None = None
    for cell in cells:
        if cell.id not in finished:
            bench = bench or Bench(plan, arm, task, store, compute)
            try:
                store.write_rows(cell.id, _measure(bench, cell))
            except Exception as error:
                failure = failure or error
                continue
        told(cell.id)
    if failure is not None:
        raise failure


def failed_rows(plan: Plan, cell: PlannedCell, store: Store, reason: str) -> list[dict[str, Any]]:
    """The row of a cell that failed; the next run tries it again."""
    before = store.read_cell(cell.id)
    attempt = (before[0].get("attempt") or 0) + 1 if before else 1
    words = {**_cell_fields(plan, cell), "metric": "top1", "subset": "all", "status": "failed", "reason": reason, "attempt": attempt}
    return [{**words, "finished": _now(), "host": platform.node()}]


def _measure(bench: Bench, cell: PlannedCell) -> list[dict[str, Any]]:
    began = time.monotonic()
    plan, task, words = bench.plan, bench.task, cell.words
    protocol: Probe | Finetune = getattr(plan.study.protocols, words.protocol)
    draw = task.draw(words.shots, words.draw, seed=cell.arm.words.seed, val=protocol.val)
    common = {**_cell_fields(plan, cell), **_arm_fields(bench.record, plan), **_draw_fields(plan, task, draw, cell, protocol)}
    common |= {"fingerprint": bench.compute.fingerprint, "versions": device.versions(), "commit": device.commit()}
    overlap = plan.overlap(cell.arm, bench.task_name)
    common |= {"label_reuse": overlap.label_reuse, "leaked_test_images": int(overlap.leaked_test.sum())}
    common |= {"host": platform.node(), "attempt": _attempt(bench.store, cell.id)}
    if bench.record["status"] != "done":
        return [{**common, "metric": "top1", "subset": "all", "status": "diverged", "reason": f"pre-training: {bench.record['reason']}", "finished": _now()}]
    try:
        choice = _probe(bench, draw, protocol) if isinstance(protocol, Probe) else _finetune(bench, draw, protocol, cell.arm.words.seed)
    except (FinetuneDiverged, NotFinite) as error:
        return [{**common, "metric": "top1", "subset": "all", "status": "diverged", "reason": str(error), "finished": _now()}]
    common |= {"chosen": canonical(choice.chosen), "val_value": choice.val_value, "seconds": time.monotonic() - began, "finished": _now()}
    return [{**common, **scored} for scored in _scores(task, choice, overlap.leaked_test)]


def _probe(bench: Bench, draw: Draw, words: Probe) -> Choice:
    task = bench.task
    head, l2, val_value = probe(
        bench.features(draw.train), task.labels[draw.train], bench.features(draw.val), task.labels[draw.val], task.num_classes, words.l2
    )
    return probe_choice(head, l2, val_value, bench.features(task.test))


def _finetune(bench: Bench, draw: Draw, words: Finetune, seed: int) -> Choice:
    task, size = bench.task, bench.plan.study.image_size
    assert bench.encoder is not None
    start = None
    if words.head_init == "probe":
        l2s = bench.plan.probe_l2
        head, _, _ = probe(bench.features(draw.train), task.labels[draw.train], bench.features(draw.val), task.labels[draw.val], task.num_classes, l2s)
        start = head.folded()
    model, chosen, val_value = finetune(
        bench.encoder,
        bench.pixels,
        bench.split(draw.train),
        bench.split(draw.val),
        task.num_classes,
        words,
        head=start,
        image_size=size,
        seed=seed,
        compute=bench.compute,
    )
    return finetune_choice(model, chosen, val_value, bench.pixels, bench.rows_of(task.test), image_size=size, compute=bench.compute)


def _scores(task: Task, choice: Choice, leaked: NDArray[np.bool_]) -> list[dict[str, Any]]:
    """Both metrics on every subset of the test set that the task has."""
    labels = task.labels[task.test]
    subsets = {"all": np.ones(len(labels), dtype=bool)}
    if task.source.table.hard is not None:
        hard = task.source.table.hard[task.test]
        subsets |= {"easy": ~hard, "hard": hard}
    if leaked.any():
        subsets["unleaked"] = ~leaked
    metrics = {"top1": accuracy, "mean_per_class": mean_per_class_accuracy}
    return [
        {"metric": metric, "subset": subset, "status": "done", "value": score(choice.predictions[mask], labels[mask]), "n_test": int(mask.sum())}
        for subset, mask in subsets.items()
        if mask.any()
        for metric, score in metrics.items()
    ]


# fields of a row
def _cell_fields(plan: Plan, cell: PlannedCell) -> dict[str, Any]:
    study, arm, task = plan.study, cell.arm, plan.tasks[cell.words.task]
    recipe = arm.recipe
    return {
        **plan.names(cell),
        "cell": cell.id,
        "arm": arm.id,
        "schema": SCHEMA_VERSION,
        "method": arm.words.method,
        "source_fingerprint": arm.source_fingerprint,
        "unique_images": len(arm.positions) or None,
        "num_labels": arm.num_labels,
        "loss": arm.loss_name,
        "multi_label_share": arm.multi_label_share,
        "label_noise": arm.label_noise,
        "label_features": arm.clusters.origin if arm.clusters else None,
        "images_seen": arm.images_seen or None,
        "epochs": arm.images_seen / len(arm.positions) if arm.images_seen else None,
        "steps": arm.steps or None,
        "backbone": study.backbone,
        "image_size": study.image_size,
        "patch_size": study.patch_size,
        "batch": recipe.batch if recipe else None,
        "optimiser": recipe.optimiser if recipe else None,
        "lr": recipe.lr if recipe else None,
        "weight_decay": recipe.weight_decay if recipe else None,
        "recipe": canonical(recipe.words()) if recipe else None,
        "seed": arm.words.seed,
        "task_classes": task.num_classes,
        "task_majority": task.majority,
        "task_fingerprint": plan.task_fingerprint(cell.words.task),
        "protocol": cell.words.protocol,
        "shots": cell.words.shots,
        "draw": cell.words.draw,
        "precision": study.precision,
    }


def _knn_words(plan: Plan) -> dict[str, Any] | None:
    """What an answer of the online probe depends on beside the arm."""
    words = plan.study.online_probe
    return None if words is None else words.model_dump(mode="json", exclude={"looks"})


def _arm_fields(record: dict[str, Any], plan: Plan) -> dict[str, Any]:
    trained = record.get("recipe") is not None
    return {
        "pretrain_fingerprint": record.get("fingerprint") if trained else None,
        "pretrain_versions": record.get("versions") if trained else None,
        "pretrain_flops": record.get("flops"),
        "pretrain_loss": record.get("loss"),
        "pretrain_knn": record.get("knn") if record.get("knn_words") == _knn_words(plan) else None,
        "pretrain_seconds": record.get("seconds"),
    }


def _draw_fields(plan: Plan, task: Task, draw: Draw, cell: PlannedCell, protocol: Probe | Finetune) -> dict[str, Any]:
    how = "carved" if task.carved else "split"
    grid = {"l2": list(protocol.l2)} if isinstance(protocol, Probe) else protocol.model_dump(mode="json", exclude={"shots", "draws", "tasks", "val"})
    if isinstance(protocol, Finetune) and protocol.head_init == "probe":
        grid["l2"] = list(plan.probe_l2)
    shots = cell.words.shots
    return {
        "n_train": len(draw.train),
        "n_val": len(draw.val),
        "val_protocol": how + (" few-shot" if shots is not None and protocol.val == "matched" else ""),
        "val_missing_classes": draw.val_missing_classes,
        "capped": None if shots is None else len(draw.train) < shots * task.num_classes,
        "head_init": protocol.head_init if isinstance(protocol, Finetune) else None,
        "grid": canonical(grid),
    }


def _attempt(store: Store, cell_id: str) -> int:
    before = store.read_cell(cell_id)
    return (before[0].get("attempt") or 0) + 1 if before else 1


def _now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
