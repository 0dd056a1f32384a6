"""The online probe of an arm: how well the labels of held-out images are told by those of their
nearest training images, now and then in training.
"""

from __future__ import annotations

import numpy as np
from torch import nn

from headwater import keys
from headwater.plan import PlannedArm
from headwater.plan.images import probe_labels
from headwater.pretrain import OnlineProbe
from headwater.transfer.features import extract
from headwater.transfer.neighbours import knn_accuracy
from headwater.work.session import Session

BANK, QUERIES = 2048, 1024
"""Training images that are compared with and held-out images that are asked about, at most, drawn
by key: a look should cost a fraction of a second on a CPU [ours].
"""


def online_probe(session: Session, arm: PlannedArm) -> OnlineProbe | None:
    """The online probe of an arm; None where the study asks for none, or the source has no such
    labels or too few images.
    """
    study = session.plan.study
    words = study.online_probe
    if words is None or arm.source is None or not len(arm.held_out):
        return None
    bank, queries = (
        _some(arm, positions, most)
        for positions, most in ((arm.positions, BANK), (arm.held_out, QUERIES))
    )
    known = probe_labels(session.plan.resolved, arm.words.source or "")
    if known is None:
        return None
    both, cut = np.concatenate([bank, queries]), len(bank)
    labels = known.of(both)
    images = session.source_pixels(arm).subset(both)

    def ask(encoder: nn.Module) -> float:
        features = extract(encoder, images, image_size=study.image_size, compute=session.compute)
        return knn_accuracy(
            features[:cut],
            labels[:cut],
            features[cut:],
            labels[cut:],
            neighbours=min(words.neighbours, cut),
            num_classes=known.num_classes,
        )

    return OnlineProbe(ask, words.looks)


def _some(arm: PlannedArm, positions: np.ndarray, most: int) -> np.ndarray:
    """At most so many of these images, by key."""
    assert arm.source is not None
    order = keys.permutation(keys.key(0, "online bank"), arm.source.hashes[positions])
    return np.sort(positions[order[:most]])
