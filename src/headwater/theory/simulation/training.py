"""Networks trained on coarse, fine and misaligned labels, many side by side, each as if alone.

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
"""Bytes of weights that are advanced side by side; networks beyond it wait their turn [ours]."""
_SETS = 1 << 28
"""The same for their finite training sets [ours]."""


@dataclass(frozen=True)
class Recipe:
    """The network and its training.

    Defaults: the numerical check of Hong et al. 2023, section C [C], unless marked. Raises
    ValueError outside the ranges.
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
        neurons = self.recipe.neurons
        return self.recipe.width if neurons is None else neurons // self.heads

    def rate(self, heads: int) -> float:
        """What a gradient is multiplied by, with so many heads of `width` neurons."""
        return self.recipe.lr * heads / 2 * self.width / _WIDTH_OF_LR


@dataclass(frozen=True, eq=False)
class Run:
    """A network, trained or looked at on the way."""

    experiment: Experiment
    weight: Tensor
    """[d, heads * width], before the update of its last step."""
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
    """Runs of all experiments, looks on the way among them, as they come.

    Those of one shape are advanced together, and one that is done gives way to the next. A run
    whose loss is no longer finite ends there.
    """
    shapes: dict[_Shape, list[Experiment]] = {}
    for experiment in experiments:
        shapes.setdefault(_Shape.of(experiment), []).append(experiment)
    for shape, alike in shapes.items():
        yield from _Together(shape, sorted(alike, key=lambda experiment: experiment.seed)).runs()


@dataclass(frozen=True)
class _Shape:
    """What experiments share that are advanced side by side."""

    heads: int
    width: int
    d: int
    patches: int
    batch: int
    bias: float
    dtype: torch.dtype

    @classmethod
    def of(cls, experiment: Experiment) -> _Shape:
        world, recipe = experiment.world, experiment.recipe
        return cls(
            experiment.heads,
            experiment.width,
            world.d,
            world.patches,
            recipe.batch,
            recipe.bias,
            experiment.dtype,
        )

    @property
    def neurons(self) -> int:
        return self.heads * self.width


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
        seed, recipe = self.experiment.seed, self.experiment.recipe
        if self.set is not None:
            generator = torch.Generator().manual_seed(keys.key(seed, "theory", "batch", self.step))
            rows = torch.randint(len(self.set.x), (recipe.batch,), generator=generator)
            torch.index_select(self.set.x, 0, rows, out=x)
            return self.set_labels[rows]
        assert drawn is not None
        subclass = samples(self.experiment.world, drawn, out=x).subclass
        view = self.experiment.view
        return view.targets(subclass, drawn.uniform, seed=seed, noise=recipe.label_noise)

    def run(self, weight: Tensor, loss: float, *, final: bool) -> Run:
        """The network as it is now."""
        return Run(self.experiment, weight, self.superclass, self.step, loss, final=final)

    def ends(self, loss: float) -> bool:
        """Whether this loss is the last of training."""
        recipe = self.experiment.recipe
        return not math.isfinite(loss) or loss <= recipe.stop_loss or self.step >= recipe.max_steps


class _Noise:
    """The fresh samples of a step before their worlds are put in: made once for equal keys that
    follow each other.
    """

    def __init__(self, shape: _Shape) -> None:
        self._shape = shape
        self._key: tuple[int, int] | None = None
        self._drawn: Draws | None = None

    def of(self, going: _Going) -> Draws | None:
        """None for an experiment on a finite set."""
        if going.set is not None:
            return None
        if self._key != going.key():
            self._key = going.key()
            seed, step = self._key
            self._drawn = _step_draws(self._shape, seed, "train", step)
        return self._drawn


def _step_draws(shape: _Shape, seed: int, purpose: str, step: int) -> Draws:
    return draws(
        shape.batch,
        shape.patches,
        shape.d,
        seed=seed,
        purpose=purpose,
        step=step,
        dtype=shape.dtype,
    )


class _Together:
    """Experiments of one shape, in the order given, as many at once as `_WEIGHTS` allows."""

    def __init__(self, shape: _Shape, experiments: Sequence[Experiment]) -> None:
        self._shape, self._waiting = shape, list(experiments)
        self._at_once = _most_at_once(shape, experiments)
        in_a_tile = networks_in_a_tile(shape.batch, shape.patches, shape.neurons, shape.dtype)
        self._tile = min(len(experiments), self._at_once, in_a_tile)
        dtype = shape.dtype
        self._x = torch.empty(self._tile, shape.batch, shape.patches, shape.d, dtype=dtype)
        self._slope = torch.empty(self._tile, shape.d, shape.neurons, dtype=dtype)
        self._weight = torch.empty(0, shape.d, shape.neurons, dtype=dtype)
        self._going: list[_Going] = []

    def runs(self) -> Iterator[Run]:
        """Advance all by a step until none is left; runs as they come."""
        while self._waiting or self._going:
            self._fill()
            noise = _Noise(self._shape)
            done = set[int]()
            for first in range(0, len(self._going), self._tile):
                tile = self._going[first : first + self._tile]
                weights = self._weight[first : first + self._tile]
                losses = self._gradients(tile, weights, noise)
                for number, (going, loss) in enumerate(zip(tile, losses, strict=True)):
                    ends = going.ends(loss)
                    if ends:
                        done.add(first + number)
                    if ends or going.step in going.looks:
                        yield going.run(weights[number].clone(), loss, final=ends)
                self._update(tile, weights)
            self._drop(done)

    def _fill(self) -> None:
        """Start waiting experiments where there is room."""
        free = self._at_once - len(self._going)
        if not self._waiting or free < 1:
            return
        shape, dtype = self._shape, self._shape.dtype
        new, self._waiting = [_Going(one) for one in self._waiting[:free]], self._waiting[free:]
        seeds = [going.experiment.seed for going in new]
        init_keys = [keys.key(seed, "theory", "init", shape.neurons) for seed in seeds]
        scale = torch.tensor([going.experiment.recipe.init for going in new], dtype=dtype)
        weight = initial(init_keys, shape.d, shape.neurons, dtype=dtype)
        weight *= scale[:, None, None]
        self._weight = torch.cat([self._weight, weight])
        self._going = [*self._going, *new]

    def _gradients(self, tile: Sequence[_Going], weights: Tensor, noise: _Noise) -> list[float]:
        """The losses of a tile on its next batches; their gradients are left in `self._slope`."""
        shape, x = self._shape, self._x[: len(tile)]
        labels = torch.empty(len(tile), shape.batch, dtype=torch.int64)
        for number, going in enumerate(tile):
            labels[number] = going.batch(noise.of(going), x[number])
        loss, _ = gradients(
            x,
            weights,
            labels,
            shape.heads,
            width=shape.width,
            bias=shape.bias,
            out=self._slope[: len(tile)],
        )
        return [float(value) for value in loss]

    def _update(self, tile: Sequence[_Going], weights: Tensor) -> None:
        """One step of SGD."""
        rates = torch.tensor([going.rate for going in tile], dtype=self._shape.dtype)
        weights.addcmul_(self._slope[: len(tile)], rates[:, None, None], value=-1)
        for going in tile:
            going.step += 1

    def _drop(self, done: set[int]) -> None:
        """Leave out those that have ended."""
        if done:
            left = [number for number in range(len(self._going)) if number not in done]
            self._weight, self._going = self._weight[left], [self._going[n] for n in left]


def _most_at_once(shape: _Shape, experiments: Sequence[Experiment]) -> int:
    """How many networks fit into `_WEIGHTS` with their sets in `_SETS`, 1 or more."""
    largest_set = max(experiment.recipe.train_samples or 0 for experiment in experiments)
    set_bytes = largest_set * shape.patches * shape.d * shape.dtype.itemsize
    weight_bytes = shape.d * shape.neurons * shape.dtype.itemsize
    return max(1, min(_WEIGHTS // weight_bytes, _SETS // max(set_bytes, 1)))


def superclass_scores(run: Run, x: Tensor, read_out: str) -> Tensor:
    """What a run says of the superclass of samples x [n, P, d]: [n, 2].

    read_out: by the largest head of each superclass (max) or by their sum (sum).
    """
    experiment, heads = run.experiment, len(run.superclass)
    f = outputs(x, run.weight, heads, width=experiment.width, bias=experiment.recipe.bias)
    sides = [f[:, run.superclass == side] for side in (0, 1)]
    if read_out == "max":
        return torch.stack([side.amax(dim=1) for side in sides], dim=1)
    if read_out == "sum":
        return torch.stack([side.sum(dim=1) for side in sides], dim=1)
    raise ValueError(f"{read_out!r} is none of max, sum")


def tuned(run: Run, steps: int) -> Run:
    """The run fine-tuned on the superclass task for so many steps [ours: 100].

    The first layer is trained on, under one frozen output for each superclass. That output is the
    mean over the neurons of the superclass's heads, as F is over those of a head: a network of two
    heads that starts from what the pre-trained neurons know, trained on the samples and at the rate
    of such a network. Their sum would say what pre-training says, k times as loudly: its loss is 0
    before the first step, and nothing is tuned. The run that is returned has the loss of the last
    step. Raises ValueError where a superclass has no head.
    """
    experiment = run.experiment
    recipe, shape = experiment.recipe, _Shape.of(experiment)
    neurons = max(1, len(run.superclass) * experiment.width // 2)
    two_heads = replace(recipe, neurons=None, width=neurons)
    going = _Going(replace(experiment, labels="coarse", looks=(), recipe=two_heads))
    weight = _dealt_to_two_heads(run)
    x = torch.empty(1, recipe.batch, shape.patches, shape.d, dtype=shape.dtype)
    loss = torch.zeros(1)
    for step in range(steps):
        drawn = None
        if going.set is None:
            drawn = _step_draws(shape, experiment.seed, "tune", step)
        going.step = step
        labels = going.batch(drawn, x[0])
        loss, slope = gradients(x, weight, labels[None], 2, width=neurons, bias=recipe.bias)
        weight -= going.rate * slope
    return Run(experiment, weight[0], torch.arange(2), run.step, float(loss), run.final)


def _dealt_to_two_heads(run: Run) -> Tensor:
    """The weights of a run [1, d, 2 * neurons], the neurons of each superclass's heads as one head.

    The smaller head is filled up with neurons of zeros, which are silent under a bias of 0 or less
    and stay so. Raises ValueError where a superclass has no head.
    """
    d, width = run.experiment.world.d, run.experiment.width
    order = torch.argsort(run.superclass, stable=True)
    first, second = (int((run.superclass == side).sum()) for side in (0, 1))
    if not (first and second):
        raise ValueError("a superclass has no head: there is nothing to fine-tune")
    by_head = run.weight.view(d, len(order), width)[:, order]
    weight = by_head.new_zeros(1, d, 2, max(first, second), width)
    weight[0, :, 0, :first] = by_head[:, :first]
    weight[0, :, 1, :second] = by_head[:, first:]
    return weight.view(1, d, -1)
