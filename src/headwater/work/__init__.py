"""One arm or one cell: resolve inputs -> call -> write artifact -> write rows.

Never chooses threads, device or retries.
"""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable
from typing import Any

import numpy as np

from headwater import device, methods, models, pretrain
from headwater.device import Compute
from headwater.files import file_sha256
from headwater.loader import Order, workers_from_environment
from headwater.methods import Method
from headwater.plan import Plan, PlannedArm
from headwater.ranks import ALONE, Ranks
from headwater.store import Store
from headwater.work.cells import Bench, failed_rows, run_cells
from headwater.work.decoded import cache_limit, pixels
from headwater.work.fields import knn_words
from headwater.work.labelling import NoFeatures, labels_of
from headwater.work.online import online_probe

__all__ = [
    "Bench", "Watch", "check_environment", "failed_rows", "pixels", "prepare", "run_arm", "run_cells",
]  # fmt: skip

Watch = Callable[[pretrain.Progress], None]


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
    """Train an arm and keep it, or keep that it diverged.

    Does nothing where the store has it. Checkpoints are `checkpoint_every_s` seconds apart.

    Several `ranks` call this together, when the first one has found that it must be; the first one
    writes.
    """
    if ranks.size == 1 and store.has_arm(arm.id):
        return
    study = plan.study
    encoder = models.build_encoder(
        study.backbone, study.image_size, seed=arm.words.seed, patch_size=study.patch_size
    )
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
            outcome, curve = _train(
                plan, arm, method, store, compute, watch, checkpoint_every_s, ranks
            )
            flops = (
                3.0
                * models.forward_flops(encoder, study.image_size)
                * arm.views
                * outcome.images_seen
            )
            record |= {
                "steps": outcome.steps,
                "images_seen": outcome.images_seen,
                "loss": outcome.last_loss,
                "seconds": outcome.seconds,
                "flops": flops,
            }
            record |= {
                "knn": outcome.knn,
                "knn_words": knn_words(plan),
                "notes": list(outcome.notes),
            }
        except (pretrain.Diverged, NoFeatures) as error:
            record |= {"status": "diverged", "reason": str(error)}
    if ranks.rank > 0:
        return
    with store.writing_arm(arm.id) as folder:
        models.save_encoder(
            folder,
            encoder,
            backbone=study.backbone,
            image_size=study.image_size,
            patch_size=study.patch_size,
        )
        if method is not None:
            method.save_heads(folder)
        record["encoder_sha256"] = file_sha256(folder / "encoder.safetensors")
        pretrain.write_curve(folder / "metrics.jsonl", curve)
        (folder / "arm.json").write_text(json.dumps(record, indent=1, sort_keys=True) + "\n")
    store.drop_checkpoints(arm.id)


def check_environment(store: Store) -> None:
    """Raises InputError for a HEADWATER_LOADER_WORKERS or HEADWATER_CACHE_GB that is not what it
    should be, before anything is started.
    """
    workers_from_environment(1)
    cache_limit(store.cache)


def prepare(plan: Plan, arm: PlannedArm, store: Store, compute: Compute) -> None:
    """What several processes should not make at once: decoded pixels, and labels that need
    features.
    """
    if arm.source is not None:
        pixels(plan, plan.study.sources[arm.words.source or ""].data, store)
        with contextlib.suppress(NoFeatures):  # run_arm will say so
            labels_of(plan, arm, store, compute)


def _method(plan: Plan, arm: PlannedArm, encoder: Any, store: Store, compute: Compute) -> Method:
    """The method of an arm around its encoder, with its labels.

    Raises NoFeatures where these cannot be had.
    """
    assert arm.source is not None and arm.recipe is not None
    targets, hashes = labels_of(plan, arm, store, compute), arm.source.hashes[arm.positions]
    return methods.build(
        arm.words.method,
        encoder,
        recipe=arm.recipe,
        seed=arm.words.seed,
        targets=targets,
        captions=arm.captions,
        hashes=hashes,
    )


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
    assert (
        arm.source is not None
        and arm.recipe is not None
        and arm.recipe.batch is not None
        and arm.words.source is not None
    )
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
