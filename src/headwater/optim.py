"""Optimisers, schedules and clipping, shared by pre-training and fine-tuning."""

from __future__ import annotations

import math

import torch
from torch import nn


def build(module: nn.Module, *, name: str, lr: float, weight_decay: float, momentum: float = 0.9, beta2: float = 0.999) -> torch.optim.Optimizer:
    """AdamW (fused) or SGD with momentum. Weight decay is for matrices and kernels only: not for biases, norms and scalars, as the field does."""
    decay = [p for p in module.parameters() if p.requires_grad and p.ndim > 1]
    plain = [p for p in module.parameters() if p.requires_grad and p.ndim <= 1]
    groups = [{"params": decay, "weight_decay": weight_decay}, {"params": plain, "weight_decay": 0.0}]
    if name == "adamw":
        return torch.optim.AdamW(groups, lr=lr, betas=(momentum, beta2), fused=True)
    return torch.optim.SGD(groups, lr=lr, momentum=momentum, fused=True)


def lr_factor(step: int, steps: int, *, warmup: float, schedule: str) -> float:
    """The share of the base learning rate at a step (0-based) of `steps`: linear warm-up over a fraction, then cosine, linear or constant.

    The base rate is reached at the end of warm-up whatever the number of steps, and the last step still moves (factor > 0).
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


def step(optimiser: torch.optim.Optimizer, module: nn.Module, *, clip_norm: float | None) -> None:
    """Clip the gradient to a global norm, step, and clear."""
    if clip_norm is not None:
        nn.utils.clip_grad_norm_(module.parameters(), clip_norm)
    optimiser.step()
    optimiser.zero_grad(set_to_none=True)
