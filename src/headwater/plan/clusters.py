"""What can be planned of labels that are clusters, before the features are there that they are made
from.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path

import numpy as np

from headwater import recipes
from headwater.errors import InputError
from headwater.files import file_sha256
from headwater.labels import Partition, View, partition, resolve_view
from headwater.plan.images import seed_of_images
from headwater.plan.memo import Memo
from headwater.plan.planned import Clusters, PlannedArm
from headwater.plan.resolved import Resolved
from headwater.registry import METHODS
from headwater.sources import Positions, Source
from headwater.sources.pixels import RECIPE as PIXELS
from headwater.study import Arm, Features, identity


class ClusterPlanner:
    """Plans labels that are clusters; what seeds share is made once."""

    def __init__(self, resolved: Resolved, plan_arm: Callable[[Arm], PlannedArm]) -> None:
        """`plan_arm` plans the arms whose features are clustered."""
        self._resolved, self._plan_arm = resolved, plan_arm
        self._partitions: Memo[Partition] = Memo()
        self._digests: Memo[str | None] = Memo()
        self._checked: Memo[None] = Memo()

    def planned(self, words: Arm, view: View, positions: Positions) -> Clusters:
        """What is known of an arm's cluster labels before their features are there.

        Raises InputError for what can be known to go wrong.
        """
        assert words.source is not None
        features = view.features or Features(method="simclr")
        where = f"sources.{words.source}"
        source = self._resolved.source_of(words.source)
        parts = self._partition(words, view, source, positions)
        if len(parts.names) < 2:
            raise InputError(
                f"{where}: {view.name} makes only one class, so there is nothing to learn"
            )
        arm = self._feature_arm(words, view, features, positions)
        timm = None
        if features.timm is not None:
            timm = _timm_name(features.timm, own_weights=features.weights is not None)
        path = features.file or features.weights
        digest = self._digests.get(path, lambda: _file_digest(path))
        self._check(view, parts, source, positions, where)
        study = self._resolved.study
        meaning = {
            "partition": _partition_digest(parts),
            "names": list(parts.names),
            "features": arm.id if arm else timm,
            "file": digest,
            "algorithm": view.algorithm,
            "balanced": view.balanced or None,
            "seed": words.seed if view.seed is None else view.seed,
            "source": source.fingerprint(positions),
            "image_size": study.image_size,
            "precision": study.precision,
            "rooms": recipes.versions_of(recipes.FEATURE_ROOMS, pixels=PIXELS)
            | {"clusters": view.declared.version},
        }
        return Clusters(
            identity(meaning),
            view,
            parts,
            arm,
            timm,
            weights=Path(features.weights) if features.weights else None,
            file=Path(features.file) if features.file else None,
            digest=digest,
        )

    def _partition(self, words: Arm, view: View, source: Source, positions: Positions) -> Partition:
        drawn = seed_of_images(self._resolved, words)
        return self._partitions.get(
            (words.source, words.size, view.name, drawn),
            lambda: partition(view, source.table, positions, f"sources.{words.source}"),
        )

    def _feature_arm(
        self, words: Arm, view: View, features: Features, positions: Positions
    ) -> PlannedArm | None:
        """The arm that makes the features; None where a timm model or a file does."""
        if features.method is None:
            return None
        where = f"sources.{words.source}"
        method = METHODS[features.method]
        _refuse_circle(self._resolved, view, where)
        labels = features.labels
        if method.needs == "captions" and labels is None:
            study = self._resolved.study
            labels = study.sources[words.source or ""].captions or study.captions
        arm = self._plan_arm(
            Arm(
                method=features.method,
                source=words.source if method.trains else None,
                size=words.size if method.trains else None,
                labels=labels,
                budget=words.budget if method.trains else None,
                seed=words.seed,
            )
        )
        if arm.source is not None and not np.array_equal(arm.positions, positions):
            raise InputError(
                f"{where}: {view.name} takes features of an arm that is trained on other images; "
                "choose one without a subset"
            )
        return arm

    def _check(
        self, view: View, parts: Partition, source: Source, positions: Positions, where: str
    ) -> None:
        """What can be known to go wrong before the features are there: better heard of now than
        after hours.
        """
        from headwater.labels.clusters import WARD_LIMIT
        from headwater.plan.given import check_points, check_weights

        largest = len(positions) if parts.groups is None else int(np.bincount(parts.groups).max())
        if view.algorithm == "ward" and largest > WARD_LIMIT:
            raise InputError(
                f"{where}: {view.name}: Ward's method takes at most {WARD_LIMIT:,} images a group, "
                f"and one has {largest:,}; cluster within a finer level, use fewer images, or use "
                "kmeans"
            )
        if view.features is None:
            return
        if view.features.file is not None:
            file = Path(view.features.file)
            self._checked.get(
                (file, positions.tobytes()),
                lambda: check_points(file, source.table.ids[positions].tolist(), where),
            )
        if view.features.weights is not None and view.features.timm is not None:
            weights, model = Path(view.features.weights), view.features.timm
            self._checked.get((weights, model), lambda: check_weights(weights, model, where))


def _partition_digest(parts: Partition) -> str:
    groups = b"" if parts.groups is None else parts.groups.tobytes()
    return hashlib.sha256(parts.parts.tobytes() + groups).hexdigest()


def _refuse_circle(resolved: Resolved, view: View, where: str) -> None:
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
        view = resolve_view(view.features.labels, resolved.study.views, resolved.data_root)
        if view.name in passed:
            raise InputError(
                f"{where}: the features of {view.name} come from an arm that is labelled by them"
            )
        passed.append(view.name)


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
