"""THE loop: every method, every budget, one process or many, one place.

All randomness is keyed by step and sample, so the state is (weights, optimiser, step) and a run
that was killed and goes on from its last checkpoint ends with the same bits as one that was not.
Batches are prepared ahead by other threads (headwater.loader.Feeder); a batch that does not fit is
passed in parts (headwater.pretrain.gradients); several processes share a batch
(headwater.pretrain.scale). None of these changes which images a step sees.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from headwater import optim
from headwater.device import Compute, exact_small_convolutions
from headwater.errors import Stopped
from headwater.loader import Feeder, Order, workers_from_environment
from headwater.methods import Method
from headwater.pretrain.batches import Batches
from headwater.pretrain.gradients import Gradients
from headwater.pretrain.journal import Journal, write_curve
from headwater.pretrain.scale import Wrapped, whole
from headwater.pretrain.state import State
from headwater.ranks import ALONE, Ranks
from headwater.sources.pixels import Images
from headwater.study import Recipe

__all__ = ["Diverged", "OnlineProbe", "Outcome", "Progress", "pretrain", "write_curve"]

_TELL_EVERY_S = 0.5


class Diverged(Exception):
    """The loss was not a finite number, or the last step left weights that are none.

    Final: the same arm would diverge again.
    """

    def __init__(self, step: int, value: float, what: str = "loss") -> None:
        super().__init__(f"{what} {value} at step {step}")


@dataclass(frozen=True)
class Progress:
    """What a watcher is told now and then."""

    step: int
    steps: int
    images_per_s: float
    loss: float
    knn: float | None = None
    """The last look of the online probe: top-1 in [0, 1]."""
    note: str | None = None
    """Something that a person should know, once."""


@dataclass(frozen=True)
class Outcome:
    """What a finished run knows of itself."""

    steps: int
    images_seen: int
    last_loss: float
    """Mean loss over the last tenth of the steps."""
    seconds: float
    """Wall time, that of earlier attempts included."""
    knn: float | None = None
    """The online probe at the end: top-1 in [0, 1]."""
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class OnlineProbe:
    """A look at the encoder now and then.

    `ask` is given the encoder in evaluation mode and answers with a share in [0, 1]; it must not
    change weights.
    """

    ask: Callable[[nn.Module], float]
    looks: int


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
    checkpoint_every_steps: int | None = None,
    loader_workers: int | None = None,
    probe: OnlineProbe | None = None,
    ranks: Ranks = ALONE,
    watch: Callable[[Progress], None] = lambda progress: None,
    stop: Callable[[], bool] = lambda: False,
) -> tuple[Outcome, list[dict[str, float]]]:
    """Train `model` in place; returns the outcome and the curve (about 100 points, see `Journal`).

    Raises Diverged, and Stopped where `stop` said so after a step, once its checkpoint is written;
    of several ranks it is enough that one is told, and all end after the same step.

    `pixels` holds the arm's images in the order of `order`'s positions. A checkpoint is written
    every `checkpoint_every_s` seconds, and every so many steps where that is given; the curve so
    far lies beside it in metrics.jsonl. `loader_workers` threads prepare batches ahead (0: none;
    left out: one, or HEADWATER_LOADER_WORKERS); their number changes no bit. With several `ranks`
    each process calls this with the same arguments, takes its part of each batch, and ends with the
    same weights; the first writes checkpoints. With `compute.sharded` the weights are spread over
    the ranks (FSDP). One run at a time in a process: torch's cache of rounded weights and its
    choice of attention belong to the process, not to a thread.
    """
    if order.images // order.steps < ranks.size:
        raise ValueError(
            f"a batch of {order.images // order.steps} images leaves some of {ranks.size} ranks "
            "without any"
        )
    model.train()
    if not compute.sharded:
        model.to(compute.device, memory_format=torch.channels_last)
    if compute.compiled:
        model.compile()
    wrapped = Wrapped(model, ranks, sharded=compute.sharded)
    optimiser = optim.build(
        wrapped.method.net,
        name=recipe.optimiser,
        lr=recipe.lr,
        weight_decay=recipe.weight_decay,
        momentum=recipe.momentum,
        beta2=recipe.beta2,
    )
    ema = optim.Ema(wrapped.method.net, recipe.ema) if recipe.ema else None
    journal = Journal(order, recipe, probe.looks if probe else 0)
    state = State(wrapped, optimiser, ema, journal, checkpoints, compute)
    batches = Batches.of(
        pixels,
        order,
        recipe,
        image_size=image_size,
        seed=seed,
        method=type(model),
        device=compute.device,
        ranks=ranks,
    )
    gradients = Gradients(wrapped, batches, recipe.micro_batch, seed, compute)
    start = state.resume()
    run = _Run(wrapped, optimiser, ema, journal, state, recipe, probe, watch)
    workers = workers_from_environment(1) if loader_workers is None else loader_workers
    exact = exact_small_convolutions(wrapped.method.net, compute)
    with exact, state, Feeder(batches.make, start, order.steps, workers=workers) as feeder:
        for step, prepared in enumerate(feeder, start):
            optim.set_lr(optimiser, journal.lr(step))
            wrapped.method.before_step(step, order.steps)
            run.taken(step, gradients(step, prepared), len(prepared.batch) * ranks.size)
            stopped = step + 1 < order.steps and state.told_to_stop(step + 1, stop)
            if stopped or state.due(step + 1, checkpoint_every_s, checkpoint_every_steps):
                run.read_all()
                state.save(step + 1)
            if stopped:
                raise Stopped(f"after step {step + 1} of {order.steps}")
        run.read_all()
    wrapped.finish(ema)
    if not all(
        bool(t.isfinite().all()) for t in model.net.state_dict().values()
    ):  # no loss has seen what the last step made of them
        raise Diverged(order.steps, math.nan)
    return Outcome(
        order.steps, order.images, journal.last_loss(), state.seconds, journal.last_knn, run.notes()
    ), journal.curve()


class _Run:
    """What follows a gradient: the optimiser's step, what is noted of it, and who is told."""

    def __init__(
        self,
        wrapped: Wrapped,
        optimiser: torch.optim.Optimizer,
        ema: optim.Ema | None,
        journal: Journal,
        state: State,
        recipe: Recipe,
        probe: OnlineProbe | None,
        watch: Callable[[Progress], None],
    ) -> None:
        self._wrapped, self._optimiser, self._ema, self._journal, self._state = (
            wrapped,
            optimiser,
            ema,
            journal,
            state,
        )
        self._recipe, self._probe, self._watch = recipe, probe, watch
        self._began = self._told = time.monotonic()
        self._images = 0
        self._unread: list[_Late] = []

    def taken(self, step: int, loss: torch.Tensor, images: int) -> None:
        """Step the optimiser by the gradient whose loss this is, seen on so many images of all
        ranks. Raises Diverged.
        """
        self._wrapped.average_unsharded()
        norm = optim.step(
            self._optimiser, self._wrapped.method.net, clip_norm=self._recipe.clip_norm
        )
        self._wrapped.method.after_step(step, self._journal.steps, self._wrapped.ranks)
        if self._ema is not None:
            self._ema.update()
        self._images += images
        self._unread.append(
            _Late(self._wrapped.ranks.summed_(loss), None if norm is None else whole(norm))
        )
        if len(self._unread) > _steps_late(loss.device):
            self._read()
        if self._journal.looks_at(step + 1):
            self.read_all()
            self._look(step + 1)
        self._tell(step + 1)

    def read_all(self) -> None:
        """Note what was not read yet."""
        while self._unread:
            self._read()

    def _read(self) -> None:
        (loss, norm), journal = self._unread.pop(0).read(), self._journal
        step = len(journal.losses)
        if not math.isfinite(loss):
            raise Diverged(step, loss)
        if norm is not None and not math.isfinite(norm):
            raise Diverged(step, norm, "gradient norm")
        journal.note(loss, norm, self._state.seconds)
        if journal.ends_a_stretch(step + 1):
            self._state.write_live()
        if step + 1 == -(-journal.steps // 2):
            note = self._at_chance(step + 1)
            if note:
                self._watch(self._progress(step + 1, note))

    def _look(self, step: int) -> None:
        assert self._probe is not None
        with self._wrapped.encoder_as_kept(self._ema) as encoder:
            self._journal.looked(step, self._probe.ask(encoder))
        self._state.write_live(now=True)

    def notes(self) -> tuple[str, ...]:
        """What a person should know of the run: whether a contrastive loss was that of chance after
        half of the steps, and at the end.
        """
        steps = self._journal.steps
        return tuple(
            note
            for step in dict.fromkeys((-(-steps // 2), steps))
            if (note := self._at_chance(step))
        )

    def _at_chance(self, step: int) -> str | None:
        note = self._wrapped.plain.at_chance(self._journal.last_loss(step), self._journal.batch)
        return f"step {step}: {note}" if note else None

    def _tell(self, step: int) -> None:
        last = step == self._journal.steps
        if last:
            self.read_all()
        if (last or time.monotonic() - self._told > _TELL_EVERY_S) and self._journal.losses:
            self._told = time.monotonic()
            self._watch(self._progress(step))

    def _progress(self, step: int, note: str | None = None) -> Progress:
        rate = self._images / max(1e-9, time.monotonic() - self._began)
        return Progress(
            step, self._journal.steps, rate, self._journal.losses[-1], self._journal.last_knn, note
        )


class _Late:
    """A loss and a gradient norm that are on their way from a GPU: reading them waits for their own
    step and for no later one.
    """

    def __init__(self, loss: torch.Tensor, norm: torch.Tensor | None) -> None:
        both = torch.stack(
            [
                loss.double(),
                norm.double() if norm is not None else torch.zeros_like(loss, dtype=torch.float64),
            ]
        )
        self._has_norm, self._event = norm is not None, None
        if both.device.type == "cuda":
            self._values = torch.empty(2, dtype=torch.float64, pin_memory=True)
            self._values.copy_(both, non_blocking=True)
            self._event = torch.cuda.Event()  # type: ignore[no-untyped-call]
            self._event.record()
        else:
            self._values = both

    def read(self) -> tuple[float, float | None]:
        if self._event is not None:
            self._event.synchronize()
        loss, norm = self._values.tolist()
        return loss, norm if self._has_norm else None


def _steps_late(device: torch.device) -> int:
    """How many steps later a loss is read: one on a GPU, so that the next step is on its way by
    then.
    """
    return 0 if device.type == "cpu" else 1
