"""Networks trained on coarse, fine and misaligned labels: many side by side, each as it would be
alone.

    for run in train(experiments): ...

SGD on fresh batches (or on a finite set of samples) until a batch's loss is at most `stop_loss`.
Experiments of one seed see the same noise at each step and start from the same draw where they have
equally many neurons, so that coarse and fine differ in their labels.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

import torch
from torch import Tensor

from headwater import keys
from headwater.theory.simulation.labels import Labels
from headwater.theory.simulation.model import Draws, Samples, World, draws, samples
from headwater.theory.simulation.network import gradients, initial, networks_in_a_tile, outputs

_WIDTH_OF_LR = 32
_WEIGHTS = 1 << 23
"""Bytes of weights that are advanced side by side; networks beyond it wait for their turn
[ours].
"""
_SETS = 1 << 28
"""The same for their finite training sets [ours]."""


@dataclass(frozen=True)
class Recipe:
    """The network and its training.

    Defaults: hong2023.md's numerical check [C], unless marked. Raises ValueError outside the
    ranges.
    """

    width: int = 32
    """m: neurons of a head, 1 or more."""
    neurons: int | None = None
    """Neurons of the whole network in place of `width`, so that finer labels leave fewer to a head;
    heads must divide it [ours]. None: `width` for each.
    """
    init: float = 0.02
    """Standard deviation of initial weights, 0 or more."""
    bias: float = -0.02
    """Of every neuron, 0 or less, not trained."""
    batch: int = 256
    """Samples of a step."""
    lr: float = 0.5
    """Learning rate of two heads of 32 neurons. h heads take h / 2 times as much [C], since each
    sees so many times fewer samples of its own; m neurons take m / 32 times as much [ours], since F
    is their mean. A network of so many neurons in all thus has one rate, whatever its labels.
    """
    stop_loss: float = 0.05
    """Nats, of one batch: training ends there."""
    max_steps: int = 1500
    """Training ends here at the latest."""
    train_samples: int | None = None
    """Samples of a finite training set, drawn from with replacement [ours]; None draws fresh ones
    for every step, as the theorems do.
    """
    label_noise: float = 0.0
    """Share of training samples whose label is another class, each as likely, in [0, 1] [ours]."""

    def __post_init__(self) -> None:
        for name in ("width", "neurons", "batch", "max_steps", "train_samples"):
            value = getattr(self, name)
            if value is not None and value < 1:
                raise ValueError(f"{name} = {value} is outside its range: 1 or more")
        for name in ("init", "stop_loss"):
            if not 0 <= getattr(self, name) < math.inf:
                raise ValueError(f"{name} = {getattr(self, name)} is outside its range: 0 or more")
        if not -math.inf < self.bias <= 0:
            raise ValueError(f"bias = {self.bias} is outside its range: 0 or less")
        if not 0 < self.lr < math.inf:
            raise ValueError(f"lr = {self.lr} is outside its range: above 0")
        if not 0 <= self.label_noise <= 1:
            raise ValueError(f"label_noise = {self.label_noise} is outside its range: in [0, 1]")


@dataclass(frozen=True)
class Experiment:
    """One network to train. Raises ValueError for labels that the world does not allow."""

    world: World
    labels: str
    """coarse, fine, ...: see headwater.theory.simulation.labels."""
    recipe: Recipe
    seed: int
    looks: tuple[int, ...] = ()
    """Steps at which training is looked at, in any order. Looking changes nothing."""
    dtype: torch.dtype = torch.float32

    def __post_init__(self) -> None:
        heads, neurons = self.view.heads, self.recipe.neurons
        if neurons is not None and neurons % heads:
            raise ValueError(
                f"neurons = {neurons} cannot be dealt out to the {heads} heads of labels "
                f"{self.labels!r} evenly"
            )

    @property
    def view(self) -> Labels:
        return Labels(self.labels, self.world.k, self.recipe.train_samples)

    @property
    def heads(self) -> int:
        return self.view.heads

    @property
    def width(self) -> int:
        """Neurons of a head."""
        return (
            self.recipe.width if self.recipe.neurons is None else self.recipe.neurons // self.heads
        )

    def rate(self, heads: int) -> float:
        """What a gradient is multiplied by, with so many heads of `width` neurons."""
        return self.recipe.lr * heads / 2 * self.width / _WIDTH_OF_LR


@dataclass(frozen=True, eq=False)
class Run:
    """A network, trained or looked at on the way: weight [d, heads * width] before the update of
    its last step.
    """

    experiment: Experiment
    weight: Tensor
    superclass: Tensor
    """int64 [heads]: 0 or 1."""
    step: int
    """Updates so far."""
    train_loss: float
    """Nats, of the batch of this step."""
    final: bool = True
    """False for a look on the way."""

    @property
    def diverged(self) -> bool:
        return not math.isfinite(self.train_loss)

    @property
    def converged(self) -> bool:
        """Whether the loss got to `stop_loss`."""
        return self.train_loss <= self.experiment.recipe.stop_loss


def train(experiments: Sequence[Experiment]) -> Iterator[Run]:
    """Runs of all experiments, looks on the way among them, as they come: those of one shape are
    advanced together, and one that is done gives way to the next. A run whose loss is no longer
    finite ends there.
    """
    shapes: dict[tuple[object, ...], list[Experiment]] = {}
    for one in experiments:
        recipe = one.recipe
        shapes.setdefault(
            (
                one.heads,
                one.width,
                one.world.d,
                one.world.patches,
                recipe.batch,
                recipe.bias,
                one.dtype,
            ),
            [],
        ).append(one)
    for alike in shapes.values():
        yield from _advance(sorted(alike, key=lambda one: one.seed))


class _Going:
    """One experiment under way: where it is, and what its next batch is."""

    def __init__(self, experiment: Experiment) -> None:
        self.experiment, self.step = experiment, 0
        self.looks = frozenset(experiment.looks)
        recipe, world, view = experiment.recipe, experiment.world, experiment.view
        self.rate = experiment.rate(view.heads)
        self.set: Samples | None = None
        if recipe.train_samples is not None:
            drawn = draws(
                recipe.train_samples,
                world.patches,
                world.d,
                seed=experiment.seed,
                purpose="training set",
                dtype=experiment.dtype,
            )
            self.set = samples(world, drawn)
            self.set_labels = view.targets(
                self.set.subclass, drawn.uniform, seed=experiment.seed, noise=recipe.label_noise
            )
        self.superclass = view.superclass(self.set.subclass if self.set else None)

    def key(self) -> tuple[int, int]:
        return self.experiment.seed, self.step

    def batch(self, drawn: Draws | None, x: Tensor) -> Tensor:
        """Writes x [batch, P, d] of the next step and returns its labels, int64 [batch]."""
        one = self.experiment
        if self.set is not None:
            generator = torch.Generator().manual_seed(
                keys.key(one.seed, "theory", "batch", self.step)
            )
            rows = torch.randint(len(self.set.x), (one.recipe.batch,), generator=generator)
            torch.index_select(self.set.x, 0, rows, out=x)
            return self.set_labels[rows]
        assert drawn is not None
        made = samples(one.world, drawn, out=x)
        return one.view.targets(
            made.subclass, drawn.uniform, seed=one.seed, noise=one.recipe.label_noise
        )

    def ends(self, loss: float) -> bool:
        recipe = self.experiment.recipe
        return not math.isfinite(loss) or loss <= recipe.stop_loss or self.step >= recipe.max_steps


def _advance(waiting: list[Experiment]) -> Iterator[Run]:
    """Experiments of one shape, in the order given, as many at once as `_WEIGHTS` allows."""
    one = waiting[0]
    recipe, world, heads, width = one.recipe, one.world, one.heads, one.width
    neurons = heads * width
    sets = (
        max(other.recipe.train_samples or 0 for other in waiting)
        * world.patches
        * world.d
        * one.dtype.itemsize
    )
    at_once = max(
        1, min(_WEIGHTS // (world.d * neurons * one.dtype.itemsize), _SETS // max(sets, 1))
    )
    tile = min(
        len(waiting), at_once, networks_in_a_tile(recipe.batch, world.patches, neurons, one.dtype)
    )
    x = torch.empty(tile, recipe.batch, world.patches, world.d, dtype=one.dtype)
    slope = torch.empty(tile, world.d, neurons, dtype=one.dtype)
    weight, going = torch.empty(0, world.d, neurons, dtype=one.dtype), list[_Going]()
    while waiting or going:
        if waiting and len(going) < at_once:
            free = at_once - len(going)
            new, waiting = [_Going(one) for one in waiting[:free]], waiting[free:]
            fresh = initial(
                [keys.key(run.experiment.seed, "theory", "init", neurons) for run in new],
                world.d,
                neurons,
                dtype=one.dtype,
            )
            fresh *= torch.tensor([run.experiment.recipe.init for run in new], dtype=one.dtype)[
                :, None, None
            ]
            weight, going = torch.cat([weight, fresh]), [*going, *new]
        done = set[int]()
        shared: tuple[tuple[int, int], Draws] | None = None
        for first in range(0, len(going), tile):
            part = going[first : first + tile]
            labels = torch.empty(len(part), recipe.batch, dtype=torch.int64)
            for at, run in enumerate(part):
                if run.set is None and (shared is None or shared[0] != run.key()):
                    shared = (
                        run.key(),
                        draws(
                            recipe.batch,
                            world.patches,
                            world.d,
                            seed=run.key()[0],
                            purpose="train",
                            step=run.step,
                            dtype=one.dtype,
                        ),
                    )
                labels[at] = run.batch(shared[1] if shared else None, x[at])
            weights = weight[first : first + tile]
            loss, _ = gradients(
                x[: len(part)],
                weights,
                labels,
                heads,
                width=width,
                bias=recipe.bias,
                out=slope[: len(part)],
            )
            for at, run in enumerate(part):
                ends = run.ends(float(loss[at]))
                if ends:
                    done.add(first + at)
                if ends or run.step in run.looks:
                    yield Run(
                        run.experiment,
                        weights[at].clone(),
                        run.superclass,
                        run.step,
                        float(loss[at]),
                        final=ends,
                    )
                run.step += 1
            weights.addcmul_(
                slope[: len(part)],
                torch.tensor([run.rate for run in part], dtype=one.dtype)[:, None, None],
                value=-1,
            )
        if done:
            left = [at for at in range(len(going)) if at not in done]
            weight, going = weight[left], [going[at] for at in left]


def superclass_scores(run: Run, x: Tensor, read_out: str) -> Tensor:
    """[n, 2]: what a run says of the superclass of samples x [n, P, d], by the largest head of each
    (max) or by their sum (sum).
    """
    one, heads = run.experiment, len(run.superclass)
    found = outputs(x, run.weight, heads, width=one.width, bias=one.recipe.bias)
    sides = [found[:, run.superclass == side] for side in (0, 1)]
    if read_out == "max":
        return torch.stack([side.amax(dim=1) for side in sides], dim=1)
    if read_out == "sum":
        return torch.stack([side.sum(dim=1) for side in sides], dim=1)
    raise ValueError(f"{read_out!r} is none of max, sum")


def tuned(run: Run, steps: int) -> Run:
    """The run fine-tuned on the superclass task for so many steps [ours: 100]: the first layer is
    trained on, under one frozen output for each superclass.

    That output is the mean over the neurons of the superclass's heads, as F is over those of a
    head: a network of two heads that starts from what the pre-trained neurons know, trained on the
    samples and at the rate of such a network. (Their sum would say what pre-training says, k times
    as loudly: its loss is 0 before the first step, and nothing is tuned.) The run that is returned
    has the loss of the last step. Raises ValueError where a superclass has no head.
    """
    one = run.experiment
    world = one.world
    order = torch.argsort(run.superclass, stable=True)
    heads = len(order)
    sizes = [int((run.superclass == side).sum()) for side in (0, 1)]
    if not min(sizes):
        raise ValueError("a superclass has no head: there is nothing to fine-tune")
    by_head = run.weight.view(world.d, heads, one.width)[:, order]
    most = max(sizes)
    weight = by_head.new_zeros(
        1, world.d, 2, most, one.width
    )  # a neuron of zeros is silent under a bias of 0 or less, and stays so
    weight[0, :, 0, : sizes[0]], weight[0, :, 1, : sizes[1]] = (
        by_head[:, : sizes[0]],
        by_head[:, sizes[0] :],
    )
    weight = weight.view(1, world.d, -1)
    neurons = max(1, heads * one.width // 2)
    going = _Going(
        replace(
            one, labels="coarse", looks=(), recipe=replace(one.recipe, neurons=None, width=neurons)
        )
    )
    x = torch.empty(1, one.recipe.batch, world.patches, world.d, dtype=one.dtype)
    loss = torch.zeros(1)
    for step in range(steps):
        drawn = None
        if going.set is None:
            drawn = draws(
                one.recipe.batch,
                world.patches,
                world.d,
                seed=one.seed,
                purpose="tune",
                step=step,
                dtype=one.dtype,
            )
        going.step = step
        labels = going.batch(drawn, x[0])
        loss, slope = gradients(x, weight, labels[None], 2, width=neurons, bias=one.recipe.bias)
        weight -= going.rate * slope
    return Run(one, weight[0], torch.arange(2), run.step, float(loss), run.final)
