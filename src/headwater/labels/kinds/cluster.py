"""`cluster:K`: clusters of features of the images."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from headwater.labels.kinds import Shown, ViewKind
from headwater.labels.partitions import Partition
from headwater.labels.targets import Targets
from headwater.labels.views import View


def _from_features(
    view: View, partition: Partition, features: NDArray[np.float32], seed: int, where: str
) -> tuple[Targets, float]:
    from headwater.labels.clusters import cluster

    clustering = cluster(
        features,
        partition.groups,
        partition.parts,
        seed=seed,
        algorithm=view.algorithm,
        balanced=view.balanced,
        where=where,
    )
    return Targets(clustering.codes, partition.names, view.name), clustering.inertia


ENTRY = ViewKind(
    name="cluster",
    version=1,
    order=60,
    colour="#7A6A00",
    title="clusters of features of the images",
    form="cluster:K",
    argument="count",
    seeded=True,
    within=Shown(order=50, colour="#332288"),
    from_features=_from_features,
)
