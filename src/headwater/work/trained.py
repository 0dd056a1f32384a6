"""What is looked at when an arm's training has ended: whether it moved the weights, and whether the
encoder tells images apart.
"""

from __future__ import annotations

import numpy as np
import torch
from torch import nn

from headwater.plan import PlannedArm
from headwater.transfer.features import extract
from headwater.work.session import Session

STILL = 1e-5
"""Weights that moved by less than this share of their length have not been trained [ours]."""
FLAT = 1e-5
"""Features that differ by less than this share of their length are one [ours]."""
_LOOKED_AT = 64
"""Images whose features are looked at."""


def weights_of(encoder: nn.Module) -> list[torch.Tensor]:
    """Copies of an encoder's weights."""
    return [weight.detach().clone() for weight in encoder.parameters()]


def beware(
    session: Session, arm: PlannedArm, before: list[torch.Tensor], encoder: nn.Module
) -> list[str]:
    """What a reader of an arm's rows must know of its training; empty where all is well."""
    told = []
    share = _moved(before, encoder)
    if share < STILL:
        much = "not at all" if share == 0 else f"by {share:.0e} of their length"
        told.append(
            f"training moved the weights of {arm.words.title} {much}; look at its lr and clip_norm"
        )
    images = session.source_pixels(arm).subset(arm.positions[:_LOOKED_AT])
    size = session.plan.study.image_size
    features = extract(encoder, images, image_size=size, compute=session.compute)
    length = float(np.linalg.norm(features, axis=1).max())
    spread = float(np.linalg.norm(features - features.mean(axis=0), axis=1).max())
    if spread <= FLAT * length:
        told.append(
            f"the features of {arm.words.title} are the same for all images that were looked at "
            f"({len(features)}), so nothing can be told by them"
        )
    return told


def _moved(before: list[torch.Tensor], encoder: nn.Module) -> float:
    """How far the weights went, as a share of their length. What decay alone does to a tensor, to
    make all of it smaller, is not counted.
    """
    moved, length = 0.0, 0.0
    for was, weight in zip(before, encoder.parameters(), strict=True):
        old, now = was.double(), weight.detach().to(was.device).double()
        square = float(old.square().sum())
        shrunk = float((old * now).sum()) / square if square else 0.0
        moved += float((now - shrunk * old).square().sum())
        length += square
    return float((moved / length) ** 0.5) if length else float(moved > 0)
