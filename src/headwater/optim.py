"""Optimisers, schedules, clipping and the average of weights, shared by pre-training and
fine-tuning.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable
from typing import Any

import torch
from torch import nn

TRUST = 0.001
"""LARS: the length of a step in shares of the weight's own norm, at a rate of 1 (EETA_DEFAULT in
SimCLR's code).
"""


class Lars(torch.optim.Optimizer):
    """LARS (You, Gitman, Ginsburg 2017), as SimCLR's published code has it (google-research/simclr,
    lars_optimizer.py), for large batches.

        d = g + weight_decay * w
        ratio = trust * |w| / |d|, or 1 where either norm is 0
        v = momentum * v + lr * ratio * d
        w = w - v

    A group with `adapt=False` has ratio 1: plain SGD. The rate stands inside the momentum, so that
    steps taken at an earlier rate keep it.

    Where others differ: You et al. (and timm.optim.Lars) have |g| + weight_decay * |w| below the
    line, which is the larger; timm and APEX leave the rate out of the momentum, as torch's SGD
    does, which is another thing as soon as the rate changes; timm adapts no group whose weight
    decay is 0.

    State: `momentum_buffer`, of each parameter's shape. Works on DTensor parameters, whose norms
    are those of the whole tensor.
    """

    def __init__(
        self,
        params: Iterable[Any],
        *,
        lr: float,
        momentum: float = 0.9,
        weight_decay: float = 0.0,
        trust: float = TRUST,
        adapt: bool = True,
    ) -> None:
        super().__init__(
            params,
            {
                "lr": lr,
                "momentum": momentum,
                "weight_decay": weight_decay,
                "trust": trust,
                "adapt": adapt,
            },
        )

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> Any:
        """One step. Parameters without a gradient stay as they are."""
        loss = None
        if closure is not None:
            with torch.enable_grad():
                loss = closure()
        for group in self.param_groups:
            params = [p for p in group["params"] if p.grad is not None]
            if params:
                self._step(group, params, [p.grad for p in params])
        return loss

    def _step(
        self, group: dict[str, Any], params: list[torch.Tensor], grads: list[torch.Tensor]
    ) -> None:
        for p in params:
            if "momentum_buffer" not in self.state[p]:
                self.state[p]["momentum_buffer"] = torch.zeros_like(
                    p, memory_format=torch.preserve_format
                )
        velocities = [self.state[p]["momentum_buffer"] for p in params]
        directions = torch._foreach_add(grads, params, alpha=group["weight_decay"])
        if group["adapt"]:
            torch._foreach_mul_(
                directions,
                _ratios(
                    torch._foreach_norm(params), torch._foreach_norm(directions), group["trust"]
                ),
            )
        torch._foreach_mul_(velocities, group["momentum"])
        torch._foreach_add_(velocities, directions, alpha=group["lr"])
        torch._foreach_sub_(params, velocities)


def _ratios(
    weights: Iterable[torch.Tensor], directions: Iterable[torch.Tensor], trust: float
) -> list[torch.Tensor]:
    """trust * |w| / |d| of each pair of norms; 1 where either is 0."""
    w, d = torch.stack(list(weights)), torch.stack(list(directions))
    return list(torch.where((w > 0) & (d > 0), trust * w / d, torch.ones_like(w)).unbind())


def build(
    module: nn.Module,
    *,
    name: str,
    lr: float,
    weight_decay: float,
    momentum: float = 0.9,
    beta2: float = 0.999,
) -> torch.optim.Optimizer:
    """AdamW (fused), SGD with momentum (fused) or LARS.

    Weight decay is for matrices and kernels only: not for biases, norms and scalars, as the field
    does; nor does LARS adapt the rate of these. Raises ValueError for another name.
    """
    trained = [p for p in module.parameters() if p.requires_grad]
    by_dimensions = (
        [p for p in trained if p.ndim > 1],
        [p for p in trained if p.ndim == 1],
        [p for p in trained if p.ndim == 0],
    )
    decays = (
        weight_decay,
        0.0,
        0.0,
    )  # scalars apart: FSDP does not spread them, and one kernel takes no mixture
    groups: list[dict[str, Any]] = [
        {"params": some, "weight_decay": decay}
        for some, decay in zip(by_dimensions, decays, strict=True)
        if some
    ]
    fused = not any(
        hasattr(p, "full_tensor") for p in trained
    )  # no fused kernel is there for all spread-out tensors
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(momentum, beta2), fused=fused)
    if name == "sgd":
        return torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=fused)
    if name == "lars":
        return Lars(
            [{**group, "adapt": group["params"][0].ndim > 1} for group in groups],
            lr=lr,
            momentum=momentum,
        )
    raise ValueError(f"{name!r} is none of adamw, sgd, lars")


class Ema:
    """An exponential moving average of a module's weights, free of the bias of its start.

    After t updates at weights w_1 ... w_t, with decay d, it is

        sum_i d^(t-i) w_i / sum_i d^(t-i)

    which is a weighted mean of weights that were trained. The plain recursion a = d a + (1 - d) w
    from a = w_0 would hold the untrained w_0 with share d^t, which is 67 % after 400 steps at
    0.999; to divide that out is Adam's correction (Kingma and Ba 2015, section 3) [ours]. For
    t << 1 / (1 - d) it is the plain mean of all steps. Buffers are copied as they are at the last
    update, because statistics of BatchNorm are averages already and counters are integers.

    Parameters are meant to be float32: in bfloat16 most of an update is lost to rounding. They may
    be DTensors. Make it after the module has moved to its device and was sharded. The order of
    names is that of the module's state_dict; shared tensors are averaged once.
    """

    def __init__(self, module: nn.Module, decay: float) -> None:
        """Raises ValueError where the decay is not between 0 and 1."""
        if not 0 < decay < 1:
            raise ValueError(f"decay {decay} is not between 0 and 1")
        self._module, self._decay, self._updates = module, decay, 0
        copies: dict[int, torch.Tensor] = {}
        for tensor in self._tensors().values():
            copies.setdefault(id(tensor), tensor.detach().clone())
        self._copies = {name: copies[id(tensor)] for name, tensor in self._tensors().items()}

    def _tensors(self) -> dict[str, torch.Tensor]:
        """What the module has now: parameters and persistent buffers, as themselves."""
        return self._module.state_dict(keep_vars=True)

    @torch.no_grad()
    def update(self) -> None:
        """Take in the module's weights as they are now: a = a + (w - a) (1 - d) / (1 - d^t)."""
        self._updates += 1
        averages: dict[int, tuple[torch.Tensor, torch.Tensor]] = {}
        for name, tensor in self._tensors().items():
            if isinstance(tensor, nn.Parameter):
                averages[id(tensor)] = self._copies[name], tensor.detach()
            else:
                self._copies[name].copy_(tensor)
        if averages:
            share = (1 - self._decay) / -math.expm1(self._updates * math.log(self._decay))
            torch._foreach_lerp_(
                [a for a, _ in averages.values()], [w for _, w in averages.values()], share
            )

    def weights(self) -> dict[str, torch.Tensor]:
        """The averages and copies under the module's own names, as its load_state_dict takes them;
        those of the start before the first update. They are the living tensors: the next update
        changes them.
        """
        return dict(self._copies)

    def state_dict(self) -> dict[str, torch.Tensor]:
        """`weights` with `average.` before each name, and `updates` int64 []: all that a checkpoint
        needs.
        """
        return {
            "updates": torch.tensor(self._updates),
            **{f"average.{name}": tensor for name, tensor in self._copies.items()},
        }

    @torch.no_grad()
    def load_state_dict(self, tensors: dict[str, torch.Tensor]) -> None:
        """The inverse of `state_dict`, bit by bit. Raises KeyError for a tensor that is missing."""
        self._updates = int(tensors["updates"])
        for name, own in self._copies.items():
            own.copy_(tensors[f"average.{name}"])


def lr_factor(step: int, steps: int, *, warmup: float, schedule: str) -> float:
    """The share of the base learning rate at a step (0-based) of `steps`: linear warm-up over a
    fraction, then cosine, linear or constant.

    The base rate is reached at the end of warm-up whatever the number of steps, and the last step
    still moves (factor > 0).
    """
    warm = min(steps - 1, round(warmup * steps))
    if step < warm:
        return (step + 1) / (warm + 1)
    done = (step - warm) / max(1, steps - warm)
    if schedule == "cosine":
        return 0.5 * (1 + math.cos(math.pi * done))
    return 1 - done if schedule == "linear" else 1.0


def set_lr(optimiser: torch.optim.Optimizer, lr: float) -> None:
    for group in optimiser.param_groups:
        group["lr"] = lr


def step(
    optimiser: torch.optim.Optimizer, module: nn.Module, *, clip_norm: float | None
) -> torch.Tensor | None:
    """Clip the gradient to a global norm, step, and clear.

    Returns the norm before clipping, float32 [] on the gradients' device (not waited for), that of
    all ranks' shards where they are DTensors; None where nothing is clipped. A norm that is not
    finite says that this step has broken the weights.
    """
    norm = None
    if clip_norm is not None:
        norm = nn.utils.clip_grad_norm_(module.parameters(), clip_norm)
        norm = (
            norm.full_tensor() if hasattr(norm, "full_tensor") else norm
        )  # a DTensor's is a part of it
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
    return norm
