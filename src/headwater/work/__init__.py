"""One arm or one cell: resolve inputs -> call -> write artifact -> write rows.

Never chooses threads, device or retries.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Sequence
from typing import Any

from torch import nn

from headwater import device, methods, models, pretrain
from headwater.loader import Order, workers_from_environment
from headwater.methods import Method
from headwater.plan import PlannedArm, PlannedCell
from headwater.ranks import ALONE, Ranks
from headwater.store import Store
from headwater.work.bench import Bench
from headwater.work.cells import failed_rows, run_cells
from headwater.work.decoded import cache_limit
from headwater.work.fields import knn_words
from headwater.work.labelling import NoFeatures, labels_of
from headwater.work.online import online_probe
from headwater.work.session import Session
from headwater.work.trained import beware, weights_of

__all__ = [
    "Bench",
    "Session",
    "Watch",
    "check_environment",
    "failed_rows",
    "prepare",
    "run_arm",
    "run_cells",
    "write_failure",
]

Watch = Callable[[pretrain.Progress], None]


def run_arm(
    session: Session,
    arm: PlannedArm,
    watch: Watch = lambda progress: None,
    *,
    ranks: Ranks = ALONE,
) -> None:
    """Train an arm and keep it, or keep that it diverged.

    Does nothing where the store has it.

    Several `ranks` call this together, when the first one has found that it must be; the first one
    writes.
    """
    store, study = session.store, session.plan.study
    if ranks.size == 1 and store.has_arm(arm.id):
        return
    encoder = models.build_encoder(
        study.backbone, study.image_size, seed=arm.words.seed, patch_size=study.patch_size
    )
    record = _about(session, arm)
    curve: list[dict[str, float]] = []
    method: Method | None = None
    if arm.recipe is not None:
        try:
            method = _method(session, arm, encoder)
            before = weights_of(encoder) if ranks.size == 1 else []
            outcome, curve = _train(session, arm, method, watch, ranks)
            record |= _ended(session, arm, encoder, outcome)
            if before:
                record |= {"beware": beware(session, arm, before, encoder)}
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
        pretrain.write_curve(folder / "metrics.jsonl", curve)
        store.write_record(folder, record)
    store.drop_checkpoints(arm.id)


def _about(session: Session, arm: PlannedArm) -> dict[str, Any]:
    """What an arm's record says before it is trained."""
    study = session.plan.study
    return {
        "id": arm.id,
        "words": arm.words.words(),
        "status": "done",
        "backbone": study.backbone,
        "image_size": study.image_size,
        "recipe": arm.recipe.words() if arm.recipe else None,
        "source_fingerprint": arm.source_fingerprint,
        "unique_images": arm.unique_images or None,
        "num_labels": arm.num_labels,
        "fingerprint": session.compute.fingerprint,
        "versions": device.versions(method=arm.words.method),
    }


def _ended(
    session: Session, arm: PlannedArm, encoder: nn.Module, outcome: pretrain.Outcome
) -> dict[str, Any]:
    """What an arm's record says of its training."""
    image_size = session.plan.study.image_size
    flops = arm.method.image_flops(arm.recipe, encoder, image_size)
    return {
        "steps": outcome.steps,
        "images_seen": outcome.images_seen,
        "loss": outcome.last_loss,
        "seconds": outcome.seconds,
        "flops": flops * outcome.images_seen,
        "knn": outcome.knn,
        "knn_words": knn_words(session.plan),
        "notes": list(outcome.notes),
    }


def write_failure(session: Session, cells: Sequence[PlannedCell], reason: str) -> None:
    """Keep that cells failed, but for those that are finished; the next run tries them again."""
    for cell in cells:
        if not session.store.has_cell(cell.id):
            session.store.write_rows(cell.id, failed_rows(session, cell, reason))


def check_environment(store: Store) -> None:
    """Raises InputError for a HEADWATER_LOADER_WORKERS or HEADWATER_CACHE_GB that is not what it
    should be, before anything is started.
    """
    workers_from_environment(1)
    cache_limit(store.cache)


def prepare(session: Session, arm: PlannedArm) -> None:
    """What several processes should not make at once: decoded pixels, and labels that need
    features.
    """
    if arm.source is not None:
        session.source_pixels(arm)
        with contextlib.suppress(NoFeatures):  # run_arm will say so
            labels_of(session, arm)


def _method(session: Session, arm: PlannedArm, encoder: nn.Module) -> Method:
    """The method of an arm around its encoder, with its labels.

    Raises NoFeatures where these cannot be had.
    """
    assert arm.source is not None and arm.recipe is not None
    return methods.build(
        arm.words.method,
        encoder,
        recipe=arm.recipe,
        seed=arm.words.seed,
        targets=labels_of(session, arm),
        captions=arm.captions,
        hashes=arm.source.hashes[arm.positions],
        image_size=session.plan.study.image_size,
    )


def _train(
    session: Session, arm: PlannedArm, method: Method, watch: Watch, ranks: Ranks
) -> tuple[pretrain.Outcome, list[dict[str, float]]]:
    assert arm.source is not None and arm.recipe is not None
    hashes = arm.source.hashes[arm.positions]
    with session.store.training(arm.id) as checkpoints:
        return pretrain.pretrain(
            method,
            session.source_pixels(arm).subset(arm.positions),
            Order(hashes, arm.images_seen, arm.recipe.batch, arm.words.seed),
            arm.recipe,
            image_size=session.plan.study.image_size,
            seed=arm.words.seed,
            compute=session.compute,
            checkpoints=checkpoints,
            checkpoint_every_s=session.checkpoint_every_s,
            probe=online_probe(session, arm),
            ranks=ranks,
            watch=watch,
            stop=session.stop.is_set,
        )
