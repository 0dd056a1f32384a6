"""What can be planned of labels that are clusters, before the features are there that they are made
from.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headwater import recipes
from headwater.errors import InputError
from headwater.files import file_sha256
from headwater.labels import Partition, View, partition, resolve_view
from headwater.plan.planned import Clusters
from headwater.registry import METHODS
from headwater.sources import Positions, Source
from headwater.sources.pixels import RECIPE as PIXELS
from headwater.study import Arm, Features, identity

if TYPE_CHECKING:
    from headwater.plan import Plan


def plan_clusters(
    plan: Plan, words: Arm, view: View, source: Source, positions: Positions
) -> Clusters:
    """What is known of an arm's cluster labels before their features are there; plans the arm that
    makes these.
    """
    told = view.features or Features(method="simclr")
    where = f"sources.{words.source}"
    drawn = words.seed if words.size not in (None, "all") else None
    parts: Partition = plan.once(
        ("partition", words.source, words.size, view.name, drawn),
        lambda: partition(view, source.table, positions, where),
    )
    if len(parts.names) < 2:
        raise InputError(f"{where}: {view.name} makes only one class, so there is nothing to learn")
    arm = None
    if told.method is not None:
        method = METHODS[told.method]
        size, own = (words.size, words.source) if method.trains else (None, None)
        _refuse_circle(plan, view, where)
        labels = told.labels
        if method.needs == "captions" and labels is None:
            labels = plan.study.sources[words.source or ""].captions or plan.study.captions
        arm = plan.planned_arm(
            Arm(method=told.method, source=own, size=size, labels=labels, seed=words.seed)
        )
        if arm.source is not None and not np.array_equal(arm.positions, positions):
            raise InputError(
                f"{where}: {view.name} takes features of an arm that is trained on other images; "
                "choose one without a subset"
            )
    timm = (
        None if told.timm is None else _timm_name(told.timm, own_weights=told.weights is not None)
    )
    digest = plan.once(
        ("file", told.file or told.weights), lambda: _file_digest(told.file or told.weights)
    )
    _check(plan, view, parts, source, positions, where)
    meaning = {
        "partition": hashlib.sha256(
            parts.parts.tobytes() + (b"" if parts.groups is None else parts.groups.tobytes())
        ).hexdigest(),
        "names": list(parts.names),
        "features": arm.id if arm else timm,
        "file": digest,
        "algorithm": view.algorithm,
        "balanced": view.balanced or None,
        "seed": words.seed if view.seed is None else view.seed,
        "source": source.fingerprint(positions),
        "image_size": plan.study.image_size,
        "precision": plan.study.precision,
        "rooms": recipes.versions_of(recipes.FEATURE_ROOMS, pixels=PIXELS)
        | {"clusters": view.declared.version},
    }
    paths = {word: Path(path) for word in ("weights", "file") if (path := getattr(told, word))}
    return Clusters(identity(meaning), view, parts, arm, timm, digest=digest, **paths)


def _refuse_circle(plan: Plan, view: View, where: str) -> None:
    """Raises InputError where clusters are of the features of an arm that is labelled by them, at
    whatever remove.
    """
    passed = [view.name]
    while (
        view.features is not None
        and view.features.method is not None
        and METHODS[view.features.method].needs == "labels"
        and view.features.labels is not None
    ):
        view = resolve_view(view.features.labels, plan.study.views, plan.data_root)
        if view.name in passed:
            raise InputError(
                f"{where}: the features of {view.name} come from an arm that is labelled by them"
            )
        passed.append(view.name)


def _check(
    plan: Plan, view: View, parts: Partition, source: Source, positions: Positions, where: str
) -> None:
    """What can be known to go wrong before the features are there: better heard of now than after
    hours.
    """
    from headwater.labels.clusters import WARD_LIMIT
    from headwater.labels.embeddings import check_embeddings

    largest = len(positions) if parts.groups is None else int(np.bincount(parts.groups).max())
    if view.algorithm == "ward" and largest > WARD_LIMIT:
        raise InputError(
            f"{where}: {view.name}: Ward's method takes at most {WARD_LIMIT:,} images a group, and "
            f"one has {largest:,}; "
            "cluster within a finer level, use fewer images, or use kmeans"
        )
    if view.features is not None and view.features.file is not None:
        file = Path(view.features.file)
        plan.once(
            ("embeddings", file, positions.tobytes()),
            lambda: check_embeddings(file, source.table.ids[positions].tolist(), where),
        )


def _timm_name(name: str, *, own_weights: bool) -> str:
    """A timm model's name, with the tag of the weights that it would be given. timm is imported
    only where a study names one.
    """
    from headwater import models

    if not own_weights:
        return models.pretrained_name(name)
    models.architecture(name.partition(".")[0])
    return name


def _file_digest(path: str | None) -> str | None:
    """SHA-256 of a file that labels are made from; of embeddings in a .npy that of the ids beside
    it, too.
    """
    if path is None:
        return None
    ids = Path(path).with_suffix(".txt")
    if Path(path).suffix != ".npy" or not ids.is_file():
        return file_sha256(Path(path))
    return hashlib.sha256((file_sha256(Path(path)) + file_sha256(ids)).encode()).hexdigest()
