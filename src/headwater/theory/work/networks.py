"""A network of a study and the ways to read it: arms and cells, what they cost, and their ids."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import Any

from headwater.study.words import identity
from headwater.theory.simulation.model import World
from headwater.theory.simulation.training import Experiment
from headwater.theory.study import Sweep

RESPONSES = "responses"
"""The protocol of the cells that read neurons and no test sample."""
VERSION = 1
"""Raised by hand when networks are trained or read in another way, so that what the old code
computed is not taken for what the new code would.
"""
_TYPICAL_STEPS = 700
_FLOPS_OF_NOISE = 100.0


@dataclass(frozen=True)
class Reading:
    """A cell in words: how a network is read, on what test samples, and when."""

    id: str
    protocol: str
    """A read-out, or RESPONSES."""
    world: World
    """What test samples are drawn from."""
    test_samples: int
    step: int | None = None
    """The look on the way; None at the end of training."""
    tune_steps: int = 0
    """Steps of fine-tuning before it is read; 0 for read-outs that tune nothing."""


@dataclass(frozen=True)
class Network:
    """An arm: what to train, and all cells that some sweep wants of it."""

    id: str
    experiment: Experiment
    readings: tuple[Reading, ...]
    sweeps: tuple[str, ...]
    """Sweeps that name it, in the order of the study."""

    @property
    def flops(self) -> float:
        """Of one step: two matrix products, multiply-add = 2."""
        neurons = self.experiment.heads * self.experiment.width
        return 4.0 * self._numbers_of_a_batch * neurons

    @property
    def _numbers_of_a_batch(self) -> int:
        world = self.experiment.world
        return self.experiment.recipe.batch * world.patches * world.d

    @property
    def likely_steps(self) -> int:
        """Steps of training, for shares and guesses of time alone [ours].

        A loss that is never reached takes all of them.
        """
        recipe = self.experiment.recipe
        if not recipe.stop_loss or recipe.label_noise:
            return recipe.max_steps
        return min(recipe.max_steps, _TYPICAL_STEPS)

    @property
    def work(self) -> float:
        """About what training and reading it cost, in FLOPs.

        Making a number of noise costs as much as `_FLOPS_OF_NOISE` of them.
        """
        tuning = sum({reading.tune_steps for reading in self.readings})
        samples_read = sum(reading.test_samples for reading in self.readings)
        steps = self.likely_steps + tuning + 2 * samples_read / self.experiment.recipe.batch
        return steps * (self.flops + _FLOPS_OF_NOISE * self._numbers_of_a_batch)

    @property
    def bytes_needed(self) -> int:
        """About the most that a process needs for this network alone.

        A batch, weights, a training set, test samples, and as much again to make them.
        """
        experiment = self.experiment
        recipe, world = experiment.recipe, experiment.world
        tests = [reading.test_samples for reading in self.readings]
        most_samples = max([recipe.batch, recipe.train_samples or 0, *tests])
        numbers = (
            3 * most_samples * world.patches * world.d
            + 4 * world.d * experiment.heads * experiment.width
            + 2 * recipe.batch * experiment.heads
        )
        return experiment.dtype.itemsize * numbers

    @property
    def title(self) -> str:
        """'k=16 coarse seed 3'."""
        return f"k={self.experiment.world.k} {self.experiment.labels} seed {self.experiment.seed}"


def arm_id(experiment: Experiment) -> str:
    """The id of a network: of all that could change its weights."""
    recipe = asdict(experiment.recipe)
    if experiment.recipe.neurons:
        del recipe["width"]  # which follows from the neurons
    return identity(
        {
            "theory": VERSION,
            "world": asdict(experiment.world),
            "labels": experiment.labels,
            "recipe": recipe,
            "seed": experiment.seed,
            "precision": str(experiment.dtype),
        }
    )


def readings_of(
    arm: str, experiment: Experiment, worlds: Sequence[World], sweep: Sweep
) -> tuple[Reading, ...]:
    """The cells that a sweep wants of a network.

    At the end every read-out on every world, and the responses; at a look the first read-out on
    the first world, and the responses.
    """
    readings = []
    for read_out in sweep.read_outs:
        readings += [_reading(arm, read_out, world, None, sweep) for world in worlds]
    readings.append(_responses(arm, experiment.world, None))
    for step in experiment.looks:
        readings.append(_reading(arm, sweep.read_outs[0], worlds[0], step, sweep))
        readings.append(_responses(arm, experiment.world, step))
    return tuple(readings)


def _reading(arm: str, read_out: str, world: World, step: int | None, sweep: Sweep) -> Reading:
    words: dict[str, Any] = {
        "arm": arm,
        "read_out": read_out,
        "world": asdict(world),
        "test_samples": sweep.test_samples,
        "step": step,
    }
    tune_steps = 0
    if read_out == "tuned":
        tune_steps = sweep.tune_steps
        words["tune"] = {"steps": tune_steps, "output": "mean over the superclass's neurons"}
    return Reading(identity(words), read_out, world, sweep.test_samples, step, tune_steps)


def _responses(arm: str, world: World, step: int | None) -> Reading:
    words = {"arm": arm, "read_out": RESPONSES, "step": step}
    return Reading(identity(words), RESPONSES, world, 0, step)
