"""THE loop: every method, every budget, one place.

All randomness is keyed by step and sample, so the state is (weights, optimiser, step) and a run that was killed and goes on from its last
checkpoint ends with the same bits as one that was not.
"""

from __future__ import annotations

import contextlib
import itertools
import json
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from headwater import checkpoint, keys, optim
from headwater.device import Compute
from headwater.loader import Order
from headwater.methods import Batch, Method
from headwater.sources.pixels import Images
from headwater.study import Augmentation, Recipe
from headwater.views import ViewMaker


class Diverged(Exception):
    """The loss was not a finite number, or the last step left weights that are none. Final: the same arm would diverge again."""

    def __init__(self, step: int, loss: float) -> None:
        super().__init__(f"loss {loss} at step {step}")


@dataclass(frozen=True)
class Progress:
    """What a watcher is told now and then."""

    step: int
    steps: int
    images_per_s: float
    loss: float


@dataclass(frozen=True)
class Outcome:
    """What a finished run knows of itself."""

    steps: int
    images_seen: int
    last_loss: float
    """Mean loss over the last tenth of the steps."""
    seconds: float
    """Wall time, that of earlier attempts included."""


def pretrain(
    model: Method,
    pixels: Images,
    order: Order,
    recipe: Recipe,
    *,
    image_size: int,
    seed: int,
    compute: Compute,
    checkpoints: Path,
    checkpoint_every_s: float = 20.0,
    watch: Callable[[Progress], None] = lambda progress: None,
) -> tuple[Outcome, list[dict[str, float]]]:
    """Train `model` in place; returns the outcome and the curve (step, loss, lr; about 100 points). Raises Diverged.

    `pixels` holds the arm's images in the order of `order`'s positions. A checkpoint is written every `checkpoint_every_s` seconds.
    """
    model.to(compute.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
    assert recipe.lr and recipe.optimiser and recipe.schedule and recipe.warmup is not None
    optimiser = optim.build(
        model,
        name=recipe.optimiser,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay or 0.0,
        momentum=0.9 if recipe.momentum is None else recipe.momentum,
        beta2=0.999 if recipe.beta2 is None else recipe.beta2,
    )
    start, losses, seconds = _resume(model, optimiser, checkpoints, compute)
    views = ViewMaker(recipe.augmentation or Augmentation(), image_size, seed)
    began = saved = told = time.monotonic()
    images = 0
    for step in range(start, order.steps):
        lr = recipe.lr * optim.lr_factor(step, order.steps, warmup=recipe.warmup, schedule=recipe.schedule)
        positions, epochs = order.at(step)
        loss = _step(model, optimiser, pixels, views, order, positions, epochs, lr, recipe.clip_norm, compute, seed=keys.key(seed, "dropout", step))
        if not math.isfinite(loss):
            raise Diverged(step, loss)
        losses.append(loss)
        images += len(positions)
        now = time.monotonic()
        if now - saved > checkpoint_every_s:
            with contextlib.suppress(FileNotFoundError):  # another process finished this arm, and removed the folder of its checkpoints
                _save(model, optimiser, checkpoints, step + 1, losses, {"seconds": seconds + now - began, "fingerprint": compute.fingerprint})
            saved = now
        if now - told > 0.5 or step == order.steps - 1:
            watch(Progress(step + 1, order.steps, images / (now - began), loss))
            told = now
    if not _finite(model):
        raise Diverged(order.steps, math.nan)
    tail = losses[-max(1, len(losses) // 10) :]
    outcome = Outcome(order.steps, order.images, float(np.mean(tail)), seconds + time.monotonic() - began)
    return outcome, _curve(losses, order.steps, recipe)


def _step(
    model: Method,
    optimiser: torch.optim.Optimizer,
    pixels: Images,
    views: ViewMaker,
    order: Order,
    positions: np.ndarray,
    epochs: np.ndarray,
    lr: float,
    clip_norm: float | None,
    compute: Compute,
    *,
    seed: int,
) -> float:
    optim.set_lr(optimiser, lr)
    images, sizes = (torch.from_numpy(a).to(compute.device) for a in pixels.gather(positions))
    hashes = order.hashes[positions]
    batch = torch.cat([views(images, sizes, hashes, epochs, view) for view in range(model.num_views)])
    torch.manual_seed(seed & (2**63 - 1))  # dropout and stochastic depth, keyed by step
    with compute.autocast():
        drawn = Batch(positions, epochs)
        embeddings = model.encode(batch.contiguous(memory_format=torch.channels_last), drawn)
        loss = model.loss(embeddings, drawn)
    loss.backward()  # type: ignore[no-untyped-call]
    optim.step(optimiser, model, clip_norm=clip_norm)
    return float(loss.detach())


def _finite(model: Method) -> bool:
    """Whether all weights and batch statistics are numbers: no loss has seen what the last step made of them."""
    return all(bool(t.isfinite().all()) for t in model.state_dict().values())


def _resume(model: Method, optimiser: torch.optim.Optimizer, folder: Path, compute: Compute) -> tuple[int, list[float], float]:
    """Where to go on: (step, losses, seconds). What another kind of machine began is begun anew, since its bits would be neither's."""
    found = checkpoint.latest(folder)
    if found is None or found[2].get("fingerprint") != compute.fingerprint:
        return 0, [], 0.0
    step, tensors, meta = found
    model.load_state_dict({name[len("model.") :]: t for name, t in tensors.items() if name.startswith("model.")})
    checkpoint.unpack_optimiser(optimiser, tensors)
    return step, tensors["losses"].tolist(), float(meta["seconds"])


def _save(model: Method, optimiser: torch.optim.Optimizer, folder: Path, step: int, losses: list[float], meta: dict[str, Any]) -> None:
    tensors = {f"model.{name}": t for name, t in model.state_dict().items()}
    tensors |= checkpoint.pack_optimiser(optimiser)
    tensors["losses"] = torch.tensor(losses, dtype=torch.float64)
    checkpoint.write(folder, step, tensors, meta)


def _curve(losses: list[float], steps: int, recipe: Recipe) -> list[dict[str, float]]:
    """About 100 points: the mean loss of each stretch of steps, and the learning rate at its end."""
    edges = np.unique(np.linspace(0, steps, min(steps, 100) + 1).astype(int))
    return [
        {
            "step": int(b),
            "loss": float(np.mean(losses[a:b])),
            "lr": (recipe.lr or 0.0) * optim.lr_factor(int(b) - 1, steps, warmup=recipe.warmup or 0.0, schedule=recipe.schedule or "cosine"),
        }
        for a, b in itertools.pairwise(edges)
    ]


def write_curve(path: Path, curve: list[dict[str, float]]) -> None:
    """The curve as JSON lines."""
    path.write_text("".join(json.dumps(point) + "\n" for point in curve))
