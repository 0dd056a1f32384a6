"""Our side of the speed benchmarks: one method around one backbone, to be run end to end, as pure
compute, or part by part.
"""

from __future__ import annotations

import itertools
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from headwater import methods, optim
from headwater.device import Compute
from headwater.labels import Targets
from headwater.loader import Order
from headwater.methods import Batch, Method
from headwater.models import build_encoder, forward_flops
from headwater.pretrain import pretrain
from headwater.registry import METHODS
from headwater.sources.pixels import Images
from headwater.study.recipe import Recipe
from headwater.views import ViewMaker


def recipe_of(method: str, **words: Any) -> Recipe:
    """A method's default recipe, with some words replaced."""
    entry = METHODS[method]
    assert entry.recipe is not None
    return entry.recipe(**words)


@dataclass(frozen=True, eq=False)
class Arm:
    """What is trained, on what, and how.

    Each run starts from the same fresh weights, which are made before the clock starts.
    """

    method: str
    backbone: str
    image_size: int
    recipe: Recipe
    compute: Compute
    pixels: Images
    hashes: NDArray[np.int64]
    targets: Targets | None = None
    captions: Sequence[list[str]] | None = None
    seed: int = 0
    _costs: dict[str, float] = field(default_factory=dict, init=False, repr=False)
    _kept: dict[bool, tuple[Method, torch.optim.Optimizer, ViewMaker]] = field(
        default_factory=dict, init=False, repr=False
    )

    @property
    def batch(self) -> int:
        assert self.recipe.batch is not None
        return self.recipe.batch

    @property
    def lr(self) -> float:
        assert self.recipe.lr is not None
        return self.recipe.lr

    def order(self, steps: int) -> Order:
        return Order(self.hashes, steps * self.batch, self.batch, self.seed)

    def model(self) -> Method:
        encoder = build_encoder(self.backbone, self.image_size, seed=self.seed)
        return methods.build(
            self.method,
            encoder,
            recipe=self.recipe,
            seed=self.seed,
            targets=self.targets,
            captions=self.captions,
            hashes=self.hashes,
        )

    def cost(self) -> dict[str, float]:
        """Parameters and forward FLOPs per image of the encoder: what shows that another side
        trains the same one.
        """
        if not self._costs:
            encoder = build_encoder(self.backbone, self.image_size, seed=self.seed)
            self._costs["parameters"] = sum(p.numel() for p in encoder.parameters())
            self._costs["flops"] = forward_flops(encoder, self.image_size)
        return self._costs

    def train(self, images: int, *, loader_workers: int) -> tuple[float, list[float]]:
        """(seconds from call to return, losses along the way) of a whole run over `images` images,
        by Headwater's loop.
        """
        model, order = self.model(), Order(self.hashes, images, self.batch, self.seed)
        with tempfile.TemporaryDirectory() as folder:
            self.wait()
            began = time.perf_counter()
            _, curve = pretrain(
                model,
                self.pixels,
                order,
                self.recipe,
                image_size=self.image_size,
                seed=self.seed,
                compute=self.compute,
                checkpoints=Path(folder),
                checkpoint_every_s=1e9,
                loader_workers=loader_workers,
            )
            self.wait()
            return time.perf_counter() - began, [
                point["loss"] for point in curve if "loss" in point
            ]

    def pure(self, steps: int, *, warm: int = 2, kept: str | None = None) -> float:
        """Seconds of `steps` steps (forward, loss, backward, clipping, optimiser) on one batch of
        views that lies ready.

        The captions are those of the run's own batches, a new one in each step, so that a step
        encodes as many different texts as a real one. `kept`, "eager" or "compiled": the model is
        that of the call before, with its encoder compiled as the loop compiles it or not; for a
        compiled one the first of the steps that warm up is the one that compiles.
        """
        model, optimiser, views = (
            self._ready() if kept is None else self._kept_ready(kept == "compiled")
        )
        order = self.order(warm + steps)
        batches = [Batch(*order.at(step)) for step in range(warm + steps)]
        resident = self._make(views, self._gather(batches[0]), batches[0])
        began = 0.0
        for number, batch in enumerate(batches):
            if number == warm:
                self.wait()
                began = time.perf_counter()
            self._step(model, optimiser, resident, batch)
        self.wait()
        return time.perf_counter() - began

    def parts(self, steps: int) -> dict[str, float]:
        """Milliseconds of a step, all in one thread: gather, views, compute, and what the loop
        takes beyond their sum (other).
        """
        model, optimiser, views = self._ready()
        order = self.order(steps + 1)
        spent = dict.fromkeys(("gather", "views", "compute"), 0.0)
        for step in range(steps + 1):
            if step == 1:  # the first one warms up
                spent = dict.fromkeys(spent, 0.0)
            batch = Batch(*order.at(step))
            marks = [self.now()]
            gathered = self._gather(batch)
            marks.append(self.now())
            made = self._make(views, gathered, batch)
            marks.append(self.now())
            self._step(model, optimiser, made, batch)
            marks.append(self.now())
            for name, (a, b) in zip(spent, itertools.pairwise(marks), strict=True):
                spent[name] += b - a
        whole = self.train(steps * self.batch, loader_workers=0)[0]
        return {
            **{name: 1e3 * s / steps for name, s in spent.items()},
            "other": 1e3 * (whole - sum(spent.values())) / steps,
            "whole": 1e3 * whole / steps,
        }

    def wait(self) -> None:
        """Until the device has done what it was given."""
        if self.compute.device.type == "cuda":
            torch.cuda.synchronize()

    def now(self) -> float:
        self.wait()
        return time.perf_counter()

    def _ready(self) -> tuple[Method, torch.optim.Optimizer, ViewMaker]:
        recipe, model = self.recipe, self.model()
        model.to(self.compute.device, memory_format=torch.channels_last).train()  # type: ignore[call-overload]
        optimiser = optim.build(
            model,
            name=recipe.optimiser or "adamw",
            lr=self.lr,
            weight_decay=recipe.weight_decay or 0.0,
            momentum=0.9 if recipe.momentum is None else recipe.momentum,
            beta2=recipe.beta2 or 0.999,
        )
        return (
            model,
            optimiser,
            ViewMaker(recipe.augmentation, self.image_size, self.seed),
        )

    def _kept_ready(self, compiled: bool) -> tuple[Method, torch.optim.Optimizer, ViewMaker]:
        if compiled not in self._kept:
            self._kept[compiled] = self._ready()
            if compiled:
                self._kept[compiled][0].encoder.compile(dynamic=False)
        return self._kept[compiled]

    def _gather(self, batch: Batch) -> list[torch.Tensor]:
        return [
            torch.from_numpy(a).to(self.compute.device) for a in self.pixels.gather(batch.positions)
        ]

    def _make(self, views: ViewMaker, gathered: list[torch.Tensor], batch: Batch) -> torch.Tensor:
        images, sizes = gathered
        num_views = METHODS[self.method].num_views
        made = [
            views(images, sizes, self.hashes[batch.positions], batch.epochs, view)
            for view in range(num_views)
        ]
        return torch.cat(made).contiguous(memory_format=torch.channels_last)

    def _step(
        self, model: Method, optimiser: torch.optim.Optimizer, views: torch.Tensor, batch: Batch
    ) -> None:
        with self.compute.autocast():
            loss = model.loss(model.encode((views,), batch), batch)
        loss.backward()  # type: ignore[no-untyped-call]
        optim.step(optimiser, model, clip_norm=self.recipe.clip_norm)
