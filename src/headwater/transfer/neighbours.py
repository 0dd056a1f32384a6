"""Weighted classification by nearest neighbours: a protocol of transfer, and the online probe
beside pre-training. It fits nothing.

Wu et al. 2018 (and lightly.utils.benchmarking.knn_predict): the `neighbours` most similar bank
images by cosine vote for their class with weight exp(similarity / temperature); 0.07 and 200
neighbours among ImageNet's 1.28 M images [recalled]. 20 is ours, for banks of thousands.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from numpy.typing import NDArray

from headwater.transfer import NotFinite
from headwater.transfer.linear import check_finite

Array = NDArray[np.float32] | torch.Tensor
Labels = NDArray[np.int64] | torch.Tensor
_AT_ONCE = 1 << 24
"""Similarities held at a time: 64 MiB."""


@torch.no_grad()
def knn_accuracy(
    bank: Array,
    bank_labels: Labels,
    queries: Array,
    labels: Labels,
    *,
    neighbours: int = 20,
    temperature: float = 0.07,
    num_classes: int,
) -> float:
    """Share of the queries that their nearest neighbours in the bank classify rightly, in [0, 1].

    bank float32 [n, d] and bank_labels int64 [n]; queries [m, d] and labels [m]; classes are 0 ...
    num_classes - 1. Arrays, or tensors of one device, where it is computed. A bank of fewer images
    votes whole. NaN where a feature is no finite number, or where there is no query or no bank. Of
    equal votes the lowest class wins; of bank images that are equally similar to a query, the
    earlier in the bank is the nearer. A feature of zeros has similarity 0 to all.
    """
    known, asked = _normalised(bank), _normalised(queries)
    if known is None or asked is None:
        return float("nan")
    known_labels = _tensor(bank_labels, torch.int64).to(known.device)
    wanted = _tensor(labels, torch.int64).to(known.device)
    right = 0
    for rows, similarity, nearest in _neighbourhoods(known, asked, min(neighbours, len(known))):
        votes = _votes(similarity, known_labels[nearest], temperature, num_classes)
        right += int((votes.argmax(dim=1) == wanted[rows]).sum())
    return right / len(asked)


@dataclass(frozen=True)
class Knn:
    """The classifier that validation chose among numbers of neighbours and temperatures; `bank`
    float32 [n, d], `bank_labels` int64 [n].
    """

    bank: NDArray[np.float32]
    bank_labels: NDArray[np.int64]
    num_classes: int
    neighbours: int
    temperature: float
    val_value: float

    def votes(self, features: NDArray[np.float32]) -> NDArray[np.float64]:
        """float64 [m, classes]: shares of the votes of each query's neighbours. Raises
        NotFinite.
        """
        known, asked = _finite(self.bank), _finite(features)
        labels = torch.from_numpy(self.bank_labels)
        neighbourhoods = _neighbourhoods(known, asked, min(self.neighbours, len(known)))
        chunks = [
            _votes(similarity, labels[nearest], self.temperature, self.num_classes)
            for _, similarity, nearest in neighbourhoods
        ]
        votes: NDArray[np.float64] = torch.cat(chunks).numpy()
        votes /= votes.sum(axis=1, keepdims=True)
        return votes


@torch.no_grad()
def choose_knn(
    train: NDArray[np.float32],
    train_labels: NDArray[np.int64],
    val: NDArray[np.float32],
    val_labels: NDArray[np.int64],
    num_classes: int,
    neighbours: Sequence[int],
    temperatures: Sequence[float],
) -> Knn:
    """The best of a grid on validation: accuracy, then the larger share of votes for the right
    class, then fewer neighbours and the lower temperature.

    A number of neighbours above the training images means all of them. Raises NotFinite.
    """
    known, asked = _finite(train), _finite(val)
    labels, wanted = torch.from_numpy(train_labels), torch.from_numpy(val_labels)
    grid = [(k, temperature) for k in sorted(neighbours) for temperature in sorted(temperatures)]
    right, share = dict.fromkeys(grid, 0), dict.fromkeys(grid, 0.0)
    for rows, similarity, nearest in _neighbourhoods(
        known, asked, min(max(neighbours), len(known))
    ):
        for k, temperature in grid:
            votes = _votes(similarity[:, :k], labels[nearest[:, :k]], temperature, num_classes)
            right[k, temperature] += int((votes.argmax(dim=1) == wanted[rows]).sum())
            of_right_class = votes.gather(1, wanted[rows, None])[:, 0]
            share[k, temperature] += float((of_right_class / votes.sum(dim=1)).sum())
    # of equal ones the first
    k, temperature = max(grid, key=lambda setting: (right[setting], share[setting]))
    return Knn(train, train_labels, num_classes, k, temperature, right[k, temperature] / len(val))


def _finite(features: NDArray[np.float32]) -> torch.Tensor:
    normalised = _normalised(features)
    if normalised is None:
        check_finite(features)
        raise NotFinite("the encoder gives no features")
    return normalised


def _neighbourhoods(
    known: torch.Tensor, asked: torch.Tensor, k: int
) -> Iterator[tuple[slice, torch.Tensor, torch.Tensor]]:
    """(rows of `asked`, similarities [rows, k] in descending order, bank positions [rows, k]), some
    rows at a time.
    """
    at_once = max(1, _AT_ONCE // len(known))
    for start in range(0, len(asked), at_once):
        queries = asked[start : start + at_once]
        yield (slice(start, start + len(queries)), *_nearest(queries @ known.T, k))


def _votes(
    similarity: torch.Tensor, labels: torch.Tensor, temperature: float, num_classes: int
) -> torch.Tensor:
    """float64 [m, classes]: weights exp(similarity / temperature), in shares of the nearest one's,
    which cannot overflow.
    """
    weight = ((similarity - similarity[:, :1]).double() / temperature).exp()
    votes = torch.zeros(len(labels), num_classes, dtype=torch.float64, device=labels.device)
    return votes.scatter_add_(1, labels, weight)


def _tensor(values: Array | Labels, kind: torch.dtype) -> torch.Tensor:
    """A tensor of this type; a copy of an array, which may lie in a file that cannot be written."""
    tensor = values if isinstance(values, torch.Tensor) else torch.from_numpy(np.array(values))
    return tensor.to(kind)


def _normalised(features: Array) -> torch.Tensor | None:
    """float32 [n, d], each of length 1 or 0; None where there is none or one is not finite."""
    tensor = _tensor(features, torch.float32)
    if not tensor.numel() or not bool(tensor.isfinite().all()):
        return None
    # squares of huge values would overflow, of tiny ones vanish
    tensor = tensor / tensor.abs().amax(dim=1, keepdim=True).clamp_min(1e-30)
    return torch.nn.functional.normalize(tensor, dim=1)


def _nearest(similarity: torch.Tensor, k: int) -> tuple[torch.Tensor, torch.Tensor]:
    """(similarities, bank positions) [m, k] of the most similar, in descending order; of equal ones
    the earlier.

    topk is fast and leaves open which of equal values it takes, so that queries with equal ones at
    the cut are sorted whole.
    """
    values, positions = similarity.topk(min(k + 1, similarity.shape[1]), dim=1)
    if similarity.shape[1] > k:
        tied = (values[:, k] == values[:, k - 1]).nonzero().squeeze(1)
        if len(tied):
            all_values, all_positions = similarity[tied].sort(dim=1, descending=True, stable=True)
            values[tied], positions[tied] = all_values[:, : k + 1], all_positions[:, : k + 1]
    values, positions = values[:, :k], positions[:, :k]
    # of equal ones among the nearest the earlier first, whatever number of them is then taken
    positions, by_position = positions.sort(dim=1)
    values, order = values.gather(1, by_position).sort(dim=1, descending=True, stable=True)
    return values, positions.gather(1, order)
