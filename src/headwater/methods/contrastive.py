"""The losses that compare the images of a batch with one another, on one process or on all ranks;
exact, whatever the size of the batch.

Each loss takes this rank's rows, float [b, e], normalises them, and computes in float32 (float64
for float64) even inside autocast. With `local` (the default) it compares this rank's rows with all
ranks' rows and returns the mean over its own; otherwise every rank computes the loss of all rows,
which costs each of them as much as one process would pay.

The rule for gradients over ranks: each rank multiplies its loss by (its own rows x number of ranks
/ rows of all ranks) and the gradients of the weights are averaged over ranks, as
DistributedDataParallel does. The result is exactly the gradient of the one-process loss over the
whole batch, for embeddings, temperature and bias, also where ranks have unequal parts: `Ranks.rows`
brings back what the others' losses ask of a rank's rows. Without `local` the factor is 1. The mean
loss of the batch is the mean of the ranks' losses weighed the same way.

Beyond MOST_LOGITS the matrix of logits is not kept: headwater.methods.tiles goes through it in
parts.
"""

from __future__ import annotations

import math
from typing import Literal

import torch
from torch.nn import functional as F

from headwater.device import full_precision
from headwater.methods import tiles
from headwater.methods.tiles import Run
from headwater.ranks import ALONE, Ranks

MOST_LOGITS = 2048**2
"""Logits of one rank up to which the plain losses are used: 16 MB in float32, of which a plain loss
holds four to six at once. The number of logits alone decides, so that the bits of a result depend
on shapes and not on the memory at hand [ours].
"""
AT_CHANCE = 0.02
"""A mean loss this close to that of guessing, relatively, has learned next to nothing [ours]."""
_LOG2_E = 1 / math.log(2)

Contrast = Literal["nt-xent", "infonce", "siglip"]


def nt_xent(
    first: torch.Tensor,
    second: torch.Tensor,
    temperature: float,
    ranks: Ranks = ALONE,
    local: bool = True,
) -> torch.Tensor:
    """SimCLR's normalised temperature-scaled cross-entropy (Chen et al. 2020, equation 1) of two
    views, float [b, e] each: for each of the 2 b views the other view of its image against all
    other views of all ranks. Scalar, in nats, mean over views; see above for ranks.
    """
    with full_precision(first):
        own = _units(first, second)
        everyone, start = _everyone(own, ranks)
        if not local:
            own, start = everyone, 0
        rows, columns = torch.cat(own), torch.cat(everyone)
        b, n = len(own[0]), len(everyone[0])
        if len(rows) * len(columns) > MOST_LOGITS:
            return _tiled_nt_xent(rows, columns, temperature, start) / (2 * max(1, b))
        similarity = rows @ columns.T / temperature
        places = torch.arange(start, start + b, device=rows.device)
        similarity = similarity.scatter_(1, torch.cat([places, places + n])[:, None], float("-inf"))
        return _cross_entropy(similarity, torch.cat([places + n, places]))


def _tiled_nt_xent(
    rows: torch.Tensor, columns: torch.Tensor, temperature: float, start: int
) -> torch.Tensor:
    """The sum over rows [2 b, e] of their losses against columns [2 n, e]."""
    b, n = len(rows) // 2, len(columns) // 2
    factor = _LOG2_E / temperature
    # Rows and columns are equal then. The columns were gathered: their backward pass is collective,
    # and this rank must not stay away.
    if b == n:
        return tiles.cross_entropy_among(columns * math.sqrt(factor)) / _LOG2_E
    partners = (Run(0, b, n + start), Run(b, 2 * b, start))
    themselves = (Run(0, b, start), Run(b, 2 * b, n + start))
    return tiles.cross_entropy(rows * factor, columns, partners, themselves) / _LOG2_E


def clip_loss(
    images: torch.Tensor,
    texts: torch.Tensor,
    scale: torch.Tensor,
    ranks: Ranks = ALONE,
    local: bool = True,
) -> torch.Tensor:
    """Symmetric InfoNCE (Radford et al. 2021) of embeddings, float [b, e] each; `scale` is the
    inverse temperature, a scalar tensor. Each image against all ranks' texts and each text against
    all ranks' images. Scalar, in nats, mean over this rank's images and texts; see above for ranks.
    """
    with full_precision(images):
        own = _units(images, texts)
        scale = scale.to(own[0].dtype)
        everyone, start = _everyone(own, ranks)
        if not local or ranks.size == 1:
            return _square_clip_loss(everyone[0], everyone[1], scale)
        return 0.5 * (
            _local_clip_loss(own[0], everyone[1], scale, start)
            + _local_clip_loss(own[1], everyone[0], scale, start)
        )


def _square_clip_loss(
    images: torch.Tensor, texts: torch.Tensor, scale: torch.Tensor
) -> torch.Tensor:
    n = len(images)
    if n * n > MOST_LOGITS:
        return tiles.cross_entropy_both(scale * _LOG2_E * images, texts) / (2 * n * _LOG2_E)
    logits = scale * images @ texts.T
    diagonal = torch.arange(n, device=logits.device)
    return 0.5 * (_cross_entropy(logits, diagonal) + _cross_entropy(logits.T, diagonal))


def _local_clip_loss(
    own: torch.Tensor, others: torch.Tensor, scale: torch.Tensor, start: int
) -> torch.Tensor:
    """One direction: own rows [b, e] against all ranks' others [n, e]."""
    b = len(own)
    if b * len(others) > MOST_LOGITS:
        return tiles.cross_entropy(scale * _LOG2_E * own, others, (Run(0, b, start),)) / (
            b * _LOG2_E
        )
    return _cross_entropy(scale * own @ others.T, torch.arange(start, start + b, device=own.device))


def siglip_loss(
    images: torch.Tensor,
    texts: torch.Tensor,
    scale: torch.Tensor,
    bias: torch.Tensor,
    ranks: Ranks = ALONE,
) -> torch.Tensor:
    """SigLIP's sigmoid loss (Zhai et al. 2023, algorithm 1) of embeddings, float [b, e] each;
    `scale` is the inverse temperature and `bias` is added to all logits, scalar tensors both. The
    sum over all pairs of this rank's images with all ranks' texts, divided by this rank's images;
    scalar, in nats; see above for ranks.
    """
    with full_precision(images):
        own = _units(images, texts)
        scale, bias = scale.to(own[0].dtype), bias.to(own[0].dtype)
        columns, start = ranks.rows(own[1])
        rows, b = own[0], len(own[0])
        if b * len(columns) > MOST_LOGITS:
            return tiles.sigmoid_cross_entropy(scale * rows, columns, bias, (Run(0, b, start),)) / b
        logits = scale * rows @ columns.T + bias
        signs = torch.ones_like(logits)
        signs[:, start : start + b].fill_diagonal_(-1)
        return F.softplus(signs * logits).sum() / max(1, b)


def chance(rows: int, contrast: Contrast) -> float:
    """The loss, in nats, of a batch of `rows` images whose embeddings tell nothing of which belong
    together, so that every pair gets the same logit.

    NT-Xent: ln(2 rows - 1), the candidates of a view. InfoNCE: ln(rows). SigLIP: the one logit that
    is best for all pairs, sigmoid(x) = 1 / rows, which costs an image ln(rows) + (rows - 1) ln(rows
    / (rows - 1)), about ln(rows) + 1; at its initial bias it costs about 10.
    """
    if contrast == "nt-xent":
        return math.log(max(1, 2 * rows - 1))
    if contrast == "infonce" or rows < 2:
        return math.log(max(1, rows))
    return math.log(rows) + (rows - 1) * math.log(rows / (rows - 1))


def at_chance(mean_loss: float, rows: int, contrast: Contrast) -> str | None:
    """What to tell where a mean loss (nats) over batches of `rows` images, of all ranks together,
    is within AT_CHANCE of `chance`; None where it is not.

    A batch of one image has nothing to compare, and is told nothing.
    """
    guess = chance(rows, contrast)
    if guess == 0 or not abs(mean_loss - guess) <= AT_CHANCE * guess:
        return None
    words = {
        "nt-xent": f"ln({2 * rows - 1})",
        "infonce": f"ln({rows})",
        "siglip": f"one logit for all of {rows} x {rows} pairs",
    }[contrast]
    return (
        f"the contrastive loss sits at {mean_loss:.3f}, which is chance ({words} = {guess:.3f}): "
        "the embeddings do not tell images apart. "
        "They may have collapsed, or the learning rate or the augmentation is too strong"
    )


def _units(*embeddings: torch.Tensor) -> tuple[torch.Tensor, ...]:
    """Rows of length 1, in float32 or, where they came so, float64."""
    return tuple(
        F.normalize(e if e.dtype == torch.float64 else e.float(), dim=1) for e in embeddings
    )


def _everyone(own: tuple[torch.Tensor, ...], ranks: Ranks) -> tuple[tuple[torch.Tensor, ...], int]:
    """All ranks' rows of two kinds, gathered at one go, and where this rank's begin."""
    if ranks.size == 1:
        return own, 0
    rows, start = ranks.rows(torch.cat(own, dim=1))
    return rows.chunk(2, dim=1), start


def _cross_entropy(logits: torch.Tensor, targets: torch.Tensor) -> torch.Tensor:
    """The mean over rows; 0 for none, since a rank's part of a small batch may be empty."""
    return F.cross_entropy(logits, targets, reduction="sum") / max(1, len(logits))
