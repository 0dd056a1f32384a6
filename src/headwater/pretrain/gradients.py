"""The gradient of one step: of a whole batch at once, or of one that does not fit in parts, to the
same result.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import nn
from torch.nn.modules.batchnorm import _BatchNorm

from headwater import keys
from headwater.device import Compute
from headwater.pretrain.batches import Batches, Prepared
from headwater.pretrain.scale import Wrapped


class Gradients:
    """Leaves the gradient of a step's mean loss in the parameters' `.grad`.

    A batch above `micro_batch` images is passed in parts. Where the loss is a mean over images, the
    parts' gradients are added up. A contrastive loss compares all images, so GradCache (Gao et al.
    2021, "Scaling deep contrastive learning batch size under memory limited setup") is used:
    embeddings of all parts without gradients, the loss's gradient at the embeddings, then each part
    once more with that gradient carried on. Both give the gradient of the whole batch, but for
    batch normalisation, which sees one part at a time.
    """

    def __init__(
        self,
        wrapped: Wrapped,
        batches: Batches,
        micro_batch: int | None,
        seed: int,
        compute: Compute,
    ) -> None:
        self._wrapped, self._batches, self._micro_batch, self._seed, self._compute = (
            wrapped,
            batches,
            micro_batch,
            seed,
            compute,
        )

    def __call__(self, step: int, prepared: Prepared) -> torch.Tensor:
        """This rank's summand of the mean loss over the step's images, a scalar without
        gradient.
        """
        own, ranks = len(prepared.batch), self._wrapped.ranks
        parts = self._parts(own, prepared.global_size)
        if len(parts) == 1:
            loss = self._whole(step, prepared, own * ranks.size / prepared.global_size)
        elif self._wrapped.plain.contrastive:
            loss = self._cached(step, prepared, parts, own * ranks.size / prepared.global_size)
        else:
            loss = self._accumulated(step, prepared, parts, ranks.size / prepared.global_size)
        return loss / ranks.size

    def _parts(self, own: int, global_size: int) -> list[slice]:
        """Parts of `micro_batch` images at most, as equal as can be: as many on every rank, since
        each part may ask all ranks for something. None holds a single image, which batch
        normalisation cannot take, even if one part is then larger by one.
        """
        size = self._wrapped.ranks.size
        most, least = -(-global_size // size), global_size // size
        count = min(-(-most // (self._micro_batch or most)), max(1, least // 2))
        return [slice(i * own // count, (i + 1) * own // count) for i in range(count)]

    def _whole(self, step: int, prepared: Prepared, factor: float) -> torch.Tensor:
        views = self._batches.views(prepared, slice(None))
        self._seeded(step)
        with self._compute.autocast():
            loss = self._wrapped.loss(views, prepared.batch) * factor
        loss.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _accumulated(
        self, step: int, prepared: Prepared, parts: list[slice], factor: float
    ) -> torch.Tensor:
        total = torch.zeros((), device=self._compute.device)
        for i, part in enumerate(parts):
            views, batch = self._batches.views(prepared, part), prepared.batch.part(part)
            self._seeded(step, i)
            with self._wrapped.apart(i < len(parts) - 1):
                with self._compute.autocast():
                    loss = self._wrapped.loss(views, batch) * (factor * len(batch))
                loss.backward()  # type: ignore[no-untyped-call]
            total += loss.detach()
        return total

    def _cached(
        self, step: int, prepared: Prepared, parts: list[slice], factor: float
    ) -> torch.Tensor:
        made: list[tuple[torch.Tensor, ...]] = []
        with torch.no_grad(), _statistics_kept(self._wrapped.method.net):
            for i, part in enumerate(parts):
                made.append(self._embed(step, i, prepared, part))
        leaves = tuple(torch.cat(column).requires_grad_() for column in zip(*made, strict=True))
        with self._wrapped.apart(True):
            with self._compute.autocast():
                loss = self._wrapped.loss_of(leaves, prepared.batch) * factor
            loss.backward()  # type: ignore[no-untyped-call]
        asked = [leaf.grad if leaf.grad is not None else torch.zeros_like(leaf) for leaf in leaves]
        for i, part in enumerate(parts):
            views, batch = self._batches.views(prepared, part), prepared.batch.part(part)
            self._seeded(step, i)
            with self._wrapped.apart(i < len(parts) - 1):
                with self._compute.autocast():
                    carried = self._wrapped.carried(
                        views, batch, tuple(gradient[part] for gradient in asked)
                    )
                carried.backward()  # type: ignore[no-untyped-call]
        return loss.detach()

    def _embed(
        self, step: int, i: int, prepared: Prepared, part: slice
    ) -> tuple[torch.Tensor, ...]:
        views, batch = self._batches.views(prepared, part), prepared.batch.part(part)
        self._seeded(step, i)
        with self._compute.autocast():
            return tuple(t.float() for t in self._wrapped.embeddings(views, batch))

    def _seeded(self, step: int, part: int = 0) -> None:
        """Dropout and stochastic depth draw from torch's generator: keyed by step, and by part and
        rank, which hold other images.
        """
        rank = self._wrapped.ranks.rank
        key = (
            keys.key(self._seed, "dropout", step)
            if part == rank == 0
            else keys.key(self._seed, "dropout", step, part, rank)
        )
        torch.manual_seed(key & (2**63 - 1))


@contextmanager
def _statistics_kept(module: nn.Module) -> Iterator[None]:
    """Batch normalisation normalises by the batch, but does not move its running statistics: they
    should see each image once.
    """
    layers = [
        layer
        for layer in module.modules()
        if isinstance(layer, _BatchNorm) and layer.track_running_stats
    ]
    for layer in layers:
        layer.track_running_stats = False
    try:
        yield
    finally:
        for layer in layers:
            layer.track_running_stats = True
