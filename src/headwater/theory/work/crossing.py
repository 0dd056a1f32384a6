"""The networks of a study: the axes of its sweeps crossed, each network once.

Strong noise and the wrong class's feature stand on hard samples alone. Where training has none of
these, such constants are of the cell, not of the network.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Iterator
from dataclasses import fields, replace
from typing import Any

import torch

from headwater.errors import InputError
from headwater.theory.simulation.measuring import looks
from headwater.theory.simulation.model import World
from headwater.theory.simulation.training import Experiment, Recipe
from headwater.theory.study import Sweep, TheoryStudy
from headwater.theory.work.networks import Network, arm_id, readings_of

MOST_NETWORKS = 200_000
"""Of a study: more are a slip of the pen, and take minutes to list [ours]."""
DTYPES = {"fp32": torch.float32, "fp64": torch.float64}
_TEST_AXES = ("alpha_dagger", "sigma_star")
_WORLD_AXES = tuple(field.name for field in fields(World) if field.name != "k")
_RECIPE_AXES = tuple(field.name for field in fields(Recipe))
_AXES = ("subclasses", "labels", *_WORLD_AXES, *_RECIPE_AXES)


def networks(study: TheoryStudy) -> list[Network]:
    """All networks of a study, each once.

    Raises InputError that names the sweep for constants that do not go together.
    """
    by_id: dict[str, Network] = {}
    _check_count(study)
    for name, sweep in study.theory.items():
        for experiment, worlds in _crossed(study, name, sweep):
            arm = arm_id(experiment)
            wanted = Network(arm, experiment, readings_of(arm, experiment, worlds, sweep), (name,))
            by_id[arm] = _joined(by_id[arm], wanted) if arm in by_id else wanted
    return list(by_id.values())


def _joined(known: Network, wanted: Network) -> Network:
    """One network with all that two sweeps want of it."""
    steps = tuple(sorted({*known.experiment.looks, *wanted.experiment.looks}))
    readings = {reading.id: reading for reading in (*known.readings, *wanted.readings)}
    sweeps = dict.fromkeys([*known.sweeps, *wanted.sweeps])
    experiment = replace(known.experiment, looks=steps)
    return Network(known.id, experiment, tuple(readings.values()), tuple(sweeps))


def _check_count(study: TheoryStudy) -> None:
    total = 0
    for name, sweep in study.theory.items():
        lengths = [len(_values(sweep, axis)) for axis in _AXES]
        total += len(sweep.seeds or study.seeds) * math.prod(lengths)
        if total > MOST_NETWORKS:
            with study._origin.located():
                raise InputError(
                    f"theory.{name}: these sweeps cross to {total:,} networks and cells; at most "
                    f"{MOST_NETWORKS:,} are taken",
                    at=("theory", name),
                )


def _values(sweep: Sweep, axis: str) -> tuple[Any, ...]:
    """The values of an axis; one None where the sweep leaves it open."""
    return getattr(sweep, axis) or (None,)


def _crossed(
    study: TheoryStudy, name: str, sweep: Sweep
) -> Iterator[tuple[Experiment, list[World]]]:
    """(what to train, worlds to test it on), axes crossed."""
    axes = [axis for axis in _AXES if axis not in _TEST_AXES]
    for seed in sweep.seeds or study.seeds:
        for values in itertools.product(*(_values(sweep, axis) for axis in axes)):
            constants = dict(zip(axes, values, strict=True))
            try:
                yield from _experiments(sweep, seed, constants)
            except ValueError as error:
                with study._origin.located():
                    raise InputError(f"theory.{name}: {error}", at=("theory", name)) from None


def _experiments(
    sweep: Sweep, seed: int, constants: dict[str, Any]
) -> Iterator[tuple[Experiment, list[World]]]:
    """The networks at given constants: several only where they are trained on hard samples.

    Raises ValueError for constants that do not go together.
    """
    worlds = _worlds(sweep, constants)
    recipe = Recipe(**{axis: constants[axis] for axis in _RECIPE_AXES})
    trained_on_hard = bool(worlds[0].hard_share)
    for world in worlds if trained_on_hard else [without_hard(worlds[0])]:
        experiment = Experiment(
            world,
            constants["labels"],
            recipe,
            seed,
            looks(sweep.looks, recipe.max_steps),
            DTYPES[sweep.precision],
        )
        if not experiment.view.aligned and set(sweep.read_outs) != {"tuned"}:
            raise ValueError(
                f"labels {experiment.labels!r} mix superclasses, so that no head tells one: "
                "read_outs should be tuned alone"
            )
        yield experiment, [world] if trained_on_hard else worlds


def _worlds(sweep: Sweep, constants: dict[str, Any]) -> list[World]:
    """The worlds that differ in what hard samples show."""
    shared = {axis: constants[axis] for axis in _WORLD_AXES if axis not in _TEST_AXES}
    worlds = []
    for dagger, star in itertools.product(sweep.alpha_dagger, sweep.sigma_star):
        worlds.append(
            World(k=constants["subclasses"], alpha_dagger=dagger, sigma_star=star, **shared)
        )
    return worlds


def without_hard(world: World) -> World:
    """What a network sees of a world whose training samples are all easy."""
    return replace(world, alpha_dagger=0.0, sigma_star=0.0)
