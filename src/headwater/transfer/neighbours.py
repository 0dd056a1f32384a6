"""Weighted classification by nearest neighbours: the online probe beside pre-training, which fits nothing.

Wu et al. 2018 (and lightly.utils.benchmarking.knn_predict): the `neighbours` most similar bank images by cosine vote for their class with weight
exp(similarity / temperature); 0.07 and 200 neighbours among ImageNet's 1.28 M images [recalled]. 20 is ours, for banks of thousands.
"""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray

Array = NDArray[np.float32] | torch.Tensor
Labels = NDArray[np.int64] | torch.Tensor
_AT_ONCE = 1 << 24
"""Similarities held at a time: 64 MiB."""


@torch.no_grad()
def knn_accuracy(
    bank: Array, bank_labels: Labels, queries: Array, labels: Labels, *, neighbours: int = 20, temperature: float = 0.07, num_classes: int
) -> float:
    """Share of the queries that their nearest neighbours in the bank classify rightly, in [0, 1].

    bank float32 [n, d] and bank_labels int64 [n]; queries [m, d] and labels [m]; classes are 0 ... num_classes - 1. Arrays, or tensors of one device,
    where it is computed. A bank of fewer images votes whole. NaN where a feature is no finite number, or where there is no query or no bank.
    Of equal votes the lowest class wins; of bank images that are equally similar to a query, the earlier in the bank is the nearer.
    A feature of zeros has similarity 0 to all.
    """
    known, asked = _normalised(bank), _normalised(queries)
    if known is None or asked is None:
        return float("nan")
    known_labels, wanted = (_tensor(x, torch.int64).to(known.device) for x in (bank_labels, labels))
    k = min(neighbours, len(known))
    right = 0
    for start in range(0, len(asked), max(1, _AT_ONCE // len(known))):
        part = asked[start : start + max(1, _AT_ONCE // len(known))]
        similarity, nearest = _nearest(part @ known.T, k)
        weight = ((similarity - similarity[:, :1]).double() / temperature).exp()  # in shares of the nearest one's, which cannot overflow
        votes = torch.zeros(len(part), num_classes, dtype=torch.float64, device=part.device)
        votes.scatter_add_(1, known_labels[nearest], weight)
        right += int((votes.argmax(dim=1) == wanted[start : start + len(part)]).sum())
    return right / len(asked)


def _tensor(values: Array | Labels, kind: torch.dtype) -> torch.Tensor:
    """A tensor of this type; a copy of an array, which may lie in a file that cannot be written."""
    return (values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values))).to(kind)


def _normalised(features: Array) -> torch.Tensor | None:
    """float32 [n, d], each of length 1 or 0; None where there is none or one is not finite."""
    tensor = _tensor(features, torch.float32)
    if not tensor.numel() or not bool(tensor.isfinite().all()):
        return None
    tensor = tensor / tensor.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)  # squares of huge values would overflow, of tiny ones vanish
    return torch.nn.functional.normalize(tensor, dim=1)


def _nearest(similarity: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(similarities, bank positions) [m, k] of the most similar, in descending order; of equal ones the earlier.

    topk is fast and leaves open which of equal values it takes, so that queries with equal ones at the cut are sorted whole.
    """
    values, at = similarity.topk(min(k + 1, similarity.shape[1]), dim=1)
    if similarity.shape[1] > k:
        tied = (values[:, k] == values[:, k - 1]).nonzero().squeeze(1)
        if len(tied):
            whole_values, whole_at = similarity[tied].sort(dim=1, descending=True, stable=True)
            values[tied], at[tied] = whole_values[:, : k + 1], whole_at[:, : k + 1]
    return values[:, :k], at[:, :k]
