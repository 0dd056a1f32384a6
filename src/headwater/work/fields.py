"""The fields of a row: what of plan, arm, draw and machine could change its number."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

from headwater.plan import Plan, PlannedCell
from headwater.registry import PROTOCOLS
from headwater.rows import SCHEMA_VERSION
from headwater.store import Store
from headwater.study import canonical
from headwater.tasks import Draw


def cell_fields(plan: Plan, cell: PlannedCell) -> dict[str, Any]:
    study, arm, task = plan.study, cell.arm, plan.tasks[cell.words.task]
    recipe = arm.recipe
    return {
        **plan.names(cell),
        **plan.left_out(cell),
        "cell": cell.id,
        "arm": arm.id,
        "schema": SCHEMA_VERSION,
        "method": arm.words.method,
        "source_fingerprint": arm.source_fingerprint,
        "unique_images": arm.unique_images or None,
        "num_labels": arm.num_labels,
        "texts": arm.reading.texts if arm.reading else None,
        "cut_texts": arm.reading.cut if arm.reading else None,
        "loss": arm.loss_name,
        "multi_label_share": arm.multi_label_share,
        "label_noise": arm.label_noise,
        "label_features": arm.clusters.origin if arm.clusters else None,
        "images_seen": arm.images_seen or None,
        "epochs": arm.images_seen / arm.unique_images if arm.images_seen else None,
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


def knn_words(plan: Plan) -> dict[str, Any] | None:
    """What an answer of the online probe depends on beside the arm."""
    words = plan.study.online_probe
    return None if words is None else words.model_dump(mode="json", exclude={"looks"})


def arm_fields(record: dict[str, Any], plan: Plan) -> dict[str, Any]:
    trained = record.get("recipe") is not None
    return {
        "pretrain_fingerprint": record.get("fingerprint") if trained else None,
        "pretrain_versions": record.get("versions") if trained else None,
        "pretrain_flops": record.get("flops"),
        "pretrain_loss": record.get("loss"),
        "pretrain_knn": record.get("knn") if record.get("knn_words") == knn_words(plan) else None,
        "pretrain_seconds": record.get("seconds"),
    }


def draw_fields(plan: Plan, draw: Draw, cell: PlannedCell) -> dict[str, Any]:
    """What a cell is fitted to and chosen by, and what its protocol says of itself."""
    task, shots = plan.tasks[cell.words.task], cell.words.shots
    protocol, asked = PROTOCOLS[cell.words.protocol], plan.study.protocols
    words = asked.asked(cell.words.protocol)
    few_shot = shots is not None and words.validation() == "matched"
    return {
        "n_train": len(draw.train) if words.on_images else 0,
        "n_val": len(draw.val),
        "val_protocol": ("carved" if task.carved else "split") + (" few-shot" if few_shot else ""),
        "val_missing_classes": draw.val_missing_classes if words.on_images else None,
        "capped": None if shots is None else len(draw.train) < shots * task.num_classes,
        "head_init": protocol.head_init(words),
        "grid": canonical(protocol.grid(words, asked, task)),
    }


def attempt(store: Store, cell_id: str) -> int:
    before = store.read_cell(cell_id)
    return (before[0].get("attempt") or 0) + 1 if before else 1


def now() -> str:
    return datetime.now(UTC).isoformat(timespec="seconds")
