"""A method as one module that can be run by several processes: alone, with its gradients averaged
(DDP), or with its weights spread out (FSDP).
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any

import torch
from torch import nn

from headwater.methods import Batch, Method
from headwater.optim import Ema
from headwater.ranks import Ranks


class _Step(nn.Module):
    """All that a step asks of a method goes through `forward`, where DDP and FSDP listen."""

    def __init__(self, method: Method, ranks: Ranks) -> None:
        super().__init__()
        self.method, self.net = method, method.net  # what has weights is a module of this one
        self._ranks = ranks

    def forward(
        self,
        what: str,
        views: Sequence[torch.Tensor],
        batch: Batch,
        given: tuple[torch.Tensor, ...] = (),
    ) -> Any:
        if what == "loss of":
            return self.method.loss(given, batch, self._ranks)
        embeddings = self.method.encode(views, batch)
        if what == "loss":
            return self.method.loss(embeddings, batch, self._ranks)
        if what == "embeddings":
            return embeddings
        carried = sum((e.float() * g).sum() for e, g in zip(embeddings, given, strict=True))
        for parameter in (
            self.method.loss_parameters()
        ):  # their gradient is there already; DDP waits for it to be told so
            carried = carried + 0.0 * parameter.sum()
        return carried


class Wrapped:
    """`plain` is the method as the caller knows it; `method` holds the parameters that are trained.

    FSDP takes them from a copy, block by block, and `plain` stays where it was (on the processor)
    until the end.
    """

    def __init__(self, plain: Method, ranks: Ranks, *, sharded: bool = False) -> None:
        self.plain, self.ranks, self.sharded = plain, ranks, sharded and ranks.size > 1
        self.method = copy.deepcopy(plain) if self.sharded else plain
        self._step = _Step(self.method, ranks)
        self._called: nn.Module = self._step
        self._unsharded: list[nn.Parameter] = []
        if self.sharded:
            self._shard()
        elif ranks.size > 1:
            self._called = nn.parallel.DistributedDataParallel(self._step)

    def _shard(self) -> None:
        """FSDP2 on each block (a ViT's blocks, a ResNet's stages, ...) and on what remains.

        It takes no scalars (CLIP's temperature): these stay whole.
        """
        from torch.distributed.fsdp import fully_shard

        self.method.to(
            memory_format=torch.contiguous_format
        )  # kernels in channels_last cannot be spread
        self._unsharded = [p for p in self.method.net.parameters() if p.ndim == 0]
        for block in _blocks(self.method.encoder):
            fully_shard(block)
        fully_shard(self._step, ignored_params=set(self._unsharded))

    def loss(self, views: Sequence[torch.Tensor], batch: Batch) -> torch.Tensor:
        """The method's loss of these views: float32 scalar, mean over this rank's images."""
        return self._called("loss", views, batch)  # type: ignore[no-any-return]

    def embeddings(self, views: Sequence[torch.Tensor], batch: Batch) -> tuple[torch.Tensor, ...]:
        return self._called("embeddings", views, batch)  # type: ignore[no-any-return]

    def loss_of(self, embeddings: tuple[torch.Tensor, ...], batch: Batch) -> torch.Tensor:
        return self._called("loss of", (), batch, embeddings)  # type: ignore[no-any-return]

    def carried(
        self, views: Sequence[torch.Tensor], batch: Batch, gradients: tuple[torch.Tensor, ...]
    ) -> torch.Tensor:
        """A scalar whose gradient is that of a loss with `gradients` at the embeddings of these
        views.
        """
        return self._called("carried", views, batch, gradients)  # type: ignore[no-any-return]

    def apart(self, wanted: bool) -> AbstractContextManager[object]:
        """Within it gradients are added up without those of other ranks, which come with the last
        part. FSDP adds up what it has spread out.
        """
        if wanted and isinstance(self._called, nn.parallel.DistributedDataParallel):
            return self._called.no_sync()
        return nullcontext()

    def average_unsharded(self) -> None:
        """What FSDP does not take care of."""
        for parameter in self._unsharded:
            if parameter.grad is not None:
                self.ranks.average_(parameter.grad)

    def gathered(self, tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
        """These tensors whole, on the first rank, one after another: all ranks must call this, and
        the others get nothing. What was spread out is put together on the processor, since it may
        not fit elsewhere.
        """
        found = {}
        for name in sorted(
            tensors
        ):  # the order of an optimiser's state that was loaded is each process's own
            together = whole(tensors[name])
            if self.ranks.rank == 0:
                found[name] = together.cpu() if self.sharded else together
        return found

    def load_full_state(self, state: dict[str, torch.Tensor]) -> None:
        mine = self.method.net.state_dict()
        with torch.no_grad():
            for name, value in state.items():
                mine[name].copy_(spread(value, mine[name]))

    @contextmanager
    def encoder_as_kept(self, ema: Ema | None) -> Iterator[nn.Module]:
        """The encoder as it would be kept now, in evaluation mode: whole, and averaged where there
        is an average.
        """
        kept = self.method.kept
        if not self.sharded and ema is None:
            living: nn.Module = getattr(self.method.net, kept)
            living.eval()
            yield living
            living.train()
            return
        state = ema.weights() if ema is not None else self.method.net.state_dict()
        encoder = copy.deepcopy(self.plain.encoder)
        own = encoder.state_dict()
        with torch.no_grad():
            for name, t in own.items():
                t.copy_(whole(state[f"{kept}.{name}"]))
        yield encoder.eval()

    def finish(self, ema: Ema | None) -> None:
        """Leave in `plain` what is to be kept."""
        if self.sharded or ema is not None:
            state = ema.weights() if ema is not None else self.method.net.state_dict()
            own = self.plain.net.state_dict()
            with torch.no_grad():
                for name, t in state.items():
                    own[name].copy_(whole(t))
        kept = getattr(self.plain.net, self.plain.kept)
        if kept is not self.plain.encoder:
            self.plain.encoder.load_state_dict(kept.state_dict())


def whole(tensor: torch.Tensor) -> torch.Tensor:
    """A tensor with all of its parts, wherever they are."""
    return tensor.full_tensor() if hasattr(tensor, "full_tensor") else tensor


def spread(tensor: torch.Tensor, like: torch.Tensor) -> torch.Tensor:
    """A whole tensor, in parts as `like` is.

    Every rank has it whole, so each takes its own part and nothing is sent.
    """
    if not hasattr(like, "full_tensor"):
        return tensor.to(like.device)
    from torch.distributed.tensor import distribute_tensor

    return distribute_tensor(
        tensor.to(like.device),
        like.device_mesh,  # type: ignore[attr-defined]
        like.placements,  # type: ignore[attr-defined]
        src_data_rank=None,
    )


def _blocks(encoder: nn.Module) -> list[nn.Module]:
    """The modules in which an encoder's weights are gathered one after another: the members of its
    lists and sequences at the top.
    """
    found: list[nn.Module] = []
    for child in encoder.children():
        if isinstance(child, nn.ModuleList | nn.Sequential):
            found += [block for block in child if list(block.parameters())]
    return found
